//! Where a reader of an outbox stands, and whether what comes after is still all there.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension};

use super::SqliteOutbox;
use super::read::pragma;
use crate::base::words::number;
use crate::base::{Error, Result, hex};
use crate::port::change_source::Position;
use crate::sqlite::functions::value;
use crate::sqlite::plan::quote;

/// The mark of a position: the version of the schema, what tells the change with its number from another that was given
/// the same one, and the file. The first form's positions do not name the file.
#[derive(Debug, Default)]
pub(super) struct Mark {
    pub(super) schema: i64,
    token: String,
    file: Option<u64>,
}

impl Mark {
    pub(super) fn of(position: &Position) -> Self {
        let mut parts = position.mark.split(' ');
        let mut next = || parts.next().unwrap_or_default();
        let (schema, token) = (next().parse().unwrap_or_default(), next().to_owned());
        Self { schema, token, file: next().parse().ok() }
    }

    fn text(&self) -> String {
        let Self { schema, token, file } = self;
        file.map_or(format!("{schema} {token}"), |file| format!("{schema} {token} {file}"))
    }
}

/// What tells a file from another one that has taken its name.
pub(super) fn inode(path: &Path) -> Option<u64> {
    std::fs::metadata(path).map(|file| file.ino()).ok()
}

/// Why there is a gap behind a position, and how many changes would have had to be kept: 0 where that would not help.
pub(super) struct Gap {
    pub(super) why: String,
    pub(super) needs: u64,
}

impl SqliteOutbox {
    /// The position behind a change, as this view has it.
    pub(super) fn stand(
        &self,
        connection: &Connection,
        file: Option<u64>,
        incarnation: &str,
        at: i64,
    ) -> rusqlite::Result<Position> {
        let token = token(connection, &self.names.changes(), at)?.unwrap_or_default();
        let mark = Mark { schema: pragma(connection, "schema_version")?, token, file };
        let (incarnation, at) = (incarnation.to_owned(), at.unsigned_abs());
        Ok(Position { incarnation, at, mark: mark.text(), ..Position::default() })
    }

    /// Whether changes behind a position of this incarnation are gone; an error where the file is an older one.
    pub(super) fn gap(&self, connection: &Connection, file: Option<u64>, from: &Position) -> Result<Option<Gap>> {
        let changes = self.names.changes();
        let told = |error| self.told(error);
        let mark = Mark::of(from);
        match token(connection, &changes, from.at as i64).map_err(told)? {
            Some(token) if token == mark.token => {
                let moved = mark.file.zip(file).is_some_and(|(then, now)| then != now);
                let why = || format!("'{}' is another file than the one that was followed", self.path.display());
                return Ok(moved.then(|| Gap { why: why(), needs: 0 }));
            }
            Some(_) => return Err(self.older("another change", from.at)),
            None => {}
        }
        let ends = format!("SELECT min(number), max(number) FROM {}", quote(&changes));
        let ends = connection.query_row(&ends, [], |row| Ok((row.get(0)?, row.get(1)?)));
        let (first, last): (Option<i64>, Option<i64>) = ends.map_err(told)?;
        let (first, last) = (first.unwrap_or_default().unsigned_abs(), last.unwrap_or_default().unsigned_abs());
        if last < from.at {
            return Err(self.older("no change", from.at));
        }
        let needs = last - from.at;
        let why = format!(
            "the outbox keeps changes from {} on, and the log has them up to {} only",
            number(first),
            number(from.at)
        );
        Ok(Some(Gap { why, needs: if first > from.at { needs } else { 0 } }))
    }

    fn older(&self, what: &str, at: u64) -> Error {
        Error::refused(format!(
            "the outbox in '{}' has {what} at number {at}, up to which the log has it: the file was put back to an older state",
            self.path.display()
        ))
        .hint("if that is what it should be, make the outbox anew (crossfade follow --uninstall, then --install): follow reconciles first")
    }
}

/// What tells the change with this number from another that was given the same one: what it was given for that, or, of
/// one of the first form, a digest.
fn token(connection: &Connection, changes: &str, number: i64) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare(&format!("SELECT * FROM {} WHERE number = ?1", quote(changes)))?;
    let columns = statement.column_count();
    let given = statement.column_names().next_back() == Some("token");
    let of = |row: &rusqlite::Row<'_>| {
        if let (true, ValueRef::Integer(token)) = (given, row.get_ref(columns - 1)?) {
            return Ok(token.to_string());
        }
        let mut image = Vec::new();
        let told = 0..columns - usize::from(given);
        for column in told {
            value(row.get_ref(column)?).write_image(&mut image);
        }
        Ok(hex(&blake3::hash(&image).as_bytes()[..8]))
    };
    statement.query_row([number], of).optional()
}
