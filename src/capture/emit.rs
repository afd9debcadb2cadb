//! One row change into the log: the mapping's rules, the encoding, the size limit, or quarantine.

use std::collections::BTreeMap;

use crate::base::{Error, Result};
use crate::event::codec::Codec;
use crate::event::encode::{Encoder, RowChange};
use crate::event::{Op, Stamp};
use crate::mapping::{Mapping, Row, Table};
use crate::port::claims;
use crate::port::event_log::{EventLog, LogWriter, Record};
use crate::scan::{Screen, mask};

/// A row that may not become an event.
#[derive(Debug)]
pub struct Rejected<'a> {
    pub table: &'a Table,
    pub row: Row<'a>,
    pub reason: String,
    /// A credential is why.
    pub credential: bool,
}

/// Why a change may not become an event.
pub struct Refusal {
    pub reason: String,
    pub credential: bool,
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self { reason, credential: false }
    }
}

/// Why a row without a usable key is rejected.
pub(super) const NO_KEY: &str = "its key is null or a blob, and no event can have such a key";

/// Takes rejected rows when the operator asked for quarantine.
pub type Quarantined<'a> = dyn FnMut(&Rejected<'_>) -> Result<()> + Send + 'a;

/// Writes row changes of all tables of a mapping.
pub struct Emitter<'a> {
    mapping: &'a Mapping,
    screen: Option<&'a Screen>,
    encoders: Vec<Encoder<'a>>,
    limits: BTreeMap<&'a str, usize>,
    pub timestamp: i64,
}

impl<'a> Emitter<'a> {
    /// `store` names the legacy store in ids; the stamp's source adds the capture. Every writer of row events begins here, so
    /// this is where topics of another migration are refused.
    pub fn new(
        log: &dyn EventLog,
        mapping: &'a Mapping,
        codec: &'a dyn Codec,
        (migration, store): (&str, &str),
        stamp: &Stamp,
        screen: Option<&'a Screen>,
    ) -> Result<Self> {
        claims::require(log, mapping, migration)?;
        let mut limits = BTreeMap::new();
        for table in &mapping.tables {
            if !limits.contains_key(table.topic.as_str()) {
                limits.insert(table.topic.as_str(), log.max_record_bytes(&table.topic)?);
            }
        }
        let encoders = mapping.tables.iter().map(|table| Encoder::new(table, codec, migration, store, stamp.clone()));
        Ok(Self { mapping, screen, encoders: encoders.collect(), limits, timestamp: 0 })
    }

    /// Appends the event of one change; `Ok(Err(reason))` when the row may not become one.
    pub fn append(
        &mut self,
        writer: &mut dyn LogWriter,
        table: usize,
        change: RowChange<'_>,
    ) -> Result<std::result::Result<(), Refusal>> {
        self.append_as(writer, table, change, (None, None))
    }

    /// As `append`; under another type than the mapping's it is one of the tool's own events, and no rule binds it. `key` is
    /// the record's where the row does not tell it.
    pub fn append_as(
        &mut self,
        writer: &mut dyn LogWriter,
        table: usize,
        change: RowChange<'_>,
        (own, key): (Option<&'static str>, Option<&[u8]>),
    ) -> Result<std::result::Result<(), Refusal>> {
        let mapped = &self.mapping.tables[table];
        if change.op != Op::Delete
            && own.is_none()
            && let Some(broken) = mapped.broken(change.row)
        {
            return Ok(Err(broken.to_string().into()));
        }
        if let Some(reason) = self.screen.and_then(|screen| screen.refusal(mapped, change.row)) {
            return Ok(Err(Refusal { reason, credential: true }));
        }
        let redacted = self.screen.map(|screen| screen.redacted_columns(mapped, change.row)).unwrap_or_default();
        let Ok(event) = self.encoders[table].encode_as(change, own, &redacted) else {
            return Ok(Err(NO_KEY.to_owned().into()));
        };
        let (size, limit) = (event.size(), self.limits[mapped.topic.as_str()]);
        if size > limit {
            return Ok(Err(format!(
                "its event has {size} bytes, and topic '{}' takes at most {limit} (max.message.bytes)",
                mapped.topic
            )
            .into()));
        }
        writer.append(&Record {
            topic: &mapped.topic,
            partition: None,
            key: key.unwrap_or(event.key),
            value: event.value,
            headers: event.headers(),
            timestamp: self.timestamp,
        })?;
        Ok(Ok(()))
    }
}

/// Why a table is not copied by an identity that two of its rows have.
pub(super) fn twice(table: &Table, row: Row<'_>) -> Error {
    let identity = mask(&table.identity_text(row)).into_owned();
    Error::refused(format!("two rows of table '{}' have the identity {identity}: only one of them would be copied", table.name))
        .hint(
            "name columns under 'identity' that no two rows share, or in SQLite the row number under 'rowid' in their place; then \
             crossfade replay --recopy",
        )
}

/// Hands a rejected row to quarantine, or stops with an error that names it.
pub(super) fn reject(
    table: &Table,
    row: Row<'_>,
    refusal: Refusal,
    quarantine: Option<&mut Quarantined<'_>>,
) -> Result<()> {
    let Refusal { reason, credential } = refusal;
    match quarantine {
        Some(quarantine) => quarantine(&Rejected { table, row, reason, credential }),
        None => {
            let identity = table.identity_text(row);
            let message = format!("table '{}', row {}: {reason}", table.name, mask(&identity));
            if credential {
                return Err(Error::refused(message).hint(
                    "take it out of the row, answer for it under 'scan.ignore', redact it with 'scan: {mode: redact}', or go on \
                     without such rows: --quarantine FILE",
                ));
            }
            Err(Error::row(message).hint("correct the row or the rule, or go on without such rows: --quarantine FILE"))
        }
    }
}
