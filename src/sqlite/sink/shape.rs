//! The statements that bring one row of a legacy table to its image.

use rusqlite::{Connection, OptionalExtension};

use super::super::plan::quote;
use crate::mapping::init::Schema;
use crate::mapping::{Mapping, Table};

/// One table as it is written.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) statements: Statements,
    pub(super) delete: String,
    /// Its row numbers come from `sqlite_sequence`, by this name.
    pub(super) counted: Option<String>,
    /// Some table has a foreign key to it.
    pub(super) referenced: bool,
}

/// How a row gets there: changed where it is, else added. Parameters are the cells by number.
#[derive(Debug)]
pub(super) struct Statements {
    /// Cells bound by `update`, then the identity.
    pub(super) set: Vec<usize>,
    pub(super) update: String,
    /// Cells bound by `insert`.
    pub(super) given: Vec<usize>,
    pub(super) insert: String,
}

pub(super) fn all(connection: &Connection, mapping: &Mapping, schema: &Schema) -> rusqlite::Result<Vec<Shape>> {
    mapping.tables.iter().map(|table| of(connection, table, schema)).collect()
}

fn of(connection: &Connection, table: &Table, schema: &Schema) -> rusqlite::Result<Shape> {
    let name = schema.table(&table.name).map_or(&table.name, |found| &found.name);
    let sql = "SELECT sql LIKE '%autoincrement%' FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    let counted: Option<bool> = connection.query_row(sql, [name], |row| row.get(0)).optional()?;
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema AS s, pragma_foreign_key_list(s.name) AS k \
        WHERE s.type = 'table' AND k.\"table\" = ?1 COLLATE NOCASE)";
    Ok(Shape {
        referenced: connection.query_row(sql, [name], |row| row.get(0))?,
        statements: Statements::of(table, name, &[]),
        delete: format!("DELETE FROM {} WHERE {}", quote(name), wanted(table, 0)),
        counted: counted.filter(|counted| *counted).map(|_| name.clone()),
    })
}

/// The identity, by parameters from `from` on.
fn wanted(table: &Table, from: usize) -> String {
    let fields: Vec<&str> = table.fields().collect();
    let equal = table.identity.iter().enumerate();
    let equal = equal.map(|(at, cell)| format!("{} = ?{}", quote(fields[*cell]), from + at + 1));
    equal.collect::<Vec<_>>().join(" AND ")
}

impl Statements {
    /// `left_out` are cells that are not written.
    pub(super) fn of(table: &Table, name: &str, left_out: &[usize]) -> Self {
        let fields: Vec<&str> = table.fields().collect();
        let computed = |cell: usize| table.columns.get(cell).is_some_and(|column| column.generated);
        let given: Vec<usize> = (0..fields.len()).filter(|cell| !computed(*cell) && !left_out.contains(cell)).collect();
        let set: Vec<usize> = given.iter().copied().filter(|cell| !table.identity.contains(cell)).collect();
        let name = quote(name);
        let assigned = set.iter().enumerate().map(|(at, cell)| format!("{} = ?{}", quote(fields[*cell]), at + 1));
        let mut assigned: Vec<String> = assigned.collect();
        if assigned.is_empty() {
            // Nothing to change; but whether the row is there must be known.
            let same = quote(fields[table.identity[0]]);
            assigned.push(format!("{same} = {same}"));
        }
        let columns: Vec<String> = given.iter().map(|cell| quote(fields[*cell])).collect();
        let marks: Vec<String> = (1..=given.len()).map(|at| format!("?{at}")).collect();
        Self {
            update: format!("UPDATE {name} SET {} WHERE {}", assigned.join(", "), wanted(table, set.len())),
            insert: format!("INSERT INTO {name} ({}) VALUES ({})", columns.join(", "), marks.join(", ")),
            set,
            given,
        }
    }
}
