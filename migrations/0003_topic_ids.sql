-- The embedded log, format 3: an id for each topic made. Those made before have none of their own: theirs is of the log's id
-- and the topic's row, which no other topic of the file ever has.
ALTER TABLE topics ADD COLUMN uuid TEXT;
