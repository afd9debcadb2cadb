//! Deterministic event ids: the same change captured twice has the same id.

use sha1::{Digest, Sha1};

use super::Sequence;
use crate::mapping::{Row, Table};

/// The UUIDv5 namespace of every event id; never changes.
pub const NAMESPACE: [u8; 16] = *b"crossfade event\0";

/// Ids of one table's events: UUIDv5 over (migration, source, table, identity, operation, change).
///
/// The name is each part as big-endian u32 length and bytes; the identity part is the exact images of its values.
/// `source` is the store's name without the capture.
#[derive(Clone, Debug)]
pub struct Ids {
    prefix: Sha1,
    name: Vec<u8>,
    identity: Vec<u8>,
}

impl Ids {
    pub fn new(migration: &str, source: &str, table: &str) -> Self {
        let mut prefix = Sha1::new();
        prefix.update(NAMESPACE);
        for part in [migration, source, table] {
            prefix.update((part.len() as u32).to_be_bytes());
            prefix.update(part.as_bytes());
        }
        Self { prefix, name: Vec::new(), identity: Vec::new() }
    }

    /// The id of one change to the row with this identity.
    pub fn id(&mut self, table: &Table, row: Row<'_>, operation: &str, change: &[u8]) -> [u8; 16] {
        self.identity.clear();
        for cell in &table.identity {
            row.get(*cell).write_image(&mut self.identity);
        }
        self.name.clear();
        for part in [self.identity.as_slice(), operation.as_bytes(), change] {
            self.name.extend_from_slice(&(part.len() as u32).to_be_bytes());
            self.name.extend_from_slice(part);
        }
        let hash = self.prefix.clone().chain_update(&self.name).finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        id[6] = (id[6] & 0x0f) | 0x50;
        id[8] = (id[8] & 0x3f) | 0x80;
        id
    }
}

/// The change part of a base copy's ids: the replay's generation.
pub fn base_change(generation: u32) -> Vec<u8> {
    let mut change = b"generation ".to_vec();
    change.extend_from_slice(generation.to_string().as_bytes());
    change
}

/// Stands for the previous event of a row that has none: the new event's own place. A row that goes and comes back with
/// the same image is another change each time, and no event of it is left in the fold to tell them apart.
pub fn no_previous(sequence: Sequence) -> [u8; 16] {
    let mut previous = [0; 16];
    previous[8..].copy_from_slice(&sequence.number().to_be_bytes());
    previous
}

/// The change part of a reconcile's ids: the row's previous event, or [`no_previous`], and the hash of its new image.
pub fn reconcile_change(previous: [u8; 16], image: Option<Row<'_>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in image.iter().flat_map(Row::values) {
        value.write_image(&mut bytes);
    }
    let mut change = previous.to_vec();
    change.extend_from_slice(blake3::hash(&bytes).as_bytes());
    change
}

/// The id of one of the tool's own events, which speaks of no row.
pub fn own(migration: &str, event_type: &str, key: &[u8], change: &[u8]) -> [u8; 16] {
    let mut bytes = Vec::new();
    for part in [migration.as_bytes(), event_type.as_bytes(), key, change] {
        bytes.extend_from_slice(&(part.len() as u32).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    uuid::Uuid::new_v5(&uuid::Uuid::from_bytes(NAMESPACE), &bytes).into_bytes()
}

/// Writes an id in its usual form.
pub fn text(id: [u8; 16]) -> String {
    uuid::Uuid::from_bytes(id).to_string()
}
