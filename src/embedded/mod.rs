//! The embedded log: topics and partitions in one SQLite file.

mod admin;
mod failure;
mod file;
mod frames;
mod group;
mod layout;
mod pending;
mod reader;
mod writer;

pub use self::admin::nothing_yet;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::base::{Error, Result};
use crate::port::event_log::{Checkpoint, Ends, EventLog, LogReader, LogWriter, Positions, Topic, TopicIds};
use crate::port::group::{GroupReader, Join};
use crate::port::roster::{Board, RosterReader};

/// A log in one SQLite file, for any number of processes of one machine. A commit is durable when it returns, also
/// against a loss of power.
pub struct EmbeddedLog {
    path: PathBuf,
    cluster_id: String,
    connection: Mutex<Connection>,
}

impl EmbeddedLog {
    /// Opens the log at `path`. With `create` a missing or empty file, and missing folders above it, are made.
    ///
    /// [`crate::base::Kind::Connect`]: there is no log; `Refused`: its format is newer; `Corrupt`: the file is something else.
    pub fn open(path: &Path, create: bool) -> Result<Self> {
        let connection = file::open(path, create)?;
        let cluster_id = connection
            .query_row("SELECT cluster_id FROM log", [], |row| row.get(0))
            .map_err(|error| failure::of(path, error))?;
        Ok(Self { path: path.to_owned(), cluster_id, connection: Mutex::new(connection) })
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // SQLite rolls an unfinished statement back itself, so a panic elsewhere leaves the connection usable.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, error: rusqlite::Error) -> Error {
        failure::of(&self.path, error)
    }

    /// Makes a topic unless there is one of the name.
    fn make_topic(
        &self,
        transaction: &Transaction<'_>,
        name: &str,
        partitions: i32,
        configs: &BTreeMap<String, String>,
    ) -> Result<()> {
        let configs = layout::config_text(configs)?;
        let made = transaction
            .execute(
                "INSERT OR IGNORE INTO topics (name, configs, uuid) VALUES (?1, ?2, ?3)",
                [name, &configs, &uuid::Uuid::new_v4().to_string()],
            )
            .map_err(|error| self.fail(error))?;
        if made == 0 {
            return Ok(());
        }
        self.make_partitions(transaction, transaction.last_insert_rowid(), 0..partitions)
    }

    fn make_partitions(&self, transaction: &Transaction<'_>, topic: i64, numbers: Range<i32>) -> Result<()> {
        for number in numbers {
            transaction
                .execute("INSERT INTO partitions (topic, number) VALUES (?1, ?2)", params![topic, number])
                .map_err(|error| self.fail(error))?;
        }
        if transaction.last_insert_rowid() >= layout::ROWS - 1 {
            return Err(Error::refused(format!("{} has no room for more partitions", self.path.display())));
        }
        Ok(())
    }
}

impl EventLog for EmbeddedLog {
    fn describe(&self) -> String {
        format!("embedded {}", self.path.display())
    }

    fn cluster_id(&self) -> Result<String> {
        Ok(self.cluster_id.clone())
    }

    fn open_writer(&self, name: &str, instance: &str) -> Result<Box<dyn LogWriter>> {
        Ok(Box::new(writer::Writer::open(&self.path, name, instance)?))
    }

    fn checkpoint(&self, name: &str) -> Result<Option<Checkpoint>> {
        let found: Option<Option<String>> = self
            .connection()
            .query_row("SELECT checkpoint FROM writers WHERE name = ?1", [name], |row| row.get(0))
            .optional()
            .map_err(|error| self.fail(error))?;
        found.flatten().map(|text| layout::checkpoint(&self.path, name, &text)).transpose()
    }

    fn open_reader(&self, from: &Positions) -> Result<Box<dyn LogReader>> {
        Ok(Box::new(reader::Reader::open(&self.path, from)?))
    }

    fn join(&self, join: &Join<'_>) -> Result<Box<dyn GroupReader>> {
        let mut board = group::Rosters::open(&self.path, join)?;
        board.look()?;
        let reader = reader::Reader::open(&self.path, &Positions::new())?;
        Ok(Box::new(RosterReader::join(board, reader, join)))
    }

    fn ends(&self, topic: &str) -> Result<BTreeMap<i32, Ends>> {
        let connection = self.connection();
        let partitions = layout::topic(&connection, &self.path, topic)?.partitions;
        let ends = (0..).zip(partitions).map(|(number, row)| {
            // An open transaction is only in its writer's memory: it takes no offsets yet.
            connection.query_row(
                "SELECT next_offset, (SELECT id FROM batches WHERE id BETWEEN ?2 AND ?3 ORDER BY id LIMIT 1)
                 FROM partitions WHERE id = ?1",
                [row, layout::batch_id(row, 0), layout::batch_id(row, layout::OFFSETS)],
                |found| {
                    let (next, first): (i64, Option<i64>) = (found.get(0)?, found.get(1)?);
                    let low = first.map_or(next, layout::base_offset);
                    Ok((number, Ends { low, committed: next, high: next }))
                },
            )
        });
        ends.collect::<rusqlite::Result<_>>().map_err(|error| self.fail(error))
    }

    fn topic_ids(&self, topics: &[&str]) -> Result<TopicIds> {
        let connection = self.connection();
        let ids = topics.iter().map(|name| {
            let id = layout::topic_id(&connection, &self.cluster_id, name)?;
            Ok(id.map(|id| ((*name).to_owned(), id)))
        });
        ids.filter_map(rusqlite::Result::transpose).collect::<rusqlite::Result<_>>().map_err(|error| self.fail(error))
    }

    fn topics(&self) -> Result<BTreeMap<String, i32>> {
        let found = || -> rusqlite::Result<BTreeMap<String, i32>> {
            self.connection()
                .prepare(
                    "SELECT name, (SELECT count(*) FROM partitions WHERE topic = topics.id) FROM topics
                     WHERE name NOT LIKE '/%'",
                )?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        };
        found().map_err(|error| self.fail(error))
    }

    fn create_topics(&self, topics: &[Topic]) -> Result<()> {
        if let Some(topic) = topics.iter().find(|topic| topic.partitions < 1) {
            return Err(Error::config(format!("topic '{}' needs at least one partition", topic.name)));
        }
        let fail = |error| self.fail(error);
        let mut connection = self.connection();
        file::upgrade(&mut connection, &self.path)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        for topic in topics {
            self.make_topic(&transaction, &topic.name, topic.partitions, &topic.configs)?;
        }
        transaction.commit().map_err(fail)
    }

    fn topic_config(&self, topic: &str, name: &str) -> Result<Option<String>> {
        Ok(layout::topic(&self.connection(), &self.path, topic)?.configs.remove(name))
    }

    fn max_record_bytes(&self, topic: &str) -> Result<usize> {
        Ok(layout::topic(&self.connection(), &self.path, topic)?.max_record_bytes)
    }
}
