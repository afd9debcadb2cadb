//! What the log says of sessions beside their rows: who owns them, and what was written behind the owner's back.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};
use crate::event::{Decoder, Envelope, Op, Whose};
use crate::fold::LastEvent;
use crate::mapping::{FOREIGN_SETTLED, FOREIGN_WRITE, KeyText, Mapping, OWNERSHIP, Row, Rows, Table};
use crate::ownership::{Owners, Side, Transfer};
use crate::port::event_log::{Batch, Checkpoint, EventLog, Fetched, Positions, TopicIds, ends};
use crate::port::identity::{LostPlace, RowTopics};
use crate::port::settled::require_settled;

/// The role whose writer alone writes transfers, and rows of sessions that events own.
pub const GATEWAY_ROLE: &str = "gateway";

/// Carried by every checkpoint of that writer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayState {
    /// The replay's, whose events these go on from.
    pub generation: u32,
    /// The last event's count.
    pub count: u64,
    /// Where the log ended before the first transfer, by (topic, partition): none lies before.
    pub begins_at: Vec<(String, i32, i64)>,
    /// The topics they lie in; empty in checkpoints from before topics had ids.
    #[serde(default)]
    pub topics: TopicIds,
}

/// What stands in errors for the transfers.
pub const OWNERS: &str = "who owns which session";

impl GatewayState {
    pub fn of(checkpoint: &Checkpoint) -> Result<Self> {
        serde_json::from_value(checkpoint.state.clone()).map_err(|error| {
            Error::refused("the gateway's checkpoint has a form this tool does not know")
                .hint("it was written by a newer crossfade: use that one")
                .because(error)
        })
    }

    /// The committed state; `None` before the first transfer.
    pub fn read(log: &dyn EventLog, migration: &str) -> Result<Option<Self>> {
        log.checkpoint(&format!("{migration}/{GATEWAY_ROLE}"))?.as_ref().map(Self::of).transpose()
    }

    /// The last count it gave in a generation.
    pub fn counted(log: &dyn EventLog, migration: &str, generation: u32) -> Result<u64> {
        let state = Self::read(log, migration)?.filter(|state| state.generation == generation);
        Ok(state.map_or(0, |state| state.count))
    }

    fn lost(&self, found: &RowTopics) -> Option<LostPlace> {
        found.lost(&self.topics, &found.starts(&self.begins_at()))
    }

    pub fn begins_at(&self) -> Positions {
        self.begins_at.iter().map(|(topic, partition, offset)| ((topic.clone(), *partition), *offset)).collect()
    }

    pub fn to_json(&self) -> Result<serde_json::Value> {
        serde_json::to_value(self).map_err(|error| Error::failed("the gateway's state has no JSON form").because(error))
    }
}

/// A row by its table's place in the mapping and the exact image of its identity.
pub type RowKey = (usize, Vec<u8>);

pub fn row_key(table: &Table, row: Row<'_>) -> RowKey {
    let mut image = Vec::new();
    for cell in &table.identity {
        row.get(*cell).write_image(&mut image);
    }
    (table.index, image)
}

/// A change somebody made in the legacy to a row of a session that events own, not settled yet.
#[derive(Clone, Debug)]
pub struct ForeignWrite {
    pub key: Vec<u8>,
    pub place: (String, i32, i64),
    /// What the row has become there; of a deleted one its identity.
    pub row: Rows,
    pub deleted: bool,
}

/// Owners and open foreign writes, as of a place in every partition.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    pub owners: Owners,
    pub foreign: BTreeMap<RowKey, ForeignWrite>,
}

const READ_RECORDS: usize = 4_000;
const WAIT: Duration = Duration::from_millis(100);

impl Sessions {
    /// As of the read-committed end, or of `until`. Reads from where the first transfer lies; nothing where there is none.
    pub fn read(log: &dyn EventLog, mapping: &Mapping, migration: &str, until: Option<&Positions>) -> Result<Self> {
        let mut sessions = Self::default();
        let Some(state) = GatewayState::read(log, migration)? else { return Ok(sessions) };
        if let Some(lost) = state.lost(&RowTopics::look(log, mapping)?) {
            let way_on = "take every session as the legacy's and copy everything anew: crossfade replay --recopy";
            return Err(lost.refusal(OWNERS, way_on));
        }
        let begins_at = state.begins_at();
        if until.is_none() {
            require_settled(log, mapping)?;
        }
        let mut wanted = ends(log, mapping)?;
        if let Some(until) = until {
            for (place, end) in &mut wanted {
                *end = until.get(place).copied().unwrap_or(0).min(*end);
            }
        }
        let from: Positions =
            wanted.keys().map(|place| (place.clone(), begins_at.get(place).copied().unwrap_or(0))).collect();
        let behind = |at: &Positions| wanted.iter().any(|(place, end)| at.get(place).is_some_and(|at| at < end));
        if behind(&from) {
            let mut reader = log.open_reader(&from)?;
            let mut batch = Batch::default();
            while behind(reader.positions()) {
                reader.read(&mut batch, READ_RECORDS, WAIT)?;
                for record in batch.iter() {
                    let place = (record.topic.to_owned(), record.partition);
                    if wanted.get(&place).is_some_and(|end| record.offset < *end)
                        && let Whose::Own(envelope) = record.whose(migration)?
                    {
                        sessions.take(mapping, &record, &envelope).map_err(|error| record.unreadable(error))?;
                    }
                }
            }
        }
        Ok(sessions)
    }

    /// What is no longer there of the transfers, if anything.
    pub fn lost(log: &dyn EventLog, mapping: &Mapping, migration: &str) -> Result<Option<LostPlace>> {
        match GatewayState::read(log, migration)? {
            Some(state) => Ok(state.lost(&RowTopics::look(log, mapping)?)),
            None => Ok(None),
        }
    }

    /// No session was ever transferred.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }

    /// Whether events own the session of this row.
    pub fn owned(&self, table: &Table, row: Row<'_>, key: &mut KeyText) -> bool {
        let key = if self.is_empty() { None } else { key.write(table, row) };
        key.is_some_and(|key| self.owners.owner(&table.topic, key) == Side::Events)
    }

    /// Whether the row's last event was written while events owned its session.
    pub fn mirrored(&self, table: &Table, row: Row<'_>, last: LastEvent, key: &mut KeyText) -> bool {
        let key = if self.is_empty() { None } else { key.write(table, row) };
        key.is_some_and(|key| self.owners.wrote(&table.topic, key, last.offset))
    }

    /// Folds a record of the migration's own in, where it speaks of sessions.
    pub fn take(&mut self, mapping: &Mapping, record: &Fetched<'_>, envelope: &Envelope<'_>) -> Result<()> {
        match envelope.event_type {
            OWNERSHIP => {
                let transfer = Transfer::read(record.value)?;
                self.owners.apply((record.topic, record.offset), record.key, transfer)?;
            }
            FOREIGN_WRITE | FOREIGN_SETTLED => {
                let mut decoder = Decoder::new(mapping);
                let mut chunks = decoder.chunks();
                let event = decoder.decode(record.value, record.key, &mut chunks)?;
                let row = chunks.swap_remove(event.table);
                let key = row_key(&mapping.tables[event.table], row.row(0));
                if envelope.event_type == FOREIGN_SETTLED {
                    self.foreign.remove(&key);
                } else {
                    let place = (record.topic.to_owned(), record.partition, record.offset);
                    let deleted = event.op == Op::Delete;
                    self.foreign.insert(key, ForeignWrite { key: record.key.to_vec(), place, row, deleted });
                }
            }
            _ => {}
        }
        Ok(())
    }
}
