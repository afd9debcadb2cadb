//! Digests per bucket of key hashes: sums of row digests, so that store order does not matter and nothing is sorted.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::mapping::{Row, Rows, Table, Value};
use crate::port::legacy_source::Place;

/// Buckets of one table, 32 bytes each. A row that differs costs reading the other rows of its bucket.
pub(super) const BUCKETS: usize = 16_384;

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
    /// Place and bucket of every row, in the order they came; `None` where the store has no places, or too many rows.
    places: Option<Vec<u64>>,
    scratch: Vec<u8>,
}

/// Places kept for all tables of one side.
pub(super) const MOST_PLACES: usize = 4 << 20;
const BUCKET_BITS: u32 = BUCKETS.trailing_zeros();

impl Digest {
    pub(super) fn new() -> Self {
        let buckets = vec![Bucket::default(); BUCKETS];
        Self { buckets, rows: 0, skipped: 0, places: Some(Vec::new()), scratch: Vec::new() }
    }

    /// Adds rows, and their places while there is room for as many.
    pub(super) fn add_all(&mut self, table: &Table, rows: &Rows, places: &[Place], room: usize) {
        let kept = self.places.as_ref().map_or(0, Vec::len) + rows.len() <= room && places.len() == rows.len();
        if !kept {
            self.places = None;
        }
        for (number, row) in rows.iter().enumerate() {
            let bucket = self.add(table, row);
            if let (Some(kept), Some(bucket)) = (&mut self.places, bucket) {
                kept.push(places[number] << BUCKET_BITS | bucket as u64);
            }
        }
    }

    pub(super) fn places(&self) -> usize {
        self.places.as_ref().map_or(0, Vec::len)
    }

    /// The places of the rows in a pass's buckets.
    pub(super) fn places_in(&self, pass: &[bool]) -> Option<Vec<Place>> {
        let bucket = |place: &u64| *place as usize & (BUCKETS - 1);
        let places = self.places.as_ref()?.iter().filter(|place| pass[bucket(place)]);
        Some(places.map(|place| place >> BUCKET_BITS).collect())
    }

    fn add(&mut self, table: &Table, row: Row<'_>) -> Option<usize> {
        self.rows += 1;
        let identity = table.identity.iter().map(|cell| row.get(*cell));
        let Some(bucket) = bucket(identity, &mut self.scratch) else {
            self.skipped += 1;
            return None;
        };
        self.scratch.clear();
        for value in row.values() {
            value.write_image(&mut self.scratch);
        }
        let sums = &mut self.buckets[bucket];
        sums.sum = sums.sum.wrapping_add(xxh3_128(&self.scratch));
        sums.rows += 1;
        sums.bytes += self.scratch.len() as u64;
        Some(bucket)
    }

    /// How many rows lie in a pass's buckets.
    pub(super) fn rows_in(&self, pass: &[bool]) -> u64 {
        self.buckets.iter().zip(pass).filter(|(_, pass)| **pass).map(|(bucket, _)| bucket.rows).sum()
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
    Some(bucket_of(scratch))
}

/// The bucket of an identity's image.
pub(super) fn bucket_of(image: &[u8]) -> usize {
    xxh3_64(image) as usize % BUCKETS
}
