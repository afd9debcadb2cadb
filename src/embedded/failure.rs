//! What a failure of SQLite or the file system means to the caller.

use std::io;
use std::path::Path;

use rusqlite::{ErrorCode, ffi};

use crate::base::Error;

/// A failure after which nothing of the attempted change is in the file.
pub(super) fn of(path: &Path, error: rusqlite::Error) -> Error {
    let path = path.display();
    let (code, extended) = match &error {
        rusqlite::Error::SqliteFailure(failure, _) => (failure.code, failure.extended_code),
        _ => (ErrorCode::Unknown, 0),
    };
    match code {
        // Growing the shared memory file fails with an IO error where any other write says that the device is full.
        ErrorCode::DiskFull => full(&path.to_string()),
        ErrorCode::SystemIoFailure if extended == ffi::SQLITE_IOERR_SHMSIZE => full(&path.to_string()),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            Error::connect(format!("{path} is locked by another process")).hint("wait for it to end, then run again")
        }
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly => {
            Error::connect(format!("the log {path} cannot be opened"))
                .hint("check that its folder exists and that this user may write there")
        }
        ErrorCode::NotADatabase => Error::corrupt(format!("{path} is no log of crossfade, and no SQLite file"))
            .hint("name another file under `log.embedded`"),
        ErrorCode::DatabaseCorrupt => Error::corrupt(format!("the log {path} is damaged"))
            .hint("put a backup of it in place, or copy anew into another log"),
        _ => Error::failed(format!("{path} failed")),
    }
    .because(error)
}

/// A failure of COMMIT itself. After an IO error the frames may lie in the write-ahead log already, and the next opening
/// may find them.
pub(super) fn of_commit(path: &Path, error: rusqlite::Error) -> Error {
    match &error {
        rusqlite::Error::SqliteFailure(failure, _) if failure.code == ErrorCode::SystemIoFailure => {
            let text = format!("whether the last commit to {} was made is not known", path.display());
            Error::unknown(text).hint("open the writer again: its checkpoint tells").because(error)
        }
        _ => of(path, error),
    }
}

/// A failure of the file system outside SQLite.
pub(super) fn of_io(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => full(&path.display().to_string()),
        _ => Error::connect(format!("the log {} cannot be written", path.display()))
            .hint("check that its folder exists and that this user may write there"),
    }
    .because(error)
}

fn full(path: &str) -> Error {
    Error::full(format!("no room left on the device of {path}"))
        .hint("what was committed stays: make room and run again to resume")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Kind;

    #[test]
    fn only_an_io_error_of_the_commit_leaves_the_outcome_open() {
        let path = Path::new("log.db");
        let failure = |code| rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        for (code, before, commit) in [
            (ffi::SQLITE_FULL, Kind::Full, Kind::Full),
            (ffi::SQLITE_IOERR_SHMSIZE, Kind::Full, Kind::Unknown),
            (ffi::SQLITE_IOERR_FSYNC, Kind::Failed, Kind::Unknown),
            (ffi::SQLITE_BUSY, Kind::Connect, Kind::Connect),
            (ffi::SQLITE_NOTADB, Kind::Corrupt, Kind::Corrupt),
            (ffi::SQLITE_CORRUPT, Kind::Corrupt, Kind::Corrupt),
            (ffi::SQLITE_CANTOPEN, Kind::Connect, Kind::Connect),
        ] {
            assert_eq!(of(path, failure(code)).kind(), before, "{code}");
            assert_eq!(of_commit(path, failure(code)).kind(), commit, "{code}");
        }
        assert_eq!(of_io(path, io::ErrorKind::StorageFull.into()).kind(), Kind::Full);
    }
}
