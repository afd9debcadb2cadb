//! The CloudEvents envelope in Kafka binary mode: attributes as headers, the row event as value.

use super::Sequence;
use crate::base::{Error, Result};
use crate::mapping::OWN_TYPES;

/// What an event did to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Copied by a replay; the change that made the row is not known.
    Base,
    Insert,
    Update,
    Delete,
}

impl Op {
    pub fn word(self) -> &'static str {
        match self {
            Op::Base => "base",
            Op::Insert => "insert",
            Op::Update => "update",
            Op::Delete => "delete",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Op::Base, Op::Insert, Op::Update, Op::Delete].into_iter().find(|op| op.word() == word)
    }
}

/// The attributes every event carries, as they are read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub id: [u8; 16],
    pub source: &'a str,
    pub event_type: &'a str,
    pub sequence: Sequence,
    /// The columns a credential was taken out of, as a JSON array of their names; empty where there are none.
    pub redacted: &'a str,
}

/// Names the columns that something was taken out of.
pub(super) const REDACTED: &str = "ce_redacted";

/// Where and when events of one run are made.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// Store and capture: `acc/sqlite#replay`.
    pub source: String,
    pub generation: u32,
}

/// The headers of a record that make an envelope, as they lie there.
#[derive(Default)]
struct Raw<'a> {
    version: Option<&'a [u8]>,
    id: Option<&'a [u8]>,
    source: Option<&'a [u8]>,
    event_type: Option<&'a [u8]>,
    sequence: Option<&'a [u8]>,
    redacted: &'a [u8],
}

impl<'a> Raw<'a> {
    fn of(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Self {
        let mut raw = Self::default();
        for (name, value) in headers {
            match name {
                b"ce_specversion" => raw.version = Some(value),
                b"ce_id" => raw.id = Some(value),
                b"ce_source" => raw.source = Some(value),
                b"ce_type" => raw.event_type = Some(value),
                b"ce_sequence" => raw.sequence = Some(value),
                b"ce_redacted" => raw.redacted = value,
                _ => {}
            }
        }
        raw
    }

    fn envelope(&self) -> Result<Envelope<'a>> {
        let text = |name: &str, value: Option<&'a [u8]>| {
            value
                .and_then(|value| std::str::from_utf8(value).ok())
                .ok_or_else(|| Error::corrupt(format!("an event has no readable '{name}' header")))
        };
        let id = uuid::Uuid::try_parse(text("ce_id", self.id)?)
            .map_err(|error| Error::corrupt("an event's 'ce_id' is no UUID").because(error))?;
        let sequence = Sequence::parse(self.sequence.unwrap_or_default())
            .ok_or_else(|| Error::corrupt("an event has no readable 'ce_sequence' header"))?;
        let (source, event_type) = (text("ce_source", self.source)?, text("ce_type", self.event_type)?);
        let redacted = std::str::from_utf8(self.redacted)
            .map_err(|error| Error::corrupt("an event's 'ce_redacted' is no text").because(error))?;
        Ok(Envelope { id: id.into_bytes(), source, event_type, sequence, redacted })
    }
}

/// Kinds of legacy stores whose rows become events; the kind may change within a migration.
const STORES: [&str; 4] = ["sqlite", "postgres", "files", "http"];
/// Captures whose events speak for rows.
const CAPTURES: [&str; 4] = ["replay", "follow", "reconcile", "gateway"];
/// Captures whose events do not: made from broadcasts, by agents, or to see that they come back.
const BESIDE_ROWS: [&str; 3] = ["derived", "agent", "probe"];

/// Whose a record is, by its headers.
///
/// | `ce_source` | |
/// | --- | --- |
/// | `MIGRATION/` a kind of store `#` a capture of rows | a row's event, or the tool's own by its type |
/// | `MIGRATION/` a kind of store `#` anything else | not readable |
/// | `MIGRATION/` anything `#derived`, `#agent`, `#probe` | the migration's own, never folded |
/// | anything else, or none | foreign |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose<'a> {
    /// An event of the migration that speaks for a row. Nothing else is folded.
    Row(Envelope<'a>),
    /// A record of the migration that speaks for no row.
    Own(Envelope<'a>),
    /// Another migration's, or none of crossfade's.
    Foreign,
}

impl<'a> Whose<'a> {
    /// Sorts a record. One of the migration's own that cannot be read is an error; a foreign one never is.
    pub fn of(migration: &str, headers: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<Self> {
        let raw = Raw::of(headers);
        let Some((store, capture)) = raw.source.and_then(|source| part_of(migration, source)) else {
            return Ok(Self::Foreign);
        };
        let beside = BESIDE_ROWS.contains(&capture);
        if !beside && !STORES.contains(&store) {
            return Ok(Self::Foreign);
        }
        if raw.version.is_none() {
            return Err(Error::corrupt("an event has no readable 'ce_specversion' header"));
        }
        if !beside && !CAPTURES.contains(&capture) {
            return Err(Error::corrupt(format!(
                "an event is of the capture '{capture}', which this tool does not know"
            ))
            .hint("it was written by a newer crossfade: use that one"));
        }
        let envelope = raw.envelope()?;
        Ok(if beside || OWN_TYPES.contains(&envelope.event_type) { Self::Own(envelope) } else { Self::Row(envelope) })
    }
}

/// The migration whose capture of rows a source names, if it names one.
pub fn migration_of(source: &[u8]) -> Option<&str> {
    let (migration, rest) = std::str::from_utf8(source).ok()?.split_once('/')?;
    let (store, capture) = rest.split_once('#')?;
    (STORES.contains(&store) && CAPTURES.contains(&capture)).then_some(migration)
}

/// Store and capture of a source of this migration.
fn part_of<'a>(migration: &str, source: &'a [u8]) -> Option<(&'a str, &'a str)> {
    let rest = source.strip_prefix(migration.as_bytes())?.strip_prefix(b"/")?;
    std::str::from_utf8(rest).ok()?.split_once('#')
}

impl<'a> Envelope<'a> {
    /// Reads the attributes from record headers, whosever they are. `None` for records that are no CloudEvents.
    pub fn read(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<Option<Self>> {
        let raw = Raw::of(headers);
        raw.version.map(|_| raw.envelope()).transpose()
    }

    /// Whether a credential was taken out of this column: its value is not the legacy's, and must not be written there.
    /// The same is told by the value itself: [`crate::scan::redacted`].
    pub fn is_redacted(&self, column: &str) -> bool {
        !self.redacted.is_empty()
            && serde_json::from_str::<Vec<String>>(self.redacted)
                .is_ok_and(|columns| columns.iter().any(|one| one == column))
    }
}
