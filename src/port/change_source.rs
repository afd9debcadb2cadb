//! The legacy's changes as they are committed, in order, from a position on.

use std::cmp::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Millis, Result};
use crate::event::Op;
use crate::mapping::{Mapping, Row, Rows};

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
}

impl Position {
    /// The order of two positions of one incarnation.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        (self.incarnation == other.incarnation).then(|| (self.at, self.count).cmp(&(other.at, other.count)))
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
    pub changes: u64,
    /// When the oldest of them was made.
    pub since: Option<Millis>,
}

/// A legacy store whose changes can be read.
pub trait ChangeSource: Send + Sync {
    /// As [`crate::port::legacy_source::LegacySource::kind`].
    fn kind(&self) -> &'static str;

    /// The incarnation in force; an error says what is missing, and how it is installed.
    fn incarnation(&self) -> Result<String>;

    /// What this way of capture cannot see, one sentence each.
    fn blind(&self) -> Result<Vec<String>>;

    /// Reads on from a position of the incarnation in force.
    fn open(&self, from: &Position) -> Result<Box<dyn ChangeReader>>;
}

/// Reads changes in commit order.
pub trait ChangeReader: Send {
    /// Fills `changes` (reset first) with about `max` more at most; empty when none came within `wait`. A transaction of
    /// the legacy is not cut where the store knows its edges.
    fn read(&mut self, changes: &mut Changes, max: usize, wait: Duration) -> Result<()>;

    /// Lets go of what lies up to here, which the log has by now. May put it off to a better moment.
    fn release(&mut self, until: &Position) -> Result<()>;

    fn lag(&mut self) -> Result<Lag>;
}
