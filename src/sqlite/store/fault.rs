//! SQLite's errors, as what a caller may do about them.

use std::path::Path;

use rusqlite::{ErrorCode, ffi};

use crate::base::{Error, Kind};

/// Turns an error of SQLite met while `doing` something with the projection into one of ours.
pub(super) fn fault(path: &Path, doing: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| {
        let path = path.display();
        // Growing the shared memory file fails with an IO error where any other write says that the device is full.
        let no_memory_file = error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_SHMSIZE);
        let code = if no_memory_file { Some(ErrorCode::DiskFull) } else { error.sqlite_error_code() };
        let (kind, trouble, hint) = match code {
            Some(ErrorCode::DiskFull) => (
                Kind::Full,
                "there is no room left",
                Some("make room and run the command again: what was committed stays"),
            ),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                (Kind::Fenced, "another process holds it", Some("stop the other run, or wait until it has ended"))
            }
            Some(ErrorCode::NotADatabase) => (
                Kind::Corrupt,
                "it is not a SQLite database, or it is encrypted",
                Some("name another file as projection"),
            ),
            Some(ErrorCode::DatabaseCorrupt) => {
                (Kind::Corrupt, "it is damaged", Some("move the file away and run `crossfade project --rebuild`"))
            }
            Some(ErrorCode::CannotOpen) => {
                (Kind::Connect, "it cannot be opened", Some("check that its folder exists and may be written"))
            }
            Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (
                Kind::Connect,
                "it may not be written",
                Some("check the owner and the mode of the file and its folder"),
            ),
            _ => (Kind::Failed, "SQLite refused", None),
        };
        let fault = Error::new(kind, format!("projection {path}: {trouble}, {doing}")).because(error);
        match hint {
            Some(hint) => fault.hint(hint),
            None => fault,
        }
    }
}
