//! What captures of changes share: what is installed and where, where a snapshot stands, and waiting until it may be read.

mod content;
mod installed;
mod late;
mod mark;
mod seen;
mod settle;
mod table_lock;

pub use content::{Content, ContentWatch};
pub(super) use installed::holds_only;
pub use installed::{Installed, Names, position};
pub use late::{Passing, WHOLE, passed_on};
pub use mark::{Mark, lsn};
pub use seen::{Seen, widen};
pub use settle::{Holders, settle, settle_within};
pub use table_lock::at_once;

/// The kind of capture a migration has installed, ready or not: `decoding` or `outbox`.
pub fn installed(login: &super::Login, migration: &str) -> crate::base::Result<Option<String>> {
    let installed = Installed::read(&mut login.reader()?, login, &Names::new(migration))?;
    Ok(installed.map(|installed| installed.kind))
}
