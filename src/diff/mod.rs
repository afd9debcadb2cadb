//! What two sides have in common: the outcome of a comparison and how a verdict is reached.

mod ignore;
mod outcome;

pub use ignore::explain;
pub use outcome::{
    Checked, Column, Difference, Event, Finding, Ignored, Kind, Outcome, Sample, Severity, TableCoverage,
    checked_verdict, verdict,
};
