//! Round trips: a record appended in a transaction, committed, and read back by a reader that was there before.

use std::fmt;
use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use crate::base::{Error, Kind, Millis, Result};
use crate::event::Sequence;
use crate::event::partition::partition;
use crate::mapping::PROBE;
use crate::port::event_log::{Batch, EventLog, LogReader, LogWriter, Positions, Record};
use crate::port::progress::Progress;

/// The role under which a probe writes; its writer is `<migration>/probe`.
pub const WRITER_ROLE: &str = "probe";

/// Tries the topics of a migration. It writes: one record of some 200 bytes for each topic and round, which stays as
/// long as the topic keeps its records, for ever where retention is off. Readers drop such records, but their positions
/// move past them, so a projection that stood at the end must be brought there again.
pub struct Probe<'a> {
    pub log: &'a dyn EventLog,
    pub migration: &'a str,
    pub instance: &'a str,
    /// Round trips for each topic; each goes to the partition after the one before.
    pub rounds: u32,
    /// How long a committed record may take to be seen. Appends and commits end by the log's own limits.
    pub patience: Duration,
    pub progress: &'a dyn Progress,
    pub now: &'a (dyn Fn() -> Millis + Sync),
}

/// One round trip; both times begin with the append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trip {
    pub partition: i32,
    pub committed: Duration,
    pub visible: Duration,
}

/// Where a round trip ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Prepare,
    Append,
    Commit,
    Read,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prepare => "prepare",
            Self::Append => "append",
            Self::Commit => "commit",
            Self::Read => "read",
        })
    }
}

#[derive(Debug)]
pub struct Failed {
    pub stage: Stage,
    pub error: Error,
}

/// The round trips of one topic; after a failed one no more were tried.
#[derive(Debug)]
pub struct RoundTrips {
    pub topic: String,
    pub trips: Vec<Trip>,
    pub failed: Option<Failed>,
}

/// Of some durations; a percentile is the smallest one that so many are not longer than.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
}

impl Spread {
    pub fn of(mut all: Vec<Duration>) -> Option<Self> {
        all.sort_unstable();
        let rank = |percent: usize| all.get((all.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self { p50: rank(50)?, p99: rank(99)?, max: rank(100)? })
    }
}

impl RoundTrips {
    /// From append to visible; `None` when no round trip was whole.
    pub fn visible(&self) -> Option<Spread> {
        Spread::of(self.trips.iter().map(|trip| trip.visible).collect())
    }

    /// From append to the answer of the commit.
    pub fn committed(&self) -> Option<Spread> {
        Spread::of(self.trips.iter().map(|trip| trip.committed).collect())
    }
}

const WAIT: Duration = Duration::from_millis(20);
const HIDDEN: &str =
    "another writer's transaction may be open on its partition: it hides what was committed after it began";

impl Probe<'_> {
    /// Tries one topic after the other; one that fails does not keep the next from being tried. Fails as a whole when
    /// its writer cannot be opened or another probe of the migration took it.
    pub fn run(&self, topics: &[&str]) -> Result<Vec<RoundTrips>> {
        self.progress.begin("probe", Some(u64::from(self.rounds) * topics.len() as u64));
        let mut writer = self.writer()?;
        let mut all = Vec::with_capacity(topics.len());
        for topic in topics {
            let mut trips = Vec::new();
            let failed = self.topic(topic, writer.as_mut(), &mut trips)?;
            let written = failed.as_ref().is_some_and(|failed| matches!(failed.stage, Stage::Append | Stage::Commit));
            all.push(RoundTrips { topic: (*topic).to_owned(), trips, failed });
            if written && writer.abort().is_err() && all.len() < topics.len() {
                drop(writer);
                writer = self.writer()?;
            }
        }
        self.progress.end();
        Ok(all)
    }

    fn writer(&self) -> Result<Box<dyn LogWriter>> {
        self.log.open_writer(&format!("{}/{WRITER_ROLE}", self.migration), self.instance)
    }

    /// The round trips of one topic into `trips`; an error ends the whole probe.
    fn topic(&self, topic: &str, writer: &mut dyn LogWriter, trips: &mut Vec<Trip>) -> Result<Option<Failed>> {
        let failed = |stage: Stage, error: Error| match error.kind() {
            Kind::Fenced | Kind::Interrupted => Err(error),
            _ => Ok(Some(Failed { stage, error })),
        };
        let (ends, mut reader) = match self.reader(topic) {
            Ok(opened) => opened,
            Err(error) => return failed(Stage::Prepare, error),
        };
        for round in 0..self.rounds {
            self.progress.check()?;
            let key = key(round, ends);
            let id = Uuid::new_v4().to_string();
            let count = writer.checkpoint().and_then(|checkpoint| checkpoint.state["count"].as_u64()).unwrap_or(0) + 1;
            let started = Instant::now();
            if let Err(error) = self.append(topic, writer, &key, (&id, count)) {
                return failed(Stage::Append, error);
            }
            if let Err(error) = writer.commit("", json!({ "count": count })) {
                return failed(Stage::Commit, error);
            }
            let committed = started.elapsed();
            if let Err(error) = self.read(topic, reader.as_mut(), &id) {
                return failed(Stage::Read, error);
            }
            trips.push(Trip { partition: partition(key.as_bytes(), ends), committed, visible: started.elapsed() });
            self.progress.advance(1);
        }
        Ok(None)
    }

    /// The number of partitions, and a reader that stands at the end of each.
    fn reader(&self, topic: &str) -> Result<(i32, Box<dyn LogReader>)> {
        let ends = self.log.ends(topic)?;
        let from: Positions = ends.iter().map(|(number, ends)| ((topic.to_owned(), *number), ends.committed)).collect();
        let mut reader = self.log.open_reader(&from)?;
        // Its connections are made before the clock runs.
        reader.read(&mut Batch::default(), 1, WAIT)?;
        Ok((ends.len() as i32, reader))
    }

    fn append(&self, topic: &str, writer: &mut dyn LogWriter, key: &str, (id, count): (&str, u64)) -> Result<()> {
        let source = format!("{}/log#probe", self.migration);
        let sequence = Sequence { generation: 0, count }.to_string();
        writer.append(&Record {
            topic,
            partition: None,
            key: key.as_bytes(),
            value: b"{\"v\":1}",
            headers: &[
                ("ce_specversion", b"1.0"),
                ("ce_id", id.as_bytes()),
                ("ce_source", source.as_bytes()),
                ("ce_type", PROBE.as_bytes()),
                ("ce_sequence", sequence.as_bytes()),
            ],
            timestamp: (self.now)(),
        })
    }

    /// Reads until the record with this id is met.
    fn read(&self, topic: &str, reader: &mut dyn LogReader, id: &str) -> Result<()> {
        let (mut batch, started) = (Batch::default(), Instant::now());
        loop {
            reader.read(&mut batch, 1_000, WAIT)?;
            if batch.iter().any(|record| record.header("ce_id") == Some(id.as_bytes())) {
                return Ok(());
            }
            self.progress.check()?;
            if started.elapsed() >= self.patience {
                let waited = self.patience.as_secs_f32();
                let message = format!("a record committed to '{topic}' was not seen within {waited} s");
                return Err(Error::failed(message).hint(HIDDEN));
            }
        }
    }
}

/// A key that lies in the partition of this round.
fn key(round: u32, partitions: i32) -> String {
    let wanted = (round % partitions.max(1).cast_unsigned()).cast_signed();
    let keys = (0_u64..).map(|number| format!("crossfade-probe-{number}"));
    keys.into_iter().find(|key| partition(key.as_bytes(), partitions) == wanted).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_has_its_turn() {
        let lie: Vec<i32> = (0..7).map(|round| partition(key(round, 6).as_bytes(), 6)).collect();
        assert_eq!(lie, [0, 1, 2, 3, 4, 5, 0]);
        assert_eq!(partition(key(999, 1_000).as_bytes(), 1_000), 999);
    }

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let ms = |all: &[u64]| all.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>();
        let spread = |all: &[u64]| Spread::of(ms(all)).map(ms_of);
        assert_eq!(spread(&[]), None);
        assert_eq!(spread(&[7]), Some([7, 7, 7]));
        assert_eq!(spread(&[4, 1, 3, 2]), Some([2, 4, 4]));
        let many: Vec<u64> = (1..=200).rev().collect();
        assert_eq!(spread(&many), Some([100, 198, 200]));
    }

    fn ms_of(spread: Spread) -> [u128; 3] {
        [spread.p50, spread.p99, spread.max].map(|time| time.as_millis())
    }
}
