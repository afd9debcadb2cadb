//! What a gateway will do: sessions taken over, and rows of theirs written as events only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossfade::base::Result;
use crossfade::control::{Captured, Lock, Place, Process, Session, SoleWriter};
use crossfade::event::Op;
use crossfade::event::codec::Exact;
use crossfade::mapping::{Mapping, Rows, Table};
use crossfade::port::event_log::EventLog;
use crossfade::port::legacy_sink::Kept;
use crossfade::port::owners::RowKey;
use crossfade::sqlite::outbox::SqliteOutbox;
use crossfade::sqlite::source::SqliteSource;

use super::cli::Migration;
use super::flow::{mapping, now, open_log};
use super::store::Cell;

/// A row as its column values.
pub type Values = BTreeMap<String, Cell>;

pub struct Gateway {
    pub name: String,
    pub log: Box<dyn EventLog>,
    pub mapping: Arc<Mapping>,
}

impl Gateway {
    pub fn of(migration: &Migration) -> Self {
        Self { name: migration.name.clone(), log: open_log(migration), mapping: mapping(migration) }
    }

    #[track_caller]
    pub fn open(&self) -> SoleWriter<'_> {
        let place = Place {
            log: self.log.as_ref(),
            mapping: &self.mapping,
            codec: &Exact,
            migration: &self.name,
            instance: "gateway",
            now: &now,
        };
        SoleWriter::open(place).unwrap()
    }

    #[track_caller]
    pub fn lock(&self) -> Lock {
        let process = Process { instance: "gateway".into(), host: "test".into(), pid: std::process::id() };
        let log = self.log.as_ref();
        Lock::acquire(log, &self.name, &self.mapping.hash, &process, "transfer", Arc::new(now), &|_| true).unwrap()
    }

    /// Gives sessions of a table's topic to the events side.
    pub fn try_take(&self, table: &str, keys: &[String], captured: &Captured<'_>) -> Result<u64> {
        let topic = &self.table(table).topic;
        let session =
            |key: &String| Session { topic, key: Box::leak(key.clone().into_boxed_str()).as_bytes(), seen: None };
        let sessions: Vec<Session<'_>> = keys.iter().map(session).collect();
        let lock = self.lock();
        let taken = self.open().to_events(&sessions, captured, &lock);
        lock.release(None)?;
        taken
    }

    #[track_caller]
    pub fn take(&self, table: &str, keys: &[String]) {
        assert_eq!(self.try_take(table, keys, &Captured::Stopped).unwrap(), keys.len() as u64);
    }

    /// Gives one back; `drain` as the gateway would.
    pub fn give_back(
        &self,
        table: &str,
        key: &str,
        drain: &mut dyn FnMut() -> Result<BTreeMap<RowKey, Kept>>,
    ) -> Result<u64> {
        let session = Session { topic: &self.table(table).topic, key: key.as_bytes(), seen: None };
        let lock = self.lock();
        let given = self.open().to_legacy(&[session], &Captured::Stopped, &lock, drain);
        lock.release(None)?;
        given
    }

    #[track_caller]
    pub fn table(&self, name: &str) -> &Table {
        self.mapping.table(name).unwrap()
    }

    /// A row in the layout of its table; columns that are not named are null.
    #[track_caller]
    pub fn rows(&self, table: &Table, values: &Values) -> Rows {
        let mut rows = Rows::new(table.width());
        for field in table.fields() {
            rows.push(values.get(field).map_or(crossfade::mapping::Value::Null, Cell::lend));
        }
        if table.key_cell().is_some() {
            rows.push(values["(key)"].lend());
        }
        rows
    }

    /// Appends one change; the gateway names it by `change`.
    #[track_caller]
    pub fn write(&self, writer: &mut SoleWriter<'_>, table: &str, op: Op, values: &Values, change: &str) {
        let table = self.table(table);
        let row = self.rows(table, values);
        writer.append(table, (op, row.row(0), None), change.as_bytes()).unwrap().unwrap();
    }

    /// One change alone, committed.
    #[track_caller]
    pub fn once(&self, table: &str, op: Op, values: &Values, change: &str) {
        let mut writer = self.open();
        self.write(&mut writer, table, op, values, change);
        writer.commit().unwrap();
    }
}

/// The migration's own legacy file, and its outbox.
pub fn source(migration: &Migration) -> (SqliteSource, SqliteOutbox) {
    let source = SqliteSource::open(migration.legacy(), mapping(migration), false).unwrap();
    let outbox = SqliteOutbox::new(migration.legacy(), &migration.name, mapping(migration));
    (source.followed(&migration.name), outbox)
}

pub fn followed((rows, changes): &(SqliteSource, SqliteOutbox)) -> Captured<'_> {
    Captured::Followed { rows, changes, patience: Duration::from_secs(5) }
}

/// A row by column and value.
pub fn values(of: &[(&str, Cell)]) -> Values {
    of.iter().map(|(name, cell)| ((*name).to_owned(), cell.clone())).collect()
}

/// Rows of a SQLite table as they are stored.
#[track_caller]
pub fn stored(path: &std::path::Path, sql: &str) -> Vec<Values> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap_or_else(|error| panic!("{error} in {sql}"));
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.query([]).unwrap();
    let mut all = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let cell = |at: usize| match row.get_ref(at).unwrap() {
            rusqlite::types::ValueRef::Null => Cell::Null,
            rusqlite::types::ValueRef::Integer(number) => Cell::Integer(number),
            rusqlite::types::ValueRef::Real(number) => Cell::real(number),
            rusqlite::types::ValueRef::Text(text) => Cell::Text(text.to_vec()),
            rusqlite::types::ValueRef::Blob(bytes) => Cell::Blob(bytes.to_vec()),
        };
        all.push(names.iter().enumerate().map(|(at, name)| (name.clone(), cell(at))).collect());
    }
    all
}
