//! Events into tables: the fold kept in a projection store, and snapshots of it.

mod fold_log;
mod lag;
mod reverse;
mod reverse_batch;
mod shared;
pub mod snapshot;

pub use fold_log::{Counted, Projected, Projector, behind};
pub use reverse::{Reverse, Reversed, folded, start as reverse_start};
pub use shared::group;
