//! Generated rows in a SQLite file.

use std::path::Path;

use crossfade::demo::{self, Sizes};
use crossfade::mapping::Value;
use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, ValueRef};

/// Makes a store of generated rows at `path`, in WAL mode like the application's.
pub fn build_store(path: &Path, sizes: Sizes) {
    let mut store = Connection::open(path).unwrap();
    store.pragma_update(None, "journal_mode", "WAL").unwrap();
    store.pragma_update(None, "synchronous", "OFF").unwrap();
    store.execute_batch(demo::schema()).unwrap();
    // The script turned them on, and some rows are orphans.
    store.pragma_update(None, "foreign_keys", "OFF").unwrap();
    let transaction = store.transaction().unwrap();
    demo::rows(sizes, &mut |table, columns, rows| {
        let sql = insert(table, columns);
        let mut statement = transaction.prepare(&sql).unwrap();
        for row in rows.iter() {
            statement
                .execute(rusqlite::params_from_iter(row.values().map(bound)))
                .unwrap_or_else(|error| panic!("{table}: {error}"));
        }
        Ok(())
    })
    .unwrap();
    transaction.commit().unwrap();
}

fn insert(table: &str, columns: &[&str]) -> String {
    let marks = vec!["?"; columns.len()].join(", ");
    format!("INSERT INTO {table} ({}) VALUES ({marks})", columns.join(", "))
}

fn bound(value: Value<'_>) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match value {
        Value::Null => ValueRef::Null,
        Value::Integer(number) => ValueRef::Integer(number),
        Value::Real(number) => ValueRef::Real(number),
        Value::Text(text) => ValueRef::Text(text),
        Value::Blob(bytes) => ValueRef::Blob(bytes),
    })
}
