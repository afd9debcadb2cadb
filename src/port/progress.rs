//! What an engine tells while it works. The default does nothing.

use crate::base::{Millis, Result};
use crate::port::change_source::Lag;

/// A listener of one run. Called often: keep it cheap.
pub trait Progress: Send + Sync {
    /// A stretch of work begins: what, and how many rows are expected, if known.
    fn begin(&self, _what: &str, _expected: Option<u64>) {}

    fn advance(&self, _rows: u64) {}

    /// The run slows itself down, or no longer does (`None`), and why.
    fn throttled(&self, _reason: Option<&str>) {}

    /// How much is left behind a source that goes on, and the age of the oldest change in milliseconds.
    fn lag(&self, _lag: Lag, _age: Millis) {}

    /// How far a fold that goes on is behind the log: events, and the capture time of the newest one that is folded.
    fn behind(&self, _events: u64, _newest: Millis) {}

    /// A transaction was committed.
    fn committed(&self) {}

    /// A log or a store went away, and is tried again.
    fn reconnecting(&self) {}

    fn note(&self, _text: &str) {}

    fn end(&self) {}

    /// Asked between batches: an error of [`crate::base::Kind::Interrupted`] or `Fenced` ends the run at a safe place.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// Says nothing, never stops.
pub struct Silent;

impl Progress for Silent {}
