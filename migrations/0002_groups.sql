-- The embedded log, format 2: consumer groups. roster: JSON, src/port/roster.rs.
CREATE TABLE groups (
    name   TEXT PRIMARY KEY,
    roster TEXT NOT NULL
);
