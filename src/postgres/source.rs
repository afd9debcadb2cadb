//! A PostgreSQL schema as legacy store: read-only snapshots by short queries along each table's key.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres::fallible_iterator::FallibleIterator;
use postgres::types::ToSql;
use postgres::{Client, Statement, ToStatement};

use super::capture::{Names, position};
use super::catalog::Catalog;
use super::fault::fault;
use super::plan::Plan;
use super::read::{CHUNK_BYTES, Reader, place, tid};
use super::server::Login;
use crate::base::{Error, Result};
use crate::mapping::fit::{Unmapped, find, fits, unmapped};
use crate::mapping::{Carried, KeyText, Mapping, Rows, Table, Types, Value};
use crate::port::change_source::Position;
use crate::port::legacy_source::{Cursor, Keep, LegacySource, Place, Snapshot, Wake};

/// A query along a key is meant to take no longer; the next one asks for fewer rows.
const BUDGET: Duration = Duration::from_millis(500);

/// Pages of the first query along them; of the longest; and a page behind all that a table can have.
const FIRST_PAGES: i64 = 256;
const MOST_PAGES: i64 = 1 << 20;
const LAST_PAGE: i64 = u32::MAX as i64 - 1;

const CHUNK_ROWS: usize = 2_000;

/// Rows looked up by their place at once.
const PLACES: usize = 500;

/// A legacy schema. It keeps no connection: each snapshot has its own.
#[derive(Debug)]
pub struct PostgresSource {
    login: Login,
    mapping: Arc<Mapping>,
    /// Whose position a snapshot tells.
    capture: Option<Names>,
}

impl PostgresSource {
    /// Logs in once to see that it can.
    pub fn open(login: Login, mapping: Arc<Mapping>) -> Result<Self> {
        login.reader()?;
        Ok(Self { login, mapping, capture: None })
    }

    /// The same, whose snapshots say where the capture of a migration stands, if there is one.
    #[must_use]
    pub fn followed(self, migration: &str) -> Self {
        Self { capture: Some(Names::new(migration)), ..self }
    }

    fn open_snapshot(&self) -> Result<PostgresSnapshot> {
        let store = self.login.describe();
        let mut client = self.login.reader()?;
        let catalog = client
            .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .and_then(|()| Catalog::read(&mut client, &self.login.place.schema))
            .map_err(fault(&store, "taking a snapshot"))?;
        Ok(PostgresSnapshot {
            client,
            store,
            capture: self.capture.clone().map(|names| (self.login.clone(), names)),
            schema: self.login.place.schema.clone(),
            mapping: Arc::clone(&self.mapping),
            catalog,
            tables: HashMap::new(),
            reader: Reader::default(),
        })
    }
}

impl LegacySource for PostgresSource {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn describe(&self) -> String {
        self.login.describe()
    }

    fn check(&self) -> Result<Vec<Unmapped>> {
        self.mapping.types.require(Types::Postgres)?;
        let mut snapshot = self.open_snapshot()?;
        let store = self.describe();
        for table in &self.mapping.tables {
            let schema = &snapshot.catalog.schema;
            let found = find(schema, &store, table)?;
            fits(&self.mapping, schema, table, found)?;
            for column in &table.columns {
                let declared = found.column(&column.name).map_or("", |column| column.declared.as_str());
                let (mapped, there) = (Carried::of(&column.declared), Carried::of(declared));
                if mapped != there {
                    return Err(Error::refused(format!(
                        "column '{}' of table '{}' is mapped as {}, whose values are {}, and is {declared}, whose values are {}",
                        column.name,
                        table.name,
                        column.declared,
                        mapped.name(),
                        there.name()
                    ))
                    .hint("write the type it has into the mapping"));
                }
            }
            let plan = Plan::new(&self.mapping, table, &snapshot.catalog, &store, &snapshot.schema)?;
            let doing = format!("looking at table '{}'", table.name);
            // Rights are looked at when a statement runs, not when it is made.
            snapshot.client.query(&plan.first, &[&0_i64]).map_err(fault(&store, &doing))?;
        }
        Ok(unmapped(&self.mapping, &snapshot.catalog.schema))
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        Ok(Box::new(self.open_snapshot()?))
    }

    fn wake(&self) -> Result<Option<Box<dyn Wake>>> {
        Ok(Some(Box::new(AnyTime)))
    }

    /// A snapshot makes the server keep dead rows, which no number of bytes tells of, and no log.
    fn retained_bytes(&self) -> u64 {
        0
    }
}

/// A server does not say without being asked to: it may have changed at any time.
struct AnyTime;

impl Wake for AnyTime {
    fn wait(&mut self, at_most: Duration) -> Result<bool> {
        std::thread::sleep(at_most);
        Ok(true)
    }
}

/// One read transaction on a connection of its own; it ends when dropped.
struct PostgresSnapshot {
    client: Client,
    store: String,
    capture: Option<(Login, Names)>,
    schema: String,
    mapping: Arc<Mapping>,
    catalog: Catalog,
    tables: HashMap<String, Arc<Reading>>,
    reader: Reader,
}

/// A table being read.
struct Reading {
    plan: Plan,
    first: Statement,
    next: Statement,
    /// Rows to ask for, by how long the last query took.
    rows: std::sync::atomic::AtomicUsize,
}

impl PostgresSnapshot {
    fn reading(&mut self, table: &Table) -> Result<Arc<Reading>> {
        if let Some(reading) = self.tables.get(&table.name) {
            return Ok(Arc::clone(reading));
        }
        let plan = Plan::new(&self.mapping, table, &self.catalog, &self.store, &self.schema)?;
        let doing = format!("reading table '{}'", table.name);
        let mut prepare = |sql: &str| self.client.prepare(sql).map_err(fault(&self.store, &doing));
        let (first, next) = (prepare(&plan.first)?, prepare(&plan.next)?);
        let reading = Arc::new(Reading { plan, first, next, rows: usize::MAX.into() });
        self.tables.insert(table.name.clone(), Arc::clone(&reading));
        Ok(reading)
    }

    /// Appends rows until the chunk is full or there are none left; what else the server has sent is dropped.
    fn fill(
        &mut self,
        reading: &Reading,
        table: &Table,
        statement: &Statement,
        bound: &[&(dyn ToSql + Sync)],
        rows: &mut Rows,
    ) -> Result<()> {
        let doing = format!("reading table '{}'", table.name);
        let failed = fault(&self.store, &doing);
        let mut found = self.client.query_raw(statement, bound.iter().copied()).map_err(&failed)?;
        while let Some(row) = found.next().map_err(&failed)? {
            self.reader.take(&reading.plan, table, &row, rows)?;
            if rows.byte_len() >= CHUNK_BYTES {
                break;
            }
        }
        Ok(())
    }

    /// Lends the rows a statement selects, in chunks; with their places where it selects them behind the others.
    fn lend(
        &mut self,
        reading: &Reading,
        table: &Table,
        statement: &(impl ToStatement + ?Sized),
        bound: &[&(dyn ToSql + Sync)],
        each: &mut dyn FnMut(&Rows, &[Place]) -> Result<()>,
    ) -> Result<()> {
        let doing = format!("reading table '{}'", table.name);
        let failed = fault(&self.store, &doing);
        let mut found = self.client.query_raw(statement, bound.iter().copied()).map_err(&failed)?;
        let (mut rows, mut places) = (Rows::new(table.width()), Vec::new());
        while let Some(row) = found.next().map_err(&failed)? {
            self.reader.take(&reading.plan, table, &row, &mut rows)?;
            if row.len() > reading.plan.forms.len() {
                places.push(place(&row, reading.plan.forms.len())?);
            }
            if rows.len() >= CHUNK_ROWS || rows.byte_len() >= CHUNK_BYTES {
                each(&rows, &places)?;
                rows.reset(table.width());
                places.clear();
            }
        }
        if rows.is_empty() { Ok(()) } else { each(&rows, &places) }
    }

    /// Lends the rows at these places.
    fn placed(
        &mut self,
        reading: &Reading,
        table: &Table,
        places: &[String],
        each: &mut dyn FnMut(&Rows) -> Result<()>,
    ) -> Result<()> {
        let Some((_, by_place)) = &reading.plan.by_place else { return Ok(()) };
        let doing = format!("picking rows of table '{}'", table.name);
        let by_place = self.client.prepare(by_place).map_err(fault(&self.store, &doing))?;
        // In this snapshot the row at a place stays the one that was seen there.
        for places in places.chunks(PLACES) {
            self.lend(reading, table, &by_place, &[&places], &mut |rows, _| each(rows))?;
        }
        Ok(())
    }

    /// Lends the rows of one query that `keep` accepts.
    fn filter(&mut self, table: &Table, keep: Keep<'_>, each: &mut dyn FnMut(&Rows) -> Result<()>) -> Result<()> {
        let reading = self.reading(table)?;
        let doing = format!("reading table '{}'", table.name);
        let failed = fault(&self.store, &doing);
        let none: [&(dyn ToSql + Sync); 0] = [];
        let mut found = self.client.query_raw(&reading.plan.all, none).map_err(&failed)?;
        let mut rows = Rows::new(table.width());
        while let Some(row) = found.next().map_err(&failed)? {
            self.reader.take(&reading.plan, table, &row, &mut rows)?;
            let last = rows.row(rows.len() - 1);
            let identity: Vec<Value<'_>> = table.identity.iter().map(|cell| last.get(*cell)).collect();
            if !keep(&identity) {
                rows.pop_row();
            } else if rows.byte_len() >= CHUNK_BYTES {
                each(&rows)?;
                rows.reset(table.width());
            }
        }
        if rows.is_empty() { Ok(()) } else { each(&rows) }
    }
}

impl Snapshot for PostgresSnapshot {
    fn tables(&self) -> Result<Vec<String>> {
        Ok(self.catalog.schema.tables.iter().map(|table| table.name.clone()).collect())
    }

    fn count(&mut self, table: &Table) -> Result<u64> {
        let reading = self.reading(table)?;
        let doing = format!("counting table '{}'", table.name);
        let row = self.client.query_one(&reading.plan.count, &[]).map_err(fault(&self.store, &doing))?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }

    fn position(&mut self) -> Result<Option<Position>> {
        let Some((login, names)) = &self.capture else { return Ok(None) };
        position(&mut self.client, login, names, &self.mapping)
    }

    fn shared(&mut self, table: &Table) -> Result<Option<Rows>> {
        let reading = self.reading(table)?;
        let Some(shared) = &reading.plan.shared else { return Ok(None) };
        let doing = format!("looking for rows of table '{}' that share an identity", table.name);
        let row = self.client.query_opt(shared, &[]).map_err(fault(&self.store, &doing))?;
        let Some(row) = row else { return Ok(None) };
        let mut found = Rows::new(table.width());
        for cell in 0..table.width() {
            match table.identity.iter().position(|of| *of == cell) {
                Some(at) => self.reader.cell(reading.plan.forms[cell], &row, at, &mut found)?,
                None => found.push(Value::Null),
            }
        }
        Ok(Some(found))
    }

    fn pick(&mut self, table: &Table, keep: Keep<'_>, each: &mut dyn FnMut(&Rows) -> Result<()>) -> Result<()> {
        let reading = self.reading(table)?;
        let Some((identities, _)) = &reading.plan.by_place else {
            return self.filter(table, keep, each);
        };
        let doing = format!("picking rows of table '{}'", table.name);
        let failed = fault(&self.store, &doing);
        let mut places: Vec<String> = Vec::new();
        let none: [&(dyn ToSql + Sync); 0] = [];
        let mut found = self.client.query_raw(identities, none).map_err(&failed)?;
        let mut identity = Rows::new(1);
        while let Some(row) = found.next().map_err(&failed)? {
            identity.reset(1);
            for (at, cell) in table.identity.iter().enumerate() {
                self.reader.cell(reading.plan.forms[*cell], &row, at, &mut identity)?;
            }
            let values: Vec<Value<'_>> = identity.iter().map(|cell| cell.get(0)).collect();
            if keep(&values) {
                places.push(row.try_get(table.identity.len()).map_err(&failed)?);
            }
        }
        drop((found, failed));
        self.placed(&reading, table, &places, each)
    }

    /// Along the table's pages, not its key: they lie in a row, and in one snapshot each row has one place. The server's
    /// lock on a table that is read keeps it from being written anew.
    fn scan(&mut self, table: &Table, each: &mut dyn FnMut(&Rows, &[Place]) -> Result<()>) -> Result<()> {
        let reading = self.reading(table)?;
        let Some((count, run)) = &reading.plan.pages else {
            return self.lend(&reading, table, reading.plan.all.as_str(), &[], each);
        };
        let doing = format!("reading table '{}'", table.name);
        let run = self.client.prepare(run).map_err(fault(&self.store, &doing))?;
        let pages: i64 = self.client.query_one(count, &[]).map_err(fault(&self.store, &doing))?.get(0);
        let (mut at, mut wanted) = (0, FIRST_PAGES);
        while at == 0 || at < pages {
            let behind = if at + wanted < pages { at + wanted } else { LAST_PAGE };
            let began = Instant::now();
            self.lend(&reading, table, &run, &[&format!("({at},0)"), &format!("({behind},0)")], each)?;
            at = behind;
            wanted = if began.elapsed() > BUDGET { (wanted / 2).max(1) } else { (wanted * 2).min(MOST_PAGES) };
        }
        Ok(())
    }

    fn at(&mut self, table: &Table, places: &[Place], each: &mut dyn FnMut(&Rows) -> Result<()>) -> Result<()> {
        let reading = self.reading(table)?;
        let places: Vec<String> = places.iter().map(|place| tid(*place)).collect();
        self.placed(&reading, table, &places, each)
    }

    fn read(&mut self, table: &Table, cursor: &mut Cursor, max_rows: usize, rows: &mut Rows) -> Result<()> {
        use std::sync::atomic::Ordering::Relaxed;
        let reading = self.reading(table)?;
        rows.reset(table.width());
        let wanted = reading.rows.load(Relaxed).min(max_rows).max(1);
        let limit = wanted as i64;
        let began = Instant::now();
        if cursor.0.is_empty() {
            self.fill(&reading, table, &reading.first, &[&limit], rows)?;
        } else {
            let key: Option<Vec<&str>> = cursor.0.iter().map(serde_json::Value::as_str).collect();
            let key = key.filter(|key| key.len() == reading.plan.range.len()).ok_or_else(|| {
                Error::stale(format!("the saved position does not fit the key of table '{}'", table.name))
                    .hint("the legacy table was rebuilt since; copy it again from the start with --recopy")
            })?;
            let mut bound: Vec<&(dyn ToSql + Sync)> = key.iter().map(|part| part as &(dyn ToSql + Sync)).collect();
            bound.push(&limit);
            self.fill(&reading, table, &reading.next, &bound, rows)?;
        }
        let took = began.elapsed();
        if took > BUDGET {
            reading.rows.store((wanted / 2).max(1), Relaxed);
        } else if took < BUDGET / 4 {
            reading.rows.store(wanted.saturating_mul(2).max(64), Relaxed);
        }
        let Some(last) = rows.len().checked_sub(1) else { return Ok(()) };
        let end = rows.row(last);
        cursor.0 = reading.plan.range.iter().map(|cell| text(end.get(*cell)).into()).collect();
        Ok(())
    }
}

/// A value as the text PostgreSQL reads it from.
pub(super) fn text(value: Value<'_>) -> String {
    match value {
        Value::Blob(bytes) => format!("\\x{}", crate::base::hex(bytes)),
        Value::Real(number) if number.is_infinite() => if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
        Value::Real(number) => format!("{number:?}"),
        value => {
            let mut key = KeyText::default();
            key.text([value].into_iter()).map_or_else(String::new, |text| String::from_utf8_lossy(text).into_owned())
        }
    }
}
