//! Reading an outbox in the order of its numbers, and trimming what has been read.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension};

use super::ddl::LEADING;
use super::settle::{Entry, Settler};
use super::{BREATH, SqliteOutbox, TRIM, trim_statement, writable};
use crate::base::{Error, Millis, Result, hex};
use crate::mapping::{Rows, Value};
use crate::port::change_source::{ChangeReader, Changes, Lag, Position};
use crate::sqlite::error::open_read_only;
use crate::sqlite::functions::{register, value};
use crate::sqlite::plan::quote;

/// How often an idle reader looks whether anything was committed.
const NAP: Duration = Duration::from_millis(10);
/// Transactions that trim at most, before more is read.
const TRIMS: u32 = 8;
/// A batch ends with the change that brings its images to this many bytes.
const BATCH_BYTES: usize = 4 << 20;
/// Consumed changes are taken away when there are this many of them, or after this time.
const TRIM_AFTER: (u64, Duration) = (2_000, Duration::from_secs(1));
/// Days between the first day of the Julian calendar and 1970.
const UNIX_EPOCH_DAY: f64 = 2_440_587.5;

/// One reader: short read transactions on a connection of its own, and one for trimming.
pub(super) struct OutboxReader {
    outbox: SqliteOutbox,
    connection: Connection,
    trimming: Option<Connection>,
    end: Position,
    schema: i64,
    seen: Option<i64>,
    settler: Settler,
    trimmed: u64,
    trimmed_at: Option<Instant>,
}

/// The mark of a position: the version of the schema, and what tells the change with this number from another that was
/// given the same one.
pub(super) fn mark(connection: &Connection, changes: &str, number: i64) -> rusqlite::Result<Option<String>> {
    let schema = pragma(connection, "schema_version")?;
    Ok(change(connection, changes, number)?.map(|change| format!("{schema} {change}")))
}

fn change(connection: &Connection, changes: &str, number: i64) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare(&format!("SELECT * FROM {} WHERE number = ?1", quote(changes)))?;
    let columns = statement.column_count();
    let of = |row: &rusqlite::Row<'_>| {
        let mut image = Vec::new();
        (0..columns).try_for_each(|column| row.get_ref(column).map(|raw| value(raw).write_image(&mut image)))?;
        Ok(hex(&blake3::hash(&image).as_bytes()[..8]))
    };
    statement.query_row([number], of).optional()
}

impl OutboxReader {
    pub(super) fn open(outbox: SqliteOutbox, from: &Position) -> Result<Self> {
        let connection = open_read_only(&outbox.path)?;
        register(&connection).map_err(|error| outbox.told(error))?;
        connection.execute_batch("BEGIN").map_err(|error| outbox.told(error))?;
        outbox.require_whole(&connection)?;
        let file = outbox.path.display();
        if outbox.incarnation_of(&connection)? != from.incarnation {
            return Err(Error::stale(format!("the outbox in '{file}' was made anew since"))
                .hint("crossfade follow reconciles first"));
        }
        let (schema, last) = from.mark.split_once(' ').unwrap_or_default();
        let found = change(&connection, &outbox.names.changes(), from.at as i64).map_err(|error| outbox.told(error))?;
        if found.as_deref() != Some(last) {
            let what = if found.is_some() { "another change" } else { "no change" };
            return Err(Error::refused(format!(
                "the outbox in '{file}' has {what} at number {}, up to which the log has it: the file was put back to an older state",
                from.at
            ))
            .hint("if that is what it should be, make the outbox anew (crossfade follow --uninstall, then --install): follow reconciles first"));
        }
        // What has happened to the schema since then is seen by the first read.
        let schema = schema.parse().unwrap_or_default();
        let settler = Settler::new(&outbox, &connection)?;
        connection.execute_batch("COMMIT").map_err(|error| outbox.told(error))?;
        Ok(Self {
            connection,
            trimming: None,
            end: from.clone(),
            schema,
            seen: None,
            settler,
            trimmed: 0,
            trimmed_at: None,
            outbox,
        })
    }

    /// One read transaction; whether anything was found.
    fn attempt(&mut self, changes: &mut Changes, max: usize) -> Result<bool> {
        changes.reset(&self.outbox.mapping);
        changes.end.clone_from(&self.end);
        self.begin()?;
        let found = self.look(changes, max);
        self.connection.execute_batch("COMMIT").map_err(|error| self.outbox.told(error))?;
        found?;
        let moved = changes.end != self.end;
        self.end.clone_from(&changes.end);
        Ok(moved || changes.reconcile.is_some())
    }

    fn begin(&self) -> Result<()> {
        self.connection.execute_batch("BEGIN").map_err(|error| self.outbox.told(error))
    }

    fn look(&mut self, changes: &mut Changes, max: usize) -> Result<()> {
        let schema = pragma(&self.connection, "schema_version").map_err(|error| self.outbox.told(error))?;
        if schema != self.schema {
            self.outbox.require_whole(&self.connection)?;
            if self.outbox.incarnation_of(&self.connection)? != self.end.incarnation {
                changes.reconcile = Some("the outbox was made anew".to_owned());
                return Ok(());
            }
            self.settler = Settler::new(&self.outbox, &self.connection)?;
            if let Some(table) = self.outbox.mapping.tables.iter().find(|table| table.rowid.is_some()) {
                let name = &table.name;
                changes.reconcile =
                    Some(format!("the schema changed, or VACUUM ran and gave rows of '{name}' new numbers"));
            }
            self.schema = schema;
        }
        let (mut images, entries, caught_up) = self.entries(max).map_err(|error| self.outbox.told(error))?;
        changes.caught_up = caught_up;
        let Some(last) = entries.last() else { return Ok(()) };
        changes.end.at = last.number;
        let mark = mark(&self.connection, &self.outbox.names.changes(), last.number as i64);
        changes.end.mark = mark.map_err(|error| self.outbox.told(error))?.unwrap_or_default();
        self.settler.settle(&self.outbox, &self.connection, &mut images, &entries, changes)
    }

    /// The next changes as they were written, their images by table. A batch never ends between the rows that a new one
    /// may have taken the place of and the new one itself.
    fn entries(&self, max: usize) -> rusqlite::Result<(Vec<Rows>, Vec<Entry>, bool)> {
        let tables = &self.outbox.mapping.tables;
        let mut images: Vec<Rows> = tables.iter().map(|table| Rows::new(table.field_count())).collect();
        let mut entries: Vec<Entry> = Vec::new();
        let sql = format!("SELECT * FROM {} WHERE number > ?1 ORDER BY number", quote(&self.outbox.names.changes()));
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query([self.end.at as i64])?;
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            if (entries.len() >= max || bytes >= BATCH_BYTES) && entries.last().is_some_and(|last| last.op != 'c') {
                return Ok((images, entries, false));
            }
            let made: Value<'_> = value(row.get_ref(1)?);
            let made_at = match made {
                Value::Real(day) => Some(millis(day)),
                _ => None,
            };
            let tab: i64 = row.get(2)?;
            let op = row.get_ref(3)?.as_bytes().ok().and_then(|op| op.first()).map_or('?', |op| char::from(*op));
            let table = usize::try_from(tab - 1).ok().filter(|table| *table < tables.len());
            let mut entry =
                Entry { number: row.get::<_, i64>(0)?.unsigned_abs(), made_at, table, op, new: None, old: None };
            if let Some(table) = table {
                let rows = &mut images[table];
                let before = rows.byte_len();
                let mut take = |side: usize| -> rusqlite::Result<Option<usize>> {
                    for cell in 0..rows.width() {
                        rows.push(value(row.get_ref(LEADING + 2 * cell + side)?));
                    }
                    Ok(Some(rows.len() - 1))
                };
                if matches!(op, 'i' | 'u') {
                    entry.new = take(0)?;
                }
                if matches!(op, 'u' | 'd' | 'c') {
                    entry.old = take(1)?;
                }
                bytes += rows.byte_len() - before;
            }
            entries.push(entry);
        }
        Ok((images, entries, true))
    }

    fn trim(&mut self, until: u64) -> rusqlite::Result<usize> {
        if self.trimming.is_none() {
            let connection = writable(&self.outbox.path)?;
            // The legacy's writers go first: what is not taken away now is taken away later.
            connection.busy_timeout(Duration::from_millis(20))?;
            self.trimming = Some(connection);
        }
        let Some(connection) = &self.trimming else { return Ok(0) };
        let sql = trim_statement(&self.outbox.names.changes());
        connection.prepare(&sql)?.execute((until as i64, TRIM as i64))
    }
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
}

impl ChangeReader for OutboxReader {
    fn read(&mut self, changes: &mut Changes, max: usize, wait: Duration) -> Result<()> {
        let began = Instant::now();
        loop {
            let version = pragma(&self.connection, "data_version").map_err(|error| self.outbox.told(error))?;
            if self.seen != Some(version) {
                if self.attempt(changes, max)? {
                    if changes.caught_up {
                        self.seen = Some(version);
                    }
                    return Ok(());
                }
                self.seen = Some(version);
            }
            if began.elapsed() >= wait {
                changes.reset(&self.outbox.mapping);
                changes.end.clone_from(&self.end);
                changes.caught_up = true;
                return Ok(());
            }
            std::thread::sleep(NAP.min(wait));
        }
    }

    /// Keeps the change it ends with: the next number follows it, and it shows whether the file is still the same.
    fn release(&mut self, until: &Position) -> Result<()> {
        let late = self.trimmed_at.is_none_or(|at| at.elapsed() >= TRIM_AFTER.1);
        let due = late || until.at.saturating_sub(self.trimmed) >= TRIM_AFTER.0;
        if until.incarnation != self.end.incarnation || until.at <= self.trimmed || !due {
            return Ok(());
        }
        for _ in 0..TRIMS {
            let trimmed = match self.trim(until.at) {
                Ok(trimmed) => trimmed,
                Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DatabaseBusy) => return Ok(()),
                Err(error) => return Err(self.outbox.told(error)),
            };
            if trimmed < TRIM {
                (self.trimmed, self.trimmed_at) = (until.at, Some(Instant::now()));
                return Ok(());
            }
            // A writer that waits for the file gets it in between.
            std::thread::sleep(BREATH);
        }
        Ok(())
    }

    /// By the numbers, which have no gaps but those of candidates: counting would read every row.
    fn lag(&mut self) -> Result<Lag> {
        let changes = quote(&self.outbox.names.changes());
        let sql = format!(
            "SELECT (SELECT max(number) FROM {changes}), (SELECT made FROM {changes} WHERE number > ?1 ORDER BY number LIMIT 1)"
        );
        let read = |row: &rusqlite::Row<'_>| {
            let last = row.get::<_, Option<i64>>(0)?.unwrap_or_default().unsigned_abs();
            let changes = last.saturating_sub(self.end.at);
            Ok(Lag { changes, bytes: 0, since: row.get::<_, Option<f64>>(1)?.map(millis) })
        };
        self.connection.query_row(&sql, [self.end.at as i64], read).map_err(|error| self.outbox.told(error))
    }
}

/// A Julian day as milliseconds since the epoch.
fn millis(day: f64) -> Millis {
    ((day - UNIX_EPOCH_DAY) * 86_400_000.0).round() as Millis
}
