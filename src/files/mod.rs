//! A folder of JSON files as legacy store: one document a file, rewritten whole by its owner.

mod read;
mod source;

pub use source::FilesSource;
