//! Statements on tables that the legacy's writers are using.

use std::time::{Duration, Instant};

use postgres::Client;
use postgres::error::SqlState;

use super::super::fault::fault;
use super::settle::Holders;
use crate::base::{Error, Result};
use crate::port::progress::Progress;

/// Between two tries, longer each time.
const NAP: Duration = Duration::from_millis(100);
/// Tries before it is given up.
const TRIES: u32 = 40;

/// How long a try may wait for a table, in milliseconds: writers that come meanwhile wait behind it. Where it never fits
/// between theirs, longer in the end.
fn patience(tried: u32) -> u32 {
    50 << (tried.saturating_sub(16) / 5).min(3)
}

/// Runs statements on one table in a transaction of their own, giving way to whoever has it; gives how long they made
/// others wait at most. [`crate::base::Kind::Fenced`] names who never let go; any other refusal of the server's is the
/// inner error.
pub fn at_once(
    client: &mut Client,
    store: &str,
    statements: &str,
    progress: &dyn Progress,
) -> Result<Result<Duration, postgres::Error>> {
    let mut tried = 0;
    loop {
        progress.check()?;
        tried += 1;
        let began = Instant::now();
        let script = format!("BEGIN; SET LOCAL lock_timeout = '{}ms'; {statements}; COMMIT", patience(tried));
        let Err(error) = client.batch_execute(&script) else { return Ok(Ok(began.elapsed())) };
        let _ = client.batch_execute("ROLLBACK");
        let waits = [&SqlState::LOCK_NOT_AVAILABLE, &SqlState::T_R_DEADLOCK_DETECTED];
        if !error.code().is_some_and(|code| waits.contains(&code)) {
            return Ok(Err(error));
        }
        let holders = Holders::read(client).map_err(fault(store, "looking who holds a table"))?;
        if tried >= TRIES {
            return Err(Error::fenced(format!("{store}: a table is held by another session: {holders}"))
                .hint("run the same command again when that has ended: it goes on")
                .because(error));
        }
        if tried % 10 == 0 {
            progress.note(&format!("waiting for a table without holding its writers up: {holders}"));
        }
        std::thread::sleep(NAP * tried.min(5));
    }
}
