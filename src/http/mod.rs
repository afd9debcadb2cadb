//! A server's export over HTTP as legacy store: a paged list of ids, and one document for each.

mod client;
mod source;

pub use source::{Export, HttpSource};
