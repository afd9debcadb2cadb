//! The management of a cluster: one look at it, the brokers' judgement of changes, and the changes.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::{Discriminant, discriminant};
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode as Code;

use super::fault;
use super::log::{Cluster, KafkaLog};
use super::look;
use super::settings::KafkaSettings;
use super::sys::{self, Ask, Entry, NewTopic, Refusal};
use super::topics::{self, REQUEST};
use crate::base::{Error, Kind, Result};
use crate::plan::{Action, FoundTopic, Observed, Seen, Source};
use crate::port::admin_rules;
use crate::port::topic_admin::{Answer, Scope, TopicAdmin};

/// Topics asked about at once.
pub(super) const BLOCK: usize = 500;
/// How long a topic someone else has just made may be unknown to a broker.
const PROPAGATION: Duration = Duration::from_secs(3);

/// A cluster as its managers see it.
pub struct KafkaAdmin {
    cluster: Arc<Cluster>,
}

impl KafkaAdmin {
    /// Connects as [`KafkaLog::open`] does.
    pub fn open(settings: &KafkaSettings) -> Result<Self> {
        Ok(KafkaLog::open(settings)?.admin())
    }

    pub(super) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }

    fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        replication: i32,
        configs: &BTreeMap<String, String>,
    ) -> Result<()> {
        let what = format!("the topic '{name}' cannot be created");
        let wanted = [NewTopic { name, partitions, replication, configs: pairs(configs) }];
        match one(name, sys::create_topics(self.cluster.handle(), &wanted, Ask::within(REQUEST))) {
            Err(refusal) if refusal.code == Code::TopicAlreadyExists => {
                if let Some(difference) = self.difference(name, partitions, replication, configs)? {
                    return Err(Error::refused(format!("the topic '{name}' exists already, but not as planned"))
                        .because(difference));
                }
            }
            told => told.map_err(|refusal| failed(what, &refusal))?,
        }
        topics::settle(&self.cluster, &[(name, partitions)])
    }

    /// What keeps a topic that exists from being the wanted one.
    fn difference(
        &self,
        name: &str,
        partitions: i32,
        replication: i32,
        configs: &BTreeMap<String, String>,
    ) -> Result<Option<String>> {
        let deadline = Instant::now() + PROPAGATION;
        loop {
            let metadata = self.cluster.metadata(Some(name))?;
            let found = look::partitions(&metadata).remove(name).unwrap_or_default();
            let told = one(name, sys::topic_configs(self.cluster.handle(), &[name], Ask::within(REQUEST)));
            if found.is_empty() || matches!(&told, Err(refusal) if refusal.code == Code::UnknownTopicOrPartition) {
                if Instant::now() >= deadline {
                    return Err(fault::unknown_topic(name));
                }
                thread::sleep(Duration::from_millis(50));
                continue;
            }
            let entries = told.map_err(|refusal| fault::refused(look::configs_of(name), &refusal))?;
            let found = FoundTopic { partitions: found, configs: Seen::Known(entries) };
            return Ok(admin_rules::difference(&found, partitions, replication, configs));
        }
    }

    fn add_partitions(&self, name: &str, total: i32) -> Result<()> {
        match one(name, sys::create_partitions(self.cluster.handle(), &[(name, total)], Ask::within(REQUEST))) {
            Err(refusal) if refusal.code != Code::InvalidPartitions || !self.comes_to(name, total)? => {
                Err(failed(format!("the topic '{name}' cannot get {total} partitions"), &refusal))
            }
            _ => topics::settle(&self.cluster, &[(name, total)]),
        }
    }

    /// Whether a topic has so many partitions; a broker may not have heard yet of some just added.
    fn comes_to(&self, name: &str, total: i32) -> Result<bool> {
        let deadline = Instant::now() + PROPAGATION;
        loop {
            let found = self.cluster.partitions(name)?;
            if found >= total || Instant::now() >= deadline {
                return Ok(found == total);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// What a topic takes at once is asked for again.
    fn forget(&self, name: &str) {
        self.cluster.limits.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

/// Whether configs are as they were to become.
fn altered(told: &Entry, set: &BTreeMap<String, String>, reset: &[String]) -> bool {
    let is_set = |(key, value): (&String, &String)| {
        told.get(key).is_none_or(|found| found.value.as_ref().is_none_or(|found| found == value))
    };
    set.iter().all(is_set) && reset.iter().all(|key| told.get(key).is_none_or(|found| found.source != Source::Topic))
}

impl TopicAdmin for KafkaAdmin {
    fn observe(&self, scope: &Scope) -> Result<Observed> {
        look::observe(&self.cluster, scope)
    }

    fn judge(&self, actions: &[Action]) -> Result<Vec<Answer>> {
        let not_asked = |action: &Action| match action {
            Action::DeleteTopic { .. } => Answer::NotAsked("Kafka has no trial of a deletion".into()),
            _ => Answer::NotAsked("Kafka has no trial of access rules".into()),
        };
        let mut answers: Vec<Answer> = actions.iter().map(not_asked).collect();
        for block in blocks(actions) {
            let told = block.ask(&self.cluster);
            let mut told = told.map_err(|refusal| fault::refused("the brokers cannot be asked to judge", &refusal))?;
            for (index, name) in block.members {
                answers[index] = match told.remove(name) {
                    Some(Ok(())) => Answer::Fine,
                    Some(Err(refusal)) if fault::passing(refusal.code) => {
                        return Err(fault::refused(format!("the brokers cannot judge changes of '{name}'"), &refusal));
                    }
                    Some(Err(refusal)) => Answer::No(refusal.words),
                    None => Answer::NotAsked("the broker did not answer for it".into()),
                };
            }
        }
        Ok(answers)
    }

    fn perform(&self, action: &Action) -> Result<()> {
        let (handle, ask) = (self.cluster.handle(), Ask::within(REQUEST));
        match action {
            Action::CreateTopic { name, partitions, replication, configs } => {
                self.create_topic(name, *partitions, *replication, configs)
            }
            Action::AddPartitions { name, partitions } => self.add_partitions(name, *partitions),
            Action::AlterConfigs { name, set, reset } => {
                self.forget(name);
                let told = one(name, sys::alter_configs(handle, &[(name, set, reset)], ask));
                told.map_err(|refusal| {
                    failed(format!("the configs of the topic '{name}' cannot be changed"), &refusal)
                })?;
                topics::everywhere(&self.cluster, &[name], |told| {
                    told.as_ref().is_ok_and(|told| altered(told, set, reset))
                })
            }
            Action::DeleteTopic { name } => {
                self.forget(name);
                match sys::delete_topic(handle, name, ask) {
                    Err(refusal) if refusal.code != Code::UnknownTopicOrPartition => {
                        Err(failed(format!("the topic '{name}' cannot be deleted"), &refusal))
                    }
                    // A topic made anew under its name is not to be taken for this one by a broker that is late.
                    _ => topics::everywhere(
                        &self.cluster,
                        &[name],
                        |told| matches!(told, Err(refusal) if refusal.code == Code::UnknownTopicOrPartition),
                    ),
                }
            }
            Action::CreateAcls { acls, .. } if acls.is_empty() => Ok(()),
            Action::CreateAcls { principal, acls } => {
                let told = sys::create_acls(handle, acls, ask).and_then(|each| each.into_iter().collect());
                told.map_err(|refusal| failed(format!("the access rules of {principal} cannot be added"), &refusal))
            }
        }
    }
}

fn pairs(configs: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    configs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

/// The answer for the one thing that was asked about.
fn one<T>(name: &str, told: sys::Answer<BTreeMap<String, sys::Answer<T>>>) -> sys::Answer<T> {
    let silent = || Err(Refusal { code: Code::Unknown, words: "the broker did not answer for it".to_owned() });
    told?.remove(name).unwrap_or_else(silent)
}

/// The error of a change that was not made, or of which that is not known.
fn failed(what: String, refusal: &Refusal) -> Error {
    let error = fault::refused(what, refusal);
    match error.kind() {
        _ if fault::passing(refusal.code) => {
            let text = format!("{}, or its reply was lost", error.message());
            Error::unknown(text).because(refusal.clone()).hint("look at the cluster before making it again")
        }
        Kind::Connect | Kind::Refused => error,
        _ => Error::refused(error.message()).because(refusal.clone()),
    }
}

/// Changes of one kind, each of another topic, judged by one request.
struct Block<'a> {
    kind: Discriminant<Action>,
    names: BTreeSet<&'a str>,
    members: Vec<(usize, &'a str)>,
    actions: Vec<&'a Action>,
}

fn blocks(actions: &[Action]) -> Vec<Block<'_>> {
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for (index, action) in actions.iter().enumerate() {
        let (Action::CreateTopic { name, .. } | Action::AddPartitions { name, .. } | Action::AlterConfigs { name, .. }) =
            action
        else {
            continue;
        };
        let kind = discriminant(action);
        let fits = |block: &Block<'_>| {
            block.kind == kind && block.members.len() < BLOCK && !block.names.contains(name.as_str())
        };
        let at = blocks.iter().position(fits).unwrap_or_else(|| {
            blocks.push(Block { kind, names: BTreeSet::new(), members: Vec::new(), actions: Vec::new() });
            blocks.len() - 1
        });
        let block = &mut blocks[at];
        block.names.insert(name);
        block.members.push((index, name));
        block.actions.push(action);
    }
    blocks
}

impl Block<'_> {
    fn ask(&self, cluster: &Cluster) -> sys::Answer<BTreeMap<String, sys::Answer>> {
        let (mut created, mut grown, mut altered) = (Vec::new(), Vec::new(), Vec::new());
        for action in &self.actions {
            match action {
                Action::CreateTopic { name, partitions, replication, configs } => created.push(NewTopic {
                    name,
                    partitions: *partitions,
                    replication: *replication,
                    configs: pairs(configs),
                }),
                Action::AddPartitions { name, partitions } => grown.push((name.as_str(), *partitions)),
                Action::AlterConfigs { name, set, reset } => altered.push((name.as_str(), set, reset.as_slice())),
                Action::DeleteTopic { .. } | Action::CreateAcls { .. } => {}
            }
        }
        look::patiently(cluster, |handle| {
            let ask = Ask::within(REQUEST).only_judging();
            match (created.as_slice(), grown.as_slice(), altered.as_slice()) {
                (created @ [_, ..], _, _) => sys::create_topics(handle, created, ask),
                (_, grown @ [_, ..], _) => sys::create_partitions(handle, grown, ask),
                (_, _, altered) => sys::alter_configs(handle, altered, ask),
            }
        })
    }
}
