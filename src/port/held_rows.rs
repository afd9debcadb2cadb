//! A snapshot of rows that lie in memory, for stores that hand out whole documents.

use std::cmp::Ordering;
use std::sync::Arc;

use serde_json::Value as Json;

use super::legacy_source::{Cursor, Keep, Snapshot};
use crate::base::{Error, Result};
use crate::document::order_of;
use crate::mapping::{Mapping, Row, Rows, Table, Value};

/// Rows of every table of a mapping, each table's in the order of its identity.
pub struct HeldRows {
    mapping: Arc<Mapping>,
    tables: Vec<Rows>,
}

/// About this much is lent at once.
const CHUNK_BYTES: usize = 1 << 20;

impl HeldRows {
    pub fn new(mapping: Arc<Mapping>, tables: Vec<Rows>) -> Self {
        Self { mapping, tables }
    }
}

impl Snapshot for HeldRows {
    fn tables(&self) -> Result<Vec<String>> {
        Ok(self.mapping.tables.iter().map(|table| table.name.clone()).collect())
    }

    fn count(&mut self, table: &Table) -> Result<u64> {
        Ok(self.tables[table.index].len() as u64)
    }

    fn pick(&mut self, table: &Table, keep: Keep<'_>, each: &mut dyn FnMut(&Rows) -> Result<()>) -> Result<()> {
        let mut picked = Rows::new(table.width());
        for row in self.tables[table.index].iter() {
            let identity: Vec<Value<'_>> = table.identity.iter().map(|cell| row.get(*cell)).collect();
            if keep(&identity) {
                picked.push_row(row);
            }
            if picked.byte_len() >= CHUNK_BYTES {
                each(&picked)?;
                picked.reset(table.width());
            }
        }
        if picked.is_empty() { Ok(()) } else { each(&picked) }
    }

    fn read(&mut self, table: &Table, cursor: &mut Cursor, max_rows: usize, rows: &mut Rows) -> Result<()> {
        rows.reset(table.width());
        let held = &self.tables[table.index];
        let from = if cursor.0.is_empty() { 0 } else { behind(table, held, cursor)? };
        for number in from..held.len() {
            if rows.len() >= max_rows || rows.byte_len() >= CHUNK_BYTES {
                break;
            }
            rows.push_row(held.row(number));
            *cursor = Cursor(table.identity.iter().map(|cell| exact(held.row(number).get(*cell))).collect());
        }
        Ok(())
    }
}

/// The number of the first row behind the cursor.
fn behind(table: &Table, held: &Rows, cursor: &Cursor) -> Result<usize> {
    let mut key = Rows::new(table.identity.len());
    for value in &cursor.0 {
        match value {
            Json::Null => key.push(Value::Null),
            Json::String(text) => key.push(Value::text(text)),
            Json::Number(number) if number.is_i64() => key.push(Value::Integer(number.as_i64().unwrap_or_default())),
            Json::Number(number) => key.push(Value::Real(number.as_f64().unwrap_or_default())),
            _ => return Err(Error::corrupt("a cursor of documents cannot be read")),
        }
    }
    if key.len() != 1 {
        return Err(Error::corrupt("a cursor of documents has another number of columns"));
    }
    let key = key.row(0);
    let order = |row: Row<'_>| {
        let cells = table.identity.iter().enumerate();
        cells.map(|(at, cell)| order_of(row.get(*cell), key.get(at))).find(|order| order.is_ne())
    };
    let (mut low, mut high) = (0, held.len());
    while low < high {
        let middle = low + (high - low) / 2;
        match order(held.row(middle)).unwrap_or(Ordering::Equal) {
            Ordering::Greater => high = middle,
            _ => low = middle + 1,
        }
    }
    Ok(low)
}

/// Documents hold no blobs, and no text that is not UTF-8.
fn exact(value: Value<'_>) -> Json {
    match value {
        Value::Integer(number) => number.into(),
        Value::Real(number) => number.into(),
        Value::Text(text) => String::from_utf8_lossy(text).into(),
        Value::Null | Value::Blob(_) => Json::Null,
    }
}
