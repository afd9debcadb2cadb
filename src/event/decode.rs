//! Events back into rows: the value read strictly, older versions brought up to date first.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::encode::VERSION;
use super::{Op, in_order};
use crate::base::{Error, Result};
use crate::mapping::{Mapping, Rows, Table, Value};

/// What an event says of a row; the row itself lies in the [`Rows`] given to [`Decoder::decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowEvent {
    pub table: usize,
    pub op: Op,
}

/// Reads row events of a mapping.
///
/// What an [`super::Encoder`] wrote is read in one pass, straight into the chunk; anything else once more, by the column.
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
    v: u64,
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
        if let Some(event) = in_order::event(self.mapping, value, key, tables) {
            return Ok(event);
        }
        let first = match self.read(value, key, tables) {
            Ok(event) => return Ok(event),
            Err(error) => error,
        };
        let version = serde_json::from_slice::<Version>(value).map_or(u64::from(VERSION), |version| version.v);
        let Some(version) = u32::try_from(version).ok().filter(|version| *version <= VERSION) else {
            let message = format!("an event has version {version}; this tool reads up to version {VERSION}");
            return Err(Error::refused(message).hint("use the tool version that wrote it, or a newer one"));
        };
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
        if in_order::row(table, op, json, key, rows) {
            return Ok(());
        }
        let corrupt = || Error::corrupt(format!("a row image of table '{}' cannot be read", table.name));
        self.fields.reset(1);
        self.found.clear();
        self.found.resize(table.field_count(), None);
        let columns = ColumnsSeed { table, fields: &mut self.fields, found: &mut self.found };
        whole(json, columns).map_err(|error| corrupt().because(error))?;
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

/// Reads one value in its event form into the chunk.
pub fn value(json: &str, rows: &mut Rows) -> Result<()> {
    let corrupt = || Error::corrupt("a value in event form cannot be read");
    if json.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        rows.push(number(json).ok_or_else(corrupt)?);
        return Ok(());
    }
    whole(json, CellSeed(rows)).map_err(|error| corrupt().because(error))
}

/// Reads one text in its event form.
pub fn text(json: &str) -> Result<Vec<u8>> {
    let mut cell = Rows::new(1);
    whole(json, CellSeed(&mut cell))
        .map_err(|error| Error::corrupt("a text in event form cannot be read").because(error))?;
    match cell.row(0).get(0) {
        Value::Text(text) => Ok(text.to_vec()),
        other => Err(Error::corrupt(format!("a text was expected where a {} stands", other.class()))),
    }
}

fn whole<'de, S: DeserializeSeed<'de>>(json: &'de str, seed: S) -> serde_json::Result<S::Value> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end().map(|()| value)
}

/// Reads a row's columns in any order, and numbers by their text.
struct ColumnsSeed<'a> {
    table: &'a Table,
    fields: &'a mut Rows,
    found: &'a mut Vec<Option<usize>>,
}

impl<'de> DeserializeSeed<'de> for ColumnsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ColumnsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some((name, json)) = map.next_entry::<String, &RawValue>()? {
            let wrong = |what: &str| A::Error::custom(format!("column '{name}' {what}"));
            let cell = self.table.fields().position(|field| field == name);
            let cell = cell.ok_or_else(|| wrong("is not in the mapping"))?;
            if self.found[cell].is_some() {
                return Err(wrong("is given twice"));
            }
            self.found[cell] = Some(self.fields.len());
            let json = json.get();
            if json.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
                let number = number(json).ok_or_else(|| wrong(&format!("has a number of no 64 bits, {json}")))?;
                self.fields.push(number);
            } else {
                whole(json, CellSeed(self.fields)).map_err(|error| wrong(&format!("has no value: {error}")))?;
            }
        }
        Ok(())
    }
}

/// A JSON number by its text: one without point and exponent is an integer, and never rounded to a real. Negative zero
/// is a real, which cannot be said without a point.
fn number(json: &str) -> Option<Value<'static>> {
    if json == "-0" {
        None
    } else if json.contains(['.', 'e', 'E']) {
        json.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Real)
    } else {
        json.parse().ok().map(Value::Integer)
    }
}

pub(super) struct CellSeed<'a>(pub(super) &'a mut Rows);

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

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> std::result::Result<(), E> {
        // It may stand there as an integer, which the parser makes a real when it has more than 64 bits or is -0.
        if number.abs() >= 9e18 || (number == 0.0 && number.is_sign_negative()) {
            return Err(E::custom("this number must be read by its text"));
        }
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
        if let Some(extra) = map.next_key::<Cow<'_, str>>()? {
            return Err(A::Error::custom(format!("'{extra}' beside '{tag}'")));
        }
        // A cell is pushed last, so that after an error there is none.
        let bytes = |text: &str| BASE64.decode(text).map_err(|error| A::Error::custom(format!("{tag}: {error}")));
        match (tag.as_ref(), text.as_ref()) {
            ("$blob", text) => self.0.push(Value::Blob(&bytes(text)?)),
            ("$text", text) => self.0.push(Value::Text(&bytes(text)?)),
            ("$real", "Infinity") => self.0.push(Value::Real(f64::INFINITY)),
            ("$real", "-Infinity") => self.0.push(Value::Real(f64::NEG_INFINITY)),
            ("$real", "NaN") => self.0.push(Value::Real(f64::NAN)),
            _ => return Err(A::Error::custom(format!("'{tag}' is no tagged form of a value"))),
        }
        Ok(())
    }
}
