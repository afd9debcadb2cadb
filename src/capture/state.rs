//! Where a replay stands: the state its checkpoints carry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{Error, Millis, Result};
use crate::port::event_log::{Checkpoint, EventLog, Positions};
use crate::port::legacy_source::Cursor;

/// The role under which replay writes; its writer is `<migration>/replay`.
pub const WRITER_ROLE: &str = "replay";

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Copying tables by key ranges.
    #[default]
    Base,
    /// All ranges are copied, but not from one snapshot (or over an older generation): a pass that compares follows.
    Reconcile,
    Done,
}

/// Carried by every checkpoint of the replay writer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReplayState {
    pub phase: Phase,
    /// Kept over resumes, raised by a deliberate re-copy.
    pub generation: u32,
    /// Events written in this generation; the next event's count is one more.
    pub count: u64,
    /// The table being copied, by name.
    pub table: String,
    pub cursor: Cursor,
    /// Where the log ended when this generation began, by (topic, partition); its events lie behind. Empty in the first.
    #[serde(default)]
    pub begins_at: Vec<(String, i32, i64)>,
    /// Rows copied per table.
    pub copied: BTreeMap<String, u64>,
    pub quarantined: u64,
    /// More than one snapshot was read from.
    pub resumed: bool,
    pub started_at: Millis,
    /// When the snapshot was taken that the fold equals, once done.
    pub snapshot_at: Millis,
}

impl ReplayState {
    pub fn first(now: Millis) -> Self {
        Self { generation: 1, started_at: now, snapshot_at: now, ..Self::default() }
    }

    pub fn of(checkpoint: &Checkpoint) -> Result<Self> {
        serde_json::from_value(checkpoint.state.clone()).map_err(|error| {
            Error::refused("the replay's checkpoint has a form this tool does not know")
                .hint("it was written by a newer crossfade: use that one")
                .because(error)
        })
    }

    /// The committed state and the mapping it belongs to; `None` before the first replay.
    pub fn read(log: &dyn EventLog, migration: &str) -> Result<Option<(Self, String)>> {
        match log.checkpoint(&format!("{migration}/{WRITER_ROLE}"))? {
            Some(checkpoint) => Ok(Some((Self::of(&checkpoint)?, checkpoint.plan_hash))),
            None => Ok(None),
        }
    }

    /// Where a fold of this generation begins: what lies before may have been written under another mapping.
    pub fn begins_at(&self) -> Positions {
        self.begins_at.iter().map(|(topic, partition, offset)| ((topic.clone(), *partition), *offset)).collect()
    }

    pub fn to_json(&self) -> Result<serde_json::Value> {
        serde_json::to_value(self).map_err(|error| Error::failed("the replay's state has no JSON form").because(error))
    }
}
