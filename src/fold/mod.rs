//! Applying events to rows, the trace of one row's events, and the snapshot form.

pub mod snapshot;
mod trace;

pub use trace::{Span, Trace, Traced};

/// The last event of a row, kept in its trailing `_cf_*` columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastEvent {
    pub partition: i32,
    pub offset: i64,
    pub id: [u8; 16],
    /// [`crate::event::Sequence::number`].
    pub sequence: i64,
}

impl LastEvent {
    /// Whether this event changes a row whose last event is `row`'s.
    ///
    /// | partitions | applies |
    /// | --- | --- |
    /// | equal | when its offset is higher; an equal or lower one is a repeat |
    /// | different (the row's key changed) | when its sequence is higher, in whatever order the partitions are read |
    pub fn supersedes(&self, row: &LastEvent) -> bool {
        if self.partition == row.partition { self.offset > row.offset } else { self.sequence > row.sequence }
    }
}
