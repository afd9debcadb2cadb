//! Legacy tables in memory: the fake of the sink's port. Clones are handles on the same tables.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::base::{Error, Result};
use crate::mapping::{Mapping, Row, Rows, Table, Value};
use crate::port::event_log::{Positions, TopicIds};
use crate::port::legacy_sink::{Image, Kept, LegacySink, SinkState, SinkStep, SinkWriter};
use crate::port::owners::{RowKey, row_key};

/// What the schema in memory asks of its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Constraint {
    NotNull {
        table: usize,
        cell: usize,
    },
    /// The cell holds the identity of a row of `parent`, or null. Looked at by the commit of a deferred transaction.
    References {
        table: usize,
        cell: usize,
        parent: usize,
    },
}

#[derive(Clone, Debug)]
pub struct MemorySink {
    mapping: Arc<Mapping>,
    constraints: Arc<Vec<Constraint>>,
    held: Arc<Mutex<Held>>,
}

type Tables = BTreeMap<RowKey, Rows>;

#[derive(Debug, Default)]
struct Held {
    rows: Tables,
    state: Option<SinkState>,
}

struct MemoryWriter {
    sink: MemorySink,
    state: SinkState,
    open: Option<Tables>,
    deferred: bool,
}

impl MemorySink {
    pub fn new(mapping: Arc<Mapping>, constraints: Vec<Constraint>) -> Self {
        Self { mapping, constraints: Arc::new(constraints), held: Arc::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The rows of a table in the order of their identities' images.
    pub fn rows(&self, table: &Table) -> Vec<Rows> {
        let of = |(key, _): &(&RowKey, &Rows)| key.0 == table.index;
        self.held().rows.iter().filter(of).map(|(_, row)| row.clone()).collect()
    }

    fn step() -> SinkStep {
        SinkStep { sql: "make".to_owned(), back: "unmake".to_owned() }
    }

    /// Why these rows break a constraint, if they do; references are left out of account where they are deferred.
    fn broken(&self, rows: &Tables, deferred: bool) -> Option<String> {
        let of = |table: usize| rows.iter().filter(move |(key, _)| key.0 == table).map(|(_, row)| row.row(0));
        for constraint in self.constraints.iter() {
            match *constraint {
                Constraint::NotNull { table, cell } if of(table).any(|row| row.get(cell) == Value::Null) => {
                    return Some(format!("{} must not be null", self.mapping.tables[table].columns[cell].name));
                }
                Constraint::References { table, cell, parent } if !deferred => {
                    let identity = self.mapping.tables[parent].identity[0];
                    let there = |value: Value<'_>| of(parent).any(|row| row.get(identity) == value);
                    let lost = |row: Row<'_>| row.get(cell) != Value::Null && !there(row.get(cell));
                    if of(table).any(lost) {
                        return Some("the row it references is not there".to_owned());
                    }
                }
                _ => {}
            }
        }
        None
    }
}

impl LegacySink for MemorySink {
    fn describe(&self) -> String {
        "memory".to_owned()
    }

    fn notes(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn installation(&self) -> Result<Vec<SinkStep>> {
        Ok(if self.held().state.is_some() { Vec::new() } else { vec![Self::step()] })
    }

    fn install(&self) -> Result<()> {
        self.held().state.get_or_insert_default();
        Ok(())
    }

    fn removal(&self) -> Result<Vec<SinkStep>> {
        Ok(if self.held().state.is_some() { vec![Self::step()] } else { Vec::new() })
    }

    fn remove(&self) -> Result<()> {
        self.held().state = None;
        Ok(())
    }

    fn state(&self) -> Result<Option<SinkState>> {
        Ok(self.held().state.clone())
    }

    fn claim(&self) -> Result<Box<dyn SinkWriter>> {
        let mut held = self.held();
        let Some(state) = &mut held.state else {
            return Err(Error::refused("it was not made ready").hint("crossfade project --reverse --install"));
        };
        state.epoch += 1;
        Ok(Box::new(MemoryWriter { sink: self.clone(), state: state.clone(), open: None, deferred: false }))
    }
}

impl MemoryWriter {
    fn hold(&self, held: &Held) -> Result<()> {
        match &held.state {
            Some(state) if state.epoch == self.state.epoch => Ok(()),
            _ => Err(Error::fenced("memory was claimed by a newer writer; nothing was changed")),
        }
    }
}

impl SinkWriter for MemoryWriter {
    fn state(&self) -> &SinkState {
        &self.state
    }

    fn lies_in(&mut self, topics: &TopicIds) {
        self.state.topics.clone_from(topics);
    }

    fn begin(&mut self, deferred: bool) -> Result<()> {
        let held = self.sink.held();
        self.hold(&held)?;
        self.open = Some(held.rows.clone());
        self.deferred = deferred;
        Ok(())
    }

    fn write(&mut self, table: usize, image: Image<'_>) -> Result<Option<String>> {
        let mapping = Arc::clone(&self.sink.mapping);
        let rows = self.open.get_or_insert_default();
        match image {
            Image::Delete(row) => {
                rows.remove(&row_key(&mapping.tables[table], row));
            }
            Image::Put { row, left_out } => {
                let key = row_key(&mapping.tables[table], row);
                let mut image = Rows::new(row.width());
                for cell in 0..row.width() {
                    let old = rows.get(&key).map_or(Value::Null, |old| old.row(0).get(cell));
                    image.push(if left_out.contains(&cell) { old } else { row.get(cell) });
                }
                rows.insert(key, image);
            }
        }
        let rows = self.open.as_ref();
        Ok(rows.and_then(|rows| self.sink.broken(rows, self.deferred)))
    }

    fn due(&self) -> bool {
        false
    }

    fn commit(&mut self, state: Option<(&Positions, &BTreeMap<RowKey, Kept>)>) -> Result<Option<String>> {
        let sink = self.sink.clone();
        let mut held = sink.held();
        let rows = self.open.take().unwrap_or_default();
        self.hold(&held)?;
        if let Some(reason) = self.sink.broken(&rows, false) {
            return Ok(Some(reason));
        }
        if let Some((positions, kept)) = state {
            self.state.positions.extend(positions.iter().map(|(place, at)| (place.clone(), *at)));
            self.state.kept.clone_from(kept);
            held.state = Some(self.state.clone());
        }
        held.rows = rows;
        Ok(None)
    }

    fn rollback(&mut self) {
        self.open = None;
    }
}
