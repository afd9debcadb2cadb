//! Fold snapshots: one file of lines with a header, the rows in event form, and a sealed end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::LastEvent;
use crate::base::{Error, Result, hex};
use crate::event::codec::{self, Codec, Exact};
use crate::event::{Decoder, Op, decode, id};
use crate::mapping::{Row, Rows, Table};

/// The newest format; older ones are read, newer ones refused.
pub const VERSION: u32 = 1;

const FORMAT: &str = "crossfade fold snapshot";

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub format: String,
    pub version: u32,
    pub migration: String,
    pub mapping_hash: String,
    pub cluster: String,
    pub taken_at: String,
    /// (topic, partition, next offset), sorted.
    pub positions: Vec<(String, i32, i64)>,
    /// The ids of the topics the positions lie in; empty in a snapshot from before topics had ids.
    #[serde(default)]
    pub topics: BTreeMap<String, String>,
}

/// The last line: rows, their digest in any order (the 256-bit sum of the lines' BLAKE3 hashes), and the BLAKE3 of all
/// lines before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trailer {
    pub rows: u64,
    pub digest: String,
    pub hash: String,
}

impl Header {
    pub fn new(
        migration: &str,
        mapping_hash: &str,
        cluster: &str,
        taken_at: String,
        positions: Vec<(String, i32, i64)>,
    ) -> Self {
        let (migration, mapping_hash, cluster) = (migration.to_owned(), mapping_hash.to_owned(), cluster.to_owned());
        let (format, topics) = (FORMAT.to_owned(), BTreeMap::new());
        Self { format, version: VERSION, migration, mapping_hash, cluster, taken_at, positions, topics }
    }

    /// Reads a first line; `file` is its name in refusals.
    pub fn read(file: &str, line: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Probe {
            format: String,
            version: u32,
        }
        let no_snapshot = || Error::corrupt(format!("{file} is no fold snapshot"));
        let probe: Probe = serde_json::from_slice(line).map_err(|error| no_snapshot().because(error))?;
        if probe.format != FORMAT {
            return Err(no_snapshot());
        }
        if probe.version > VERSION {
            let message = format!("{file} has snapshot version {}; this tool reads up to {VERSION}", probe.version);
            return Err(Error::refused(message)
                .hint("use a newer crossfade, or rebuild from the log: crossfade project --rebuild"));
        }
        serde_json::from_slice(line).map_err(|error| no_snapshot().because(error))
    }
}

/// Seals lines as they are written or read.
#[derive(Debug, Default)]
pub struct Seal {
    hasher: blake3::Hasher,
    sum: [u64; 4],
    rows: u64,
}

impl Seal {
    /// Takes in the header line, without its line end.
    pub fn header(&mut self, line: &[u8]) {
        self.hasher.update(line).update(b"\n");
    }

    /// Takes in a row's line, without its line end.
    pub fn row(&mut self, line: &[u8]) {
        self.hasher.update(line).update(b"\n");
        self.rows += 1;
        let hash = blake3::hash(line);
        let mut carry = false;
        for (word, bytes) in self.sum.iter_mut().zip(hash.as_bytes().chunks_exact(8)) {
            let mut array = [0; 8];
            array.copy_from_slice(bytes);
            let (sum, first) = word.overflowing_add(u64::from_le_bytes(array));
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            *word = sum;
            carry = first || second;
        }
    }

    pub fn trailer(&self) -> Trailer {
        let digest: Vec<u8> = self.sum.iter().flat_map(|word| word.to_le_bytes()).collect();
        Trailer { rows: self.rows, digest: hex(&digest), hash: hex(self.hasher.finalize().as_bytes()) }
    }
}

/// Writes one row as a line, without its line end.
pub fn write_row(table: &Table, row: Row<'_>, last: &LastEvent, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(b"{\"table\":");
    codec::string(&table.name, out);
    let event = format!(",\"event\":[{},{},\"{}\",{}]", last.partition, last.offset, id::text(last.id), last.sequence);
    out.extend_from_slice(event.as_bytes());
    if let Some(cell) = table.key_cell() {
        out.extend_from_slice(b",\"key\":");
        Exact.write(row.get(cell), out);
    }
    out.extend_from_slice(b",\"row\":{");
    for (cell, field) in table.fields().enumerate() {
        if cell > 0 {
            out.push(b',');
        }
        codec::string(field, out);
        out.push(b':');
        Exact.write(row.get(cell), out);
    }
    out.extend_from_slice(b"}}");
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RowLine<'a> {
    table: String,
    event: (i32, i64, String, i64),
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    row: &'a RawValue,
}

/// Reads a row's line and appends the row to its table's chunk; says which table, and the row's last event.
pub fn read_row(
    tables: &[Table],
    decoder: &mut Decoder<'_>,
    line: &[u8],
    chunks: &mut [Rows],
) -> Result<(usize, LastEvent)> {
    let raw: RowLine<'_> = serde_json::from_slice(line)
        .map_err(|error| Error::corrupt("a snapshot's row cannot be read").because(error))?;
    let table = tables.iter().find(|table| table.name == raw.table).ok_or_else(|| {
        Error::stale(format!("a snapshot's row is of table '{}', which the mapping does not know", raw.table))
    })?;
    let (partition, offset, id, sequence) = raw.event;
    let id = uuid::Uuid::try_parse(&id)
        .map_err(|error| Error::corrupt("a snapshot's event id is no UUID").because(error))?;
    let key = raw.key.map(|key| decode::text(key.get())).transpose()?.unwrap_or_default();
    decoder.row(table, Op::Base, raw.row.get(), &key, &mut chunks[table.index])?;
    Ok((table.index, LastEvent { partition, offset, id: id.into_bytes(), sequence }))
}
