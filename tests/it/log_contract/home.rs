//! Where a log of the contract lives, and a place in it for one case.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossfade::embedded::EmbeddedLog;
use crossfade::plan::Action;
use crossfade::port::event_log::{
    Batch, EventLog, LogReader, LogWriter, Offset, Positions, Record, Topic, checkpoint_place, own_topics,
};
use crossfade::port::memory_log::MemoryLog;
use crossfade::port::topic_admin::TopicAdmin;

pub trait Home: Sync {
    /// A handle on the home's one log, as another process would have it.
    fn open(&self) -> Box<dyn EventLog>;

    /// Deletes a topic and returns once it is gone.
    fn delete(&self, topic: &str);

    /// The longest a transaction whose writer died may hold others up.
    fn time_out(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// A short session of a group's members.
    fn session(&self) -> Duration {
        Duration::from_secs(1)
    }
}

pub struct Memory(MemoryLog);

impl Memory {
    pub fn new() -> Self {
        Self(MemoryLog::new())
    }
}

impl Home for Memory {
    fn open(&self) -> Box<dyn EventLog> {
        Box::new(self.0.clone())
    }

    fn delete(&self, topic: &str) {
        self.0.delete_topic(topic);
    }
}

pub struct Embedded {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Embedded {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { path: folder.path().join("log.db"), _folder: folder }
    }
}

impl Home for Embedded {
    fn open(&self) -> Box<dyn EventLog> {
        Box::new(EmbeddedLog::open(&self.path, true).unwrap())
    }

    fn delete(&self, topic: &str) {
        let log = EmbeddedLog::open(&self.path, false).unwrap();
        log.perform(&Action::DeleteTopic { name: topic.to_owned() }).unwrap();
    }
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub partition: i32,
    pub offset: Offset,
    pub timestamp: i64,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Seen {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.value).unwrap()
    }
}

/// One case's own topic and writers: names are new, so that cases never meet, on a shared cluster either.
pub struct Scene<'h> {
    pub home: &'h dyn Home,
    pub log: Box<dyn EventLog>,
    pub topic: String,
    migration: String,
}

impl<'h> Scene<'h> {
    pub fn new(home: &'h dyn Home, partitions: i32) -> Self {
        let migration = format!("t{}", uuid::Uuid::new_v4().simple());
        let topic = format!("{migration}.events");
        let log = home.open();
        let mut topics = own_topics(&migration);
        topics.push(Topic { name: topic.clone(), partitions, configs: BTreeMap::new() });
        log.create_topics(&topics).unwrap();
        Self { home, log, topic, migration }
    }

    /// The same place by another handle.
    pub fn again(other: &Scene<'h>) -> Self {
        let (topic, migration) = (other.topic.clone(), other.migration.clone());
        Self { home: other.home, log: other.home.open(), topic, migration }
    }

    pub fn name(&self, role: &str) -> String {
        let name = format!("{}/{role}", self.migration);
        checkpoint_place(&name).unwrap();
        name
    }

    pub fn writer(&self, role: &str) -> Box<dyn LogWriter> {
        self.log.open_writer(&self.name(role), "one").unwrap()
    }

    pub fn record<'r>(&'r self, key: &'r str, value: &'r str) -> Record<'r> {
        let (key, value) = (key.as_bytes(), value.as_bytes());
        Record { topic: &self.topic, partition: None, key, value, headers: &[], timestamp: now() }
    }

    /// Appends `count` records of different keys, valued `<word> <number>`.
    pub fn append(&self, writer: &mut dyn LogWriter, word: &str, count: usize) {
        for number in 0..count {
            writer.append(&self.record(&format!("key {number}"), &format!("{word} {number}"))).unwrap();
        }
    }

    /// The first position of every partition.
    pub fn starts(&self) -> Positions {
        let ends = self.log.ends(&self.topic).unwrap();
        ends.into_iter().map(|(number, ends)| ((self.topic.clone(), number), ends.low)).collect()
    }

    pub fn committed(&self) -> Positions {
        let ends = self.log.ends(&self.topic).unwrap();
        ends.into_iter().map(|(number, ends)| ((self.topic.clone(), number), ends.committed)).collect()
    }

    /// Reads from the start of the topic, by another handle, as [`Self::read_on`] does.
    pub fn read(&self, count: usize) -> Vec<Seen> {
        let mut reader = self.home.open().open_reader(&self.starts()).unwrap();
        self.read_on(&mut *reader, count)
    }

    /// Reads on until at least `count` records are seen and the committed end of every partition is met.
    pub fn read_on(&self, reader: &mut dyn LogReader, count: usize) -> Vec<Seen> {
        let started = Instant::now();
        let (mut batch, mut seen) = (Batch::default(), Vec::new());
        while seen.len() < count || *reader.positions() != self.committed() {
            assert!(
                started.elapsed() < self.home.time_out() + Duration::from_secs(10),
                "{} of {count} records came; the reader stands at {:?}, the ends are {:?}",
                seen.len(),
                reader.positions(),
                self.committed()
            );
            reader.read(&mut batch, 1_000, Duration::from_millis(100)).unwrap();
            seen.extend(keep(&batch));
        }
        seen
    }
}

pub fn keep(batch: &Batch) -> Vec<Seen> {
    let seen = batch.iter().map(|record| Seen {
        partition: record.partition,
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.to_vec(),
        value: record.value.to_vec(),
        headers: record.headers().map(|(name, value)| (name.to_vec(), value.to_vec())).collect(),
    });
    seen.collect()
}

/// The values in order, as sorted text.
pub fn texts(seen: &[Seen]) -> Vec<String> {
    let mut texts: Vec<String> = seen.iter().map(|record| record.text().to_owned()).collect();
    texts.sort();
    texts
}

/// `<word> 0` to `<word> <count - 1>`, sorted as text.
pub fn numbered(word: &str, count: usize) -> Vec<String> {
    let mut texts: Vec<String> = (0..count).map(|number| format!("{word} {number}")).collect();
    texts.sort();
    texts
}

pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

/// Bytes no compression makes smaller.
pub fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}
