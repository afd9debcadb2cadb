//! Applying changes under one epoch.
//!
//! Changes come in chunks, so that statements are prepared once a chunk. While a rebuild is unfinished the tables have no
//! identity index: changes are appended in order of arrival, deletes as rows without an event id, and `settle` applies the
//! rule where an identity arrived more than once. With random keys that is twice as fast as keeping an index, and stays
//! so when the index outgrows memory.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, Statement};

use super::fault::fault;
use super::meta::{Meta, key};
use super::settle::settle;
use super::shape::Shape;
use super::{bind, last_event, lend};
use crate::base::{Error, Result};
use crate::mapping::{Mapping, Row, Table, Value};
use crate::port::buffered::{Effect, Tables, Waiting};
use crate::port::event_log::{Positions, TopicIds};
use crate::port::row_store::LastEvent;

/// Rows and bytes of a chunk.
pub(super) const CHUNK: (usize, usize) = (2_000, 1 << 20);

pub(super) struct SqliteTables {
    pub(super) path: PathBuf,
    pub(super) connection: Connection,
    pub(super) mapping: Arc<Mapping>,
    pub(super) shapes: Vec<Shape>,
}

impl SqliteTables {
    fn meta(&self) -> Meta<'_> {
        Meta { connection: &self.connection, path: &self.path }
    }

    fn append(&self, shape: &Shape, waiting: &Waiting) -> rusqlite::Result<()> {
        let mut insert = self.connection.prepare(&shape.insert)?;
        for (row, effect, event) in waiting.iter() {
            let width = bind_row(&mut insert, row, event)?;
            if effect == Effect::Delete {
                insert.raw_bind_parameter(width + 3, rusqlite::types::Null)?;
            }
            insert.raw_execute()?;
        }
        Ok(())
    }

    fn apply(&self, shape: &Shape, table: &Table, waiting: &Waiting) -> rusqlite::Result<()> {
        let mut find = self.connection.prepare(&shape.find)?;
        let mut insert = self.connection.prepare(&shape.insert)?;
        let mut update = self.connection.prepare(&shape.update)?;
        let mut delete = self.connection.prepare(&shape.delete)?;
        for (row, effect, event) in waiting.iter() {
            match (find_row(&mut find, table, row)?, effect) {
                (None, Effect::Put) => {
                    bind_row(&mut insert, row, event)?;
                    insert.raw_execute()?;
                }
                (Some((number, last)), Effect::Put) if event.supersedes(&last) => {
                    let width = bind_row(&mut update, row, event)?;
                    update.raw_bind_parameter(width + 5, number)?;
                    update.raw_execute()?;
                }
                (Some((number, last)), Effect::Delete) if event.supersedes(&last) => {
                    delete.execute([number])?;
                }
                (Some(_), _) | (None, Effect::Delete) => {}
            }
        }
        Ok(())
    }
}

impl Tables for SqliteTables {
    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn holds_nan(&self) -> bool {
        false
    }

    fn begin(&mut self, epoch: u64) -> Result<()> {
        self.meta().run("beginning a transaction", "BEGIN IMMEDIATE")?;
        self.meta().hold(epoch)
    }

    fn run(&mut self, doing: &'static str, sql: &str) -> Result<()> {
        self.meta().run(doing, sql)
    }

    fn positions(&mut self) -> Result<Positions> {
        self.meta().positions()
    }

    fn write(&mut self, table: usize, waiting: &Waiting, rebuilding: bool) -> Result<()> {
        let shape = &self.shapes[table];
        if !rebuilding || shape.by_rowid {
            return self.apply(shape, &self.mapping.tables[table], waiting).map_err(fault(&self.path, "writing rows"));
        }
        self.append(shape, waiting).map_err(fault(&self.path, "appending rows"))?;
        if waiting.deletes() { self.meta().set(key::TOMBSTONES, true) } else { Ok(()) }
    }

    fn move_positions(&mut self, from: &Positions, to: &Positions) -> Result<()> {
        self.meta().move_positions(from, to)
    }

    fn set_topics(&mut self, topics: &TopicIds) -> Result<()> {
        let text = serde_json::to_string(topics)
            .map_err(|error| Error::failed("the ids of the topics have no JSON form").because(error))?;
        self.meta().set(key::TOPICS, text)
    }

    fn settle(&mut self) -> Result<()> {
        let meta = self.meta();
        let tombstones: bool = meta.need(key::TOMBSTONES)?;
        for (shape, table) in self.shapes.iter().zip(&self.mapping.tables) {
            settle(&meta, shape, table, tombstones)?;
        }
        meta.set(key::TOMBSTONES, false)?;
        meta.set(key::REBUILDING, false)
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
