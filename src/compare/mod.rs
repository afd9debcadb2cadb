//! Comparing legacy rows with the fold of their events.

mod buckets;
mod differences;
mod locate;
mod run;

pub use differences::{Counts, Pair, Sides, differences};
pub use run::{Evidence, Job, Looks, Mirrored, compare};
