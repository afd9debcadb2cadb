//! A migration before its topics are made, and what its home of the log has.

use std::collections::BTreeMap;
use std::time::Duration;

use crossfade::embedded::EmbeddedLog;
use crossfade::kafka::{KafkaAdmin, KafkaSettings};
use crossfade::plan::{Action, FoundTopic};
use crossfade::port::topic_admin::{Scope, TopicAdmin, Topics};

use super::cli::{Log, Migration, brokers};
use super::flow::open_log;

/// A migration of an ACC store; provisioning does not look into it.
pub fn empty(log: Log, more: &str) -> Migration {
    Migration::acc_whole(log, more)
}

/// Writes more into crossfade.yaml.
pub fn append(migration: &Migration, yaml: &str) {
    let path = migration.path("crossfade.yaml");
    let text = std::fs::read_to_string(&path).unwrap() + yaml;
    std::fs::write(path, text).unwrap();
}

/// The home, as another tool has it.
pub fn admin(migration: &Migration) -> Box<dyn TopicAdmin> {
    match migration.log {
        Log::Embedded => Box::new(EmbeddedLog::open(&migration.path(".crossfade/log.db"), false).unwrap()),
        Log::Kafka => Box::new(kafka(&brokers())),
    }
}

/// Deletes a topic as another tool would, and waits until it is gone.
pub fn delete_topic(migration: &Migration, topic: &str) {
    admin(migration).perform(&Action::DeleteTopic { name: topic.to_owned() }).unwrap();
    while open_log(migration).topics().unwrap().contains_key(topic) {
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn kafka(brokers: &str) -> KafkaAdmin {
    let bootstrap = brokers.split(',').map(str::to_owned).collect();
    KafkaAdmin::open(&KafkaSettings { bootstrap, ..KafkaSettings::default() }).unwrap()
}

/// Every topic with the migration's name in its own, whole: partitions, copies and configs.
pub fn looked_at(migration: &Migration) -> BTreeMap<String, FoundTopic> {
    described(admin(migration).as_ref(), &migration.name)
}

pub fn described(admin: &dyn TopicAdmin, migration: &str) -> BTreeMap<String, FoundTopic> {
    let names = admin.observe(&Scope::default()).unwrap().topics;
    let names = names.into_keys().filter(|name| name.contains(migration)).collect();
    let mut topics = admin.observe(&Scope { configs: Topics::Named(names), ..Scope::default() }).unwrap().topics;
    topics.retain(|name, _| name.contains(migration));
    for partition in topics.values_mut().flat_map(|topic| &mut topic.partitions) {
        // In the order of their coming back, which is no one's wish.
        partition.in_sync.sort_unstable();
    }
    topics
}
