//! A legacy SQLite file as the target of reverse: on a connection without triggers, under one epoch.

mod shape;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension};

use self::writer::SqliteSinkWriter;
use super::error::{explain, open_read_only};
use super::gate::{Gate, Patience};
use super::introspect;
use super::outbox::KEPT;
use super::plan::quote;
use crate::base::{Error, Result};
use crate::mapping::Mapping;
use crate::port::legacy_sink::{EPOCH, LegacySink, SinkState, SinkStep, SinkWriter};

/// The tables of one file. It keeps no connection.
#[derive(Clone, Debug)]
pub struct SqliteSink {
    path: PathBuf,
    mapping: Arc<Mapping>,
    table: String,
    patience: Patience,
}

impl SqliteSink {
    pub fn new(path: impl Into<PathBuf>, migration: &str, mapping: Arc<Mapping>) -> Self {
        let table = format!("{KEPT}{migration}_reverse");
        Self { path: path.into(), mapping, table, patience: Patience::default() }
    }

    /// How long its transactions wait for the legacy's programs.
    #[must_use]
    pub fn patient(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    fn told(&self, error: rusqlite::Error) -> Error {
        explain(&self.path, error)
    }

    fn made(&self, connection: &Connection) -> Result<bool> {
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        connection.query_row(sql, [&self.table], |row| row.get(0)).map_err(|error| self.told(error))
    }

    /// A gate to a connection on which no trigger of the legacy's runs, nor one of the outbox; foreign keys and cascades do.
    fn silent(&self) -> Result<Gate> {
        let gate = Gate::open(&self.path, self.patience.clone())?;
        let set = |connection: &Connection| {
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
            connection.pragma_update(None, "foreign_keys", true)
        };
        set(gate.connection()).map_err(|error| self.told(error))?;
        Ok(gate)
    }

    fn step(&self) -> SinkStep {
        let table = quote(&self.table);
        SinkStep {
            sql: format!(
                "CREATE TABLE {table} (kind TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (kind, name))"
            ),
            back: format!("DROP TABLE {table}"),
        }
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.silent()?.pass(|connection| connection.execute_batch(sql)).map(|_| ())
    }
}

/// What a table of reverse holds; read within the transaction the connection is in.
fn state(connection: &Connection, table: &str, mapping: &Mapping, path: &Path) -> Result<SinkState> {
    let read = || {
        let mut found = connection.prepare(&format!("SELECT kind, name, value FROM {}", quote(table)))?;
        let rows = found.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect::<rusqlite::Result<Vec<(String, String, String)>>>()
    };
    SinkState::read(mapping, read().map_err(|error| explain(path, error))?)
}

impl LegacySink for SqliteSink {
    fn describe(&self) -> String {
        format!("sqlite {}", self.path.display())
    }

    fn notes(&self) -> Result<Vec<String>> {
        let connection = open_read_only(&self.path)?;
        let sql = "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND name NOT LIKE ?1 || '%'";
        let triggers: i64 = connection.query_row(sql, [KEPT], |row| row.get(0)).map_err(|error| self.told(error))?;
        let text = "triggers of the legacy do not run for what is written back: what they set comes from the events";
        Ok(if triggers > 0 { vec![text.to_owned()] } else { Vec::new() })
    }

    fn installation(&self) -> Result<Vec<SinkStep>> {
        let connection = open_read_only(&self.path)?;
        let mode: Option<String> = connection
            .query_row("PRAGMA journal_mode", [], |row| row.get(0))
            .optional()
            .map_err(|error| self.told(error))?;
        if mode.as_deref() != Some("wal") {
            let message = format!("'{}' is not in the journal mode WAL", self.path.display());
            return Err(Error::refused(message).hint("let the legacy use the journal mode WAL"));
        }
        Ok(if self.made(&connection)? { Vec::new() } else { vec![self.step()] })
    }

    fn install(&self) -> Result<()> {
        let table = quote(&self.table);
        self.run(&format!("{}; INSERT INTO {table} VALUES ('format', '', '1'), ('{EPOCH}', '', '0')", self.step().sql))
    }

    fn removal(&self) -> Result<Vec<SinkStep>> {
        let step = self.step();
        let made = self.made(&open_read_only(&self.path)?)?;
        Ok(if made { vec![SinkStep { sql: step.back, back: step.sql }] } else { Vec::new() })
    }

    fn remove(&self) -> Result<()> {
        self.run(&format!("DROP TABLE IF EXISTS {}", quote(&self.table)))
    }

    fn state(&self) -> Result<Option<SinkState>> {
        let connection = open_read_only(&self.path)?;
        if !self.made(&connection)? {
            return Ok(None);
        }
        state(&connection, &self.table, &self.mapping, &self.path).map(Some)
    }

    fn claim(&self) -> Result<Box<dyn SinkWriter>> {
        let gate = self.silent()?;
        let connection = gate.connection();
        if !self.made(connection)? {
            let message = format!("'{}' has no table for reverse to keep its place in", self.path.display());
            return Err(Error::refused(message).hint("crossfade project --reverse --install"));
        }
        let schema = introspect::schema(connection).map_err(|error| self.told(error))?;
        let shapes = shape::all(connection, &self.mapping, &schema).map_err(|error| self.told(error))?;
        SqliteSinkWriter::claim(self, gate, shapes)
    }
}
