//! The log in memory: the fake of the log port, and what a dry run writes to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::base::{Error, Result};
use crate::event::partition::partition;
use crate::port::event_log::{
    Batch, Checkpoint, Ends, EventLog, LogReader, LogWriter, Offset, Positions, Record, Topic, TopicIds,
};
use crate::port::group::{GroupReader, Join, Place};
use crate::port::roster::{Board, Lanes, Roster, RosterReader};

const DEFAULT_MAX_RECORD_BYTES: usize = 1_048_588;

/// A log that lives as long as its last handle; clones share it. As in Kafka every transaction ends with a marker that
/// takes an offset in each partition it wrote to.
#[derive(Clone)]
pub struct MemoryLog {
    shared: Arc<Shared>,
}

struct Shared {
    cluster_id: String,
    state: Mutex<State>,
    committed: Condvar,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<String, StoredTopic>,
    /// Topics made so far.
    made: u64,
    writers: BTreeMap<String, WriterState>,
    groups: BTreeMap<String, Roster>,
}

struct StoredTopic {
    id: u64,
    topic: Topic,
    partitions: Vec<Partition>,
}

#[derive(Default)]
struct Partition {
    next: Offset,
    records: Vec<(Offset, Stored)>,
}

struct Stored {
    timestamp: i64,
    key: Vec<u8>,
    value: Vec<u8>,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
}

struct WriterState {
    epoch: u64,
    checkpoint: Option<Checkpoint>,
}

impl Default for MemoryLog {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryLog {
    pub fn new() -> Self {
        Self {
            shared: Arc::new(Shared {
                cluster_id: uuid::Uuid::new_v4().to_string(),
                state: Mutex::default(),
                committed: Condvar::new(),
            }),
        }
    }

    /// Deletes a topic with its records, if it is there.
    pub fn delete_topic(&self, name: &str) {
        self.shared.state().topics.remove(name);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is made whole under the lock after all its checks, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn topic(&self, name: &str) -> Result<&StoredTopic> {
        self.topics.get(name).ok_or_else(|| unknown_topic(name))
    }

    fn partition(&self, topic: &str, number: i32) -> Result<&Partition> {
        let stored = self.topic(topic)?;
        usize::try_from(number).ok().and_then(|index| stored.partitions.get(index)).ok_or_else(|| {
            Error::config(format!(
                "topic '{topic}' has {} partitions, none of number {number}",
                stored.partitions.len()
            ))
        })
    }
}

impl StoredTopic {
    fn max_record_bytes(&self) -> usize {
        let configured = self.topic.configs.get("max.message.bytes");
        configured.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_MAX_RECORD_BYTES)
    }
}

fn unknown_topic(name: &str) -> Error {
    Error::config(format!("the log has no topic '{name}'")).hint("run `crossfade provision apply`")
}

fn fenced(name: &str) -> Error {
    Error::fenced(format!("a newer writer took the name '{name}'; nothing was committed"))
}

impl EventLog for MemoryLog {
    fn describe(&self) -> String {
        "memory".into()
    }

    fn cluster_id(&self) -> Result<String> {
        Ok(self.shared.cluster_id.clone())
    }

    fn open_writer(&self, name: &str, instance: &str) -> Result<Box<dyn LogWriter>> {
        Ok(Box::new(Writer::open(&self.shared, name, instance)))
    }

    fn checkpoint(&self, name: &str) -> Result<Option<Checkpoint>> {
        Ok(self.shared.state().writers.get(name).and_then(|writer| writer.checkpoint.clone()))
    }

    fn open_reader(&self, from: &Positions) -> Result<Box<dyn LogReader>> {
        let state = self.shared.state();
        for (topic, number) in from.keys() {
            state.partition(topic, *number)?;
        }
        Ok(Box::new(Reader { shared: Arc::clone(&self.shared), positions: from.clone(), turn: 0 }))
    }

    fn join(&self, join: &Join<'_>) -> Result<Box<dyn GroupReader>> {
        let mut board =
            Rosters { shared: Arc::clone(&self.shared), group: join.group.to_owned(), topics: join.topics.to_vec() };
        board.look()?;
        let reader = Reader { shared: Arc::clone(&self.shared), positions: Positions::new(), turn: 0 };
        Ok(Box::new(RosterReader::join(board, reader, join)))
    }

    fn ends(&self, topic: &str) -> Result<BTreeMap<i32, Ends>> {
        let state = self.shared.state();
        let partitions = state.topic(topic)?.partitions.iter();
        let ends = partitions.map(|partition| Ends { low: 0, committed: partition.next, high: partition.next });
        Ok((0..).zip(ends).collect())
    }

    fn topic_ids(&self, topics: &[&str]) -> Result<TopicIds> {
        let state = self.shared.state();
        let found = topics.iter().filter_map(|name| Some((*name, state.topics.get(*name)?.id)));
        Ok(found.map(|(name, id)| (name.to_owned(), format!("{}/{id}", self.shared.cluster_id))).collect())
    }

    fn topics(&self) -> Result<BTreeMap<String, i32>> {
        let state = self.shared.state();
        Ok(state.topics.iter().map(|(name, stored)| (name.clone(), stored.topic.partitions)).collect())
    }

    fn create_topics(&self, topics: &[Topic]) -> Result<()> {
        if let Some(topic) = topics.iter().find(|topic| topic.partitions < 1) {
            return Err(Error::config(format!("topic '{}' needs at least one partition", topic.name)));
        }
        let mut state = self.shared.state();
        for topic in topics {
            let State { topics, made, .. } = &mut *state;
            topics.entry(topic.name.clone()).or_insert_with(|| {
                *made += 1;
                let partitions = (0..topic.partitions).map(|_| Partition::default()).collect();
                StoredTopic { id: *made, topic: topic.clone(), partitions }
            });
        }
        Ok(())
    }

    fn topic_config(&self, topic: &str, name: &str) -> Result<Option<String>> {
        Ok(self.shared.state().topic(topic)?.topic.configs.get(name).cloned())
    }

    fn max_record_bytes(&self, topic: &str) -> Result<usize> {
        Ok(self.shared.state().topic(topic)?.max_record_bytes())
    }
}

struct Writer {
    shared: Arc<Shared>,
    name: String,
    instance: String,
    epoch: u64,
    checkpoint: Option<Checkpoint>,
    pending: Vec<(String, usize, Stored)>,
    failed: bool,
}

impl Writer {
    fn open(shared: &Arc<Shared>, name: &str, instance: &str) -> Self {
        let mut state = shared.state();
        let writer = state.writers.entry(name.to_owned()).or_insert(WriterState { epoch: 0, checkpoint: None });
        writer.epoch += 1;
        Self {
            shared: Arc::clone(shared),
            name: name.to_owned(),
            instance: instance.to_owned(),
            epoch: writer.epoch,
            checkpoint: writer.checkpoint.clone(),
            pending: Vec::new(),
            failed: false,
        }
    }

    fn place(&self, record: &Record<'_>) -> Result<usize> {
        let state = self.shared.state();
        if state.writers.get(&self.name).is_none_or(|writer| writer.epoch != self.epoch) {
            return Err(fenced(&self.name));
        }
        if self.failed {
            return Err(Error::failed("the transaction has failed: abort it first"));
        }
        let topic = state.topic(record.topic)?;
        let number = record.partition.unwrap_or_else(|| partition(record.key, topic.topic.partitions));
        state.partition(record.topic, number)?;
        let headers = record.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
        let (bytes, limit) = (record.key.len() + record.value.len() + headers, topic.max_record_bytes());
        if bytes > limit {
            let text = format!("a record of {bytes} bytes is larger than topic '{}' takes: {limit}", record.topic);
            return Err(Error::row(text).hint("raise `max.message.bytes` of the topic"));
        }
        usize::try_from(number).map_err(|error| Error::failed("a partition number is negative").because(error))
    }
}

impl LogWriter for Writer {
    fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    fn append(&mut self, record: &Record<'_>) -> Result<()> {
        let number = self.place(record).inspect_err(|_| self.failed = true)?;
        let headers = record.headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect();
        let (key, value) = (record.key.to_vec(), record.value.to_vec());
        self.pending.push((
            record.topic.to_owned(),
            number,
            Stored { timestamp: record.timestamp, key, value, headers },
        ));
        Ok(())
    }

    fn commit(&mut self, plan_hash: &str, state: serde_json::Value) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let mut log = shared.state();
        let Some(writer) = log.writers.get_mut(&self.name).filter(|writer| writer.epoch == self.epoch) else {
            self.pending.clear();
            return Err(fenced(&self.name));
        };
        if self.failed {
            return Err(Error::failed("the transaction has failed: abort it first"));
        }
        let checkpoint = Checkpoint {
            writer: self.name.clone(),
            instance: self.instance.clone(),
            epoch: self.epoch,
            plan_hash: plan_hash.to_owned(),
            state,
        };
        writer.checkpoint = Some(checkpoint.clone());
        self.checkpoint = Some(checkpoint);
        let mut touched = BTreeSet::new();
        for (topic, number, stored) in self.pending.drain(..) {
            if let Some(partition) = log.topics.get_mut(&topic).and_then(|topic| topic.partitions.get_mut(number)) {
                partition.records.push((partition.next, stored));
                partition.next += 1;
                touched.insert((topic, number));
            }
        }
        for (topic, number) in touched {
            if let Some(partition) = log.topics.get_mut(&topic).and_then(|topic| topic.partitions.get_mut(number)) {
                partition.next += 1;
            }
        }
        drop(log);
        shared.committed.notify_all();
        Ok(())
    }

    fn again(&self) -> Result<Box<dyn LogWriter>> {
        Ok(Box::new(Self::open(&self.shared, &self.name, &self.instance)))
    }

    fn abort(&mut self) -> Result<()> {
        self.pending.clear();
        self.failed = false;
        Ok(())
    }
}

struct Reader {
    shared: Arc<Shared>,
    positions: Positions,
    turn: usize,
}

impl Reader {
    fn fill(&mut self, state: &State, batch: &mut Batch, max: usize) {
        let count = self.positions.len().max(1);
        // Another partition begins each time, so that a busy one does not starve the rest.
        self.turn = (self.turn + 1) % count;
        let turn = self.turn;
        for index in (turn..count).chain(0..turn) {
            let Some(((topic, number), position)) = self.positions.iter_mut().nth(index) else { continue };
            let Ok(partition) = state.partition(topic, *number) else { continue };
            let first = partition.records.partition_point(|(offset, _)| offset < position);
            for (offset, stored) in partition.records[first..].iter().take(max.saturating_sub(batch.len())) {
                let headers = stored.headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
                let place = (topic.as_str(), *number, *offset);
                batch.push(place, stored.timestamp, &stored.key, &stored.value, headers);
                *position = offset + 1;
            }
            if partition.records.last().is_none_or(|(offset, _)| offset < position) {
                *position = partition.next.max(*position);
            }
        }
    }
}

impl LogReader for Reader {
    fn read(&mut self, batch: &mut Batch, max: usize, wait: Duration) -> Result<()> {
        let started = Instant::now();
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        batch.clear();
        loop {
            self.fill(&state, batch, max);
            let left = wait.saturating_sub(started.elapsed());
            if !batch.is_empty() || left.is_zero() {
                return Ok(());
            }
            state = shared.committed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn positions(&self) -> &Positions {
        &self.positions
    }
}

impl Lanes for Reader {
    fn add(&mut self, from: &Positions) -> Result<()> {
        self.positions.extend(from.iter().map(|(place, at)| (place.clone(), *at)));
        Ok(())
    }

    fn remove(&mut self, places: &[Place]) {
        self.positions.retain(|place, _| !places.contains(place));
    }
}

/// The roster of one group.
struct Rosters {
    shared: Arc<Shared>,
    group: String,
    topics: Vec<String>,
}

impl Rosters {
    fn places(&self, state: &State) -> Result<BTreeSet<Place>> {
        let mut places = BTreeSet::new();
        for topic in &self.topics {
            places.extend((0..state.topic(topic)?.topic.partitions).map(|number| (topic.clone(), number)));
        }
        Ok(places)
    }
}

impl Board for Rosters {
    fn look(&mut self) -> Result<(Roster, BTreeSet<Place>)> {
        let state = self.shared.state();
        let roster = state.groups.get(&self.group).cloned().unwrap_or_default();
        Ok((roster, self.places(&state)?))
    }

    fn change(&mut self, change: &mut dyn FnMut(&mut Roster, &BTreeSet<Place>) -> Result<()>) -> Result<()> {
        let mut state = self.shared.state();
        let places = self.places(&state)?;
        let mut roster = state.groups.get(&self.group).cloned().unwrap_or_default();
        change(&mut roster, &places)?;
        state.groups.insert(self.group.clone(), roster);
        Ok(())
    }
}
