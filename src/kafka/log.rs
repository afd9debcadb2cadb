//! The log on a Kafka cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use rdkafka::topic_partition_list::Offset as At;

use super::admin::KafkaAdmin;
use super::context::Listener;
use super::group::KafkaMember;
use super::reader::{Idle, KafkaReader};
use super::settings::KafkaSettings;
use super::sys::Handle;
use super::writer::KafkaWriter;
use super::{fault, topics, transactions};
use crate::base::{Error, Result};
use crate::port::event_log::{
    Batch, Checkpoint, Ends, EventLog, LogReader, LogWriter, Offset, Positions, Topic, TopicIds, checkpoint_place,
};
use crate::port::group::{GroupReader, Join};

/// How long opening waits for an answer.
const PROBE: Duration = Duration::from_secs(8);
/// How long opening goes on after all brokers refused, or one said why.
const PROBE_DOWN: Duration = Duration::from_secs(3);
/// How long a question waits for a cluster that is electing leaders.
const PATIENCE: Duration = Duration::from_secs(30);
const REQUEST: Duration = Duration::from_secs(5);
/// Brokers look for timed-out transactions every 10 s.
const ABORT_MARGIN: Duration = Duration::from_secs(15);
/// Records read back from the end of a checkpoint partition at first.
const CHECKPOINT_TAIL: Offset = 64;

/// A Kafka cluster as the log. Opening it asks the brokers once, so that a wrong address or log-in shows at once.
pub struct KafkaLog {
    cluster: Arc<Cluster>,
}

/// The clients shared by all handles of one log.
pub(super) struct Cluster {
    pub(super) settings: KafkaSettings,
    /// Sees the last stable offset as the end of a partition.
    pub(super) committed: BaseConsumer<Listener>,
    /// Sees the high watermark as the end of a partition.
    uncommitted: BaseConsumer<Listener>,
    pub(super) limits: Mutex<BTreeMap<String, usize>>,
    /// What read the last checkpoint.
    idle: Mutex<Option<Idle>>,
}

impl KafkaLog {
    /// Connects; an error of [`crate::base::Kind::Connect`] names the brokers and the cause within 10 s.
    pub fn open(settings: &KafkaSettings) -> Result<Self> {
        settings.check()?;
        // Settings only one kind of client understands are to fail now, not at the first write.
        let _ = settings.producer("check").create_native_config().map_err(|error| fault::settings(&error))?;
        let _ = settings.reader(1).create_native_config().map_err(|error| fault::settings(&error))?;
        let committed = asker(settings, "read_committed")?;
        probe(settings, &committed)?;
        let cluster = Cluster {
            settings: settings.clone(),
            committed,
            uncommitted: asker(settings, "read_uncommitted")?,
            limits: Mutex::default(),
            idle: Mutex::default(),
        };
        Ok(Self { cluster: Arc::new(cluster) })
    }

    /// The management of the cluster, by the same clients.
    pub fn admin(&self) -> KafkaAdmin {
        KafkaAdmin::new(Arc::clone(&self.cluster))
    }
}

fn asker(settings: &KafkaSettings, isolation: &str) -> Result<BaseConsumer<Listener>> {
    settings.asker(isolation).create_with_context(Listener::default()).map_err(|error| fault::settings(&error))
}

fn probe(settings: &KafkaSettings, consumer: &BaseConsumer<Listener>) -> Result<()> {
    let listener = consumer.client().context();
    let started = Instant::now();
    loop {
        match consumer.fetch_metadata(None, Duration::from_millis(500)) {
            Ok(metadata) if !metadata.brokers().is_empty() => {
                listener.let_in();
                return Ok(());
            }
            Ok(_) => {}
            Err(error) if fault::passing(fault::code(&error)) => {}
            Err(error) => {
                return Err(fault::error("Kafka does not tell its topics", fault::code(&error), Some(listener)));
            }
        }
        let down = serve(consumer);
        let waited = started.elapsed();
        let hopeless = down || listener.known().is_some();
        if listener.refused() || waited >= PROBE || (hopeless && waited >= PROBE_DOWN) {
            return Err(fault::unreachable(settings, listener));
        }
    }
}

/// Hands what the client has to tell to its listener; true when it told that no broker is left.
fn serve(consumer: &BaseConsumer<Listener>) -> bool {
    // A log line looks like nothing at all to the caller of `poll`, so nothing is no sign of the end.
    (0..32).fold(false, |down, _| match consumer.poll(Duration::ZERO) {
        Some(Err(error)) => down | (error.rdkafka_error_code() == Some(Code::AllBrokersDown)),
        _ => down,
    })
}

impl Cluster {
    /// For calls the client has no method for.
    pub(super) fn handle(&self) -> Handle<'_> {
        Handle::of(self.committed.client())
    }

    pub(super) fn id(&self) -> Result<String> {
        let client = self.committed.client();
        client.fetch_cluster_id(REQUEST).ok_or_else(|| fault::unreachable(&self.settings, client.context()))
    }

    pub(super) fn describe(&self) -> String {
        format!("kafka {}", self.settings.brokers())
    }

    /// One more client.
    pub(super) fn another(&self) -> Result<BaseConsumer<Listener>> {
        asker(&self.settings, "read_committed")
    }

    /// Both clients that are asked for ends; a new topic has to reach each.
    pub(super) fn askers(&self) -> [&Client<Listener>; 2] {
        [self.committed.client(), self.uncommitted.client()]
    }

    pub(super) fn metadata(&self, topic: Option<&str>) -> Result<Metadata> {
        let what = || match topic {
            Some(topic) => format!("the topic '{topic}' cannot be looked up"),
            None => "the topics cannot be listed".to_owned(),
        };
        self.patiently(&self.committed, what, || self.committed.fetch_metadata(topic, REQUEST))
    }

    /// The partitions of a topic that exists.
    pub(super) fn partitions(&self, topic: &str) -> Result<i32> {
        let metadata = self.metadata(Some(topic))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let found = found.ok_or_else(|| fault::unknown_topic(topic))?;
        match found.error().map(Code::from) {
            None if found.partitions().is_empty() => Err(fault::unknown_topic(topic)),
            None => Ok(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX)),
            Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::InvalidTopic) => {
                Err(fault::unknown_topic(topic))
            }
            // Being made, or its leaders are being elected.
            Some(Code::LeaderNotAvailable) => Ok(i32::try_from(found.partitions().len()).unwrap_or(i32::MAX)),
            Some(code) => {
                let error = fault::error(format!("the topic '{topic}' cannot be looked up"), code, None);
                Err(fault::needs(error, "Describe on the topic"))
            }
        }
    }

    /// Refuses positions in topics or partitions that do not exist.
    fn known(&self, positions: &Positions) -> Result<()> {
        let topics: BTreeSet<&str> = positions.keys().map(|(topic, _)| topic.as_str()).collect();
        for topic in topics {
            let count = self.partitions(topic)?;
            let beyond = positions.keys().find(|(name, partition)| name == topic && !(0..count).contains(partition));
            if let Some((_, partition)) = beyond {
                return Err(fault::unknown_partition(topic, count, *partition));
            }
        }
        Ok(())
    }

    /// Asks again while the cluster heals, since a broker that goes takes seconds to be replaced.
    fn patiently<T>(
        &self,
        consumer: &BaseConsumer<Listener>,
        what: impl Fn() -> String,
        ask: impl Fn() -> KafkaResult<T>,
    ) -> Result<T> {
        let started = Instant::now();
        loop {
            let error = match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) => fault::code(&error),
            };
            serve(consumer);
            if !fault::passing(error) || started.elapsed() >= PATIENCE {
                let error = fault::error(what(), error, Some(consumer.client().context()));
                // Nothing else is asked about here.
                return Err(fault::needs(error, "Describe on the topic"));
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// One end of the partitions `0..count`, as `consumer` sees it.
    fn offsets(&self, consumer: &BaseConsumer<Listener>, topic: &str, range: Range, at: At) -> Result<Vec<Offset>> {
        let what = || format!("the ends of '{topic}' cannot be read");
        let ask = || -> KafkaResult<Vec<Offset>> {
            let mut list = TopicPartitionList::new();
            for partition in range.clone() {
                list.add_partition_offset(topic, partition, at)?;
            }
            let found = consumer.offsets_for_times(list, REQUEST)?;
            range
                .clone()
                .map(|partition| match found.find_partition(topic, partition) {
                    Some(element) => match (element.error(), element.offset()) {
                        (Err(error), _) => Err(error),
                        (Ok(()), At::Offset(offset)) => Ok(offset),
                        (Ok(()), _) => Err(KafkaError::OffsetFetch(Code::OffsetNotAvailable)),
                    },
                    None => Err(KafkaError::OffsetFetch(Code::UnknownPartition)),
                })
                .collect()
        };
        self.patiently(consumer, what, || {
            ask().map_err(|error| {
                let code = fault::code(&error);
                let unknown =
                    matches!(code, Code::UnknownPartition | Code::UnknownTopic | Code::UnknownTopicOrPartition);
                // The client goes on asking a leader that is dead for minutes, unless it hears of the new one.
                if unknown || fault::passing(code) {
                    let _ = consumer.fetch_metadata(Some(topic), REQUEST);
                }
                // The caller has seen these partitions, so the topic is new and this client has not heard of it yet.
                if unknown { KafkaError::OffsetFetch(Code::LeaderNotAvailable) } else { error }
            })
        })
    }

    /// The newest committed checkpoint of `name`, once everything that was in its partition at the call is decided.
    pub(super) fn newest_checkpoint(self: &Arc<Self>, name: &str) -> Result<Option<Checkpoint>> {
        let (topic, partition) = checkpoint_place(name)?;
        self.partitions(&topic)?;
        let only = partition..partition + 1;
        let one = |consumer, at| -> Result<Offset> {
            Ok(self.offsets(consumer, &topic, only.clone(), at)?.first().copied().unwrap_or_default())
        };
        let high = one(&self.uncommitted, At::End)?;
        let end = self.decided(&topic, partition, high, || one(&self.committed, At::End))?;
        let low = one(&self.committed, At::Beginning)?;
        let tail = low.max(end - CHECKPOINT_TAIL);
        match self.last_checkpoint(name, (&topic, partition), tail, end)? {
            None if tail > low => self.last_checkpoint(name, (&topic, partition), low, end),
            found => Ok(found),
        }
    }

    /// Waits until the read-committed end has met `high`. Behind it an open transaction may hide a newer checkpoint.
    fn decided(
        &self,
        topic: &str,
        partition: i32,
        high: Offset,
        committed: impl Fn() -> Result<Offset>,
    ) -> Result<Offset> {
        let deadline = Instant::now() + self.settings.transaction_timeout + ABORT_MARGIN;
        let mut pause = Duration::from_millis(2);
        loop {
            let end = committed()?;
            if end >= high {
                return Ok(end);
            }
            if Instant::now() >= deadline {
                return Err(Error::unknown(format!(
                    "a transaction stays open in partition {partition} of '{topic}': the newest checkpoint is not known"
                ))
                .hint("end the other writer, or wait until the brokers abort its transaction"));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    fn last_checkpoint(
        self: &Arc<Self>,
        name: &str,
        (topic, partition): (&str, i32),
        from: Offset,
        end: Offset,
    ) -> Result<Option<Checkpoint>> {
        if from >= end {
            return Ok(None);
        }
        let key = (topic.to_owned(), partition);
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).take();
        let idle = idle.map_or_else(|| Idle::new(&self.settings.looker(), Listener::default()), Ok)?;
        let mut reader = KafkaReader::open_with(Arc::clone(self), idle, &Positions::from([(key.clone(), from)]))?;
        let mut batch = Batch::default();
        let mut newest = None;
        let deadline = Instant::now() + PATIENCE;
        while reader.positions().get(&key).is_some_and(|at| *at < end) {
            reader.read(&mut batch, 1000, Duration::from_millis(200))?;
            // A record without a value takes a checkpoint back.
            for record in batch.iter().filter(|record| record.key == name.as_bytes() && record.offset < end) {
                newest = Some((record.offset, record.value.to_vec()));
            }
            if batch.is_empty() && Instant::now() >= deadline {
                return Err(fault::unreachable(&self.settings, self.committed.client().context()));
            }
        }
        *self.idle.lock().unwrap_or_else(PoisonError::into_inner) = Some(reader.close()?);
        let Some((offset, value)) = newest.filter(|(_, value)| !value.is_empty()) else { return Ok(None) };
        serde_json::from_slice(&value).map(Some).map_err(|error| {
            Error::corrupt(format!("the record at {topic}[{partition}]@{offset} is no checkpoint")).because(error)
        })
    }
}

type Range = std::ops::Range<i32>;

impl EventLog for KafkaLog {
    fn describe(&self) -> String {
        self.cluster.describe()
    }

    fn cluster_id(&self) -> Result<String> {
        self.cluster.id()
    }

    fn open_writer(&self, name: &str, instance: &str) -> Result<Box<dyn LogWriter>> {
        Ok(Box::new(KafkaWriter::open(Arc::clone(&self.cluster), name, instance)?))
    }

    fn checkpoint(&self, name: &str) -> Result<Option<Checkpoint>> {
        self.cluster.newest_checkpoint(name)
    }

    fn open_reader(&self, from: &Positions) -> Result<Box<dyn LogReader>> {
        self.cluster.known(from)?;
        Ok(Box::new(KafkaReader::open(Arc::clone(&self.cluster), from)?))
    }

    fn join(&self, join: &Join<'_>) -> Result<Box<dyn GroupReader>> {
        Ok(Box::new(KafkaMember::join(Arc::clone(&self.cluster), join)?))
    }

    fn ends(&self, topic: &str) -> Result<BTreeMap<i32, Ends>> {
        let Cluster { committed, uncommitted, .. } = &*self.cluster;
        let all = 0..self.cluster.partitions(topic)?;
        // In this order low <= committed <= high also while others write.
        let lows = self.cluster.offsets(committed, topic, all.clone(), At::Beginning)?;
        let stable = self.cluster.offsets(committed, topic, all.clone(), At::End)?;
        let highs = self.cluster.offsets(uncommitted, topic, all.clone(), At::End)?;
        let ends = lows.into_iter().zip(stable).zip(highs);
        Ok(all.zip(ends.map(|((low, committed), high)| Ends { low, committed, high })).collect())
    }

    fn topic_ids(&self, topics: &[&str]) -> Result<TopicIds> {
        topics::ids(&self.cluster, topics)
    }

    fn open_transactions(&self, topic: &str, partition: i32) -> Vec<String> {
        transactions::open(&self.cluster, topic, partition)
    }

    fn topics(&self) -> Result<BTreeMap<String, i32>> {
        topics::list(&self.cluster)
    }

    fn create_topics(&self, topics: &[Topic]) -> Result<()> {
        topics::create(&self.cluster, topics)
    }

    fn topic_config(&self, topic: &str, name: &str) -> Result<Option<String>> {
        topics::config(&self.cluster, topic, name)
    }

    fn max_record_bytes(&self, topic: &str) -> Result<usize> {
        topics::max_record_bytes(&self.cluster, topic)
    }
}
