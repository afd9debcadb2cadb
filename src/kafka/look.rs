//! One look at a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::metadata::{Metadata, MetadataBroker};

use super::admin::BLOCK;
use super::disks::{Address, disks};
use super::log::Cluster;
use super::sys::{self, Ask, Entry, Handle, Refusal};
use super::{fault, topics};
use crate::base::Result;
use crate::plan::{Broker, FoundTopic, Group, Observed, Partition, Seen};
use crate::port::topic_admin::{Scope, Topics};

pub(super) const REQUEST: Duration = Duration::from_secs(5);
/// Where the broker asked may be down and nobody else can answer for it.
const SHORT: Duration = Duration::from_secs(3);
/// A broker that went is noticed after 9 s, and its groups are taken over then.
const GROUP_PATIENCE: Duration = Duration::from_secs(15);
/// How long a question waits for a cluster that is electing leaders.
const PATIENCE: Duration = Duration::from_secs(30);

/// Settings of a broker that bear on topics, or on who may use them.
const BROKER_CONFIGS: &[&str] = &[
    "authorizer.class.name",
    "auto.create.topics.enable",
    "compression.type",
    "default.replication.factor",
    "delete.topic.enable",
    "log.cleanup.policy",
    "log.retention.bytes",
    "log.retention.hours",
    "log.retention.minutes",
    "log.retention.ms",
    "log.segment.bytes",
    "message.max.bytes",
    "min.insync.replicas",
    "num.partitions",
    "offsets.retention.minutes",
    "transaction.max.timeout.ms",
    "unclean.leader.election.enable",
];

pub(super) fn observe(cluster: &Cluster, scope: &Scope) -> Result<Observed> {
    let metadata = cluster.metadata(None)?;
    let within = Ask::within(REQUEST);
    let described = patiently(cluster, |handle| sys::describe_cluster(handle, within));
    let (cluster_id, brokers) =
        described.map_err(|refusal| fault::refused("the brokers cannot be looked up", &refusal))?;
    let partitions = partitions(&metadata);
    let (configs, config_names) = configs(cluster, &partitions, &scope.configs)?;
    let hidden = hidden_topics(cluster, &partitions, &scope.configs)?;
    let broker_configs = broker_configs(cluster, &brokers);
    let (acls, scram_users) = if scope.access {
        let users = patiently(cluster, |handle| sys::scram_users(handle, within));
        // The same right is asked for both, and the library takes a refusal to tell the rules for none at all.
        let acls = match &users {
            Err(refusal) if refusal.code == Code::ClusterAuthorizationFailed => Err(refusal.clone()),
            _ => patiently(cluster, |handle| sys::describe_acls(handle, within)),
        };
        (seen(acls), seen(users))
    } else {
        (not_asked(), not_asked())
    };
    let groups = match &scope.groups {
        Some(_) if offline(&metadata) => Seen::Hidden("the brokers that keep part of the groups are down".to_owned()),
        Some(prefix) => groups(cluster, prefix)?,
        None => not_asked(),
    };
    let disks = if scope.disks { disks(&cluster.settings, addresses(&metadata)) } else { not_asked() };
    let topics = with_configs(partitions, configs);
    let brokers = Seen::Known(brokers);
    let home = cluster.describe();
    Ok(Observed {
        home,
        cluster_id,
        brokers,
        broker_configs,
        topics,
        hidden,
        config_names,
        acls,
        scram_users,
        groups,
        claims: not_asked(),
        disks,
    })
}

fn addresses(metadata: &Metadata) -> Vec<Address> {
    let address =
        |broker: &MetadataBroker| Address { id: broker.id(), host: broker.host().into(), port: broker.port() };
    metadata.brokers().iter().map(address).collect()
}

fn not_asked<T>() -> Seen<T> {
    Seen::NotHere("not asked for".to_owned())
}

fn seen<T>(told: sys::Answer<T>) -> Seen<T> {
    told.map_or_else(|refusal| Seen::Hidden(hidden(&refusal)), Seen::Known)
}

/// Why something could not be looked at, in plain words.
fn hidden(refusal: &Refusal) -> String {
    match refusal.code {
        Code::SecurityDisabled => "the cluster has no authorizer".to_owned(),
        Code::UnsupportedVersion | Code::UnsupportedFeature => "the brokers are too old to tell".to_owned(),
        Code::ClusterAuthorizationFailed | Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed => {
            "the user lacks the right to look at it".to_owned()
        }
        _ => refusal.words.clone(),
    }
}

pub(super) fn configs_of(topic: &str) -> String {
    format!("the configs of the topic '{topic}' cannot be read")
}

/// The partitions of every topic but the brokers' own.
pub(super) fn partitions(metadata: &Metadata) -> BTreeMap<String, Vec<Partition>> {
    let topics = metadata.topics().iter().filter(|topic| !topics::internal(topic.name()));
    let found = topics.map(|topic| {
        let mut partitions: Vec<_> = topic.partitions().iter().collect();
        partitions.sort_by_key(|partition| partition.id());
        let partitions = partitions.into_iter().map(|partition| Partition {
            leader: Some(partition.leader()).filter(|leader| *leader >= 0),
            replicas: partition.replicas().to_vec(),
            in_sync: partition.isr().to_vec(),
        });
        (topic.name().to_owned(), partitions.collect())
    });
    found.collect()
}

type Configs = BTreeMap<String, sys::Answer<Entry>>;

/// The configs of the topics asked for, and the names of all there are.
fn configs(
    cluster: &Cluster,
    topics: &BTreeMap<String, Vec<Partition>>,
    wanted: &Topics,
) -> Result<(Configs, BTreeSet<String>)> {
    let mut names: Vec<&str> = topics.keys().map(String::as_str).filter(|name| wanted.has(name)).collect();
    // Any topic tells the names there are.
    if names.is_empty() && *wanted != Topics::None {
        names.extend(topics.keys().next().map(String::as_str));
    }
    let mut found = Configs::new();
    for block in names.chunks(BLOCK) {
        let told = patiently(cluster, |handle| sys::topic_configs(handle, block, Ask::within(REQUEST)));
        found.extend(told.map_err(|refusal| fault::refused("the configs of topics cannot be read", &refusal))?);
    }
    let known = found.values().filter_map(|told| told.as_ref().ok()).flat_map(|entries| entries.keys().cloned());
    let known = known.collect();
    found.retain(|name, _| wanted.has(name));
    Ok((found, known))
}

/// Topics asked for by name that are kept from this user: a list of all leaves them out.
fn hidden_topics(
    cluster: &Cluster,
    found: &BTreeMap<String, Vec<Partition>>,
    wanted: &Topics,
) -> Result<BTreeSet<String>> {
    let Topics::Named(names) = wanted else { return Ok(BTreeSet::new()) };
    let unlisted: Vec<&str> = names.iter().map(String::as_str).filter(|name| !found.contains_key(*name)).collect();
    let mut hidden = BTreeSet::new();
    for block in unlisted.chunks(BLOCK) {
        let told = patiently(cluster, |handle| sys::describe_topics(handle, block, Ask::within(REQUEST)));
        let told = told.map_err(|refusal| fault::refused("the topics cannot be looked up", &refusal))?;
        let kept = |told: &sys::Answer<[i64; 2]>| matches!(told, Err(refusal) if refusal.code == Code::TopicAuthorizationFailed);
        hidden.extend(told.into_iter().filter(|(_, told)| kept(told)).map(|(name, _)| name));
    }
    Ok(hidden)
}

fn with_configs(partitions: BTreeMap<String, Vec<Partition>>, mut configs: Configs) -> BTreeMap<String, FoundTopic> {
    let topics = partitions.into_iter().map(|(name, partitions)| {
        let configs = configs.remove(&name).map_or_else(not_asked, seen);
        (name, FoundTopic { partitions, configs })
    });
    topics.collect()
}

/// The settings of the first broker that tells them.
fn broker_configs(cluster: &Cluster, brokers: &[Broker]) -> Seen<BTreeMap<String, String>> {
    let mut reason = "no broker answered".to_owned();
    for broker in brokers {
        match sys::broker_configs(cluster.handle(), broker.id, Ask::within(SHORT)) {
            Ok(entries) => {
                let ours = entries.into_iter().filter(|(name, _)| BROKER_CONFIGS.contains(&name.as_str()));
                return Seen::Known(ours.filter_map(|(name, config)| Some((name, config.value?))).collect());
            }
            Err(refusal) if fault::passing(refusal.code) => reason = refusal.words,
            Err(refusal) => return Seen::Hidden(hidden(&refusal)),
        }
    }
    Seen::Hidden(reason)
}

/// Whether groups are kept where no broker leads; others would not tell that they are missing.
fn offline(metadata: &Metadata) -> bool {
    let kept = metadata.topics().iter().find(|topic| topic.name() == "__consumer_offsets");
    kept.is_some_and(|topic| topic.partitions().iter().any(|partition| partition.leader() < 0))
}

/// Groups, asked for by a new client each time: an old one goes on to ask a coordinator that is down.
fn groups(cluster: &Cluster, prefix: &str) -> Result<Seen<Vec<Group>>> {
    let deadline = Instant::now() + GROUP_PATIENCE;
    loop {
        let client = cluster.another()?;
        match groups_by(Handle::of(client.client()), prefix) {
            Err(refusal) if fault::passing(refusal.code) && Instant::now() < deadline => {}
            told => return Ok(seen(told)),
        }
    }
}

fn groups_by(handle: Handle<'_>, prefix: &str) -> sys::Answer<Vec<Group>> {
    let ask = Ask::within(SHORT);
    let (mut names, errors) = sys::list_groups(handle, ask)?;
    // Each broker tells its own; those of one that went are told by others a moment later.
    if let Some(error) = errors.into_iter().next() {
        return Err(error);
    }
    names.retain(|name| name.starts_with(prefix));
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let groups = sys::describe_groups(handle, &names, ask)?.into_iter().map(|(name, told)| {
        let (state, members) = told?;
        let offsets = sys::group_offsets(handle, &name, ask)?;
        Ok(Group { name, state, members, offsets })
    });
    groups.collect()
}

/// Asks again while the cluster heals. Looking up the topics also finds another broker to ask.
pub(super) fn patiently<T>(cluster: &Cluster, ask: impl Fn(Handle<'_>) -> sys::Answer<T>) -> sys::Answer<T> {
    let started = Instant::now();
    loop {
        match ask(cluster.handle()) {
            Err(refusal) if fault::passing(refusal.code) && started.elapsed() < PATIENCE => {
                let _ = cluster.metadata(None);
                thread::sleep(Duration::from_millis(100));
            }
            told => return told,
        }
    }
}
