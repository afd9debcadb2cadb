//! What a projection says of itself: `_cf_meta` and `_cf_positions`.

use std::path::Path;

use rusqlite::types::FromSql;
use rusqlite::{Connection, OptionalExtension, ToSql};

use super::fault::fault;
use crate::base::{Error, Result};
use crate::mapping::Mapping;
use crate::port::buffered::overtaken;
use crate::port::event_log::{Positions, TopicIds};
use crate::port::row_store::StoreState;

/// The form of the tables and of the meta tables; a newer one is refused.
pub(super) const FORMAT: i64 = 1;

/// Keys of `_cf_meta`.
pub(super) mod key {
    pub(crate) const FORMAT: &str = "format";
    pub(crate) const MAPPING: &str = "mapping_hash";
    pub(crate) const EPOCH: &str = "epoch";
    /// The epoch under which projectors share the store.
    pub(crate) const SHARED: &str = "shared";
    pub(crate) const REBUILDING: &str = "rebuilding";
    /// The ids of the topics the positions lie in, as a JSON object.
    pub(crate) const TOPICS: &str = "topics";
    /// Names of the tables made, as a JSON array: what a rebuild drops.
    pub(crate) const TABLES: &str = "tables";
    /// An unfinished rebuild appended deletes.
    pub(crate) const TOMBSTONES: &str = "tombstones";
}

/// Reads and writes the meta tables of one connection.
pub(super) struct Meta<'c> {
    pub(super) connection: &'c Connection,
    pub(super) path: &'c Path,
}

impl Meta<'_> {
    pub(super) fn run(&self, doing: &'static str, sql: &str) -> Result<()> {
        self.connection.execute_batch(sql).map_err(fault(self.path, doing))
    }

    pub(super) fn make(&self) -> Result<()> {
        self.run(
            "making its tables",
            "CREATE TABLE _cf_meta (key TEXT PRIMARY KEY, value);
             CREATE TABLE _cf_positions (topic TEXT, partition INTEGER, next INTEGER, PRIMARY KEY (topic, partition));",
        )
    }

    /// The state, `None` in an empty file. Refuses a file that is something else and a format that is newer.
    pub(super) fn state(&self) -> Result<Option<StoreState>> {
        let reading = || fault(self.path, "reading its state");
        let (made, others): (bool, bool) = self
            .connection
            .query_row(
                "SELECT count(*) FILTER (WHERE name = '_cf_meta') > 0, count(*) FILTER (WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\') > 0
                 FROM sqlite_schema WHERE type = 'table'",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .map_err(reading())?;
        match (made, others) {
            (true, _) => {}
            (false, false) => return Ok(None),
            (false, true) => {
                return Err(Error::refused(format!("{} holds tables, but is no projection", self.path.display()))
                    .hint("name a file of its own as projection; nothing was changed"));
            }
        }
        let format: i64 = self.need(key::FORMAT)?;
        if format > FORMAT {
            return Err(Error::refused(format!(
                "projection {} has format {format}, written by a newer version; this one knows formats up to {FORMAT}",
                self.path.display()
            ))
            .hint("use the newer version, or name another file as projection"));
        }
        let epoch: i64 = self.need(key::EPOCH)?;
        Ok(Some(StoreState {
            mapping_hash: self.need(key::MAPPING)?,
            epoch: u64::try_from(epoch).map_err(|error| self.damaged(key::EPOCH).because(error))?,
            positions: self.positions()?,
            topics: self.topics()?,
            rebuilding: self.need(key::REBUILDING)?,
        }))
    }

    /// Refuses a store that lost a table: made anew it would be empty, at positions that say otherwise.
    pub(super) fn need_tables(&self, mapping: &Mapping) -> Result<()> {
        let find = || {
            let mut find = self.connection.prepare("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")?;
            for table in &mapping.tables {
                if !find.exists([&table.name])? {
                    return Ok(Some(&table.name));
                }
            }
            Ok(None)
        };
        match find().map_err(fault(self.path, "reading its tables"))? {
            None => Ok(()),
            Some(name) => {
                Err(Error::corrupt(format!("projection {} has lost its table '{name}'", self.path.display()))
                    .hint("run `crossfade project --rebuild`"))
            }
        }
    }

    pub(super) fn positions(&self) -> Result<Positions> {
        let read = || {
            let mut statement = self.connection.prepare("SELECT topic, partition, next FROM _cf_positions")?;
            let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
            rows.collect::<rusqlite::Result<Positions>>()
        };
        read().map_err(fault(self.path, "reading its positions"))
    }

    fn topics(&self) -> Result<TopicIds> {
        let kept = self.get::<String>(key::TOPICS)?;
        let read = kept.map(|text| serde_json::from_str(&text)).transpose();
        Ok(read.map_err(|error| self.damaged(key::TOPICS).because(error))?.unwrap_or_default())
    }

    /// Stores the positions that are new or moved.
    pub(super) fn move_positions(&self, known: &Positions, positions: &Positions) -> Result<()> {
        let write = || {
            let sql = "INSERT INTO _cf_positions VALUES (?1, ?2, ?3)
                       ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next";
            let mut statement = self.connection.prepare(sql)?;
            for (place, next) in positions.iter().filter(|(place, next)| known.get(*place) != Some(*next)) {
                statement.execute((&place.0, place.1, next))?;
            }
            Ok(())
        };
        write().map_err(fault(self.path, "writing its positions"))
    }

    pub(super) fn get<T: FromSql>(&self, key: &str) -> Result<Option<T>> {
        self.connection
            .query_row("SELECT value FROM _cf_meta WHERE key = ?1", [key], |row| row.get(0))
            .optional()
            .map_err(fault(self.path, "reading its state"))
    }

    pub(super) fn need<T: FromSql>(&self, key: &str) -> Result<T> {
        self.get(key)?.ok_or_else(|| self.damaged(key))
    }

    pub(super) fn set(&self, key: &str, value: impl ToSql) -> Result<()> {
        self.connection
            .execute("INSERT OR REPLACE INTO _cf_meta VALUES (?1, ?2)", (key, value))
            .map(|_| ())
            .map_err(fault(self.path, "writing its state"))
    }

    /// Succeeds only while `epoch` is the newest claim; within a write transaction that holds until it ends.
    pub(super) fn hold(&self, epoch: u64) -> Result<()> {
        let held = self
            .connection
            .execute("UPDATE _cf_meta SET value = value WHERE key = ?1 AND value = ?2", (key::EPOCH, epoch as i64))
            .map_err(fault(self.path, "checking its epoch"))?;
        if held == 1 {
            return Ok(());
        }
        Err(overtaken(&self.path.display().to_string()))
    }

    pub(super) fn damaged(&self, key: &str) -> Error {
        Error::corrupt(format!("projection {} does not say its '{key}'", self.path.display()))
            .hint("move the file away and run `crossfade project --rebuild`")
    }
}
