//! Turning committed legacy rows into events: the base copy, the reconcile that follows one, and the changes since.

mod dry_run;
mod emit;
mod follow;
mod mass_delete;
mod meet;
mod reconcile;
mod replay;
mod screened;
mod state;

pub use dry_run::DryRunLog;
pub use emit::{Emitter, Quarantined, Rejected};
pub use follow::{Ended, Follow, fence};
pub use mass_delete::MassDelete;
pub use meet::{Met, await_store, covered, meet, untold};
pub use reconcile::{Reconcile, Reconciled};
pub use replay::{Copied, Replay, Settings};
pub use screened::{ScreenedChanges, ScreenedSource};
pub use state::{FOLLOW_ROLE, FollowState, Phase, ReplayState, WRITER_ROLE};
