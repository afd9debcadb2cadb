//! The statements that make an outbox: one table of changes, and triggers that fill it.
//!
//! They run inside the legacy's own writes. So they only move values from one row into another: no function that could
//! fail, no constraint that could be broken, nothing that compares or converts what it keeps.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::super::plan::quote;
use crate::mapping::init::TableSchema;
use crate::mapping::{Key, Mapping, Table};
use crate::port::change_source::Step;

/// Columns of the table of changes before the images: the number gives the order over all tables.
pub(super) const LEADING: usize = 4;

/// Columns SQLite lets a table have.
const MOST_COLUMNS: usize = 2000;

/// Names of what an outbox consists of; also how it is found again by a run that knows nothing else of it.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: String,
}

const KINDS: [&str; 5] = ["insert", "update", "delete", "before_insert", "before_update"];

impl Names {
    pub(super) fn new(migration: &str) -> Self {
        Self { prefix: format!("{KEPT}{migration}_") }
    }

    pub(super) fn changes(&self) -> String {
        format!("{}changes", self.prefix)
    }

    pub(super) fn meta(&self) -> String {
        format!("{}meta", self.prefix)
    }

    fn trigger(&self, tab: usize, kind: &str) -> String {
        format!("{}{tab}_{kind}", self.prefix)
    }

    /// Whether an object of this name and type is part of this migration's outbox, whatever tables it was made for.
    pub(super) fn own(&self, kind: &str, name: &str) -> bool {
        let Some(rest) = name.strip_prefix(&self.prefix) else { return false };
        match kind {
            "table" => rest == "changes" || rest == "meta",
            "trigger" => rest.split_once('_').is_some_and(|(tab, kind)| {
                !tab.is_empty() && tab.bytes().all(|byte| byte.is_ascii_digit()) && KINDS.contains(&kind)
            }),
            _ => false,
        }
    }
}

/// What names of outboxes of any migration begin with: no table of the legacy's.
pub(in crate::sqlite) const KEPT: &str = "_crossfade_";

/// A unique index of a table, as far as a row that would break it can be found by columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unique {
    pub(super) name: String,
    /// Columns with the index's collations; empty where it is over expressions alone.
    pub(super) columns: Vec<(String, String)>,
}

/// One statement of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// `table` or `trigger`.
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) sql: String,
}

impl Statement {
    fn new(kind: &'static str, name: String, sql: String) -> Self {
        Self { kind, name, sql }
    }

    /// With the one that takes it back.
    pub(super) fn step(&self) -> Step {
        Step { sql: self.sql.clone(), back: drop_statement(self.kind, &self.name) }
    }
}

pub(super) fn drop_statement(kind: &str, name: &str) -> String {
    format!("DROP {} {}", kind.to_uppercase(), quote(name))
}

/// A mapped table as the store has it.
#[derive(Debug)]
pub(super) struct Watched<'a> {
    pub(super) table: &'a Table,
    pub(super) schema: &'a TableSchema,
    pub(super) uniques: Vec<Unique>,
}

/// All statements of an outbox for these tables: tables first, then triggers.
pub(super) fn statements(names: &Names, mapping: &Mapping, watched: &[Watched<'_>]) -> Result<Vec<Statement>, String> {
    let width = watched.iter().map(|watched| watched.table.field_count()).max().unwrap_or(0);
    if LEADING + 2 * width > MOST_COLUMNS {
        return Err(format!("a table of {width} columns is too wide: an outbox keeps two images side by side"));
    }
    let (changes, meta) = (names.changes(), names.meta());
    let mut columns = String::from("number INTEGER PRIMARY KEY, made, tab, op");
    for place in 0..width {
        let _ = write!(columns, ", n{place}, o{place}");
    }
    let mut all = vec![
        Statement::new("table", meta.clone(), format!("CREATE TABLE {} (key, value)", quote(&meta))),
        Statement::new("table", changes.clone(), format!("CREATE TABLE {} ({columns})", quote(&changes))),
    ];
    for watched in watched {
        triggers(names, mapping, watched, &mut all);
    }
    Ok(all)
}

fn triggers(names: &Names, mapping: &Mapping, watched: &Watched<'_>, all: &mut Vec<Statement>) {
    let Watched { table, schema, uniques } = watched;
    let (tab, on) = (table.index + 1, quote(&schema.name));
    let fields: Vec<String> = table.fields().map(quote).collect();
    let changes = quote(&names.changes());
    let row = |op: &str, images: &[(char, &str, Vec<usize>)], from: &str| {
        let (mut columns, mut values) = (String::new(), String::new());
        for (column, alias, cells) in images {
            for cell in cells {
                let _ = write!(columns, ", {column}{cell}");
                let _ = write!(values, ", {alias}.{}", fields[*cell]);
            }
        }
        let source = if from.is_empty() {
            format!("VALUES (julianday('now'), {tab}, '{op}'{values})")
        } else {
            format!("SELECT julianday('now'), {tab}, '{op}'{values} {from}")
        };
        format!("INSERT INTO {changes} (made, tab, op{columns}) {source}; ")
    };
    let whole: Vec<usize> = (0..fields.len()).collect();
    let mut add = |kind: &str, when: &str, body: String| {
        let name = names.trigger(tab, kind);
        let sql = format!("CREATE TRIGGER {} {when} ON {on} BEGIN {body}END", quote(&name));
        all.push(Statement::new("trigger", name, sql));
    };
    add("insert", "AFTER INSERT", row("i", &[('n', "NEW", whole.clone())], ""));
    add("update", "AFTER UPDATE", row("u", &[('o', "OLD", whole.clone()), ('n', "NEW", whole.clone())], ""));
    add("delete", "AFTER DELETE", row("d", &[('o', "OLD", told_of_deleted(mapping, table))], ""));
    // A row that another takes the place of (INSERT OR REPLACE) goes without a trigger: the rows that might are noted.
    let candidates = |unique: &Clause, but: &str| {
        row("c", &[('o', "t", whole.clone())], &format!("FROM {on} AS t WHERE {}{but}", unique.equal))
    };
    let clauses = clauses(schema, uniques);
    if !clauses.is_empty() {
        add("before_insert", "BEFORE INSERT", clauses.iter().map(|clause| candidates(clause, "")).collect());
    }
    let named: Vec<&Clause> = clauses.iter().filter(|clause| !clause.columns.is_empty()).collect();
    if !named.is_empty() {
        let columns: BTreeSet<&String> = named.iter().flat_map(|clause| &clause.columns).collect();
        let columns: Vec<String> = columns.into_iter().map(|column| quote(column)).collect();
        let but = format!(" AND NOT ({})", same_row(schema));
        let when = format!("BEFORE UPDATE OF {}", columns.join(", "));
        add("before_update", &when, named.iter().map(|clause| candidates(clause, &but)).collect());
    }
}

/// What makes a row of the table stand in the way of a new one.
struct Clause {
    /// The columns an update would have to name; none where only the hidden row number is compared.
    columns: Vec<String>,
    equal: String,
}

fn clauses(schema: &TableSchema, uniques: &[Unique]) -> Vec<Clause> {
    let equal = |name: &String, collation: &str| {
        let name = quote(name);
        format!("t.{name} COLLATE {} = NEW.{name}", quote(collation))
    };
    let mut all = Vec::new();
    if !schema.without_rowid {
        let indexed =
            |key: &String| uniques.iter().any(|unique| unique.columns.len() == 1 && unique.columns[0].0 == *key);
        let alias: Vec<String> =
            schema.key.iter().filter(|key| schema.key.len() == 1 && !indexed(key)).cloned().collect();
        if let Some(name) = alias.first().or(schema.rowid.as_ref()).map(|name| quote(name)) {
            all.push(Clause { columns: alias, equal: format!("t.{name} = NEW.{name}") });
        }
    }
    for unique in uniques.iter().filter(|unique| !unique.columns.is_empty()) {
        let terms: Vec<String> = unique.columns.iter().map(|(name, collation)| equal(name, collation)).collect();
        let columns = unique.columns.iter().map(|(name, _)| name.clone()).collect();
        all.push(Clause { columns, equal: terms.join(" AND ") });
    }
    all
}

/// Whether `t` is the row an update is about to change.
fn same_row(schema: &TableSchema) -> String {
    let key = match &schema.rowid {
        Some(rowid) => std::slice::from_ref(rowid),
        None => schema.key.as_slice(),
    };
    let same = key.iter().map(|name| format!("t.{0} IS OLD.{0}", quote(name)));
    same.collect::<Vec<_>>().join(" AND ")
}

/// Cells of a deleted row that an event, its record key or the key of a child may need.
fn told_of_deleted(mapping: &Mapping, table: &Table) -> Vec<usize> {
    let mut cells: BTreeSet<usize> = table.identity.iter().copied().chain(table.time).collect();
    let name = |name: &String| table.column(name).or(table.rowid_cell().filter(|_| table.rowid.as_ref() == Some(name)));
    match &table.key {
        Key::Cells(key) => cells.extend(key),
        Key::Through(through) => cells.extend(through.columns.iter().filter_map(name)),
    }
    for child in &mapping.tables {
        if let Key::Through(through) = &child.key
            && through.parent == table.name
        {
            cells.extend(through.referenced.iter().filter_map(name));
        }
    }
    cells.into_iter().collect()
}
