//! What a home of the log has, as one look found it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// What a look may bring: unknown stays unknown, and some homes have no such thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen<T> {
    Known(T),
    /// Could not be looked at, and why.
    Hidden(String),
    /// This home has no such thing, and what stands in for it.
    NotHere(String),
}

impl<T> Seen<T> {
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Hidden(_) | Self::NotHere(_) => None,
        }
    }
}

/// One look at a home of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The home's name for people, as [`crate::port::event_log::EventLog::describe`] gives it.
    pub home: String,
    pub cluster_id: String,
    /// The brokers alive at the look.
    pub brokers: Seen<Vec<Broker>>,
    /// Broker-wide settings that bear on topics, of the first broker that answered.
    pub broker_configs: Seen<BTreeMap<String, String>>,
    /// Every topic the user may see, but the brokers' own.
    pub topics: BTreeMap<String, FoundTopic>,
    /// Topics asked for by name that the user may not look at; they may exist.
    pub hidden: BTreeSet<String>,
    /// Names the home knows for a topic's configs; empty when no topic was there to ask.
    pub config_names: BTreeSet<String>,
    pub acls: Seen<Vec<Acl>>,
    /// Users with SCRAM credentials, and the mechanisms of each.
    pub scram_users: Seen<BTreeMap<String, Vec<String>>>,
    pub groups: Seen<Vec<Group>>,
    /// Of the topics a migration wants.
    pub claims: Seen<Claims>,
    /// Of every broker, or none of them.
    pub disks: Seen<Vec<Disk>>,
}

/// Whose topics are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// The migration that has a topic.
    pub owners: BTreeMap<String, String>,
    /// A topic that nobody has claimed, with another migration whose events lie in it.
    pub shared: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    pub id: i32,
    pub host: String,
    pub rack: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTopic {
    /// By number.
    pub partitions: Vec<Partition>,
    /// `NotHere` where the look did not ask for this topic's configs.
    pub configs: Seen<BTreeMap<String, Config>>,
}

/// Broker ids; all of it empty where the home has no replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    pub leader: Option<i32>,
    pub replicas: Vec<i32>,
    pub in_sync: Vec<i32>,
}

/// One config entry of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `None` where the broker keeps it to itself.
    pub value: Option<String>,
    pub source: Source,
}

/// Where a config entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Set on the topic itself.
    Topic,
    /// Any setting of a broker, or of all of them.
    Broker,
    Default,
}

/// One access rule; the tool plans no denials.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Acl {
    /// As `User:name`.
    pub principal: String,
    pub host: String,
    pub resource: Resource,
    pub name: String,
    pub pattern: Pattern,
    pub operation: Operation,
    pub allow: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    Topic,
    Group,
    Cluster,
    TransactionalId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    Literal,
    Prefixed,
}

/// Operations the tool plans or meets; Kafka's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    All,
    Read,
    Write,
    Create,
    Delete,
    Alter,
    Describe,
    ClusterAction,
    DescribeConfigs,
    AlterConfigs,
    IdempotentWrite,
}

/// A folder of a broker, which has a disk to itself as far as anybody tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    pub broker: i32,
    pub path: String,
    /// `None` where the broker lost it.
    pub room: Option<Room>,
    /// Bytes of each topic, the brokers' own too.
    pub held: BTreeMap<String, u64>,
}

/// Bytes of a disk, all and those left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    pub total: u64,
    pub usable: u64,
}

/// A consumer group and how far it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    /// Kafka's word: `Stable`, `Empty`, `Dead` and so on.
    pub state: String,
    pub members: usize,
    /// Committed offset per (topic, partition).
    pub offsets: BTreeMap<(String, i32), i64>,
}
