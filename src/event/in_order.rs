//! The short way of decoding: members and columns in the order an encoder writes them, each met once, straight into the
//! chunk. Whatever else comes is left to the [`super::Decoder`], which also says what is wrong with it.

use std::fmt;
use std::str::from_utf8;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::decode::CellSeed;
use super::encode::VERSION;
use super::{Op, RowEvent};
use crate::mapping::{Mapping, Rows, Table, Value};

/// Reads a value and appends its row; `None` when that is not so simple, and then nothing is appended.
pub(super) fn event(mapping: &Mapping, value: &[u8], key: &[u8], tables: &mut [Rows]) -> Option<RowEvent> {
    let mut begun = None;
    let mut deserializer = serde_json::Deserializer::from_str(from_utf8(value).ok()?);
    let read = deserializer
        .deserialize_map(EventVisitor { mapping, tables, begun: &mut begun })
        .and_then(|event| deserializer.end().map(|()| event));
    match (read, begun) {
        (Ok(event), _) => {
            let table = &mapping.tables[event.table];
            if table.key_cell().is_some() {
                tables[event.table].push(Value::Text(key));
            }
            Some(event)
        }
        (Err(_), Some((table, cells))) => {
            undo(&mut tables[table], cells);
            None
        }
        (Err(_), None) => None,
    }
}

/// Reads a row image and appends it; `false` when that is not so simple, and then nothing is appended.
pub(super) fn row(table: &Table, op: Op, json: &str, key: &[u8], rows: &mut Rows) -> bool {
    if op == Op::Delete {
        return false;
    }
    let mut cells = 0;
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let seed = RowSeed { table, rows, cells: &mut cells };
    if seed.deserialize(&mut deserializer).and_then(|()| deserializer.end()).is_err() {
        undo(rows, cells);
        return false;
    }
    if table.key_cell().is_some() {
        rows.push(Value::Text(key));
    }
    true
}

/// Drops the cells of a row that was begun.
fn undo(rows: &mut Rows, cells: usize) {
    if cells > 0 {
        rows.pop_row();
    }
}

struct EventVisitor<'a, 'm> {
    mapping: &'m Mapping,
    tables: &'a mut [Rows],
    /// The table whose row was begun, and its cells so far.
    begun: &'a mut Option<(usize, usize)>,
}

impl<'de> Visitor<'de> for EventVisitor<'_, '_> {
    type Value = RowEvent;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event as it is usually written")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RowEvent, A::Error> {
        let other = || A::Error::custom("another order");
        if map.next_entry::<&str, u32>()? != Some(("v", VERSION)) {
            return Err(other());
        }
        let Some(("table", name)) = map.next_entry::<&str, &str>()? else { return Err(other()) };
        let Some(("op", op)) = map.next_entry::<&str, &str>()? else { return Err(other()) };
        let table = self.mapping.table(name).ok_or_else(other)?;
        let op = Op::parse(op).filter(|op| *op != Op::Delete).ok_or_else(other)?;
        if map.next_key::<&str>()? != Some("row") {
            return Err(other());
        }
        let (_, cells) = self.begun.insert((table.index, 0));
        map.next_value_seed(RowSeed { table, rows: &mut self.tables[table.index], cells })?;
        match map.next_entry::<&str, IgnoredAny>()? {
            None => {}
            Some(("before", _)) if map.next_key::<&str>()?.is_none() => {}
            Some(_) => return Err(other()),
        }
        Ok(RowEvent { table: table.index, op })
    }
}

struct RowSeed<'a> {
    table: &'a Table,
    rows: &'a mut Rows,
    cells: &'a mut usize,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row as it is usually written")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        for field in self.table.fields() {
            if !map.next_key_seed(NameSeed(field))?.unwrap_or(false) {
                return Err(A::Error::custom("another column"));
            }
            map.next_value_seed(CellSeed(self.rows))?;
            *self.cells += 1;
        }
        match map.next_key::<IgnoredAny>()? {
            None => Ok(()),
            Some(_) => Err(A::Error::custom("one column too many")),
        }
    }
}

/// Whether the next name is this one.
struct NameSeed<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a column's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}
