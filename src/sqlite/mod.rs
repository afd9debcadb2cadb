//! SQLite as legacy store and as projection.

pub mod store;
