//! A legacy PostgreSQL schema as the target of reverse: without its triggers where the role may, under one epoch, and
//! marked so that capture makes no events of it.

mod keys;
mod shape;
mod writer;

use std::sync::Arc;

use postgres::Client;
use postgres::error::SqlState;

use self::writer::PostgresSinkWriter;
use super::capture::{Names, holds_only};
use super::catalog::Catalog;
use super::fault::fault;
use super::form::quote;
use super::server::Login;
use crate::base::{Error, Result};
use crate::mapping::Mapping;
use crate::port::legacy_sink::{EPOCH, LegacySink, SinkState, SinkStep, SinkWriter};

/// The tables of one schema. It keeps no connection.
#[derive(Clone, Debug)]
pub struct PostgresSink {
    login: Login,
    mapping: Arc<Mapping>,
    /// A schema of this tool's own, beside the legacy's.
    names: Names,
}

/// Tables with triggers of the legacy's, which run for what is written where they cannot be silenced.
const TRIGGERS: &str = "SELECT DISTINCT c.relname::text FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid \
    JOIN pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE n.nspname::text = $1 AND NOT t.tgisinternal AND t.tgenabled <> 'D' ORDER BY 1";

impl PostgresSink {
    pub fn new(login: Login, migration: &str, mapping: Arc<Mapping>) -> Self {
        Self { login, mapping, names: Names::new(migration) }
    }

    fn table(&self) -> String {
        format!("{}.reverse", quote(&self.names.own))
    }

    fn made(&self, client: &mut Client) -> Result<bool> {
        let row = client.query_one("SELECT to_regclass($1) IS NOT NULL", &[&self.table()]);
        Ok(row.map_err(fault(&self.login.describe(), "looking for reverse's table"))?.get(0))
    }

    fn steps(&self) -> [SinkStep; 2] {
        let (schema, table) = (quote(&self.names.own), self.table());
        [
            SinkStep { sql: format!("CREATE SCHEMA IF NOT EXISTS {schema}"), back: format!("DROP SCHEMA {schema}") },
            SinkStep {
                sql: format!(
                    "CREATE TABLE {table} (kind text NOT NULL, name text NOT NULL, value text NOT NULL, PRIMARY KEY (kind, name))"
                ),
                back: format!("DROP TABLE {table}"),
            },
        ]
    }

    fn run(&self, sql: &str) -> Result<()> {
        self.login.legacy_writer()?.batch_execute(sql).map_err(fault(&self.login.describe(), "preparing reverse"))
    }
}

/// What a table of reverse holds.
fn state(client: &mut Client, store: &str, table: &str, mapping: &Mapping) -> Result<SinkState> {
    let rows = client
        .query(&format!("SELECT kind, name, value FROM {table}"), &[])
        .map_err(fault(store, "reading how far reverse came"))?;
    SinkState::read(mapping, rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))))
}

/// Whether the role may keep triggers, and with them foreign keys, from running in its session.
fn silences(client: &mut Client, store: &str) -> Result<bool> {
    match client.batch_execute("SET session_replication_role = replica; RESET session_replication_role") {
        Ok(()) => Ok(true),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Ok(false),
        Err(error) => Err(fault(store, "asking for session_replication_role")(error)),
    }
}

impl LegacySink for PostgresSink {
    fn describe(&self) -> String {
        self.login.describe()
    }

    fn notes(&self) -> Result<Vec<String>> {
        let store = self.login.describe();
        let mut client = self.login.legacy_writer()?;
        if silences(&mut client, &store)? {
            let text = "session_replication_role = replica: no trigger of the legacy runs for what is written back, and its \
                foreign keys are looked at by queries";
            return Ok(vec![text.to_owned()]);
        }
        let tables =
            client.query(TRIGGERS, &[&self.login.place.schema]).map_err(fault(&store, "looking for triggers"))?;
        let tables: Vec<String> = tables.iter().map(|row| row.get(0)).collect();
        let mut notes = Vec::new();
        if !tables.is_empty() {
            notes.push(format!(
                "the role may not set session_replication_role: triggers of {} run for what is written back; columns they \
                 set must be declared in the mapping (set_by_trigger)",
                tables.join(", ")
            ));
        }
        Ok(notes)
    }

    fn installation(&self) -> Result<Vec<SinkStep>> {
        let made = self.made(&mut self.login.legacy_writer()?)?;
        Ok(if made { Vec::new() } else { self.steps().to_vec() })
    }

    fn install(&self) -> Result<()> {
        let [schema, table] = self.steps();
        self.run(&format!(
            "BEGIN; {}; {}; INSERT INTO {} VALUES ('format', '', '1'), ('{EPOCH}', '', '0'); COMMIT",
            schema.sql,
            table.sql,
            self.table()
        ))
    }

    fn removal(&self) -> Result<Vec<SinkStep>> {
        let mut client = self.login.legacy_writer()?;
        if !self.made(&mut client)? {
            return Ok(Vec::new());
        }
        // What captures changes lies there, too.
        let alone = holds_only(&mut client, &self.names, &["reverse"])
            .map_err(fault(&self.describe(), "looking for its tables"))?;
        let [schema, table] = self.steps();
        let back = |step: SinkStep| SinkStep { sql: step.back, back: step.sql };
        Ok([Some(table), alone.then_some(schema)].into_iter().flatten().map(back).collect())
    }

    fn remove(&self) -> Result<()> {
        let statements: Vec<String> = self.removal()?.into_iter().map(|step| step.sql).collect();
        if statements.is_empty() { Ok(()) } else { self.run(&statements.join("; ")) }
    }

    fn state(&self) -> Result<Option<SinkState>> {
        let mut client = self.login.legacy_writer()?;
        if !self.made(&mut client)? {
            return Ok(None);
        }
        state(&mut client, &self.describe(), &self.table(), &self.mapping).map(Some)
    }

    fn claim(&self) -> Result<Box<dyn SinkWriter>> {
        let store = self.login.describe();
        let mut client = self.login.legacy_writer()?;
        if !self.made(&mut client)? {
            return Err(Error::refused(format!("{store} has no table for reverse to keep its place in"))
                .hint("crossfade project --reverse --install"));
        }
        let failed = fault(&store, "reading its tables");
        let catalog = Catalog::read(&mut client, &self.login.place.schema).map_err(&failed)?;
        let shapes = shape::all(&self.mapping, &catalog, &store, &self.login.place.schema)?;
        let keys = keys::all(&mut client, &self.mapping, &shapes, &self.login.place.schema).map_err(&failed)?;
        // Triggers of the legacy's find their names by the path their own program has.
        client.batch_execute("RESET search_path").map_err(&failed)?;
        let silent = silences(&mut client, &store)?;
        let keys = if silent { keys } else { Vec::new() };
        PostgresSinkWriter::claim(self, client, shapes, keys, silent)
    }
}
