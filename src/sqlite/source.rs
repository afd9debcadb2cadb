//! A SQLite file as legacy store: read-only snapshots that its writers do not feel.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ToSql};

use super::cursor::{Bound, decode, encode};
use super::error::{explain, open_read_only};
use super::flush::{Flushing, wal};
use super::functions::{register, value};
use super::introspect;
use super::outbox::SqliteOutbox;
use super::plan::{Plan, quote, range, shared};
use super::wake::Wake;
use crate::base::{Error, Result};
use crate::mapping::init::Schema;
use crate::mapping::{Mapping, Rows, Table, Value};
use crate::port::change_source::Position;
use crate::port::legacy_source::{Cursor, Keep, LegacySource, Snapshot};

pub use crate::mapping::fit::Unmapped;

/// A chunk ends with the row that brings its text and blobs to this many bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// A legacy SQLite file. It keeps no connection: each snapshot has its own.
#[derive(Debug)]
pub struct SqliteSource {
    path: PathBuf,
    mapping: Arc<Mapping>,
    legacy_stopped: bool,
    outbox: Option<SqliteOutbox>,
}

impl SqliteSource {
    /// Opens the file once to see that it can be read. A journal mode other than WAL is refused unless the legacy
    /// system is stopped: there a long read would make its writers fail.
    pub fn open(path: impl Into<PathBuf>, mapping: Arc<Mapping>, legacy_stopped: bool) -> Result<Self> {
        let source = Self { path: path.into(), mapping, legacy_stopped, outbox: None };
        source.connect()?;
        Ok(source)
    }

    /// Its snapshots say where this migration's outbox stands, if there is one.
    #[must_use]
    pub fn followed(self, migration: &str) -> Self {
        let outbox = SqliteOutbox::new(&self.path, migration, Arc::clone(&self.mapping));
        Self { outbox: Some(outbox), ..self }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    pub(super) fn connect(&self) -> Result<Connection> {
        let connection = open_read_only(&self.path)?;
        let failed = |error| explain(&self.path, error);
        let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(failed)?;
        let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0)).map_err(failed)?;
        let file = self.path.display();
        if pages == 0 {
            return Err(Error::connect(format!("'{file}' is empty, not a SQLite database"))
                .hint("name the file the legacy system opens"));
        }
        if mode != "wal" && !self.legacy_stopped {
            return Err(Error::refused(format!(
                "'{file}' has the journal mode {mode}: a long read would make the legacy's writers fail"
            ))
            .hint("stop the legacy system and say so with --legacy-stopped, or let it use the journal mode WAL"));
        }
        let prepare = || {
            connection.pragma_update(None, "cache_size", -8192)?;
            connection.pragma_update(None, "mmap_size", 0)?;
            connection.pragma_update(None, "temp_store", "MEMORY")?;
            register(&connection)
        };
        prepare().map_err(failed)?;
        Ok(connection)
    }
}

impl LegacySource for SqliteSource {
    fn kind(&self) -> &'static str {
        "sqlite"
    }

    fn describe(&self) -> String {
        self.path.display().to_string()
    }

    fn check(&self) -> Result<Vec<Unmapped>> {
        Self::check(self)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        let connection = self.connect()?;
        // BEGIN alone takes nothing; the schema is the first read, and stays as it is in this view.
        let schema = connection.execute_batch("BEGIN").and_then(|()| introspect::schema(&connection));
        let schema = schema.map_err(|error| explain(&self.path, error))?;
        let (path, mapping) = (self.path.clone(), Arc::clone(&self.mapping));
        let outbox = self.outbox.clone();
        let flushing = Flushing::start(&path);
        Ok(Box::new(SqliteSnapshot {
            _flushing: flushing,
            connection,
            path,
            mapping,
            schema,
            plans: HashMap::new(),
            outbox,
        }))
    }

    fn wake(&self) -> Result<Option<Box<dyn crate::port::legacy_source::Wake>>> {
        Ok(Some(Box::new(Wake::new(&self.path)?)))
    }

    fn retained_bytes(&self) -> u64 {
        std::fs::metadata(wal(&self.path)).map_or(0, |file| file.len())
    }
}

/// One read transaction on a connection of its own; it ends when dropped.
struct SqliteSnapshot {
    /// Dropped first: it goes on as long as the log is held up.
    _flushing: Flushing,
    connection: Connection,
    path: PathBuf,
    mapping: Arc<Mapping>,
    schema: Schema,
    plans: HashMap<String, Arc<Plan>>,
    outbox: Option<SqliteOutbox>,
}

impl SqliteSnapshot {
    fn plan(&mut self, table: &Table) -> Result<Arc<Plan>> {
        if let Some(plan) = self.plans.get(&table.name) {
            return Ok(Arc::clone(plan));
        }
        let missing = || Error::refused(format!("'{}' has no table '{}'", self.path.display(), table.name));
        let found = self.schema.table(&table.name).ok_or_else(missing)?;
        let range = range(&self.connection, found)
            .map_err(|error| explain(&self.path, error))?
            .map_err(|why| Error::refused(format!("table '{}' cannot be read: {why}", table.name)))?;
        let plan = Arc::new(Plan::new(&self.mapping, table, &range)?);
        self.plans.insert(table.name.clone(), Arc::clone(&plan));
        Ok(plan)
    }

    /// Appends the rows of one statement. Gives the last row number, if that is the range, and whether the chunk is full.
    fn fill(&self, sql: &str, bound: &[&dyn ToSql], rows: &mut Rows, by_rowid: bool) -> rusqlite::Result<Filled> {
        let mut statement = self.connection.prepare(sql)?;
        let width = rows.width();
        let mut found = statement.query(bound)?;
        let mut last = None;
        while let Some(row) = found.next()? {
            for cell in 0..width {
                rows.push(value(row.get_ref(cell)?));
            }
            if by_rowid {
                last = Some(row.get::<_, i64>(width)?);
            }
            if rows.byte_len() >= CHUNK_BYTES {
                return Ok(Filled { last, full: true });
            }
        }
        Ok(Filled { last, full: false })
    }
}

struct Filled {
    last: Option<i64>,
    full: bool,
}

impl Snapshot for SqliteSnapshot {
    fn tables(&self) -> Result<Vec<String>> {
        Ok(self.schema.tables.iter().map(|table| table.name.clone()).collect())
    }

    fn count(&mut self, table: &Table) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM {}", quote(&table.name));
        let count: i64 =
            self.connection.query_row(&sql, [], |row| row.get(0)).map_err(|error| explain(&self.path, error))?;
        Ok(count.unsigned_abs())
    }

    fn position(&mut self) -> Result<Option<Position>> {
        self.outbox.as_ref().map_or(Ok(None), |outbox| outbox.position(&self.connection))
    }

    fn shared(&mut self, table: &Table) -> Result<Option<Rows>> {
        let failed = |error| explain(&self.path, error);
        let found = self.schema.table(&table.name);
        let unique =
            found.map(|found| introspect::unique_columns(&self.connection, found)).transpose().map_err(failed)?;
        let of_identity = |name: &String| {
            let mut columns = table.identity.iter().filter_map(|cell| table.columns.get(*cell));
            columns.any(|column| column.name.eq_ignore_ascii_case(name))
        };
        // Rows with a null in a unique key may be doubled, but have no identity.
        if table.rowid.is_some() || unique.iter().flatten().any(|key| key.iter().all(of_identity)) {
            return Ok(None);
        }
        // On a connection of its own, which sorts in a file: this one keeps what it sorts in memory.
        let connection = open_read_only(&self.path)?;
        let mut statement = connection.prepare(&shared(table)).map_err(failed)?;
        let mut rows = statement.query([]).map_err(failed)?;
        let Some(row) = rows.next().map_err(failed)? else { return Ok(None) };
        let mut found = Rows::new(table.width());
        for cell in 0..table.width() {
            match table.identity.iter().position(|of| *of == cell) {
                Some(at) => found.push(value(row.get_ref(at).map_err(failed)?)),
                None => found.push(Value::Null),
            }
        }
        Ok(Some(found))
    }

    fn pick(&mut self, table: &Table, keep: Keep<'_>, each: &mut dyn FnMut(&Rows) -> Result<()>) -> Result<()> {
        let plan = self.plan(table)?;
        let failed = |error| explain(&self.path, error);
        let (walk, row) = match &plan.by_number {
            Some((identities, row)) => (identities, Some(row)),
            None => (&plan.first, None),
        };
        let cells: Vec<usize> =
            if row.is_some() { (0..table.identity.len()).collect() } else { table.identity.clone() };
        let mut walk = self.connection.prepare(walk).map_err(failed)?;
        let mut row = row.map(|row| self.connection.prepare(row)).transpose().map_err(failed)?;
        let mut found = if row.is_some() { walk.query([]) } else { walk.query([-1]) }.map_err(failed)?;
        let mut rows = Rows::new(table.width());
        let mut identity = Rows::new(1);
        while let Some(walked) = found.next().map_err(failed)? {
            identity.reset(1);
            for cell in &cells {
                identity.push(value(walked.get_ref(*cell).map_err(failed)?));
            }
            let values: Vec<Value<'_>> = identity.iter().map(|cell| cell.get(0)).collect();
            if !keep(&values) {
                continue;
            }
            let mut take = |whole: &rusqlite::Row<'_>| {
                (0..table.width()).try_for_each(|cell| whole.get_ref(cell).map(|raw| rows.push(value(raw))))
            };
            match &mut row {
                Some(row) => row.query_one([walked.get::<_, i64>(cells.len()).map_err(failed)?], take),
                None => take(walked),
            }
            .map_err(failed)?;
            if rows.byte_len() >= CHUNK_BYTES {
                each(&rows)?;
                rows.reset(table.width());
            }
        }
        if rows.is_empty() { Ok(()) } else { each(&rows) }
    }

    fn read(&mut self, table: &Table, cursor: &mut Cursor, max_rows: usize, rows: &mut Rows) -> Result<()> {
        let plan = self.plan(table)?;
        rows.reset(table.width());
        let by_rowid = plan.range.is_empty();
        let max_rows = max_rows.max(1);
        let failed = |error| explain(&self.path, error);
        let mut last = None;
        if cursor.0.is_empty() {
            last = self.fill(&plan.first, &[&(max_rows as i64)], rows, by_rowid).map_err(failed)?.last;
        } else {
            let key: Option<Vec<Bound>> = cursor.0.iter().map(decode).collect();
            let wanted = plan.range.len().max(1);
            let key = key.filter(|key| key.len() == wanted).ok_or_else(|| {
                Error::stale(format!("the saved position does not fit the key of table '{}'", table.name))
                    .hint("the legacy table was rebuilt since; copy it again from the start with --recopy")
            })?;
            for next in &plan.next {
                let limit = (max_rows - rows.len()) as i64;
                let mut bound: Vec<&dyn ToSql> = key[..next.parameters].iter().map(|part| part as &dyn ToSql).collect();
                bound.push(&limit);
                let filled = self.fill(&next.sql, &bound, rows, by_rowid).map_err(failed)?;
                last = filled.last.or(last);
                if filled.full || rows.len() >= max_rows {
                    break;
                }
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let end = rows.row(rows.len() - 1);
        let parts: Vec<Value<'_>> = match last {
            Some(rowid) => vec![Value::Integer(rowid)],
            None => plan.range.iter().map(|cell| end.get(*cell)).collect(),
        };
        // Only a rowid table whose row number cannot be named gets here with a null.
        if parts.contains(&Value::Null) {
            return Err(Error::row(format!("a row of table '{}' has a null in its primary key", table.name))
                .hint("give it a key: without one no copy can tell where it stands"));
        }
        cursor.0 = parts.into_iter().map(encode).collect();
        Ok(())
    }
}
