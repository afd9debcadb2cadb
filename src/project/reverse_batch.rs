//! One batch of reverse: final images in dependency order, or, where the schema does not take that, event by event.

use std::collections::{BTreeMap, HashMap};

use super::reverse::{Reversed, commit};
use crate::base::{Error, Result};
use crate::event::Op;
use crate::mapping::{Mapping, Row, Rows, Value};
use crate::port::boundary::{boundary, rows};
use crate::port::event_log::Positions;
use crate::port::legacy_sink::{Image, Kept, SinkWriter};
use crate::port::owners::RowKey;
use crate::scan::redacted;

/// Rows in one transaction, where the clock does not end it before: a batch, or less when the crash suite asks for it.
const PART_ROWS: u64 = 2_000;

/// Events of rows to be written, in log order.
pub(super) struct Pending {
    pub(super) tables: Vec<Rows>,
    events: Vec<Event>,
}

struct Event {
    key: RowKey,
    /// Its row in the table's chunk.
    row: usize,
    delete: bool,
    place: (String, i32, i64),
    /// Cells that are never written back, because what the event holds is not what the row held.
    left_out: Vec<usize>,
}

impl Pending {
    pub(super) fn new(mapping: &Mapping) -> Self {
        Self { tables: mapping.tables.iter().map(|table| Rows::new(table.width())).collect(), events: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Adds the event whose row is the last of its table's chunk.
    pub(super) fn push(&mut self, key: RowKey, op: Op, place: (String, i32, i64)) {
        let rows = &self.tables[key.0];
        let row = rows.len() - 1;
        let taken_out = |value: Value<'_>| redacted(value).is_some();
        let left_out = (0..rows.width()).filter(|cell| taken_out(rows.row(row).get(*cell))).collect();
        self.events.push(Event { key, row, delete: op == Op::Delete, place, left_out });
    }

    fn row(&self, event: &Event) -> Row<'_> {
        self.tables[event.key.0].row(event.row)
    }

    fn image<'a>(&'a self, event: &'a Event) -> Image<'a> {
        let row = self.row(event);
        if event.delete { Image::Delete(row) } else { Image::Put { row, left_out: &event.left_out } }
    }

    /// Writes all of it and moves the positions, in the same transaction where the time allows. Rows the schema does not
    /// take are kept back by name, and hold up no other.
    pub(super) fn write(
        &mut self,
        mapping: &Mapping,
        writer: &mut dyn SinkWriter,
        positions: &Positions,
        kept: &mut BTreeMap<RowKey, Kept>,
        done: &mut Reversed,
    ) -> Result<()> {
        let last = self.last_events();
        let mut after = kept.clone();
        for event in &last {
            after.remove(&self.events[*event].key);
        }
        if self.at_once(mapping, writer, &last, positions, &after)? {
            *kept = after;
        } else {
            let refused = self.one_by_one(mapping, writer)?;
            for event in &last {
                kept.remove(&self.events[*event].key);
            }
            kept.extend(refused);
            writer.begin(false)?;
            if let Some(reason) = commit(writer, positions, kept)? {
                return Err(Error::failed(format!("the position alone was not taken: {reason}")));
            }
        }
        for event in last.iter().map(|event| &self.events[*event]).filter(|event| !kept.contains_key(&event.key)) {
            if event.delete {
                done.deleted += 1;
            } else {
                done.written += 1;
            }
        }
        Ok(())
    }

    /// The last event of each row, in the order in which their rows were met first.
    fn last_events(&self) -> Vec<usize> {
        let mut places: HashMap<&RowKey, usize> = HashMap::new();
        let mut last: Vec<usize> = Vec::new();
        for (number, event) in self.events.iter().enumerate() {
            let at = *places.entry(&event.key).or_insert_with(|| {
                last.push(number);
                last.len() - 1
            });
            last[at] = number;
        }
        last
    }

    /// Parents first, then what is to go, children first. False when the schema did not take it: then nothing of the last
    /// transaction stands.
    fn at_once(
        &self,
        mapping: &Mapping,
        writer: &mut dyn SinkWriter,
        last: &[usize],
        positions: &Positions,
        kept: &BTreeMap<RowKey, Kept>,
    ) -> Result<bool> {
        let of = |table: usize, delete: bool| {
            let events = last.iter().map(|event| &self.events[*event]);
            events.filter(move |event| event.key.0 == table && event.delete == delete)
        };
        let puts = (0..mapping.tables.len()).flat_map(|table| of(table, false));
        let deletes = (0..mapping.tables.len()).rev().flat_map(|table| of(table, true));
        writer.begin(true)?;
        let mut written = 0;
        for event in puts.chain(deletes) {
            if writer.write(event.key.0, self.image(event))?.is_some() {
                writer.rollback();
                return Ok(false);
            }
            written += 1;
            if writer.due() || written >= rows(PART_ROWS).div_ceil(4) {
                written = 0;
                boundary("reverse.before-part");
                if writer.commit(None)?.is_some() {
                    return Ok(false);
                }
                boundary("reverse.after-part");
                writer.begin(true)?;
            }
        }
        Ok(commit(writer, positions, kept)?.is_none())
    }

    /// Every event in log order, each in a transaction of its own, as the one who made them did. What the schema does not
    /// take is tried again, by its last image, as long as others of its kind go in; and at last all of them at once.
    fn one_by_one(&self, mapping: &Mapping, writer: &mut dyn SinkWriter) -> Result<BTreeMap<RowKey, Kept>> {
        let mut refused: BTreeMap<RowKey, (usize, String)> = BTreeMap::new();
        for (number, event) in self.events.iter().enumerate() {
            match self.alone(writer, event)? {
                Some(reason) => refused.insert(event.key.clone(), (number, reason)),
                None => refused.remove(&event.key),
            };
        }
        loop {
            let mut again = BTreeMap::new();
            for (key, (number, _)) in &refused {
                if let Some(reason) = self.alone(writer, &self.events[*number])? {
                    again.insert(key.clone(), (*number, reason));
                }
            }
            let fewer = again.len() < refused.len();
            refused = again;
            if !fewer {
                break;
            }
        }
        if refused.len() > 1 && (self.together(writer, &refused, false)? || self.apart(writer, &refused)?) {
            refused.clear();
        }
        let named = |(key, (number, reason)): (RowKey, (usize, String))| {
            let event = &self.events[number];
            let table = &mapping.tables[key.0];
            let row = table.identity_text(self.tables[key.0].row(event.row));
            let (topic, partition, offset) = event.place.clone();
            (key, Kept { table: table.name.clone(), row, topic, partition, offset, reason })
        };
        Ok(refused.into_iter().map(named).collect())
    }

    fn alone(&self, writer: &mut dyn SinkWriter, event: &Event) -> Result<Option<String>> {
        writer.begin(false)?;
        if let Some(reason) = writer.write(event.key.0, self.image(event))? {
            writer.rollback();
            return Ok(Some(reason));
        }
        writer.commit(None)
    }

    /// Rows that pass a unique value to each other stand in each other's way in any order: all of them go first.
    fn apart(&self, writer: &mut dyn SinkWriter, refused: &BTreeMap<RowKey, (usize, String)>) -> Result<bool> {
        let mut events = refused.values().map(|(number, _)| &self.events[*number]);
        let may = events.all(|event| event.left_out.is_empty() && writer.replaceable(event.key.0));
        Ok(may && self.together(writer, refused, true)?)
    }

    fn together(
        &self,
        writer: &mut dyn SinkWriter,
        refused: &BTreeMap<RowKey, (usize, String)>,
        cleared: bool,
    ) -> Result<bool> {
        writer.begin(true)?;
        let events = || refused.values().map(|(number, _)| &self.events[*number]);
        let gone = events().filter(|_| cleared).map(|event| (event, Image::Delete(self.row(event))));
        for (event, image) in gone.chain(events().map(|event| (event, self.image(event)))) {
            if writer.write(event.key.0, image)?.is_some() {
                writer.rollback();
                return Ok(false);
            }
        }
        Ok(writer.commit(None)?.is_none())
    }
}
