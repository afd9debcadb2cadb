//! Turning committed legacy rows into events: the base copy, and the reconcile that follows one.

mod dry_run;
mod emit;
mod reconcile;
mod replay;
mod state;

pub use dry_run::DryRunLog;
pub use emit::{Quarantined, Rejected};
pub use reconcile::{Reconcile, Reconciled};
pub use replay::{Copied, Replay, Settings};
pub use state::{Phase, ReplayState, WRITER_ROLE};
