//! The slot: how far it is, who reads it, and what the server keeps for it.

use std::time::{Duration, Instant};

use postgres::Client;

use super::super::capture::{Names, lsn};
use super::super::fault::fault;
use super::super::form::quote;
use super::super::server::Login;
use super::wire::Wire;
use crate::base::{Error, Kind, Result};

/// A slot of ours as the server has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) name: String,
    /// The process that reads it.
    pub(super) reader: Option<i32>,
    /// What that process calls itself.
    pub(super) reader_name: Option<String>,
    /// It looks at what the slot holds by a query, and is through in a moment.
    pub(super) looked_at: bool,
    /// Up to here it gives nothing any more.
    pub(super) confirmed: u64,
    /// The server has thrown away what it needs.
    pub(super) lost: bool,
    /// Bytes of log the server keeps for it.
    pub(super) retained: u64,
}

const SLOT: &str = "SELECT s.slot_name::text, s.active_pid, a.application_name, \
    coalesce(a.backend_type = 'client backend', false), coalesce((s.confirmed_flush_lsn - '0/0'::pg_lsn)::bigint, 0), coalesce(s.wal_status = 'lost', false), \
    coalesce(greatest(pg_current_wal_flush_lsn() - s.restart_lsn, 0)::bigint, 0) FROM pg_replication_slots AS s \
    LEFT JOIN pg_stat_activity AS a ON a.pid = s.active_pid WHERE s.database = current_database()";

/// How long the process of an older follow may take to end, and a look from outside.
const PATIENCE: Duration = Duration::from_secs(10);

impl Slot {
    /// The slots of a migration, of whatever incarnation.
    pub(super) fn all(client: &mut Client, names: &Names) -> Result<Vec<Self>, postgres::Error> {
        let found = client.query(SLOT, &[])?;
        let all = found.iter().map(|row| Self {
            name: row.get(0),
            reader: row.get(1),
            reader_name: row.get(2),
            looked_at: row.get(3),
            confirmed: row.get::<_, i64>(4).unsigned_abs(),
            lost: row.get(5),
            retained: row.get::<_, i64>(6).unsigned_abs(),
        });
        Ok(all.filter(|slot| names.own_slot(&slot.name)).collect())
    }

    pub(super) fn read(client: &mut Client, names: &Names, incarnation: &str) -> Result<Option<Self>, postgres::Error> {
        let name = names.slot(incarnation);
        Ok(Self::all(client, names)?.into_iter().find(|slot| slot.name == name))
    }

    /// Ends whoever of ours reads it, and waits until nobody does. A reader of another kind is left alone, and a look from
    /// outside waited for.
    pub(super) fn free(&self, client: &mut Client, names: &Names, store: &str) -> Result<()> {
        let failed = fault(store, "taking over its slot");
        let began = Instant::now();
        let mut ended = None;
        loop {
            let now = Self::all(client, names).map_err(&failed)?.into_iter().find(|slot| slot.name == self.name);
            let Some((reader, now)) = now.and_then(|slot| Some((slot.reader?, slot))) else { return Ok(()) };
            let called = now.reader_name.unwrap_or_default();
            let foreign = called != reader_name(names) && !now.looked_at;
            if foreign || began.elapsed() > PATIENCE {
                return Err(Error::fenced(format!(
                    "{store}: process {reader} ({called}) reads the slot {}",
                    self.name
                ))
                .hint("end it, or whoever started it, and run the command again"));
            }
            if ended != Some(reader) && !now.looked_at {
                client.execute("SELECT pg_terminate_backend($1)", &[&reader]).map_err(&failed)?;
                ended = Some(reader);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Has the log sent from where the slot stands, once nobody has it.
    pub(super) fn stream(&self, client: &mut Client, login: &Login, names: &Names) -> Result<Wire> {
        let command = format!(
            "START_REPLICATION SLOT {} LOGICAL {} (proto_version '1', publication_names '{}', messages 'true')",
            quote(&self.name),
            lsn(self.confirmed),
            quote(&names.own)
        );
        let began = Instant::now();
        loop {
            self.free(client, names, &login.describe())?;
            let mut wire = Wire::open(login, &reader_name(names))?;
            match wire.stream(&command) {
                Ok(()) => return Ok(wire),
                // A look from outside came in between.
                Err(error) if error.kind() == Kind::Fenced && began.elapsed() < PATIENCE => {}
                Err(error) => return Err(error),
            }
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
