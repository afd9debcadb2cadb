//! A deterministic generator of legacy stores.

mod accounts;
mod conversation;
mod odd;
mod out;
mod quirks;
mod random;
mod schedule;
mod sessions;
mod summary;
mod text;

pub use accounts::{PASSWORD_HASH, REFRESH_TOKEN};
pub use out::Each;

use crate::base::{Error, Result};
use schedule::{Plan, Schedule};

/// How large a store is. The other tables follow from these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub sessions: usize,
    pub messages: usize,
    pub seed: u64,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { sessions: 300, messages: 20_000, seed: 1 }
    }
}

impl Sizes {
    /// The smallest store that has room for every quirk.
    pub const LEAST: Self = Self { sessions: 32, messages: 160, seed: 1 };

    fn check(self) -> Result<()> {
        let Self { sessions, messages, .. } = Self::LEAST;
        if self.sessions >= sessions && self.messages >= messages && self.messages <= u32::MAX as usize {
            return Ok(());
        }
        let asked = format!("a store of {} sessions and {} messages cannot be generated", self.sessions, self.messages);
        Err(Error::refused(asked).hint(format!("ask for {sessions} sessions and {messages} messages or more")))
    }
}

/// The script that makes the empty store.
pub fn schema() -> &'static str {
    include_str!("../../fixtures/acc/schema.sql")
}

/// Lends all rows in chunks: table, columns, rows. Chunks of one table come in insertion order, those of different
/// tables interleaved. Some rows have no parent, and some come before it: load them with foreign keys off.
pub fn rows(sizes: Sizes, each: Each<'_>) -> Result<()> {
    sizes.check()?;
    let plan = Plan::new(sizes);
    let spans = Schedule::new(&plan).spans();
    let mut out = out::Out::new(each);
    accounts::write(sizes.seed, &mut out)?;
    sessions::write(&plan, &spans, &mut out)?;
    conversation::write(&plan, sizes.messages, &mut out)?;
    out.finish()
}

/// Quirk of the legacy contract (0 for what goes beyond them), table, and an SQL query whose answer is above zero when
/// the store has it.
pub fn quirks() -> &'static [(u8, &'static str, &'static str)] {
    quirks::QUIRKS
}
