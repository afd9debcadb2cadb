//! A reader of committed records: one queue per partition, so that each end of a partition is told for the right one.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::topic_partition_list::Offset as At;
use rdkafka::{ClientConfig, TopicPartitionList};

use super::context::Listener;
use super::fault;
use super::log::Cluster;
use crate::base::{Error, Result};
use crate::port::event_log::{Batch, LogReader, Offset, Positions};
use crate::port::group::Place;

/// How long no broker may answer before a reader says so.
const PATIENCE: Duration = Duration::from_secs(30);
/// A wake-up that was lost costs this at most.
const NAP: Duration = Duration::from_millis(100);

pub(super) struct KafkaReader {
    // Before the consumer: their queues are let go first.
    parts: Vec<Part>,
    consumer: Arc<BaseConsumer<Listener>>,
    cluster: Arc<Cluster>,
    bell: Arc<Bell>,
    positions: Positions,
    /// The partition that is looked at first, so that none starves.
    first: usize,
    down_since: Option<Instant>,
    /// Met after records that were handed out first.
    pending: Option<Error>,
}

struct Part {
    key: (String, i32),
    queue: PartitionQueue<Listener>,
    at: Offset,
    ended: bool,
}

/// Rung by the client's threads when a queue is no longer empty.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    wake: Condvar,
}

impl Bell {
    fn rung(&self) -> MutexGuard<'_, bool> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring(&self) {
        *self.rung() = true;
        self.wake.notify_one();
    }

    fn wait(&self, timeout: Duration) {
        let rung = self.rung();
        if !*rung {
            // Woken or not, the queues are looked at.
            let _ = self.wake.wait_timeout(rung, timeout);
        }
    }
}

/// A client that reads nothing at the moment.
pub(super) struct Idle {
    consumer: Arc<BaseConsumer<Listener>>,
    bell: Arc<Bell>,
}

impl Idle {
    pub(super) fn new(config: &ClientConfig, listener: Listener) -> Result<Self> {
        let consumer = config.create_with_context(listener);
        let mut consumer: BaseConsumer<Listener> = consumer.map_err(|error| fault::settings(&error))?;
        let bell = Arc::new(Bell::default());
        let ring = Arc::clone(&bell);
        consumer.set_nonempty_callback(move || ring.ring());
        Ok(Self { consumer: Arc::new(consumer), bell })
    }
}

impl KafkaReader {
    pub(super) fn open(cluster: Arc<Cluster>, from: &Positions) -> Result<Self> {
        let idle = Idle::new(&cluster.settings.reader(from.len()), Listener::default())?;
        Self::open_with(cluster, idle, from)
    }

    /// By a client that is there already, which saves its making, its connections and its end.
    pub(super) fn open_with(cluster: Arc<Cluster>, idle: Idle, from: &Positions) -> Result<Self> {
        let mut reader = Self::of(cluster, idle);
        let list = reader.split(from)?;
        // After the split, so that no record goes to the consumer's own queue.
        reader.consumer.assign(&list).map_err(|error| cannot(&error))?;
        Ok(reader)
    }

    /// A reader of nothing yet.
    pub(super) fn of(cluster: Arc<Cluster>, Idle { consumer, bell }: Idle) -> Self {
        let positions = Positions::new();
        Self { parts: Vec::new(), consumer, cluster, bell, positions, first: 0, down_since: None, pending: None }
    }

    /// Its client, for another reader.
    pub(super) fn close(self) -> Result<Idle> {
        let Self { parts, consumer, bell, .. } = self;
        drop(parts);
        consumer.unassign().map_err(|error| cannot(&error))?;
        Ok(Idle { consumer, bell })
    }

    pub(super) fn consumer(&self) -> &BaseConsumer<Listener> {
        &self.consumer
    }

    /// Makes the queues of further partitions, which are to be assigned then.
    pub(super) fn split(&mut self, from: &Positions) -> Result<TopicPartitionList> {
        let mut list = TopicPartitionList::new();
        for ((topic, partition), offset) in from {
            list.add_partition_offset(topic, *partition, At::Offset(*offset)).map_err(|error| cannot(&error))?;
            let queue = self.consumer.split_partition_queue(topic, *partition);
            let mut queue = queue.ok_or_else(|| fault::unknown_topic(topic))?;
            let ring = Arc::clone(&self.bell);
            queue.set_nonempty_callback(move || ring.ring());
            self.parts.push(Part { key: (topic.clone(), *partition), queue, at: *offset, ended: false });
            self.positions.insert((topic.clone(), *partition), *offset);
        }
        Ok(list)
    }

    /// Forgets partitions, whatever of them lies ready.
    pub(super) fn forget(&mut self, places: &[Place]) {
        self.parts.retain(|part| !places.contains(&part.key));
        self.positions.retain(|place, _| !places.contains(place));
        self.first = 0;
    }

    /// What the client tells beside records.
    fn serve(&mut self) -> Result<()> {
        let member = self.consumer.client().context().is_member();
        while let Some(told) = self.consumer.poll(Duration::ZERO) {
            let Err(error) = told else { continue };
            match fault::code(&error) {
                Code::AllBrokersDown => {
                    self.down_since.get_or_insert_with(Instant::now);
                }
                // The client looks for a group although none is used.
                Code::GroupAuthorizationFailed if !member => {}
                // What was lost by it is told as a turn.
                Code::PollExceeded if member => {}
                Code::GroupAuthorizationFailed => {
                    return Err(fault::needs(
                        fault::error("the group cannot be joined", fault::code(&error), None),
                        "Read on the group",
                    ));
                }
                code if fault::passing(code) && !fatal(&error) => {}
                code => {
                    return Err(fault::error("the log cannot be read", code, Some(self.consumer.client().context())));
                }
            }
        }
        if self.down_since.is_some_and(|since| since.elapsed() >= PATIENCE) {
            // Nothing tells that a broker is back while there is nothing to read.
            match self.consumer.fetch_metadata(None, Duration::from_secs(2)) {
                Ok(_) => self.down_since = None,
                Err(_) => return Err(fault::unreachable(&self.cluster.settings, self.consumer.client().context())),
            }
        }
        Ok(())
    }

    /// Takes what lies ready, a turn from each partition, until `max` is reached or all are dry; true when a position
    /// moved without a record.
    fn sweep(&mut self, batch: &mut Batch, max: usize) -> Result<bool> {
        let count = self.parts.len();
        let turn = (max / count.max(1)).max(1);
        let mut moved = false;
        loop {
            let before = batch.len();
            for step in 0..count {
                let part = &mut self.parts[(self.first + step) % count];
                let limit = max.min(batch.len() + turn);
                while batch.len() < limit {
                    match part.queue.poll(Duration::ZERO) {
                        None => break,
                        Some(Ok(message)) => {
                            push(batch, &part.key, &message);
                            part.at = message.offset() + 1;
                            part.ended = false;
                        }
                        Some(Err(KafkaError::PartitionEOF(_))) => {
                            let end = self.consumer.client().context().eof().unwrap_or(part.at);
                            moved |= end > part.at;
                            part.at = part.at.max(end);
                            part.ended = true;
                        }
                        Some(Err(error)) if fault::passing(fault::code(&error)) && !fatal(&error) => {}
                        Some(Err(error)) => return Err(stopped(part, &error, self.consumer.client().context())),
                    }
                }
            }
            if count > 0 {
                self.first = (self.first + 1) % count;
            }
            if batch.len() >= max || batch.len() == before {
                return Ok(moved);
            }
        }
    }

    fn fill(&mut self, batch: &mut Batch, max: usize, wait: Duration) -> Result<()> {
        let deadline = Instant::now() + wait;
        let mut moved = false;
        loop {
            *self.bell.rung() = false;
            self.serve()?;
            moved |= self.sweep(batch, max)?;
            let now = Instant::now();
            // Markers behind the last record were met: the new positions are news, too.
            let ended = moved && self.parts.iter().all(|part| part.ended);
            if !batch.is_empty() || ended || now >= deadline || self.consumer.client().context().turn_waits() {
                return Ok(());
            }
            self.bell.wait(NAP.min(deadline - now));
        }
    }
}

impl LogReader for KafkaReader {
    fn read(&mut self, batch: &mut Batch, max: usize, wait: Duration) -> Result<()> {
        batch.clear();
        if let Some(error) = self.pending.take() {
            return Err(error);
        }
        let filled = self.fill(batch, max.max(1), wait);
        if !batch.is_empty() {
            self.down_since = None;
        }
        for part in &self.parts {
            if let Some(position) = self.positions.get_mut(&part.key) {
                *position = part.at;
            }
        }
        match filled {
            Err(error) if !batch.is_empty() => {
                self.pending = Some(error);
                Ok(())
            }
            filled => filled,
        }
    }

    fn positions(&self) -> &Positions {
        &self.positions
    }
}

fn cannot(error: &KafkaError) -> Error {
    fault::error("the log cannot be read", fault::code(error), None)
}

fn push(batch: &mut Batch, (topic, partition): &(String, i32), message: &BorrowedMessage<'_>) {
    let place = (topic.as_str(), *partition, message.offset());
    let timestamp = message.timestamp().to_millis().unwrap_or(-1);
    let key = message.key().unwrap_or_default();
    let value = message.payload().unwrap_or_default();
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    let headers = headers.map(|header| (header.key.as_bytes(), header.value.unwrap_or_default()));
    batch.push(place, timestamp, key, value, headers);
}

fn fatal(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageConsumptionFatal(_))
}

fn stopped(part: &Part, error: &KafkaError, listener: &Listener) -> Error {
    let (topic, partition) = &part.key;
    let what = format!("{topic}[{partition}] cannot be read at offset {}", part.at);
    fault::needs(fault::error(what, fault::code(error), Some(listener)), "Read on the topic")
}
