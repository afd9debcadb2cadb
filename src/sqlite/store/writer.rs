//! Applying changes under one epoch.
//!
//! Changes wait in buffers and go to SQLite in chunks, so that statements are prepared once a chunk. While a rebuild is
//! unfinished the tables have no identity index: changes are appended in order of arrival, deletes as rows without an
//! event id, and `finish` applies the rule where an identity arrived more than once. With random keys that is twice as
//! fast as keeping an index, and stays so when the index outgrows memory.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, Statement};

use super::fault::fault;
use super::meta::{Meta, key};
use super::settle::settle;
use super::shape::Shape;
use super::{bind, last_event, lend};
use crate::base::{Error, Result};
use crate::mapping::{Mapping, Row, Rows, Table, Value};
use crate::port::event_log::Positions;
use crate::port::row_store::{Change, LastEvent, RowWriter, StoreState};

const CHUNK_ROWS: usize = 2_000;
const CHUNK_BYTES: usize = 1 << 20;

#[derive(Clone, Copy, PartialEq)]
enum Op {
    Put,
    Delete,
}

/// Changes of one table in order of arrival.
#[derive(Default)]
struct Waiting {
    rows: Rows,
    events: Vec<(Op, LastEvent)>,
}

pub(super) struct SqliteWriter {
    path: PathBuf,
    connection: Connection,
    mapping: Arc<Mapping>,
    shapes: Vec<Shape>,
    state: StoreState,
    waiting: Vec<Waiting>,
    waiting_rows: usize,
    waiting_bytes: usize,
    /// Others write the store, too: it is held only while something is written.
    shared: bool,
    /// A transaction is open.
    open: bool,
    /// Changes were lost with a transaction: a later commit must not claim them.
    spent: bool,
}

impl SqliteWriter {
    pub(super) fn new(
        path: PathBuf,
        connection: Connection,
        mapping: Arc<Mapping>,
        shapes: Vec<Shape>,
        state: StoreState,
        shared: bool,
    ) -> Self {
        let waiting =
            mapping.tables.iter().map(|table| Waiting { rows: Rows::new(table.width()), events: Vec::new() }).collect();
        Self {
            path,
            connection,
            mapping,
            shapes,
            state,
            waiting,
            waiting_rows: 0,
            waiting_bytes: 0,
            shared,
            open: false,
            spent: false,
        }
    }

    fn meta(&self) -> Meta<'_> {
        Meta { connection: &self.connection, path: &self.path }
    }

    /// Opens the transaction and makes sure that no newer claim came before it.
    fn begin(&mut self) -> Result<()> {
        if self.spent {
            return Err(Error::failed(format!("the writer of projection {} failed before", self.path.display()))
                .hint("claim the projection again"));
        }
        if !self.open {
            self.meta().run("beginning a transaction", "BEGIN IMMEDIATE")?;
            self.open = true;
            self.meta().hold(self.state.epoch)?;
        }
        Ok(())
    }

    fn give_up(&mut self) {
        self.spent = true;
        self.open = false;
        self.forget();
        // SQLite has rolled back by itself after some errors; then this one fails and nothing is lost.
        let _ = self.connection.execute_batch("ROLLBACK");
    }

    fn forget(&mut self) {
        for (waiting, table) in self.waiting.iter_mut().zip(&self.mapping.tables) {
            waiting.rows.reset(table.width());
            waiting.events.clear();
        }
        (self.waiting_rows, self.waiting_bytes) = (0, 0);
    }

    fn read_anew(&mut self) -> Result<()> {
        self.forget();
        if self.open {
            self.open = false;
            self.meta().run("taking a transaction back", "ROLLBACK")?;
        }
        self.spent &= !self.shared;
        // In a write transaction, so that nobody moves on meanwhile.
        self.begin()?;
        self.state.positions = self.meta().positions()?;
        self.open = false;
        self.meta().run("reading its positions", "COMMIT")
    }

    /// Runs `step`; whatever it changed is rolled back when it fails.
    fn guarded(&mut self, step: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let done = step(self);
        if done.is_err() {
            self.give_up();
        }
        done
    }

    fn take(&mut self, table: usize, change: Change<'_>, event: LastEvent) -> Result<()> {
        if !self.shared {
            self.begin()?;
        }
        let (op, row) = match change {
            Change::Put(row) => (Op::Put, row),
            Change::Delete(row) => (Op::Delete, row),
        };
        check(&self.mapping.tables[table], row)?;
        let waiting = &mut self.waiting[table];
        let before = waiting.rows.byte_len();
        waiting.rows.push_row(row);
        waiting.events.push((op, event));
        self.waiting_rows += 1;
        self.waiting_bytes += waiting.rows.byte_len() - before;
        // Counted over all tables, so that memory does not grow with their number.
        if self.waiting_rows >= CHUNK_ROWS || self.waiting_bytes >= CHUNK_BYTES {
            self.begin()?;
            self.flush_all()?;
        }
        Ok(())
    }

    fn flush(&mut self, table: usize) -> Result<()> {
        let (shape, waiting) = (&self.shapes[table], &self.waiting[table]);
        let mapped = &self.mapping.tables[table];
        if self.state.rebuilding && !shape.by_rowid {
            self.append(shape, waiting).map_err(fault(&self.path, "appending rows"))?;
            if waiting.events.iter().any(|(op, _)| *op == Op::Delete) {
                self.meta().set(key::TOMBSTONES, true)?;
            }
        } else {
            self.write(shape, mapped, waiting).map_err(fault(&self.path, "writing rows"))?;
        }
        let waiting = &mut self.waiting[table];
        waiting.rows.reset(mapped.width());
        waiting.events.clear();
        Ok(())
    }

    fn append(&self, shape: &Shape, waiting: &Waiting) -> rusqlite::Result<()> {
        let mut insert = self.connection.prepare(&shape.insert)?;
        for (row, (op, event)) in waiting.rows.iter().zip(&waiting.events) {
            let width = bind_row(&mut insert, row, event)?;
            if *op == Op::Delete {
                insert.raw_bind_parameter(width + 3, rusqlite::types::Null)?;
            }
            insert.raw_execute()?;
        }
        Ok(())
    }

    fn write(&self, shape: &Shape, table: &Table, waiting: &Waiting) -> rusqlite::Result<()> {
        let mut find = self.connection.prepare(&shape.find)?;
        let mut insert = self.connection.prepare(&shape.insert)?;
        let mut update = self.connection.prepare(&shape.update)?;
        let mut delete = self.connection.prepare(&shape.delete)?;
        for (row, (op, event)) in waiting.rows.iter().zip(&waiting.events) {
            match (find_row(&mut find, table, row)?, op) {
                (None, Op::Put) => {
                    bind_row(&mut insert, row, event)?;
                    insert.raw_execute()?;
                }
                (Some((number, last)), Op::Put) if event.supersedes(&last) => {
                    let width = bind_row(&mut update, row, event)?;
                    update.raw_bind_parameter(width + 5, number)?;
                    update.raw_execute()?;
                }
                (Some((number, last)), Op::Delete) if event.supersedes(&last) => {
                    delete.execute([number])?;
                }
                (Some(_), _) | (None, Op::Delete) => {}
            }
        }
        Ok(())
    }

    fn flush_all(&mut self) -> Result<()> {
        for table in 0..self.waiting.len() {
            if !self.waiting[table].events.is_empty() {
                self.flush(table)?;
            }
        }
        (self.waiting_rows, self.waiting_bytes) = (0, 0);
        Ok(())
    }

    fn move_to(&mut self, positions: &Positions) -> Result<()> {
        self.begin()?;
        self.flush_all()?;
        let meta = self.meta();
        meta.hold(self.state.epoch)?;
        meta.hold_positions(&self.state.positions, positions, self.shared)?;
        meta.move_positions(&self.state.positions, positions)?;
        meta.run("committing", "COMMIT")?;
        self.open = false;
        self.state.positions.extend(positions.iter().map(|(place, next)| (place.clone(), *next)));
        Ok(())
    }

    fn settle_all(&mut self) -> Result<()> {
        self.begin()?;
        let meta = self.meta();
        let tombstones: bool = meta.need(key::TOMBSTONES)?;
        for (shape, table) in self.shapes.iter().zip(&self.mapping.tables) {
            settle(&meta, shape, table, tombstones)?;
        }
        meta.set(key::TOMBSTONES, false)?;
        meta.set(key::REBUILDING, false)?;
        meta.hold(self.state.epoch)?;
        meta.run("committing", "COMMIT")?;
        self.open = false;
        self.state.rebuilding = false;
        Ok(())
    }
}

impl RowWriter for SqliteWriter {
    fn state(&self) -> &StoreState {
        &self.state
    }

    fn apply(&mut self, table: usize, change: Change<'_>, event: LastEvent) -> Result<()> {
        self.guarded(|writer| writer.take(table, change, event))
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
        self.guarded(Self::settle_all)
    }
}

/// Refuses what SQLite would store as something else.
fn check(table: &Table, row: Row<'_>) -> Result<()> {
    if row.values().any(|value| matches!(value, Value::Real(number) if number.is_nan())) {
        return Err(Error::row(format!("a row of table '{}' holds NaN, which SQLite stores as null", table.name)));
    }
    match table.rowid_cell().map(|cell| row.get(cell)) {
        None | Some(Value::Integer(_)) => Ok(()),
        Some(other) => {
            Err(Error::row(format!("a row of table '{}' has a rowid of class {}", table.name, other.class())))
        }
    }
}

/// Binds cells and event; returns the number of cells.
fn bind_row(statement: &mut Statement<'_>, row: Row<'_>, event: &LastEvent) -> rusqlite::Result<usize> {
    let mut width = 0;
    for value in row.values() {
        width += 1;
        statement.raw_bind_parameter(width, bind(value))?;
    }
    statement.raw_bind_parameter(width + 1, event.partition)?;
    statement.raw_bind_parameter(width + 2, event.offset)?;
    statement.raw_bind_parameter(width + 3, bind(Value::Blob(&event.id)))?;
    statement.raw_bind_parameter(width + 4, event.sequence)?;
    Ok(width)
}

/// The row with exactly this identity. SQLite also finds equal values of another class (1 and 1.0, 0.0 and -0.0).
fn find_row(find: &mut Statement<'_>, table: &Table, row: Row<'_>) -> rusqlite::Result<Option<(i64, LastEvent)>> {
    for (at, cell) in table.identity.iter().enumerate() {
        find.raw_bind_parameter(at + 1, bind(row.get(*cell)))?;
    }
    let mut found = find.raw_query();
    while let Some(candidate) = found.next()? {
        let mut same = true;
        for (at, cell) in table.identity.iter().enumerate() {
            same = same && lend(candidate.get_ref(5 + at)?) == row.get(*cell);
        }
        if same {
            return Ok(Some((candidate.get(0)?, last_event(candidate, 1))));
        }
    }
    Ok(None)
}
