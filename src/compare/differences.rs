//! The rows in which two sides differ, found by digests first and then bucket by bucket, in bounded memory.

use std::collections::HashMap;

use super::buckets::{BUCKETS, Digest, MOST_PLACES, bucket};
use crate::base::{Error, Result};
use crate::fold::LastEvent;
use crate::mapping::{Mapping, Row, Rows, Table, Value};
use crate::port::legacy_source::Snapshot;
use crate::port::progress::Progress;
use crate::port::row_store::RowView;

/// A pass holds the rows of as many differing buckets as fit below these.
const PASS_ROWS: u64 = 20_000;
const PASS_BYTES: u64 = 16 << 20;

/// One identity on which the sides differ.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    pub table: &'a Table,
    pub legacy: Option<Row<'a>>,
    pub projected: Option<(Row<'a>, LastEvent)>,
}

/// What was seen of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub legacy_rows: u64,
    pub projected_rows: u64,
    /// Legacy rows without a usable identity.
    pub skipped: u64,
    /// Distinct identities on either side, without skipped rows.
    pub compared: u64,
}

/// Lends every differing identity, a bounded group at a time and each exactly once; says what was seen, table by table.
///
/// Both sides are read once. Only when digests differ are they read again, once for each pass.
pub fn differences(
    mapping: &Mapping,
    snapshot: &mut dyn Snapshot,
    view: &mut dyn RowView,
    progress: &dyn Progress,
    each: &mut dyn FnMut(&[Pair<'_>]) -> Result<()>,
) -> Result<Vec<Counts>> {
    let mut expected = 0;
    for table in &mapping.tables {
        expected += snapshot.count(table)? + view.count(table.index)?;
    }
    progress.begin("diff", Some(expected));
    let (legacy, projected) = both(
        || digests(mapping, |table, digest, room| digest_legacy(table, snapshot, progress, digest, room)),
        || digests(mapping, |table, digest, room| digest_view(table, view, progress, digest, room)),
    )?;
    let mut counts = Vec::with_capacity(mapping.tables.len());
    for table in &mapping.tables {
        let (one, two) = (&legacy[table.index], &projected[table.index]);
        let mut only_projected = 0;
        for pass in passes(one, two) {
            progress.check()?;
            let (one, two) =
                both(|| collect_legacy(table, snapshot, &pass, one), || collect_view(table, view, &pass, two))?;
            only_projected += merge(table, &one, &two, each)?;
        }
        counts.push(Counts {
            legacy_rows: one.rows,
            projected_rows: two.rows,
            skipped: one.skipped,
            compared: one.rows - one.skipped + only_projected,
        });
    }
    progress.end();
    Ok(counts)
}

/// Runs one closure here and the other on a second thread.
fn both<A, B: Send>(here: impl FnOnce() -> Result<A>, there: impl FnOnce() -> Result<B> + Send) -> Result<(A, B)> {
    std::thread::scope(|scope| {
        let there = scope.spawn(there);
        let here = here();
        let there = there.join().map_err(|_| Error::failed("a comparing thread panicked"))?;
        Ok((here?, there?))
    })
}

/// One side's digests of all tables.
fn digests(mapping: &Mapping, mut digest: impl FnMut(&Table, &mut Digest, usize) -> Result<()>) -> Result<Vec<Digest>> {
    let mut digests = Vec::with_capacity(mapping.tables.len());
    let mut room = MOST_PLACES;
    for table in &mapping.tables {
        let mut one = Digest::new();
        digest(table, &mut one, room)?;
        room -= one.places();
        digests.push(one);
    }
    Ok(digests)
}

fn digest_legacy(
    table: &Table,
    snapshot: &mut dyn Snapshot,
    progress: &dyn Progress,
    digest: &mut Digest,
    room: usize,
) -> Result<()> {
    snapshot.scan(table, &mut |rows, places| {
        digest.add_all(table, rows, places, room);
        progress.advance(rows.len() as u64);
        progress.check()
    })
}

fn digest_view(
    table: &Table,
    view: &mut dyn RowView,
    progress: &dyn Progress,
    digest: &mut Digest,
    room: usize,
) -> Result<()> {
    view.scan_placed(table, &mut |rows, places| {
        digest.add_all(table, rows, places, room);
        progress.advance(rows.len() as u64);
        Ok(())
    })
}

/// Groups the differing buckets so that each group's rows fit in memory.
fn passes(one: &Digest, two: &Digest) -> Vec<Vec<bool>> {
    let mut passes: Vec<Vec<bool>> = Vec::new();
    let (mut rows, mut bytes) = (PASS_ROWS, PASS_BYTES);
    for number in one.differing(two) {
        let (left, right) = (&one.buckets[number], &two.buckets[number]);
        let (more_rows, more_bytes) = (left.rows + right.rows, left.bytes + right.bytes);
        if rows + more_rows > PASS_ROWS || bytes + more_bytes > PASS_BYTES {
            passes.push(vec![false; BUCKETS]);
            (rows, bytes) = (0, 0);
        }
        (rows, bytes) = (rows + more_rows, bytes + more_bytes);
        if let Some(pass) = passes.last_mut() {
            pass[number] = true;
        }
    }
    passes
}

/// The rows of one side that lie in a pass's buckets, by identity.
struct Side {
    rows: Rows,
    lasts: Vec<LastEvent>,
    places: HashMap<Vec<u8>, usize>,
    scratch: Vec<u8>,
}

impl Side {
    fn new(table: &Table) -> Self {
        Self { rows: Rows::new(table.width()), lasts: Vec::new(), places: HashMap::new(), scratch: Vec::new() }
    }

    fn add(&mut self, table: &Table, row: Row<'_>) {
        if bucket(table.identity.iter().map(|cell| row.get(*cell)), &mut self.scratch).is_some() {
            self.places.insert(self.scratch.clone(), self.rows.len());
            self.rows.push_row(row);
        }
    }
}

/// Whether an identity lies in one of a pass's buckets.
fn in_pass(pass: &[bool]) -> impl FnMut(&[Value<'_>]) -> bool {
    let mut scratch = Vec::new();
    move |identity| bucket(identity.iter().copied(), &mut scratch).is_some_and(|number| pass[number])
}

fn collect_legacy(table: &Table, snapshot: &mut dyn Snapshot, pass: &[bool], digest: &Digest) -> Result<Side> {
    let mut side = Side::new(table);
    let add = &mut |rows: &Rows| {
        rows.iter().for_each(|row| side.add(table, row));
        Ok(())
    };
    match digest.places_in(pass) {
        Some(places) if places.is_empty() => {}
        Some(places) => snapshot.at(table, &places, add)?,
        None => snapshot.pick(table, &mut in_pass(pass), add)?,
    }
    Ok(side)
}

fn collect_view(table: &Table, view: &mut dyn RowView, pass: &[bool], digest: &Digest) -> Result<Side> {
    let mut side = Side::new(table);
    let add = &mut |rows: &Rows, lasts: &[LastEvent]| {
        rows.iter().for_each(|row| side.add(table, row));
        side.lasts.extend_from_slice(lasts);
        Ok(())
    };
    match digest.places_in(pass) {
        Some(places) if places.is_empty() => {}
        Some(places) => view.at(table, &places, add)?,
        None => view.pick(table, &mut in_pass(pass), add)?,
    }
    Ok(side)
}

/// Lends the pairs of one pass in the order of their identities; says how many are on the projected side only.
fn merge(
    table: &Table,
    legacy: &Side,
    projected: &Side,
    each: &mut dyn FnMut(&[Pair<'_>]) -> Result<()>,
) -> Result<u64> {
    let mut identities: Vec<&Vec<u8>> = legacy.places.keys().collect();
    let only_projected: Vec<&Vec<u8>> =
        projected.places.keys().filter(|identity| !legacy.places.contains_key(*identity)).collect();
    let count = only_projected.len() as u64;
    identities.extend(only_projected);
    identities.sort_unstable();
    let mut pairs = Vec::new();
    for identity in identities {
        let old = legacy.places.get(identity).map(|at| legacy.rows.row(*at));
        let new = projected.places.get(identity).map(|at| (projected.rows.row(*at), projected.lasts[*at]));
        let equal = match (old, new) {
            (Some(old), Some((new, _))) => old.values().eq(new.values()),
            _ => false,
        };
        if !equal {
            pairs.push(Pair { table, legacy: old, projected: new });
        }
    }
    if !pairs.is_empty() {
        each(&pairs)?;
    }
    Ok(count)
}
