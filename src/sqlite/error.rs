//! Opening SQLite files, and their errors in words that name the file and what would help.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};

use crate::base::{Error, Kind, Result};

/// How long an open waits for another program's lock.
const PATIENCE: std::time::Duration = std::time::Duration::from_millis(1000);

/// Opens an existing file for reading only. Never creates it, and never trusts it to stay unchanged (`immutable`). Beside
/// a WAL file that nobody has open SQLite itself leaves an empty `-wal` and a `-shm`.
pub fn open_read_only(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let open = || {
        let connection = Connection::open_with_flags(uri(path, "mode=ro"), flags)?;
        connection.busy_timeout(PATIENCE)?;
        connection.pragma_update(None, "query_only", true)?;
        // A name that is no column must be an error, never the string in its quotes.
        connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        // The file is first looked at by the first read.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    };
    open().map_err(|error| explain(path, error))
}

/// The file as a SQLite URI, whatever bytes its name has.
pub fn uri(path: &Path, parameters: &str) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    let mut text = String::from(if path.is_absolute() { "file://" } else { "file:" });
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => text.push(char::from(*byte)),
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text + "?" + parameters
}

/// Says what an error of SQLite means for the file at `path`.
pub fn explain(path: &Path, error: rusqlite::Error) -> Error {
    let file = path.display();
    let (kind, message, hint) = match (error.sqlite_error_code(), extended(&error)) {
        (_, ffi::SQLITE_IOERR_SHMSIZE) | (Some(ErrorCode::DiskFull), _) => (
            Kind::Full,
            format!("no room left on the device of '{file}'"),
            "make room and run the same command again: what was committed stays, the run resumes there",
        ),
        (Some(ErrorCode::NotADatabase), _) => (
            Kind::Connect,
            format!("'{file}' is not a SQLite database, or it is encrypted"),
            "name the file the legacy system opens; an encrypted store must be decrypted into a copy first",
        ),
        (Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => (
            Kind::Connect,
            format!("'{file}' is locked by another program"),
            "wait until it is done, or stop it (`fuser FILE` shows it), and run the same command again",
        ),
        (Some(ErrorCode::DatabaseCorrupt), _) => (
            Kind::Corrupt,
            format!("'{file}' is damaged"),
            "`sqlite3 FILE 'PRAGMA integrity_check'` shows where; restore it, or salvage it with `.recover`",
        ),
        (_, ffi::SQLITE_READONLY_ROLLBACK) => (
            Kind::Refused,
            format!("'{file}' was left in the middle of a transaction by a crash"),
            "open it once with the program it belongs to, which rolls the transaction back",
        ),
        (Some(ErrorCode::CannotOpen), _) if !path.exists() => (
            Kind::Connect,
            format!("there is no file '{file}'"),
            "check the path; a relative one starts at the config file's folder",
        ),
        (Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure), _) if path.is_dir() => {
            (Kind::Connect, format!("'{file}' is a folder, not a SQLite database"), "name the file in it")
        }
        (Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied), _) => (
            Kind::Connect,
            format!("'{file}' cannot be opened"),
            "run as a user who may read it and its -wal and -shm files, and make those in its folder if they are missing",
        ),
        (Some(ErrorCode::SystemIoFailure), _) => (
            Kind::Failed,
            format!("the device of '{file}' failed to read or write"),
            "look into the system's log, then run the same command again: what was committed stays",
        ),
        _ => return Error::failed(format!("SQLite stopped at '{file}'")).because(error),
    };
    let told = Error::new(kind, message).hint(hint);
    // The causes of what the message says in full are SQLite's guesses.
    if path.is_file() { told.because(error) } else { told }
}

fn extended(error: &rusqlite::Error) -> i32 {
    error.sqlite_error().map_or(0, |error| error.extended_code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_paths_become_uris() {
        assert_eq!(uri(Path::new("/a b/c?d#é.db"), "mode=ro"), "file:///a%20b/c%3Fd%23%C3%A9.db?mode=ro");
        assert_eq!(uri(Path::new("x%y.db"), "mode=ro"), "file:x%25y.db?mode=ro");
    }

    #[test]
    fn errors_say_what_may_be_done() {
        let cases = [
            (ffi::SQLITE_FULL, Kind::Full),
            (ffi::SQLITE_IOERR_SHMSIZE, Kind::Full),
            (ffi::SQLITE_IOERR_WRITE, Kind::Failed),
            (ffi::SQLITE_NOTADB, Kind::Connect),
            (ffi::SQLITE_BUSY_SNAPSHOT, Kind::Connect),
            (ffi::SQLITE_CORRUPT, Kind::Corrupt),
            (ffi::SQLITE_READONLY_ROLLBACK, Kind::Refused),
        ];
        for (code, kind) in cases {
            let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
            let error = explain(Path::new("/x/legacy.db"), error);
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains("/x/legacy.db") && error.help().is_some(), "{error}");
        }
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.db");
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("CREATE TABLE t (c); PRAGMA max_page_count = 3").unwrap();
        let error = connection.execute("INSERT INTO t VALUES (zeroblob(100000))", []).unwrap_err();
        assert_eq!(explain(&path, error).kind(), Kind::Full);
    }
}
