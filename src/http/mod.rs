//! A server's export over HTTP as legacy store: a paged list of ids, and one document for each.

mod agent;
mod client;
mod source;

pub use agent::agent;
pub use source::{Export, HttpSource};
