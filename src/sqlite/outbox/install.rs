//! Making an outbox and taking it away, without holding up the legacy's writers.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::ddl::{Statement, drop_statement};
use super::{BREATH, SqliteOutbox, TRIM, trim_statement};
use crate::base::{Error, Result};
use crate::mapping::init::Schema;
use crate::port::boundary::boundary;
use crate::port::change_source::{Capture, Installation};
use crate::port::progress::Progress;
use crate::sqlite::error::open_read_only;
use crate::sqlite::introspect;
use crate::sqlite::plan::quote;

/// The oldest SQLite the triggers were tried on. The file tells which one wrote to it last.
const OLDEST: u32 = 3_040_000;

impl Capture for SqliteOutbox {
    fn plan(&self) -> Result<Installation> {
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
        let make = make.iter().map(Statement::step).collect();
        Ok(Installation { remove: self.removal(&connection)?, make, whole, notes })
    }

    /// In one transaction.
    fn install(&self, planned: &Installation, incarnation: &str, _: &dyn Progress) -> Result<Duration> {
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

    /// In the only order that never lets a write of the legacy fail: triggers first.
    fn planned_removal(&self) -> Result<Vec<String>> {
        self.removal(&open_read_only(&self.path)?)
    }

    /// Changes that were kept go in short transactions, for dropping a large table takes long.
    fn remove(&self) -> Result<()> {
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
            while self.patiently(|| trim(&connection))? > 0 {
                std::thread::sleep(BREATH);
            }
        }
        self.at_once(&connection, tables)?;
        Ok(())
    }
}

impl SqliteOutbox {
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
