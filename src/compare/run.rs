//! From differing pairs to an outcome: which of row, fold and projection disagree, and since which event.

use std::collections::HashSet;

use xxhash_rust::xxh3::xxh3_128;

use super::locate::traces;
use super::{Counts, Pair, differences};
use crate::base::Result;
use crate::base::words::counted;
use crate::diff::{Column, Difference, Event, Finding, Ignored, Kind, Sample, Severity, TableCoverage, explain};
use crate::event::codec::{Codec, Exact};
use crate::event::id;
use crate::fold::{Span, Trace, Traced};
use crate::mapping::{KeyText, Mapping, Row, Table, Value};
use crate::port::event_log::{EventLog, Positions};
use crate::port::legacy_source::Snapshot;
use crate::port::owners::Sessions;
use crate::port::progress::Progress;
use crate::port::row_store::RowView;
use crate::scan::{Found, mask, masked};

/// What is compared, and by which rules.
pub struct Job<'a> {
    pub mapping: &'a Mapping,
    /// Whose events a row is traced by.
    pub migration: &'a str,
    pub snapshot: &'a mut dyn Snapshot,
    pub view: &'a mut dyn RowView,
    /// Read for differing keys only; without it no event is named.
    pub log: Option<&'a dyn EventLog>,
    /// Where the snapshot lies among the events; without it each row is held against the whole fold.
    pub span: Option<Span>,
    /// Differences of an earlier look: only what is among them counts, and all are left there.
    pub looks: Option<&'a mut Looks>,
    /// Where the events in force begin; partitions that are not named begin at their start.
    pub from: &'a Positions,
    pub ignore: &'a [Ignored],
    /// `YYYY-MM-DD`.
    pub today: &'a str,
    /// Whether a legacy row was kept from becoming an event (quarantine): then it is skipped, not missing.
    pub rejected: &'a (dyn Fn(&Table, Row<'_>) -> bool + Sync),
    /// The snapshot's rows come in their redacted form.
    pub redacts: bool,
    pub max_samples: usize,
    /// Who owns what, where anything was ever transferred.
    pub mirrored: Option<Mirrored<'a>>,
    pub progress: &'a dyn Progress,
}

/// What tells rows that reverse wrote from those the legacy did.
#[derive(Clone, Copy)]
pub struct Mirrored<'a> {
    pub sessions: &'a Sessions,
    /// Triggers of the legacy's ran for them: columns these set are not what the events say.
    pub triggers_run: bool,
}

impl Mirrored<'_> {
    /// Whether the events side wrote this row, or is the one to write it: the legacy's changes tell nothing of it.
    fn holds(&self, pair: &Pair<'_>, key: &mut KeyText) -> bool {
        let wrote = pair.projected.is_some_and(|(row, last)| self.sessions.mirrored(pair.table, row, last, key));
        wrote || pair.legacy.is_some_and(|row| self.sessions.owned(pair.table, row, key))
    }
}

/// Why a column that a trigger sets may differ in a row reverse wrote.
const BY_TRIGGER: &str = "set by a trigger of the legacy's, which reverse may not silence";

/// What a comparison found, before the verdict.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub tables: Vec<TableCoverage>,
    pub samples: Vec<Sample>,
    /// Rows that differ from the projection only by events that came after the snapshot.
    pub healed: u64,
    /// Rows that differ, but not as they did at the look before.
    pub moving: u64,
    /// What no single key tells: rows that share an identity or have none, and counts that do not add up.
    pub findings: Vec<Finding>,
    /// What looks like a credential in the legacy's rows.
    pub found: Vec<Found>,
}

/// Differences as they were seen, for one that stays is real where one that changes may be on its way.
#[derive(Debug, Default)]
pub struct Looks {
    before: HashSet<u128>,
    now: HashSet<u128>,
}

/// More are not remembered.
const MOST_SEEN: usize = 1_000_000;

impl Looks {
    /// What was seen now becomes what was seen before.
    pub fn again(&mut self) {
        self.before = std::mem::take(&mut self.now);
    }

    /// Whether this very difference was seen at the look before.
    fn stays(&mut self, pair: &Pair<'_>) -> bool {
        let mut image = (pair.table.index as u64).to_be_bytes().to_vec();
        for row in pair.legacy.into_iter().chain(pair.projected.map(|(row, _)| row)) {
            row.values().for_each(|value| value.write_image(&mut image));
            image.push(u8::MAX);
        }
        image.extend(pair.projected.iter().flat_map(|(_, last)| last.id));
        let seen = xxh3_128(&image);
        if self.now.len() < MOST_SEEN {
            self.now.insert(seen);
        }
        self.before.contains(&seen)
    }
}

/// Long values are cut in the middle for people; the digest has seen all of them.
const SHOWN: usize = 2_000;

/// Compares every mapped row; `each` gets every differing key with its kind, explained ones too.
pub fn compare(job: Job<'_>, each: &mut dyn FnMut(&Sample) -> Result<()>) -> Result<Evidence> {
    let Job { mapping, migration, snapshot, view, log, span, mut looks, from, ignore, today, .. } = job;
    let Job { rejected, redacts, max_samples, mirrored, progress, .. } = job;
    let coverage =
        |table: &Table| TableCoverage { table: table.name.clone(), state: "mapped".into(), ..TableCoverage::default() };
    let mut tables: Vec<TableCoverage> = mapping.tables.iter().map(coverage).collect();
    let mut samples = Vec::new();
    let mut key = KeyText::default();
    let (mut healed, mut moving) = (0, 0);
    let stands = view.state().positions.clone();
    let counts = differences(mapping, snapshot, view, progress, &mut |pairs| {
        let traced = match log {
            Some(log) => {
                traces(log, (mapping, migration), from, (span, &stands), pairs)?.into_iter().map(Some).collect()
            }
            None => (0..pairs.len()).map(|_| None).collect::<Vec<_>>(),
        };
        for (pair, trace) in pairs.iter().zip(&traced) {
            let coverage = &mut tables[pair.table.index];
            if pair.legacy.is_some_and(|row| rejected(pair.table, row)) {
                coverage.skipped += 1;
                continue;
            }
            if let Some(kind) = pair.shared {
                let sample = whole(pair, kind, Difference::Shared);
                coverage.shared += u64::from(!pair.again);
                each(&sample)?;
                if samples.len() < max_samples {
                    samples.push(sample);
                }
                continue;
            }
            let theirs = mirrored.is_some_and(|mirrored| mirrored.holds(pair, &mut key));
            if !theirs && span.is_some() && trace.as_ref().is_some_and(|trace| trace.met() && projects(pair, trace)) {
                healed += 1;
                coverage.moved += i64::from(pair.legacy.is_some()) - i64::from(pair.projected.is_some());
                continue;
            }
            if !theirs && looks.as_mut().is_some_and(|looks| !looks.stays(pair)) {
                moving += 1;
                coverage.skipped += 1;
                continue;
            }
            let mut sample = sample(pair, trace.as_ref());
            let columns: Vec<&str> = sample.columns.iter().map(|column| column.name.as_str()).collect();
            if sample.difference == Difference::Changed {
                sample.explained_by = explain(ignore, &pair.table.name, &columns, today);
                let triggers_run = theirs && mirrored.is_some_and(|mirrored| mirrored.triggers_run);
                let set = |name: &&str| {
                    pair.table.columns.iter().any(|column| column.name == **name && column.set_by_trigger)
                };
                if sample.explained_by.is_none() && triggers_run && columns.iter().all(set) {
                    sample.explained_by = Some(BY_TRIGGER.to_owned());
                }
            }
            match (&sample.explained_by, sample.difference) {
                (Some(_), _) => coverage.explained += 1,
                (None, Difference::Missing) => coverage.missing += 1,
                (None, Difference::Extra) => coverage.extra += 1,
                (None, Difference::Changed) => coverage.changed += 1,
                (None, Difference::Shared) => coverage.shared += 1,
            }
            each(&sample)?;
            if samples.len() < max_samples {
                samples.push(sample);
            }
        }
        Ok(())
    })?;
    if let Some(Mirrored { sessions, .. }) = mirrored.filter(|mirrored| !mirrored.sessions.is_empty()) {
        for table in &mapping.tables {
            let found = &mut tables[table.index].mirrored;
            view.scan(table, &mut |rows, lasts| {
                let theirs =
                    rows.iter().zip(lasts).filter(|(row, last)| sessions.mirrored(table, *row, **last, &mut key));
                *found += theirs.count() as u64;
                progress.check()
            })?;
        }
    }
    let tally = snapshot.found();
    let mut findings = Vec::new();
    for (table, seen) in mapping.tables.iter().zip(&counts).filter(|(_, seen)| seen.unnamed > 0) {
        unnamed(table, view, &mut |sample| {
            tables[table.index].extra += 1;
            each(&sample)?;
            if samples.len() < max_samples {
                samples.push(sample);
            }
            Ok(())
        })?;
        let text = format!(
            "table '{}' of the projection holds {} without an identity, of which no event can be the cause",
            table.name,
            counted(seen.unnamed, "row")
        );
        findings.push(Finding { code: "identity-missing", severity: Severity::Failure, text });
    }
    for (coverage, seen) in tables.iter_mut().zip(&counts) {
        findings.extend(conserved(coverage, seen));
        coverage.redacted = if redacts { tally.rows.get(&coverage.table).copied().unwrap_or(0) } else { 0 };
        coverage.legacy_rows = seen.legacy_rows;
        coverage.projected_rows = seen.projected_rows;
        coverage.compared = seen.compared.saturating_sub(coverage.skipped);
        coverage.skipped += seen.skipped;
    }
    Ok(Evidence { tables, samples, healed, moving, findings, found: tally.found })
}

/// What one table's counts say that its differing keys do not.
fn conserved(table: &TableCoverage, seen: &Counts) -> Vec<Finding> {
    let name = &table.table;
    let mut findings = Vec::new();
    let mut find = |code, severity, text| findings.push(Finding { code, severity, text });
    if table.shared > 0 {
        let keys = counted(table.shared, "key");
        let text =
            format!("table '{name}' holds several rows of one identity: {keys} stand for more than one row of a side");
        find("identity-shared", Severity::Failure, text);
    }
    if seen.skipped > 0 {
        let rows = counted(seen.skipped, "row");
        let text = format!(
            "table '{name}' of the legacy holds {rows} whose identity is null or a blob: no event tells of them"
        );
        find("identity-missing", Severity::Gap, text);
    }
    if seen.unaccounted > 0 {
        let text = format!(
            "the digests of table '{name}' differ or its counts do not add up, and no row says why ({} times): one of the stores \
             gives other rows by an index than by the table itself",
            seen.unaccounted
        );
        find("unaccounted", Severity::Failure, text);
    }
    findings
}

/// Lends the projected rows whose identity no event can have.
fn unnamed(table: &Table, view: &mut dyn RowView, each: &mut dyn FnMut(Sample) -> Result<()>) -> Result<()> {
    view.scan(table, &mut |rows, lasts| {
        for (row, last) in rows.iter().zip(lasts) {
            if !table.identifies(row) {
                let pair = Pair { table, legacy: None, projected: Some((row, *last)), shared: None, again: false };
                each(whole(&pair, Kind::ProjectionFold, Difference::Extra))?;
            }
        }
        Ok(())
    })
}

/// A pair with all its values, for rows that their key does not tell apart.
fn whole(pair: &Pair<'_>, kind: Kind, difference: Difference) -> Sample {
    let (table, legacy, projected) = (pair.table, pair.legacy, pair.projected.map(|(row, _)| row));
    let column = |(cell, name): (usize, &str)| Column {
        name: name.to_owned(),
        legacy: legacy.map(|row| shown(row, cell)),
        fold: None,
        projection: projected.map(|row| shown(row, cell)),
        last_agreed: None,
    };
    let columns = table.fields().enumerate().map(column).collect();
    let key = key_text(table, legacy.or(projected));
    Sample { table: table.name.clone(), key, kind, difference, columns, event: None, explained_by: None }
}

fn key_text(table: &Table, row: Option<Row<'_>>) -> String {
    row.map_or_else(String::new, |row| mask(&table.identity_text(row)).into_owned())
}

/// Whether the projected row is what its events fold to.
fn projects(pair: &Pair<'_>, trace: &Trace) -> bool {
    match (pair.projected, trace.row()) {
        (None, None) => true,
        (Some((projected, _)), Some(fold)) => projected.values().eq(fold.values()),
        _ => false,
    }
}

fn sample(pair: &Pair<'_>, trace: Option<&Trace>) -> Sample {
    let (table, legacy, projected) = (pair.table, pair.legacy, pair.projected.map(|(row, _)| row));
    let fold = trace.and_then(Trace::row);
    let kind = match trace {
        None => Kind::RowProjection,
        Some(trace) => match (trace.met(), projects(pair, trace)) {
            (false, true) => Kind::RowFold,
            (true, _) => Kind::ProjectionFold,
            (false, false) => Kind::Both,
        },
    };
    let difference = match (legacy, projected) {
        (Some(_), None) => Difference::Missing,
        (None, _) => Difference::Extra,
        (Some(_), Some(_)) => Difference::Changed,
    };
    let place = |traced: &Traced| Event {
        topic: table.topic.clone(),
        partition: traced.last.partition,
        offset: traced.last.offset,
        event_type: traced.event_type.clone(),
        id: id::text(traced.last.id),
    };
    let event = match kind {
        Kind::RowFold | Kind::Both => trace.and_then(Trace::diverging),
        _ => trace.and_then(Trace::last),
    };
    let mut columns = Vec::new();
    let names = table.fields().chain(table.key_cell().map(|_| "(record key)"));
    for (cell, name) in names.enumerate() {
        let at = |row: Option<Row<'_>>| row.map(|row| shown(row, cell));
        // Where a side has no row at all, the key says so; listing every column would be noise.
        let differ = |one: Option<Row<'_>>, two: Option<Row<'_>>| matches!((one, two), (Some(one), Some(two)) if one.get(cell) != two.get(cell));
        if differ(legacy, projected) || differ(legacy, fold) || differ(fold, projected) {
            columns.push(Column {
                name: name.to_owned(),
                legacy: at(legacy),
                fold: at(fold),
                projection: at(projected),
                last_agreed: trace.and_then(|trace| trace.agreed(cell)).map(place),
            });
        }
    }
    let key = key_text(table, legacy.or(projected));
    Sample { table: table.name.clone(), key, kind, difference, columns, event: event.map(place), explained_by: None }
}

/// A value in its exact event form, without credentials, cut in the middle when long.
fn shown(row: Row<'_>, cell: usize) -> String {
    let mut text = Vec::new();
    let value = row.get(cell);
    Exact.write(masked(value).as_deref().map_or(value, Value::Text), &mut text);
    let text = String::from_utf8_lossy(&text).into_owned();
    let length = text.chars().count();
    if length <= SHOWN {
        return text;
    }
    let head: String = text.chars().take(SHOWN / 2).collect();
    let tail: String = text.chars().skip(length - SHOWN / 2).collect();
    format!("{head} … {} characters left out … {tail}", length - SHOWN / 2 * 2)
}
