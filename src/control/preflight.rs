//! What must be there before an engine touches the log.

use std::collections::BTreeSet;

use crate::base::{Error, Kind, Result};
use crate::mapping::{Mapping, Use};
use crate::port::event_log::{EventLog, Topic, checkpoint_topic, own_topics};

/// Topics of the mapping and of the tool that the log lacks.
///
/// A topic that exists with another number of partitions is refused: keys would lie elsewhere than planned.
pub fn missing_topics(log: &dyn EventLog, mapping: &Mapping, migration: &str) -> Result<Vec<Topic>> {
    missing(log, mapping.topics.iter().cloned().chain(own_topics(migration)))
}

/// Those that rows and their checkpoints go to; whoever copies, folds or compares rows needs no right on the others.
///
/// One the user may not look at is refused, since it only seems to be missing.
pub fn missing_row_topics(log: &dyn EventLog, mapping: &Mapping, migration: &str) -> Result<Vec<Topic>> {
    let checkpoints = checkpoint_topic(migration);
    let names: BTreeSet<&str> = mapping.topics_for(Use::Rows).chain([checkpoints.as_str()]).collect();
    let all = mapping.topics.iter().cloned().chain(own_topics(migration));
    let missing = missing(log, all.filter(|topic| names.contains(topic.name.as_str())))?;
    for topic in &missing {
        if let Err(error) = log.ends(&topic.name)
            && error.kind() == Kind::Refused
        {
            return Err(error);
        }
    }
    Ok(missing)
}

fn missing(log: &dyn EventLog, all: impl Iterator<Item = Topic>) -> Result<Vec<Topic>> {
    let found = log.topics()?;
    let mut missing = Vec::new();
    for wanted in all {
        match found.get(&wanted.name) {
            None => missing.push(wanted),
            Some(partitions) if *partitions != wanted.partitions => {
                let message = format!(
                    "topic '{}' of {} has {partitions} partitions, planned are {}",
                    wanted.name,
                    log.describe(),
                    wanted.partitions
                );
                return Err(Error::refused(message)
                    .hint("another number of partitions puts keys elsewhere: plan with the number found, or use another topic name"));
            }
            Some(_) => {}
        }
    }
    Ok(missing)
}

/// Refuses when a topic that rows or their checkpoints go to is missing.
pub fn require_topics(log: &dyn EventLog, mapping: &Mapping, migration: &str) -> Result<()> {
    let missing = missing_row_topics(log, mapping, migration)?;
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|topic| topic.name.as_str()).collect();
    Err(Error::refused(format!("{} has no topic {}", log.describe(), names.join(", ")))
        .hint("create them: crossfade provision apply"))
}
