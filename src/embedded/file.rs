//! Opening the file of an embedded log: whose it is, which format it has, and the settings of every connection.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::failure;
use crate::base::{Error, Result};

/// "cfLg" in the file's header.
const APPLICATION_ID: i32 = 0x6366_4c67;
const MIGRATIONS: [&str; 3] = [
    include_str!("../../migrations/0001_log.sql"),
    include_str!("../../migrations/0002_groups.sql"),
    include_str!("../../migrations/0003_topic_ids.sql"),
];
const FORMAT: i32 = MIGRATIONS.len() as i32;
const BUSY: Duration = Duration::from_secs(5);

/// Opens the log at `path`; a new file is made only with `create`. A file that is not a log of this format is not touched.
pub(super) fn open(path: &Path, create: bool) -> Result<Connection> {
    if create {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(|error| failure::of_io(parent, error))?;
        }
    } else if !path.exists() {
        let text = format!("there is no embedded log at {}", path.display());
        return Err(Error::connect(text).hint("run `crossfade provision apply`"));
    }
    let mut connection = connect(path, create)?;
    if !is_made(&connection, path)? {
        if !create {
            let text = format!("{} is empty: it holds no log yet", path.display());
            return Err(Error::connect(text).hint("run `crossfade provision apply`"));
        }
        make(&mut connection, path)?;
    }
    Ok(connection)
}

/// A further connection to a log that was opened before.
pub(super) fn connect(path: &Path, create: bool) -> Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
    Connection::open_with_flags(path, flags)
        .and_then(|connection| {
            connection.busy_timeout(BUSY)?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            // The write-ahead log shrinks again after a long reader has held it up.
            connection.pragma_update_and_check(None, "journal_size_limit", 64 << 20, |_| Ok(()))?;
            Ok(connection)
        })
        .map_err(|error| failure::of(path, error))
}

/// Whether the file is a log of this format; false for an empty one.
fn is_made(connection: &Connection, path: &Path) -> Result<bool> {
    let found = || -> rusqlite::Result<(i32, i32, i64)> {
        Ok((
            connection.pragma_query_value(None, "application_id", |row| row.get(0))?,
            connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
            connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?,
        ))
    };
    // In one read: another process makes all three in one commit, which may come in between.
    let found = || {
        connection.execute_batch("SAVEPOINT look")?;
        let found = found();
        connection.execute_batch("RELEASE look")?;
        found
    };
    let place = path.display();
    match found().map_err(|error| failure::of(path, error))? {
        (APPLICATION_ID, 1..=FORMAT, _) => Ok(true),
        (APPLICATION_ID, version, _) if version > FORMAT => {
            Err(Error::refused(format!("{place} has log format {version}, newer than this tool knows: {FORMAT}"))
                .hint("use a newer crossfade"))
        }
        (0, 0, 0) => Ok(false),
        _ => Err(Error::corrupt(format!("{place} is an SQLite file, but not a log of crossfade"))
            .hint("name another file under `log.embedded`")),
    }
}

fn make(connection: &mut Connection, path: &Path) -> Result<()> {
    let fail = |error| failure::of(path, error);
    // Only before the first page is written.
    connection.pragma_update(None, "page_size", 16_384).map_err(fail)?;
    use_write_ahead_log(connection, path)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
    // Another process may have made it since.
    if !is_made(&transaction, path)? {
        for migration in MIGRATIONS {
            transaction.execute_batch(migration).map_err(fail)?;
        }
        let cluster_id = uuid::Uuid::new_v4().to_string();
        transaction.execute("INSERT INTO log (only, cluster_id) VALUES (1, ?1)", [cluster_id]).map_err(fail)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(fail)?;
        transaction.pragma_update(None, "user_version", FORMAT).map_err(fail)?;
    }
    transaction.commit().map_err(fail)
}

/// Brings a log of an older format to this one; for what the older one cannot keep.
pub(super) fn upgrade(connection: &mut Connection, path: &Path) -> Result<()> {
    let fail = |error| failure::of(path, error);
    let version = |connection: &Connection| -> Result<usize> {
        let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, u32>(0));
        version.map(|version| version as usize).map_err(fail)
    };
    if version(connection)? >= MIGRATIONS.len() {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
    for migration in MIGRATIONS.iter().skip(version(&transaction)?) {
        transaction.execute_batch(migration).map_err(fail)?;
    }
    transaction.pragma_update(None, "user_version", FORMAT).map_err(fail)?;
    transaction.commit().map_err(fail)
}

fn use_write_ahead_log(connection: &Connection, path: &Path) -> Result<()> {
    let started = Instant::now();
    loop {
        let mode: rusqlite::Result<String> =
            connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0));
        match mode {
            Ok(mode) if mode == "wal" => return Ok(()),
            Ok(mode) => {
                let text = format!("{} cannot keep a write-ahead log, only '{mode}'", path.display());
                return Err(Error::connect(text).hint("put the log on a local file system"));
            }
            // The busy time-out does not cover a change of the journal mode.
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && started.elapsed() < BUSY => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(failure::of(path, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Kind;

    #[test]
    fn a_log_of_a_newer_format_is_refused_by_name_and_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        open(&path, true).unwrap().pragma_update(None, "user_version", 7).unwrap();
        let error = open(&path, true).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.message().contains("log.db has log format 7, newer than this tool knows: 3"), "{error}");
        assert_eq!(error.help(), Some("use a newer crossfade"));
    }

    #[test]
    fn a_log_of_an_older_format_is_opened_as_it_is_and_brought_up_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        let connection = open(&path, true).unwrap();
        connection
            .execute_batch("DROP TABLE groups; ALTER TABLE topics DROP COLUMN uuid; PRAGMA user_version = 1")
            .unwrap();
        drop(connection);
        let version = |connection: &Connection| -> i32 {
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap()
        };
        let mut connection = open(&path, false).unwrap();
        assert_eq!(version(&connection), 1);
        connection.execute("INSERT INTO topics (name, configs) VALUES ('t', '{}')", []).unwrap();
        let id = |connection: &Connection| super::super::layout::topic_id(connection, "log", "t").unwrap();
        assert_eq!(id(&connection).as_deref(), Some("log/1"));
        for _ in 0..2 {
            upgrade(&mut connection, &path).unwrap();
            assert_eq!(version(&connection), FORMAT);
            assert_eq!(id(&connection).as_deref(), Some("log/1"), "a topic keeps its id");
        }
        connection.execute("INSERT INTO groups VALUES ('g', '{}')", []).unwrap();
    }

    #[test]
    fn a_file_that_is_no_log_is_named_and_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("notes.txt");
        std::fs::write(&text, "not a database, but longer than a header of SQLite would be, by far: ".repeat(9))
            .unwrap();
        let other = folder.path().join("other.db");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE mine (id); PRAGMA user_version = 3").unwrap();
        for path in [text, other] {
            let before = std::fs::read(&path).unwrap();
            let error = open(&path, true).unwrap_err();
            assert_eq!(error.kind(), Kind::Corrupt, "{error}");
            assert!(error.message().contains(path.to_str().unwrap()), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), before);
        }
    }

    #[test]
    fn without_create_nothing_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.db");
        assert_eq!(open(&path, false).unwrap_err().kind(), Kind::Connect);
        assert!(!path.exists());
        std::fs::write(&path, "").unwrap();
        assert_eq!(open(&path, false).unwrap_err().kind(), Kind::Connect);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }

    #[test]
    fn processes_that_make_the_same_log_at_once_agree_on_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/log.db");
        let ids: Vec<String> = std::thread::scope(|scope| {
            let openings: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        let connection = open(&path, true).unwrap();
                        connection.query_row("SELECT cluster_id FROM log", [], |row| row.get(0)).unwrap()
                    })
                })
                .collect();
            openings.into_iter().map(|opening| opening.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        let size: i64 = open(&path, false).unwrap().pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
        assert_eq!(size, 16_384);
    }
}
