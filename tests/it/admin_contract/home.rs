//! Where a log that is managed lives, and what one look at it brings.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crossfade::base::{Error, Result};
use crossfade::embedded::EmbeddedLog;
use crossfade::plan::{Action, FoundTopic, Observed, Source};
use crossfade::port::memory_admin::MemoryAdmin;
use crossfade::port::topic_admin::{Answer, Scope, TopicAdmin, Topics};

pub trait Home {
    fn admin(&self) -> &dyn TopicAdmin;

    /// A topic's look as soon as it is as `wanted` says: other brokers may hear of a change a moment later.
    fn topic(&self, name: &str, wanted: impl Fn(&FoundTopic) -> bool) -> FoundTopic {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let found = self.look(name).topics.remove(name);
            match found {
                Some(found) if wanted(&found) => return found,
                found => assert!(Instant::now() < deadline, "{name} is {found:?}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_gone(&self, name: &str) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.look(name).topics.contains_key(name) {
            assert!(Instant::now() < deadline, "{name} is still there");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn look(&self, name: &str) -> Observed {
        let configs = Topics::Named(BTreeSet::from([name.to_owned()]));
        self.admin().observe(&Scope { configs, ..Scope::default() }).unwrap()
    }

    fn perform(&self, action: Action) -> Result<()> {
        self.admin().perform(&action)
    }

    fn judge(&self, action: Action) -> Answer {
        self.admin().judge(&[action]).unwrap().remove(0)
    }
}

pub struct Memory(MemoryAdmin);

impl Memory {
    pub fn new() -> Self {
        Self(MemoryAdmin::new())
    }
}

impl Home for Memory {
    fn admin(&self) -> &dyn TopicAdmin {
        &self.0
    }
}

pub struct Embedded {
    log: EmbeddedLog,
    _folder: tempfile::TempDir,
}

impl Embedded {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { log: EmbeddedLog::open(&folder.path().join("log.db"), true).unwrap(), _folder: folder }
    }
}

impl Home for Embedded {
    fn admin(&self) -> &dyn TopicAdmin {
        &self.log
    }
}

/// A name no other test has.
pub fn fresh(word: &str) -> String {
    format!("t{}.{word}", uuid::Uuid::new_v4().simple())
}

pub fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub fn create(name: &str, partitions: i32, configs: &[(&str, &str)]) -> Action {
    Action::CreateTopic { name: name.to_owned(), partitions, replication: 2, configs: map(configs) }
}

pub fn add(name: &str, partitions: i32) -> Action {
    Action::AddPartitions { name: name.to_owned(), partitions }
}

pub fn alter(name: &str, set: &[(&str, &str)], reset: &[&str]) -> Action {
    let reset = reset.iter().map(|key| (*key).to_owned()).collect();
    Action::AlterConfigs { name: name.to_owned(), set: map(set), reset }
}

pub fn delete(name: &str) -> Action {
    Action::DeleteTopic { name: name.to_owned() }
}

/// What is set on the topic itself.
pub fn own(found: &FoundTopic) -> BTreeMap<String, String> {
    let configs = found.configs.known().unwrap().iter().filter(|(_, config)| config.source == Source::Topic);
    configs.map(|(key, config)| (key.clone(), config.value.clone().unwrap())).collect()
}

/// Message and cause.
pub fn told(error: &Error) -> String {
    format!("{error}: {}", std::error::Error::source(error).map(ToString::to_string).unwrap_or_default())
}
