//! The legacy's own tables, written by reverse: final images, under one epoch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};
use crate::mapping::{Mapping, Row};
use crate::port::event_log::{Offset, Positions, TopicIds};
use crate::port::owners::RowKey;

/// What a sink keeps in a table of this tool's own beside the legacy's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkState {
    /// Raised by each claim; a commit under an older one changes nothing.
    pub epoch: u64,
    pub positions: Positions,
    /// The topics the positions lie in; empty in a table from before topics had ids.
    pub topics: TopicIds,
    /// Rows whose last image is not in the legacy.
    pub kept: BTreeMap<RowKey, Kept>,
    /// Triggers of the legacy's ran for some of what was written.
    pub triggers_run: bool,
}

/// A row that was kept back because the legacy's schema does not take it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    pub table: String,
    /// Its identity, for people.
    pub row: String,
    pub topic: String,
    pub partition: i32,
    /// Its last event.
    pub offset: Offset,
    pub reason: String,
}

impl SinkState {
    /// Reads what a sink keeps of itself. Rows kept back of tables the mapping no longer has are forgotten.
    pub fn read(mapping: &Mapping, rows: impl IntoIterator<Item = (String, String, String)>) -> Result<Self> {
        let mut state = Self::default();
        for (kind, name, value) in rows {
            let damaged = |error: serde_json::Error| {
                Error::corrupt(format!("what reverse keeps in the legacy cannot be read: {kind} {name}"))
                    .hint("was it written by a newer crossfade? Then use that one")
                    .because(error)
            };
            match kind.as_str() {
                EPOCH => state.epoch = serde_json::from_str(&value).map_err(damaged)?,
                POSITION => {
                    let place = serde_json::from_str(&name).map_err(damaged)?;
                    state.positions.insert(place, serde_json::from_str(&value).map_err(damaged)?);
                }
                TOPICS => state.topics = serde_json::from_str(&value).map_err(damaged)?,
                TRIGGERS => state.triggers_run = true,
                KEPT => {
                    let (table, image): (String, Vec<u8>) = serde_json::from_str(&name).map_err(damaged)?;
                    let kept = serde_json::from_str(&value).map_err(damaged)?;
                    state.kept.extend(mapping.table(&table).map(|table| ((table.index, image), kept)));
                }
                _ => {}
            }
        }
        Ok(state)
    }

    /// The rows (kind, name, value) by which a table keeps these; a value of `None` says that the row is to go.
    pub fn changes(
        &self,
        mapping: &Mapping,
        positions: &Positions,
        kept: &BTreeMap<RowKey, Kept>,
    ) -> Result<Vec<(&'static str, String, Option<String>)>> {
        let name = |key: &RowKey| json(&(&mapping.tables[key.0].name, &key.1));
        let mut rows = vec![(TOPICS, String::new(), Some(json(&self.topics)?))];
        for (place, at) in positions.iter().filter(|(place, at)| self.positions.get(*place) != Some(*at)) {
            rows.push((POSITION, json(place)?, Some(at.to_string())));
        }
        for key in self.kept.keys().filter(|key| !kept.contains_key(*key)) {
            rows.push((KEPT, name(key)?, None));
        }
        for (key, one) in kept.iter().filter(|(key, one)| self.kept.get(*key) != Some(*one)) {
            rows.push((KEPT, name(key)?, Some(json(one)?)));
        }
        Ok(rows)
    }
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::failed("what reverse keeps has no JSON form").because(error))
}

/// Kinds of rows in the table beside the legacy's.
pub const EPOCH: &str = "epoch";
/// There once a writer could not keep the legacy's triggers from running.
pub const TRIGGERS: &str = "triggers";
const POSITION: &str = "position";
const TOPICS: &str = "topics";
const KEPT: &str = "kept";

/// One row as it shall be.
#[derive(Clone, Copy, Debug)]
pub enum Image<'a> {
    /// In the layout of [`crate::mapping::Table::width`]; the cells of `left_out` are not written, whatever they hold.
    Put { row: Row<'a>, left_out: &'a [usize] },
    /// Known by its identity cells.
    Delete(Row<'a>),
}

/// A statement that makes a sink ready or takes that back, as it is shown and journalled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkStep {
    pub sql: String,
    pub back: String,
}

/// The tables of a legacy store, to be written.
pub trait LegacySink: Send + Sync {
    fn describe(&self) -> String;

    /// What there is to say before anything is written.
    fn notes(&self) -> Result<Vec<String>>;

    /// What makes it ready; empty when it is.
    fn installation(&self) -> Result<Vec<SinkStep>>;

    fn install(&self) -> Result<()>;

    /// What takes away whatever there is of this migration's own table.
    fn removal(&self) -> Result<Vec<SinkStep>>;

    fn remove(&self) -> Result<()>;

    /// `None` where it was never made ready.
    fn state(&self) -> Result<Option<SinkState>>;

    /// Raises the epoch, and thereby stops every older writer. Refused where it was never made ready.
    fn claim(&self) -> Result<Box<dyn SinkWriter>>;
}

/// Writes images under one epoch, in transactions that never hold the legacy up for long.
pub trait SinkWriter: Send {
    fn state(&self) -> &SinkState;

    /// Says in which topics positions lie; kept with the next commit of positions.
    fn lies_in(&mut self, topics: &TopicIds);

    /// Begins a transaction; [`crate::base::Kind::Fenced`] when a newer claim was made. With `deferred` what the schema
    /// defers, or can be made to, is looked at by `commit` only.
    fn begin(&mut self, deferred: bool) -> Result<()>;

    /// Brings one row to its image; `Some(reason)` where the schema does not take it: then only `rollback` may follow.
    fn write(&mut self, table: usize, image: Image<'_>) -> Result<Option<String>>;

    /// Whether a row of the table may be deleted and put back inside one transaction: nothing of it would be lost, and no
    /// other row changed.
    fn replaceable(&self, _table: usize) -> bool {
        false
    }

    /// The transaction has lasted as long as it may.
    fn due(&self) -> bool;

    /// Ends the transaction. With `state` (positions, and rows kept back) that is compared-and-set in it; without, what was
    /// written stands and the positions do not move. `Some(reason)` where the schema does not take the sum of it; then it is
    /// rolled back.
    fn commit(&mut self, state: Option<(&Positions, &BTreeMap<RowKey, Kept>)>) -> Result<Option<String>>;

    fn rollback(&mut self);
}
