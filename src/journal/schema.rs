//! Making and recognising a journal file.

use std::path::Path;

use rusqlite::Connection;

use super::fault::fault;
use crate::base::{Error, Result};

/// Marks a file as a journal: "cfJl".
const APPLICATION: i32 = 0x6366_4a6c;

/// In order; `user_version` counts those that ran.
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/0001_journal.sql")];

/// Brings the file to the newest schema; refuses a newer one and a file that is something else.
pub(super) fn migrate(path: &Path, connection: &Connection) -> Result<()> {
    if version(path, connection)? == MIGRATIONS.len() {
        return Ok(());
    }
    let run = |sql: &str| connection.execute_batch(sql).map_err(fault(path, "making its tables"));
    run("BEGIN IMMEDIATE")?;
    // Another process may have come first.
    for migration in MIGRATIONS.iter().skip(version(path, connection)?) {
        run(migration)?;
    }
    run(&format!("PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {}; COMMIT", MIGRATIONS.len()))
}

/// Refuses a file that is no journal of a known version.
pub(super) fn check(path: &Path, connection: &Connection) -> Result<()> {
    match version(path, connection)? {
        0 => Err(foreign(path)),
        _ => Ok(()),
    }
}

/// How many migrations the file has seen; 0 for an empty one.
fn version(path: &Path, connection: &Connection) -> Result<usize> {
    let read = |sql: &str| {
        connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(fault(path, "reading its version"))
    };
    let tables = read("SELECT count(*) FROM sqlite_schema")?;
    if read("PRAGMA application_id")? != i64::from(APPLICATION) {
        return if tables == 0 { Ok(0) } else { Err(foreign(path)) };
    }
    let version = read("PRAGMA user_version")?;
    match usize::try_from(version) {
        Ok(version) if version <= MIGRATIONS.len() => Ok(version),
        _ => Err(Error::refused(format!(
            "journal {} has version {version}, written by a newer crossfade; this one knows versions up to {}",
            path.display(),
            MIGRATIONS.len()
        ))
        .hint("use the newer version")),
    }
}

fn foreign(path: &Path) -> Error {
    Error::refused(format!("{} is no journal of crossfade; nothing was changed", path.display()))
        .hint("move the file away, or name another folder")
}

#[cfg(test)]
mod tests {
    #[test]
    fn released_migrations_are_never_edited() {
        let digest = |sql: &&str| blake3::hash(sql.as_bytes()).to_hex()[..16].to_owned();
        let digests: Vec<String> = super::MIGRATIONS.iter().map(digest).collect();
        assert_eq!(digests, ["3fa86f276832c5f5"]);
    }
}
