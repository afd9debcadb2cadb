//! Who may act: the run lock in the log, and the journalled acts under it.

mod lock;
mod preflight;
mod schemas;

pub use lock::{Holder, Lock, Process};
pub use preflight::{missing_topics, require_topics};
pub use schemas::{observe_schemas, perform_schema_step};
