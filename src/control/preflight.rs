//! What must be there before an engine touches the log.

use crate::base::{Error, Result};
use crate::mapping::Mapping;
use crate::port::event_log::{EventLog, Topic, own_topics};

/// Topics of the mapping and of the tool that the log lacks.
///
/// A topic that exists with another number of partitions is refused: keys would lie elsewhere than planned.
pub fn missing_topics(log: &dyn EventLog, mapping: &Mapping, migration: &str) -> Result<Vec<Topic>> {
    let found = log.topics()?;
    let mut missing = Vec::new();
    for wanted in mapping.topics.iter().cloned().chain(own_topics(migration)) {
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

/// Refuses when a topic is missing.
pub fn require_topics(log: &dyn EventLog, mapping: &Mapping, migration: &str) -> Result<()> {
    let missing = missing_topics(log, mapping, migration)?;
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = missing.iter().map(|topic| topic.name.as_str()).collect();
    Err(Error::refused(format!("{} has no topic {}", log.describe(), names.join(", ")))
        .hint("create them: crossfade provision apply"))
}
