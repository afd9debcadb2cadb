//! The journal: a hash-chained record of everything the tool did, announced before and done after.

use serde::{Deserialize, Serialize};

use crate::base::{Millis, Result, hex};

/// What an entry says of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    Announced,
    Done,
    Failed,
    Unknown,
    /// A fact without an act: a verdict, for one.
    Noted,
}

/// One entry. `hash` covers every other field and the hash before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub seq: u64,
    pub at: Millis,
    pub stage: Stage,
    /// The entry this one ends, by `seq`; 0 for none.
    pub of: u64,
    /// The command or step: `replay`, `provision apply`.
    pub act: String,
    /// JSON text, as hashed.
    pub detail: String,
    pub previous: String,
    pub hash: String,
}

/// The hash of the entry before the first.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

impl Entry {
    /// BLAKE3 over the length-prefixed fields, in the order of the struct.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let stage = format!("{:?}", self.stage);
        for part in [
            self.seq.to_string().as_str(),
            self.at.to_string().as_str(),
            &stage,
            self.of.to_string().as_str(),
            &self.act,
            &self.detail,
            &self.previous,
        ] {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
        hex(hasher.finalize().as_bytes())
    }

    /// The entry after `head`, sealed.
    pub fn after(head: Option<&Head>, at: Millis, stage: Stage, of: u64, act: &str, detail: String) -> Self {
        let (seq, previous) = head.map_or((1, GENESIS.to_owned()), |head| (head.seq + 1, head.hash.clone()));
        let mut entry = Self { seq, at, stage, of, act: act.to_owned(), detail, previous, hash: String::new() };
        entry.hash = entry.digest();
        entry
    }
}

/// The newest entry; also written to the log, so that a cut tail shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub seq: u64,
    pub hash: String,
}

/// An append-only chain of entries.
pub trait Journal: Send + Sync {
    /// Appends and makes durable; returns the new entry.
    fn append(&self, at: Millis, stage: Stage, of: u64, act: &str, detail: &serde_json::Value) -> Result<Entry>;

    fn head(&self) -> Result<Option<Head>>;

    /// All entries in order, unverified.
    fn entries(&self) -> Result<Vec<Entry>>;
}

/// Checks the chain from the first entry on; the error text names the first entry that does not fit.
pub fn verify(entries: &[Entry]) -> std::result::Result<(), String> {
    let mut previous = GENESIS.to_owned();
    for (index, entry) in entries.iter().enumerate() {
        if entry.seq != index as u64 + 1 {
            return Err(format!(
                "entry {} stands where entry {} belongs: entries were dropped or reordered",
                entry.seq,
                index + 1
            ));
        }
        if entry.previous != previous {
            return Err(format!(
                "entry {} does not follow the entry before it: entries were replaced or reordered",
                entry.seq
            ));
        }
        if entry.hash != entry.digest() {
            return Err(format!("entry {} was edited: its hash does not fit its content", entry.seq));
        }
        previous.clone_from(&entry.hash);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(count: u64) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::new();
        for number in 0..count {
            let head = entries.last().map(|entry| Head { seq: entry.seq, hash: entry.hash.clone() });
            entries.push(Entry::after(
                head.as_ref(),
                number as i64,
                Stage::Noted,
                0,
                "test",
                format!("{{\"n\":{number}}}"),
            ));
        }
        entries
    }

    #[test]
    fn an_edited_dropped_or_reordered_entry_is_found() {
        assert_eq!(verify(&chain(5)), Ok(()));
        let mut edited = chain(5);
        edited[2].detail = "{}".into();
        assert!(verify(&edited).unwrap_err().contains("entry 3 was edited"));
        let mut dropped = chain(5);
        dropped.remove(1);
        assert!(verify(&dropped).is_err());
        let mut swapped = chain(5);
        swapped.swap(1, 2);
        assert!(verify(&swapped).is_err());
        let mut resealed = chain(5);
        resealed[1].detail = "{}".into();
        resealed[1].hash = resealed[1].digest();
        assert!(verify(&resealed).unwrap_err().contains("entry 3"));
    }
}
