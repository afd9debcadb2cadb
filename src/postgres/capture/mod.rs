//! What captures of changes share: what is installed and where, where a snapshot stands, and waiting until it may be read.

mod installed;
mod mark;
mod seen;
mod settle;

pub(super) use installed::holds_only;
pub use installed::{Installed, Names, position};
pub use mark::{Mark, lsn};
pub use seen::{Seen, widen};
pub use settle::{Holders, settle};

/// The kind of capture a migration has installed, ready or not: `decoding` or `outbox`.
pub fn installed(login: &super::Login, migration: &str) -> crate::base::Result<Option<String>> {
    let installed = Installed::read(&mut login.reader()?, login, &Names::new(migration))?;
    Ok(installed.map(|installed| installed.kind))
}

/// How long a statement may wait for a table of the legacy, in milliseconds, at its n-th try: writers that come meanwhile
/// wait behind it. Where it never fits between theirs, longer in the end.
pub(super) fn patience(tried: u32) -> u32 {
    50 << (tried.saturating_sub(16) / 5).min(3)
}
