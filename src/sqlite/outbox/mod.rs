//! A trigger outbox in a legacy SQLite file: made, taken away, and looked after.

mod anchor;
mod clash;
mod ddl;
mod form;
mod index;
mod install;
mod read;
mod settle;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

pub(super) use self::ddl::KEPT;
use self::ddl::{Form, Names, Statement, Watched, statements};
use self::index::{Unique, uniques};
use self::read::OutboxReader;
use super::error::{explain, open_read_only};
use super::gate::Patience;
use super::introspect;
use super::plan::quote;
use crate::base::{Error, Result};
use crate::mapping::Mapping;
use crate::mapping::init::{Schema, TableSchema};
use crate::port::change_source::{ChangeReader, ChangeSource, Position};

/// The outbox of one migration in one file. It keeps no connection.
#[derive(Clone, Debug)]
pub struct SqliteOutbox {
    path: PathBuf,
    mapping: Arc<Mapping>,
    names: Names,
    patience: Patience,
    keeps: Option<u64>,
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
        Self { path: path.into(), mapping, names: Names::new(migration), patience: Patience::default(), keeps: None }
    }

    /// How long its installation and removal wait for the legacy's programs.
    #[must_use]
    pub fn patient(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// With so many changes kept by an outbox made from here on; by their size unless said.
    #[must_use]
    pub fn keeping(self, changes: Option<u64>) -> Self {
        Self { keeps: changes, ..self }
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

    fn expected(&self, connection: &Connection, schema: &Schema, form: Form) -> Result<Vec<Statement>> {
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
            let defaults = defaults(connection, found).map_err(|error| self.told(error))?;
            watched.push(Watched { table, schema: found, uniques, defaults });
        }
        statements(&self.names, &self.mapping, &watched, form)
            .map_err(|why| Error::refused(format!("no outbox: {why}")))
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
                // What fills another migration's outbox changes no row.
                if !name.starts_with(KEPT) {
                    // SQLite runs the newest first: what this one changes would be told before what led to it.
                    return Ok(Some(format!("trigger '{name}' of table '{}' is newer than the outbox", table.name)));
                }
            }
        }
        Ok(None)
    }

    /// The form of the outbox; an error where it is missing or no longer what it was.
    fn require_whole(&self, connection: &Connection) -> Result<Form> {
        let schema = introspect::schema(connection).map_err(|error| self.told(error))?;
        let found = self.objects(connection).map_err(|error| self.told(error))?;
        let message = if found.is_empty() {
            format!("'{}' has no outbox of this migration", self.path.display())
        } else {
            let (form, why) = self.looked_at(connection, &schema, &found)?;
            match why {
                None => return Ok(form),
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

    /// The form of what there is, and why it is not whole.
    fn looked_at(&self, connection: &Connection, schema: &Schema, found: &[Object]) -> Result<(Form, Option<String>)> {
        let meta = self.names.meta();
        if !found.iter().any(|object| object.name == meta) {
            return Ok((Form::Growing, Some(format!("table '{meta}' is gone"))));
        }
        let form = self.form(connection)?;
        let expected = self.expected(connection, schema, form)?;
        Ok((form, self.trouble(connection, &expected, found).map_err(|error| self.told(error))?))
    }

    /// The form of the outbox, if there is one, whole or not.
    fn installed(&self, connection: &Connection) -> Result<Option<Form>> {
        let found = self.objects(connection).map_err(|error| self.told(error))?;
        let there = |name: String| found.iter().any(|object| object.name == name);
        let whole = there(self.names.meta()) && there(self.names.changes());
        whole.then(|| self.form(connection)).transpose()
    }

    /// Whose numbers these are: of the outbox as it was made, or since its highest went by hand.
    fn incarnation_of(&self, connection: &Connection) -> Result<String> {
        let sql = format!(
            "SELECT value, (SELECT value FROM {0} WHERE key = 'epoch' AND value > 1) FROM {0} WHERE key = 'incarnation'",
            quote(&self.names.meta())
        );
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (made, epoch): (String, Option<i64>) =
            connection.query_row(&sql, [], read).map_err(|error| self.told(error))?;
        Ok(epoch.map_or(made.clone(), |epoch| format!("{made}.{epoch}")))
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
        let stand = self.stand(connection, anchor::inode(&self.path), &incarnation, number);
        stand.map(Some).map_err(|error| self.told(error))
    }
}

/// Columns that take no null, with a default that is a plain value.
fn defaults(connection: &Connection, table: &TableSchema) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut found = connection.prepare(
        "SELECT name, dflt_value FROM pragma_table_xinfo(?1, 'main') WHERE \"notnull\" AND dflt_value IS NOT NULL",
    )?;
    let found = found.query_map([&table.name], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let plain = |default: &String| {
        default.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '\'' | '+' | '-' | '.'))
    };
    found.filter(|found| found.as_ref().map_or(true, |(_, default)| plain(default))).collect()
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
        let first = self.installed(&connection)? == Some(Form::Growing);
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
            let plain = |unique: &&Unique| !unique.partial && unique.columns().count() == unique.terms.len();
            for unique in uniques.iter().filter(|unique| if first { !plain(unique) } else { !unique.readable() }) {
                blind.push(format!(
                    "rows of '{}' replaced through '{}', an index over expressions or of some rows only",
                    table.name, unique.name
                ));
            }
        }
        Ok(blind)
    }

    fn keeps(&self) -> Result<Option<String>> {
        let connection = open_read_only(&self.path)?;
        let form = self.installed(&connection)?;
        form.map(|form| self.outlasts(&connection, form)).transpose()
    }

    fn dated(&self) -> Result<Option<String>> {
        let connection = open_read_only(&self.path)?;
        let first = self.installed(&connection)?.filter(|form| *form == Form::Growing);
        first.map(|form| self.outlasts(&connection, form)).transpose()
    }

    fn open(&self, from: &Position) -> Result<Box<dyn ChangeReader>> {
        Ok(Box::new(OutboxReader::open(self.clone(), from)?))
    }
}
