//! The journal in a SQLite file.

mod fault;
mod schema;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use self::fault::fault;
use crate::base::{Error, Millis, Result};
use crate::port::journal::{Entry, Head, Journal, Stage};

/// How long an append waits for another process's.
const PATIENCE: Duration = Duration::from_secs(10);

const STAGES: &[(Stage, &str)] = &[
    (Stage::Announced, "announced"),
    (Stage::Done, "done"),
    (Stage::Failed, "failed"),
    (Stage::Unknown, "unknown"),
    (Stage::Noted, "noted"),
];

/// A journal file; several processes may append to it.
#[derive(Debug)]
pub struct SqliteJournal {
    path: PathBuf,
    connection: Mutex<Connection>,
    read_only: bool,
}

impl SqliteJournal {
    /// Opens the journal, and makes it when there is none.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let journal = Self::connect(path.as_ref(), OpenFlags::SQLITE_OPEN_CREATE, false)?;
        schema::migrate(&journal.path, &journal.lock())?;
        Ok(journal)
    }

    /// Opens a journal that exists and appends nothing to it; creates no file.
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if !path.try_exists().map_err(|error| fault::unreachable(path).because(error))? {
            return Err(Error::connect(format!("there is no journal at {}", path.display()))
                .hint("the first command that changes something starts one"));
        }
        let journal = Self::connect(path, OpenFlags::empty(), true)?;
        schema::check(path, &journal.lock())?;
        Ok(journal)
    }

    fn connect(path: &Path, create: OpenFlags, read_only: bool) -> Result<Self> {
        // Also a reader opens for writing: after a crash somebody has to roll the last append back before it can read.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create;
        let connect = || {
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(PATIENCE)?;
            // EXTRA is FULL, and the removal of the rollback file is durable too. No write-ahead log: reading one makes files.
            connection.execute_batch("PRAGMA synchronous = EXTRA")?;
            if read_only {
                connection.execute_batch("PRAGMA query_only = ON")?;
            }
            Ok(connection)
        };
        let connection = connect().map_err(fault(path, "opening it"))?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection), read_only })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        // A panic elsewhere leaves at most an open transaction, which is rolled back before the next one.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for SqliteJournal {
    fn append(&self, at: Millis, stage: Stage, of: u64, act: &str, detail: &serde_json::Value) -> Result<Entry> {
        if self.read_only {
            return Err(Error::refused(format!("journal {} was opened for reading", self.path.display())));
        }
        let detail = serde_json::to_string(detail)
            .map_err(|error| Error::failed("the detail of a journal entry has no JSON form").because(error))?;
        let mut connection = self.lock();
        let append = || {
            // Immediate: head and entry belong together, whoever else appends.
            let transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let entry = Entry::after(head(&transaction)?.as_ref(), at, stage, of, act, detail);
            transaction.execute(
                "INSERT INTO entries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                (
                    entry.seq as i64,
                    entry.at,
                    word(entry.stage),
                    entry.of as i64,
                    &entry.act,
                    &entry.detail,
                    &entry.previous,
                    &entry.hash,
                ),
            )?;
            transaction.commit()?;
            Ok(entry)
        };
        append().map_err(fault(&self.path, "appending to it"))
    }

    fn head(&self) -> Result<Option<Head>> {
        head(&self.lock()).map_err(fault(&self.path, "reading its head"))
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let connection = self.lock();
        let read = || {
            let mut statement = connection
                .prepare("SELECT seq, at, stage, of, act, detail, previous, hash FROM entries ORDER BY seq")?;
            let rows = statement.query_map([], |row| {
                let stage: String = row.get(2)?;
                let entry = Entry {
                    seq: row.get::<_, i64>(0)? as u64,
                    at: row.get(1)?,
                    stage: Stage::Noted,
                    of: row.get::<_, i64>(3)? as u64,
                    act: row.get(4)?,
                    detail: row.get(5)?,
                    previous: row.get(6)?,
                    hash: row.get(7)?,
                };
                Ok((entry, stage))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let rows = read().map_err(fault(&self.path, "reading its entries"))?;
        rows.into_iter()
            .map(|(entry, found)| match STAGES.iter().find(|(_, word)| *word == found) {
                Some((stage, _)) => Ok(Entry { stage: *stage, ..entry }),
                None => Err(Error::corrupt(format!(
                    "entry {} of journal {} was edited: '{found}' is no stage",
                    entry.seq,
                    self.path.display()
                ))),
            })
            .collect()
    }
}

/// Whether a chain reaches a head kept elsewhere; if not, its tail was cut or it was written anew.
pub fn contains(entries: &[Entry], head: &Head) -> bool {
    entries.iter().any(|entry| entry.seq == head.seq && entry.hash == head.hash)
}

fn head(connection: &Connection) -> rusqlite::Result<Option<Head>> {
    connection
        .query_row("SELECT seq, hash FROM entries ORDER BY seq DESC LIMIT 1", [], |row| {
            Ok(Head { seq: row.get::<_, i64>(0)? as u64, hash: row.get(1)? })
        })
        .optional()
}

fn word(stage: Stage) -> &'static str {
    STAGES.iter().find(|(known, _)| *known == stage).map_or("noted", |(_, word)| word)
}
