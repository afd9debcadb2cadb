//! Who may act: the run lock in the log, and the journalled acts under it.

mod lock;
mod preflight;
mod sole_writer;

pub use lock::{Holder, Lock, Process};
pub use preflight::{missing_row_topics, missing_topics, require_topics};
pub use sole_writer::{Captured, Place, Session, SoleWriter};
