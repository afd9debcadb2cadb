//! The schema registry: subjects, their versions, and how a new version is judged.

use serde_json::Value as Json;

use crate::base::Result;
use crate::plan::{Judgement, Level};

/// One version of a subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The registry's number of the schema, which records may carry.
    pub id: i64,
    pub version: i32,
    pub schema: Json,
}

/// A registry of JSON Schemas. All calls block, and none but [`Self::register`] and [`Self::set_level`] changes anything.
///
/// A registry that does not answer is [`crate::base::Kind::Connect`], one that refuses [`crate::base::Kind::Refused`].
pub trait Registry: Send + Sync {
    /// Its name for people, without secrets.
    fn describe(&self) -> String;

    /// All subjects, sorted.
    fn subjects(&self) -> Result<Vec<String>>;

    /// The subject's versions, ascending; empty where there is no such subject.
    fn versions(&self, subject: &str) -> Result<Vec<i32>>;

    fn version(&self, subject: &str, version: i32) -> Result<Option<Registered>>;

    fn latest(&self, subject: &str) -> Result<Option<Registered>>;

    /// The version under which the subject has this very schema.
    fn look_up(&self, subject: &str, schema: &Json) -> Result<Option<Registered>>;

    /// The level of subjects that have none of their own.
    fn default_level(&self) -> Result<Level>;

    /// The subject's own level. A subject may have one before its first version.
    fn level(&self, subject: &str) -> Result<Option<Level>>;

    /// What the registry says to a next version, under the level in force. A first version is always compatible.
    fn check(&self, subject: &str, schema: &Json) -> Result<Judgement>;

    /// Makes the schema the subject's next version, if the subject does not have it already.
    fn register(&self, subject: &str, schema: &Json) -> Result<()>;

    /// Sets the subject's own level. The default is everybody's and is never touched.
    fn set_level(&self, subject: &str, level: Level) -> Result<()>;
}
