//! What the tables hold: topics with their partitions, places of batches, checkpoints.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OptionalExtension};

use super::failure;
use crate::base::{Error, Result};
use crate::port::event_log::{Checkpoint, Offset};

const OFFSET_BITS: u32 = 40;
/// Offsets of a partition lie below this, numbers of partitions below [`ROWS`].
pub(super) const OFFSETS: Offset = 1 << OFFSET_BITS;
pub(super) const ROWS: i64 = 1 << (63 - OFFSET_BITS);
/// Kafka's own default of `max.message.bytes`.
pub(super) const DEFAULT_MAX_RECORD_BYTES: usize = 1_048_588;

/// A topic as writers and readers need it.
pub(super) struct Found {
    /// `partitions.id` by partition number.
    pub(super) partitions: Vec<i64>,
    pub(super) max_record_bytes: usize,
    pub(super) configs: BTreeMap<String, String>,
}

/// The id of the batch of partition `row` that begins at `offset`.
pub(super) fn batch_id(row: i64, offset: Offset) -> i64 {
    (row << OFFSET_BITS) | offset.clamp(0, OFFSETS - 1)
}

pub(super) fn base_offset(id: i64) -> Offset {
    id & (OFFSETS - 1)
}

pub(super) fn topic(connection: &Connection, path: &Path, name: &str) -> Result<Found> {
    let fail = |error| failure::of(path, error);
    let found: Option<(i64, String)> = connection
        .query_row("SELECT id, configs FROM topics WHERE name = ?1", [name], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
        .map_err(fail)?;
    let (id, configs) = found.ok_or_else(|| {
        Error::config(format!("{} has no topic '{name}'", path.display())).hint("run `crossfade provision apply`")
    })?;
    let mut rows = connection.prepare("SELECT id FROM partitions WHERE topic = ?1 ORDER BY number").map_err(fail)?;
    let partitions = rows.query_map([id], |row| row.get(0)).and_then(Iterator::collect).map_err(fail)?;
    let configs = self::configs(path, name, &configs)?;
    let max_record_bytes =
        configs.get("max.message.bytes").and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_MAX_RECORD_BYTES);
    Ok(Found { partitions, max_record_bytes, configs })
}

pub(super) fn no_partition(topic: &str, number: i32, count: usize) -> Error {
    Error::config(format!("topic '{topic}' has {count} partitions, none of number {number}"))
}

pub(super) fn configs(path: &Path, topic: &str, text: &str) -> Result<BTreeMap<String, String>> {
    serde_json::from_str(text).map_err(|error| {
        Error::corrupt(format!("the configs of topic '{topic}' in {} are damaged", path.display())).because(error)
    })
}

pub(super) fn config_text(configs: &BTreeMap<String, String>) -> Result<String> {
    serde_json::to_string(configs)
        .map_err(|error| Error::failed("the configs cannot be written as JSON").because(error))
}

/// The id of a topic, if it is there; in files of a format without ids as of one made before there were any.
pub(super) fn topic_id(connection: &Connection, log: &str, name: &str) -> rusqlite::Result<Option<String>> {
    let kept = connection.prepare("SELECT uuid FROM topics").is_ok();
    let select = if kept {
        "SELECT id, uuid FROM topics WHERE name = ?1"
    } else {
        "SELECT id, NULL FROM topics WHERE name = ?1"
    };
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?));
    let found = connection.query_row(select, [name], row).optional()?;
    Ok(found.map(|(row, uuid)| uuid.unwrap_or_else(|| format!("{log}/{row}"))))
}

/// The name a deleted topic gets, which no topic can have. Its partitions stay, so that no other topic gets their ids and
/// no open handle meets the records of another topic.
pub(super) fn deleted(id: i64) -> String {
    format!("/{id}")
}

pub(super) fn checkpoint(path: &Path, writer: &str, text: &str) -> Result<Checkpoint> {
    serde_json::from_str(text).map_err(|error| {
        Error::corrupt(format!("the checkpoint of '{writer}' in {} is damaged", path.display())).because(error)
    })
}
