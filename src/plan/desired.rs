//! What a cluster should have: the mapping's topics, the tool's own, and what crossfade.yaml lays over them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::access::{Role, rules};
use super::observed::Acl;
use crate::base::{Result, hex};
use crate::mapping::{Mapping, Topic};

/// Copies kept of a topic that says nothing of it.
pub const COPIES: i32 = 2;
/// Ours, not Kafka's: among the configs of a mapping's topic it says how many copies are kept.
pub const REPLICATION: &str = "replication.factor";

/// One `topics` entry of crossfade.yaml.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Override {
    pub name: String,
    pub partitions: Option<i32>,
    pub replication: Option<i32>,
    pub configs: BTreeMap<String, String>,
    pub absent: bool,
    /// Configs set on the topic and not declared are taken back.
    pub reset_undeclared: bool,
    /// Where the file speaks of it, `file:line:column`.
    pub place: String,
    /// And of each config.
    pub config_places: BTreeMap<String, String>,
}

/// Who acts in a role, and what is asked of the cluster for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Actor {
    pub role: Role,
    /// As `User:name`.
    pub principal: String,
    pub host: String,
    /// Kafka's names and values, as `producer_byte_rate`.
    pub quotas: BTreeMap<String, u64>,
}

/// Whose wish a topic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// The tool's own.
    Tool,
    Mapping,
    /// Named in crossfade.yaml only.
    Config,
}

/// A topic as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DesiredTopic {
    pub name: String,
    pub owner: Owner,
    pub partitions: i32,
    /// Declared by somebody; else [`COPIES`] when it is made, and at least so many later.
    pub replication: Option<i32>,
    pub configs: BTreeMap<String, String>,
    pub absent: bool,
    pub reset_undeclared: bool,
    /// It holds the row events: all of them are needed, for ever.
    pub event_store: bool,
    /// Configs that nobody declared: said outright where it is made, and later where another value is in force.
    #[serde(skip)]
    pub assured: BTreeSet<String>,
    /// Where crossfade.yaml speaks of it.
    #[serde(skip)]
    pub place: Option<String>,
    #[serde(skip)]
    pub config_places: BTreeMap<String, String>,
}

/// Everything wished of one home of the log.
#[derive(Clone, Debug, Serialize)]
pub struct Desired {
    pub migration: String,
    /// The tool's first, since the run lock lives there; absent ones last.
    pub topics: Vec<DesiredTopic>,
    pub actors: Vec<Actor>,
    pub acls: BTreeSet<Acl>,
}

impl Desired {
    /// Lays `overrides` and the default number of copies over the topics of the mapping and the tool's `own`.
    pub fn new(
        migration: &str,
        mapping: &Mapping,
        own: Vec<Topic>,
        copies: Option<i32>,
        overrides: &[Override],
        actors: Vec<Actor>,
    ) -> Result<Self> {
        let stores: BTreeSet<&str> = mapping.tables.iter().map(|table| table.topic.as_str()).collect();
        let topic = |owner| {
            let stores = &stores;
            move |topic: Topic| {
                let mut configs = topic.configs;
                let declared = configs.remove(REPLICATION).and_then(|text| text.parse().ok());
                DesiredTopic {
                    event_store: stores.contains(topic.name.as_str()),
                    name: topic.name,
                    owner,
                    partitions: topic.partitions,
                    replication: declared.or(copies),
                    configs,
                    absent: false,
                    reset_undeclared: false,
                    assured: BTreeSet::new(),
                    place: None,
                    config_places: BTreeMap::new(),
                }
            }
        };
        let mut topics: Vec<DesiredTopic> = own.into_iter().map(topic(Owner::Tool)).collect();
        topics.extend(mapping.topics.iter().cloned().map(topic(Owner::Mapping)));
        for wish in overrides {
            let known = topics.iter_mut().find(|topic| topic.name == wish.name);
            let topic = match known {
                Some(topic) => topic,
                None => {
                    topics.push(DesiredTopic {
                        name: wish.name.clone(),
                        owner: Owner::Config,
                        partitions: 1,
                        replication: copies,
                        configs: BTreeMap::new(),
                        absent: false,
                        reset_undeclared: false,
                        assured: BTreeSet::new(),
                        event_store: false,
                        place: None,
                        config_places: BTreeMap::new(),
                    });
                    let last = topics.len() - 1;
                    &mut topics[last]
                }
            };
            topic.partitions = wish.partitions.unwrap_or(topic.partitions);
            topic.replication = wish.replication.or(topic.replication);
            topic.configs.extend(wish.configs.clone());
            topic.absent = wish.absent;
            topic.reset_undeclared = wish.reset_undeclared;
            topic.place = Some(wish.place.clone());
            topic.config_places.clone_from(&wish.config_places);
        }
        // What a broker's default may take away is said outright.
        for topic in topics.iter_mut().filter(|topic| topic.event_store && !topic.absent) {
            for (key, value) in [("cleanup.policy", "delete"), ("retention.ms", "-1")] {
                if !topic.configs.contains_key(key) {
                    topic.configs.insert(key.to_owned(), value.to_owned());
                    topic.assured.insert(key.to_owned());
                }
            }
        }
        topics.sort_by_key(|topic| (topic.absent, topic.owner));
        let acls = actors.iter().flat_map(|actor| rules(actor, migration, mapping)).collect();
        Ok(Self { migration: migration.to_owned(), topics, actors, acls })
    }

    /// Tells two wishes apart, whatever file they come from.
    pub fn hash(&self) -> Result<String> {
        let canonical = serde_json::to_vec(self)
            .map_err(|error| crate::base::Error::failed("the plan's wishes have no canonical form").because(error))?;
        Ok(hex(blake3::hash(&canonical).as_bytes()))
    }

    pub fn names(&self) -> BTreeSet<String> {
        self.topics.iter().map(|topic| topic.name.clone()).collect()
    }
}
