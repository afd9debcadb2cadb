//! Events into tables.
