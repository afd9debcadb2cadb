//! The statements that bring one row of a legacy table to its image. All values go in as text, cast by the column's type.

use super::super::catalog::Catalog;
use super::super::form::{Form, quote};
use crate::base::{Error, Result};
use crate::mapping::{Mapping, Row, Table, Value};

/// One table as it is written.
pub(super) struct Shape {
    pub(super) name: String,
    /// Form, type and quoted name of each field's column.
    pub(super) columns: Vec<Column>,
    pub(super) statements: Statements,
    pub(super) delete: String,
}

pub(super) struct Column {
    pub(super) form: Form,
    pub(super) declared: String,
    pub(super) name: String,
    computed: bool,
}

/// How a row gets there: changed where it is, else added.
pub(super) struct Statements {
    /// Cells bound by `update`, then the identity.
    pub(super) set: Vec<usize>,
    pub(super) update: String,
    /// Cells bound by `insert`.
    pub(super) given: Vec<usize>,
    pub(super) insert: String,
}

pub(super) fn all(mapping: &Mapping, catalog: &Catalog, store: &str, schema: &str) -> Result<Vec<Shape>> {
    mapping.tables.iter().map(|table| Shape::of(table, catalog, store, schema)).collect()
}

impl Shape {
    fn of(table: &Table, catalog: &Catalog, store: &str, schema: &str) -> Result<Self> {
        let missing = |what: &str| {
            Error::refused(format!("'{store}' has no {what}, which is mapped"))
                .hint("the tables changed under the mapping: mend it, then copy anew with `crossfade replay --recopy`")
        };
        let (_, found) = catalog.found(&table.name).ok_or_else(|| missing(&format!("table '{}'", table.name)))?;
        let column = |column: &crate::mapping::Column| {
            let there = found.columns.get(&column.name);
            let there = there.ok_or_else(|| missing(&format!("column '{}' of '{}'", column.name, table.name)))?;
            Ok(Column {
                form: there.form,
                declared: there.declared.clone(),
                name: quote(&column.name),
                computed: column.generated,
            })
        };
        let columns: Vec<Column> = table.columns.iter().map(column).collect::<Result<_>>()?;
        let name = format!("{}.{}", quote(schema), quote(&table.name));
        let delete = format!("DELETE FROM {name} WHERE {}", wanted(table, &columns, 0));
        Ok(Self { statements: Statements::of(table, &name, &columns, &[]), name, columns, delete })
    }
}

fn wanted(table: &Table, columns: &[Column], from: usize) -> String {
    let equal =
        table.identity.iter().enumerate().map(|(at, cell)| {
            format!("{} = ${}::text::{}", columns[*cell].name, from + at + 1, columns[*cell].declared)
        });
    equal.collect::<Vec<_>>().join(" AND ")
}

impl Statements {
    /// `left_out` are cells that are not written.
    pub(super) fn of(table: &Table, name: &str, columns: &[Column], left_out: &[usize]) -> Self {
        let given: Vec<usize> =
            (0..columns.len()).filter(|cell| !columns[*cell].computed && !left_out.contains(cell)).collect();
        let set: Vec<usize> = given.iter().copied().filter(|cell| !table.identity.contains(cell)).collect();
        let value = |(at, cell): (usize, &usize)| format!("${}::text::{}", at + 1, columns[*cell].declared);
        let mut assigned: Vec<String> =
            set.iter().enumerate().map(|one| format!("{} = {}", columns[*one.1].name, value(one))).collect();
        if assigned.is_empty() {
            // Nothing to change; but whether the row is there must be known.
            let same = &columns[table.identity[0]].name;
            assigned.push(format!("{same} = {same}"));
        }
        let names: Vec<&str> = given.iter().map(|cell| columns[*cell].name.as_str()).collect();
        let values: Vec<String> = given.iter().enumerate().map(value).collect();
        Self {
            update: format!("UPDATE {name} SET {} WHERE {}", assigned.join(", "), wanted(table, columns, set.len())),
            insert: format!(
                "INSERT INTO {name} ({}) OVERRIDING SYSTEM VALUE VALUES ({})",
                names.join(", "),
                values.join(", ")
            ),
            set,
            given,
        }
    }
}

/// The texts of these cells; the reason where one has none that its column would give back.
pub(super) fn texts(
    table: &Table,
    columns: &[Column],
    row: Row<'_>,
    cells: impl Iterator<Item = usize>,
) -> std::result::Result<Vec<Option<String>>, String> {
    let text = |cell: usize| {
        let (column, value) = (&columns[cell], row.get(cell));
        if value == Value::Null {
            return Ok(None);
        }
        if !column.form.keeps(value) {
            let name = &table.columns[cell].name;
            return Err(format!("column '{name}' ({}) does not take this {}", column.declared, value.class()));
        }
        Ok(Some(super::super::source::text(value)))
    };
    cells.map(text).collect()
}
