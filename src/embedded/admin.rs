//! The management of the file: its topics, and what stands in for what only clusters have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{EmbeddedLog, file, layout};
use crate::base::Result;
use crate::plan::{Action, Config, FoundTopic, KNOWN_CONFIGS, Observed, Partition, Seen, Source};
use crate::port::admin_rules::{is_to_make, refusal};
use crate::port::event_log::EventLog;
use crate::port::topic_admin::{Answer, Scope, TopicAdmin, Topics};

const ONE_FILE: &str = "the embedded log is one file: it has no brokers";
const ONE_DISK: &str = "the embedded log is one file, which may take all of its disk";
const RIGHTS: &str = "whoever may open the file of the embedded log may do everything";
const CLAIMS: &str = "claims lie in the log itself";
const GROUPS: &str = "the embedded log keeps no positions of readers: each keeps its own";

/// What a log has that is still to be made at `path`; it has no id yet.
pub fn nothing_yet(path: &Path) -> Observed {
    Observed {
        home: format!("embedded {}", path.display()),
        cluster_id: String::new(),
        brokers: Seen::NotHere(ONE_FILE.into()),
        broker_configs: Seen::NotHere(ONE_FILE.into()),
        topics: BTreeMap::new(),
        hidden: BTreeSet::new(),
        config_names: KNOWN_CONFIGS.iter().map(|name| (*name).to_owned()).collect(),
        acls: Seen::NotHere(RIGHTS.into()),
        scram_users: Seen::NotHere(RIGHTS.into()),
        groups: Seen::NotHere(GROUPS.into()),
        claims: Seen::NotHere(CLAIMS.into()),
        disks: Seen::NotHere(ONE_DISK.into()),
    }
}

impl EmbeddedLog {
    /// The topics there are, or the one named.
    fn found(
        &self,
        connection: &Connection,
        only: Option<&str>,
        configs: &Topics,
    ) -> Result<BTreeMap<String, FoundTopic>> {
        let rows = || -> rusqlite::Result<Vec<(String, i32, String)>> {
            let mut rows = connection.prepare(
                "SELECT name, (SELECT count(*) FROM partitions WHERE topic = topics.id), configs FROM topics
                 WHERE name NOT LIKE '/%' AND name = coalesce(?1, name)",
            )?;
            rows.query_map([only], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        };
        let topics = rows().map_err(|error| self.fail(error))?.into_iter().map(|(name, count, text)| {
            let entries = if configs.has(&name) {
                Seen::Known(entries(layout::configs(&self.path, &name, &text)?))
            } else {
                Seen::NotHere("not asked for".into())
            };
            Ok((name, FoundTopic { partitions: (0..count).map(|_| Partition::default()).collect(), configs: entries }))
        });
        topics.collect()
    }

    fn observed(&self, topics: BTreeMap<String, FoundTopic>) -> Observed {
        Observed { home: self.describe(), cluster_id: self.cluster_id.clone(), topics, ..nothing_yet(&self.path) }
    }

    fn make(&self, transaction: &Transaction<'_>, action: &Action, found: &Observed) -> Result<()> {
        let fail = |error| self.fail(error);
        let id = |name: &str| -> Result<i64> {
            transaction.query_row("SELECT id FROM topics WHERE name = ?1", [name], |row| row.get(0)).map_err(fail)
        };
        match action {
            Action::CreateTopic { name, partitions, configs, .. } => {
                self.make_topic(transaction, name, *partitions, configs)?;
            }
            Action::AddPartitions { name, partitions } => {
                let count = found.topics.get(name).map_or(0, |topic| topic.partitions.len());
                let first = i32::try_from(count).unwrap_or(i32::MAX);
                self.make_partitions(transaction, id(name)?, first..*partitions)?;
            }
            Action::AlterConfigs { name, set, reset } => {
                let text: String = transaction
                    .query_row("SELECT configs FROM topics WHERE name = ?1", [name], |row| row.get(0))
                    .map_err(fail)?;
                let mut configs = layout::configs(&self.path, name, &text)?;
                configs.retain(|key, _| !reset.contains(key));
                configs.extend(set.clone());
                let text = layout::config_text(&configs)?;
                transaction.execute("UPDATE topics SET configs = ?2 WHERE name = ?1", [name, &text]).map_err(fail)?;
            }
            Action::DeleteTopic { name } => {
                let topic = id(name)?;
                for row in layout::topic(transaction, &self.path, name)?.partitions {
                    let (first, last) = (layout::batch_id(row, 0), layout::batch_id(row, layout::OFFSETS));
                    transaction
                        .execute("DELETE FROM batches WHERE id BETWEEN ?1 AND ?2", [first, last])
                        .map_err(fail)?;
                }
                transaction
                    .execute(
                        "UPDATE topics SET name = ?2, configs = '{}' WHERE id = ?1",
                        params![topic, layout::deleted(topic)],
                    )
                    .map_err(fail)?;
            }
            // Refused before.
            Action::CreateAcls { .. } => {}
        }
        Ok(())
    }
}

/// What is set, and the default of what the log heeds.
fn entries(configs: BTreeMap<String, String>) -> BTreeMap<String, Config> {
    let default = |key: &str, value: String| (key.to_owned(), Config { value: Some(value), source: Source::Default });
    let mut entries = BTreeMap::from([
        default("max.message.bytes", layout::DEFAULT_MAX_RECORD_BYTES.to_string()),
        default("cleanup.policy", "delete".to_owned()),
        default("retention.ms", "-1".to_owned()),
    ]);
    entries.extend(configs.into_iter().map(|(key, value)| (key, Config { value: Some(value), source: Source::Topic })));
    entries
}

impl TopicAdmin for EmbeddedLog {
    fn observe(&self, scope: &Scope) -> Result<Observed> {
        let topics = self.found(&self.connection(), None, &scope.configs)?;
        Ok(self.observed(topics))
    }

    fn judge(&self, actions: &[Action]) -> Result<Vec<Answer>> {
        let found = self.observe(&Scope { configs: Topics::Prefixed(String::new()), ..Scope::default() })?;
        Ok(actions.iter().map(|action| refusal(&found, action).map_or(Answer::Fine, Answer::No)).collect())
    }

    fn perform(&self, action: &Action) -> Result<()> {
        let only = match action {
            Action::CreateTopic { name, .. }
            | Action::AddPartitions { name, .. }
            | Action::AlterConfigs { name, .. }
            | Action::DeleteTopic { name } => Some(name.as_str()),
            Action::CreateAcls { .. } => None,
        };
        let fail = |error| self.fail(error);
        let mut connection = self.connection();
        if matches!(action, Action::CreateTopic { .. }) {
            file::upgrade(&mut connection, &self.path)?;
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        let found = self.observed(self.found(&transaction, only, &Topics::Prefixed(String::new()))?);
        if !is_to_make(&found, action)? {
            return Ok(());
        }
        self.make(&transaction, action, &found)?;
        transaction.commit().map_err(|error| super::failure::of_commit(&self.path, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Kind;
    use crate::port::event_log::Record;

    #[test]
    fn a_writer_of_a_deleted_topic_never_writes_into_another() {
        let folder = tempfile::tempdir().unwrap();
        let log = EmbeddedLog::open(&folder.path().join("log.db"), true).unwrap();
        let create = |name: &str| {
            let action =
                Action::CreateTopic { name: name.into(), partitions: 1, replication: 1, configs: BTreeMap::new() };
            log.perform(&action).unwrap();
        };
        let record = Record { topic: "t", partition: None, key: b"k", value: b"v", headers: &[], timestamp: 1 };
        create("t");
        let mut writer = log.open_writer("m/replay", "one").unwrap();
        writer.append(&record).unwrap();
        writer.commit("plan", 1.into()).unwrap();
        writer.append(&record).unwrap();
        log.perform(&Action::DeleteTopic { name: "t".into() }).unwrap();
        create("u");
        create("t");
        assert_eq!(writer.commit("plan", 2.into()).unwrap_err().kind(), Kind::Config);
        assert_eq!(log.checkpoint("m/replay").unwrap().unwrap().state, 1);
        for name in ["t", "u"] {
            assert_eq!(log.ends(name).unwrap()[&0].high, 0, "{name}");
        }
        writer.abort().unwrap();
        writer.append(&record).unwrap();
        writer.commit("plan", 3.into()).unwrap();
        assert_eq!((log.ends("t").unwrap()[&0].high, log.ends("u").unwrap()[&0].high), (1, 0));
        assert_eq!(log.topics().unwrap().into_keys().collect::<Vec<_>>(), ["t", "u"]);
        let rows = "SELECT count(*), (SELECT count(*) FROM batches) FROM partitions";
        let rows: (i64, i64) = log.connection().query_row(rows, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(rows, (3, 1), "the records of a deleted topic go, its ids stay taken");
    }
}
