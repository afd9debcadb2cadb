//! Desired against observed: the steps that lead from one to the other, each change with its risk.

mod access;

pub(super) use self::access::acl_item;
pub use self::access::words;
use std::collections::{BTreeMap, BTreeSet};

use super::change::{Action, Change, Kind, Op, Risk, WayBack};
use super::claims;
use super::configs;
use super::desired::{COPIES, Desired, DesiredTopic, Owner};
use super::document::{Act, Step};
use super::fingerprint::{of_topic, predict};
use super::names::{Collisions, illegal};
use super::observed::{Config, FoundTopic, Observed, Seen, Source};
use super::reassign;
use super::schemas::{Schemas, plan_schemas};
use crate::base::words::counted;
use crate::base::yaml::nearest;

const ISR: &str = "min.insync.replicas";

/// The steps, in the order they are taken: what the tool needs, topics, partitions, configs, claims, access, schemas,
/// removals.
///
/// A step with an impossible change has no way through; whoever applies the plan looks at all of them first.
pub fn steps(desired: &Desired, observed: &Observed, schemas: &Schemas) -> Vec<Step> {
    let wanted = desired.topics.iter().filter(|topic| !topic.absent).map(|topic| topic.name.as_str());
    let names = Collisions::among(observed.topics.keys().map(String::as_str).chain(wanted));
    let planner = Planner { observed, names };
    let mut steps: Vec<Step> = desired.topics.iter().flat_map(|topic| planner.topic(topic)).collect();
    steps.sort_by_key(|step| match step.action() {
        Some(Action::DeleteTopic { .. }) => 3,
        Some(Action::AddPartitions { .. }) => 1,
        Some(Action::AlterConfigs { .. }) => 2,
        _ => 0,
    });
    let removals = steps.iter().position(|step| matches!(step.action(), Some(Action::DeleteTopic { .. })));
    let removals = removals.map_or_else(Vec::new, |at| steps.split_off(at));
    steps.extend(claims::step(desired, observed));
    steps.extend(access::steps(desired, observed));
    steps.extend(self::schemas(schemas));
    steps.extend(removals);
    steps
}

/// A step for each change, since a level and a schema are two calls.
fn schemas(schemas: &Schemas) -> Vec<Step> {
    let prints = schemas.found.fingerprints();
    let steps = plan_schemas(&schemas.desired, &schemas.found).into_iter().map(|(change, step)| Step {
        item: subject_item(&change.name),
        before: prints.get(&change.name).cloned().unwrap_or_default(),
        after: String::new(),
        act: step.map(Act::Registry),
        changes: vec![change],
        answer: None,
    });
    steps.collect()
}

struct Planner<'a> {
    observed: &'a Observed,
    /// All that are there or wanted.
    names: Collisions,
}

impl Planner<'_> {
    fn topic(&self, topic: &DesiredTopic) -> Vec<Step> {
        let found = self.observed.topics.get(&topic.name);
        match (topic.absent, found) {
            (_, None) if self.observed.hidden.contains(&topic.name) => vec![self.hidden(topic)],
            (true, None) => Vec::new(),
            (true, Some(found)) => vec![self.delete(topic, found)],
            (false, None) => vec![self.create(topic)],
            (false, Some(found)) => self.alter(topic, found),
        }
    }

    fn hidden(&self, topic: &DesiredTopic) -> Step {
        let mut change = Change {
            kind: Kind::Topic,
            op: Op::Alter,
            name: topic.name.clone(),
            field: String::new(),
            from: None,
            to: None,
            reason: String::new(),
            risk: Risk::Impossible,
            way_back: WayBack::Reversible,
            note: String::new(),
        };
        impossible(
            &mut change,
            "topic-hidden",
            "the user may not look at it: whether it exists is not known".to_owned(),
        );
        Step::without_act(item(&topic.name), vec![change])
    }

    /// Brokers that are there to keep copies; where a home has none, nothing is to be said of copies.
    fn brokers(&self) -> Option<i32> {
        self.observed.brokers.known().map(|brokers| i32::try_from(brokers.len()).unwrap_or(i32::MAX))
    }

    fn replicated(&self) -> bool {
        !matches!(self.observed.brokers, Seen::NotHere(_))
    }

    fn create(&self, topic: &DesiredTopic) -> Step {
        let copies = topic.replication.unwrap_or(COPIES);
        let mut configs = topic.configs.clone();
        if self.replicated() && topic.owner != Owner::Config {
            configs.entry(ISR.to_owned()).or_insert_with(|| (copies - 1).max(1).to_string());
        }
        let shape = counted(u64::from(topic.partitions.unsigned_abs()), "partition");
        let shape = if self.replicated() { format!("{shape}, replication factor {copies}") } else { shape };
        let mut whole = Change {
            kind: Kind::Topic,
            op: Op::Add,
            name: topic.name.clone(),
            field: String::new(),
            from: None,
            to: Some(shape),
            reason: "topic-missing".to_owned(),
            risk: Risk::Safe,
            way_back: WayBack::Compensable,
            note: String::new(),
        };
        let refusal = self.unfit_name(&topic.name).or_else(|| self.too_many_copies(topic, copies));
        if let Some((reason, note)) = refusal.or_else(|| self.no_partitions(topic)) {
            impossible(&mut whole, reason, note);
        }
        let mut changes = vec![whole];
        for (key, value) in &configs {
            let mut change = config(topic, key, Op::Add, None, Some(value.clone()), "topic-missing");
            self.unfit_config(topic, key, value, copies, &mut change);
            changes.push(change);
        }
        let action = Action::CreateTopic {
            name: topic.name.clone(),
            partitions: topic.partitions,
            replication: if self.replicated() { copies } else { 0 },
            configs,
        };
        step(&topic.name, None, changes, action)
    }

    fn unfit_name(&self, name: &str) -> Option<(&'static str, String)> {
        if let Some(text) = illegal(name) {
            return Some(("illegal-topic-name", text));
        }
        // Kafka's metrics write one of them for both; other homes have no such trouble.
        if !self.replicated() {
            return None;
        }
        let other = self.names.with(name)?;
        let text = format!("'{name}' and '{other}' are one name to Kafka's metrics, where '.' is '_': rename one");
        Some(("topic-name-collides", text))
    }

    fn too_many_copies(&self, topic: &DesiredTopic, copies: i32) -> Option<(&'static str, String)> {
        if copies < 1 {
            return Some(("no-copies", format!("a replication factor is at least 1, not {copies}")));
        }
        let brokers = self.brokers().filter(|brokers| *brokers < copies)?;
        let at = if topic.replication.is_some() { "lower its 'replication'" } else { "set log.kafka.replication" };
        let answered = counted(u64::from(brokers.unsigned_abs()), "broker");
        Some((
            "too-few-brokers",
            format!(
                "{copies} copies need as many brokers, and {answered} answered: start the others, or {at} (to {brokers})"
            ),
        ))
    }

    fn no_partitions(&self, topic: &DesiredTopic) -> Option<(&'static str, String)> {
        (topic.partitions < 1).then(|| ("no-partitions", "a topic has at least one partition".to_owned()))
    }

    /// What the planner itself knows against a config; the home is asked about the rest.
    fn unfit_config(&self, topic: &DesiredTopic, key: &str, value: &str, copies: i32, change: &mut Change) {
        let names = &self.observed.config_names;
        let place = topic.config_places.get(key).map_or(String::new(), |place| format!("{place}: "));
        if !names.contains(key) && !configs::KNOWN.contains(&key) {
            let known = names.iter().map(String::as_str).chain(configs::KNOWN.iter().copied());
            let hint = nearest(key, known).map_or(String::new(), |word| format!(": did you mean '{word}'?"));
            let text = format!("{place}no topic config '{key}' is known{hint}");
            if !names.is_empty() {
                return impossible(change, "unknown-config", text);
            }
            // The brokers may be newer than our list; they are asked, and this is said beside their answer.
            change.note = text;
        }
        if key == ISR
            && self.replicated()
            && let Some(wanted) = configs::limit(value).filter(|wanted| *wanted > u64::from(copies.unsigned_abs()))
        {
            let text = format!("{wanted} in-sync replicas of {copies} copies: no record could ever be written");
            return impossible(change, "min-isr-above-replication", text);
        }
        if topic.event_store && key == "cleanup.policy" && configs::has_policy(value, "compact") {
            let text = "this topic is the event store: compaction would take events away, and state is rebuilt from all of them";
            return impossible(change, "event-store-compacted", text.to_owned());
        }
        if topic.event_store && key == "retention.ms" && configs::limit(value).is_some_and(|limit| limit != u64::MAX) {
            needs_flag(
                change,
                "event-store-expires",
                "this topic is the event store: what expires can not be rebuilt".to_owned(),
            );
        }
    }

    fn alter(&self, topic: &DesiredTopic, found: &FoundTopic) -> Vec<Step> {
        let partitions = self.partitions(topic, found);
        let grown = partitions.as_ref().and_then(|step| predict(Some(found), step.action()?));
        let configs = self.configs(topic, grown.as_ref().unwrap_or(found));
        self.copies(topic, found).into_iter().chain(partitions).chain(configs).collect()
    }

    fn copies(&self, topic: &DesiredTopic, found: &FoundTopic) -> Option<Step> {
        if !self.replicated() {
            return None;
        }
        let have: BTreeSet<usize> = found.partitions.iter().map(|partition| partition.replicas.len()).collect();
        let (least, most) = (*have.first()?, *have.last()?);
        let wanted = usize::try_from(topic.replication.unwrap_or(COPIES)).unwrap_or(0);
        // An undeclared number of copies is a wish for at least so many; and what others made is left as they wanted it.
        let fits = match topic.replication {
            Some(_) => least == wanted && most == wanted,
            None => topic.owner == Owner::Config || least >= wanted,
        };
        if fits {
            return None;
        }
        let from = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let mut change = Change {
            kind: Kind::ReplicationFactor,
            op: Op::Alter,
            name: topic.name.clone(),
            field: "replication.factor".to_owned(),
            from: Some(from.clone()),
            to: Some(wanted.to_string()),
            reason: String::new(),
            risk: Risk::Impossible,
            way_back: WayBack::Reversible,
            note: String::new(),
        };
        let json = reassign::json(&topic.name, found, wanted, self.observed.brokers.known().map_or(&[], Vec::as_slice));
        let note = match json {
            Some(json) => format!(
                "crossfade moves no replicas: declare replication {from}, or run kafka-reassign-partitions.sh --execute \
                 --reassignment-json-file FILE with {json}"
            ),
            None => format!("there are too few brokers for {wanted} copies: declare the number there is"),
        };
        impossible(&mut change, "replication-differs", note);
        Some(Step::without_act(item(&topic.name), vec![change]))
    }

    fn partitions(&self, topic: &DesiredTopic, found: &FoundTopic) -> Option<Step> {
        let have = i32::try_from(found.partitions.len()).unwrap_or(i32::MAX);
        if have == topic.partitions {
            return None;
        }
        let mut change = Change {
            kind: Kind::Partitions,
            op: Op::Alter,
            name: topic.name.clone(),
            field: "partitions".to_owned(),
            from: Some(have.to_string()),
            to: Some(topic.partitions.to_string()),
            reason: String::new(),
            risk: Risk::Impossible,
            way_back: WayBack::Final,
            note: String::new(),
        };
        if topic.partitions < have {
            let note = format!(
                "partitions are never taken away: declare {have}, or make a topic of another name with {} and copy into it",
                topic.partitions
            );
            impossible(&mut change, "partitions-cannot-shrink", note);
            return Some(Step::without_act(item(&topic.name), vec![change]));
        }
        let note =
            "keys move to other partitions: the events of one key then lie in two, and their order is lost to readers";
        needs_flag(&mut change, "partitions-added", note.to_owned());
        let action = Action::AddPartitions { name: topic.name.clone(), partitions: topic.partitions };
        Some(step(&topic.name, Some(found), vec![change], action))
    }

    fn configs(&self, topic: &DesiredTopic, found: &FoundTopic) -> Option<Step> {
        let entries = match &found.configs {
            Seen::Known(entries) => entries,
            Seen::NotHere(_) => return None,
            Seen::Hidden(_) if topic.configs.is_empty() => return None,
            Seen::Hidden(why) => {
                let mut change = config(topic, "", Op::Alter, None, None, "");
                impossible(&mut change, "configs-hidden", format!("its configs cannot be read: {why}"));
                return Some(Step::without_act(item(&topic.name), vec![change]));
            }
        };
        let copies = found.partitions.iter().map(|partition| partition.replicas.len()).min().unwrap_or(0);
        let copies = i32::try_from(copies).unwrap_or(i32::MAX);
        let (mut changes, mut set, mut reset) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (key, wanted) in &topic.configs {
            let now = entries.get(key);
            let own = now.filter(|entry| entry.source == Source::Topic);
            if own.is_some_and(|entry| entry.value.as_ref().is_some_and(|value| configs::same(key, value, wanted))) {
                continue;
            }
            let in_force =
                || now.and_then(|entry| entry.value.as_ref()).is_none_or(|value| configs::same(key, value, wanted));
            if own.is_none() && topic.assured.contains(key) && in_force() {
                continue;
            }
            let (op, reason) = if own.is_some() { (Op::Alter, "config-differs") } else { (Op::Add, "config-missing") };
            let from = now.map(shown);
            let mut change = config(topic, key, op, from, Some(wanted.clone()), reason);
            if let Some((reason, text)) = configs::hazard(key, now.and_then(|entry| entry.value.as_deref()), wanted) {
                needs_flag(&mut change, reason, text);
            }
            self.unfit_config(topic, key, wanted, copies, &mut change);
            changes.push(change);
            set.insert(key.clone(), wanted.clone());
        }
        if topic.reset_undeclared {
            for (key, entry) in entries.iter().filter(|(key, entry)| is_unmanaged(topic, key, entry)) {
                let mut change = config(topic, key, Op::Remove, Some(shown(entry)), None, "config-undeclared");
                // What it falls back to is the broker's to say, so anything that guards records asks first.
                if ["retention.ms", "retention.bytes", "cleanup.policy", ISR].contains(&key.as_str()) {
                    needs_flag(&mut change, "config-reset", "it falls back to the brokers' default".to_owned());
                }
                changes.push(change);
                reset.push(key.clone());
            }
        }
        if changes.is_empty() {
            return None;
        }
        let action = Action::AlterConfigs { name: topic.name.clone(), set, reset };
        Some(step(&topic.name, Some(found), changes, action))
    }

    fn delete(&self, topic: &DesiredTopic, found: &FoundTopic) -> Step {
        let mut change = Change {
            kind: Kind::Topic,
            op: Op::Remove,
            name: topic.name.clone(),
            field: String::new(),
            from: Some(counted(found.partitions.len() as u64, "partition")),
            to: None,
            reason: String::new(),
            risk: Risk::NeedsFlag,
            way_back: WayBack::Final,
            note: String::new(),
        };
        if topic.owner == Owner::Config {
            needs_flag(&mut change, "topic-delete", "all its records are deleted for ever".to_owned());
        } else {
            impossible(
                &mut change,
                "topic-needed",
                "the migration needs this topic: take 'state: absent' away".to_owned(),
            );
        }
        step(&topic.name, Some(found), vec![change], Action::DeleteTopic { name: topic.name.clone() })
    }
}

/// A step on a topic that stands as `found` when its turn comes.
fn step(name: &str, found: Option<&FoundTopic>, changes: Vec<Change>, action: Action) -> Step {
    let (before, after) = (of_topic(found), of_topic(predict(found, &action).as_ref()));
    Step { item: item(name), changes, act: Some(Act::Home(action)), answer: None, before, after }
}

/// A config of a topic that somebody set and nobody declared.
pub(super) fn is_unmanaged(topic: &DesiredTopic, key: &str, entry: &Config) -> bool {
    // Creation sets it by a rule, so it is nobody's mistake.
    entry.source == Source::Topic && !topic.configs.contains_key(key) && (key != ISR || topic.owner == Owner::Config)
}

/// A value for people, with where it comes from when that is not the topic.
fn shown(entry: &Config) -> String {
    let value = entry.value.as_deref().unwrap_or("(kept secret)");
    match entry.source {
        Source::Topic => value.to_owned(),
        Source::Broker => format!("{value} (of the broker)"),
        Source::Default => format!("{value} (default)"),
    }
}

pub(super) fn item(topic: &str) -> String {
    format!("topic:{topic}")
}

pub(super) fn subject_item(subject: &str) -> String {
    format!("subject:{subject}")
}

fn config(topic: &DesiredTopic, key: &str, op: Op, from: Option<String>, to: Option<String>, reason: &str) -> Change {
    Change {
        kind: Kind::Config,
        op,
        name: topic.name.clone(),
        field: key.to_owned(),
        from,
        to,
        reason: reason.to_owned(),
        risk: Risk::Safe,
        way_back: WayBack::Reversible,
        note: String::new(),
    }
}

fn impossible(change: &mut Change, reason: &str, note: String) {
    (change.risk, change.reason, change.note) = (Risk::Impossible, reason.to_owned(), note);
}

fn needs_flag(change: &mut Change, reason: &str, note: String) {
    (change.risk, change.reason, change.note) = (Risk::NeedsFlag, reason.to_owned(), note);
}
