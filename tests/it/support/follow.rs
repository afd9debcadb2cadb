//! A SQLite store under its outbox.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossfade::mapping::Mapping;
use crossfade::mapping::init::init;
use crossfade::port::legacy_source::LegacySource;
use crossfade::port::row_store::RowStore;
use crossfade::sqlite::introspect::describe;
use crossfade::sqlite::outbox::SqliteOutbox;
use crossfade::sqlite::source::SqliteSource;
use crossfade::sqlite::store::SqliteStore;
use rusqlite::Connection;

use super::followed::{self, Legacy, MIGRATION};

pub type Bench = followed::Bench<Outbox>;

pub struct Outbox {
    folder: tempfile::TempDir,
    /// Changes its outbox keeps; 0: by their size.
    pub keeps: AtomicU64,
}

impl Legacy for Outbox {
    type Capture = SqliteOutbox;

    fn capture(&self, mapping: &Arc<Mapping>) -> SqliteOutbox {
        SqliteOutbox::new(self.legacy(), MIGRATION, Arc::clone(mapping))
            .keeping(Some(self.keeps.load(Ordering::Relaxed)).filter(|keeps| *keeps > 0))
    }

    fn source(&self, mapping: &Arc<Mapping>) -> Box<dyn LegacySource> {
        Box::new(SqliteSource::open(self.legacy(), Arc::clone(mapping), false).unwrap().followed(MIGRATION))
    }

    fn projection(&self, folder: &Path) -> Box<dyn RowStore> {
        Box::new(SqliteStore::new(folder.join("projection.db")))
    }
}

impl Outbox {
    /// A store made by `make`, which is handed its path.
    pub fn new(make: impl FnOnce(&Path)) -> Self {
        let outbox = Self { folder: tempfile::tempdir().unwrap(), keeps: AtomicU64::new(0) };
        make(&outbox.legacy());
        outbox
    }

    /// One made by a script.
    pub fn of(script: &str) -> Self {
        Self::new(|path| {
            let connection = Connection::open(path).unwrap();
            connection.execute_batch(&format!("PRAGMA journal_mode = WAL; {script}")).unwrap();
        })
    }

    pub fn legacy(&self) -> PathBuf {
        self.folder.path().join("legacy.db")
    }

    /// The program that owns the store.
    pub fn app(&self) -> Connection {
        let connection = Connection::open(self.legacy()).unwrap();
        connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA synchronous = OFF").unwrap();
        connection
    }

    #[track_caller]
    pub fn run(&self, sql: &str) {
        self.app().execute_batch(sql).unwrap_or_else(|error| panic!("{error} in {sql}"));
    }
}

impl Bench {
    /// With the mapping that init writes for it.
    pub fn initialised(legacy: Outbox) -> Self {
        let (text, _) = init(&describe(&legacy.legacy()).unwrap(), MIGRATION);
        Self::mapped(legacy, &text)
    }

    pub fn of(script: &str) -> Self {
        Self::initialised(Outbox::of(script))
    }
}
