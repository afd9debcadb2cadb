//! What of an item a plan depends on, in a short form, and what a step would make of it.

use super::change::Action;
use super::observed::{Acl, Config, FoundTopic, Partition, Seen, Source};
use crate::base::hex;

/// The item is not there.
pub const NOTHING: &str = "-";

/// Partitions, copies of each, and the topic's own configs. Leaders and in-sync replicas are left out: an outage is no
/// change of the plan.
pub fn of_topic(topic: Option<&FoundTopic>) -> String {
    let Some(topic) = topic else { return NOTHING.to_owned() };
    let mut hasher = blake3::Hasher::new();
    let mut part = |text: &str| {
        hasher.update(&(text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    };
    part(&topic.partitions.len().to_string());
    for partition in &topic.partitions {
        part(&partition.replicas.len().to_string());
    }
    for (key, entry) in topic.configs.known().into_iter().flatten().filter(|(_, entry)| entry.source == Source::Topic) {
        part(key);
        part(entry.value.as_deref().unwrap_or("\0"));
    }
    hex(&hasher.finalize().as_bytes()[..16])
}

/// All rules of one principal.
pub fn of_acls(principal: &str, acls: &[Acl]) -> String {
    let mut own: Vec<&Acl> = acls.iter().filter(|rule| rule.principal == principal).collect();
    if own.is_empty() {
        return NOTHING.to_owned();
    }
    own.sort();
    own.dedup();
    let text = own.iter().map(|rule| format!("{rule:?}")).collect::<Vec<_>>().join("\n");
    hex(&blake3::hash(text.as_bytes()).as_bytes()[..16])
}

/// The topic after an action on it.
pub fn predict(found: Option<&FoundTopic>, action: &Action) -> Option<FoundTopic> {
    let own = |value: &String| Config { value: Some(value.clone()), source: Source::Topic };
    let partition = |copies: usize| Partition { leader: None, replicas: vec![0; copies], in_sync: Vec::new() };
    let mut topic = found.cloned();
    match action {
        Action::CreateTopic { partitions, replication, configs, .. } => {
            let copies = usize::try_from(*replication).unwrap_or(0);
            let configs = configs.iter().map(|(key, value)| (key.clone(), own(value))).collect();
            topic = Some(FoundTopic {
                partitions: vec![partition(copies); usize::try_from(*partitions).unwrap_or(0)],
                configs: Seen::Known(configs),
            });
        }
        Action::AddPartitions { partitions, .. } => {
            if let Some(topic) = &mut topic {
                let copies = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
                topic.partitions.resize(usize::try_from(*partitions).unwrap_or(0), partition(copies));
            }
        }
        Action::AlterConfigs { set, reset, .. } => {
            if let Some(FoundTopic { configs: Seen::Known(configs), .. }) = &mut topic {
                configs.retain(|key, _| !reset.contains(key));
                configs.extend(set.iter().map(|(key, value)| (key.clone(), own(value))));
            }
        }
        Action::DeleteTopic { .. } => topic = None,
        Action::CreateAcls { .. } => {}
    }
    topic
}
