//! Waiting until no transaction is left that a new capture could miss.

use std::fmt;
use std::time::{Duration, Instant};

use postgres::Client;

use super::super::fault::fault;
use crate::base::{Error, Result};
use crate::port::progress::Progress;

/// Between two looks.
const NAP: Duration = Duration::from_millis(20);

/// Who holds a new capture up is said after this time, and again after as long.
const TELL: Duration = Duration::from_secs(5);

/// Transactions that have a number and have not ended, the oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders(Vec<String>);

/// What a session shows of itself to a role without rights is its number alone.
const RUNNING: &str = "SELECT 'process ' || pid || CASE WHEN coalesce(application_name, '') = '' THEN '' \
        ELSE ' (' || application_name || ')' END \
        || coalesce(', at work since ' || floor(extract(epoch FROM clock_timestamp() - xact_start))::bigint || ' s', '') \
    FROM pg_stat_activity WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() \
    UNION ALL SELECT 'prepared transaction ' || quote_literal(gid) || ', since ' \
        || floor(extract(epoch FROM clock_timestamp() - prepared))::bigint || ' s' FROM pg_prepared_xacts";

impl Holders {
    pub fn read(client: &mut Client) -> Result<Self, postgres::Error> {
        Ok(Self(client.query(RUNNING, &[])?.iter().map(|row| row.get(0)).collect()))
    }
}

impl fmt::Display for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("a transaction that is ending");
        }
        f.write_str(&self.0[..self.0.len().min(3)].join("; "))?;
        if self.0.len() > 3 { write!(f, " and {} more", self.0.len() - 3) } else { Ok(()) }
    }
}

/// Waits until every transaction that has a number by now has ended, also for the eyes of others: one whose commit is in
/// the server's log and not yet visible would neither be captured nor be in the rows of a snapshot.
pub fn settle(client: &mut Client, store: &str, progress: &dyn Progress) -> Result<()> {
    let mut told = Instant::now();
    wait(client, store, &mut |client| {
        progress.check()?;
        if told.elapsed() >= TELL {
            told = Instant::now();
            let holders = holders(client, store)?;
            progress.note(&format!("waiting for transactions that were at work before: {holders}"));
        }
        Ok(())
    })
}

/// The same, no longer than `patience`; [`crate::base::Kind::Unknown`] names who holds it up.
pub fn settle_within(client: &mut Client, store: &str, patience: Duration) -> Result<()> {
    let begun = Instant::now();
    wait(client, store, &mut |client| {
        if begun.elapsed() < patience {
            return Ok(());
        }
        let holders = holders(client, store)?;
        Err(Error::unknown(format!("a transaction at work in {store} may still change rows: {holders}"))
            .hint("let it end, or end it, and do the same again"))
    })
}

fn holders(client: &mut Client, store: &str) -> Result<Holders> {
    Holders::read(client).map_err(fault(store, "looking which transactions are at work"))
}

/// Takes a number of its own: a snapshot's `xmax` lies behind the last number that has ended, not the last one given.
fn wait(client: &mut Client, store: &str, meanwhile: &mut dyn FnMut(&mut Client) -> Result<()>) -> Result<()> {
    let failed = fault(store, "waiting for its transactions to end");
    let after: String = client.query_one("SELECT pg_current_xact_id()::text", &[]).map_err(&failed)?.get(0);
    loop {
        let sql = "SELECT pg_snapshot_xmin(pg_current_snapshot()) > $1::text::xid8";
        if client.query_one(sql, &[&after]).map_err(&failed)?.get(0) {
            return Ok(());
        }
        meanwhile(client)?;
        std::thread::sleep(NAP);
    }
}
