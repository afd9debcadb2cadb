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

impl<'a> Envelope<'a> {
    /// Reads the attributes from record headers. `None` for records that are no CloudEvents.
    pub fn read(headers: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<Option<Self>> {
        let (mut id, mut source, mut event_type, mut sequence, mut version) = (None, None, None, None, None);
        let mut redacted: &[u8] = b"";
        for (name, value) in headers {
            match name {
                b"ce_specversion" => version = Some(value),
                b"ce_id" => id = Some(value),
                b"ce_source" => source = Some(value),
                b"ce_type" => event_type = Some(value),
                b"ce_sequence" => sequence = Some(value),
                b"ce_redacted" => redacted = value,
                _ => {}
            }
        }
        if version.is_none() {
            return Ok(None);
        }
        let text = |name: &str, value: Option<&'a [u8]>| {
            value
                .and_then(|value| std::str::from_utf8(value).ok())
                .ok_or_else(|| Error::corrupt(format!("an event has no readable '{name}' header")))
        };
        let id = uuid::Uuid::try_parse(text("ce_id", id)?)
            .map_err(|error| Error::corrupt("an event's 'ce_id' is no UUID").because(error))?;
        let sequence = Sequence::parse(sequence.unwrap_or_default())
            .ok_or_else(|| Error::corrupt("an event has no readable 'ce_sequence' header"))?;
        let (source, event_type) = (text("ce_source", source)?, text("ce_type", event_type)?);
        let redacted = std::str::from_utf8(redacted)
            .map_err(|error| Error::corrupt("an event's 'ce_redacted' is no text").because(error))?;
        Ok(Some(Self { id: id.into_bytes(), source, event_type, sequence, redacted }))
    }

    /// Whether a credential was taken out of this column: its value is not the legacy's, and must not be written there.
    /// The same is told by the value itself: [`crate::scan::redacted`].
    pub fn is_redacted(&self, column: &str) -> bool {
        !self.redacted.is_empty()
            && serde_json::from_str::<Vec<String>>(self.redacted)
                .is_ok_and(|columns| columns.iter().any(|one| one == column))
    }

    /// Whether this event speaks for a row change; the tool's own types, and what is made from broadcasts or by agents, do
    /// not.
    pub fn authoritative(&self) -> bool {
        !OWN_TYPES.contains(&self.event_type)
            && !matches!(self.source.rsplit_once('#'), Some((_, "derived" | "agent" | "probe")))
    }
}
