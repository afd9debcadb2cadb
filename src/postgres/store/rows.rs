//! Rows of a projection: as the server sends them, and as it takes them.

use std::collections::BTreeMap;
use std::io::Write;

use postgres::Row as Sent;
use serde_json::value::RawValue;

use super::super::fault::fault;
use super::super::form::{Raw, escape};
use super::super::read::Reader;
use super::meta::Meta;
use super::shape::Shape;
use crate::base::{Error, Result};
use crate::event::codec::{self, Codec, Exact};
use crate::event::decode;
use crate::fold::LastEvent;
use crate::mapping::{Mapping, Row, Rows, Table};

/// Sixteen bytes that tell identities apart as exactly as their values do, which PostgreSQL's own equality does not.
pub(super) fn identity(table: &Table, row: Row<'_>, image: &mut Vec<u8>) -> uuid::Uuid {
    image.clear();
    for cell in &table.identity {
        row.get(*cell).write_image(image);
    }
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::hash(image).as_bytes()[..16]);
    uuid::Uuid::from_bytes(id)
}

/// Appends one row in COPY's text form; without an event id it is the arrival of a delete.
pub(super) fn write(shape: &Shape, row: Row<'_>, event: &LastEvent, delete: bool, id: uuid::Uuid, out: &mut Vec<u8>) {
    let mut exact: Vec<u8> = Vec::new();
    for ((name, form), value) in shape.cells.iter().zip(row.values()) {
        if form.keeps(value) {
            form.copy(value, out);
        } else {
            // Another class than the column's: it stands beside, in the form of events.
            out.extend_from_slice(b"\\N");
            exact.push(if exact.is_empty() { b'{' } else { b',' });
            codec::string(name, &mut exact);
            exact.push(b':');
            Exact.write(value, &mut exact);
        }
        out.push(b'\t');
    }
    // Writing to a vector cannot fail.
    let _ = write!(out, "{}\t{}\t", event.partition, event.offset);
    let _ = if delete { write!(out, "\\N") } else { write!(out, "{}", uuid::Uuid::from_bytes(event.id)) };
    let _ = write!(out, "\t{}\t{id}\t", event.sequence);
    if exact.is_empty() {
        out.extend_from_slice(b"\\N");
    } else {
        exact.push(b'}');
        escape(&exact, out);
    }
    out.push(b'\n');
}

/// The event in four columns from `at` on. A row written by other hands gets one that every event follows.
pub(super) fn last_event(row: &Sent, at: usize) -> LastEvent {
    let read = || {
        let bytes = |cell: usize| row.try_get::<_, Raw<'_>>(at + cell).ok().and_then(|raw| raw.0);
        Some(LastEvent {
            partition: i32::from_be_bytes(bytes(0)?.try_into().ok()?),
            offset: i64::from_be_bytes(bytes(1)?.try_into().ok()?),
            id: bytes(2)?.try_into().ok()?,
            sequence: i64::from_be_bytes(bytes(3)?.try_into().ok()?),
        })
    };
    read().unwrap_or(LastEvent { partition: -1, offset: -1, id: [0; 16], sequence: i64::MIN })
}

/// Appends the cells of a row of the shape's `scan`.
pub(super) fn take(reader: &mut Reader, shape: &Shape, row: &Sent, rows: &mut Rows) -> Result<()> {
    for (cell, (_, form)) in shape.cells.iter().enumerate() {
        reader.cell(*form, row, cell, rows)?;
    }
    overlay(shape, row, shape.cells.len() + 4, &mut |cell, one| rows.replace_last(cell, one.row(0).get(0)))
}

/// Hands out the values that no column keeps, by their cells.
pub(super) fn overlay(shape: &Shape, row: &Sent, at: usize, each: &mut dyn FnMut(usize, &Rows)) -> Result<()> {
    let damaged = || {
        Error::corrupt(format!("a '_cf_exact' of {} cannot be read", shape.name))
            .hint("run `crossfade project --rebuild`")
    };
    let exact: Option<&str> = row.try_get(at).map_err(|error| damaged().because(error))?;
    let Some(exact) = exact else { return Ok(()) };
    let values: BTreeMap<String, &RawValue> = serde_json::from_str(exact).map_err(|error| damaged().because(error))?;
    let mut one = Rows::new(1);
    for (name, value) in values {
        let cell = shape.cells.iter().position(|(cell, _)| *cell == name).ok_or_else(damaged)?;
        one.reset(1);
        decode::value(value.get(), &mut one)?;
        each(cell, &one);
    }
    Ok(())
}

/// Gives rows that another hand planted the identity by which events find them.
pub(super) fn number_planted(meta: &mut Meta<'_>, mapping: &Mapping, shapes: &[Shape]) -> Result<()> {
    let (mut reader, mut image) = (Reader::default(), Vec::new());
    for (shape, table) in shapes.iter().zip(&mapping.tables) {
        let failed = fault(meta.store, "looking at planted rows");
        let sql = format!(
            "{}, _cf_row FROM {} WHERE _cf_identity IS NULL",
            shape.scan.trim_end_matches(&format!(" FROM {}", shape.name)),
            shape.name
        );
        let planted = meta.client.query(&sql, &[]).map_err(&failed)?;
        let mut rows = Rows::new(table.width());
        for (place, row) in planted.iter().enumerate() {
            take(&mut reader, shape, row, &mut rows)?;
            let id = identity(table, rows.row(place), &mut image);
            let number: i64 = row.get(shape.cells.len() + 5);
            let update = format!("UPDATE {} SET _cf_identity = $1 WHERE _cf_row = $2", shape.name);
            meta.client.execute(&update, &[&id, &number]).map_err(&failed)?;
        }
    }
    Ok(())
}
