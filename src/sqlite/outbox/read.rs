//! Reading an outbox in the order of its numbers.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::SqliteOutbox;
use super::anchor::{Gap, Mark, inode};
use super::ddl::LEADING;
use super::settle::{Entry, Settler};
use crate::base::{Error, Millis, Result};
use crate::mapping::{Rows, Value};
use crate::port::change_source::{ChangeReader, Changes, Lag, Position};
use crate::sqlite::error::open_read_only;
use crate::sqlite::functions::{register, value};
use crate::sqlite::plan::quote;

/// How often an idle reader looks whether anything was committed.
const NAP: Duration = Duration::from_millis(10);
/// A batch ends with the change that brings its images to this many bytes.
const BATCH_BYTES: usize = 4 << 20;
/// Days between the first day of the Julian calendar and 1970.
const UNIX_EPOCH_DAY: f64 = 2_440_587.5;

/// One reader: short read transactions on a connection of its own. It writes nothing.
pub(super) struct OutboxReader {
    outbox: SqliteOutbox,
    connection: Connection,
    /// The file that is open, whatever bears its name by now.
    file: Option<u64>,
    end: Position,
    schema: i64,
    seen: Option<i64>,
    settler: Settler,
}

impl OutboxReader {
    pub(super) fn open(outbox: SqliteOutbox, from: &Position) -> Result<Self> {
        let file = inode(&outbox.path);
        let connection = open_read_only(&outbox.path)?;
        register(&connection).map_err(|error| outbox.told(error))?;
        connection.execute_batch("BEGIN").map_err(|error| outbox.told(error))?;
        outbox.require_whole(&connection)?;
        if outbox.incarnation_of(&connection)? != from.incarnation {
            return Err(Error::stale(format!("the outbox in '{}' was made anew since", outbox.path.display()))
                .hint("crossfade follow reconciles first"));
        }
        outbox.gap(&connection, file, from)?;
        // What has happened to the schema since then is seen by the first read, and so is a gap.
        let schema = Mark::of(from).schema;
        let settler = Settler::new(&outbox, &connection)?;
        connection.execute_batch("COMMIT").map_err(|error| outbox.told(error))?;
        Ok(Self { connection, file, end: from.clone(), schema, seen: None, settler, outbox })
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
        }
        if self.outbox.incarnation_of(&self.connection)? != self.end.incarnation {
            changes.reconcile = Some("the outbox was made anew, or its last changes were taken out of it".to_owned());
            return Ok(());
        }
        if schema != self.schema {
            self.settler = Settler::new(&self.outbox, &self.connection)?;
            if let Some(table) = self.outbox.mapping.tables.iter().find(|table| table.rowid.is_some()) {
                let name = &table.name;
                changes.reconcile =
                    Some(format!("the schema changed, or VACUUM ran and gave rows of '{name}' new numbers"));
            }
            self.schema = schema;
        }
        if let Some(gap) = self.outbox.gap(&self.connection, self.file, &self.end)? {
            return self.skip(gap, changes);
        }
        let (mut images, entries, caught_up) = self.entries(max).map_err(|error| self.outbox.told(error))?;
        let holes = (self.end.at + 1..).zip(&entries).find(|(due, entry)| *due != entry.number);
        if let Some((due, _)) = holes {
            let why = format!("change {due} was taken out of the outbox");
            return self.skip(Gap { why, needs: 0 }, changes);
        }
        changes.caught_up = caught_up;
        let Some(last) = entries.last() else { return Ok(()) };
        changes.end = self.stand(last.number as i64)?;
        self.settler.settle(&self.outbox, &self.connection, &mut images, &entries, changes)
    }

    fn stand(&self, at: i64) -> Result<Position> {
        let stand = self.outbox.stand(&self.connection, self.file, &self.end.incarnation, at);
        stand.map_err(|error| self.outbox.told(error))
    }

    /// Goes to the outbox's end, because what lies before cannot be told.
    fn skip(&self, gap: Gap, changes: &mut Changes) -> Result<()> {
        let last = format!("SELECT max(number) FROM {}", quote(&self.outbox.names.changes()));
        let last = self.connection.query_row(&last, [], |row| row.get::<_, Option<i64>>(0));
        changes.end = self.stand(last.map_err(|error| self.outbox.told(error))?.unwrap_or_default())?;
        (changes.gap, changes.reconcile) = (Some(gap.needs), Some(gap.why));
        Ok(())
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
}

pub(super) fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))
}

impl ChangeReader for OutboxReader {
    fn read(&mut self, changes: &mut Changes, max: usize, wait: Duration) -> Result<()> {
        let began = Instant::now();
        loop {
            if let (Some(open), Some(named)) = (self.file, inode(&self.outbox.path))
                && open != named
            {
                self.connection = open_read_only(&self.outbox.path)?;
                register(&self.connection).map_err(|error| self.outbox.told(error))?;
                (self.file, self.seen, self.schema) = (Some(named), None, -1);
            }
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

    /// Nothing: a commit of ours could make a write of the legacy's fail. Its triggers keep the outbox small.
    fn release(&mut self, _: &Position) -> Result<()> {
        Ok(())
    }

    /// By the numbers, which have no gaps but those of candidates: counting would read every row.
    fn lag(&mut self) -> Result<Lag> {
        // Whoever reads on finds the gap, and something is to be told in any case.
        let least = u64::from(self.outbox.gap(&self.connection, self.file, &self.end)?.is_some());
        let changes = quote(&self.outbox.names.changes());
        let sql = format!(
            "SELECT (SELECT max(number) FROM {changes}), (SELECT made FROM {changes} WHERE number > ?1 ORDER BY number LIMIT 1)"
        );
        let read = |row: &rusqlite::Row<'_>| {
            let last = row.get::<_, Option<i64>>(0)?.unwrap_or_default().unsigned_abs();
            let changes = last.saturating_sub(self.end.at).max(least);
            Ok(Lag { changes, bytes: 0, since: row.get::<_, Option<f64>>(1)?.map(millis) })
        };
        self.connection.query_row(&sql, [self.end.at as i64], read).map_err(|error| self.outbox.told(error))
    }
}

/// A Julian day as milliseconds since the epoch.
fn millis(day: f64) -> Millis {
    ((day - UNIX_EPOCH_DAY) * 86_400_000.0).round() as Millis
}
