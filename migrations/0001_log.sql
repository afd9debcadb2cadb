-- The embedded log, format 1.

CREATE TABLE log (
    only       INTEGER PRIMARY KEY CHECK (only = 1),
    cluster_id TEXT NOT NULL
);

CREATE TABLE topics (
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL UNIQUE,
    configs TEXT NOT NULL
);

CREATE TABLE partitions (
    id          INTEGER PRIMARY KEY,
    topic       INTEGER NOT NULL REFERENCES topics (id),
    number      INTEGER NOT NULL,
    next_offset INTEGER NOT NULL DEFAULT 0,
    UNIQUE (topic, number)
);

-- id is partitions.id << 40 | offset of the first record. codec: 0 frames, 1 length of the frames (4 bytes, little endian)
-- and an LZ4 block. checksum: XXH3-64 of blob, two's complement.
CREATE TABLE batches (
    id       INTEGER PRIMARY KEY,
    count    INTEGER NOT NULL,
    first_ms INTEGER NOT NULL,
    last_ms  INTEGER NOT NULL,
    codec    INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    blob     BLOB NOT NULL
);

-- epoch is raised by each opening of the writer; a commit under an older one changes nothing.
CREATE TABLE writers (
    name       TEXT PRIMARY KEY,
    epoch      INTEGER NOT NULL,
    instance   TEXT NOT NULL,
    checkpoint TEXT
);
