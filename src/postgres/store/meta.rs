//! What a projection says of itself: `_cf_meta` and `_cf_positions`.

use postgres::Client;

use super::super::fault::fault;
use super::super::form::quote;
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

/// Reads and writes the meta tables over one connection.
pub(super) struct Meta<'c> {
    pub(super) client: &'c mut Client,
    /// For people.
    pub(super) store: &'c str,
    pub(super) schema: &'c str,
}

impl Meta<'_> {
    pub(super) fn run(&mut self, doing: &str, sql: &str) -> Result<()> {
        self.client.batch_execute(sql).map_err(fault(self.store, doing))
    }

    fn of(&self, table: &str) -> String {
        format!("{}.{table}", quote(self.schema))
    }

    pub(super) fn make(&mut self) -> Result<()> {
        let (meta, positions) = (self.of("_cf_meta"), self.of("_cf_positions"));
        self.run(
            "making its tables",
            &format!(
                "CREATE TABLE {meta} (key text PRIMARY KEY, value text NOT NULL);
                 CREATE TABLE {positions} (topic text, partition integer, next bigint NOT NULL, PRIMARY KEY (topic, partition));"
            ),
        )
    }

    /// The state, `None` in an empty schema. Refuses one that is something else and a format that is newer.
    pub(super) fn state(&mut self) -> Result<Option<StoreState>> {
        let sql = "SELECT c.relname::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
            WHERE n.nspname::text = $1 AND c.relkind IN ('r', 'p', 'f')";
        let found = self.client.query(sql, &[&self.schema]).map_err(fault(self.store, "reading its state"))?;
        if !found.iter().any(|row| row.get::<_, &str>(0) == "_cf_meta") {
            if found.is_empty() {
                return Ok(None);
            }
            return Err(Error::refused(format!("{} holds tables, but is no projection", self.store))
                .hint("name a schema or database of its own as projection (…?schema=NAME); nothing was changed"));
        }
        let format = self.number(key::FORMAT)?;
        if format > FORMAT {
            return Err(Error::refused(format!(
                "projection {} has format {format}, written by a newer version; this one knows formats up to {FORMAT}",
                self.store
            ))
            .hint("use the newer version, or name another schema as projection"));
        }
        let epoch = self.number(key::EPOCH)?;
        Ok(Some(StoreState {
            mapping_hash: self.need(key::MAPPING)?,
            epoch: u64::try_from(epoch).map_err(|error| self.damaged(key::EPOCH).because(error))?,
            positions: self.positions()?,
            topics: self.topics()?,
            rebuilding: self.flag(key::REBUILDING)?,
        }))
    }

    /// Refuses a store that lost a table: made anew it would be empty, at positions that say otherwise.
    pub(super) fn need_tables(&mut self, mapping: &Mapping) -> Result<()> {
        for table in &mapping.tables {
            let name = format!("{}.{}", quote(self.schema), quote(&table.name));
            let found = self.client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&name]);
            if !found.map_err(fault(self.store, "reading its tables"))?.get::<_, bool>(0) {
                let message = format!("projection {} has lost its table '{}'", self.store, table.name);
                return Err(Error::corrupt(message).hint("run `crossfade project --rebuild`"));
            }
        }
        Ok(())
    }

    pub(super) fn positions(&mut self) -> Result<Positions> {
        let sql = format!("SELECT topic, partition, next FROM {}", self.of("_cf_positions"));
        let rows = self.client.query(&sql, &[]).map_err(fault(self.store, "reading its positions"))?;
        Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect())
    }

    fn topics(&mut self) -> Result<TopicIds> {
        let kept = self.get(key::TOPICS)?;
        let read = kept.map(|text| serde_json::from_str(&text)).transpose();
        Ok(read.map_err(|error| self.damaged(key::TOPICS).because(error))?.unwrap_or_default())
    }

    /// Stores the positions that are new or moved.
    pub(super) fn move_positions(&mut self, known: &Positions, positions: &Positions) -> Result<()> {
        let sql = format!(
            "INSERT INTO {} VALUES ($1, $2, $3) ON CONFLICT (topic, partition) DO UPDATE SET next = excluded.next",
            self.of("_cf_positions")
        );
        for (place, next) in positions.iter().filter(|(place, next)| known.get(*place) != Some(*next)) {
            self.client
                .execute(&sql, &[&place.0, &place.1, next])
                .map_err(fault(self.store, "writing its positions"))?;
        }
        Ok(())
    }

    pub(super) fn forget_positions(&mut self) -> Result<()> {
        let (positions, meta) = (self.of("_cf_positions"), self.of("_cf_meta"));
        let sql = format!("DELETE FROM {positions}; DELETE FROM {meta} WHERE key = '{}'", key::TOPICS);
        self.run("dropping its rows", &sql)
    }

    pub(super) fn get(&mut self, key: &str) -> Result<Option<String>> {
        let sql = format!("SELECT value FROM {} WHERE key = $1", self.of("_cf_meta"));
        let row = self.client.query_opt(&sql, &[&key]).map_err(fault(self.store, "reading its state"))?;
        Ok(row.map(|row| row.get(0)))
    }

    pub(super) fn need(&mut self, key: &str) -> Result<String> {
        self.get(key)?.ok_or_else(|| self.damaged(key))
    }

    pub(super) fn flag(&mut self, key: &str) -> Result<bool> {
        Ok(self.need(key)? == "true")
    }

    fn number(&mut self, key: &str) -> Result<i64> {
        self.need(key)?.parse().map_err(|error| self.damaged(key).because(error))
    }

    pub(super) fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let sql = format!(
            "INSERT INTO {} VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            self.of("_cf_meta")
        );
        self.client.execute(&sql, &[&key, &value]).map(|_| ()).map_err(fault(self.store, "writing its state"))
    }

    /// Succeeds only while `epoch` is the newest claim; within a write transaction that holds until it ends.
    pub(super) fn hold(&mut self, epoch: u64) -> Result<()> {
        let sql = format!("UPDATE {} SET value = value WHERE key = $1 AND value = $2", self.of("_cf_meta"));
        let held = self
            .client
            .execute(&sql, &[&key::EPOCH, &epoch.to_string()])
            .map_err(fault(self.store, "checking its epoch"))?;
        if held == 1 {
            return Ok(());
        }
        Err(overtaken(self.store))
    }

    pub(super) fn damaged(&self, key: &str) -> Error {
        Error::corrupt(format!("projection {} does not say its '{key}'", self.store))
            .hint("drop its schema and run `crossfade project --rebuild`")
    }
}
