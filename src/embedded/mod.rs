//! The embedded log: topics and partitions in one SQLite file.
