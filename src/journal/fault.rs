//! SQLite's errors, as what a caller may do about them.

use std::path::Path;

use rusqlite::ErrorCode;

use crate::base::{Error, Kind};

/// Turns an error of SQLite met while `doing` something with the journal into one of ours.
pub(super) fn fault(path: &Path, doing: &'static str) -> impl Fn(rusqlite::Error) -> Error {
    move |error| {
        let (kind, trouble, hint) = match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => (Kind::Full, "there is no room left", "make room and run the command again"),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
                (Kind::Connect, "another process holds it", "run the command again once the other has ended")
            }
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                (Kind::Corrupt, "it is damaged, or no SQLite file", "move it away: the log knows its last head")
            }
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                (Kind::Connect, "it cannot be opened or written", "check that its folder exists and may be written")
            }
            _ => (Kind::Failed, "SQLite refused", "see the cause"),
        };
        Error::new(kind, format!("journal {}: {trouble}, {doing}", path.display())).hint(hint).because(error)
    }
}

pub(super) fn unreachable(path: &Path) -> Error {
    Error::connect(format!("journal {} cannot be reached", path.display()))
}
