//! The reader: whole batches in turn from each partition, lent record by record.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension};

use super::frames::{Cursor, unpack};
use super::layout::{self, base_offset, batch_id};
use super::{failure, file};
use crate::base::{Error, Result};
use crate::port::event_log::{Batch, LogReader, Offset, Positions};
use crate::port::group::Place;
use crate::port::roster::Lanes;

/// A chunk is full at this many bytes, however few records it holds.
const CHUNK_BYTES: usize = 4 << 20;
const LONGEST_PAUSE: Duration = Duration::from_millis(4);

pub(super) struct Reader {
    path: PathBuf,
    connection: Connection,
    positions: Positions,
    lanes: Vec<Lane>,
    turn: usize,
    open: Option<Open>,
    cursor: Cursor,
    frames: Vec<u8>,
    /// The state of the file in which nothing was left to read.
    exhausted: Option<i64>,
}

/// One partition read from.
struct Lane {
    place: (String, i32),
    row: i64,
    position: Offset,
    /// The next batch has this id or a higher one.
    from: i64,
}

/// The batch whose frames are being lent.
struct Open {
    lane: usize,
    id: i64,
    count: i64,
    /// Records lent or passed over so far.
    done: i64,
}

impl Reader {
    pub(super) fn open(path: &Path, from: &Positions) -> Result<Self> {
        let connection = file::connect(path, false)?;
        connection.pragma_update(None, "query_only", true).map_err(|error| failure::of(path, error))?;
        let mut reader = Self {
            path: path.to_owned(),
            connection,
            positions: Positions::new(),
            turn: 0,
            lanes: Vec::with_capacity(from.len()),
            open: None,
            cursor: Cursor::default(),
            frames: Vec::new(),
            exhausted: None,
        };
        reader.add(from)?;
        Ok(reader)
    }

    fn version(&self) -> Result<i64> {
        self.connection
            .pragma_query_value(None, "data_version", |row| row.get(0))
            .map_err(|error| failure::of(&self.path, error))
    }

    /// Fills `batch` from the file as it is now; false once nothing is left.
    fn fill(&mut self, batch: &mut Batch, max: usize) -> Result<bool> {
        while batch.len() < max && batch.byte_len() < CHUNK_BYTES {
            if self.open.is_none() && !self.load()? {
                return Ok(false);
            }
            self.lend(batch, max)?;
        }
        Ok(true)
    }

    /// Unpacks the next batch of the next partition that has one.
    fn load(&mut self) -> Result<bool> {
        for _ in 0..self.lanes.len() {
            self.turn = (self.turn + 1) % self.lanes.len();
            loop {
                let Self { path, connection, lanes, frames, .. } = self;
                let lane = &mut lanes[self.turn];
                let mut select = connection
                    .prepare(
                        "SELECT id, count, codec, checksum, blob FROM batches
                         WHERE id >= ?1 AND id < ?2 ORDER BY id LIMIT 1",
                    )
                    .map_err(|error| failure::of(path, error))?;
                let found = select
                    .query_row([lane.from, batch_id(lane.row + 1, 0)], |row| {
                        let (id, count): (i64, i64) = (row.get(0)?, row.get(1)?);
                        if base_offset(id) + count <= lane.position {
                            return Ok((id, count, None));
                        }
                        let unpacked = unpack(row.get(2)?, row.get(3)?, row.get_ref(4)?.as_blob()?, frames);
                        Ok((id, count, Some(unpacked)))
                    })
                    .optional()
                    .map_err(|error| failure::of(path, error))?;
                match found {
                    None => break,
                    // Wholly before the position asked for.
                    Some((id, count, None)) => lane.from = id + count.max(1),
                    Some((id, _, Some(Err(reason)))) => return Err(damaged(path, lane, base_offset(id), reason)),
                    Some((id, count, Some(Ok(())))) => {
                        self.cursor.reset();
                        self.open = Some(Open { lane: self.turn, id, count, done: 0 });
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }

    /// Lends the rest of the open batch, as far as `max` allows.
    fn lend(&mut self, batch: &mut Batch, max: usize) -> Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let lane = &mut self.lanes[open.lane];
        let base = base_offset(open.id);
        let (mut headers, mut fault) = (Vec::new(), None);
        while open.done < open.count && batch.len() < max && batch.byte_len() < CHUNK_BYTES {
            let Some(frame) = self.cursor.next(&self.frames, &mut headers) else {
                fault = Some("its frames end early");
                break;
            };
            let offset = base + open.done;
            open.done += 1;
            if offset >= lane.position {
                let place = (lane.place.0.as_str(), lane.place.1, offset);
                batch.push(place, frame.timestamp, frame.key, frame.value, headers.iter().copied());
                lane.position = offset + 1;
            }
        }
        if let Some(position) = self.positions.get_mut(&lane.place) {
            *position = lane.position;
        }
        let whole = open.done == open.count;
        if fault.is_none() && whole && !self.cursor.at_end(&self.frames) {
            fault = Some("it holds more than it says");
        }
        if let Some(reason) = fault {
            return Err(damaged(&self.path, lane, base, reason));
        }
        if whole {
            lane.from = open.id + open.count;
        } else {
            self.open = Some(open);
        }
        Ok(())
    }
}

fn damaged(path: &Path, lane: &Lane, offset: Offset, reason: &str) -> Error {
    let (topic, number) = &lane.place;
    Error::corrupt(format!(
        "the batch of topic '{topic}' partition {number} offset {offset} in {} is damaged: {reason}",
        path.display()
    ))
    .hint("restore the file from a copy, or replay into a new log")
}

impl Lanes for Reader {
    fn add(&mut self, from: &Positions) -> Result<()> {
        for (place, position) in from {
            let partitions = layout::topic(&self.connection, &self.path, &place.0)?.partitions;
            let row = usize::try_from(place.1).ok().and_then(|number| partitions.get(number).copied());
            let row = row.ok_or_else(|| layout::no_partition(&place.0, place.1, partitions.len()))?;
            let position = (*position).max(0);
            let from: Option<i64> = self
                .connection
                .query_row(
                    "SELECT id FROM batches WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1",
                    [batch_id(row, 0), batch_id(row, position)],
                    |found| found.get(0),
                )
                .optional()
                .map_err(|error| failure::of(&self.path, error))?;
            self.lanes.push(Lane { place: place.clone(), row, position, from: from.unwrap_or(batch_id(row, 0)) });
            self.positions.insert(place.clone(), position);
        }
        self.turn = self.lanes.len();
        self.exhausted = None;
        Ok(())
    }

    fn remove(&mut self, places: &[Place]) {
        let lent = self.open.as_ref().map(|open| self.lanes[open.lane].place.clone());
        self.lanes.retain(|lane| !places.contains(&lane.place));
        self.positions.retain(|place, _| !places.contains(place));
        let at = lent.and_then(|lent| self.lanes.iter().position(|lane| lane.place == lent));
        self.open = self.open.take().zip(at).map(|(open, lane)| Open { lane, ..open });
        self.turn = self.lanes.len();
    }
}

impl LogReader for Reader {
    fn read(&mut self, batch: &mut Batch, max: usize, wait: Duration) -> Result<()> {
        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        batch.clear();
        loop {
            // Before the look, so that a commit during it is not slept through.
            let version = self.version()?;
            if self.open.is_some() || self.exhausted != Some(version) {
                self.exhausted = None;
                match self.fill(batch, max.max(1)) {
                    Ok(true) => {}
                    Ok(false) => self.exhausted = Some(version),
                    // What lies before the fault is handed out first; the next read meets the fault again.
                    Err(_) if !batch.is_empty() => {}
                    Err(error) => return Err(error),
                }
                if !batch.is_empty() {
                    return Ok(());
                }
            }
            let left = wait.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(pause.min(left));
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn positions(&self) -> &Positions {
        &self.positions
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::Kind;
    use crate::embedded::EmbeddedLog;
    use crate::port::event_log::{EventLog, Record, Topic};

    #[test]
    fn a_damaged_batch_is_named_after_all_that_lies_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let log = EmbeddedLog::open(&path, true).unwrap();
        log.create_topics(&[Topic { name: "t".into(), partitions: 2, configs: BTreeMap::new() }]).unwrap();
        let mut writer = log.open_writer("m/replay", "one").unwrap();
        for number in 0..3_i64 {
            for _ in 0..10 {
                let record =
                    Record { topic: "t", partition: Some(1), key: b"k", value: b"v", headers: &[], timestamp: number };
                writer.append(&record).unwrap();
            }
            writer.commit("plan", number.into()).unwrap();
        }
        let connection = Connection::open(&path).unwrap();
        for damage in ["blob = zeroblob(length(blob))", "checksum = checksum + 1"] {
            let id: i64 = connection.query_row("SELECT max(id) FROM batches", [], |row| row.get(0)).unwrap();
            connection.execute(&format!("UPDATE batches SET {damage} WHERE id = ?1"), [id]).unwrap();
            let mut reader = log.open_reader(&Positions::from([(("t".into(), 0), 0), (("t".into(), 1), 5)])).unwrap();
            let mut batch = Batch::default();
            reader.read(&mut batch, 1_000, Duration::ZERO).unwrap();
            assert_eq!(batch.iter().map(|record| record.offset).collect::<Vec<_>>(), (5..20).collect::<Vec<_>>());
            for _ in 0..2 {
                let error = reader.read(&mut batch, 1_000, Duration::ZERO).unwrap_err();
                assert_eq!(error.kind(), Kind::Corrupt);
                assert!(error.message().contains("topic 't' partition 1 offset 20"), "{error}");
            }
            assert_eq!(reader.positions()[&("t".into(), 1)], 20);
        }
    }

    #[test]
    fn a_position_past_the_end_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(&folder.path().join("log.db"), true).unwrap();
        log.create_topics(&[Topic { name: "t".into(), partitions: 1, configs: BTreeMap::new() }]).unwrap();
        let mut writer = log.open_writer("m/replay", "one").unwrap();
        let mut reader = log.open_reader(&Positions::from([(("t".into(), 0), 7)])).unwrap();
        let mut batch = Batch::default();
        for round in 0..3_i64 {
            for _ in 0..3 {
                let record =
                    Record { topic: "t", partition: None, key: b"k", value: b"v", headers: &[], timestamp: round };
                writer.append(&record).unwrap();
            }
            writer.commit("plan", round.into()).unwrap();
            reader.read(&mut batch, 10, Duration::ZERO).unwrap();
            assert_eq!(batch.len(), if round == 2 { 2 } else { 0 });
        }
        assert_eq!(batch.get(0).offset, 7);
    }
}
