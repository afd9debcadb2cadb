//! The rows in which two sides differ, found by digests first and then bucket by bucket, in bounded memory.

use std::collections::HashMap;

use super::buckets::{BUCKETS, Digest, MOST_PLACES, bucket, bucket_of};
use crate::base::{Error, Result};
use crate::diff::Kind;
use crate::fold::LastEvent;
use crate::mapping::{Mapping, Row, Rows, Table, Value};
use crate::port::legacy_source::Snapshot;
use crate::port::progress::Progress;
use crate::port::row_store::RowView;

/// A pass holds the rows of as many differing buckets as fit below these.
const PASS_ROWS: u64 = 20_000;
const PASS_BYTES: u64 = 16 << 20;

/// One identity on which the sides differ. Where several rows of a side have it, each of them is in a pair of its own.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    pub table: &'a Table,
    pub legacy: Option<Row<'a>>,
    pub projected: Option<(Row<'a>, LastEvent)>,
    /// Which side holds several rows of this identity: of the legacy no fold can equal them, of the projection none may.
    pub shared: Option<Kind>,
    /// Not the first pair of its identity.
    pub again: bool,
}

/// What was seen of one table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub legacy_rows: u64,
    pub projected_rows: u64,
    /// Legacy rows without a usable identity.
    pub skipped: u64,
    /// Projected rows without a usable identity, of which no event can be the cause.
    pub unnamed: u64,
    /// Distinct identities on either side, without skipped rows.
    pub compared: u64,
    /// What the digests say and the rows do not: buckets that differ without a row that does, and rows that were seen by
    /// one read of a store and not by another.
    pub unaccounted: u64,
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
    Sides::digest(mapping, snapshot, view, progress)?.differences(snapshot, view, progress, each)
}

/// Both sides read once, table by table.
pub struct Sides<'m> {
    mapping: &'m Mapping,
    /// Rows as each side counts them.
    counted: Vec<(u64, u64)>,
    legacy: Vec<Digest>,
    projected: Vec<Digest>,
}

impl<'m> Sides<'m> {
    pub fn digest(
        mapping: &'m Mapping,
        snapshot: &mut dyn Snapshot,
        view: &mut dyn RowView,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let mut counted = Vec::with_capacity(mapping.tables.len());
        for table in &mapping.tables {
            counted.push((snapshot.count(table)?, view.count(table.index)?));
        }
        progress.begin("diff", Some(counted.iter().map(|(one, two)| one + two).sum()));
        let (legacy, projected) = both(
            || digests(mapping, |table, digest, room| digest_legacy(table, snapshot, progress, digest, room)),
            || digests(mapping, |table, digest, room| digest_view(table, view, progress, digest, room)),
        )?;
        Ok(Self { mapping, counted, legacy, projected })
    }

    /// Rows on the legacy's side and on the other.
    pub fn rows(&self, table: &Table) -> (u64, u64) {
        (self.legacy[table.index].rows, self.projected[table.index].rows)
    }

    /// No more rows of a table than these are on the projected side only.
    pub fn most_gone(&self, table: &Table) -> u64 {
        let (one, two) = (&self.legacy[table.index], &self.projected[table.index]);
        one.differing(two).into_iter().map(|number| two.buckets[number].rows).sum()
    }

    /// As [`differences`]; may be asked again.
    pub fn differences(
        &self,
        snapshot: &mut dyn Snapshot,
        view: &mut dyn RowView,
        progress: &dyn Progress,
        each: &mut dyn FnMut(&[Pair<'_>]) -> Result<()>,
    ) -> Result<Vec<Counts>> {
        let mut counts = Vec::with_capacity(self.mapping.tables.len());
        for table in &self.mapping.tables {
            let (one, two) = (&self.legacy[table.index], &self.projected[table.index]);
            let mut seen = Merged::default();
            let (counted, projected) = self.counted[table.index];
            seen.unaccounted += counted.abs_diff(one.rows) + projected.abs_diff(two.rows);
            for pass in passes(one, two) {
                progress.check()?;
                let (old, new) =
                    both(|| collect_legacy(table, snapshot, &pass, one), || collect_view(table, view, &pass, two))?;
                seen.unaccounted += one.rows_in(&pass).abs_diff(old.seen) + two.rows_in(&pass).abs_diff(new.seen);
                merge(table, &pass, (&old, &new), &mut seen, each)?;
            }
            counts.push(Counts {
                legacy_rows: one.rows,
                projected_rows: two.rows,
                skipped: one.skipped,
                unnamed: two.skipped,
                compared: (one.rows - one.skipped + seen.only_projected).saturating_sub(seen.repeated),
                unaccounted: seen.unaccounted,
            });
        }
        progress.end();
        Ok(counts)
    }
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

/// Rows of one identity that are held; more are only counted.
const MOST_SHARING: usize = 1_000;

/// The rows of one side that lie in a pass's buckets, by identity.
struct Side {
    rows: Rows,
    lasts: Vec<LastEvent>,
    places: HashMap<Vec<u8>, Bearers>,
    /// All rows, held or not.
    seen: u64,
    scratch: Vec<u8>,
}

/// The rows of one identity, by their numbers.
struct Bearers {
    first: usize,
    /// Empty but where the store keeps no identity apart.
    others: Vec<usize>,
    left_out: u64,
}

impl Bearers {
    fn all(&self) -> impl Iterator<Item = usize> {
        [self.first].into_iter().chain(self.others.iter().copied())
    }

    fn repeated(&self) -> u64 {
        self.others.len() as u64 + self.left_out
    }
}

impl Side {
    fn new(table: &Table) -> Self {
        Self { rows: Rows::new(table.width()), lasts: Vec::new(), places: HashMap::new(), seen: 0, scratch: Vec::new() }
    }

    fn add(&mut self, table: &Table, row: Row<'_>, last: Option<LastEvent>) {
        if bucket(table.identity.iter().map(|cell| row.get(*cell)), &mut self.scratch).is_none() {
            return;
        }
        self.seen += 1;
        let number = self.rows.len();
        match self.places.get_mut(&self.scratch) {
            None => {
                let bearers = Bearers { first: number, others: Vec::new(), left_out: 0 };
                self.places.insert(self.scratch.clone(), bearers);
            }
            Some(bearers) if bearers.others.len() + 1 < MOST_SHARING => bearers.others.push(number),
            Some(bearers) => {
                bearers.left_out += 1;
                return;
            }
        }
        self.rows.push_row(row);
        self.lasts.extend(last);
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
        rows.iter().for_each(|row| side.add(table, row, None));
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
        rows.iter().zip(lasts).for_each(|(row, last)| side.add(table, row, Some(*last)));
        Ok(())
    };
    match digest.places_in(pass) {
        Some(places) if places.is_empty() => {}
        Some(places) => view.at(table, &places, add)?,
        None => view.pick(table, &mut in_pass(pass), add)?,
    }
    Ok(side)
}

/// What the passes of one table add up to.
#[derive(Default)]
struct Merged {
    /// Identities on the projected side only.
    only_projected: u64,
    /// Legacy rows beyond the first of their identity.
    repeated: u64,
    unaccounted: u64,
}

/// Lends the pairs of one pass in the order of their identities.
fn merge(
    table: &Table,
    pass: &[bool],
    (legacy, projected): (&Side, &Side),
    seen: &mut Merged,
    each: &mut dyn FnMut(&[Pair<'_>]) -> Result<()>,
) -> Result<()> {
    let mut identities: Vec<&Vec<u8>> = legacy.places.keys().collect();
    let only_projected: Vec<&Vec<u8>> =
        projected.places.keys().filter(|identity| !legacy.places.contains_key(*identity)).collect();
    seen.only_projected += only_projected.len() as u64;
    identities.extend(only_projected);
    identities.sort_unstable();
    let mut told = vec![false; BUCKETS];
    let mut pairs = Vec::new();
    for identity in identities {
        let (old, new) = (legacy.places.get(identity), projected.places.get(identity));
        let repeated = |bearers: Option<&Bearers>| bearers.map_or(0, Bearers::repeated);
        let shared = match (repeated(old) > 0, repeated(new) > 0) {
            (false, false) => None,
            (true, false) => Some(Kind::RowFold),
            (false, true) => Some(Kind::ProjectionFold),
            (true, true) => Some(Kind::Both),
        };
        seen.repeated += repeated(old);
        let row = |at: usize| legacy.rows.row(at);
        let held = |at: usize| (projected.rows.row(at), projected.lasts[at]);
        for (at, (one, two)) in matched(legacy, old, projected, new).into_iter().enumerate() {
            if shared.is_some() || !equal(legacy, one, projected, two) {
                told[bucket_of(identity)] = true;
                pairs.push(Pair { table, legacy: one.map(row), projected: two.map(held), shared, again: at > 0 });
            }
        }
    }
    seen.unaccounted += pass.iter().zip(&told).filter(|(differs, told)| **differs && !**told).count() as u64;
    if pairs.is_empty() { Ok(()) } else { each(&pairs) }
}

fn equal(legacy: &Side, one: Option<usize>, projected: &Side, two: Option<usize>) -> bool {
    one.zip(two).is_some_and(|(one, two)| legacy.rows.row(one).values().eq(projected.rows.row(two).values()))
}

/// The rows of one identity side by side: those that are equal first, what is left in the order it came.
fn matched(
    legacy: &Side,
    old: Option<&Bearers>,
    projected: &Side,
    new: Option<&Bearers>,
) -> Vec<(Option<usize>, Option<usize>)> {
    let mut free: Vec<usize> = new.into_iter().flat_map(Bearers::all).collect();
    let (mut pairs, mut rest) = (Vec::with_capacity(1), Vec::new());
    for one in old.into_iter().flat_map(Bearers::all) {
        match free.iter().position(|two| equal(legacy, Some(one), projected, Some(*two))) {
            Some(at) => pairs.push((Some(one), Some(free.remove(at)))),
            None => rest.push(one),
        }
    }
    let (mut rest, mut free) = (rest.into_iter(), free.into_iter());
    loop {
        match (rest.next(), free.next()) {
            (None, None) => return pairs,
            pair => pairs.push(pair),
        }
    }
}
