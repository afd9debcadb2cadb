//! Making an outbox and taking it away, without holding up the legacy's writers.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::SqliteOutbox;
use super::ddl::{Form, Statement, drop_statement};
use crate::base::words::counted;
use crate::base::{Error, Result};
use crate::mapping::init::Schema;
use crate::port::boundary::boundary;
use crate::port::change_source::{Capture, Installation, Step};
use crate::port::progress::Progress;
use crate::sqlite::error::open_read_only;
use crate::sqlite::gate::Gate;
use crate::sqlite::introspect;
use crate::sqlite::plan::quote;

/// Changes taken away in one transaction: so many at first and at least, and as many as keep the gate closed for this long.
const SLAB: (u64, Duration) = (250, Duration::from_millis(10));

/// The oldest SQLite the triggers were tried on. The file tells which one wrote to it last.
const OLDEST: u32 = 3_040_000;

impl Capture for SqliteOutbox {
    fn plan(&self) -> Result<Installation> {
        let connection = self.wal()?;
        let schema = introspect::schema(&connection).map_err(|error| self.told(error))?;
        let found = self.objects(&connection).map_err(|error| self.told(error))?;
        let there = match found.is_empty() {
            true => None,
            false => Some(self.looked_at(&connection, &schema, &found)?),
        };
        let there = there.filter(|(_, trouble)| trouble.is_none()).map(|(form, _)| form);
        let wanted = self.wanted(&connection, &schema, there);
        let whole = there == Some(wanted);
        let make = self.expected(&connection, &schema, wanted)?;
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
        let Form::Ring { keeps } = wanted else {
            return Err(Error::failed("an outbox of the first form is made no more"));
        };
        notes.push(match there {
            Some(form) => self.outlasts(&connection, form)?,
            None => format!(
                "the outbox keeps the newest {}, with or without a follow; one that was away for longer begins with a \
                 reconcile",
                counted(keeps, "change")
            ),
        });
        let meta = quote(&self.names.meta());
        let mut steps: Vec<Step> = Vec::new();
        let says = |sql: String| Step { sql, back: drop_statement("table", &self.names.meta()) };
        let mut remove = self.removal(&connection)?;
        if let Some(there) = there {
            notes.push("what the outbox has recorded stays: no change is lost, and none is told twice".to_owned());
            remove.retain(|statement| statement.starts_with("DROP TRIGGER"));
            if there == Form::Growing {
                let changes = self.names.changes();
                let back = drop_statement("table", &changes);
                steps.push(Step { sql: format!("ALTER TABLE {} ADD COLUMN token", quote(&changes)), back });
                steps.push(says(format!("INSERT INTO {meta} VALUES ('epoch', 1)")));
            }
            steps.push(says(format!("DELETE FROM {meta} WHERE key IN ('format', 'keeps')")));
            steps.extend(make.iter().filter(|statement| statement.kind == "trigger").map(Statement::step));
        } else {
            steps.extend(make.iter().map(Statement::step));
            steps.push(says(format!("INSERT INTO {meta} VALUES ('epoch', 1)")));
        }
        steps.push(says(format!("INSERT INTO {meta} VALUES ('format', {}), ('keeps', {keeps})", wanted.number())));
        Ok(Installation { remove, make: steps, whole, keeps: there.is_some(), notes })
    }

    /// In one transaction.
    fn install(&self, planned: &Installation, incarnation: &str, _: &dyn Progress) -> Result<Duration> {
        let made = planned.make.iter().map(|statement| &statement.sql);
        let mut gate = self.gate()?;
        if planned.keeps {
            let held = at_once(&mut gate, planned.remove.iter().chain(made))?;
            boundary("follow.installed");
            return Ok(held);
        }
        let removal = self.planned_removal()?;
        self.remove_through(&mut gate, &removal)?;
        let meta = quote(&self.names.meta());
        let changes = quote(&self.names.changes());
        let start = [
            format!("INSERT INTO {meta} VALUES ('incarnation', '{incarnation}')"),
            format!(
                "INSERT INTO {changes} (number, made, tab, op, token) VALUES (1, julianday('now'), 0, 's', random())"
            ),
        ];
        let held = at_once(&mut gate, made.chain(&start))?;
        boundary("follow.installed");
        Ok(held)
    }

    /// In the only order that never lets a write of the legacy fail: triggers first.
    fn planned_removal(&self) -> Result<Vec<String>> {
        self.removal(&open_read_only(&self.path)?)
    }

    fn remove(&self) -> Result<()> {
        let statements = self.planned_removal()?;
        if statements.is_empty() {
            return Ok(());
        }
        self.remove_through(&mut self.gate()?, &statements)
    }
}

/// Runs statements in one transaction; gives how long it kept the legacy's programs waiting.
fn at_once<'s>(gate: &mut Gate, statements: impl IntoIterator<Item = &'s String>) -> Result<Duration> {
    let all: Vec<&str> = statements.into_iter().map(String::as_str).collect();
    if all.is_empty() {
        return Ok(Duration::ZERO);
    }
    let all = all.join(";\n");
    Ok(gate.pass(|connection| connection.execute_batch(&all))?.1)
}

impl SqliteOutbox {
    fn removal(&self, connection: &Connection) -> Result<Vec<String>> {
        let mut found = self.objects(connection).map_err(|error| self.told(error))?;
        found.sort_by_key(|object| object.kind != "trigger");
        Ok(found.iter().map(|object| drop_statement(&object.kind, &object.name)).collect())
    }

    fn gate(&self) -> Result<Gate> {
        Gate::open(&self.path, self.patience.clone())
    }

    /// Changes that were kept go in slabs, for dropping a large table takes long.
    fn remove_through(&self, gate: &mut Gate, statements: &[String]) -> Result<()> {
        let (triggers, tables): (Vec<&String>, Vec<&String>) =
            statements.iter().partition(|statement| statement.starts_with("DROP TRIGGER"));
        at_once(gate, triggers)?;
        boundary("follow.triggers-gone");
        let changes = self.names.changes();
        if !tables.iter().any(|statement| **statement == drop_statement("table", &changes)) {
            return at_once(gate, tables).map(|_| ());
        }
        let changes = quote(&changes);
        let delete = format!("DELETE FROM {changes} WHERE number < (SELECT min(number) FROM {changes}) + ?1");
        let left = format!("SELECT EXISTS (SELECT 1 FROM {changes})");
        let drop = tables.into_iter().map(String::as_str).collect::<Vec<_>>().join(";\n");
        let mut rows = SLAB.0;
        loop {
            let (left, held) = gate.pass(|connection| {
                connection.execute(&delete, [rows as i64])?;
                let left: bool = connection.query_row(&left, [], |row| row.get(0))?;
                if !left {
                    connection.execute_batch(&drop)?;
                }
                Ok(left)
            })?;
            if !left {
                return Ok(());
            }
            rows = if held < SLAB.1 { rows * 2 } else { SLAB.0.max(rows / 2) };
        }
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
    let read = std::fs::File::open(path).and_then(|mut file| {
        let read = file.read_exact(&mut header);
        // Closing it would take away the locks by which others see that this process has the file open.
        std::mem::forget(file);
        read
    });
    read.map_err(|error| Error::connect(format!("'{}' cannot be read", path.display())).because(error))?;
    let version = u32::from_be_bytes([header[96], header[97], header[98], header[99]]);
    Ok((version > 0).then_some(version))
}

fn dotted(version: u32) -> String {
    format!("{}.{}.{}", version / 1_000_000, version / 1000 % 1000, version % 1000)
}
