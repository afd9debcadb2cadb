//! The form of an outbox: what it says of itself, how much it keeps, and what that means to a person.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::SqliteOutbox;
use super::ddl::{Form, SLAB};
use crate::base::words::{counted, number};
use crate::base::{Error, Result};
use crate::mapping::init::Schema;
use crate::sqlite::plan::quote;

/// What a ring takes at most: so many changes, or so many bytes by what rows have now.
const MOST: (u64, u64) = (1_000_000, 512 << 20);

/// What a change has beside its images.
const OVERHEAD: u64 = 40;

/// Rows of a table that are measured, and bytes.
const SAMPLE: (u64, u64) = (1_000, 16 << 20);

/// Changes at the end of an outbox from which its rate is taken.
const LATELY: i64 = 10_000;

impl SqliteOutbox {
    /// What the outbox that is there says of itself.
    pub(super) fn form(&self, connection: &Connection) -> Result<Form> {
        let said = |key: &str| -> Result<Option<i64>> {
            let sql = format!("SELECT max(value) FROM {} WHERE key = ?1", quote(&self.names.meta()));
            connection.query_row(&sql, [key], |row| row.get(0)).map_err(|error| self.told(error))
        };
        match said("format")? {
            Some(1) => Ok(Form::Growing),
            Some(2) => Ok(Form::Ring { keeps: said("keeps")?.unwrap_or_default().unsigned_abs() }),
            _ => Err(Error::refused(format!(
                "the outbox in '{}' has a form this tool does not know",
                self.path.display()
            ))
            .hint("it was made by a newer crossfade: use that one")),
        }
    }

    /// The form a new outbox is given.
    pub(super) fn wanted(&self, connection: &Connection, schema: &Schema, there: Option<Form>) -> Form {
        let keeps = match (self.keeps, there) {
            (Some(keeps), _) | (None, Some(Form::Ring { keeps })) => keeps,
            (None, _) => {
                let image = self.image_bytes(connection, schema);
                // An update has two of them.
                (MOST.1 / (2 * image + OVERHEAD)).clamp(8 * SLAB, MOST.0)
            }
        };
        Form::Ring { keeps: keeps.max(SLAB) }
    }

    /// Bytes of a row, on the average of what is read of all mapped tables. What cannot be read is left out.
    fn image_bytes(&self, connection: &Connection, schema: &Schema) -> u64 {
        let (mut rows, mut bytes) = (0, 0);
        for table in &self.mapping.tables {
            let fields: Vec<String> = table.fields().map(quote).collect();
            let newest = schema.table(&table.name).and_then(|table| table.rowid.as_ref());
            let order = newest.map_or(String::new(), |name| format!(" ORDER BY {} DESC", quote(name)));
            let sql = format!("SELECT {} FROM {}{order}", fields.join(", "), quote(&table.name));
            let Ok(mut statement) = connection.prepare(&sql) else { continue };
            let Ok(mut found) = statement.query([]) else { continue };
            let (mut read, mut measured) = (0, 0);
            while read < SAMPLE.0 && measured < SAMPLE.1 {
                let Ok(Some(row)) = found.next() else { break };
                let cells = (0..fields.len()).filter_map(|cell| row.get_ref(cell).ok());
                measured += cells.map(size).sum::<u64>();
                read += 1;
            }
            rows += read;
            bytes += measured;
        }
        bytes / rows.max(1)
    }

    /// How long the outbox outlasts a silence of follow, by what was written lately.
    pub(super) fn outlasts(&self, connection: &Connection, form: Form) -> Result<String> {
        let changes = quote(&self.names.changes());
        let sql = format!(
            "SELECT max(number) - min(number), (max(made) - min(made)) * 86400.0, \
             (SELECT max(number) - min(number) + 1 FROM {changes}) FROM {changes} \
             WHERE number >= (SELECT max(number) FROM {changes}) - {LATELY}"
        );
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        let (span, seconds, held): (Option<i64>, Option<f64>, Option<i64>) =
            connection.query_row(&sql, [], read).map_err(|error| self.told(error))?;
        let Form::Ring { keeps } = form else {
            let held = counted(held.unwrap_or_default().unsigned_abs(), "change");
            return Ok(format!(
                "the outbox is of the first form and grows without end: it holds {held}; crossfade follow --install makes \
                 it one that its triggers keep small, without losing any"
            ));
        };
        let rate = span.zip(seconds).filter(|(span, seconds)| *span > 0 && *seconds > 0.0);
        let outlasts = match rate {
            Some((span, seconds)) => {
                let lasts = keeps as f64 * seconds / span as f64;
                format!(", at the rate of the last {} those of {}", number(span.unsigned_abs()), duration(lasts as u64))
            }
            None => String::new(),
        };
        Ok(format!("the outbox keeps up to {} with or without a follow{outlasts}", counted(keeps, "change")))
    }
}

/// Bytes of a cell of the table of changes, about.
fn size(cell: ValueRef<'_>) -> u64 {
    match cell {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes.len() as u64 + 2,
        ValueRef::Null => 1,
        ValueRef::Integer(_) | ValueRef::Real(_) => 8,
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..=119 => counted(seconds, "second"),
        120..=7199 => counted(seconds / 60, "minute"),
        7200..=172_799 => counted(seconds / 3600, "hour"),
        _ => counted(seconds / 86_400, "day"),
    }
}
