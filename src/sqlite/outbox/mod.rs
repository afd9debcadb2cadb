//! A trigger outbox in a legacy SQLite file: made, taken away, and looked after.

mod ddl;
mod install;
mod read;
mod settle;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

pub(super) use self::ddl::KEPT;
use self::ddl::{Names, Statement, Unique, Watched, statements};
use self::read::OutboxReader;
use super::error::{explain, open_read_only, uri};
use super::gate::Patience;
use super::introspect;
use super::plan::quote;
use crate::base::{Error, Result};
use crate::mapping::Mapping;
use crate::mapping::init::{Schema, TableSchema};
use crate::port::change_source::{ChangeReader, ChangeSource, Position};

/// How long a statement on the legacy's file waits for its writers, and at most makes them wait before it is tried again.
const PATIENCE: Duration = Duration::from_millis(400);

/// Changes taken away in one transaction.
const TRIM: usize = 250;

/// Between two such transactions: a writer that waits for the file gets it.
pub(in crate::sqlite) const BREATH: Duration = Duration::from_millis(3);

/// The outbox of one migration in one file. It keeps no connection.
#[derive(Clone, Debug)]
pub struct SqliteOutbox {
    path: PathBuf,
    mapping: Arc<Mapping>,
    names: Names,
    patience: Patience,
}

/// An object of an outbox, as `sqlite_schema` has it.
#[derive(Debug)]
struct Object {
    place: i64,
    kind: String,
    name: String,
    table: String,
    sql: String,
}

impl SqliteOutbox {
    pub fn new(path: impl Into<PathBuf>, migration: &str, mapping: Arc<Mapping>) -> Self {
        Self { path: path.into(), mapping, names: Names::new(migration), patience: Patience::default() }
    }

    /// How long its installation and removal wait for the legacy's programs.
    #[must_use]
    pub fn patient(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    fn told(&self, error: rusqlite::Error) -> Error {
        explain(&self.path, error)
    }

    fn wal(&self) -> Result<Connection> {
        let connection = open_read_only(&self.path)?;
        let mode: String =
            connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(|error| self.told(error))?;
        if mode != "wal" {
            let message = format!(
                "'{}' has the journal mode {mode}: there readers and writers wait for each other",
                self.path.display()
            );
            return Err(Error::refused(message).hint("let the legacy use the journal mode WAL"));
        }
        Ok(connection)
    }

    fn expected(&self, connection: &Connection, schema: &Schema) -> Result<Vec<Statement>> {
        let mut watched = Vec::with_capacity(self.mapping.tables.len());
        for table in &self.mapping.tables {
            let found = schema.table(&table.name).ok_or_else(|| {
                Error::refused(format!("'{}' has no table '{}', which is mapped", self.path.display(), table.name))
                    .hint("put it back, or take it out of the mapping")
            })?;
            let columns = table.columns.iter().map(|column| &column.name);
            if let Some(missing) = columns.into_iter().find(|name| found.column(name).is_none()) {
                return Err(Error::refused(format!(
                    "table '{}' has no column '{missing}', which is mapped",
                    table.name
                ))
                .hint("put it back, or take it out of the mapping"));
            }
            let known = |name: &str| {
                let mapped = table.columns.iter().map(|column| &column.name).chain(&table.never);
                mapped.into_iter().any(|mapped| mapped.eq_ignore_ascii_case(name))
            };
            if let Some(new) = found.columns.iter().find(|column| !known(&column.name)) {
                let message = format!(
                    "column '{}' of table '{}' is neither mapped nor on the table's never list",
                    new.name, table.name
                );
                return Err(Error::refused(message)
                    .hint("add it to one of them, then: crossfade follow --install, and replay --recopy"));
            }
            let uniques = uniques(connection, found).map_err(|error| self.told(error))?;
            watched.push(Watched { table, schema: found, uniques });
        }
        statements(&self.names, &self.mapping, &watched).map_err(|why| Error::refused(format!("no outbox: {why}")))
    }

    fn objects(&self, connection: &Connection) -> rusqlite::Result<Vec<Object>> {
        let mut found = connection.prepare(
            "SELECT rowid, type, name, tbl_name, coalesce(sql, '') FROM sqlite_schema WHERE type IN ('table', 'trigger') ORDER BY rowid",
        )?;
        let all = found.query_map([], |row| {
            Ok(Object {
                place: row.get(0)?,
                kind: row.get(1)?,
                name: row.get(2)?,
                table: row.get(3)?,
                sql: row.get(4)?,
            })
        })?;
        let all = all.collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(all.into_iter().filter(|object| self.names.own(&object.kind, &object.name)).collect())
    }

    /// Why the outbox is not as expected; `None` when it is whole.
    fn trouble(
        &self,
        connection: &Connection,
        expected: &[Statement],
        found: &[Object],
    ) -> rusqlite::Result<Option<String>> {
        let Some(meta) = found.iter().find(|object| object.name == self.names.meta()) else {
            return Ok(Some("it has no outbox of this migration".to_owned()));
        };
        for statement in expected {
            match found.iter().find(|object| object.name == statement.name) {
                None => return Ok(Some(format!("{} '{}' is gone", statement.kind, statement.name))),
                Some(object) if object.sql != statement.sql => {
                    return Ok(Some(format!("{} '{}' is not as it should be", statement.kind, statement.name)));
                }
                Some(_) => {}
            }
        }
        if found.len() > expected.len() {
            return Ok(Some("it has triggers of an older mapping".to_owned()));
        }
        let mut rebuilt =
            connection.prepare("SELECT rowid FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE NOCASE")?;
        let mut newer = connection.prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = ?1 COLLATE NOCASE AND rowid > ?2",
        )?;
        for table in &self.mapping.tables {
            let place: Option<i64> = rebuilt.query_row([&table.name], |row| row.get(0)).optional()?;
            if place.is_none_or(|place| place > meta.place) {
                return Ok(Some(format!("table '{}' was made anew since", table.name)));
            }
            let own = found.iter().filter(|object| object.table.eq_ignore_ascii_case(&table.name));
            let first = own.map(|object| object.place).min().unwrap_or(i64::MAX);
            let mut others = newer.query((&table.name, first))?;
            while let Some(other) = others.next()? {
                let name: String = other.get(0)?;
                if !self.names.own("trigger", &name) {
                    // SQLite runs the newest first: what this one changes would be told before what led to it.
                    return Ok(Some(format!("trigger '{name}' of table '{}' is newer than the outbox", table.name)));
                }
            }
        }
        Ok(None)
    }

    /// An error where the outbox is missing or no longer what it was.
    fn require_whole(&self, connection: &Connection) -> Result<()> {
        let schema = introspect::schema(connection).map_err(|error| self.told(error))?;
        let found = self.objects(connection).map_err(|error| self.told(error))?;
        let message = if found.is_empty() {
            format!("'{}' has no outbox of this migration", self.path.display())
        } else {
            let expected = self.expected(connection, &schema)?;
            match self.trouble(connection, &expected, &found).map_err(|error| self.told(error))? {
                None => return Ok(()),
                Some(why) => {
                    format!(
                        "the outbox in '{}' is no longer whole, and changes may have passed it by: {why}",
                        self.path.display()
                    )
                }
            }
        };
        Err(Error::refused(message)
            .hint("crossfade follow --install, then crossfade follow, which reconciles first; or --mode reconcile"))
    }

    fn incarnation_of(&self, connection: &Connection) -> Result<String> {
        let sql = format!("SELECT value FROM {} WHERE key = 'incarnation'", quote(&self.names.meta()));
        connection.query_row(&sql, [], |row| row.get(0)).map_err(|error| self.told(error))
    }

    /// Where the outbox stands in this view; `None` without a whole one.
    pub(super) fn position(&self, connection: &Connection) -> Result<Option<Position>> {
        if self.require_whole(connection).is_err() {
            return Ok(None);
        }
        let sql = format!("SELECT max(number) FROM {}", quote(&self.names.changes()));
        let number: Option<i64> = connection.query_row(&sql, [], |row| row.get(0)).map_err(|error| self.told(error))?;
        let Some(number) = number else { return Ok(None) };
        let incarnation = self.incarnation_of(connection)?;
        let mark = read::mark(connection, &self.names.changes(), number).map_err(|error| self.told(error))?;
        let mark = mark.unwrap_or_default();
        Ok(Some(Position { incarnation, at: number.unsigned_abs(), mark, ..Position::default() }))
    }
}

/// Deletes up to `?2` changes, oldest first, that lie before `?1`.
fn trim_statement(changes: &str) -> String {
    let changes = quote(changes);
    format!(
        "DELETE FROM {changes} WHERE number IN (SELECT number FROM {changes} WHERE number < ?1 ORDER BY number LIMIT ?2)"
    )
}

pub(in crate::sqlite) fn writable(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri(path, "mode=rw"), flags)?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    Ok(connection)
}

/// The unique indexes of a table, that of its key among them where it has one.
fn uniques(connection: &Connection, table: &TableSchema) -> rusqlite::Result<Vec<Unique>> {
    let mut names =
        connection.prepare("SELECT name FROM pragma_index_list(?1, 'main') WHERE \"unique\" ORDER BY name")?;
    let names: Vec<String> = names.query_map([&table.name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut parts = connection.prepare(
        "SELECT name, coll FROM pragma_index_xinfo(?1, 'main') WHERE key AND name IS NOT NULL ORDER BY seqno",
    )?;
    let of = |name: String| {
        let columns = parts.query_map([&name], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(Unique { columns: columns.collect::<rusqlite::Result<_>>()?, name })
    };
    names.into_iter().map(of).collect()
}

impl ChangeSource for SqliteOutbox {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn mode(&self) -> &'static str {
        "outbox"
    }

    fn incarnation(&self) -> Result<String> {
        let connection = self.wal()?;
        self.require_whole(&connection)?;
        self.incarnation_of(&connection)
    }

    fn blind(&self) -> Result<Vec<String>> {
        let connection = open_read_only(&self.path)?;
        let mut blind = vec![
            "where a transaction of the legacy begins and ends".to_owned(),
            "writes of a connection that has switched triggers off, and changes of the file itself".to_owned(),
        ];
        for table in &self.mapping.tables {
            if table.rowid.is_some() {
                blind.push(format!(
                    "row numbers of '{}' given anew by VACUUM, until the schema is seen to change",
                    table.name
                ));
            }
            let schema = introspect::schema(&connection).map_err(|error| self.told(error))?;
            let Some(found) = schema.table(&table.name) else { continue };
            let uniques = uniques(&connection, found).map_err(|error| self.told(error))?;
            for unique in uniques.iter().filter(|unique| unique.columns.is_empty()) {
                blind.push(format!(
                    "rows of '{}' replaced through '{}', an index over expressions",
                    table.name, unique.name
                ));
            }
        }
        Ok(blind)
    }

    fn open(&self, from: &Position) -> Result<Box<dyn ChangeReader>> {
        Ok(Box::new(OutboxReader::open(self.clone(), from)?))
    }
}
