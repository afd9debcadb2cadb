//! Where a replay and a follow stand: the state their checkpoints carry.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::{Error, Millis, Result};
use crate::port::change_source::Position;
use crate::port::event_log::{Checkpoint, EventLog, Positions, TopicIds};
use crate::port::identity::{Lost, LostPlace, RECOPY, RowTopics};
use crate::port::legacy_source::Cursor;
use crate::scan::Found;

/// The role under which replay writes; its writer is `<migration>/replay`.
pub const WRITER_ROLE: &str = "replay";

/// The role under which follow writes.
pub const FOLLOW_ROLE: &str = "follow";

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
    /// The topics its events lie in; empty in checkpoints from before topics had ids.
    #[serde(default)]
    pub topics: TopicIds,
    /// Rows copied per table.
    pub copied: BTreeMap<String, u64>,
    pub quarantined: u64,
    /// More than one snapshot was read from.
    pub resumed: bool,
    pub started_at: Millis,
    /// When the snapshot was taken that the fold equals, once done.
    pub snapshot_at: Millis,
    /// Where the capture of changes stood in that snapshot, if one was installed: follow goes on from there.
    #[serde(default)]
    pub captured: Option<Position>,
    /// What looks like a credential in the rows copied, or in all rows once reconciled.
    #[serde(default)]
    pub found: Vec<Found>,
    /// Reconciles done in this generation.
    #[serde(default)]
    pub reconciled: u64,
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

    /// What is no longer there of this generation's events, if anything.
    pub fn lost(&self, found: &RowTopics) -> Option<LostPlace> {
        let starts = found.starts(&self.begins_at());
        found.lost(&self.topics, &starts).or_else(|| found.fewer(self.count, &starts))
    }

    /// Refuses to go on from events that are gone. A first one that is gone is refused only by whoever needs it.
    pub fn require(&self, found: &RowTopics) -> Result<()> {
        match self.lost(found).filter(|place| place.lost != Lost::FirstGone) {
            Some(place) => Err(place.refusal("the replay", RECOPY)),
            None => Ok(()),
        }
    }

    pub fn to_json(&self) -> Result<serde_json::Value> {
        serde_json::to_value(self).map_err(|error| Error::failed("the replay's state has no JSON form").because(error))
    }
}

/// Carried by every checkpoint of the follow writer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowState {
    /// How changes are noticed: `outbox`, `decoding`, `reconcile`.
    pub mode: String,
    pub position: Position,
    /// The replay's, whose events these go on from.
    pub generation: u32,
    /// The last event's count, in one row with those of the replay.
    pub count: u64,
    /// Events of follow in this generation.
    pub events: u64,
    pub quarantined: u64,
    /// What this mode cannot see.
    pub blind: Vec<String>,
    /// What looks like a credential in the rows of these events.
    #[serde(default)]
    pub found: Vec<Found>,
    /// Changes that the store had taken away before they were read.
    #[serde(default)]
    pub gaps: Gaps,
    /// Why the next run begins with a reconcile, unless one was made since.
    pub dirty: Option<String>,
    /// The replay's reconciles when this was written.
    pub reconciled: u64,
    pub taken_at: Millis,
}

/// Gaps in this generation; each was reconciled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gaps {
    pub count: u64,
    pub last: String,
    /// Since follow last had every change.
    pub running: u64,
}

impl FollowState {
    pub fn of(checkpoint: &Checkpoint) -> Result<Self> {
        serde_json::from_value(checkpoint.state.clone()).map_err(|error| {
            Error::refused("the follow's checkpoint has a form this tool does not know")
                .hint("it was written by a newer crossfade: use that one")
                .because(error)
        })
    }

    /// The committed state; `None` before the first follow.
    pub fn read(log: &dyn EventLog, migration: &str) -> Result<Option<Self>> {
        log.checkpoint(&format!("{migration}/{FOLLOW_ROLE}"))?.as_ref().map(Self::of).transpose()
    }

    pub fn to_json(&self) -> Result<serde_json::Value> {
        serde_json::to_value(self).map_err(|error| Error::failed("the follow's state has no JSON form").because(error))
    }
}
