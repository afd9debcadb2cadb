//! What a cluster should have against what it has: changes, their risk, and the ways back. Pure.

mod change;
mod observed;
mod topic_configs;

pub use change::{Action, Change, Kind, Op, Risk, WayBack};
pub use observed::{
    Acl, Broker, Config, FoundTopic, Group, Observed, Operation, Partition, Pattern, Resource, Seen, Source,
};
pub use topic_configs::TOPIC_CONFIGS;
