//! Rows into events, into one reused buffer.

use super::codec::{self, Codec};
use super::envelope::REDACTED;
use super::id::Ids;
use super::{Op, Sequence, Stamp, time};
use crate::mapping::{KeyText, Row, Table, Value};

/// Makes the events of one table.
pub struct Encoder<'m> {
    table: &'m Table,
    codec: &'m dyn Codec,
    ids: Ids,
    stamp: Stamp,
    key: KeyText,
    /// `{"v":1,"table":"…","op":"`
    opening: Vec<u8>,
    /// `"column":` of each field.
    names: Vec<Vec<u8>>,
    value: Vec<u8>,
    id: [u8; uuid::fmt::Hyphenated::LENGTH],
    sequence: Vec<u8>,
    time: Vec<u8>,
    redacted: Vec<u8>,
}

/// The newest value form.
pub const VERSION: u32 = 1;

/// One change to be made an event of.
#[derive(Clone, Copy, Debug)]
pub struct RowChange<'a> {
    pub op: Op,
    /// The whole image; of a delete the last known one, whose identity is written.
    pub row: Row<'a>,
    pub before: Option<Row<'a>>,
    /// Names the change at its source: see [`super::id::base_change`] and [`super::id::reconcile_change`].
    pub change: &'a [u8],
    pub count: u64,
}

/// An encoded event; all borrows are of the [`Encoder`].
#[derive(Clone, Debug)]
pub struct Encoded<'a> {
    pub key: &'a [u8],
    pub value: &'a [u8],
    pub id: [u8; 16],
    headers: [(&'a str, &'a [u8]); 7],
    header_count: usize,
}

impl<'a> Encoded<'a> {
    pub fn headers(&self) -> &[(&'a str, &'a [u8])] {
        &self.headers[..self.header_count]
    }

    /// Bytes of key, value and headers.
    pub fn size(&self) -> usize {
        let headers: usize = self.headers().iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.len() + self.value.len() + headers
    }
}

/// Why a row may not become an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoKey;

impl<'m> Encoder<'m> {
    /// `store` names the legacy store in ids: `acc/sqlite`.
    pub fn new(table: &'m Table, codec: &'m dyn Codec, migration: &str, store: &str, stamp: Stamp) -> Self {
        let mut opening = format!("{{\"v\":{VERSION},\"table\":").into_bytes();
        codec::string(&table.name, &mut opening);
        opening.extend_from_slice(b",\"op\":\"");
        let names = table.fields().map(|field| {
            let mut name = Vec::new();
            codec::string(field, &mut name);
            name.push(b':');
            name
        });
        Self {
            table,
            codec,
            ids: Ids::new(migration, store, &table.name),
            stamp,
            key: KeyText::default(),
            opening,
            names: names.collect(),
            value: Vec::new(),
            id: [0; uuid::fmt::Hyphenated::LENGTH],
            sequence: Vec::new(),
            time: Vec::new(),
            redacted: Vec::new(),
        }
    }

    /// Makes the event of one change; a row whose key is null or a blob has none. `redacted` names the columns that
    /// something was taken out of.
    pub fn encode(&mut self, change: RowChange<'_>, redacted: &[&str]) -> Result<Encoded<'_>, NoKey> {
        self.encode_as(change, None, redacted)
    }

    /// As `encode`, under one of the tool's own types, whose ids are their own too.
    pub fn encode_as(
        &mut self,
        change: RowChange<'_>,
        own: Option<&'static str>,
        redacted: &[&str],
    ) -> Result<Encoded<'_>, NoKey> {
        let identity = |cell: &usize| matches!(change.row.get(*cell), Value::Null | Value::Blob(_));
        if self.table.identity.iter().any(identity) {
            return Err(NoKey);
        }
        let id = self.ids.id(self.table, change.row, own.unwrap_or(change.op.word()), change.change);
        self.write_value(change);
        uuid::Uuid::from_bytes(id).as_hyphenated().encode_lower(&mut self.id);
        Sequence { generation: self.stamp.generation, count: change.count }.write(&mut self.sequence);
        let timed = match self.table.time.map(|cell| change.row.get(cell)) {
            Some(Value::Text(stored)) => time::write(stored, &mut self.time),
            _ => false,
        };
        let table: &'m Table = self.table;
        let event_type = match (change.op, change.before) {
            _ if own.is_some() => own.unwrap_or_default(),
            (Op::Base | Op::Insert, _) => table.events.insert.as_str(),
            (Op::Delete, _) => table.events.delete.as_str(),
            (Op::Update, None) => table.events.update.as_str(),
            (Op::Update, Some(before)) => table.update_type(&changed(table, change.row, before)),
        };
        let key = self.key.write(table, change.row).ok_or(NoKey)?;
        write_names(redacted, &mut self.redacted);
        let mut headers: [(&str, &[u8]); 7] = [
            ("ce_specversion", b"1.0"),
            ("ce_id", &self.id),
            ("ce_source", self.stamp.source.as_bytes()),
            ("ce_type", event_type.as_bytes()),
            ("ce_sequence", &self.sequence),
            ("", b""),
            ("", b""),
        ];
        let mut header_count = 5;
        if timed {
            headers[5] = ("ce_time", &self.time);
            header_count = 6;
        }
        if !redacted.is_empty() {
            headers[header_count] = (REDACTED, &self.redacted);
            header_count += 1;
        }
        Ok(Encoded { key, value: &self.value, id, headers, header_count })
    }

    fn write_value(&mut self, change: RowChange<'_>) {
        self.value.clear();
        self.value.extend_from_slice(&self.opening);
        self.value.extend_from_slice(change.op.word().as_bytes());
        self.value.extend_from_slice(b"\",\"row\":");
        self.write_row(change.row, change.op == Op::Delete);
        if let Some(before) = change.before {
            self.value.extend_from_slice(b",\"before\":");
            self.write_row(before, false);
        }
        self.value.push(b'}');
    }

    fn write_row(&mut self, row: Row<'_>, identity_only: bool) {
        self.value.push(b'{');
        let mut first = true;
        for (cell, name) in self.names.iter().enumerate() {
            if identity_only && !self.table.identity.contains(&cell) {
                continue;
            }
            if !first {
                self.value.push(b',');
            }
            first = false;
            self.value.extend_from_slice(name);
            self.codec.write(row.get(cell), &mut self.value);
        }
        self.value.push(b'}');
    }
}

/// A JSON array of names.
fn write_names(names: &[&str], out: &mut Vec<u8>) {
    out.clear();
    for name in names {
        out.push(if out.is_empty() { b'[' } else { b',' });
        codec::string(name, out);
    }
    out.push(b']');
}

/// Cells of the fields that differ between two images of a row.
pub fn changed(table: &Table, row: Row<'_>, before: Row<'_>) -> Vec<usize> {
    (0..table.columns.len()).filter(|cell| row.get(*cell) != before.get(*cell)).collect()
}

/// Bytes a base copy's event of this row needs at least: its value and key, for telling rows no topic takes.
pub fn size(table: &Table, row: Row<'_>) -> usize {
    let stamp = Stamp { source: String::new(), generation: 1 };
    let mut encoder = Encoder::new(table, &codec::Exact, "", "", stamp);
    encoder
        .encode(RowChange { op: Op::Base, row, before: None, change: b"", count: 1 }, &[])
        .map_or(usize::MAX, |event| event.size())
}
