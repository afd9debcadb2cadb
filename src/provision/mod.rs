//! Brings a home of the log to what is wished of it, step by step, and looks whether it still is.

mod apply;
mod check;
mod look;
pub mod placement;
pub mod probe;
mod schemas;

pub use apply::{Applied, Record, apply};
pub use check::{keys, round_trips};
pub use look::{Claimant, Look, Places, ask, look_closely};
pub use probe::{Probe, RoundTrips};
pub use schemas::{observe_schemas, perform_schema_step};
