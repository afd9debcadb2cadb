//! Brings a home of the log to what is wished of it, step by step, and looks whether it still is.

mod apply;
mod check;
mod look;
pub mod placement;
pub mod probe;

pub use apply::{Applied, Record, apply};
pub use check::{keys, round_trips};
pub use look::{ask, look, look_closely, plan};
pub use probe::{Probe, RoundTrips};
