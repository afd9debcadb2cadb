//! SQLite as legacy store and as projection.
