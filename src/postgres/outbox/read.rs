//! Reading an outbox: what became visible between two snapshots, in the order of its numbers.
//!
//! Numbers alone do not tell what is new: a transaction that began early may commit late. So a position is a snapshot,
//! and the next changes are those that it does not see and a later one does. Of one row the numbers are in commit order,
//! for its lock is held from the change to the commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::ToSql;

use super::super::capture::{Content, ContentWatch, Passing, WHOLE, passed_on};
use super::super::catalog::Catalog;
use super::super::fault::fault;
use super::super::form::Raw;
use super::super::plan::Plan;
use super::super::read::Reader;
use super::rest::Rest;
use super::strands::{orphans, strands};
use super::{Mark, PostgresOutbox};
use crate::base::{Error, Kind, Millis, Result};
use crate::event::Op;
use crate::mapping::{Key, Rows, Table, Value};
use crate::port::change_source::{ChangeReader, Changes, Lag, Position};

/// A batch ends with the change that brings its images to this many bytes.
const BATCH_BYTES: i64 = 4 << 20;
/// Consumed changes taken away by one statement, and how long they may stay.
const TRIM: (i64, Duration) = (5_000, Duration::from_secs(1));
/// Statements that trim at most, before more is read.
const TRIMS: u32 = 8;
/// Entries asked for at once: their images may be large.
const FETCHED: usize = 250;
/// Changes counted at most for the lag.
const COUNTED: i64 = 100_000;

/// What lies between two snapshots, being read.
struct Window {
    /// The later one.
    until: String,
    at: u64,
    /// A run that ended half way began it: there may be more behind it.
    resumed: bool,
    open: bool,
    /// A batch of it was read by this run.
    cut: bool,
    passing: Passing,
}

/// A relation that changes name.
struct Relation {
    table: usize,
    plan: Plan,
    /// The statements for the new and the old image; their parameter is the numbers.
    images: [String; 2],
}

/// One row of the table of changes, without its images.
struct Entry {
    number: u64,
    made_at: Millis,
    rel: u32,
    op: u8,
}

pub(super) struct OutboxReader {
    outbox: PostgresOutbox,
    client: Client,
    trimming: Option<Client>,
    catalog: Arc<Catalog>,
    orphans: Vec<bool>,
    /// Tables whose identity is checked late.
    late: Vec<bool>,
    content: ContentWatch,
    relations: HashMap<u32, Option<Arc<Relation>>>,
    reader: Reader,
    end: Position,
    window: Option<Window>,
    trimmed: Position,
    trimmed_at: Instant,
    rest: Rest,
}

impl OutboxReader {
    pub(super) fn open(outbox: PostgresOutbox, from: &Position) -> Result<Self> {
        let store = outbox.login.describe();
        let mut client = outbox.login.reader()?;
        outbox.require_whole(&mut client)?;
        outbox.require_same(&mut client, from)?;
        let listen = format!("LISTEN {}", super::super::form::quote(&outbox.names.own));
        client.batch_execute(&listen).map_err(fault(&store, "listening for changes"))?;
        let catalog =
            Catalog::read(&mut client, &outbox.login.place.schema).map_err(fault(&store, "looking at its tables"))?;
        let orphans = orphans(&mut client, &outbox, &catalog)?;
        let content = Content::read(&mut client, &outbox.login, &outbox.names, &outbox.mapping)?;
        let late = content.late(&outbox.mapping);
        let passing = Passing::new(&outbox.mapping, true);
        let window = Mark::of(from)?.until;
        let window = window.map(|until| Window { until, at: from.at, resumed: true, open: false, cut: false, passing });
        Ok(Self {
            rest: Rest::new(&outbox.names),
            outbox,
            client,
            trimming: None,
            catalog: Arc::new(catalog),
            orphans,
            late,
            content: ContentWatch::default(),
            relations: HashMap::new(),
            reader: Reader::default(),
            end: from.clone(),
            window,
            trimmed: Position::default(),
            trimmed_at: Instant::now(),
        })
    }

    fn failed(&self, doing: &'static str) -> impl Fn(postgres::Error) -> Error + use<> {
        let store = self.outbox.login.describe();
        move |error| fault(&store, doing)(error)
    }

    /// The next batch of the window at hand, or of a new one; `false` when there is none.
    fn next(&mut self, changes: &mut Changes, max: usize) -> Result<bool> {
        loop {
            if self.window.as_ref().is_none_or(|window| !window.open) {
                self.begin()?;
            }
            let (entries, through) = self.fetch(max)?;
            if let (Some(last), Some(window)) = (entries.last(), &self.window) {
                let tag = self.outbox.tag(&mut self.client, last.number)?;
                let from = Mark::of(&self.end)?.from;
                (self.end.at, self.end.count) = (window.at, last.number);
                self.end.mark = Mark { from, until: Some(window.until.clone()), tag }.text();
                self.take(&entries, changes)?;
                self.settle(through, changes);
            }
            let resumed = if through { self.close()? } else { false };
            if !entries.is_empty() {
                changes.end.clone_from(&self.end);
                changes.caught_up = through && !resumed;
                return Ok(true);
            }
            if !resumed {
                return Ok(false);
            }
        }
    }

    /// Opens the reading transaction and a cursor over what is new in it.
    fn begin(&mut self) -> Result<()> {
        let failed = self.failed("reading the outbox");
        let mark = Mark::of(&self.end)?;
        self.client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").map_err(&failed)?;
        let row = self
            .client
            .query_one("SELECT pg_current_snapshot()::text, (pg_current_wal_insert_lsn() - '0/0')::bigint", &[])
            .map_err(&failed)?;
        self.outbox.require_layout(&mut self.client)?;
        let at = row.get::<_, i64>(1).unsigned_abs();
        let passing = Passing::new(&self.outbox.mapping, false);
        let fresh = || Window { until: row.get(0), at, resumed: false, open: false, cut: false, passing };
        let window = self.window.get_or_insert_with(fresh);
        window.open = true;
        let after = if mark.until.is_some() { self.end.count } else { 0 };
        let sql = format!(
            "DECLARE changes NO SCROLL CURSOR FOR SELECT number, (extract(epoch FROM made) * 1000)::bigint, rel, op::text, \
             coalesce(octet_length(old), 0)::bigint + coalesce(octet_length(new), 0) FROM {} \
             WHERE xid >= pg_snapshot_xmin('{from}') AND NOT pg_visible_in_snapshot(xid, '{from}') \
             AND pg_visible_in_snapshot(xid, '{until}') AND number > {after} ORDER BY number",
            self.outbox.changes(),
            from = mark.from,
            until = window.until,
        );
        self.client.batch_execute(&sql).map_err(&failed)
    }

    /// Ends the window: the position is its later snapshot. Gives whether it was a resumed one.
    fn close(&mut self) -> Result<bool> {
        self.client.batch_execute("COMMIT").map_err(self.failed("reading the outbox"))?;
        let Some(window) = self.window.take() else { return Ok(false) };
        let mark = Mark::of(&self.end)?;
        // Behind a window without a change the old snapshot tells as much, and nothing is to be committed.
        if mark.until.is_some() {
            self.end.mark = Mark { from: window.until, until: None, tag: mark.tag }.text();
        }
        Ok(window.resumed)
    }

    /// The next entries, and whether they are the window's last.
    fn fetch(&mut self, max: usize) -> Result<(Vec<Entry>, bool)> {
        let failed = self.failed("reading the outbox");
        let mut entries = Vec::new();
        let mut bytes = 0;
        // Which transaction a change is of is not looked at: what is told whole is all of a window.
        let (most, limit) = if self.late.contains(&true) { WHOLE } else { (max, BATCH_BYTES as usize) };
        let max = most.max(max);
        while entries.len() < max && bytes < limit as i64 {
            let step = (max - entries.len()).min(FETCHED);
            let rows = self.client.query(&format!("FETCH FORWARD {step} FROM changes"), &[]).map_err(&failed)?;
            for row in &rows {
                let op: String = row.get(3);
                entries.push(Entry {
                    number: row.get::<_, i64>(0).unsigned_abs(),
                    made_at: row.get(1),
                    rel: row.get(2),
                    op: op.bytes().next().unwrap_or(b'?'),
                });
                bytes += row.get::<_, i64>(4);
            }
            if rows.len() < step {
                return Ok((entries, true));
            }
        }
        Ok((entries, false))
    }

    /// Adds the changes the entries come to.
    fn take(&mut self, entries: &[Entry], changes: &mut Changes) -> Result<()> {
        let mapping = Arc::clone(&self.outbox.mapping);
        let mut wanted: HashMap<u32, Vec<i64>> = HashMap::new();
        for entry in entries {
            wanted.entry(entry.rel).or_default().push(entry.number as i64);
        }
        let mut images: HashMap<u32, [Images; 2]> = HashMap::new();
        for (rel, numbers) in wanted {
            let Some(relation) = self.relation(rel)? else { continue };
            let table = &mapping.tables[relation.table];
            let [new, old] = &relation.images;
            let new = self.images(&relation, table, new, &numbers)?;
            let old = self.images(&relation, table, old, &numbers)?;
            for orphan in [&new.orphan, &old.orphan].into_iter().flatten() {
                changes.reconcile.get_or_insert_with(|| orphan.clone());
            }
            images.insert(rel, [new, old]);
        }
        for entry in entries {
            let Some(relation) = self.relation(entry.rel)? else { continue };
            let table = &mapping.tables[relation.table];
            let Some([new, old]) = images.get(&entry.rel) else { continue };
            let (new, old) = (new.row(entry.number), old.row(entry.number));
            let (op, row, before) = match (entry.op, new, old) {
                (b'i', Some(new), _) => (Op::Insert, new, None),
                (b'u', Some(new), Some(old)) => (Op::Update, new, Some(old)),
                (b'd', _, Some(old)) => (Op::Delete, old, None),
                (b't', ..) => {
                    changes.reconcile.get_or_insert_with(|| format!("table '{}' was emptied by TRUNCATE", table.name));
                    continue;
                }
                _ => {
                    return Err(Error::corrupt(format!("change {} of the outbox has not the images it should", entry.number))
                        .hint("something else wrote to it: crossfade follow --install, then crossfade follow, which reconciles first"));
                }
            };
            // A column never to be read may have changed, or nothing at all.
            if before.is_some_and(|before| before.values().eq(row.values())) {
                continue;
            }
            if self.late[relation.table]
                && let Some(window) = &mut self.window
            {
                window.passing.note(table, op, row, before);
            }
            if let Some(reason) =
                strands(&mut self.client, &self.outbox, (&self.catalog, &self.orphans), table, (op, row, before))?
            {
                changes.reconcile.get_or_insert(reason);
            }
            changes.push((relation.table, op), (entry.number, 0), Some(entry.made_at), row, before);
        }
        Ok(())
    }

    /// Brings what was read to what the window ends in, where rows passed their identities to each other.
    fn settle(&mut self, through: bool, changes: &mut Changes) {
        let (mapping, Some(window)) = (&self.outbox.mapping, &mut self.window) else { return };
        let trouble = match through && !window.cut && !window.resumed {
            true => changes.settle_identities(0, mapping, &self.late).map(|table| passed_on(&mapping.tables[table])),
            false => window.passing.trouble(mapping),
        };
        window.cut = true;
        if let Some(reason) = trouble {
            changes.reconcile.get_or_insert(reason);
        }
    }

    fn batch(&mut self, changes: &mut Changes, max: usize, wait: Duration) -> Result<()> {
        let began = Instant::now();
        loop {
            changes.reset(&self.outbox.mapping);
            changes.end.clone_from(&self.end);
            if self.next(changes, max)? {
                return self.rest.wake(&mut self.client).map_err(self.failed("reading the outbox"));
            }
            let left = wait.saturating_sub(began.elapsed());
            if left.is_zero() {
                changes.caught_up = true;
                return Ok(());
            }
            self.rest.wait(&mut self.client, left).map_err(self.failed("waiting for changes"))?;
        }
    }

    /// Looks whether rows may have changed without an event; gives why. On another connection: the reading transaction
    /// sees what was.
    fn regard(&mut self, due: bool) -> Result<Option<String>> {
        let outbox = &self.outbox;
        let client = match &mut self.trimming {
            Some(client) => client,
            None => self.trimming.insert(outbox.login.keeper()?),
        };
        let place = (self.end.content.as_str(), due);
        let Some(news) = self.content.look(client, &outbox.login, &outbox.names, &outbox.mapping, place)? else {
            return Ok(None);
        };
        if news.reason.is_some() {
            outbox.require_whole(client)?;
        }
        self.end.content = news.note;
        self.late = news.late;
        Ok(news.reason)
    }

    fn images(&mut self, relation: &Relation, table: &Table, sql: &str, numbers: &[i64]) -> Result<Images> {
        let failed = self.failed("reading rows from the outbox");
        let bound: [&(dyn ToSql + Sync); 1] = [&numbers];
        let mut found = self.client.query_raw(sql, bound).map_err(&failed)?;
        let mut images = Images { rows: Rows::new(table.width()), places: HashMap::new(), orphan: None };
        while let Some(row) = found.next().map_err(&failed)? {
            self.reader.take(&relation.plan, table, &row, &mut images.rows)?;
            let place = images.rows.len() - 1;
            let number: i64 = row.try_get(relation.plan.forms.len()).map_err(&failed)?;
            images.places.insert(number.unsigned_abs(), place);
            if let (Some(level), Key::Through(through)) = (relation.plan.levels.first(), &table.key) {
                let gone = level.identity.iter().any(|cell| matches!(row.try_get::<_, Raw<'_>>(*cell), Ok(Raw(None))));
                let image = images.rows.row(place);
                let pointed = through
                    .columns
                    .iter()
                    .all(|name| table.column(name).is_some_and(|cell| image.get(cell) != Value::Null));
                if gone && pointed {
                    images.orphan = Some(format!("rows of '{}' changed and have no parent any more", table.name));
                }
            }
        }
        Ok(images)
    }

    /// What a relation is to the mapping, a partition being its table.
    fn relation(&mut self, rel: u32) -> Result<Option<Arc<Relation>>> {
        if let Some(known) = self.relations.get(&rel) {
            return Ok(known.clone());
        }
        let store = self.outbox.login.describe();
        let failed = fault(&store, "looking at a table");
        let sql = "SELECT c.relname::text, c.oid::regclass::text FROM pg_class AS p \
            JOIN pg_class AS c ON c.oid = coalesce(pg_partition_root(p.oid), p.oid) WHERE p.oid = $1";
        let found = self.client.query_opt(sql, &[&rel]).map_err(&failed)?;
        let own = self
            .client
            .query_opt("SELECT oid::regclass::text FROM pg_class WHERE oid = $1", &[&rel])
            .map_err(&failed)?;
        let relation = match (found, own) {
            (Some(row), Some(own)) => {
                let name: String = row.get(0);
                let table = self.outbox.mapping.tables.iter().position(|table| table.name == name);
                match table {
                    Some(table) => Some(Arc::new(self.layout(table, own.get(0))?)),
                    None => None,
                }
            }
            _ => None,
        };
        self.relations.insert(rel, relation.clone());
        Ok(relation)
    }

    fn layout(&self, table: usize, row_type: &str) -> Result<Relation> {
        let mapping = &self.outbox.mapping;
        let store = self.outbox.login.describe();
        let plan = Plan::new(mapping, &mapping.tables[table], &self.catalog, &store, &self.outbox.login.place.schema)?;
        let image = |side: &str| {
            format!(
                "SELECT {}, c.number FROM {} AS c CROSS JOIN LATERAL \
                 (SELECT (q.r).* FROM (SELECT c.{side}::{row_type} AS r OFFSET 0) AS q) AS t{} \
                 WHERE c.number = ANY($1) AND c.{side} IS NOT NULL",
                plan.cells,
                self.outbox.changes(),
                plan.joins
            )
        };
        let images = [image("new"), image("old")];
        Ok(Relation { table, plan, images })
    }

    fn trim(&mut self, until: &Position) -> Result<u64> {
        if self.trimming.is_none() {
            self.trimming = Some(self.outbox.login.keeper()?);
        }
        let Some(client) = &mut self.trimming else { return Ok(0) };
        let sql = format!(
            "DELETE FROM {changes} WHERE number IN (SELECT number FROM {changes} \
             WHERE pg_visible_in_snapshot(xid, $1::text::pg_snapshot) AND number <> $2 ORDER BY number LIMIT $3)",
            changes = self.outbox.changes()
        );
        let mark = Mark::of(until)?;
        let done = client.execute(&sql, &[&mark.from, &(until.count as i64), &TRIM.0]);
        done.map_err(fault(&self.outbox.login.describe(), "taking read changes out of the outbox"))
    }
}

/// Images of one relation and side, by the numbers of their changes.
struct Images {
    rows: Rows,
    places: HashMap<u64, usize>,
    orphan: Option<String>,
}

impl Images {
    fn row(&self, number: u64) -> Option<crate::mapping::Row<'_>> {
        self.places.get(&number).map(|place| self.rows.row(*place))
    }
}

impl ChangeReader for OutboxReader {
    fn read(&mut self, changes: &mut Changes, max: usize, wait: Duration) -> Result<()> {
        let from = self.end.clone();
        let read = self.batch(changes, max, wait);
        if read.as_ref().is_err_and(|error| error.kind() == Kind::Refused) {
            return read;
        }
        // After the read: rows are read by what their tables are at that time, and a table that was altered may not be
        // readable at all.
        if let Some(reason) = self.regard(read.is_err() || !changes.is_empty())? {
            changes.reset(&self.outbox.mapping);
            changes.end = Position { content: self.end.content.clone(), ..from };
            changes.reconcile = Some(reason);
            return Ok(());
        }
        changes.end.content.clone_from(&self.end.content);
        read
    }

    /// Keeps the change it ends with, which shows whether the database is still the same.
    fn release(&mut self, until: &Position) -> Result<()> {
        let same = until.incarnation == self.end.incarnation;
        if !same || *until == self.trimmed || until.count == 0 || self.trimmed_at.elapsed() < TRIM.1 {
            return Ok(());
        }
        for _ in 0..TRIMS {
            if self.trim(until)? < TRIM.0 as u64 {
                self.trimmed.clone_from(until);
                self.trimmed_at = Instant::now();
                break;
            }
        }
        Ok(())
    }

    fn lag(&mut self) -> Result<Lag> {
        if self.trimming.is_none() {
            self.trimming = Some(self.outbox.login.keeper()?);
        }
        let Some(client) = &mut self.trimming else { return Ok(Lag::default()) };
        let mark = Mark::of(&self.end)?;
        let after = if mark.until.is_some() { self.end.count as i64 } else { 0 };
        let sql = format!(
            "SELECT count(*), (extract(epoch FROM min(made)) * 1000)::bigint FROM (SELECT made FROM {} \
             WHERE xid >= pg_snapshot_xmin($1::text::pg_snapshot) AND NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot) \
             AND ($2::text IS NULL OR number > $3 OR NOT pg_visible_in_snapshot(xid, $2::text::pg_snapshot)) LIMIT {COUNTED}) AS c",
            self.outbox.changes()
        );
        let row = client
            .query_one(&sql, &[&mark.from, &mark.until, &after])
            .map_err(fault(&self.outbox.login.describe(), "counting changes"))?;
        Ok(Lag { changes: row.get::<_, i64>(0).unsigned_abs(), since: row.get(1), ..Lag::default() })
    }
}
