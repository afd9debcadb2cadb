//! A cluster's topics as a `topics` block of crossfade.yaml, which plans to no change.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::observed::{FoundTopic, Observed, Seen, Source};

/// The block for all topics whose name begins with `prefix`, without those in `leave`, and how many it has. Under
/// `topics.prefix` these are the topics that have it, and are written without it.
pub fn yaml(observed: &Observed, prefix: &str, own_prefix: &str, leave: &BTreeSet<String>) -> (String, usize) {
    let mut text = String::from("topics:\n");
    if !own_prefix.is_empty() {
        let _ = writeln!(text, "  prefix: {}", quoted(own_prefix));
    }
    let mut count = 0;
    for (name, topic) in observed.topics.iter().filter(|(name, _)| name.starts_with(prefix) && !leave.contains(*name)) {
        let Some(name) = name.strip_prefix(own_prefix) else { continue };
        one(&mut text, name, topic);
        count += 1;
    }
    if count == 0 && own_prefix.is_empty() {
        text = "topics: {}\n".to_owned();
    }
    (text, count)
}

fn one(text: &mut String, name: &str, topic: &FoundTopic) {
    let copies: BTreeSet<usize> = topic.partitions.iter().map(|partition| partition.replicas.len()).collect();
    let _ = writeln!(text, "  {}:", quoted(name));
    let _ = writeln!(text, "    partitions: {}", topic.partitions.len());
    match (copies.first(), copies.last()) {
        (Some(0), _) | (None, _) => {}
        (Some(least), Some(most)) if least == most => {
            let _ = writeln!(text, "    replication: {least}");
        }
        (Some(least), Some(most)) => {
            let _ = writeln!(text, "    # its partitions have {least} to {most} copies: no one number is true of all");
        }
        (Some(_), None) => {}
    }
    match &topic.configs {
        Seen::Known(entries) => {
            let own: Vec<_> = entries.iter().filter(|(_, entry)| entry.source == Source::Topic).collect();
            if own.iter().any(|(_, entry)| entry.value.is_some()) {
                text.push_str("    configs:\n");
            }
            for (key, entry) in own {
                let _ = match &entry.value {
                    Some(value) => writeln!(text, "      {}: {}", quoted(key), quoted(value)),
                    None => writeln!(text, "    # the brokers keep the value of {key} to themselves"),
                };
            }
        }
        Seen::Hidden(why) => {
            let _ = writeln!(text, "    # its configs cannot be read: {}", why.replace(['\n', '\r'], " "));
        }
        Seen::NotHere(_) => {}
    }
}

/// A text as YAML always takes it for one: JSON's form.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
