//! Who may act: the run lock in the log, and the journalled acts under it.

mod lock;
mod preflight;

pub use lock::{Holder, Lock, Process};
pub use preflight::{missing_row_topics, missing_topics, require_topics};
