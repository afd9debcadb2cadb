//! Applying changes under one epoch.
//!
//! Live, a chunk looks up what stands of its identities, applies the fold's rule here, and replaces what has changed.
//! While a rebuild is unfinished changes are appended in order of arrival, deletes as rows without an event id, and
//! `settle` applies the rule where an identity arrived more than once.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use postgres::Client;
use uuid::Uuid;

use super::super::fault::fault;
use super::meta::{Meta, key};
use super::rows::{identity, last_event, write};
use super::settle::settle;
use super::shape::Shape;
use crate::base::{Error, Result};
use crate::mapping::{Mapping, Types};
use crate::port::buffered::{Effect, Tables, Waiting};
use crate::port::event_log::{Positions, TopicIds};
use crate::port::row_store::LastEvent;

/// Rows and bytes of a chunk.
pub(super) const CHUNK: (usize, usize) = (4_000, 2 << 20);

/// What stands of one identity.
#[derive(Clone, Copy, Default)]
struct Standing {
    /// A row of the table, before this flush.
    stored: bool,
    last: Option<LastEvent>,
    /// The change that left it, by its place in the buffer.
    by: Option<usize>,
    changed: bool,
}

pub(super) struct PostgresTables {
    pub(super) store: String,
    pub(super) schema: String,
    pub(super) client: Client,
    pub(super) mapping: Arc<Mapping>,
    pub(super) shapes: Vec<Shape>,
    pub(super) out: Vec<u8>,
    pub(super) image: Vec<u8>,
}

impl PostgresTables {
    fn meta(&mut self) -> Meta<'_> {
        Meta { client: &mut self.client, store: &self.store, schema: &self.schema }
    }

    fn append(&mut self, table: usize, waiting: &Waiting) -> Result<()> {
        let (shape, mapped) = (&self.shapes[table], &self.mapping.tables[table]);
        self.out.clear();
        for (row, effect, event) in waiting.iter() {
            let id = identity(mapped, row, &mut self.image);
            write(shape, row, event, effect == Effect::Delete, id, &mut self.out);
        }
        self.copy(table)
    }

    fn apply(&mut self, table: usize, waiting: &Waiting) -> Result<()> {
        let failed = fault(&self.store, "writing rows");
        let (shape, mapped) = (&self.shapes[table], &self.mapping.tables[table]);
        let ids: Vec<Uuid> = waiting.rows.iter().map(|row| identity(mapped, row, &mut self.image)).collect();
        let mut standing: HashMap<Uuid, Standing> = HashMap::with_capacity(ids.len());
        for row in self.client.query(&shape.find, &[&ids]).map_err(&failed)? {
            let id: Uuid = row.get(0);
            standing.insert(id, Standing { stored: true, last: Some(last_event(&row, 1)), ..Standing::default() });
        }
        for (at, (id, (effect, event))) in ids.iter().zip(&waiting.events).enumerate() {
            let one = standing.entry(*id).or_default();
            match (one.last, effect) {
                (None, Effect::Delete) => {}
                (Some(last), _) if !event.supersedes(&last) => {}
                (_, Effect::Put) => (one.last, one.by, one.changed) = (Some(*event), Some(at), true),
                (Some(_), Effect::Delete) => (one.last, one.by, one.changed) = (None, None, true),
            }
        }
        let gone: Vec<Uuid> = standing.iter().filter(|(_, one)| one.stored && one.changed).map(|(id, _)| *id).collect();
        if !gone.is_empty() {
            self.client.execute(&shape.delete, &[&gone]).map_err(&failed)?;
        }
        drop(failed);
        let mut left: Vec<(usize, Uuid)> = standing.iter().filter_map(|(id, one)| Some((one.by?, *id))).collect();
        left.sort_unstable();
        self.out.clear();
        for (at, id) in left {
            write(shape, waiting.rows.row(at), &waiting.events[at].1, false, id, &mut self.out);
        }
        if self.out.is_empty() { Ok(()) } else { self.copy(table) }
    }

    fn copy(&mut self, table: usize) -> Result<()> {
        let doing = format!("writing rows of table '{}'", self.mapping.tables[table].name);
        let failed = fault(&self.store, &doing);
        let mut sink = self.client.copy_in(&self.shapes[table].copy).map_err(&failed)?;
        sink.write_all(&self.out)
            .map_err(|error| Error::connect(format!("{}: the connection broke, {doing}", self.store)).because(error))?;
        sink.finish().map(|_| ()).map_err(&failed)
    }
}

impl Tables for PostgresTables {
    fn describe(&self) -> String {
        self.store.clone()
    }

    fn holds_nan(&self) -> bool {
        // What cannot be in a SQLite legacy cannot be one of its values.
        self.mapping.types == Types::Postgres
    }

    fn begin(&mut self, epoch: u64) -> Result<()> {
        self.meta().run("beginning a transaction", "BEGIN")?;
        // Waits for whoever is just writing.
        self.meta().hold(epoch)
    }

    fn run(&mut self, doing: &'static str, sql: &str) -> Result<()> {
        self.meta().run(doing, sql)
    }

    fn positions(&mut self) -> Result<Positions> {
        self.meta().positions()
    }

    fn write(&mut self, table: usize, waiting: &Waiting, rebuilding: bool) -> Result<()> {
        if !rebuilding {
            return self.apply(table, waiting);
        }
        self.append(table, waiting)?;
        if waiting.deletes() { self.meta().set(key::TOMBSTONES, "true") } else { Ok(()) }
    }

    fn move_positions(&mut self, from: &Positions, to: &Positions) -> Result<()> {
        self.meta().move_positions(from, to)
    }

    fn set_topics(&mut self, topics: &TopicIds) -> Result<()> {
        let text = serde_json::to_string(topics)
            .map_err(|error| Error::failed("the ids of the topics have no JSON form").because(error))?;
        self.meta().set(key::TOPICS, &text)
    }

    fn settle(&mut self) -> Result<()> {
        let mut meta = Meta { client: &mut self.client, store: &self.store, schema: &self.schema };
        let tombstones = meta.flag(key::TOMBSTONES)?;
        for shape in &self.shapes {
            settle(&mut meta, shape, tombstones)?;
        }
        meta.set(key::TOMBSTONES, "false")?;
        meta.set(key::REBUILDING, "false")
    }
}
