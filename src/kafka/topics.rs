//! Topics: listed, created, and what they take.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::metadata::Metadata;
use rdkafka::types::RDKafkaRespErr;

use super::admin::BLOCK;
use super::log::Cluster;
use super::settings::MAX_MESSAGE_BYTES;
use super::sys::{self, Ask, Entry, NewTopic};
use super::{fault, look};
use crate::base::{Error, Kind, Result};
use crate::port::event_log::{Topic, TopicIds};

/// Ours, not Kafka's: among the configs of a wanted topic it says how many copies are kept.
const REPLICATION: &str = "replication.factor";
const COPIES: usize = 2;
/// Left free of a topic's limit for the framing of a batch with one record.
const FRAMING: usize = 128;
pub(super) const REQUEST: Duration = Duration::from_secs(15);
/// How long new topics may take to be led.
const SETTLE: Duration = Duration::from_secs(30);
/// How long a broker may take to hear of a new topic.
const PROPAGATION: Duration = Duration::from_secs(3);

/// The partitions of all topics but the brokers' own.
pub(super) fn list(cluster: &Cluster) -> Result<BTreeMap<String, i32>> {
    let metadata = cluster.metadata(None)?;
    let found = metadata.topics().iter().filter(|topic| !internal(topic.name()));
    Ok(found.map(|topic| (topic.name().to_owned(), count(topic.partitions().len()))).collect())
}

/// The ids of those that exist, in Kafka's own form; where brokers keep none, the cluster's id and the name stand in.
pub(super) fn ids(cluster: &Cluster, topics: &[&str]) -> Result<TopicIds> {
    let what = |topic: &str| format!("the topic '{topic}' cannot be looked up");
    let mut ids = TopicIds::new();
    for block in topics.chunks(BLOCK) {
        let told = look::patiently(cluster, |handle| sys::describe_topics(handle, block, Ask::within(look::REQUEST)));
        for (topic, told) in told.map_err(|refusal| fault::refused("the topics cannot be looked up", &refusal))? {
            let id = match told {
                Ok([0, 0]) => format!("{}/{topic}", cluster.id()?),
                Ok([high, low]) => BASE64_URL_SAFE_NO_PAD.encode([high.to_be_bytes(), low.to_be_bytes()].concat()),
                Err(refusal) if refusal.code == Code::UnknownTopicOrPartition => continue,
                Err(refusal) => {
                    return Err(fault::needs(fault::refused(what(&topic), &refusal), "Describe on the topic"));
                }
            };
            ids.insert(topic, id);
        }
    }
    Ok(ids)
}

/// Creates what is missing, with as many copies as [`REPLICATION`] says, else two where there are two brokers, and
/// waits until all are known and led.
pub(super) fn create(cluster: &Cluster, topics: &[Topic]) -> Result<()> {
    if topics.is_empty() {
        return Ok(());
    }
    let copies = cluster.metadata(None)?.brokers().len().clamp(1, COPIES);
    let wanted = topics.iter().map(|topic| new_topic(topic, copies)).collect::<Result<Vec<_>>>()?;
    let answer = sys::create_topics(cluster.handle(), &wanted, Ask::within(REQUEST));
    let answer = answer.map_err(|refusal| fault::refused("the topics cannot be created", &refusal))?;
    let (mut made, mut found) = (Vec::new(), Vec::new());
    for topic in topics {
        match answer.get(&topic.name) {
            Some(Ok(())) => made.push((topic.name.as_str(), topic.partitions)),
            Some(Err(refusal)) if refusal.code != Code::TopicAlreadyExists => {
                return Err(fault::refused(format!("the topic '{}' cannot be created", topic.name), refusal));
            }
            _ => found.push(topic.name.as_str()),
        }
    }
    settle(cluster, &made)?;
    // Another may have created it a moment ago.
    everywhere(cluster, &found, known)
}

fn new_topic(topic: &Topic, copies: usize) -> Result<NewTopic<'_>> {
    let replication = match topic.configs.get(REPLICATION) {
        Some(text) => text.parse::<i32>().ok().filter(|copies| *copies > 0).ok_or_else(|| {
            Error::config(format!("'{REPLICATION}' of the topic '{}' is no number of copies: '{text}'", topic.name))
        })?,
        None => count(copies),
    };
    let configs = topic.configs.iter().filter(|(name, _)| *name != REPLICATION);
    let mut configs: Vec<(&str, &str)> = configs.map(|(name, value)| (name.as_str(), value.as_str())).collect();
    if !topic.configs.contains_key(REPLICATION) && !topic.configs.contains_key("min.insync.replicas") {
        configs.push(("min.insync.replicas", "1"));
    }
    Ok(NewTopic { name: &topic.name, partitions: topic.partitions, replication, configs })
}

/// Waits until both clients know topics of so many partitions with all their leaders, and every broker their configs: a
/// question goes to any of them.
pub(super) fn settle(cluster: &Cluster, topics: &[(&str, i32)]) -> Result<()> {
    let deadline = Instant::now() + SETTLE;
    for (topic, client) in topics.iter().flat_map(|topic| cluster.askers().map(|client| (topic, client))) {
        while !client.fetch_metadata(Some(topic.0), Duration::from_secs(5)).is_ok_and(|found| led(&found, *topic)) {
            if Instant::now() >= deadline {
                let (name, waited) = (topic.0, SETTLE.as_secs());
                return Err(Error::connect(format!(
                    "the topic '{name}' was created, but has no leaders after {waited} s"
                )));
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
    let names: Vec<&str> = topics.iter().map(|(name, _)| *name).collect();
    everywhere(cluster, &names, known)
}

fn known(told: &sys::Answer<Entry>) -> bool {
    !matches!(told, Err(refusal) if refusal.code == Code::UnknownTopicOrPartition)
}

/// Waits until what every broker tells of these topics' configs is what was asked for, since the next question goes to any of
/// them. Of who may not read configs, or a broker that takes too long, nothing is waited for.
pub(super) fn everywhere(cluster: &Cluster, names: &[&str], heard: impl Fn(&sys::Answer<Entry>) -> bool) -> Result<()> {
    // A question about no topic is refused by the client, again and again.
    if names.is_empty() {
        return Ok(());
    }
    let deadline = Instant::now() + PROPAGATION;
    // Who may not read configs is told so at once.
    let heard = |told: &sys::Answer<Entry>| {
        matches!(told, Err(refusal) if fault::kind(refusal.code) == Kind::Refused) || heard(told)
    };
    for broker in cluster.metadata(None)?.brokers() {
        let ask = Ask::within(PROPAGATION).of_broker(broker.id());
        while !sys::topic_configs(cluster.handle(), names, ask).is_ok_and(|found| found.values().all(heard))
            && Instant::now() < deadline
        {
            thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn led(metadata: &Metadata, (name, wanted): (&str, i32)) -> bool {
    let Some(found) = metadata.topics().iter().find(|found| found.name() == name) else { return false };
    let partitions = found.partitions();
    count(partitions.len()) == wanted
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
    let what = || format!("the brokers do not tell how large a record of '{topic}' may be");
    let limit = limit(&configs(cluster, topic, &what)?).ok_or_else(|| Error::failed(what()))?;
    limits().insert(topic.to_owned(), limit);
    Ok(limit)
}

/// One config of `topic` as it is in force, the brokers' defaults too.
pub(super) fn config(cluster: &Cluster, topic: &str, name: &str) -> Result<Option<String>> {
    let what = || format!("the brokers do not tell the {name} of '{topic}'");
    Ok(configs(cluster, topic, &what)?.remove(name).and_then(|entry| entry.value))
}

fn configs(cluster: &Cluster, topic: &str, what: &dyn Fn() -> String) -> Result<Entry> {
    let deadline = Instant::now() + PROPAGATION;
    loop {
        let told = look::patiently(cluster, |handle| {
            let mut found = sys::topic_configs(handle, &[topic], Ask::within(look::REQUEST))?;
            let unknown = || Err(sys::Refusal { code: Code::UnknownTopicOrPartition, words: String::new() });
            found.remove(topic).unwrap_or_else(unknown)
        });
        match told {
            Ok(entries) => return Ok(entries),
            // A broker that has not heard of it yet.
            Err(refusal) if refusal.code == Code::UnknownTopicOrPartition && Instant::now() < deadline => {
                cluster.partitions(topic)?;
            }
            Err(refusal) => {
                return Err(fault::needs(fault::refused(what(), &refusal), "DescribeConfigs on the topic"));
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn limit(entries: &Entry) -> Option<usize> {
    entries.get("max.message.bytes")?.value.as_ref()?.parse().ok()
}

/// The brokers' own begin with two underscores.
pub(super) fn internal(topic: &str) -> bool {
    topic.starts_with("__")
}

fn count(length: usize) -> i32 {
    i32::try_from(length).unwrap_or(i32::MAX)
}
