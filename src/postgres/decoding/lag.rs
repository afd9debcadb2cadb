//! How much the log lacks, asked from outside; and what the server keeps for the slot.

use std::time::{Duration, Instant};

use postgres::error::SqlState;
use postgres::types::PgLsn;

use super::super::capture::{Installed, Mark, Seen, widen};
use super::super::fault::fault;
use super::PostgresDecoding;
use super::pgoutput::{Message, parse};
use super::slot::Slot;
use super::transaction::millis;
use crate::base::Result;
use crate::port::change_source::{Lag, Position};

/// Changes looked at, of a slot nobody reads.
const MOST: i32 = 10_000;

/// How long a running follow may take to confirm that it has everything.
const CONFIRM: Duration = Duration::from_secs(2);

const MB: f64 = 1e6;

impl PostgresDecoding {
    /// What lies behind `from` and before a place where the log was safe, or before where it is now. Of a slot that a follow
    /// reads only its bytes are known, unless it confirms in time that it has all of it.
    pub(super) fn behind(&self, from: &Position, until: Option<u64>) -> Result<Lag> {
        let mut client = self.login.reader()?;
        let (installed, slot) = self.require(&mut client)?;
        let store = self.store();
        let failed = fault(&store, "asking what the log lacks");
        let end = match until {
            Some(until) => until,
            None => Mark::read(&mut client).map_err(&failed)?.flushed,
        };
        let (began, mut slot) = (Instant::now(), Some(slot));
        loop {
            if let Some(free) = slot.as_ref().filter(|slot| slot.reader.is_none())
                && let Some(lag) = self.peek(&mut client, from, free, end)?
            {
                return Ok(lag);
            }
            let confirmed = slot.map_or(0, |slot| slot.confirmed);
            if confirmed >= end {
                return Ok(Lag::default());
            }
            if began.elapsed() >= CONFIRM {
                return Ok(Lag { changes: 0, bytes: end - confirmed, since: None });
            }
            std::thread::sleep(Duration::from_millis(50));
            slot = Slot::read(&mut client, &self.names, &installed.incarnation).map_err(&failed)?;
        }
    }

    /// `None` where somebody else has begun to read the slot.
    fn peek(&self, client: &mut postgres::Client, from: &Position, slot: &Slot, end: u64) -> Result<Option<Lag>> {
        let store = self.store();
        let failed = fault(&store, "looking at what its slot holds");
        let seen: Option<Seen> = from.seen.parse().ok();
        let near = Seen::read(client).map_err(&failed)?.xmax;
        let sql = "SELECT data FROM pg_logical_slot_peek_binary_changes($1, $4, $2, 'proto_version', '1', \
            'publication_names', $3)";
        // An option's value is a list of names.
        let publication = super::super::form::quote(&self.names.own);
        let found = match client.query(sql, &[&slot.name, &MOST, &publication, &PgLsn::from(end)]) {
            Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) => return Ok(None),
            found => found.map_err(&failed)?,
        };
        let mut lag = Lag::default();
        let (mut counts, mut told, mut made) = (false, 0, None);
        for row in &found {
            match parse(row.get(0)) {
                Some(Message::Begin { commit, at, xid }) => {
                    let sees = seen.as_ref().is_some_and(|seen| seen.sees(widen(xid, near)));
                    // The look ends behind the first transaction past its end.
                    counts = commit >= from.at && commit < end && !sees;
                    told = if commit == from.at { from.count } else { 0 };
                    made = Some(millis(at));
                }
                Some(
                    Message::Insert { .. } | Message::Update { .. } | Message::Delete { .. } | Message::Truncate { .. },
                ) if counts => {
                    if told > 0 {
                        told -= 1;
                        continue;
                    }
                    lag.changes += 1;
                    lag.since = lag.since.or(made);
                }
                _ => {}
            }
        }
        // A slot may lie far behind what was told, as a server that was killed has it: more may come than was looked at.
        if lag.changes > 0 || found.len() >= MOST as usize {
            lag.bytes = end.saturating_sub(slot.confirmed);
        }
        Ok(Some(lag))
    }

    pub(super) fn kept(&self) -> Result<Option<String>> {
        let mut client = self.login.reader()?;
        let Some(installed) = Installed::read(&mut client, &self.login, &self.names)? else { return Ok(None) };
        let slot = Slot::read(&mut client, &self.names, &installed.incarnation);
        let slot = slot.map_err(fault(&self.store(), "looking at its slot"))?;
        let limit =
            |bytes: u64| if bytes == 0 { "never".to_owned() } else { format!("at {:.0} MB", bytes as f64 / MB) };
        Ok(slot.map(|slot| {
            format!(
                "{:.0} MB of its log kept for the slot (a warning {}, dropped {})",
                slot.retained as f64 / MB,
                limit(self.limits.warn),
                limit(self.limits.drop)
            )
        }))
    }

    /// Says what the server keeps once it is much, and drops the slot before the disk is full.
    pub(super) fn look_after(&self) -> Result<Option<String>> {
        let mut client = self.login.installer()?;
        let store = self.store();
        let Some(installed) = Installed::read(&mut client, &self.login, &self.names)? else { return Ok(None) };
        let slot = Slot::read(&mut client, &self.names, &installed.incarnation);
        let Some(slot) = slot.map_err(fault(&store, "looking at its slot"))? else { return Ok(None) };
        let kept = format!("{store} keeps {:.0} MB of its log for the slot {}", slot.retained as f64 / MB, slot.name);
        if self.limits.drop > 0 && slot.retained >= self.limits.drop {
            slot.drop(&mut client, &self.names, &store)?;
            let limit = self.limits.drop as f64 / MB;
            return Ok(Some(format!(
                "{kept}, past legacy.slot_drop_mb ({limit:.0}): the slot was dropped, so that the disk does not fill; then: {}",
                super::AGAIN
            )));
        }
        if self.limits.warn > 0 && slot.retained >= self.limits.warn {
            return Ok(Some(format!(
                "{kept}: the log, or this follow, is slow; it is dropped past legacy.slot_drop_mb"
            )));
        }
        Ok(None)
    }
}
