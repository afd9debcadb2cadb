//! Events into tables: the fold kept in a projection store, and snapshots of it.

mod fold_log;
pub mod snapshot;

pub use fold_log::{Projected, Projector, behind};
