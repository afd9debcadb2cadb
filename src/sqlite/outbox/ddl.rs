//! The statements that make an outbox: one table of changes, and triggers that fill it.
//!
//! They run inside the legacy's own writes. So they only move values from one row into another: no function that could
//! fail, no constraint that could be broken, nothing that compares or converts what it keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::super::plan::quote;
use super::clash::{Clause, clauses, first_clauses};
use super::index::Unique;
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

    pub(super) fn guard(&self) -> String {
        format!("{}guard", self.prefix)
    }

    fn trigger(&self, tab: usize, kind: &str) -> String {
        format!("{}{tab}_{kind}", self.prefix)
    }

    /// Whether an object of this name and type is part of this migration's outbox, whatever tables it was made for.
    pub(super) fn own(&self, kind: &str, name: &str) -> bool {
        let Some(rest) = name.strip_prefix(&self.prefix) else { return false };
        match kind {
            "table" => rest == "changes" || rest == "meta",
            "trigger" => {
                rest == "guard"
                    || rest.split_once('_').is_some_and(|(tab, kind)| {
                        !tab.is_empty() && tab.bytes().all(|byte| byte.is_ascii_digit()) && KINDS.contains(&kind)
                    })
            }
            _ => false,
        }
    }
}

/// What names of outboxes of any migration begin with: no table of the legacy's.
pub(in crate::sqlite) const KEPT: &str = "_crossfade_";

/// How an outbox is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The first: it keeps every change until somebody takes it away.
    Growing,
    /// Its triggers keep about so many changes, the newest.
    Ring { keeps: u64 },
}

impl Form {
    /// As the outbox says it of itself.
    pub(super) fn number(self) -> i64 {
        match self {
            Self::Growing => 1,
            Self::Ring { .. } => 2,
        }
    }
}

/// Changes that one write takes away at most.
pub(super) const SLAB: u64 = 1024;

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
    /// Of columns that take no null.
    pub(super) defaults: BTreeMap<String, String>,
}

/// All statements of an outbox for these tables: tables first, then triggers.
pub(super) fn statements(
    names: &Names,
    mapping: &Mapping,
    watched: &[Watched<'_>],
    form: Form,
) -> Result<Vec<Statement>, String> {
    let width = watched.iter().map(|watched| watched.table.field_count()).max().unwrap_or(0);
    if LEADING + 2 * width + usize::from(form != Form::Growing) > MOST_COLUMNS {
        return Err(format!("a table of {width} columns is too wide: an outbox keeps two images side by side"));
    }
    let (changes, meta) = (names.changes(), names.meta());
    let mut columns = String::from("number INTEGER PRIMARY KEY, made, tab, op");
    for place in 0..width {
        let _ = write!(columns, ", n{place}, o{place}");
    }
    if form != Form::Growing {
        columns += ", token";
    }
    let mut all = vec![
        Statement::new("table", meta.clone(), format!("CREATE TABLE {} (key, value)", quote(&meta))),
        Statement::new("table", changes.clone(), format!("CREATE TABLE {} ({columns})", quote(&changes))),
    ];
    if form != Form::Growing {
        all.push(guard(names));
    }
    for watched in watched {
        triggers(names, mapping, watched, form, &mut all);
    }
    Ok(all)
}

/// Numbers go on behind the highest. When that one goes, which only a hand does, they are given again: as those of
/// another outbox.
fn guard(names: &Names) -> Statement {
    let (name, changes, meta) = (names.guard(), quote(&names.changes()), quote(&names.meta()));
    let sql = format!(
        "CREATE TRIGGER {} AFTER DELETE ON {changes} WHEN NOT EXISTS (SELECT 1 FROM {changes} WHERE number > OLD.number) \
         BEGIN UPDATE {meta} SET value = value + 1 WHERE key = 'epoch'; END",
        quote(&name)
    );
    Statement::new("trigger", name, sql)
}

/// Takes the oldest changes away once there are enough too many of them. By what is there, not by the number just given
/// alone: a statement takes as many numbers as there are rows in its way. Only directly behind the append is the last
/// row number the outbox's.
fn slab(changes: &str, keeps: u64) -> String {
    let oldest = format!("(SELECT min(number) FROM {changes})");
    format!(
        "DELETE FROM {changes} WHERE number <= CASE WHEN {oldest} <= last_insert_rowid() - {} THEN {oldest} + {} ELSE 0 END; ",
        keeps + SLAB,
        SLAB - 1
    )
}

fn triggers(names: &Names, mapping: &Mapping, watched: &Watched<'_>, form: Form, all: &mut Vec<Statement>) {
    let Watched { table, schema, uniques, defaults } = watched;
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
        if form != Form::Growing {
            columns += ", token";
            values += ", random()";
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
        let sql = format!("CREATE TRIGGER {} {when} BEGIN {body}END", quote(&name));
        all.push(Statement::new("trigger", name, sql));
    };
    let kept = match form {
        Form::Growing => String::new(),
        Form::Ring { keeps } => slab(&changes, keeps),
    };
    for (kind, when, op, images) in [
        ("insert", "AFTER INSERT", "i", vec![('n', "NEW", whole.clone())]),
        ("update", "AFTER UPDATE", "u", vec![('o', "OLD", whole.clone()), ('n', "NEW", whole.clone())]),
        ("delete", "AFTER DELETE", "d", vec![('o', "OLD", told_of_deleted(mapping, table))]),
    ] {
        add(kind, &format!("{when} ON {on}"), row(op, &images, "") + &kept);
    }
    // A row that another takes the place of (INSERT OR REPLACE) goes without a trigger: the rows that might are noted.
    let candidates = |clause: &Clause, but: &str| {
        let alias = if clause.alias == "t" { "t".to_owned() } else { quote(&clause.alias) };
        let from = format!("FROM {on} AS {alias} WHERE {}{but}", clause.equal);
        row("c", &[('o', &alias, whole.clone())], &from)
    };
    let clauses = match form {
        Form::Growing => first_clauses(schema, uniques),
        Form::Ring { .. } => clauses(schema, uniques, defaults),
    };
    if !clauses.is_empty() {
        let body = clauses.iter().map(|clause| candidates(clause, "")).collect();
        add("before_insert", &format!("BEFORE INSERT ON {on}"), body);
    }
    let named: Vec<&Clause> = clauses.iter().filter(|clause| !clause.rests_on.is_empty()).collect();
    if !named.is_empty() {
        let columns: BTreeSet<&String> = named.iter().flat_map(|clause| &clause.rests_on).collect();
        // What an update names is not what it changes: row numbers have several names, computed columns none.
        let when = match form {
            Form::Growing => {
                let columns: Vec<String> = columns.into_iter().map(|column| quote(column)).collect();
                format!("BEFORE UPDATE OF {} ON {on}", columns.join(", "))
            }
            Form::Ring { .. } => format!("BEFORE UPDATE ON {on} WHEN {}", altered(columns)),
        };
        let but = |clause: &Clause| match form {
            Form::Growing => format!(" AND NOT ({})", same_row(schema, "t")),
            Form::Ring { .. } => {
                let alias = if clause.alias == "t" { "t".to_owned() } else { quote(&clause.alias) };
                format!(" AND ({}) AND NOT ({})", altered(&clause.rests_on), same_row(schema, &alias))
            }
        };
        add("before_update", &when, named.iter().map(|clause| candidates(clause, &but(clause))).collect());
    }
}

/// Whether an update changes one of these columns, to whatever an index may compare.
fn altered<'c>(columns: impl IntoIterator<Item = &'c String>) -> String {
    let terms = columns.into_iter().map(|name| format!("NEW.{0} COLLATE BINARY IS NOT OLD.{0}", quote(name)));
    terms.collect::<Vec<_>>().join(" OR ")
}

/// Whether `t` is the row an update is about to change.
fn same_row(schema: &TableSchema, alias: &str) -> String {
    let key = match &schema.rowid {
        Some(rowid) => std::slice::from_ref(rowid),
        None => schema.key.as_slice(),
    };
    let same = key.iter().map(|name| format!("{alias}.{0} IS OLD.{0}", quote(name)));
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
