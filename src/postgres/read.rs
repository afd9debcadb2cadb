//! Rows as the server sends them, into chunks.

use postgres::Row;

use super::form::{Form, Raw};
use super::plan::Plan;
use crate::base::{Error, Result};
use crate::mapping::{KeyText, Rows, Table, Value};
use crate::port::legacy_source::Place;

/// A chunk ends with the row that brings its text and blobs to this many bytes.
pub(super) const CHUNK_BYTES: usize = 1 << 20;

/// The place in a cell that is a tid: page and number within it.
pub(super) fn place(row: &Row, cell: usize) -> Result<Place> {
    let raw: Raw<'_> =
        row.try_get(cell).map_err(|error| Error::failed("a row of another shape came").because(error))?;
    let bytes: Option<[u8; 6]> = raw.0.and_then(|raw| raw.try_into().ok());
    let bytes = bytes.ok_or_else(|| Error::corrupt("the server sent a place that is none"))?;
    Ok(bytes.iter().fold(0, |place, byte| place << 8 | Place::from(*byte)))
}

/// A place as PostgreSQL reads it.
pub(super) fn tid(place: Place) -> String {
    format!("({},{})", place >> 16, place & 0xffff)
}

/// Reads cells out of rows; its buffers are used again.
#[derive(Default)]
pub(super) struct Reader {
    scratch: Vec<u8>,
    extra: Rows,
    key: KeyText,
}

impl Reader {
    /// Appends the row's cells in the layout of its table.
    pub(super) fn take(&mut self, plan: &Plan, table: &Table, row: &Row, rows: &mut Rows) -> Result<()> {
        let width = table.columns.len();
        for (cell, form) in plan.forms[..width].iter().enumerate() {
            self.cell(*form, row, cell, rows)?;
        }
        if plan.levels.is_empty() {
            return Ok(());
        }
        self.extra.reset(plan.forms.len());
        let mut extra = std::mem::take(&mut self.extra);
        for (cell, form) in plan.forms.iter().enumerate() {
            self.cell(*form, row, cell, &mut extra)?;
        }
        let found = extra.row(0);
        let there = |places: &[usize]| places.iter().all(|place| found.get(*place) != Value::Null);
        // The key of the farthest row that is there; its identity's text where it has no key of its own.
        let mut places: &[usize] = &table.identity;
        for level in &plan.levels {
            if !there(&level.identity) {
                break;
            }
            places = match &level.key {
                Some(key) if there(key) => key,
                _ => &level.identity,
            };
        }
        match self.key.text(places.iter().map(|place| found.get(*place))) {
            Some(text) => rows.push(Value::Text(text)),
            // No event can have such a key; the row must fail rather than fall back to another.
            None => rows.push(Value::Blob(b"")),
        }
        self.extra = extra;
        Ok(())
    }

    /// Appends one cell.
    pub(super) fn cell(&mut self, form: Form, row: &Row, cell: usize, rows: &mut Rows) -> Result<()> {
        let raw: Raw<'_> =
            row.try_get(cell).map_err(|error| Error::failed("a row of another shape came").because(error))?;
        match raw.0 {
            None => rows.push(Value::Null),
            Some(raw) => {
                let value = form.read(raw, &mut self.scratch);
                let malformed = || Error::corrupt(format!("the server sent a value that is no {form:?}"));
                rows.push(value.ok_or_else(malformed)?);
            }
        }
        Ok(())
    }
}
