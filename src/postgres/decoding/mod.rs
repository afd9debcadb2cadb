//! The legacy's changes out of PostgreSQL's own log, by logical decoding.

mod change;
mod install;
mod lag;
mod lookup;
mod pgoutput;
mod read;
mod shape;
mod slot;
mod transaction;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use postgres::Client;

use self::read::DecodingReader;
use self::slot::Slot;
use super::capture::{Installed, Mark, Names, settle_within};
use super::fault::fault;
use super::server::Login;
use crate::base::{Error, Result};
use crate::mapping::Mapping;
use crate::port::change_source::{ChangeReader, ChangeSource, Lag, Position};

/// What the server may keep for the slot, in bytes; 0 is without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From here on it is said.
    pub warn: u64,
    /// From here on the slot is dropped rather than the disk filled.
    pub drop: u64,
}

/// A slot and a publication of one migration. It keeps no connection.
#[derive(Clone, Debug)]
pub struct PostgresDecoding {
    login: Login,
    mapping: Arc<Mapping>,
    names: Names,
    limits: Limits,
}

/// What repairs a capture that is broken.
const AGAIN: &str = "crossfade follow --install, then crossfade follow, which reconciles first";

/// The same for one that looks whole.
const ANEW: &str = "crossfade follow --uninstall, then --install; the next follow reconciles first";

impl PostgresDecoding {
    pub fn new(login: Login, migration: &str, mapping: Arc<Mapping>, limits: Limits) -> Self {
        Self { login, mapping, names: Names::new(migration), limits }
    }

    fn store(&self) -> String {
        self.login.describe()
    }

    /// What is installed and whole, with its slot; an error says what is missing.
    fn require(&self, client: &mut Client) -> Result<(Installed, Slot)> {
        let store = self.store();
        let refused = |message: String| Error::refused(message).hint(AGAIN);
        let installed = Installed::read(client, &self.login, &self.names)?;
        let Some(installed) = installed.filter(|installed| installed.kind == "decoding") else {
            return Err(Error::refused(format!("{store} has no slot of this migration"))
                .hint("crossfade follow --install; or --mode reconcile, which needs none"));
        };
        if !installed.ready {
            return Err(refused(format!("{store}: making the slot was not brought to an end")));
        }
        if installed.mapping != self.mapping.hash {
            return Err(refused(format!("{store}: the slot was made for another mapping")));
        }
        let slot = Slot::read(client, &self.names, &installed.incarnation);
        let slot = slot.map_err(fault(&store, "looking for its slot"))?;
        let name = self.names.slot(&installed.incarnation);
        let slot = slot.ok_or_else(|| {
            refused(format!("{store}: the slot {name} is gone, and what was committed since may have passed it by"))
        })?;
        if slot.lost {
            let message = format!("{store}: the server has thrown away log that the slot {name} needs");
            return Err(refused(message));
        }
        if let Some(why) = self.unpublished(client)? {
            return Err(refused(format!("{store}: {why}, and changes may have passed by")));
        }
        Ok((installed, slot))
    }

    /// Why the publication does not tell all changes of all mapped tables, if so.
    fn unpublished(&self, client: &mut Client) -> Result<Option<String>> {
        let store = self.store();
        let failed = fault(&store, "looking at its publication");
        let own = &self.names.own;
        let whole =
            "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate FROM pg_publication WHERE pubname::text = $1";
        match client.query_opt(whole, &[own]).map_err(&failed)?.map(|row| row.get::<_, bool>(0)) {
            None => return Ok(Some(format!("the publication {own} is gone"))),
            Some(false) => return Ok(Some(format!("the publication {own} leaves kinds of changes out"))),
            Some(true) => {}
        }
        let tables =
            "SELECT tablename::text FROM pg_publication_tables WHERE pubname::text = $1 AND schemaname::text = $2";
        let published = client.query(tables, &[own, &self.login.place.schema]).map_err(&failed)?;
        let published: Vec<String> = published.iter().map(|row| row.get(0)).collect();
        let missing = self.mapping.tables.iter().find(|table| !published.contains(&table.name));
        Ok(missing.map(|table| {
            format!("table '{}' is not in the publication {own}: dropped, renamed or taken out", table.name)
        }))
    }
}

impl ChangeSource for PostgresDecoding {
    fn kind(&self) -> &'static str {
        "postgres"
    }

    fn mode(&self) -> &'static str {
        "decoding"
    }

    fn incarnation(&self) -> Result<String> {
        Ok(self.require(&mut self.login.reader()?)?.0.incarnation)
    }

    fn blind(&self) -> Result<Vec<String>> {
        let mut blind = vec!["the single rows of a TRUNCATE, which are reconciled".to_owned()];
        for table in self.mapping.tables.iter().filter(|table| !table.never.is_empty()) {
            blind.push(format!(
                "the row before an update of '{}', where the server keeps columns never to be read to itself",
                table.name
            ));
        }
        for table in self.mapping.tables.iter().filter(|table| table.key_cell().is_some()) {
            blind.push(format!(
                "the record key of a row of '{}' whose parent went, or came late, in a later transaction before the row's was read",
                table.name
            ));
        }
        Ok(blind)
    }

    fn open(&self, from: &Position) -> Result<Box<dyn ChangeReader>> {
        Ok(Box::new(DecodingReader::open(self.clone(), from)?))
    }

    fn lag(&self, from: &Position) -> Result<Lag> {
        self.behind(from, None)
    }

    /// Transactions are told in the order of the log, and what a snapshot sees lies in it before where it ended then.
    fn covers(&self, told: &Position, snapshot: &Position) -> Result<bool> {
        let (at, end) = (Mark::of(told)?, Mark::of(snapshot)?);
        // Only what a follow told says by its mark that all before it was told.
        if told.at > 0 && at.timeline == end.timeline && at.flushed >= end.flushed {
            return Ok(true);
        }
        Ok(!self.behind(told, Some(end.flushed))?.any())
    }

    fn settled(&self, patience: Duration) -> Result<()> {
        settle_within(&mut self.login.reader()?, &self.login.describe(), patience)
    }

    fn keeps(&self) -> Result<Option<String>> {
        self.kept()
    }

    fn watch(&self) -> Result<Option<String>> {
        self.look_after()
    }
}
