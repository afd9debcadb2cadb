//! What the writers of all projections share: changes wait in buffers, a transaction begins late, and any error takes
//! back what it held.

use std::sync::Arc;

use super::event_log::{Positions, TopicIds};
use super::row_store::{Change, LastEvent, RowWriter, StoreState};
use crate::base::{Error, Result};
use crate::mapping::{Mapping, Row, Rows, Table, Value};

/// What a change does to its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Put,
    Delete,
}

/// Changes of one table in order of arrival, a row for each event.
#[derive(Debug, Default)]
pub struct Waiting {
    pub rows: Rows,
    pub events: Vec<(Effect, LastEvent)>,
}

impl Waiting {
    pub fn iter(&self) -> impl Iterator<Item = (Row<'_>, Effect, &LastEvent)> {
        self.rows.iter().zip(&self.events).map(|(row, (effect, event))| (row, *effect, event))
    }

    pub fn deletes(&self) -> bool {
        self.events.iter().any(|(effect, _)| *effect == Effect::Delete)
    }
}

/// The tables of a store over one connection. All but `begin` is called inside a transaction.
pub trait Tables: Send {
    /// For people.
    fn describe(&self) -> String;

    /// Whether every real can be kept; SQLite makes null of NaN.
    fn holds_nan(&self) -> bool;

    /// Begins a write transaction; [`crate::base::Kind::Fenced`] unless `epoch` is the newest claim.
    fn begin(&mut self, epoch: u64) -> Result<()>;

    /// Runs a statement without parameters.
    fn run(&mut self, doing: &'static str, sql: &str) -> Result<()>;

    fn positions(&mut self) -> Result<Positions>;

    /// Applies changes by the fold's rule, or appends them where a rebuild settles it in the end.
    fn write(&mut self, table: usize, waiting: &Waiting, rebuilding: bool) -> Result<()>;

    /// Stores the positions that are new or moved.
    fn move_positions(&mut self, from: &Positions, to: &Positions) -> Result<()>;

    fn set_topics(&mut self, topics: &TopicIds) -> Result<()>;

    /// Builds the indexes, applies the fold's rule to what was appended, and marks the store whole.
    fn settle(&mut self) -> Result<()>;
}

/// A writer of a store's tables.
pub struct BufferedWriter<T> {
    tables: T,
    mapping: Arc<Mapping>,
    state: StoreState,
    /// To be kept with the next commit.
    topics: Option<TopicIds>,
    waiting: Vec<Waiting>,
    waiting_rows: usize,
    waiting_bytes: usize,
    /// Rows and bytes that wait at most, over all tables, so that memory does not grow with their number.
    chunk: (usize, usize),
    /// Others write the store, too: it is held only while something is written.
    shared: bool,
    /// A transaction is open.
    open: bool,
    /// Changes were lost with a transaction: a later commit must not claim them.
    spent: bool,
}

impl<T: Tables> BufferedWriter<T> {
    pub fn new(tables: T, mapping: Arc<Mapping>, state: StoreState, shared: bool, chunk: (usize, usize)) -> Self {
        let waiting =
            mapping.tables.iter().map(|table| Waiting { rows: Rows::new(table.width()), events: Vec::new() }).collect();
        Self {
            tables,
            mapping,
            state,
            topics: None,
            waiting,
            waiting_rows: 0,
            waiting_bytes: 0,
            chunk,
            shared,
            open: false,
            spent: false,
        }
    }

    /// Opens the transaction and makes sure that no newer claim came before it.
    fn begin(&mut self) -> Result<()> {
        if self.spent {
            return Err(Error::failed(format!("the writer of projection {} failed before", self.tables.describe()))
                .hint("claim the projection again"));
        }
        if !self.open {
            self.tables.begin(self.state.epoch)?;
            self.open = true;
        }
        Ok(())
    }

    /// Runs `step`; whatever it changed is rolled back when it fails.
    fn guarded(&mut self, step: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let done = step(self);
        if done.is_err() {
            (self.spent, self.open) = (true, false);
            self.forget();
            // Some errors have rolled back already, as a connection that is gone; then this one fails and nothing is lost.
            let _ = self.roll_back();
        }
        done
    }

    fn forget(&mut self) {
        for (waiting, table) in self.waiting.iter_mut().zip(&self.mapping.tables) {
            waiting.rows.reset(table.width());
            waiting.events.clear();
        }
        (self.waiting_rows, self.waiting_bytes) = (0, 0);
    }

    fn take(&mut self, table: usize, change: Change<'_>, event: LastEvent) -> Result<()> {
        if !self.shared {
            self.begin()?;
        }
        let (effect, row) = match change {
            Change::Put(row) => (Effect::Put, row),
            Change::Delete(row) => (Effect::Delete, row),
        };
        check(&self.mapping.tables[table], row, self.tables.holds_nan())?;
        let waiting = &mut self.waiting[table];
        let before = waiting.rows.byte_len();
        waiting.rows.push_row(row);
        waiting.events.push((effect, event));
        self.waiting_rows += 1;
        self.waiting_bytes += waiting.rows.byte_len() - before;
        if self.waiting_rows >= self.chunk.0 || self.waiting_bytes >= self.chunk.1 {
            self.begin()?;
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        for (table, waiting) in self.waiting.iter().enumerate().filter(|(_, waiting)| !waiting.events.is_empty()) {
            self.tables.write(table, waiting, self.state.rebuilding)?;
        }
        self.forget();
        Ok(())
    }

    fn roll_back(&mut self) -> Result<()> {
        self.tables.run("taking a transaction back", "ROLLBACK")
    }

    fn end(&mut self) -> Result<()> {
        self.tables.run("committing", "COMMIT")?;
        self.open = false;
        Ok(())
    }

    fn move_to(&mut self, positions: &Positions) -> Result<()> {
        self.begin()?;
        self.flush()?;
        self.compare(positions)?;
        self.tables.move_positions(&self.state.positions, positions)?;
        if let Some(topics) = &self.topics {
            self.tables.set_topics(topics)?;
        }
        self.end()?;
        if let Some(topics) = self.topics.take() {
            self.state.topics = topics;
        }
        self.state.positions.extend(positions.iter().map(|(place, next)| (place.clone(), *next)));
        Ok(())
    }

    /// Whether the store stands where this run left it. Of a shared one each partition is its own projector's matter.
    fn compare(&mut self, moved: &Positions) -> Result<()> {
        let (found, known) = (self.tables.positions()?, &self.state.positions);
        let elsewhere = |place: &&(String, i32)| found.get(*place) != known.get(*place);
        let of_all = found.keys().chain(known.keys()).filter(|_| !self.shared);
        match of_all.chain(moved.keys()).find(elsewhere) {
            Some((topic, partition)) => Err(Error::stale(format!(
                "projection {} stands elsewhere in {topic}[{partition}] than this run left it at; nothing was changed",
                self.tables.describe()
            ))),
            None => Ok(()),
        }
    }

    fn read_anew(&mut self) -> Result<()> {
        self.forget();
        if self.open {
            self.open = false;
            self.roll_back()?;
        }
        self.spent &= !self.shared;
        // Under the claim, so that nobody moves on meanwhile.
        self.begin()?;
        self.state.positions = self.tables.positions()?;
        self.end()
    }

    fn settle(&mut self) -> Result<()> {
        self.begin()?;
        self.tables.settle()?;
        self.end()?;
        self.state.rebuilding = false;
        Ok(())
    }
}

impl<T: Tables> RowWriter for BufferedWriter<T> {
    fn state(&self) -> &StoreState {
        &self.state
    }

    fn apply(&mut self, table: usize, change: Change<'_>, event: LastEvent) -> Result<()> {
        self.guarded(|writer| writer.take(table, change, event))
    }

    fn lies_in(&mut self, topics: &TopicIds) {
        self.topics = (self.state.topics != *topics).then(|| topics.clone());
    }

    fn commit(&mut self, positions: &Positions) -> Result<()> {
        self.guarded(|writer| writer.move_to(positions))
    }

    fn refresh(&mut self) -> Result<&Positions> {
        self.guarded(Self::read_anew)?;
        Ok(&self.state.positions)
    }

    fn finish(&mut self) -> Result<()> {
        if !self.state.rebuilding {
            return Ok(());
        }
        if self.open {
            return Err(Error::failed("a rebuild cannot end before its last rows are committed"));
        }
        self.guarded(Self::settle)
    }
}

/// What to say to a run whose claim is not the newest.
pub fn overtaken(store: &str) -> Error {
    Error::fenced(format!("projection {store} was claimed by a newer run; nothing was changed"))
        .hint("let the newer run go on, or stop it and start again")
}

/// Refuses what a store would keep as something else.
fn check(table: &Table, row: Row<'_>, holds_nan: bool) -> Result<()> {
    let nan = |value: Value<'_>| matches!(value, Value::Real(number) if number.is_nan());
    if !holds_nan && row.values().any(nan) {
        return Err(Error::row(format!("a row of table '{}' holds NaN, which SQLite stores as null", table.name)));
    }
    match table.rowid_cell().map(|cell| row.get(cell)) {
        None | Some(Value::Integer(_)) => Ok(()),
        Some(other) => {
            Err(Error::row(format!("a row of table '{}' has a rowid of class {}", table.name, other.class())))
        }
    }
}
