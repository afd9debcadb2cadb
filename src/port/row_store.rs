//! The projection: tables of the legacy's shape, each row with its last event, and the position they stand at.

use std::sync::Arc;

use crate::base::{Error, Result};
pub use crate::fold::LastEvent;
use crate::mapping::{Mapping, Row, Rows, Table};
use crate::port::event_log::{Positions, TopicIds};
use crate::port::legacy_source::{Keep, Place};

/// How a store is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// For throughput: large transactions, indexes afterwards.
    Rebuild,
    /// In short transactions.
    Live,
    /// Live, beside other projectors that share the partitions: the first takes the store over, the others join it.
    /// Refused while a rebuild is unfinished.
    Shared,
    /// Goes on under an earlier claim whose connection broke; [`crate::base::Kind::Fenced`] when there was a newer one.
    Again { epoch: u64 },
}

impl Mode {
    /// The epoch of a claim on a store at epoch `old`, which projectors share when `joined`, and whether it is shared;
    /// `None` when there was a newer claim.
    pub fn claims(self, old: u64, joined: bool) -> Option<(u64, bool)> {
        match self {
            Self::Again { epoch } if epoch != old => None,
            Self::Again { epoch } => Some((epoch, joined)),
            Self::Shared if joined => Some((old, true)),
            Self::Rebuild | Self::Live | Self::Shared => Some((old + 1, self == Self::Shared)),
        }
    }
}

/// One effect of an event on a table. Rows come in the layout of [`Table::width`]; a delete carries its identity cells,
/// the other cells are null.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    Put(Row<'a>),
    Delete(Row<'a>),
}

/// What a store says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreState {
    /// The mapping the tables were made for; empty in a new store.
    pub mapping_hash: String,
    /// Raised by each claim; a commit under an older one changes nothing.
    pub epoch: u64,
    pub positions: Positions,
    /// The topics the positions lie in; empty in a store from before topics had ids.
    pub topics: TopicIds,
    /// Set while a rebuild is unfinished.
    pub rebuilding: bool,
}

/// A projection store. Opening it reads nothing and changes nothing.
pub trait RowStore: Send + Sync {
    fn describe(&self) -> String;

    /// What the store holds; `None` when it was never made.
    fn state(&self) -> Result<Option<StoreState>>;

    /// Makes missing tables, raises the epoch, and thereby stops every older projector's commits; but see [`Mode`].
    /// With `Mode::Rebuild` all rows and positions are dropped first, in the same transaction.
    fn claim(&self, mapping: &Arc<Mapping>, mode: Mode) -> Result<Box<dyn RowWriter>>;

    /// A consistent read view of the rows.
    fn view(&self, mapping: &Arc<Mapping>) -> Result<Box<dyn RowView>>;
}

/// Applies changes under one epoch. A transaction begins with the first `apply`.
pub trait RowWriter: Send {
    fn state(&self) -> &StoreState;

    /// Applies one change by the fold's rule: within a partition the later offset wins, across partitions the higher sequence.
    fn apply(&mut self, table: usize, change: Change<'_>, event: LastEvent) -> Result<()>;

    /// Says in which topics positions lie; kept with the next commit.
    fn lies_in(&mut self, topics: &TopicIds);

    /// Compare-and-sets (positions, epoch) in the transaction of the rows; [`crate::base::Kind::Fenced`] changes nothing.
    ///
    /// [`crate::base::Kind::Stale`]: under the same claim another run has moved the store on, and nothing was changed. Of a
    /// shared store only these positions are compared.
    fn commit(&mut self, positions: &Positions) -> Result<()>;

    /// Drops what was applied and not committed, also after an error of a shared store, and reads anew where it stands.
    fn refresh(&mut self) -> Result<&Positions>;

    /// Ends a rebuild: builds the indexes and marks the store whole.
    fn finish(&mut self) -> Result<()>;
}

/// A consistent view: every read sees the same rows and positions.
pub trait RowView: Send {
    fn state(&self) -> &StoreState;

    fn count(&mut self, table: usize) -> Result<u64>;

    /// Lends all rows of a table in chunks, in store order, with the last event of each.
    fn scan(&mut self, table: &Table, each: &mut dyn FnMut(&Rows, &[LastEvent]) -> Result<()>) -> Result<()>;

    /// As `scan`, each row with its place where the store has such.
    fn scan_placed(&mut self, table: &Table, each: &mut dyn FnMut(&Rows, &[Place]) -> Result<()>) -> Result<()> {
        self.scan(table, &mut |rows, _| each(rows, &[]))
    }

    /// Lends the rows at places that `scan_placed` gave.
    fn at(
        &mut self,
        table: &Table,
        _places: &[Place],
        _each: &mut dyn FnMut(&Rows, &[LastEvent]) -> Result<()>,
    ) -> Result<()> {
        Err(Error::failed(format!("rows of table '{}' have no places", table.name)))
    }

    /// As `scan`, but only the rows whose identity `keep` accepts; costs less than reading them all.
    fn pick(
        &mut self,
        table: &Table,
        keep: Keep<'_>,
        each: &mut dyn FnMut(&Rows, &[LastEvent]) -> Result<()>,
    ) -> Result<()>;

    /// Lends the rows with these identities (chunks of any size), in any order; identities without a row are left out.
    fn lookup(
        &mut self,
        table: &Table,
        identities: &Rows,
        each: &mut dyn FnMut(Row<'_>, LastEvent) -> Result<()>,
    ) -> Result<()>;
}
