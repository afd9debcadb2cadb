//! The projection in a SQLite file: ordinary tables anyone may read, with the last event of each row beside it.

mod fault;
mod meta;
mod settle;
mod shape;
mod view;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use self::fault::fault;
use self::meta::{FORMAT, Meta, key};
use self::shape::Shape;
use self::view::SqliteView;
use self::writer::{CHUNK, SqliteTables};
use super::functions::{bind, value as lend};
use crate::base::{Error, Result};
use crate::mapping::Mapping;
use crate::port::buffered::{BufferedWriter, overtaken};
use crate::port::row_store::{LastEvent, Mode, RowStore, RowView, RowWriter, StoreState};

/// How long a claim or a write waits for another process.
const PATIENCE: Duration = Duration::from_secs(10);

/// Larger pages load a little faster, but cost more when single rows change: with random keys a third more time live.
const PAGE: u32 = 4096;

/// Bounds the memory of writes and of index builds.
const CACHE_KIB: u32 = 16 * 1024;

/// A projection in a SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    path: PathBuf,
}

impl SqliteStore {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    fn read_only(&self) -> Result<Connection> {
        let opening = || fault(&self.path, "opening it");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(opening())?;
        connection.busy_timeout(PATIENCE).map_err(opening())?;
        // One read transaction: all that follows sees the same state.
        connection.execute_batch("BEGIN").map_err(opening())?;
        Ok(connection)
    }

    fn writable(&self) -> Result<Connection> {
        let opening = || fault(&self.path, "opening it");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags).map_err(opening())?;
        connection.busy_timeout(PATIENCE).map_err(opening())?;
        // Before the journal mode is touched: the file may be somebody else's.
        Meta { connection: &connection, path: &self.path }.state()?;
        let pragmas = format!(
            "PRAGMA page_size = {PAGE}; PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
             PRAGMA cache_size = -{CACHE_KIB}; PRAGMA journal_size_limit = 33554432;"
        );
        connection.execute_batch(&pragmas).map_err(opening())?;
        Ok(connection)
    }

    fn never_made(&self) -> Error {
        Error::refused(format!("projection {} was never made", self.path.display())).hint("run `crossfade project`")
    }
}

impl RowStore for SqliteStore {
    fn describe(&self) -> String {
        format!("sqlite {}", self.path.display())
    }

    fn state(&self) -> Result<Option<StoreState>> {
        if !exists(&self.path)? {
            return Ok(None);
        }
        let connection = self.read_only()?;
        Meta { connection: &connection, path: &self.path }.state()
    }

    /// Live on an unfinished rebuild goes on with it: the state says `rebuilding` until `finish`.
    fn claim(&self, mapping: &Arc<Mapping>, mode: Mode) -> Result<Box<dyn RowWriter>> {
        let shapes = Shape::all(mapping)?;
        let connection = self.writable()?;
        let meta = Meta { connection: &connection, path: &self.path };
        meta.run("claiming it", "BEGIN IMMEDIATE")?;
        // An error leaves the transaction to the connection, which rolls it back on its way out.
        let (state, shared) = claim(&meta, mapping, &shapes, mode)?;
        meta.run("claiming it", "COMMIT")?;
        let tables = SqliteTables { path: self.path.clone(), connection, mapping: Arc::clone(mapping), shapes };
        Ok(Box::new(BufferedWriter::new(tables, Arc::clone(mapping), state, shared, CHUNK)))
    }

    fn view(&self, mapping: &Arc<Mapping>) -> Result<Box<dyn RowView>> {
        if !exists(&self.path)? {
            return Err(self.never_made());
        }
        let connection = self.read_only()?;
        let state = Meta { connection: &connection, path: &self.path }.state()?.ok_or_else(|| self.never_made())?;
        if state.mapping_hash != mapping.hash {
            return Err(other_mapping(&self.path));
        }
        if state.rebuilding {
            return Err(unfinished(&self.path));
        }
        Ok(Box::new(SqliteView::new(self.path.clone(), connection, Shape::all(mapping)?, state)))
    }
}

/// The state claimed, and whether it is shared.
fn claim(meta: &Meta<'_>, mapping: &Mapping, shapes: &[Shape], mode: Mode) -> Result<(StoreState, bool)> {
    let found = meta.state()?;
    let old = match &found {
        None => {
            meta.make()?;
            meta.set(key::FORMAT, FORMAT)?;
            0
        }
        Some(state) => state.epoch,
    };
    let joined = found.is_some() && meta.get::<i64>(key::SHARED)? == Some(old as i64);
    let (epoch, shared) = mode.claims(old, joined).ok_or_else(|| overtaken(&meta.path.display().to_string()))?;
    let state = match found {
        Some(state) if mode != Mode::Rebuild => {
            if state.mapping_hash != mapping.hash {
                return Err(other_mapping(meta.path));
            }
            if shared && state.rebuilding {
                return Err(unfinished(meta.path));
            }
            meta.need_tables(mapping)?;
            StoreState { epoch, ..state }
        }
        found => {
            if found.is_some() {
                drop_rows(meta)?;
            }
            let rebuilding = mode == Mode::Rebuild;
            make_tables(meta, mapping, shapes, rebuilding)?;
            StoreState { mapping_hash: mapping.hash.clone(), epoch, rebuilding, ..StoreState::default() }
        }
    };
    meta.set(key::EPOCH, epoch as i64)?;
    if shared {
        meta.set(key::SHARED, epoch as i64)?;
    }
    Ok((state, shared))
}

fn drop_rows(meta: &Meta<'_>) -> Result<()> {
    let tables: String = meta.need(key::TABLES)?;
    let tables: Vec<String> =
        serde_json::from_str(&tables).map_err(|error| meta.damaged(key::TABLES).because(error))?;
    for table in tables {
        meta.run("dropping its rows", &format!("DROP TABLE IF EXISTS {}", shape::quote(&table)))?;
    }
    let sql = format!("DELETE FROM _cf_positions; DELETE FROM _cf_meta WHERE key = '{}'", key::TOPICS);
    meta.run("dropping its rows", &sql)
}

fn make_tables(meta: &Meta<'_>, mapping: &Mapping, shapes: &[Shape], rebuilding: bool) -> Result<()> {
    for shape in shapes {
        meta.run("making its tables", &shape.create)?;
        if let Some(index) = shape.index.as_ref().filter(|_| !rebuilding) {
            meta.run("making its tables", index)?;
        }
    }
    let tables: Vec<&str> = mapping.tables.iter().map(|table| table.name.as_str()).collect();
    let tables = serde_json::to_string(&tables)
        .map_err(|error| Error::failed("the names of the tables have no JSON form").because(error))?;
    meta.set(key::TABLES, tables)?;
    meta.set(key::MAPPING, &mapping.hash)?;
    meta.set(key::REBUILDING, rebuilding)?;
    meta.set(key::TOMBSTONES, false)
}

fn other_mapping(path: &Path) -> Error {
    Error::stale(format!("projection {} was made for another mapping", path.display()))
        .hint("run `crossfade project --rebuild`")
}

fn unfinished(path: &Path) -> Error {
    Error::refused(format!("the rebuild of projection {} is unfinished", path.display()))
        .hint("run `crossfade project` to end it")
}

fn exists(path: &Path) -> Result<bool> {
    path.try_exists()
        .map_err(|error| Error::connect(format!("projection {} cannot be reached", path.display())).because(error))
}

/// The event in four columns from `at` on. A row written by other hands gets one that every event follows.
fn last_event(row: &rusqlite::Row<'_>, at: usize) -> LastEvent {
    let read = || -> rusqlite::Result<LastEvent> {
        Ok(LastEvent {
            partition: row.get(at)?,
            offset: row.get(at + 1)?,
            id: row.get(at + 2)?,
            sequence: row.get(at + 3)?,
        })
    };
    read().unwrap_or(LastEvent { partition: -1, offset: -1, id: [0; 16], sequence: i64::MIN })
}
