//! One change, what it risks, and the call that makes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::observed::Acl;

/// What a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Topic,
    Partitions,
    ReplicationFactor,
    Config,
    Acl,
    Claim,
    Compatibility,
    Schema,
}

/// `+ ~ -` of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Op {
    Add,
    Alter,
    Remove,
}

/// Whether `apply` makes a change by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Risk {
    Safe,
    /// Only with `--allow REASON`.
    NeedsFlag,
    /// Stops the whole run before its first change.
    Impossible,
}

/// How a change is undone, known before it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WayBack {
    Reversible,
    /// Not by the reverse of the call, but its effect can be made up for.
    Compensable,
    Final,
}

/// One entry of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub kind: Kind,
    pub op: Op,
    /// The topic, principal or subject.
    pub name: String,
    /// What of it: a config key, an access rule; empty for the whole.
    pub field: String,
    pub from: Option<String>,
    pub to: Option<String>,
    /// Stable kebab-case code.
    pub reason: String,
    pub risk: Risk,
    pub way_back: WayBack,
    /// What it does beyond the obvious, and for what is not safe what would help; empty where nothing is to be said.
    pub note: String,
}

/// One call that changes the log's home; a step of `apply`. Each is all or nothing at the home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "action")]
pub enum Action {
    /// `replication` is 0 where the home keeps no copies.
    CreateTopic {
        name: String,
        partitions: i32,
        replication: i32,
        configs: BTreeMap<String, String>,
    },
    /// `partitions` is the new total.
    AddPartitions {
        name: String,
        partitions: i32,
    },
    /// Incremental: what is not named stays.
    AlterConfigs {
        name: String,
        set: BTreeMap<String, String>,
        reset: Vec<String>,
    },
    DeleteTopic {
        name: String,
    },
    /// All of one principal.
    CreateAcls {
        principal: String,
        acls: Vec<Acl>,
    },
}
