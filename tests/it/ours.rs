//! Ours alone: whose events are folded, and whose a topic is.

mod beside;
mod claims;
mod foreign;
mod prefix;

use std::sync::Arc;

use crossfade::demo::Sizes;
use crossfade::mapping::Mapping;
use crossfade::port::event_log::{EventLog, own_topics};

use crate::support::acc::build_store;
use crate::support::cli::{Log, Migration};
use crate::support::flow::{mapping, open_log};

/// Few rows, and none of one seed is one of another's.
fn sizes(seed: u64) -> Sizes {
    Sizes { seed, ..Sizes::LEAST }
}

/// Two migrations of generated ACC stores with one mapping on one log; nothing is run. `more` is for the second's config.
fn two(log: Log, more: &str) -> [Migration; 2] {
    let one = Migration::acc(log, "");
    let home = match log {
        Log::Embedded => format!("log:\n  embedded: {}\n", one.path(".crossfade/log.db").display()),
        Log::Kafka => String::new(),
    };
    let other = Migration::acc(log, &format!("{home}{more}"));
    std::fs::copy(one.path("mapping.yaml"), other.path("mapping.yaml")).unwrap();
    build_store(&one.legacy(), sizes(1));
    build_store(&other.legacy(), sizes(2));
    [one, other]
}

/// Makes their topics without a word of whose they are, as older versions did.
fn unclaimed(migrations: &[Migration; 2]) -> (Box<dyn EventLog>, Arc<Mapping>) {
    let (log, mapping) = (open_log(&migrations[0]), mapping(&migrations[0]));
    let own = migrations.iter().flat_map(|migration| own_topics(&migration.name));
    log.create_topics(&mapping.topics.iter().cloned().chain(own).collect::<Vec<_>>()).unwrap();
    (log, mapping)
}
