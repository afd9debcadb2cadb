//! The projection in a PostgreSQL schema: ordinary tables anyone may read, with the last event of each row beside it.

mod meta;
mod rows;
mod settle;
mod shape;
mod view;
mod writer;

use std::sync::Arc;

use self::meta::{FORMAT, Meta, key};
use self::shape::Shape;
use self::view::PostgresView;
use self::writer::{CHUNK, PostgresTables};
use super::fault::fault;
use super::form::quote;
use super::server::Login;
use crate::base::{Error, Result};
use crate::mapping::Mapping;
use crate::port::buffered::{BufferedWriter, overtaken};
use crate::port::row_store::{Mode, RowStore, RowView, RowWriter, StoreState};

/// A projection in a schema of its own.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    login: Login,
}

impl PostgresStore {
    pub fn new(login: Login) -> Self {
        Self { login }
    }

    fn schema(&self) -> &str {
        &self.login.place.schema
    }

    fn never_made(&self) -> Error {
        Error::refused(format!("projection {} was never made", self.login.describe())).hint("run `crossfade project`")
    }
}

impl RowStore for PostgresStore {
    fn describe(&self) -> String {
        self.login.describe()
    }

    fn state(&self) -> Result<Option<StoreState>> {
        let store = self.login.describe();
        let mut client = self.login.reader()?;
        let mut meta = Meta { client: &mut client, store: &store, schema: self.schema() };
        meta.run("reading its state", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        meta.state()
    }

    /// Live on an unfinished rebuild goes on with it: the state says `rebuilding` until `finish`.
    fn claim(&self, mapping: &Arc<Mapping>, mode: Mode) -> Result<Box<dyn RowWriter>> {
        let store = self.login.describe();
        let shapes = Shape::all(mapping, self.schema())?;
        let mut client = self.login.writer()?;
        let mut meta = Meta { client: &mut client, store: &store, schema: self.schema() };
        meta.run("claiming it", "BEGIN")?;
        // An error leaves the transaction to the connection, which rolls it back on its way out.
        let (state, shared) = claim(&mut meta, mapping, &shapes, mode)?;
        rows::number_planted(&mut meta, mapping, &shapes)?;
        meta.run("claiming it", "COMMIT")?;
        let schema = self.schema().to_owned();
        let (out, image) = (Vec::new(), Vec::new());
        let tables = PostgresTables { store, schema, client, mapping: Arc::clone(mapping), shapes, out, image };
        Ok(Box::new(BufferedWriter::new(tables, Arc::clone(mapping), state, shared, CHUNK)))
    }

    fn view(&self, mapping: &Arc<Mapping>) -> Result<Box<dyn RowView>> {
        let store = self.login.describe();
        let mut client = self.login.reader()?;
        let mut meta = Meta { client: &mut client, store: &store, schema: self.schema() };
        meta.run("reading it", "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
        let state = meta.state()?.ok_or_else(|| self.never_made())?;
        if state.mapping_hash != mapping.hash {
            return Err(other_mapping(&store));
        }
        if state.rebuilding {
            return Err(unfinished(&store));
        }
        Ok(Box::new(PostgresView::new(store, client, Shape::all(mapping, self.schema())?, state)))
    }
}

/// The state claimed, and whether it is shared.
fn claim(meta: &mut Meta<'_>, mapping: &Mapping, shapes: &[Shape], mode: Mode) -> Result<(StoreState, bool)> {
    // One claim at a time, also of a schema that has nothing yet to be locked; and none while rows are written.
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('crossfade ' || $1, 0))";
    meta.client.execute(lock, &[&meta.schema]).map_err(fault(meta.store, "claiming it"))?;
    let found = match meta.state()? {
        None => {
            meta.run("making its schema", &format!("CREATE SCHEMA IF NOT EXISTS {}", quote(meta.schema)))?;
            meta.make()?;
            meta.set(key::FORMAT, &FORMAT.to_string())?;
            None
        }
        Some(state) => {
            // Waits for a writer's open transaction, whose positions count.
            meta.set(key::EPOCH, &(state.epoch + 1).to_string())?;
            meta.state()?.map(|now| StoreState { epoch: state.epoch, ..now })
        }
    };
    let old = found.as_ref().map_or(0, |state| state.epoch);
    let joined = found.is_some() && meta.get(key::SHARED)?.is_some_and(|shared| shared == old.to_string());
    let (epoch, shared) = mode.claims(old, joined).ok_or_else(|| overtaken(meta.store))?;
    let state = match found {
        Some(state) if mode != Mode::Rebuild => {
            if state.mapping_hash != mapping.hash {
                return Err(other_mapping(meta.store));
            }
            if shared && state.rebuilding {
                return Err(unfinished(meta.store));
            }
            meta.need_tables(mapping)?;
            StoreState { epoch, ..state }
        }
        found => {
            if found.is_some() {
                drop_rows(meta)?;
            }
            let rebuilding = mode == Mode::Rebuild;
            make_tables(meta, mapping, shapes, rebuilding)?;
            StoreState { mapping_hash: mapping.hash.clone(), epoch, rebuilding, ..StoreState::default() }
        }
    };
    meta.set(key::EPOCH, &epoch.to_string())?;
    if shared {
        meta.set(key::SHARED, &epoch.to_string())?;
    }
    Ok((state, shared))
}

fn drop_rows(meta: &mut Meta<'_>) -> Result<()> {
    let tables = meta.need(key::TABLES)?;
    let tables: Vec<String> =
        serde_json::from_str(&tables).map_err(|error| meta.damaged(key::TABLES).because(error))?;
    for table in tables {
        let name = format!("{}.{}", quote(meta.schema), quote(&table));
        meta.run("dropping its rows", &format!("DROP TABLE IF EXISTS {name}"))?;
    }
    meta.forget_positions()
}

fn make_tables(meta: &mut Meta<'_>, mapping: &Mapping, shapes: &[Shape], rebuilding: bool) -> Result<()> {
    for shape in shapes {
        meta.run("making its tables", &shape.create)?;
        if !rebuilding {
            meta.run("making its tables", &shape.index)?;
        }
    }
    let tables: Vec<&str> = mapping.tables.iter().map(|table| table.name.as_str()).collect();
    let tables = serde_json::to_string(&tables)
        .map_err(|error| Error::failed("the names of the tables have no JSON form").because(error))?;
    meta.set(key::TABLES, &tables)?;
    meta.set(key::MAPPING, &mapping.hash)?;
    meta.set(key::REBUILDING, &rebuilding.to_string())?;
    meta.set(key::TOMBSTONES, "false")
}

fn other_mapping(store: &str) -> Error {
    Error::stale(format!("projection {store} was made for another mapping")).hint("run `crossfade project --rebuild`")
}

fn unfinished(store: &str) -> Error {
    Error::refused(format!("the rebuild of projection {store} is unfinished")).hint("run `crossfade project` to end it")
}
