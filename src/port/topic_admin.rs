//! The management of a log's home: what it has, what it would say to a change, and the change itself.

use std::collections::BTreeSet;

use crate::base::Result;
use crate::plan::{Action, Observed};

/// How much a look brings; each thing left out saves its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Topics whose configs are read.
    pub configs: Topics,
    /// Access rules and SCRAM users.
    pub access: bool,
    /// Consumer groups whose name begins so, with their offsets.
    pub groups: Option<String>,
    /// The brokers' disks.
    pub disks: bool,
}

/// A set of topic names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Topics {
    #[default]
    None,
    Named(BTreeSet<String>),
    /// All whose name begins so; the empty prefix is all of them.
    Prefixed(String),
}

impl Topics {
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Named(names) => names.contains(name),
            Self::Prefixed(prefix) => name.starts_with(prefix),
        }
    }
}

/// What the home says to a change it was only asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Fine,
    /// It would refuse, in its words.
    No(String),
    /// It cannot be asked, and why.
    NotAsked(String),
}

/// Looks at a home of the log and changes it. All calls block.
pub trait TopicAdmin: Send + Sync {
    /// One look, in a number of requests that does not grow with the topics but in blocks of several hundred. A broker
    /// that is down is no error: what it kept shows by partitions without it in `in_sync`.
    fn observe(&self, scope: &Scope) -> Result<Observed>;

    /// Asks without changing anything, one answer for each action.
    fn judge(&self, actions: &[Action]) -> Result<Vec<Answer>>;

    /// Makes one change and returns once the home said it is made; others may see it a moment later.
    ///
    /// Making it again is no error when the home already is as the action wants it. [`crate::base::Kind::Unknown`]: the
    /// reply was lost, so look before deciding. [`crate::base::Kind::Refused`]: the home's words are the cause.
    fn perform(&self, action: &Action) -> Result<()>;
}
