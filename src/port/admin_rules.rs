//! What a home without brokers says to a change, as brokers would.

use std::collections::BTreeMap;

use crate::base::{Error, Result};
use crate::plan::{Action, FoundTopic, Observed, Seen, Source};

/// The value limit homes heed.
const MAX_BYTES: &str = "max.message.bytes";

/// What keeps a topic that exists from being the wanted one. `replication` is looked at where there are replicas.
pub fn difference(
    found: &FoundTopic,
    partitions: i32,
    replication: i32,
    configs: &BTreeMap<String, String>,
) -> Option<String> {
    if !same(found.partitions.len(), partitions) {
        return Some(format!("it has {} partitions, wanted are {partitions}", found.partitions.len()));
    }
    let copies = found.partitions.iter().map(|partition| partition.replicas.len());
    if let Some(copies) = copies.into_iter().find(|copies| *copies > 0 && !same(*copies, replication)) {
        return Some(format!("it has {copies} replicas, wanted are {replication}"));
    }
    let (key, wanted) = configs.iter().find(|(key, wanted)| value(found, key) != Some(wanted))?;
    Some(format!("its {key} is {}, wanted is {wanted}", value(found, key).unwrap_or("not known")))
}

fn same(count: usize, wanted: i32) -> bool {
    i32::try_from(count) == Ok(wanted)
}

fn value<'f>(found: &'f FoundTopic, key: &str) -> Option<&'f str> {
    found.configs.known()?.get(key)?.value.as_deref()
}

/// Whether a change is to be made: false when the home already is as it should be, an error when it cannot be.
pub fn is_to_make(found: &Observed, action: &Action) -> Result<bool> {
    if is_made(found, action) {
        return Ok(false);
    }
    let topic = |name: &String| found.topics.get(name);
    let (text, words) = match action {
        Action::CreateTopic { name, partitions, replication, configs } => match topic(name) {
            Some(there) => (
                format!("the topic '{name}' exists already, but not as planned"),
                difference(there, *partitions, *replication, configs),
            ),
            None => (format!("the topic '{name}' cannot be created"), refusal(found, action)),
        },
        Action::AddPartitions { name, partitions } => {
            (format!("the topic '{name}' cannot get {partitions} partitions"), refusal(found, action))
        }
        Action::AlterConfigs { name, .. } => {
            (format!("the configs of the topic '{name}' cannot be changed"), refusal(found, action))
        }
        Action::DeleteTopic { name } => (format!("the topic '{name}' cannot be deleted"), refusal(found, action)),
        Action::CreateAcls { principal, .. } => {
            (format!("the access rules of {principal} cannot be added"), refusal(found, action))
        }
    };
    words.map_or(Ok(true), |words| Err(Error::refused(text).because(words)))
}

/// Whether the home is already as `action` wants it.
fn is_made(found: &Observed, action: &Action) -> bool {
    let topic = |name: &str| found.topics.get(name);
    match action {
        Action::CreateTopic { name, partitions, replication, configs } => {
            topic(name).is_some_and(|found| difference(found, *partitions, *replication, configs).is_none())
        }
        Action::AddPartitions { name, partitions } => {
            topic(name).is_some_and(|found| same(found.partitions.len(), *partitions))
        }
        Action::AlterConfigs { name, set, reset } => topic(name).is_some_and(|found| {
            let own = |key: &String| {
                let entry = found.configs.known().and_then(|configs| configs.get(key));
                entry.filter(|entry| entry.source == Source::Topic)?.value.as_ref()
            };
            set.iter().all(|(key, value)| own(key) == Some(value)) && reset.iter().all(|key| own(key).is_none())
        }),
        Action::DeleteTopic { name } => topic(name).is_none(),
        Action::CreateAcls { acls, .. } => {
            found.acls.known().is_some_and(|there| acls.iter().all(|acl| there.contains(acl)))
        }
    }
}

/// Why the home would not make a change; what is made already aside.
pub fn refusal(found: &Observed, action: &Action) -> Option<String> {
    match action {
        Action::CreateTopic { name, partitions, replication, configs } => {
            let brokers = found.brokers.known().map(Vec::len);
            if found.topics.contains_key(name) {
                Some(format!("the topic '{name}' exists already"))
            } else if !is_topic_name(name) {
                Some(format!("'{name}' is no name of a topic"))
            } else if *partitions < 1 {
                Some(format!("a topic cannot have {partitions} partitions"))
            } else if brokers
                .is_some_and(|brokers| !(1..=brokers).contains(&usize::try_from(*replication).unwrap_or(0)))
            {
                Some(format!("{replication} replicas cannot be kept by {} brokers", brokers.unwrap_or_default()))
            } else {
                configs.iter().find_map(|(key, value)| wrong_config(found, key, Some(value)))
            }
        }
        Action::AddPartitions { name, partitions } => match found.topics.get(name) {
            None => Some(unknown(name)),
            Some(topic) => {
                let count = topic.partitions.len();
                let more = usize::try_from(*partitions).is_ok_and(|wanted| wanted > count);
                (!more).then(|| format!("the topic '{name}' has {count} partitions already, {partitions} are not more"))
            }
        },
        Action::AlterConfigs { name, .. } if !found.topics.contains_key(name) => Some(unknown(name)),
        Action::AlterConfigs { set, reset, .. } => {
            let reset = reset.iter().find_map(|key| wrong_config(found, key, None));
            reset.or_else(|| set.iter().find_map(|(key, value)| wrong_config(found, key, Some(value))))
        }
        Action::DeleteTopic { name } => (!found.topics.contains_key(name)).then(|| unknown(name)),
        Action::CreateAcls { .. } => match &found.acls {
            Seen::Known(_) => None,
            Seen::Hidden(why) | Seen::NotHere(why) => Some(why.clone()),
        },
    }
}

fn unknown(name: &str) -> String {
    format!("there is no topic '{name}'")
}

fn is_topic_name(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=249).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(legal)
}

fn wrong_config(found: &Observed, key: &str, value: Option<&String>) -> Option<String> {
    if !found.config_names.contains(key) {
        return Some(format!("there is no topic config '{key}'"));
    }
    let value = value.filter(|value| key == MAX_BYTES && value.parse::<u32>().is_err())?;
    Some(format!("'{value}' is no value of {key}"))
}
