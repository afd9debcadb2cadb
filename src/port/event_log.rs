//! The log: topics, partitions, offsets, behind one port for Kafka, the embedded file and memory.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Error, Result};
use crate::event::Whose;
use crate::mapping::Mapping;
pub use crate::mapping::Topic;
use crate::port::group::{GroupReader, Join};

/// A position in one partition. Offsets are positions, never counts: transaction markers take offsets.
pub type Offset = i64;

/// Next offset to read, per (topic, partition).
pub type Positions = BTreeMap<(String, i32), Offset>;

/// The id of each topic by its name. A topic made anew under an old name has another id.
pub type TopicIds = BTreeMap<String, String>;

/// The two ends of a partition. `committed` is where a read-committed reader stops now (the last stable offset),
/// `high` the high watermark; they differ while a transaction is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    pub low: Offset,
    pub committed: Offset,
    pub high: Offset,
}

/// A record to append, lent. Without `partition` the key decides by [`crate::event::partition`].
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    pub topic: &'a str,
    pub partition: Option<i32>,
    pub key: &'a [u8],
    pub value: &'a [u8],
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Time of capture in ms since the epoch.
    pub timestamp: i64,
}

/// Where a writer stands; written in the transaction of the records it speaks of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub writer: String,
    /// The process that wrote it: tells an own time-out from a newer writer.
    pub instance: String,
    /// Raised by each opening of the writer that committed something.
    pub epoch: u64,
    pub plan_hash: String,
    /// The engine's own state.
    pub state: serde_json::Value,
}

/// A record as read; all borrows are of the [`Batch`].
#[derive(Clone, Copy, Debug)]
pub struct Fetched<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: Offset,
    pub timestamp: i64,
    pub key: &'a [u8],
    pub value: &'a [u8],
    batch: &'a Batch,
    headers: (usize, usize),
}

impl<'a> Fetched<'a> {
    pub fn headers(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let batch = self.batch;
        batch.headers[self.headers.0..self.headers.1].iter().map(move |header| {
            let (name, end) = (header.at + header.name, header.at + header.name + header.value);
            (&batch.bytes[header.at..name], &batch.bytes[name..end])
        })
    }

    /// Whose the record is. One of the migration's own that cannot be read is an error with its place.
    pub fn whose(&self, migration: &str) -> Result<Whose<'a>> {
        Whose::of(migration, self.headers()).map_err(|error| self.unreadable(error))
    }

    /// Why a record of the migration's own cannot be folded, with its place and a way on.
    pub fn unreadable(&self, error: Error) -> Error {
        let message = format!("{}[{}]@{}: {error}", self.topic, self.partition, self.offset);
        let help = error.help().map_or_else(|| UNREADABLE.to_owned(), str::to_owned);
        Error::new(error.kind(), message).hint(help).because(error)
    }

    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers().find(|(found, _)| *found == name.as_bytes()).map(|(_, value)| value)
    }
}

/// What helps where a record of the migration's own cannot be read.
const UNREADABLE: &str = "use the newest crossfade; if another program wrote the record, delete the topic's records up to it \
    (kafka-delete-records.sh) and copy everything anew: crossfade replay --recopy";

#[derive(Clone, Copy, Debug)]
struct Header {
    at: usize,
    name: usize,
    value: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    topic: usize,
    partition: i32,
    offset: Offset,
    timestamp: i64,
    at: usize,
    key: usize,
    value: usize,
    headers: (usize, usize),
}

/// A reusable chunk of fetched records: one buffer and an index.
#[derive(Debug, Default)]
pub struct Batch {
    topics: Vec<String>,
    entries: Vec<Entry>,
    headers: Vec<Header>,
    bytes: Vec<u8>,
    only: Option<HashSet<Vec<u8>>>,
}

impl Batch {
    /// A batch that takes in only records with these keys; a reader's positions move past the others all the same.
    pub fn only(keys: HashSet<Vec<u8>>) -> Self {
        Self { only: Some(keys), ..Self::default() }
    }

    pub fn clear(&mut self) {
        self.entries.clear();
        self.headers.clear();
        self.bytes.clear();
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of keys, values and headers held.
    pub fn byte_len(&self) -> usize {
        self.bytes.len()
    }

    /// Copies a record in; adapters call it in offset order per partition.
    pub fn push<'h>(
        &mut self,
        (topic, partition, offset): (&str, i32, Offset),
        timestamp: i64,
        key: &[u8],
        value: &[u8],
        headers: impl IntoIterator<Item = (&'h [u8], &'h [u8])>,
    ) {
        if self.only.as_ref().is_some_and(|keys| !keys.contains(key)) {
            return;
        }
        let topic = match self.topics.iter().rposition(|name| name == topic) {
            Some(index) => index,
            None => {
                self.topics.push(topic.to_owned());
                self.topics.len() - 1
            }
        };
        let at = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        let first = self.headers.len();
        for (name, value) in headers {
            self.headers.push(Header { at: self.bytes.len(), name: name.len(), value: value.len() });
            self.bytes.extend_from_slice(name);
            self.bytes.extend_from_slice(value);
        }
        let headers = (first, self.headers.len());
        self.entries.push(Entry {
            topic,
            partition,
            offset,
            timestamp,
            at,
            key: key.len(),
            value: value.len(),
            headers,
        });
    }

    pub fn get(&self, index: usize) -> Fetched<'_> {
        let entry = &self.entries[index];
        let value = entry.at + entry.key;
        Fetched {
            topic: &self.topics[entry.topic],
            partition: entry.partition,
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: &self.bytes[entry.at..value],
            value: &self.bytes[value..value + entry.value],
            batch: self,
            headers: entry.headers,
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Fetched<'_>> {
        (0..self.len()).map(|index| self.get(index))
    }
}

/// The log as a whole. Handles are opened from it and may be used on other threads.
pub trait EventLog: Send + Sync {
    /// A name for people: `kafka b1:9092` or `embedded .crossfade/log.db`.
    fn describe(&self) -> String;

    /// Identifies the log itself: the cluster id, or the embedded file's own id.
    fn cluster_id(&self) -> Result<String>;

    /// Opens the writer `name` and fences every older writer of that name; its open transaction, if any, is aborted.
    /// `instance` names this process in the checkpoints it writes.
    fn open_writer(&self, name: &str, instance: &str) -> Result<Box<dyn LogWriter>>;

    /// The newest committed checkpoint of a writer, read without fencing it. `None` is only said once the read-committed
    /// end of its partition has met the high watermark; otherwise this waits, at most the transaction time-out.
    fn checkpoint(&self, name: &str) -> Result<Option<Checkpoint>>;

    /// Opens a reader of committed records from `from`, which names every partition to be read.
    fn open_reader(&self, from: &Positions) -> Result<Box<dyn LogReader>>;

    /// Joins a group whose members share the partitions of its topics, which must be there.
    fn join(&self, join: &Join<'_>) -> Result<Box<dyn GroupReader>>;

    /// The ends of every partition of `topic`.
    fn ends(&self, topic: &str) -> Result<BTreeMap<i32, Ends>>;

    /// The ids of those of `topics` that exist, as the home has them now.
    fn topic_ids(&self, topics: &[&str]) -> Result<TopicIds>;

    /// Who has a transaction open in a partition, in words; empty where there is none, or that is not told.
    fn open_transactions(&self, _topic: &str, _partition: i32) -> Vec<String> {
        Vec::new()
    }

    /// Every topic and the number of its partitions.
    fn topics(&self) -> Result<BTreeMap<String, i32>>;

    /// Creates topics that are missing; one that exists already is an error of that topic only by `topics()` afterwards.
    fn create_topics(&self, topics: &[Topic]) -> Result<()>;

    /// The value in force of one config of `topic`, wherever it is set; `None` where the home has no such config.
    fn topic_config(&self, topic: &str, name: &str) -> Result<Option<String>>;

    /// The largest record `topic` takes, in bytes of key, value and headers together.
    fn max_record_bytes(&self, topic: &str) -> Result<usize>;
}

/// One writer, at most one per name alive. A transaction begins with the first `append` and ends with `commit` or `abort`.
pub trait LogWriter: Send {
    /// The checkpoint found on opening, or the last one committed since.
    fn checkpoint(&self) -> Option<&Checkpoint>;

    /// Appends to the open transaction. May block for room; an error leaves the writer usable only for `abort`.
    fn append(&mut self, record: &Record<'_>) -> Result<()>;

    /// Makes the records appended since the last commit and the checkpoint durable, all or none.
    ///
    /// [`crate::base::Kind::Unknown`]: the outcome is not known; open the writer again and read its checkpoint.
    /// [`crate::base::Kind::Fenced`]: a newer writer took the name, or the transaction timed out; nothing was committed.
    fn commit(&mut self, plan_hash: &str, state: serde_json::Value) -> Result<()>;

    /// Drops the records appended since the last commit.
    fn abort(&mut self) -> Result<()>;

    /// Opens the name anew, as [`EventLog::open_writer`] does: what became of this writer's last commit is in its checkpoint.
    fn again(&self) -> Result<Box<dyn LogWriter>>;
}

/// Reads committed records, in offset order per partition.
pub trait LogReader: Send {
    /// Fills `batch` (cleared first) with up to about `max` records; empty when none came within `wait`.
    fn read(&mut self, batch: &mut Batch, max: usize, wait: Duration) -> Result<()>;

    /// Where this reader stands after the batches it has handed out: past trailing markers once the end was met.
    fn positions(&self) -> &Positions;
}

/// The read-committed ends of every partition that rows of the mapping go to.
pub fn ends(log: &dyn EventLog, mapping: &Mapping) -> Result<Positions> {
    let topics: BTreeSet<&str> = mapping.tables.iter().map(|table| table.topic.as_str()).collect();
    let mut ends = Positions::new();
    for topic in topics {
        for (partition, found) in log.ends(topic)? {
            ends.insert((topic.to_owned(), partition), found.committed);
        }
    }
    Ok(ends)
}

/// The kind of topic every home reserves for checkpoints; the writer's role decides the partition.
pub const CHECKPOINT_PARTITIONS: i32 = 32;

/// Roles that write checkpoints, each with a partition of its own: one writer's dead transaction never hides another's.
const ROLES: &[(&str, i32)] = &[("operator", 0), ("replay", 1), ("probe", 2), ("follow", 3), ("gateway", 4)];

/// The name of a migration's checkpoint topic.
pub fn checkpoint_topic(migration: &str) -> String {
    format!("crossfade.{migration}.checkpoints")
}

/// Whose each topic is; one topic for all migrations on a log.
pub const CLAIMS_TOPIC: &str = "crossfade.topics";

/// The one writer of that topic; its checkpoints lie there, too.
pub const CLAIMS_WRITER: &str = "crossfade/topics";

/// The partition of a writer named `<migration>/<role>`, and the topic its checkpoints go to.
pub fn checkpoint_place(writer: &str) -> Result<(String, i32)> {
    if writer == CLAIMS_WRITER {
        return Ok((CLAIMS_TOPIC.to_owned(), 0));
    }
    let (migration, role) = writer
        .split_once('/')
        .ok_or_else(|| Error::failed(format!("writer name '{writer}' is not <migration>/<role>")))?;
    let (_, partition) = ROLES
        .iter()
        .find(|(name, _)| *name == role)
        .ok_or_else(|| Error::failed(format!("no checkpoint partition is reserved for the role '{role}'")))?;
    Ok((checkpoint_topic(migration), *partition))
}

/// The topics the tool itself needs for a migration.
pub fn own_topics(migration: &str) -> Vec<Topic> {
    let compacted = |name: String, partitions| Topic {
        name,
        partitions,
        configs: BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]),
    };
    vec![
        compacted(checkpoint_topic(migration), CHECKPOINT_PARTITIONS),
        compacted(format!("crossfade.{migration}.flags"), 1),
    ]
}
