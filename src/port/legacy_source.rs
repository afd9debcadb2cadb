//! The legacy store, read only, one consistent snapshot at a time.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::base::{Error, Result};
use crate::mapping::fit::Unmapped;
use crate::mapping::{Rows, Table, Value};
use crate::port::change_source::Position;
use crate::scan::{Screen, Tally};

/// Where a table's copy stands: the range key (rowid, or the key columns) of the last row read, in the exact form of
/// event rows. Empty before the first row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cursor(pub Vec<serde_json::Value>);

/// Decides by the identity's values, in the order of [`Table::identity`], whether a row is wanted.
pub type Keep<'a> = &'a mut dyn FnMut(&[Value<'_>]) -> bool;

/// Where a row lies, as its store counts, in one snapshot or view; below 2^52.
pub type Place = u64;

/// One store of legacy rows.
pub trait LegacySource: Send + Sync {
    /// Name for people and for `ce_source`, without secrets: `sqlite`.
    fn kind(&self) -> &'static str;

    /// Where it lies, for people.
    fn describe(&self) -> String;

    /// Refuses a mapping the store does not fit: a mapped table or column that is missing or cannot be carried, a column
    /// that is neither mapped nor on its table's never list, a table that cannot be read. Gives the tables left out.
    fn check(&self) -> Result<Vec<Unmapped>>;

    /// Opens a consistent read snapshot. Never takes a lock the legacy's writers would feel.
    fn snapshot(&self) -> Result<Box<dyn Snapshot>>;

    /// Bytes the legacy must keep for open snapshots (the size of its write-ahead log), watched by replay.
    fn retained_bytes(&self) -> u64;

    /// What reading it cannot see, one sentence each.
    fn blind(&self) -> Vec<String> {
        Vec::new()
    }

    /// Notices changes, where the store lets one; then it can be followed by comparing.
    fn wake(&self) -> Result<Option<Box<dyn Wake>>> {
        Ok(None)
    }

    /// The scan its rows have passed when they are lent, if any.
    fn screen(&self) -> Option<&Screen> {
        None
    }
}

/// Notices that a store may have changed.
pub trait Wake {
    /// Whether it may have changed since the last look; waits for that no longer than `at_most`. The first look says yes.
    fn wait(&mut self, at_most: Duration) -> Result<bool>;
}

/// Rows in a chunk of a scan, unless a store has a better measure.
const SCAN_ROWS: usize = 2_000;

/// One consistent view of all tables. Rows are lent in the layout of [`Table::width`].
pub trait Snapshot: Send {
    /// Names of the tables found that hold rows of users, without the store's internal ones.
    fn tables(&self) -> Result<Vec<String>>;

    fn count(&mut self, table: &Table) -> Result<u64>;

    /// Where the capture of changes stands in this view: what lies before is in the rows, and nothing behind. `None`
    /// where none is installed.
    fn position(&mut self) -> Result<Option<Position>> {
        Ok(None)
    }

    /// Lends the rows whose identity `keep` accepts, in chunks and in any order. Costs less than reading them all.
    fn pick(&mut self, table: &Table, keep: Keep<'_>, each: &mut dyn FnMut(&Rows) -> Result<()>) -> Result<()>;

    /// Lends every row of a table in chunks, in any order, each with its place where the store has such. Costs no more
    /// than `read` to the end.
    fn scan(&mut self, table: &Table, each: &mut dyn FnMut(&Rows, &[Place]) -> Result<()>) -> Result<()> {
        let (mut rows, mut cursor) = (Rows::default(), Cursor::default());
        loop {
            self.read(table, &mut cursor, SCAN_ROWS, &mut rows)?;
            if rows.is_empty() {
                return Ok(());
            }
            each(&rows, &[])?;
        }
    }

    /// Lends the rows at places that `scan` gave.
    fn at(&mut self, table: &Table, _places: &[Place], _each: &mut dyn FnMut(&Rows) -> Result<()>) -> Result<()> {
        Err(Error::failed(format!("rows of table '{}' have no places", table.name)))
    }

    /// Fills `rows` (reset first) with the rows after `cursor` in range-key order, up to `max_rows` or about 1 MiB,
    /// and moves the cursor; empty when the table is through.
    fn read(&mut self, table: &Table, cursor: &mut Cursor, max_rows: usize, rows: &mut Rows) -> Result<()>;

    /// A row whose identity another row of the table has as well; its other cells may be null. A null or a blob makes no
    /// identity. Costs nothing where a unique key of the store rules it out.
    fn shared(&mut self, table: &Table) -> Result<Option<Rows>> {
        let (mut seen, mut image, mut found) = (HashSet::new(), Vec::new(), None);
        self.scan(table, &mut |rows, _| {
            for row in rows.iter().filter(|row| table.identifies(*row)) {
                image.clear();
                table.identity.iter().for_each(|cell| row.get(*cell).write_image(&mut image));
                if !seen.insert(xxh3_128(&image)) {
                    found = Some(row.to_rows());
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// What a scan has found in the rows read since it was asked last.
    fn found(&mut self) -> Tally {
        Tally::default()
    }
}
