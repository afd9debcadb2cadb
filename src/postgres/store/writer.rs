//! Applying changes under one epoch.
//!
//! Changes wait in buffers. Live, a flush looks up what stands of their identities, applies the fold's rule here, and
//! replaces what has changed. While a rebuild is unfinished changes are appended in order of arrival, deletes as rows
//! without an event id, and `finish` applies the rule where an identity arrived more than once.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use postgres::Client;
use uuid::Uuid;

use super::super::fault::fault;
use super::meta::{Meta, key};
use super::rows::{identity, last_event, write};
use super::settle::settle;
use super::shape::Shape;
use crate::base::{Error, Result};
use crate::mapping::{Mapping, Row, Rows, Table, Types, Value};
use crate::port::event_log::Positions;
use crate::port::row_store::{Change, LastEvent, RowWriter, StoreState};

const CHUNK_ROWS: usize = 4_000;
const CHUNK_BYTES: usize = 2 << 20;

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

/// What stands of one identity.
#[derive(Clone, Copy, Default)]
struct Standing {
    /// A row of the table, before this flush.
    stored: bool,
    last: Option<LastEvent>,
    /// The change that left it, by its place in the buffer.
    by: Option<usize>,
    changed: bool,
}

pub(super) struct PostgresWriter {
    store: String,
    schema: String,
    client: Client,
    mapping: Arc<Mapping>,
    shapes: Vec<Shape>,
    state: StoreState,
    waiting: Vec<Waiting>,
    waiting_rows: usize,
    waiting_bytes: usize,
    out: Vec<u8>,
    image: Vec<u8>,
    /// Others write the store, too: it is held only while something is written.
    shared: bool,
    /// A transaction is open.
    open: bool,
    /// Changes were lost with a transaction: a later commit must not claim them.
    spent: bool,
}

impl PostgresWriter {
    pub(super) fn new(
        store: String,
        schema: String,
        client: Client,
        mapping: Arc<Mapping>,
        shapes: Vec<Shape>,
        state: StoreState,
        shared: bool,
    ) -> Self {
        let waiting =
            mapping.tables.iter().map(|table| Waiting { rows: Rows::new(table.width()), events: Vec::new() }).collect();
        Self {
            store,
            schema,
            client,
            mapping,
            shapes,
            state,
            waiting,
            waiting_rows: 0,
            waiting_bytes: 0,
            out: Vec::new(),
            image: Vec::new(),
            shared,
            open: false,
            spent: false,
        }
    }

    fn meta(&mut self) -> Meta<'_> {
        Meta { client: &mut self.client, store: &self.store, schema: &self.schema }
    }

    /// Opens the transaction and makes sure that no newer claim came before it.
    fn begin(&mut self) -> Result<()> {
        if self.spent {
            return Err(Error::failed(format!("the writer of projection {} failed before", self.store))
                .hint("claim the projection again"));
        }
        if !self.open {
            let epoch = self.state.epoch;
            self.meta().run("beginning a transaction", "BEGIN")?;
            self.open = true;
            self.meta().hold(epoch)?;
        }
        Ok(())
    }

    fn give_up(&mut self) {
        self.spent = true;
        self.open = false;
        self.forget();
        // With a connection that is gone this fails, and the server has rolled back.
        let _ = self.client.batch_execute("ROLLBACK");
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
        // Holding the epoch waits for whoever is just writing.
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
        check(&self.mapping.tables[table], self.mapping.types, row)?;
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
        let mapping = Arc::clone(&self.mapping);
        let mapped = &mapping.tables[table];
        if self.state.rebuilding {
            self.append(table, mapped)?;
            if self.waiting[table].events.iter().any(|(op, _)| *op == Op::Delete) {
                self.meta().set(key::TOMBSTONES, "true")?;
            }
        } else {
            self.write(table, mapped)?;
        }
        let waiting = &mut self.waiting[table];
        waiting.rows.reset(mapped.width());
        waiting.events.clear();
        Ok(())
    }

    fn append(&mut self, table: usize, mapped: &Table) -> Result<()> {
        let (shape, waiting) = (&self.shapes[table], &self.waiting[table]);
        self.out.clear();
        for (row, (op, event)) in waiting.rows.iter().zip(&waiting.events) {
            let id = identity(mapped, row, &mut self.image);
            write(shape, row, event, *op == Op::Delete, id, &mut self.out);
        }
        self.copy(table, mapped)
    }

    fn write(&mut self, table: usize, mapped: &Table) -> Result<()> {
        let failed = fault(&self.store, "writing rows");
        let (shape, waiting) = (&self.shapes[table], &self.waiting[table]);
        let ids: Vec<Uuid> = waiting.rows.iter().map(|row| identity(mapped, row, &mut self.image)).collect();
        let mut standing: HashMap<Uuid, Standing> = HashMap::with_capacity(ids.len());
        for row in self.client.query(&shape.find, &[&ids]).map_err(&failed)? {
            let id: Uuid = row.get(0);
            standing.insert(id, Standing { stored: true, last: Some(last_event(&row, 1)), ..Standing::default() });
        }
        for (at, (id, (op, event))) in ids.iter().zip(&waiting.events).enumerate() {
            let one = standing.entry(*id).or_default();
            match (one.last, op) {
                (None, Op::Delete) => {}
                (Some(last), _) if !event.supersedes(&last) => {}
                (_, Op::Put) => (one.last, one.by, one.changed) = (Some(*event), Some(at), true),
                (Some(_), Op::Delete) => (one.last, one.by, one.changed) = (None, None, true),
            }
        }
        let gone: Vec<Uuid> = standing.iter().filter(|(_, one)| one.stored && one.changed).map(|(id, _)| *id).collect();
        if !gone.is_empty() {
            self.client.execute(&shape.delete, &[&gone]).map_err(&failed)?;
        }
        drop(failed);
        let mut left: Vec<(usize, Uuid)> = standing.iter().filter_map(|(id, one)| Some((one.by?, *id))).collect();
        left.sort_unstable();
        self.out.clear();
        for (at, id) in left {
            write(shape, waiting.rows.row(at), &waiting.events[at].1, false, id, &mut self.out);
        }
        if self.out.is_empty() { Ok(()) } else { self.copy(table, mapped) }
    }

    fn copy(&mut self, table: usize, mapped: &Table) -> Result<()> {
        let doing = format!("writing rows of table '{}'", mapped.name);
        let failed = fault(&self.store, &doing);
        let mut sink = self.client.copy_in(&self.shapes[table].copy).map_err(&failed)?;
        sink.write_all(&self.out)
            .map_err(|error| Error::connect(format!("{}: the connection broke, {doing}", self.store)).because(error))?;
        sink.finish().map(|_| ()).map_err(&failed)
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
        let (epoch, known, shared) = (self.state.epoch, self.state.positions.clone(), self.shared);
        let mut meta = self.meta();
        meta.hold(epoch)?;
        meta.hold_positions(&known, positions, shared)?;
        meta.move_positions(&known, positions)?;
        meta.run("committing", "COMMIT")?;
        self.open = false;
        self.state.positions.extend(positions.iter().map(|(place, next)| (place.clone(), *next)));
        Ok(())
    }

    fn settle_all(&mut self) -> Result<()> {
        self.begin()?;
        let epoch = self.state.epoch;
        let mut meta = Meta { client: &mut self.client, store: &self.store, schema: &self.schema };
        let tombstones = meta.flag(key::TOMBSTONES)?;
        for shape in &self.shapes {
            settle(&mut meta, shape, tombstones)?;
        }
        meta.set(key::TOMBSTONES, "false")?;
        meta.set(key::REBUILDING, "false")?;
        meta.hold(epoch)?;
        meta.run("committing", "COMMIT")?;
        self.open = false;
        self.state.rebuilding = false;
        Ok(())
    }
}

impl RowWriter for PostgresWriter {
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

/// Refuses what the legacy's kind of store cannot hold.
fn check(table: &Table, types: Types, row: Row<'_>) -> Result<()> {
    let nan = |value: Value<'_>| matches!(value, Value::Real(number) if number.is_nan());
    if types == Types::Sqlite && row.values().any(nan) {
        return Err(Error::row(format!("a row of table '{}' holds NaN, which SQLite stores as null", table.name)));
    }
    match table.rowid_cell().map(|cell| row.get(cell)) {
        None | Some(Value::Integer(_)) => Ok(()),
        Some(other) => {
            Err(Error::row(format!("a row of table '{}' has a rowid of class {}", table.name, other.class())))
        }
    }
}
