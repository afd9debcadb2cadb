//! What crossfade.yaml wishes of the cluster: topics over those of the mapping, who acts in which role, and the plan's size.

use std::collections::BTreeMap;

use super::Origin;
use super::effective::Loader;
use super::raw::{RawConfig, RawTopicWish};
use crate::base::yaml::{self, Spanned};
use crate::base::{Error, Result};
use crate::plan::{Actor, Override, Role, illegal};

/// Read and checked as far as a file alone can be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Stands before the name of every topic of the mapping; those of `topics` have it already.
    pub prefix: String,
    pub topics: Vec<Override>,
    /// Copies of a topic that says nothing of it.
    pub copies: Option<i32>,
    pub actors: Vec<Actor>,
    pub planned: Planned,
}

/// What `provision check` holds retention and disks against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planned {
    /// Days until the migration is complete.
    pub days: u64,
    /// Megabytes a day that are written to the log, if somebody knows.
    pub mb_per_day: Option<u64>,
}

/// How the tool's own topics begin.
const OWN: &str = "crossfade.";
const STATES: [&str; 2] = ["present", "absent"];
const UNDECLARED: [&str; 2] = ["keep", "reset"];
/// Kafka's quotas of a user.
const QUOTAS: [&str; 5] = [
    "consumer_byte_rate",
    "producer_byte_rate",
    "request_percentage",
    "controller_mutation_rate",
    "connection_creation_rate",
];

impl Loader<'_> {
    pub(super) fn wishes(&mut self, raw: &RawConfig) -> Result<Wishes> {
        let (prefix, at) = self.setting("topics.prefix", "CROSSFADE_TOPICS_PREFIX", raw.topics.prefix.as_ref(), "");
        if let Some(text) = illegal(&prefix).filter(|_| !prefix.is_empty()) {
            return Err(self.refuse(at, &format!("'topics.prefix' begins the name of every topic: {text}")));
        }
        if prefix.starts_with(OWN) {
            return Err(self.refuse(at, &format!("topics that begin with '{OWN}' are the tool's own")));
        }
        let mut topics = Vec::with_capacity(raw.topics.wishes.len());
        for (name, wish) in &raw.topics.wishes {
            topics.push(self.topic(format!("{prefix}{name}"), wish)?);
        }
        let kafka = raw.log.kafka.as_ref().map(|kafka| &kafka.value);
        let copies = kafka.and_then(|kafka| kafka.replication.as_ref());
        let copies = copies.map(|at| self.at_least_one("log.kafka.replication", at)).transpose()?;
        if let Some(copies) = copies {
            self.note("log.kafka.replication", &copies.to_string(), Origin::File);
        }
        let mut actors: Vec<Actor> = Vec::new();
        for (word, actor) in kafka.into_iter().flat_map(|kafka| &kafka.roles) {
            let refuse = |message: String, valid: &[&str], found: &str| {
                let error = yaml::refuse_at(&self.name, actor, message);
                match yaml::nearest(found, valid.iter().copied()) {
                    Some(near) => error.hint(format!("did you mean '{near}'?")),
                    None => error.hint(format!("known are: {}", valid.join(", "))),
                }
            };
            let words = Role::ALL.map(|(_, word)| word);
            let role = Role::of(word).ok_or_else(|| refuse(format!("there is no role '{word}'"), &words, word))?;
            let quotas = &actor.value.quotas;
            if let Some(found) = quotas.keys().find(|name| !QUOTAS.contains(&name.as_str())) {
                return Err(refuse(format!("there is no quota '{found}'"), &QUOTAS, found));
            }
            let user = &actor.value.user;
            if user.value.is_empty() || user.value.contains(':') {
                let message = "'user' is the name a client logs in with, without 'User:'";
                return Err(yaml::refuse_at(&self.name, user, message));
            }
            self.note("log.kafka.roles", &format!("{word}={}", user.value), Origin::File);
            let quotas: BTreeMap<String, u64> = quotas.clone().into_iter().collect();
            let principal = format!("User:{}", user.value);
            actors.push(Actor {
                role,
                principal,
                host: actor.value.host.clone().unwrap_or_else(|| "*".into()),
                quotas,
            });
        }
        let days = self.number("planned.days", raw.planned.days.as_ref(), 30)?;
        let mb = raw.planned.mb_per_day.as_ref();
        let mb_per_day = mb.map(|at| self.number("planned.mb_per_day", Some(at), 0)).transpose()?;
        Ok(Wishes { prefix, topics, copies, actors, planned: Planned { days, mb_per_day } })
    }

    fn topic(&mut self, name: String, wish: &Spanned<RawTopicWish>) -> Result<Override> {
        if let Some(text) = illegal(&name) {
            return Err(yaml::refuse_at(&self.name, wish, text));
        }
        let raw = &wish.value;
        let absent = self.second_of("state", raw.state.as_ref(), STATES)?;
        let reset_undeclared = self.second_of("undeclared", raw.undeclared.as_ref(), UNDECLARED)?;
        let partitions = raw.partitions.as_ref().map(|at| self.at_least_one("partitions", at)).transpose()?;
        let replication = raw.replication.as_ref().map(|at| self.at_least_one("replication", at)).transpose()?;
        let mut configs = BTreeMap::new();
        let mut config_places = BTreeMap::new();
        for (key, value) in &raw.configs {
            config_places.insert(key.clone(), self.place(value));
            configs.insert(key.clone(), value.value.clone());
        }
        self.note("topics", &name, Origin::File);
        let place = self.place(wish);
        Ok(Override { name, partitions, replication, configs, absent, reset_undeclared, place, config_places })
    }

    fn place<T>(&self, at: &Spanned<T>) -> String {
        format!("{}:{}:{}", self.name, at.referenced.line(), at.referenced.column())
    }

    /// Whether the second of two words was written; the first is the default.
    fn second_of(&self, field: &str, at: Option<&Spanned<String>>, words: [&str; 2]) -> Result<bool> {
        match at {
            None => Ok(false),
            Some(at) if words.contains(&at.value.as_str()) => Ok(at.value == words[1]),
            Some(at) => {
                let message = format!("'{field}' is {} or {}, found '{}'", words[0], words[1], at.value);
                Err(yaml::refuse_at(&self.name, at, message))
            }
        }
    }

    fn at_least_one(&self, field: &str, at: &Spanned<i32>) -> Result<i32> {
        let refuse = || -> Error { yaml::refuse_at(&self.name, at, format!("'{field}' is at least 1")) };
        if at.value < 1 { Err(refuse()) } else { Ok(at.value) }
    }
}
