//! What a cluster should have against what it has: changes, their risk, and the ways back. Pure.

mod access;
mod change;
mod check;
mod claims;
mod compat;
mod configs;
mod desired;
mod document;
mod effective;
mod fingerprint;
mod headroom;
mod import;
mod manual;
mod names;
mod observed;
mod planner;
mod reassign;
mod schemas;

pub use access::{Role, group_prefix, readers_group};
pub use change::{Action, Change, Kind, Op, Risk, WayBack};
pub use check::check;
pub use compat::{Judgement, Level, judge};
pub use configs::KNOWN as KNOWN_CONFIGS;
pub use desired::{Actor, COPIES, Desired, DesiredTopic, Override, Owner, REPLICATION};
pub use document::{
    Act, Consent, Manual, Plan, Step, VERSION, fingerprints, notes, observed_hash, sentence, wishes_hash,
};
pub use fingerprint::{NOTHING, of_acls, of_topic, predict};
pub use headroom::headroom;
pub use import::yaml as import;
pub use manual::manual;
pub use names::illegal;
pub use observed::{
    Acl, Broker, Claims, Config, Disk, FoundTopic, Group, Observed, Operation, Partition, Pattern, Resource, Room,
    Seen, Source,
};
pub use planner::{steps, words};
pub use schemas::{
    DesiredSchema, DesiredSchemas, FoundSchemas, FoundSubject, FoundVersion, SchemaStep, Schemas, plan_schemas, subject,
};

#[cfg(test)]
mod tests;
