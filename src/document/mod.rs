//! JSON documents as rows of tables: which shape a document has, and where its columns lie.

mod json;
mod layout;
mod tables;

pub use json::parse;
pub use layout::{Field, Layout, Lines, Shape};
pub use tables::Tables;
pub(crate) use tables::order_of;
