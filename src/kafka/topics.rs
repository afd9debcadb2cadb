//! Topics: listed, created, and what they take.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, ConfigEntry, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaRespErr;

use super::fault;
use super::log::Cluster;
use super::settings::MAX_MESSAGE_BYTES;
use crate::base::{Error, Result};
use crate::port::event_log::Topic;

/// Ours, not Kafka's: among the configs of a wanted topic it says how many copies are kept.
const REPLICATION: &str = "replication.factor";
const COPIES: usize = 2;
/// Left free of a topic's limit for the framing of a batch with one record.
const FRAMING: usize = 128;
const REQUEST: Duration = Duration::from_secs(15);
/// How long new topics may take to be led.
const SETTLE: Duration = Duration::from_secs(30);
/// How long a broker may take to hear of a new topic. Who may not read configs waits as long for nothing.
const PROPAGATION: Duration = Duration::from_secs(3);

/// All topics but the brokers' own, which begin with two underscores. `configs` are only those set on the topic itself.
pub(super) fn list(cluster: &Cluster) -> Result<Vec<Topic>> {
    let metadata = cluster.metadata(None)?;
    let found: Vec<_> = metadata.topics().iter().filter(|topic| !internal(topic.name())).collect();
    let names: Vec<&str> = found.iter().map(|topic| topic.name()).collect();
    let configs = describe(cluster, &names, options())?;
    let topics = found.iter().zip(configs).map(|(topic, configs)| Topic {
        name: topic.name().to_owned(),
        partitions: i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX),
        configs: own(configs),
    });
    let mut topics: Vec<Topic> = topics.collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(topics)
}

fn own(entries: Vec<ConfigEntry>) -> BTreeMap<String, String> {
    let set = entries.into_iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
    set.filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

/// The configs of each topic, in the order asked; none of a topic that is gone or hidden from the user, since the client
/// does not hand on the errors of single topics.
fn describe(cluster: &Cluster, names: &[&str], options: AdminOptions) -> Result<Vec<Vec<ConfigEntry>>> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let asked: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
    let answer = block_on(cluster.admin()?.describe_configs(&asked, &options));
    let answer = answer.map_err(|error| call("the configs of topics cannot be read", &error))?;
    Ok(answer.into_iter().map(|found| found.map(|found| found.entries).unwrap_or_default()).collect())
}

/// Creates what is missing, with as many copies as [`REPLICATION`] says, else two where there are two brokers, and
/// waits until all are known and led.
pub(super) fn create(cluster: &Cluster, topics: &[Topic]) -> Result<()> {
    if topics.is_empty() {
        return Ok(());
    }
    let copies = cluster.metadata(None)?.brokers().len().clamp(1, COPIES);
    let wanted = topics.iter().map(|topic| new_topic(topic, copies)).collect::<Result<Vec<_>>>()?;
    let answer = block_on(cluster.admin()?.create_topics(&wanted, &options().operation_timeout(Some(REQUEST))));
    let answer = answer.map_err(|error| call("the topics cannot be created", &error))?;
    let mut made = BTreeSet::new();
    for result in answer {
        match result {
            Ok(name) => {
                made.insert(name);
            }
            Err((_, Code::TopicAlreadyExists)) => {}
            Err((name, code)) => return Err(refused(topics, &name, code)),
        }
    }
    let made: Vec<&Topic> = topics.iter().filter(|topic| made.contains(&topic.name)).collect();
    settle(cluster, &made)
}

fn new_topic(topic: &Topic, copies: usize) -> Result<NewTopic<'_>> {
    let copies = match topic.configs.get(REPLICATION) {
        Some(text) => text.parse::<i32>().ok().filter(|copies| *copies > 0).ok_or_else(|| {
            Error::config(format!("'{REPLICATION}' of the topic '{}' is no number of copies: '{text}'", topic.name))
        })?,
        None => i32::try_from(copies).unwrap_or(1),
    };
    let mut wanted = NewTopic::new(&topic.name, topic.partitions, TopicReplication::Fixed(copies));
    if !topic.configs.contains_key(REPLICATION) && !topic.configs.contains_key("min.insync.replicas") {
        wanted = wanted.set("min.insync.replicas", "1");
    }
    for (name, value) in topic.configs.iter().filter(|(name, _)| *name != REPLICATION) {
        wanted = wanted.set(name, value);
    }
    Ok(wanted)
}

fn refused(topics: &[Topic], name: &str, code: Code) -> Error {
    let what = match (code, topics.iter().find(|topic| topic.name == name)) {
        // The client does not hand on which of them it was.
        (Code::InvalidConfig, Some(topic)) => {
            let configs: Vec<_> = topic.configs.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("the topic '{name}' cannot be created with {}", configs.join(", "))
        }
        (Code::InvalidPartitions, Some(topic)) => {
            format!("the topic '{name}' cannot be created with {} partitions", topic.partitions)
        }
        _ => format!("the topic '{name}' cannot be created"),
    };
    fault::error(what, code, None)
}

/// Waits until both clients know new topics with all their leaders, and every broker their configs: a question goes to any
/// of them.
fn settle(cluster: &Cluster, topics: &[&Topic]) -> Result<()> {
    let deadline = Instant::now() + SETTLE;
    for (topic, client) in topics.iter().flat_map(|topic| cluster.askers().map(|client| (topic, client))) {
        while !client.fetch_metadata(Some(&topic.name), Duration::from_secs(5)).is_ok_and(|found| led(&found, topic)) {
            if Instant::now() >= deadline {
                return Err(Error::connect(format!(
                    "the topic '{}' was created, but has no leaders after {} s",
                    topic.name,
                    SETTLE.as_secs()
                )));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    let deadline = Instant::now() + PROPAGATION;
    let names: Vec<&str> = topics.iter().map(|topic| topic.name.as_str()).collect();
    for broker in cluster.metadata(None)?.brokers() {
        let ask = || AdminOptions::new().request_timeout(Some(PROPAGATION)).broker_id(broker.id());
        while !describe(cluster, &names, ask()).is_ok_and(|found| found.iter().all(|configs| !configs.is_empty()))
            && Instant::now() < deadline
        {
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn led(metadata: &Metadata, topic: &Topic) -> bool {
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic.name) else { return false };
    let partitions = found.partitions();
    partitions.len() == usize::try_from(topic.partitions).unwrap_or_default()
        && partitions.iter().all(|partition| partition.leader() >= 0 && no_error(partition.error()))
}

fn no_error(error: Option<RDKafkaRespErr>) -> bool {
    error.is_none_or(|error| Code::from(error) == Code::ReplicaNotAvailable)
}

/// Bytes of key, value and headers a record of `topic` may have; asked once.
pub(super) fn max_record_bytes(cluster: &Cluster, topic: &str) -> Result<usize> {
    Ok(batch_limit(cluster, topic)?.min(MAX_MESSAGE_BYTES).saturating_sub(FRAMING))
}

/// Bytes a whole batch may have at the broker.
pub(super) fn batch_limit(cluster: &Cluster, topic: &str) -> Result<usize> {
    let limits = || cluster.limits.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(limit) = limits().get(topic) {
        return Ok(*limit);
    }
    let deadline = Instant::now() + PROPAGATION;
    loop {
        let entries = describe(cluster, &[topic], options())?.into_iter().next().unwrap_or_default();
        if let Some(limit) = limit(&entries) {
            limits().insert(topic.to_owned(), limit);
            return Ok(limit);
        }
        cluster.partitions(topic)?;
        if Instant::now() >= deadline {
            let what = format!("the brokers do not tell how large a record of '{topic}' may be");
            return Err(fault::error(what, Code::TopicAuthorizationFailed, None));
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn limit(entries: &[ConfigEntry]) -> Option<usize> {
    entries.iter().find(|entry| entry.name == "max.message.bytes")?.value.as_ref()?.parse().ok()
}

fn internal(topic: &str) -> bool {
    topic.starts_with("__")
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST))
}

/// The error of a call as a whole. The client wraps its code without telling it.
fn call(what: &str, error: &KafkaError) -> Error {
    match error {
        KafkaError::AdminOp(code) => fault::error(what, *code, None),
        other => fault::error(what, fault::code(other), None),
    }
}

/// Waits for a future on this thread: the client answers on a thread of its own.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
