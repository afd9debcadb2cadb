//! How a reader waits for changes: awake it looks again and again, asleep it is called.
//!
//! A NOTIFY in each transaction of the legacy's would make all their commits wait for each other: the server lets one at
//! a time through that has any. So a writer calls only who sleeps. It holds a lock, shared, until it has committed, and
//! the reader sleeps holding the same one alone: a writer that cannot have it calls, and while one has it nobody falls
//! asleep.

use std::time::{Duration, Instant};

use postgres::fallible_iterator::FallibleIterator;
use postgres::{Client, Error};

use super::super::capture::Names;

/// Between two looks of a reader that is awake; up to five times as long after some quiet.
const NAP: Duration = Duration::from_millis(10);
/// Without a change for so long it falls asleep.
const QUIET: Duration = Duration::from_millis(100);

/// The number of the lock.
pub(super) fn lock(names: &Names) -> i64 {
    let hash = blake3::hash(names.own.as_bytes());
    hash.as_bytes()[..8].iter().fold(0, |number, byte| number << 8 | i64::from(*byte))
}

pub(super) struct Rest {
    lock: i64,
    /// Since when there was no change.
    quiet: Option<Instant>,
    asleep: bool,
}

impl Rest {
    pub(super) fn new(names: &Names) -> Self {
        Self { lock: lock(names), quiet: None, asleep: false }
    }

    /// Returns when it is time to look again.
    pub(super) fn wait(&mut self, client: &mut Client, at_most: Duration) -> Result<(), Error> {
        let quiet = self.quiet.get_or_insert_with(Instant::now).elapsed();
        if !self.asleep {
            if quiet >= QUIET {
                self.asleep = client.query_one("SELECT pg_try_advisory_lock($1)", &[&self.lock])?.get(0);
            }
            // Whoever committed before it slept calls nobody: it looks once more.
            if !self.asleep {
                std::thread::sleep((quiet / 8).clamp(NAP, NAP * 5).min(at_most));
            }
            return Ok(());
        }
        if client.notifications().timeout_iter(at_most).next()?.is_none() {
            return Ok(());
        }
        // Several may have called.
        while client.notifications().iter().next()?.is_some() {}
        self.wake(client)
    }

    pub(super) fn wake(&mut self, client: &mut Client) -> Result<(), Error> {
        self.quiet = None;
        if std::mem::take(&mut self.asleep) {
            client.execute("SELECT pg_advisory_unlock($1)", &[&self.lock])?;
        }
        Ok(())
    }
}
