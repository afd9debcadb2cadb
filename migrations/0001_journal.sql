-- The journal: one row per entry, each with the hash of the one before. Never edited once released.
CREATE TABLE entries (
    seq      INTEGER PRIMARY KEY,
    at       INTEGER NOT NULL,
    stage    TEXT    NOT NULL,
    of       INTEGER NOT NULL,
    act      TEXT    NOT NULL,
    detail   TEXT    NOT NULL,
    previous TEXT    NOT NULL,
    hash     TEXT    NOT NULL
) STRICT;
