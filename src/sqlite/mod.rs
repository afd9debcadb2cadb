//! SQLite as legacy store and as projection.

mod check;
mod cursor;
pub mod error;
mod flush;
mod functions;
pub mod gate;
pub mod introspect;
pub mod outbox;
mod plan;
pub mod scratch;
pub mod sink;
pub mod source;
pub mod store;
pub mod wake;
