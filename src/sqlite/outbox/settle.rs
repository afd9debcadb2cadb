//! What the entries of an outbox come to: which rows were replaced without a trigger, and the record keys that come
//! through parents.

use std::collections::HashMap;

use rusqlite::Connection;

use super::SqliteOutbox;
use crate::base::{Millis, Result};
use crate::event::Op;
use crate::mapping::{Key, KeyText, Mapping, Row, Rows, Table, Through, Value};
use crate::port::change_source::Changes;
use crate::sqlite::functions::{bind, value};
use crate::sqlite::plan::{key, quote};

/// One row of the table of changes; images by place in the chunk of its table.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: u64,
    pub(super) made_at: Option<Millis>,
    /// `None` of what is no change of a row.
    pub(super) table: Option<usize>,
    /// `i`, `u`, `d`, or `c`: a row that a new one may be about to take the place of.
    pub(super) op: char,
    pub(super) new: Option<usize>,
    pub(super) old: Option<usize>,
}

/// What became of a row that may have been replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Stayed,
    Gone,
    /// By the new row of the same identity in this entry.
    Became(usize),
}

/// Settles the entries of one batch after another in the view they were read in.
pub(super) struct Settler {
    /// Tables with rows whose parent is missing: their keys change when it comes.
    orphans: Vec<bool>,
}

impl Settler {
    pub(super) fn new(outbox: &SqliteOutbox, connection: &Connection) -> Result<Self> {
        let find = |table: &Table| {
            let Key::Through(through) = &table.key else { return Ok(false) };
            let joined = joined(through, "p", |column| format!("+t.{}", quote(column)));
            let known: Vec<String> =
                through.columns.iter().map(|column| format!("t.{} IS NOT NULL", quote(column))).collect();
            let sql = format!(
                "SELECT EXISTS (SELECT 1 FROM {} AS t WHERE {} AND NOT EXISTS (SELECT 1 FROM {} AS p WHERE {joined}))",
                quote(&table.name),
                known.join(" AND "),
                quote(&through.parent)
            );
            connection.query_row(&sql, [], |row| row.get(0))
        };
        let orphans = outbox.mapping.tables.iter().map(find).collect::<rusqlite::Result<_>>();
        Ok(Self { orphans: orphans.map_err(|error| outbox.told(error))? })
    }

    pub(super) fn settle(
        &mut self,
        outbox: &SqliteOutbox,
        connection: &Connection,
        images: &mut [Rows],
        entries: &[Entry],
        changes: &mut Changes,
    ) -> Result<()> {
        let view = View { outbox, mapping: &outbox.mapping, connection };
        let done = view
            .fates(images, entries, changes.caught_up)
            .and_then(|fates| self.push(&view, images, entries, &fates, changes));
        done.map_err(|error| outbox.told(error))
    }

    fn push(
        &mut self,
        view: &View<'_>,
        images: &[Rows],
        entries: &[Entry],
        fates: &HashMap<usize, Fate>,
        changes: &mut Changes,
    ) -> rusqlite::Result<()> {
        let became: HashMap<usize, usize> = fates
            .iter()
            .filter_map(
                |(candidate, fate)| if let Fate::Became(entry) = fate { Some((*entry, *candidate)) } else { None },
            )
            .collect();
        for (place, entry) in entries.iter().enumerate() {
            let Some(index) = entry.table else { continue };
            let table = &view.mapping.tables[index];
            let image = |at: Option<usize>| at.map(|at| images[index].row(at));
            let (op, row, before) = match entry.op {
                'i' => match became.get(&place) {
                    Some(candidate) => (Op::Update, image(entry.new), image(entries[*candidate].old)),
                    None => (Op::Insert, image(entry.new), None),
                },
                'u' => (Op::Update, image(entry.new), image(entry.old)),
                'd' => (Op::Delete, image(entry.old), None),
                'c' if fates.get(&place) == Some(&Fate::Gone) => (Op::Delete, image(entry.old), None),
                _ => continue,
            };
            let Some(row) = row else { continue };
            if let Some(reason) = self.strands(view, table, op, row, before)? {
                changes.reconcile.get_or_insert(reason);
            }
            // A column never to be read may have changed, or nothing at all.
            if before.is_some_and(|before| before.values().eq(row.values())) {
                continue;
            }
            let row = self.whole(view, table, row, entry.number)?;
            let before = before.map(|before| self.whole(view, table, before, entry.number)).transpose()?;
            let before = before.as_ref().map(|rows| rows.row(0));
            changes.push((index, op), (entry.number, 0), entry.made_at, row.row(0), before);
        }
        Ok(())
    }

    /// The image in the layout of its table: with the key that comes through a parent.
    fn whole(&mut self, view: &View<'_>, table: &Table, row: Row<'_>, number: u64) -> rusqlite::Result<Rows> {
        let mut whole = Rows::new(table.width());
        for cell in row.values() {
            whole.push(cell);
        }
        if let Key::Through(through) = &table.key {
            match view.through(table, through, row, number)? {
                Found::Key(text) => whole.push(Value::Text(&text)),
                Found::Blob(bytes) => whole.push(Value::Blob(&bytes)),
                Found::Nothing { orphan } => {
                    self.orphans[table.index] |= orphan;
                    let mut text = KeyText::default();
                    let own = text.text(table.identity.iter().map(|cell| row.get(*cell)));
                    whole.push(own.map_or(Value::Null, Value::Text));
                }
            }
        }
        Ok(whole)
    }

    /// Whether rows that were not changed themselves have another record key by this change of a parent.
    fn strands(
        &self,
        view: &View<'_>,
        table: &Table,
        op: Op,
        row: Row<'_>,
        before: Option<Row<'_>>,
    ) -> rusqlite::Result<Option<String>> {
        for child in &view.mapping.tables {
            let Key::Through(through) = &child.key else { continue };
            if through.parent != table.name {
                continue;
            }
            let referenced: Vec<usize> = through.referenced.iter().filter_map(|name| cell(table, name)).collect();
            let keys = match &table.key {
                Key::Cells(cells) => cells.clone(),
                Key::Through(own) => own.columns.iter().filter_map(|name| cell(table, name)).collect(),
            };
            let alters = |before: Row<'_>| {
                referenced.iter().chain(&keys).chain(&table.identity).any(|cell| before.get(*cell) != row.get(*cell))
            };
            let old = match (op, before) {
                (Op::Insert, _) if self.orphans[child.index] => row,
                (Op::Delete, _) => row,
                (Op::Update, Some(before)) if alters(before) => before,
                _ => continue,
            };
            let sides = if op == Op::Update { vec![old, row] } else { vec![old] };
            for side in sides {
                let values: Vec<Value<'_>> = referenced.iter().map(|cell| side.get(*cell)).collect();
                if view.has_children(child, through, &values)? {
                    return Ok(Some(format!(
                        "rows of '{}' have another record key by a change of '{}'",
                        child.name, table.name
                    )));
                }
            }
        }
        Ok(None)
    }
}

fn cell(table: &Table, name: &str) -> Option<usize> {
    table.column(name).or(table.rowid_cell().filter(|_| table.rowid.as_deref() == Some(name)))
}

/// As a foreign key compares: by collation and affinity of the parent's column alone.
fn joined(through: &Through, parent: &str, other: impl Fn(&String) -> String) -> String {
    let terms = through.referenced.iter().zip(&through.columns);
    terms
        .map(|(referenced, column)| format!("{parent}.{} = {}", quote(referenced), other(column)))
        .collect::<Vec<_>>()
        .join(" AND ")
}

enum Found {
    Key(Vec<u8>),
    Blob(Vec<u8>),
    Nothing { orphan: bool },
}

/// The rows and the changes as they stand in one read transaction.
struct View<'a> {
    outbox: &'a SqliteOutbox,
    mapping: &'a Mapping,
    connection: &'a Connection,
}

fn identity(table: &Table, row: Row<'_>) -> Option<Vec<u8>> {
    let mut image = Vec::new();
    for cell in &table.identity {
        let value = row.get(*cell);
        if matches!(value, Value::Null | Value::Blob(_)) {
            return None;
        }
        value.write_image(&mut image);
    }
    Some(image)
}

impl View<'_> {
    /// The fate of each candidate: the next entry that speaks of its identity tells, and where none does, the row itself.
    fn fates(&self, images: &[Rows], entries: &[Entry], caught_up: bool) -> rusqlite::Result<HashMap<usize, Fate>> {
        let mut fates = HashMap::new();
        if !entries.iter().any(|entry| entry.op == 'c') {
            return Ok(fates);
        }
        let mut next: HashMap<(usize, Vec<u8>), (usize, bool)> = HashMap::new();
        let mut written: HashMap<usize, usize> = HashMap::new();
        for (place, entry) in entries.iter().enumerate().rev() {
            let Some(index) = entry.table else { continue };
            let table = &self.mapping.tables[index];
            let of = |at: Option<usize>| at.and_then(|at| identity(table, images[index].row(at)));
            let (old, new) = (of(entry.old), of(entry.new));
            if entry.op == 'c' {
                let Some(old) = old else { continue };
                let fate = match next.get(&(index, old.clone())) {
                    Some((at, true)) if entries[*at].op == 'i' && written.get(&index) == Some(at) => Fate::Became(*at),
                    Some((_, true)) => Fate::Gone,
                    Some((_, false)) => Fate::Stayed,
                    None => {
                        self.later(table, images[index].row(entry.old.unwrap_or_default()), &old, entries, caught_up)?
                    }
                };
                fates.insert(place, fate);
                next.insert((index, old), (place, false));
                continue;
            }
            written.insert(index, place);
            let arrives = new != old;
            if let Some(old) = old {
                next.insert((index, old), (place, false));
            }
            if let Some(new) = new {
                next.insert((index, new), (place, arrives));
            }
        }
        Ok(fates)
    }

    /// The fate of a candidate of which the rest of the batch says nothing.
    fn later(
        &self,
        table: &Table,
        row: Row<'_>,
        image: &[u8],
        entries: &[Entry],
        caught_up: bool,
    ) -> rusqlite::Result<Fate> {
        let columns: Vec<String> =
            table.identity.iter().map(|cell| quote(table.fields().nth(*cell).unwrap_or_default())).collect();
        let equal: Vec<String> =
            columns.iter().enumerate().map(|(at, column)| format!("{column} = ?{}", at + 1)).collect();
        let sql = format!("SELECT {} FROM {} WHERE {}", columns.join(", "), quote(&table.name), equal.join(" AND "));
        let mut statement = self.connection.prepare(&sql)?;
        let bound: Vec<_> = table.identity.iter().map(|cell| bind(row.get(*cell))).collect();
        let mut rows = statement.query(rusqlite::params_from_iter(bound))?;
        while let Some(found) = rows.next()? {
            let mut bytes = Vec::new();
            (0..columns.len()).try_for_each(|at| found.get_ref(at).map(|raw| value(raw).write_image(&mut bytes)))?;
            if bytes == image {
                return Ok(Fate::Stayed);
            }
        }
        if caught_up {
            return Ok(Fate::Gone);
        }
        // What comes after this batch tells whether it went by itself, later.
        let sides = |side: char| table.identity.iter().map(move |cell| format!("{side}{cell}"));
        let sql = format!(
            "SELECT op, {} FROM {} WHERE number > ?1 AND tab = ?2 AND op <> 's' ORDER BY number",
            sides('n').chain(sides('o')).collect::<Vec<_>>().join(", "),
            quote(&self.outbox.names.changes())
        );
        let last = entries.last().map_or(0, |last| last.number);
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query((last as i64, table.index as i64 + 1))?;
        let width = table.identity.len();
        while let Some(found) = rows.next()? {
            let side = |from: usize| -> rusqlite::Result<Vec<u8>> {
                let mut bytes = Vec::new();
                (from..from + width)
                    .try_for_each(|at| found.get_ref(at).map(|raw| value(raw).write_image(&mut bytes)))?;
                Ok(bytes)
            };
            let (new, old) = (side(1)?, side(1 + width)?);
            if old == image {
                return Ok(Fate::Stayed);
            }
            if new == image {
                return Ok(Fate::Gone);
            }
        }
        Ok(Fate::Gone)
    }

    /// The record key a row takes from its parent: the parent's as it stands, or as it was last before it went.
    fn through(&self, table: &Table, through: &Through, row: Row<'_>, number: u64) -> rusqlite::Result<Found> {
        let fields: Vec<Value<'_>> =
            through.columns.iter().map(|name| cell(table, name).map_or(Value::Null, |cell| row.get(cell))).collect();
        if fields.contains(&Value::Null) {
            return Ok(Found::Nothing { orphan: false });
        }
        let Some(parent) = self.mapping.table(&through.parent) else { return Ok(Found::Nothing { orphan: false }) };
        if let Some(found) = self.of_parent(parent, through, &fields)? {
            return Ok(found);
        }
        let tab = parent.index as i64 + 1;
        let wanted: Vec<String> = through
            .referenced
            .iter()
            .enumerate()
            .filter_map(|(at, name)| Some(format!("o{} = ?{}", cell(parent, name)?, at + 3)))
            .collect();
        let olds: Vec<String> = (0..parent.field_count()).map(|cell| format!("o{cell}")).collect();
        let sql = format!(
            "SELECT {} FROM {} WHERE number > ?1 AND tab = ?2 AND op IN ('d', 'u', 'c') AND {} ORDER BY number LIMIT 1",
            olds.join(", "),
            quote(&self.outbox.names.changes()),
            wanted.join(" AND ")
        );
        let mut statement = self.connection.prepare(&sql)?;
        let numbers = [bind(Value::Integer(number as i64)), bind(Value::Integer(tab))];
        let bound = numbers.into_iter().chain(fields.iter().map(|value| bind(*value)));
        let mut rows = statement.query(rusqlite::params_from_iter(bound))?;
        let Some(found) = rows.next()? else { return Ok(Found::Nothing { orphan: true }) };
        let mut image = Rows::new(parent.field_count());
        for at in 0..parent.field_count() {
            image.push(value(found.get_ref(at)?));
        }
        let image = image.row(0);
        if let Key::Through(further) = &parent.key {
            let further = self.through(parent, further, image, number)?;
            if !matches!(further, Found::Nothing { .. }) {
                return Ok(further);
            }
        }
        let mut text = KeyText::default();
        let cells = match &parent.key {
            Key::Cells(cells) if !cells.iter().any(|cell| image.get(*cell) == Value::Null) => cells,
            _ => &parent.identity,
        };
        let found = text.text(cells.iter().map(|cell| image.get(*cell)));
        Ok(found.map_or(Found::Nothing { orphan: false }, |text| Found::Key(text.to_vec())))
    }

    fn of_parent(&self, parent: &Table, through: &Through, fields: &[Value<'_>]) -> rusqlite::Result<Option<Found>> {
        // The mapping was checked against the store: an expression that cannot be written was refused there.
        let Ok(expression) = key(self.mapping, parent, "p", 0) else { return Ok(None) };
        let place = |column: &String| through.columns.iter().position(|name| name == column).unwrap_or_default() + 1;
        let joined = joined(through, "p", |column| format!("?{}", place(column)));
        let sql = format!("SELECT {expression} FROM {} AS p WHERE {joined} LIMIT 1", quote(&parent.name));
        let mut statement = self.connection.prepare(&sql)?;
        let mut rows = statement.query(rusqlite::params_from_iter(fields.iter().map(|value| bind(*value))))?;
        let Some(found) = rows.next()? else { return Ok(None) };
        Ok(Some(match value(found.get_ref(0)?) {
            Value::Text(text) => Found::Key(text.to_vec()),
            Value::Blob(bytes) => Found::Blob(bytes.to_vec()),
            _ => Found::Nothing { orphan: false },
        }))
    }

    fn has_children(&self, child: &Table, through: &Through, values: &[Value<'_>]) -> rusqlite::Result<bool> {
        let terms = through.columns.iter().enumerate().map(|(at, column)| format!("t.{} = ?{}", quote(column), at + 1));
        let terms = terms.collect::<Vec<_>>().join(" AND ");
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {} AS t WHERE {terms})", quote(&child.name));
        let bound = values.iter().map(|value| bind(*value));
        self.connection.prepare(&sql)?.query_row(rusqlite::params_from_iter(bound), |row| row.get(0))
    }
}
