//! A trigger outbox in a legacy SQLite file: made, taken away, and looked after.

mod ddl;
mod read;
mod settle;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension};

pub(super) use self::ddl::KEPT;
pub use self::ddl::Statement;
use self::ddl::{Names, Unique, Watched, drop_statement, statements};
use self::read::OutboxReader;
use super::error::{explain, open_read_only, uri};
use super::introspect;
use super::plan::quote;
use crate::base::{Error, Result};
use crate::mapping::Mapping;
use crate::mapping::init::{Schema, TableSchema};
use crate::port::boundary::boundary;
use crate::port::change_source::{ChangeReader, ChangeSource, Position};

/// How long a statement on the legacy's file waits for its writers, and at most makes them wait before it is tried again.
const PATIENCE: Duration = Duration::from_millis(400);

/// Changes taken away in one transaction.
const TRIM: usize = 250;

/// The oldest SQLite the triggers were tried on. The file tells which one wrote to it last.
const OLDEST: u32 = 3_040_000;

/// The outbox of one migration in one file. It keeps no connection.
#[derive(Clone, Debug)]
pub struct SqliteOutbox {
    path: PathBuf,
    mapping: Arc<Mapping>,
    names: Names,
}

/// What an installation would do.
#[derive(Clone, Debug)]
pub struct Installation {
    /// Statements that take an older outbox away, in order.
    pub remove: Vec<String>,
    pub make: Vec<Statement>,
    /// The outbox is there, whole, and as this mapping wants it: nothing to do.
    pub whole: bool,
    /// What a person should know before.
    pub notes: Vec<String>,
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
        Self { path: path.into(), mapping, names: Names::new(migration) }
    }

    /// Looks, changes nothing. Refuses a store that cannot have an outbox.
    pub fn plan(&self) -> Result<Installation> {
        let connection = self.wal()?;
        let schema = introspect::schema(&connection).map_err(|error| self.told(error))?;
        let make = self.expected(&connection, &schema)?;
        let found = self.objects(&connection).map_err(|error| self.told(error))?;
        let whole = self.trouble(&connection, &make, &found).map_err(|error| self.told(error))?.is_none();
        self.readable(&connection, &schema)?;
        let mut notes = vec![
            "the triggers run inside the legacy's own writes, on its SQLite; they need nothing newer than 3.8.3 and \
             were tried from 3.40 on"
                .to_owned(),
            "while they are there, the legacy cannot drop a column they read; take them away first".to_owned(),
        ];
        match last_writer(&self.path)? {
            Some(version) if version < OLDEST => {
                return Err(Error::refused(format!(
                    "'{}' was last written by SQLite {}, on which the triggers were never tried",
                    self.path.display(),
                    dotted(version)
                ))
                .hint("bring the legacy to SQLite 3.40 or newer, or follow without triggers: --mode reconcile"));
            }
            Some(version) => notes.push(format!("the file was last written by SQLite {}", dotted(version))),
            None => {}
        }
        Ok(Installation { remove: self.removal(&connection)?, make, whole, notes })
    }

    /// Makes what was planned in one transaction, an older outbox taken away before; gives how long writers were held up.
    pub fn install(&self, planned: &Installation, incarnation: &str) -> Result<Duration> {
        self.remove()?;
        let connection = self.writable()?;
        let meta = quote(&self.names.meta());
        let changes = quote(&self.names.changes());
        let start = [
            format!("INSERT INTO {meta} VALUES ('format', 1), ('incarnation', '{incarnation}')"),
            format!("INSERT INTO {changes} (number, made, tab, op) VALUES (1, julianday('now'), 0, 's')"),
        ];
        let made = planned.make.iter().map(|statement| &statement.sql);
        let held = self.at_once(&connection, made.chain(&start))?;
        boundary("follow.installed");
        Ok(held)
    }

    /// Statements that take away whatever there is of this migration's outbox, in the only order that never lets a write
    /// of the legacy fail: triggers first.
    pub fn planned_removal(&self) -> Result<Vec<String>> {
        self.removal(&open_read_only(&self.path)?)
    }

    /// Takes the outbox away; changes that were kept go in short transactions, for dropping a large table takes long.
    pub fn remove(&self) -> Result<()> {
        let statements = self.planned_removal()?;
        if statements.is_empty() {
            return Ok(());
        }
        let connection = self.writable()?;
        let (triggers, tables): (Vec<&String>, Vec<&String>) =
            statements.iter().partition(|statement| statement.starts_with("DROP TRIGGER"));
        self.at_once(&connection, triggers)?;
        boundary("follow.triggers-gone");
        let changes = self.names.changes();
        if tables.iter().any(|statement| **statement == drop_statement("table", &changes)) {
            let trim = trim_statement(&changes);
            let trim = |connection: &Connection| connection.execute(&trim, (i64::MAX, TRIM as i64));
            while self.patiently(|| trim(&connection))? > 0 {}
        }
        self.at_once(&connection, tables)?;
        Ok(())
    }

    fn removal(&self, connection: &Connection) -> Result<Vec<String>> {
        let mut found = self.objects(connection).map_err(|error| self.told(error))?;
        found.sort_by_key(|object| object.kind != "trigger");
        Ok(found.iter().map(|object| drop_statement(&object.kind, &object.name)).collect())
    }

    /// Runs statements in one transaction; gives how long it held the file.
    fn at_once<'s>(
        &self,
        connection: &Connection,
        statements: impl IntoIterator<Item = &'s String>,
    ) -> Result<Duration> {
        let all: Vec<&str> = statements.into_iter().map(String::as_str).collect();
        self.patiently(|| connection.execute_batch("BEGIN IMMEDIATE"))?;
        let began = Instant::now();
        let done = connection.execute_batch(&all.join(";\n")).and_then(|()| connection.execute_batch("COMMIT"));
        if done.is_err() {
            let _ = connection.execute_batch("ROLLBACK");
        }
        done.map_err(|error| self.told(error))?;
        Ok(began.elapsed())
    }

    /// Tries again while the legacy's writers hold the file, for some seconds.
    fn patiently<T>(&self, mut work: impl FnMut() -> rusqlite::Result<T>) -> Result<T> {
        for _ in 0..10 {
            match work() {
                Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => {}
                other => return other.map_err(|error| self.told(error)),
            }
        }
        work().map_err(|error| self.told(error))
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

    /// A connection that never makes a checkpoint: that work stays where and when the legacy does it.
    fn writable(&self) -> Result<Connection> {
        writable(&self.path).map_err(|error| self.told(error))
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
        Ok(Some(Position { incarnation, at: number.unsigned_abs(), count: 0, mark: mark.unwrap_or_default() }))
    }

    /// Sees that every computed column can be computed for every row: a trigger will read the old value too.
    fn readable(&self, connection: &Connection, schema: &Schema) -> Result<()> {
        for table in &self.mapping.tables {
            let Some(found) = schema.table(&table.name) else { continue };
            for column in table.columns.iter().filter(|column| column.generated) {
                let sql =
                    format!("SELECT count(*) FROM {} WHERE typeof({}) = ''", quote(&found.name), quote(&column.name));
                connection.query_row(&sql, [], |_| Ok(())).map_err(|error| {
                    Error::refused(format!(
                        "column '{}' of table '{}' cannot be computed for every row",
                        column.name, table.name
                    ))
                    .hint("mend those rows: their updates would fail with a trigger that reads the column")
                    .because(error)
                })?;
            }
        }
        Ok(())
    }
}

/// Deletes up to `?2` changes, oldest first, that lie before `?1`.
fn trim_statement(changes: &str) -> String {
    let changes = quote(changes);
    format!(
        "DELETE FROM {changes} WHERE number IN (SELECT number FROM {changes} WHERE number < ?1 ORDER BY number LIMIT ?2)"
    )
}

fn writable(path: &Path) -> rusqlite::Result<Connection> {
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

/// The SQLite that last wrote the file's first page, by its header.
fn last_writer(path: &Path) -> Result<Option<u32>> {
    use std::io::Read;
    let mut header = [0; 100];
    let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut header));
    read.map_err(|error| Error::connect(format!("'{}' cannot be read", path.display())).because(error))?;
    let version = u32::from_be_bytes([header[96], header[97], header[98], header[99]]);
    Ok((version > 0).then_some(version))
}

fn dotted(version: u32) -> String {
    format!("{}.{}.{}", version / 1_000_000, version / 1000 % 1000, version % 1000)
}

impl ChangeSource for SqliteOutbox {
    fn kind(&self) -> &'static str {
        "sqlite"
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
