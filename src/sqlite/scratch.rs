//! SQLite files of our own making: generated legacy stores, and statements run on them.

use std::path::Path;

use rusqlite::{Connection, Statement};

use super::error::explain;
use super::functions::bind;
use super::plan::quote;
use crate::base::Result;
use crate::mapping::{Row, Rows};

/// Takes one chunk of rows: table, columns, rows.
pub type Load<'a> = &'a mut dyn FnMut(&str, &[&str], &Rows) -> Result<()>;

/// Makes a store at `path` in WAL mode: the schema script, then what `fill` hands to the loader, all in one transaction
/// with foreign keys off.
pub fn make(path: &Path, schema: &str, fill: impl FnOnce(Load<'_>) -> Result<()>) -> Result<()> {
    let failed = |error| explain(path, error);
    let mut connection = Connection::open(path).map_err(failed)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "NORMAL").map_err(failed)?;
    connection.execute_batch(schema).map_err(failed)?;
    connection.pragma_update(None, "foreign_keys", "OFF").map_err(failed)?;
    let transaction = connection.transaction().map_err(failed)?;
    fill(&mut |table, columns, rows| {
        let names: Vec<String> = columns.iter().map(|column| quote(column)).collect();
        let marks = vec!["?"; columns.len()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({marks})", quote(table), names.join(", "));
        let mut statement = transaction.prepare(&sql).map_err(failed)?;
        rows.iter().try_for_each(|row| insert(&mut statement, row)).map_err(failed)
    })?;
    transaction.commit().map_err(failed)
}

fn insert(statement: &mut Statement<'_>, row: Row<'_>) -> rusqlite::Result<()> {
    statement.execute(rusqlite::params_from_iter(row.values().map(bind))).map(|_| ())
}

/// Runs a script on a store, for what a demo does behind capture's back; says how many rows the last statement changed.
pub fn execute(path: &Path, sql: &str) -> Result<u64> {
    let failed = |error| explain(path, error);
    let connection = Connection::open(path).map_err(failed)?;
    connection.execute_batch(sql).map_err(failed)?;
    Ok(connection.changes())
}
