//! A registry in memory, for tests. Clones are handles on the same one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value as Json;

use super::registry::{Registered, Registry};
use crate::base::{Error, Result};
use crate::plan::{Judgement, Level, judge};

#[derive(Clone, Debug, Default)]
pub struct MemoryRegistry(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    default: Level,
    levels: BTreeMap<String, Level>,
    /// Ids of the schemas of each subject, in the order of its versions.
    subjects: BTreeMap<String, Vec<usize>>,
    /// By id, from 1; a schema has one id whatever its subjects.
    schemas: Vec<Json>,
}

impl Default for State {
    fn default() -> Self {
        Self { default: Level::Backward, levels: BTreeMap::new(), subjects: BTreeMap::new(), schemas: Vec::new() }
    }
}

impl State {
    fn versions(&self, subject: &str) -> Vec<Registered> {
        let ids = self.subjects.get(subject).map(Vec::as_slice).unwrap_or_default();
        let registered = ids.iter().zip(1..).map(|(id, version)| Registered {
            id: *id as i64,
            version,
            schema: self.schemas[id - 1].clone(),
        });
        registered.collect()
    }

    fn check(&self, subject: &str, schema: &Json) -> Judgement {
        let level = self.levels.get(subject).copied().unwrap_or(self.default);
        let older = self.versions(subject);
        judge(level, schema, &older.iter().map(|older| &older.schema).collect::<Vec<_>>())
    }
}

impl MemoryRegistry {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry for MemoryRegistry {
    fn describe(&self) -> String {
        "a schema registry in memory".to_owned()
    }

    fn subjects(&self) -> Result<Vec<String>> {
        Ok(self.state().subjects.keys().cloned().collect())
    }

    fn versions(&self, subject: &str) -> Result<Vec<i32>> {
        Ok(self.state().versions(subject).iter().map(|registered| registered.version).collect())
    }

    fn version(&self, subject: &str, version: i32) -> Result<Option<Registered>> {
        Ok(self.state().versions(subject).into_iter().find(|registered| registered.version == version))
    }

    fn latest(&self, subject: &str) -> Result<Option<Registered>> {
        Ok(self.state().versions(subject).pop())
    }

    fn look_up(&self, subject: &str, schema: &Json) -> Result<Option<Registered>> {
        Ok(self.state().versions(subject).into_iter().rfind(|registered| registered.schema == *schema))
    }

    fn default_level(&self) -> Result<Level> {
        Ok(self.state().default)
    }

    fn level(&self, subject: &str) -> Result<Option<Level>> {
        Ok(self.state().levels.get(subject).copied())
    }

    fn check(&self, subject: &str, schema: &Json) -> Result<Judgement> {
        Ok(self.state().check(subject, schema))
    }

    fn register(&self, subject: &str, schema: &Json) -> Result<()> {
        let mut state = self.state();
        if state.versions(subject).iter().any(|registered| registered.schema == *schema) {
            return Ok(());
        }
        if let Judgement::Incompatible(reasons) = state.check(subject, schema) {
            return Err(
                Error::refused(format!("the schema of '{subject}' is not compatible")).because(reasons.join("; "))
            );
        }
        let id = match state.schemas.iter().position(|known| known == schema) {
            Some(at) => at + 1,
            None => {
                state.schemas.push(schema.clone());
                state.schemas.len()
            }
        };
        state.subjects.entry(subject.to_owned()).or_default().push(id);
        Ok(())
    }

    fn set_level(&self, subject: &str, level: Level) -> Result<()> {
        self.state().levels.insert(subject.to_owned(), level);
        Ok(())
    }
}
