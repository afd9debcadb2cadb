//! Digests per bucket of key hashes: sums of row digests, so that store order does not matter and nothing is sorted.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::mapping::{Row, Table, Value};

/// Buckets of one table.
pub(super) const BUCKETS: usize = 4096;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    sum: u128,
    pub(super) rows: u64,
    pub(super) bytes: u64,
}

/// One side's digest of one table.
#[derive(Debug)]
pub(super) struct Digest {
    pub(super) buckets: Vec<Bucket>,
    pub(super) rows: u64,
    /// Rows whose identity is null or a blob: no event can speak of them.
    pub(super) skipped: u64,
    scratch: Vec<u8>,
}

impl Digest {
    pub(super) fn new() -> Self {
        Self { buckets: vec![Bucket::default(); BUCKETS], rows: 0, skipped: 0, scratch: Vec::new() }
    }

    pub(super) fn add(&mut self, table: &Table, row: Row<'_>) {
        self.rows += 1;
        let identity = table.identity.iter().map(|cell| row.get(*cell));
        let Some(bucket) = bucket(identity, &mut self.scratch) else {
            self.skipped += 1;
            return;
        };
        self.scratch.clear();
        for value in row.values() {
            value.write_image(&mut self.scratch);
        }
        let bucket = &mut self.buckets[bucket];
        bucket.sum = bucket.sum.wrapping_add(xxh3_128(&self.scratch));
        bucket.rows += 1;
        bucket.bytes += self.scratch.len() as u64;
    }

    /// Numbers of the buckets in which the sides differ.
    pub(super) fn differing(&self, other: &Self) -> Vec<usize> {
        let differ = |bucket: &usize| {
            let (one, two) = (&self.buckets[*bucket], &other.buckets[*bucket]);
            one.sum != two.sum || one.rows != two.rows
        };
        (0..BUCKETS).filter(differ).collect()
    }
}

/// The bucket of an identity, whose image is left in `scratch`; `None` for an identity no event can have.
pub(super) fn bucket<'a>(identity: impl Iterator<Item = Value<'a>>, scratch: &mut Vec<u8>) -> Option<usize> {
    scratch.clear();
    for value in identity {
        if matches!(value, Value::Null | Value::Blob(_)) {
            return None;
        }
        value.write_image(scratch);
    }
    Some(xxh3_64(scratch) as usize % BUCKETS)
}
