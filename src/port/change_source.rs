//! The legacy's changes as they are committed, in order, from a position on.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Millis, Result};
use crate::event::Op;
use crate::mapping::{Mapping, Row, Rows};
use crate::port::progress::Progress;
use crate::scan::{Screen, Tally};

mod passing;

/// Where a capture stands: behind the change at `at`, the `count`-th of what lies there. `at` is what the store itself
/// counts by: a commit's log position, or a change's own number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The outbox or slot that gives the positions; those of another one do not compare.
    pub incarnation: String,
    pub at: u64,
    #[serde(default)]
    pub count: u64,
    /// Tells what lay at `at`, so that a store put back to an older state is found out.
    #[serde(default)]
    pub mark: String,
    /// The snapshot this goes on from, in the store's words, where the order of commits does not tell what is in its
    /// rows. Kept by every position that follows it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub seen: String,
    /// What rows hang on besides their own changes, in the store's words, when this was the end.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub content: String,
}

impl Position {
    /// The order of two positions of one incarnation.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        (self.incarnation == other.incarnation).then(|| (self.at, self.count).cmp(&(other.at, other.count)))
    }

    /// Where a follow goes on: behind what it told last, unless rows were read since from another snapshot, or one that
    /// has more.
    pub fn resume(read: Option<Self>, followed: Option<Self>) -> Option<Self> {
        let (read, followed) = match (read, followed) {
            (Some(read), Some(followed)) => (read, followed),
            (read, followed) => return read.or(followed),
        };
        let same = read.seen == followed.seen;
        Some(if same && followed.order(&read).is_some_and(Ordering::is_gt) { followed } else { read })
    }

    /// Names the change behind which this stands, for event ids.
    pub fn change(&self) -> Vec<u8> {
        format!("{} {} {}", self.incarnation, self.at, self.count).into_bytes()
    }
}

/// One row change; the images lie in [`Changes`].
#[derive(Clone, Debug)]
pub struct Change {
    pub table: usize,
    /// Never [`Op::Base`].
    pub op: Op,
    /// The new image; of a delete what is known of the old one, which is its identity, key and time at least.
    row: usize,
    before: Option<usize>,
    pub at: u64,
    pub count: u64,
    /// When it was committed or made, by the store's clock.
    pub made_at: Option<Millis>,
}

/// A reusable batch of changes in commit order.
#[derive(Debug, Default)]
pub struct Changes {
    tables: Vec<Rows>,
    changes: Vec<Change>,
    /// Behind the last change read, whether or not it is among `changes`: what changed nothing is left out.
    pub end: Position,
    /// The store has nothing more just now.
    pub caught_up: bool,
    /// Why the fold cannot be kept equal by changes alone, once they are through.
    pub reconcile: Option<String>,
    /// Set with `reconcile` where changes went by that nobody can read any more: how many would have had to be kept, 0
    /// where that would not have helped.
    pub gap: Option<u64>,
}

impl Changes {
    pub fn reset(&mut self, mapping: &Mapping) {
        self.tables.resize_with(mapping.tables.len(), Rows::default);
        for (rows, table) in self.tables.iter_mut().zip(&mapping.tables) {
            rows.reset(table.width());
        }
        self.changes.clear();
        self.caught_up = false;
        self.reconcile = None;
        self.gap = None;
    }

    /// Adds a change; images come in the layout of [`crate::mapping::Table::width`].
    pub fn push(
        &mut self,
        (table, op): (usize, Op),
        (at, count): (u64, u64),
        made_at: Option<Millis>,
        row: Row<'_>,
        before: Option<Row<'_>>,
    ) {
        let rows = &mut self.tables[table];
        let mut add = |image: Row<'_>| {
            rows.push_row(image);
            rows.len() - 1
        };
        let row = add(row);
        let before = before.map(add);
        self.changes.push(Change { table, op, row, before, at, count, made_at });
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Change, Row<'_>, Option<Row<'_>>)> {
        self.changes.iter().map(|change| {
            let rows = &self.tables[change.table];
            (change, rows.row(change.row), change.before.map(|at| rows.row(at)))
        })
    }

    /// All images of one table, old and new.
    pub fn images_mut(&mut self, table: usize) -> &mut Rows {
        &mut self.tables[table]
    }

    /// Which of a table's images rows have now.
    pub fn new_images(&self, table: usize) -> BTreeSet<usize> {
        let changes = self.changes.iter().filter(|change| change.table == table && change.op != Op::Delete);
        changes.map(|change| change.row).collect()
    }

    pub fn len(&self) -> usize {
        self.changes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// What lies between a position and the store's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lag {
    /// As far as they can be counted without reading them.
    pub changes: u64,
    /// What the store keeps for them, with what else is in it; 0 where it keeps nothing but changes.
    pub bytes: u64,
    /// When the oldest of them was made.
    pub since: Option<Millis>,
}

impl Lag {
    /// Whether anything may be left.
    pub fn any(&self) -> bool {
        self.changes > 0 || self.bytes > 0
    }
}

/// A legacy store whose changes can be read.
pub trait ChangeSource: Send + Sync {
    /// As [`crate::port::legacy_source::LegacySource::kind`].
    fn kind(&self) -> &'static str;

    /// How changes are noticed: `outbox`, `decoding`.
    fn mode(&self) -> &'static str;

    /// The incarnation in force; an error says what is missing, and how it is installed.
    fn incarnation(&self) -> Result<String>;

    /// What this way of capture cannot see, one sentence each.
    fn blind(&self) -> Result<Vec<String>>;

    /// Reads on from a position of the incarnation in force.
    fn open(&self, from: &Position) -> Result<Box<dyn ChangeReader>>;

    /// What lies behind a position, without taking it from whoever reads on there.
    fn lag(&self, from: &Position) -> Result<Lag> {
        self.open(from)?.lag()
    }

    /// Whether a follow that stands at `told` has told all that is in the rows of a snapshot taken at `snapshot`.
    fn covers(&self, told: &Position, snapshot: &Position) -> Result<bool> {
        Ok(told.order(snapshot).is_some_and(Ordering::is_ge))
    }

    /// Waits until every transaction that may have changed rows by now has ended, where the store has several at a time:
    /// what a later snapshot does not see was then begun later. [`crate::base::Kind::Unknown`]: one was still at work
    /// after `patience`, and is named.
    fn settled(&self, _patience: Duration) -> Result<()> {
        Ok(())
    }

    /// What the store keeps for changes that are not read, where that may become much.
    fn keeps(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// What is out of date about a capture that is read all the same.
    fn dated(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// Looks after what the store keeps for changes that are not read; gives what a person should know. Asked from time to
    /// time, also while the log is away.
    fn watch(&self) -> Result<Option<String>> {
        Ok(None)
    }

    /// As [`crate::port::legacy_source::LegacySource::screen`].
    fn screen(&self) -> Option<&Screen> {
        None
    }
}

/// One step of an installation in the legacy store: a statement, or a command of its protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub sql: String,
    /// What takes it back.
    pub back: String,
}

/// What an installation would do.
#[derive(Clone, Debug, Default)]
pub struct Installation {
    /// Statements that take an older capture away, in order.
    pub remove: Vec<String>,
    pub make: Vec<Step>,
    /// The capture is there, whole, and as this mapping wants it: nothing to do.
    pub whole: bool,
    /// What the older capture has recorded stays, and so does its incarnation: both are done at once.
    pub keeps: bool,
    /// What a person should know before.
    pub notes: Vec<String>,
}

/// A capture that is made in the legacy store, and taken away again.
pub trait Capture: ChangeSource {
    /// Looks, changes nothing. Refuses a store that cannot have this capture.
    fn plan(&self) -> Result<Installation>;

    /// Makes what was planned, an older capture taken away before; gives how long writers of the legacy may have waited.
    fn install(&self, planned: &Installation, incarnation: &str, progress: &dyn Progress) -> Result<Duration>;

    /// Statements that take away whatever there is of this migration's capture, whatever mapping it was made for.
    fn planned_removal(&self) -> Result<Vec<String>>;

    fn remove(&self) -> Result<()>;
}

/// Reads changes in commit order.
pub trait ChangeReader: Send {
    /// Fills `changes` (reset first) with about `max` more at most; empty when none came within `wait`. A transaction of
    /// the legacy is not cut where the store knows its edges.
    fn read(&mut self, changes: &mut Changes, max: usize, wait: Duration) -> Result<()>;

    /// Lets go of what lies up to here, which the log has by now. May put it off to a better moment.
    fn release(&mut self, until: &Position) -> Result<()>;

    fn lag(&mut self) -> Result<Lag>;

    /// As [`crate::port::legacy_source::Snapshot::found`].
    fn found(&mut self) -> Tally {
        Tally::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(at: u64, seen: &str) -> Option<Position> {
        Some(Position { incarnation: "i".to_owned(), at, seen: seen.to_owned(), ..Position::default() })
    }

    #[test]
    fn a_follow_goes_on_behind_what_it_told_unless_rows_were_read_since() {
        for (read, followed, resumed) in [
            (at(3, ""), at(7, ""), at(7, "")),
            (at(7, ""), at(3, ""), at(7, "")),
            (at(7, ""), None, at(7, "")),
            (None, at(7, ""), at(7, "")),
            (None, None, None),
            (at(0, "1:2:"), at(7, "1:2:"), at(7, "1:2:")),
            (at(0, "5:6:"), at(7, "1:2:"), at(0, "5:6:")),
        ] {
            assert_eq!(Position::resume(read, followed), resumed);
        }
        let other = Position { incarnation: "j".to_owned(), at: 9, ..Position::default() };
        assert_eq!(Position::resume(at(3, ""), Some(other)), at(3, ""));
    }
}
