//! Reading a projection in one transaction.

use std::path::PathBuf;

use rusqlite::Connection;

use super::fault::fault;
use super::shape::Shape;
use super::{bind, last_event, lend};
use crate::base::Result;
use crate::mapping::{Row, Rows, Table, Value};
use crate::port::legacy_source::Keep;
use crate::port::row_store::{LastEvent, RowView, StoreState};

const CHUNK_ROWS: usize = 2_000;
const CHUNK_BYTES: usize = 1 << 20;

pub(super) struct SqliteView {
    path: PathBuf,
    connection: Connection,
    shapes: Vec<Shape>,
    state: StoreState,
    rows: Rows,
    events: Vec<LastEvent>,
}

impl SqliteView {
    pub(super) fn new(path: PathBuf, connection: Connection, shapes: Vec<Shape>, state: StoreState) -> Self {
        Self { path, connection, shapes, state, rows: Rows::default(), events: Vec::new() }
    }

    fn faulty(&self, error: rusqlite::Error) -> crate::base::Error {
        fault(&self.path, "reading rows")(error)
    }
}

impl RowView for SqliteView {
    fn state(&self) -> &StoreState {
        &self.state
    }

    fn count(&mut self, table: usize) -> Result<u64> {
        let count = self.connection.query_row(&self.shapes[table].count, [], |row| row.get::<_, i64>(0));
        count.map(i64::unsigned_abs).map_err(|error| self.faulty(error))
    }

    fn scan(&mut self, table: &Table, each: &mut dyn FnMut(&Rows, &[LastEvent]) -> Result<()>) -> Result<()> {
        let faulty = fault(&self.path, "reading rows");
        let width = table.width();
        let mut statement = self.connection.prepare(&self.shapes[table.index].scan).map_err(&faulty)?;
        let mut found = statement.raw_query();
        loop {
            self.rows.reset(width);
            self.events.clear();
            while self.events.len() < CHUNK_ROWS && self.rows.byte_len() < CHUNK_BYTES {
                let Some(row) = found.next().map_err(&faulty)? else { break };
                take(row, width, &mut self.rows).map_err(&faulty)?;
                self.events.push(last_event(row, width));
            }
            if self.events.is_empty() {
                return Ok(());
            }
            each(&self.rows, &self.events)?;
        }
    }

    fn pick(
        &mut self,
        table: &Table,
        keep: Keep<'_>,
        each: &mut dyn FnMut(&Rows, &[LastEvent]) -> Result<()>,
    ) -> Result<()> {
        let faulty = fault(&self.path, "picking rows");
        let (width, shape, cells) = (table.width(), &self.shapes[table.index], table.identity.len());
        let mut walk = self.connection.prepare(&shape.identities).map_err(&faulty)?;
        let mut numbered = self.connection.prepare(&shape.numbered).map_err(&faulty)?;
        let mut found = walk.raw_query();
        let mut identity = Rows::new(1);
        self.rows.reset(width);
        self.events.clear();
        while let Some(row) = found.next().map_err(&faulty)? {
            identity.reset(1);
            for cell in 0..cells {
                identity.push(lend(row.get_ref(cell).map_err(&faulty)?));
            }
            let values: Vec<Value<'_>> = identity.iter().map(|cell| cell.get(0)).collect();
            if !keep(&values) {
                continue;
            }
            let number: i64 = row.get(cells).map_err(&faulty)?;
            let (rows, events) = (&mut self.rows, &mut self.events);
            let whole = |row: &rusqlite::Row<'_>| {
                events.push(last_event(row, width));
                take(row, width, rows)
            };
            numbered.query_one([number], whole).map_err(&faulty)?;
            if self.rows.byte_len() >= CHUNK_BYTES {
                each(&self.rows, &self.events)?;
                self.rows.reset(width);
                self.events.clear();
            }
        }
        if self.events.is_empty() { Ok(()) } else { each(&self.rows, &self.events) }
    }

    fn lookup(
        &mut self,
        table: &Table,
        identities: &Rows,
        each: &mut dyn FnMut(Row<'_>, LastEvent) -> Result<()>,
    ) -> Result<()> {
        let faulty = fault(&self.path, "looking rows up");
        let width = table.width();
        let mut statement = self.connection.prepare(&self.shapes[table.index].lookup).map_err(&faulty)?;
        for identity in identities.iter() {
            for (at, value) in identity.values().enumerate() {
                statement.raw_bind_parameter(at + 1, bind(value)).map_err(&faulty)?;
            }
            let mut found = statement.raw_query();
            while let Some(row) = found.next().map_err(&faulty)? {
                self.rows.reset(width);
                take(row, width, &mut self.rows).map_err(&faulty)?;
                // SQLite also finds equal values of another class, and more than one of them.
                let lent = self.rows.row(0);
                if table.identity.iter().zip(identity.values()).all(|(cell, wanted)| lent.get(*cell) == wanted) {
                    each(lent, last_event(row, width))?;
                    break;
                }
            }
        }
        Ok(())
    }
}

fn take(row: &rusqlite::Row<'_>, width: usize, rows: &mut Rows) -> rusqlite::Result<()> {
    for cell in 0..width {
        rows.push(lend(row.get_ref(cell)?));
    }
    Ok(())
}
