//! Writing images into a legacy file, in transactions its own writers do not feel.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::ErrorCode;

use super::shape::{Shape, Statements};
use super::{SqliteSink, state};
use crate::base::{Error, Result};
use crate::mapping::{Mapping, Row, Value};
use crate::port::event_log::{Positions, TopicIds};
use crate::port::legacy_sink::{EPOCH, Image, Kept, SinkState, SinkWriter};
use crate::port::owners::RowKey;
use crate::sqlite::error::explain;
use crate::sqlite::functions::bind;
use crate::sqlite::gate::{Gate, too_long};
use crate::sqlite::plan::quote;

/// A transaction is ended past this: the legacy's programs wait as long.
const LONG: Duration = Duration::from_millis(20);

pub(super) struct SqliteSinkWriter {
    path: PathBuf,
    table: String,
    mapping: Arc<Mapping>,
    gate: Gate,
    shapes: Vec<Shape>,
    state: SinkState,
    /// The largest row number met in each table that counts them.
    largest: BTreeMap<usize, i64>,
}

impl SqliteSinkWriter {
    pub(super) fn claim(sink: &SqliteSink, gate: Gate, shapes: Vec<Shape>) -> Result<Box<dyn SinkWriter>> {
        let mut writer = Self {
            path: sink.path.clone(),
            table: sink.table.clone(),
            mapping: Arc::clone(&sink.mapping),
            gate,
            shapes,
            state: SinkState::default(),
            largest: BTreeMap::new(),
        };
        writer.gate.begin()?;
        writer.state = state(writer.gate.connection(), &writer.table, &writer.mapping, &writer.path)?;
        writer.state.epoch += 1;
        let sql = format!("UPDATE {} SET value = ?1 WHERE kind = '{EPOCH}'", quote(&writer.table));
        let raised = writer.gate.connection().execute(&sql, [writer.state.epoch.to_string()]);
        raised.and_then(|_| writer.gate.commit()).map_err(|error| writer.told(error))?;
        Ok(Box::new(writer))
    }

    fn told(&self, error: rusqlite::Error) -> Error {
        explain(&self.path, error)
    }

    fn fenced(&mut self, what: &str) -> Error {
        self.rollback();
        Error::fenced(format!("'{}' {what}; nothing was changed", self.path.display()))
            .hint("another reverse, or a transfer, came after this one: run the command again")
    }

    fn hold(&mut self) -> Result<()> {
        let sql = format!("SELECT value FROM {} WHERE kind = '{EPOCH}'", quote(&self.table));
        let epoch: String =
            self.gate.connection().query_row(&sql, [], |row| row.get(0)).map_err(|error| self.told(error))?;
        if epoch == self.state.epoch.to_string() {
            return Ok(());
        }
        Err(self.fenced("was claimed by a newer writer"))
    }

    fn put(&self, shape: &Statements, table: usize, row: Row<'_>) -> rusqlite::Result<()> {
        let identity = &self.mapping.tables[table].identity;
        let mut update = self.gate.connection().prepare(&shape.update)?;
        for (at, cell) in shape.set.iter().chain(identity).enumerate() {
            update.raw_bind_parameter(at + 1, bind(row.get(*cell)))?;
        }
        if update.raw_execute()? > 0 {
            return Ok(());
        }
        let mut insert = self.gate.connection().prepare(&shape.insert)?;
        for (at, cell) in shape.given.iter().enumerate() {
            insert.raw_bind_parameter(at + 1, bind(row.get(*cell)))?;
        }
        insert.raw_execute().map(|_| ())
    }

    fn delete(&self, table: usize, row: Row<'_>) -> rusqlite::Result<()> {
        let mut delete = self.gate.connection().prepare(&self.shapes[table].delete)?;
        for (at, cell) in self.mapping.tables[table].identity.iter().enumerate() {
            delete.raw_bind_parameter(at + 1, bind(row.get(*cell)))?;
        }
        delete.raw_execute().map(|_| ())
    }

    /// A number that was given once is not given again, also where its row has gone.
    fn count_on(&self) -> rusqlite::Result<()> {
        for (table, largest) in &self.largest {
            let Some(name) = &self.shapes[*table].counted else { continue };
            let mut raise =
                self.gate.connection().prepare("UPDATE sqlite_sequence SET seq = max(seq, ?2) WHERE name = ?1")?;
            if raise.execute((name, largest))? == 0 {
                self.gate
                    .connection()
                    .execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?1, ?2)", (name, largest))?;
            }
        }
        Ok(())
    }

    fn save(&mut self, positions: &Positions, kept: &BTreeMap<RowKey, Kept>) -> Result<()> {
        let found = state(self.gate.connection(), &self.table, &self.mapping, &self.path)?;
        if found.positions != self.state.positions {
            return Err(self.fenced("stands at other positions than this run left it at"));
        }
        let changes = self.state.changes(&self.mapping, positions, kept)?;
        let write = || {
            let table = quote(&self.table);
            let mut put = self.gate.connection().prepare(&format!(
                "INSERT INTO {table} VALUES (?1, ?2, ?3) ON CONFLICT (kind, name) DO UPDATE SET value = excluded.value"
            ))?;
            let mut drop =
                self.gate.connection().prepare(&format!("DELETE FROM {table} WHERE kind = ?1 AND name = ?2"))?;
            for (kind, name, value) in &changes {
                match value {
                    Some(value) => put.execute((kind, name, value))?,
                    None => drop.execute((kind, name))?,
                };
            }
            self.count_on()
        };
        write().map_err(|error| self.told(error))
    }
}

impl SinkWriter for SqliteSinkWriter {
    fn state(&self) -> &SinkState {
        &self.state
    }

    fn lies_in(&mut self, topics: &TopicIds) {
        self.state.topics.clone_from(topics);
    }

    fn begin(&mut self, deferred: bool) -> Result<()> {
        self.gate.begin()?;
        self.hold()?;
        if deferred {
            let defer = self.gate.connection().pragma_update(None, "defer_foreign_keys", true);
            defer.map_err(|error| self.told(error))?;
        }
        Ok(())
    }

    fn write(&mut self, table: usize, image: Image<'_>) -> Result<Option<String>> {
        let (Image::Put { row, .. } | Image::Delete(row)) = image;
        if let [cell] = self.mapping.tables[table].identity[..]
            && let Value::Integer(number) = row.get(cell)
            && self.shapes[table].counted.is_some()
        {
            let largest = self.largest.entry(table).or_insert(number);
            *largest = number.max(*largest);
        }
        let done = match image {
            Image::Put { row, .. } if row.values().any(nan) => {
                return Ok(Some("it holds NaN, which SQLite stores as null".to_owned()));
            }
            Image::Put { row, left_out: [] } => self.put(&self.shapes[table].statements, table, row),
            Image::Put { row, left_out } => {
                let mapped = &self.mapping.tables[table];
                self.put(&Statements::of(mapped, &mapped.name, left_out), table, row)
            }
            Image::Delete(row) => self.delete(table, row),
        };
        match done {
            Ok(()) => Ok(None),
            // Alone it may be short enough, and if not it is kept back like what the schema does not take.
            Err(error) if too_long(&error) => Ok(Some(
                "its statement keeps the legacy's programs waiting too long; it is written while they are stopped"
                    .to_owned(),
            )),
            Err(error) => match rejected(&error) {
                Some(reason) => Ok(Some(reason)),
                None => {
                    self.rollback();
                    Err(self.told(error))
                }
            },
        }
    }

    /// Where no cascade begins at it, and every column is in the event.
    fn replaceable(&self, table: usize) -> bool {
        !self.shapes[table].referenced && self.mapping.tables[table].never.is_empty()
    }

    fn due(&self) -> bool {
        self.gate.closed() >= LONG
    }

    fn commit(&mut self, state: Option<(&Positions, &BTreeMap<RowKey, Kept>)>) -> Result<Option<String>> {
        self.gate.finish();
        if let Some((positions, kept)) = state {
            let saved = self.save(positions, kept);
            if saved.is_err() {
                self.rollback();
            }
            saved?;
        }
        if let Err(error) = self.gate.commit() {
            self.rollback();
            return match rejected(&error) {
                Some(reason) => Ok(Some(reason)),
                None => Err(self.told(error)),
            };
        }
        if let Some((positions, kept)) = state {
            self.state.positions.extend(positions.iter().map(|(place, at)| (place.clone(), *at)));
            self.state.kept.clone_from(kept);
        }
        Ok(None)
    }

    fn rollback(&mut self) {
        self.gate.rollback();
    }
}

fn nan(value: Value<'_>) -> bool {
    matches!(value, Value::Real(number) if number.is_nan())
}

/// What the schema says against a row; `None` for any other error. SQLite's words hold names and no values.
fn rejected(error: &rusqlite::Error) -> Option<String> {
    let code = error.sqlite_error_code()?;
    let ours = matches!(code, ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig);
    ours.then(|| match error {
        rusqlite::Error::SqliteFailure(_, Some(text)) => text.clone(),
        other => other.to_string(),
    })
}
