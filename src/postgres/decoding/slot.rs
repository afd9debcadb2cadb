//! The slot: how far it is, who reads it, and what the server keeps for it.

use std::time::{Duration, Instant};

use postgres::Client;

use super::super::capture::Names;
use super::super::fault::fault;
use crate::base::{Error, Result};

/// A slot of ours as the server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) name: String,
    /// The process that reads it.
    pub(super) reader: Option<i32>,
    /// What that process calls itself.
    pub(super) reader_name: Option<String>,
    /// Up to here it gives nothing any more.
    pub(super) confirmed: u64,
    /// The server has thrown away what it needs.
    pub(super) lost: bool,
    /// Bytes of log the server keeps for it.
    pub(super) retained: u64,
}

const SLOT: &str = "SELECT s.slot_name::text, s.active_pid, a.application_name, \
    coalesce((s.confirmed_flush_lsn - '0/0'::pg_lsn)::bigint, 0), coalesce(s.wal_status = 'lost', false), \
    coalesce(greatest(pg_current_wal_flush_lsn() - s.restart_lsn, 0)::bigint, 0) FROM pg_replication_slots AS s \
    LEFT JOIN pg_stat_activity AS a ON a.pid = s.active_pid WHERE s.database = current_database()";

/// How long the process of an older follow may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

impl Slot {
    /// The slots of a migration, of whatever incarnation.
    pub(super) fn all(client: &mut Client, names: &Names) -> Result<Vec<Self>, postgres::Error> {
        let found = client.query(SLOT, &[])?;
        let all = found.iter().map(|row| Self {
            name: row.get(0),
            reader: row.get(1),
            reader_name: row.get(2),
            confirmed: row.get::<_, i64>(3).unsigned_abs(),
            lost: row.get(4),
            retained: row.get::<_, i64>(5).unsigned_abs(),
        });
        Ok(all.filter(|slot| names.own_slot(&slot.name)).collect())
    }

    pub(super) fn read(client: &mut Client, names: &Names, incarnation: &str) -> Result<Option<Self>, postgres::Error> {
        let name = names.slot(incarnation);
        Ok(Self::all(client, names)?.into_iter().find(|slot| slot.name == name))
    }

    /// Ends whoever of ours reads it, and waits until nobody does. A reader of another kind is left alone.
    pub(super) fn free(&self, client: &mut Client, names: &Names, store: &str) -> Result<()> {
        let failed = fault(store, "taking over its slot");
        let began = Instant::now();
        let mut ended = None;
        loop {
            let now = Self::all(client, names).map_err(&failed)?.into_iter().find(|slot| slot.name == self.name);
            let Some(reader) = now.as_ref().and_then(|slot| slot.reader) else { return Ok(()) };
            let called = now.and_then(|slot| slot.reader_name).unwrap_or_default();
            if called != reader_name(names) || began.elapsed() > PATIENCE {
                return Err(Error::fenced(format!(
                    "{store}: process {reader} ({called}) reads the slot {}",
                    self.name
                ))
                .hint("end it, or whoever started it, and run the command again"));
            }
            if ended != Some(reader) {
                client.execute("SELECT pg_terminate_backend($1)", &[&reader]).map_err(&failed)?;
                ended = Some(reader);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(super) fn drop(&self, client: &mut Client, names: &Names, store: &str) -> Result<()> {
        self.free(client, names, store)?;
        client
            .execute("SELECT pg_drop_replication_slot($1)", &[&self.name])
            .map(drop)
            .map_err(fault(store, "taking its slot away"))
    }
}

/// What a follow's process on the server is called.
pub(super) fn reader_name(names: &Names) -> String {
    names.own.clone()
}
