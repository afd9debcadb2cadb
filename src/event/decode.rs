//! Events back into rows: the value read strictly, older versions brought up to date first.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Op;
use super::encode::VERSION;
use crate::base::{Error, Result};
use crate::mapping::{Mapping, Rows, Table, Value};

/// What an event says of a row; the row itself lies in the [`Rows`] given to [`Decoder::decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowEvent {
    pub table: usize,
    pub op: Op,
}

/// Reads row events of a mapping.
#[derive(Debug)]
pub struct Decoder<'m> {
    mapping: &'m Mapping,
    fields: Rows,
    found: Vec<Option<usize>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEvent<'a> {
    #[serde(borrow)]
    table: Cow<'a, str>,
    #[serde(borrow)]
    op: Cow<'a, str>,
    v: u32,
    #[serde(borrow)]
    row: &'a RawValue,
    #[serde(borrow, default)]
    #[expect(dead_code, reason = "the image before is for consumers; a fold does not need it")]
    before: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Version {
    v: u32,
}

impl<'m> Decoder<'m> {
    pub fn new(mapping: &'m Mapping) -> Self {
        Self { mapping, fields: Rows::new(1), found: Vec::new() }
    }

    /// Reads one value and appends its row to `tables[event.table]`, in the layout of that table. A delete has its
    /// identity cells and null elsewhere. `key` is the record's key, from which a key taken through a parent is read back.
    ///
    /// Refuses a version newer than this tool, an unknown table, a missing or unknown column; then nothing is appended.
    pub fn decode(&mut self, value: &[u8], key: &[u8], tables: &mut [Rows]) -> Result<RowEvent> {
        let first = match self.read(value, key, tables) {
            Ok(event) => return Ok(event),
            Err(error) => error,
        };
        let version = serde_json::from_slice::<Version>(value).map_or(VERSION, |version| version.v);
        if version > VERSION {
            let message = format!("an event has version {version}; this tool reads up to version {VERSION}");
            return Err(Error::refused(message).hint("use the tool version that wrote it, or a newer one"));
        }
        if version < VERSION {
            return self.read(&super::upcast::upcast(value, version)?, key, tables);
        }
        Err(first)
    }

    /// One empty chunk for each table, to decode into.
    pub fn chunks(&self) -> Vec<Rows> {
        self.mapping.tables.iter().map(|table| Rows::new(table.width())).collect()
    }

    fn read(&mut self, value: &[u8], key: &[u8], tables: &mut [Rows]) -> Result<RowEvent> {
        let raw: RawEvent<'_> = serde_json::from_slice(value)
            .map_err(|error| Error::corrupt("an event's value cannot be read").because(error))?;
        if raw.v != VERSION {
            return Err(Error::corrupt(format!("an event has version {}", raw.v)));
        }
        let Some(op) = Op::parse(&raw.op) else {
            return Err(Error::corrupt(format!("an event has the unknown operation '{}'", raw.op)));
        };
        let Some(table) = self.mapping.table(&raw.table) else {
            return Err(Error::stale(format!(
                "an event speaks of table '{}', which the mapping does not know",
                raw.table
            )));
        };
        self.row(table, op, raw.row.get(), key, &mut tables[table.index])?;
        Ok(RowEvent { table: table.index, op })
    }

    /// Reads a row image and appends it to `rows`; on an error nothing is appended.
    pub fn row(&mut self, table: &Table, op: Op, json: &str, key: &[u8], rows: &mut Rows) -> Result<()> {
        self.fields.reset(1);
        self.found.clear();
        self.found.resize(table.field_count(), None);
        let seed = RowSeed { table, fields: &mut self.fields, found: &mut self.found };
        seed.deserialize(&mut serde_json::Deserializer::from_str(json)).map_err(|error| {
            Error::corrupt(format!("a row image of table '{}' cannot be read", table.name)).because(error)
        })?;
        let needed = |cell: &usize| op != Op::Delete || table.identity.contains(cell);
        if let Some(cell) = (0..self.found.len()).find(|cell| self.found[*cell].is_none() && needed(cell)) {
            let field = table.fields().nth(cell).unwrap_or_default();
            return Err(Error::corrupt(format!("an event of table '{}' lacks the column '{field}'", table.name)));
        }
        for found in &self.found {
            rows.push(found.map_or(Value::Null, |at| self.fields.row(at).get(0)));
        }
        if table.key_cell().is_some() {
            rows.push(Value::Text(key));
        }
        Ok(())
    }
}

/// Reads one text in its event form.
pub fn text(json: &str) -> Result<Vec<u8>> {
    let mut cell = Rows::new(1);
    CellSeed(&mut cell)
        .deserialize(&mut serde_json::Deserializer::from_str(json))
        .map_err(|error| Error::corrupt("a text in event form cannot be read").because(error))?;
    match cell.row(0).get(0) {
        Value::Text(text) => Ok(text.to_vec()),
        other => Err(Error::corrupt(format!("a text was expected where a {} stands", other.class()))),
    }
}

struct RowSeed<'a> {
    table: &'a Table,
    fields: &'a mut Rows,
    found: &'a mut Vec<Option<usize>>,
}

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let mut expected = 0;
        while let Some(cell) = map.next_key_seed(FieldSeed { table: self.table, expected })? {
            if self.found[cell].is_some() {
                return Err(A::Error::custom(format!("column {cell} is given twice")));
            }
            self.found[cell] = Some(self.fields.len());
            map.next_value_seed(CellSeed(self.fields))?;
            expected = cell + 1;
        }
        Ok(())
    }
}

/// Finds a field's cell; rows are written in order, so the next one is tried first.
struct FieldSeed<'a> {
    table: &'a Table,
    expected: usize,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<usize, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for FieldSeed<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a column of table '{}'", self.table.name)
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> std::result::Result<usize, E> {
        if self.table.columns.get(self.expected).is_some_and(|column| column.name == name) {
            return Ok(self.expected);
        }
        let unknown = || E::custom(format!("column '{name}' is not in the mapping of table '{}'", self.table.name));
        self.table.fields().position(|field| field == name).ok_or_else(unknown)
    }
}

struct CellSeed<'a>(&'a mut Rows);

impl<'de> DeserializeSeed<'de> for CellSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CellSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value: null, number, string, or an object with $blob, $text or $real")
    }

    fn visit_unit<E>(self) -> std::result::Result<(), E> {
        self.0.push(Value::Null);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> std::result::Result<(), E> {
        self.0.push(Value::Integer(number));
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> std::result::Result<(), E> {
        let number = i64::try_from(number).map_err(|_| E::custom(format!("{number} is no 64-bit integer")))?;
        self.visit_i64(number)
    }

    fn visit_f64<E>(self, number: f64) -> std::result::Result<(), E> {
        self.0.push(Value::Real(number));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<(), E> {
        self.0.push(Value::text(text));
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        let entry: Option<(Cow<'_, str>, Cow<'_, str>)> = map.next_entry()?;
        let (tag, text) = entry.ok_or_else(|| A::Error::custom("an empty object is no value"))?;
        let bytes = |text: &str| BASE64.decode(text).map_err(|error| A::Error::custom(format!("{tag}: {error}")));
        match (tag.as_ref(), text.as_ref()) {
            ("$blob", text) => self.0.push(Value::Blob(&bytes(text)?)),
            ("$text", text) => self.0.push(Value::Text(&bytes(text)?)),
            ("$real", "Infinity") => self.0.push(Value::Real(f64::INFINITY)),
            ("$real", "-Infinity") => self.0.push(Value::Real(f64::NEG_INFINITY)),
            ("$real", "NaN") => self.0.push(Value::Real(f64::NAN)),
            _ => return Err(A::Error::custom(format!("'{tag}' is no tagged form of a value"))),
        }
        match map.next_key::<Cow<'_, str>>()? {
            Some(extra) => Err(A::Error::custom(format!("'{extra}' beside '{tag}'"))),
            None => Ok(()),
        }
    }
}
