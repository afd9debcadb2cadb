//! The writer: packs records in memory, and takes the file's write lock only for the commit.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::frames::Frames;
use super::layout::{self, OFFSETS};
use super::pending::Pending;
use super::{failure, file};
use crate::base::{Error, Kind, Result};
use crate::event::partition::partition;
use crate::port::event_log::{Checkpoint, LogWriter, Offset, Record};

/// Frames of a batch before compression; a larger record has a batch of its own.
const BATCH_BYTES: usize = 256 << 10;

pub(super) struct Writer {
    path: PathBuf,
    connection: Connection,
    name: String,
    instance: String,
    epoch: u64,
    checkpoint: Option<Checkpoint>,
    topics: HashMap<String, Places>,
    lanes: Vec<Lane>,
    pending: Pending,
    scratch: Vec<u8>,
    standing: Standing,
}

/// The lanes of a topic's partitions, by partition number.
struct Places {
    lanes: Vec<usize>,
    max_record_bytes: usize,
}

/// One partition written to.
struct Lane {
    row: i64,
    frames: Frames,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Good,
    /// The open transaction cannot be committed; `abort` ends it.
    Failed,
    /// For good: only opening the name again helps.
    Fenced,
    Unknown,
}

impl Writer {
    pub(super) fn open(path: &Path, name: &str, instance: &str) -> Result<Self> {
        let mut connection = file::connect(path, false)?;
        let (epoch, checkpoint) = raise(&mut connection, name, instance).map_err(|error| failure::of(path, error))?;
        let checkpoint = checkpoint.map(|text| layout::checkpoint(path, name, &text)).transpose()?;
        Ok(Self {
            path: path.to_owned(),
            connection,
            name: name.to_owned(),
            instance: instance.to_owned(),
            epoch,
            checkpoint,
            topics: HashMap::new(),
            lanes: Vec::new(),
            pending: Pending::new(path),
            scratch: Vec::new(),
            standing: Standing::Good,
        })
    }

    fn stand(&self) -> Result<()> {
        match self.standing {
            Standing::Good => Ok(()),
            Standing::Failed => Err(Error::failed("the transaction has failed: abort it first")),
            Standing::Fenced => Err(fenced(&self.name)),
            Standing::Unknown => {
                Err(Error::unknown(format!("whether the last commit of '{}' was made is not known", self.name))
                    .hint("open the writer again: its checkpoint tells"))
            }
        }
    }

    /// Ends the transaction after an error, so that its memory is free and nothing of it can be committed.
    fn fail(&mut self, error: Error) -> Error {
        self.standing = match error.kind() {
            Kind::Fenced => Standing::Fenced,
            Kind::Unknown => Standing::Unknown,
            _ => Standing::Failed,
        };
        self.drop_records();
        error
    }

    fn drop_records(&mut self) {
        self.pending.clear();
        self.lanes.iter_mut().for_each(|lane| lane.frames.clear());
    }

    /// The lane `record` belongs to, and its bytes.
    fn place(&mut self, record: &Record<'_>) -> Result<(usize, usize)> {
        if !self.topics.contains_key(record.topic) {
            let topic = layout::topic(&self.connection, &self.path, record.topic)?;
            let first = self.lanes.len();
            self.lanes.extend(topic.partitions.iter().map(|row| Lane { row: *row, frames: Frames::default() }));
            let lanes = (first..self.lanes.len()).collect();
            self.topics.insert(record.topic.to_owned(), Places { lanes, max_record_bytes: topic.max_record_bytes });
        }
        let places = &self.topics[record.topic];
        let headers = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let bytes = record.key.len() + record.value.len() + headers;
        if bytes > places.max_record_bytes {
            let (topic, limit) = (record.topic, places.max_record_bytes);
            return Err(Error::row(format!("a record of {bytes} bytes is larger than topic '{topic}' takes: {limit}"))
                .hint("raise `max.message.bytes` of the topic"));
        }
        let count = places.lanes.len();
        let number = record.partition.unwrap_or_else(|| partition(record.key, count as i32));
        usize::try_from(number)
            .ok()
            .and_then(|number| Some((*places.lanes.get(number)?, bytes)))
            .ok_or_else(|| layout::no_partition(record.topic, number, count))
    }

    fn add(&mut self, record: &Record<'_>) -> Result<()> {
        self.stand()?;
        let (index, bytes) = self.place(record)?;
        let lane = &mut self.lanes[index];
        if !lane.frames.is_empty() && lane.frames.len() + bytes > BATCH_BYTES {
            self.pending.push(index, lane.frames.seal(&mut self.scratch))?;
        }
        lane.frames.push(record.timestamp, record.key, record.value, record.headers);
        Ok(())
    }

    fn seal_all(&mut self) -> Result<()> {
        for (index, lane) in self.lanes.iter_mut().enumerate().filter(|(_, lane)| !lane.frames.is_empty()) {
            self.pending.push(index, lane.frames.seal(&mut self.scratch))?;
        }
        Ok(())
    }

    fn store(&mut self, checkpoint: &str) -> Result<()> {
        let path = &self.path;
        let fail = |error| failure::of(path, error);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        let updated = transaction
            .execute(
                "UPDATE writers SET checkpoint = ?1 WHERE name = ?2 AND epoch = ?3 AND instance = ?4",
                params![checkpoint, self.name, self.epoch.cast_signed(), self.instance],
            )
            .map_err(fail)?;
        if updated != 1 {
            return Err(fenced(&self.name));
        }
        let mut ends: BTreeMap<i64, Offset> = BTreeMap::new();
        let lanes = &self.lanes;
        {
            let mut next = transaction
                .prepare(
                    "SELECT next_offset FROM partitions JOIN topics ON topics.id = topic
                     WHERE partitions.id = ?1 AND name NOT LIKE '/%'",
                )
                .map_err(fail)?;
            let mut insert = transaction
                .prepare(
                    "INSERT INTO batches (id, count, first_ms, last_ms, codec, checksum, blob)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )
                .map_err(fail)?;
            self.pending.each(|lane, sealed, blob| {
                let row = lanes[lane].row;
                let base = match ends.get(&row) {
                    Some(base) => *base,
                    None => next
                        .query_row([row], |found| found.get(0))
                        .optional()
                        .map_err(fail)?
                        .ok_or_else(|| Error::config("a topic that was written to has been deleted"))?,
                };
                let end = base + Offset::from(sealed.count);
                if end >= OFFSETS {
                    return Err(Error::refused(format!("a partition of {} has no offsets left", path.display())));
                }
                let id = layout::batch_id(row, base);
                insert
                    .execute(params![
                        id,
                        sealed.count,
                        sealed.first_ms,
                        sealed.last_ms,
                        sealed.codec,
                        sealed.checksum,
                        blob
                    ])
                    .map_err(fail)?;
                ends.insert(row, end);
                Ok(())
            })?;
            let mut update =
                transaction.prepare("UPDATE partitions SET next_offset = ?2 WHERE id = ?1").map_err(fail)?;
            for (row, end) in ends {
                update.execute([row, end]).map_err(fail)?;
            }
        }
        transaction.commit().map_err(|error| failure::of_commit(path, error))
    }
}

fn fenced(name: &str) -> Error {
    Error::fenced(format!("a newer writer took the name '{name}'; nothing was committed"))
}

/// Raises the writer's epoch, which fences every older one of the name.
fn raise(connection: &mut Connection, name: &str, instance: &str) -> rusqlite::Result<(u64, Option<String>)> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = transaction.query_row(
        "INSERT INTO writers (name, epoch, instance) VALUES (?1, 1, ?2)
         ON CONFLICT (name) DO UPDATE SET epoch = epoch + 1, instance = excluded.instance
         RETURNING epoch, checkpoint",
        [name, instance],
        |row| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get(1)?)),
    )?;
    transaction.commit()?;
    Ok(found)
}

impl LogWriter for Writer {
    fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    fn append(&mut self, record: &Record<'_>) -> Result<()> {
        self.add(record).map_err(|error| self.fail(error))
    }

    fn commit(&mut self, plan_hash: &str, state: serde_json::Value) -> Result<()> {
        self.stand()?;
        let checkpoint = Checkpoint {
            writer: self.name.clone(),
            instance: self.instance.clone(),
            epoch: self.epoch,
            plan_hash: plan_hash.to_owned(),
            state,
        };
        let text = serde_json::to_string(&checkpoint)
            .map_err(|error| Error::failed("the checkpoint cannot be written as JSON").because(error));
        let stored = text.and_then(|text| self.seal_all().and_then(|()| self.store(&text)));
        stored.map_err(|error| self.fail(error))?;
        self.pending.clear();
        self.checkpoint = Some(checkpoint);
        Ok(())
    }

    fn again(&self) -> Result<Box<dyn LogWriter>> {
        Ok(Box::new(Self::open(&self.path, &self.name, &self.instance)?))
    }

    fn abort(&mut self) -> Result<()> {
        self.drop_records();
        if self.standing == Standing::Failed {
            self.standing = Standing::Good;
            // It may have failed because a topic changed.
            self.topics.clear();
            self.lanes.clear();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::EmbeddedLog;
    use crate::port::event_log::{EventLog, Topic};

    #[test]
    fn i08_a_full_device_loses_nothing_committed_and_the_writer_goes_on_once_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let log = EmbeddedLog::open(&path, true).unwrap();
        log.create_topics(&[Topic { name: "t".into(), partitions: 1, configs: BTreeMap::new() }]).unwrap();
        let mut writer = Writer::open(&path, "m/replay", "one").unwrap();
        let value: Vec<u8> = (0..900_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let fill = |writer: &mut Writer, number: i64| {
            writer
                .append(&Record {
                    topic: "t",
                    partition: None,
                    key: b"k",
                    value: &value,
                    headers: &[],
                    timestamp: number,
                })
                .and_then(|()| writer.commit("plan", number.into()))
        };
        fill(&mut writer, 1).unwrap();
        let pages: i64 = writer.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        writer.connection.pragma_update_and_check(None, "max_page_count", pages + 3, |_| Ok(())).unwrap();
        let error = fill(&mut writer, 2).unwrap_err();
        assert_eq!(error.kind(), Kind::Full);
        assert!(error.help().unwrap().contains("what was committed stays"));
        assert_eq!(log.checkpoint("m/replay").unwrap().unwrap().state, 1);
        assert_eq!(log.ends("t").unwrap()[&0].committed, 1);
        assert_eq!(fill(&mut writer, 3).unwrap_err().kind(), Kind::Failed);
        writer.abort().unwrap();
        writer.connection.pragma_update_and_check(None, "max_page_count", pages + 3_000, |_| Ok(())).unwrap();
        fill(&mut writer, 4).unwrap();
        assert_eq!(log.ends("t").unwrap()[&0].committed, 2);
    }

    #[test]
    fn batches_are_small_and_a_large_record_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let log = EmbeddedLog::open(&path, true).unwrap();
        log.create_topics(&[Topic { name: "t".into(), partitions: 1, configs: BTreeMap::new() }]).unwrap();
        let mut writer = Writer::open(&path, "m/replay", "one").unwrap();
        for size in [100_000, 100_000, 100_000, 900_000, 10] {
            let value = vec![b'x'; size];
            let record = Record { topic: "t", partition: None, key: b"k", value: &value, headers: &[], timestamp: 0 };
            writer.append(&record).unwrap();
        }
        writer.commit("plan", 0.into()).unwrap();
        let mut counts = writer.connection.prepare("SELECT count FROM batches ORDER BY id").unwrap();
        let counts: Vec<i64> = counts.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(counts, [2, 1, 1, 1]);
    }
}
