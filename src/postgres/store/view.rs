//! Reading a projection in one transaction.

use postgres::Client;
use postgres::fallible_iterator::FallibleIterator;
use postgres::types::ToSql;
use uuid::Uuid;

use super::super::fault::fault;
use super::super::read::{Reader, place, tid};
use super::rows::{last_event, overlay, take};
use super::shape::Shape;
use crate::base::Result;
use crate::mapping::{Row, Rows, Table, Value};
use crate::port::legacy_source::{Keep, Place};
use crate::port::row_store::{LastEvent, RowView, StoreState};

const CHUNK_ROWS: usize = 2_000;
const CHUNK_BYTES: usize = 1 << 20;

/// Rows looked up by their place, or identities by their number, at once.
const TOGETHER: usize = 500;

pub(super) struct PostgresView {
    store: String,
    client: Client,
    shapes: Vec<Shape>,
    state: StoreState,
    rows: Rows,
    events: Vec<LastEvent>,
    reader: Reader,
}

type Each<'a> = &'a mut dyn FnMut(&Rows, &[LastEvent]) -> Result<()>;

impl PostgresView {
    pub(super) fn new(store: String, client: Client, shapes: Vec<Shape>, state: StoreState) -> Self {
        let (rows, events, reader) = (Rows::default(), Vec::new(), Reader::default());
        Self { store, client, shapes, state, rows, events, reader }
    }

    /// Lends what a statement selects, in chunks.
    fn lend(&mut self, table: &Table, sql: &str, bound: &[&(dyn ToSql + Sync)], each: Each<'_>) -> Result<()> {
        let shape = &self.shapes[table.index];
        let failed = fault(&self.store, "reading rows");
        let width = table.width();
        let mut found = self.client.query_raw(sql, bound.iter().copied()).map_err(&failed)?;
        self.rows.reset(width);
        self.events.clear();
        while let Some(row) = found.next().map_err(&failed)? {
            take(&mut self.reader, shape, &row, &mut self.rows)?;
            self.events.push(last_event(&row, width));
            if self.events.len() >= CHUNK_ROWS || self.rows.byte_len() >= CHUNK_BYTES {
                each(&self.rows, &self.events)?;
                self.rows.reset(width);
                self.events.clear();
            }
        }
        if self.events.is_empty() { Ok(()) } else { each(&self.rows, &self.events) }
    }
}

impl RowView for PostgresView {
    fn state(&self) -> &StoreState {
        &self.state
    }

    fn count(&mut self, table: usize) -> Result<u64> {
        let row = self.client.query_one(&self.shapes[table].count, &[]);
        let row = row.map_err(fault(&self.store, "counting rows"))?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }

    fn scan(&mut self, table: &Table, each: Each<'_>) -> Result<()> {
        let sql = self.shapes[table.index].scan.clone();
        self.lend(table, &sql, &[], each)
    }

    fn scan_placed(&mut self, table: &Table, each: &mut dyn FnMut(&Rows, &[Place]) -> Result<()>) -> Result<()> {
        let shape = &self.shapes[table.index];
        let failed = fault(&self.store, "reading rows");
        let width = table.width();
        let none: [&(dyn ToSql + Sync); 0] = [];
        let mut found = self.client.query_raw(&shape.everywhere, none).map_err(&failed)?;
        let mut places = Vec::new();
        self.rows.reset(width);
        while let Some(row) = found.next().map_err(&failed)? {
            take(&mut self.reader, shape, &row, &mut self.rows)?;
            places.push(place(&row, row.len() - 1)?);
            if places.len() >= CHUNK_ROWS || self.rows.byte_len() >= CHUNK_BYTES {
                each(&self.rows, &places)?;
                self.rows.reset(width);
                places.clear();
            }
        }
        if places.is_empty() { Ok(()) } else { each(&self.rows, &places) }
    }

    fn at(&mut self, table: &Table, places: &[Place], each: Each<'_>) -> Result<()> {
        let sql = self.shapes[table.index].placed.clone();
        for places in places.chunks(TOGETHER) {
            let places: Vec<String> = places.iter().map(|place| tid(*place)).collect();
            self.lend(table, &sql, &[&places], each)?;
        }
        Ok(())
    }

    fn pick(&mut self, table: &Table, keep: Keep<'_>, each: Each<'_>) -> Result<()> {
        let mut places: Vec<String> = Vec::new();
        {
            let shape = &self.shapes[table.index];
            let failed = fault(&self.store, "picking rows");
            let none: [&(dyn ToSql + Sync); 0] = [];
            let mut found = self.client.query_raw(&shape.identities, none).map_err(&failed)?;
            let width = table.identity.len();
            let mut identity = Rows::new(width);
            while let Some(row) = found.next().map_err(&failed)? {
                identity.reset(width);
                for (at, cell) in table.identity.iter().enumerate() {
                    self.reader.cell(shape.cells[*cell].1, &row, at, &mut identity)?;
                }
                overlay(shape, &row, width, &mut |cell, one| {
                    if let Some(at) = table.identity.iter().position(|wanted| *wanted == cell) {
                        identity.replace_last(at, one.row(0).get(0));
                    }
                })?;
                let values: Vec<Value<'_>> = identity.row(0).values().collect();
                if keep(&values) {
                    places.push(row.try_get(width + 1).map_err(&failed)?);
                }
            }
        }
        let sql = self.shapes[table.index].placed.clone();
        for places in places.chunks(TOGETHER) {
            self.lend(table, &sql, &[&places], each)?;
        }
        Ok(())
    }

    fn lookup(
        &mut self,
        table: &Table,
        identities: &Rows,
        each: &mut dyn FnMut(Row<'_>, LastEvent) -> Result<()>,
    ) -> Result<()> {
        let mut image = Vec::new();
        let mut wanted: std::collections::HashSet<Vec<u8>> = std::collections::HashSet::new();
        let mut ids: Vec<Uuid> = Vec::new();
        for identity in identities.iter() {
            image.clear();
            identity.values().for_each(|value| value.write_image(&mut image));
            let mut id = [0; 16];
            id.copy_from_slice(&blake3::hash(&image).as_bytes()[..16]);
            ids.push(Uuid::from_bytes(id));
            wanted.insert(image.clone());
        }
        let sql = self.shapes[table.index].lookup.clone();
        for ids in ids.chunks(TOGETHER) {
            self.lend(table, &sql, &[&ids], &mut |rows, events| {
                for (row, event) in rows.iter().zip(events) {
                    image.clear();
                    table.identity.iter().for_each(|cell| row.get(*cell).write_image(&mut image));
                    // Planted rows come with every look.
                    if wanted.remove(&image) {
                        each(row, *event)?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(())
    }
}
