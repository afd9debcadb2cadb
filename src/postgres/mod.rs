//! PostgreSQL as legacy store and as projection.

pub mod capture;
mod catalog;
pub mod decoding;
mod fault;
mod form;
pub mod mark;
pub mod outbox;
mod plan;
mod read;
mod server;
pub mod sink;
mod source;
pub mod store;
mod time;

pub use catalog::Described;
pub use server::{Login, describe};
pub use source::PostgresSource;
