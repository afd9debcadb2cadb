//! A mapping against the store, before anything starts.

use super::error::explain;
use super::introspect;
use super::plan::{Plan, range};
use super::source::SqliteSource;
use crate::base::{Error, Result, yaml};
use crate::mapping::init::{Schema, TableSchema};
use crate::mapping::{Key, Mapping, Table};

/// A table of the store that no event will carry, for the coverage of every verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmapped {
    pub table: String,
    /// Why it cannot be mapped; `None` when the mapping merely leaves it out.
    pub why: Option<String>,
}

impl SqliteSource {
    /// Refuses a mapping the store does not fit: a mapped table or column that is missing, a column that is neither
    /// mapped nor on its table's never list, a statement the store cannot run. Gives the tables left out.
    pub fn check(&self) -> Result<Vec<Unmapped>> {
        let connection = self.connect()?;
        let failed = |error| explain(self.path(), error);
        let schema = introspect::schema(&connection).map_err(failed)?;
        let file = self.path().display().to_string();
        let mapping = self.mapping();
        for table in &mapping.tables {
            let found = find(&schema, &file, table)?;
            fits(mapping, &schema, table, found)?;
            let refused =
                |why: &str| Error::refused(format!("table '{}' of '{file}' cannot be read: {why}", table.name));
            let range = range(&connection, found).map_err(failed)?.map_err(refused)?;
            let plan = Plan::new(mapping, table, &range)?;
            for sql in [&plan.first].into_iter().chain(plan.next.iter().map(|next| &next.sql)) {
                connection.prepare(sql).map_err(|error| refused("SQLite refuses to").because(error))?;
            }
        }
        Ok(unmapped(mapping, &schema))
    }
}

fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

fn find<'a>(schema: &'a Schema, file: &str, table: &Table) -> Result<&'a TableSchema> {
    if let Some(found) = schema.table(&table.name) {
        return Ok(found);
    }
    if let Some(other) = schema.unreadable.iter().find(|other| same(&other.table, &table.name)) {
        return Err(Error::refused(format!("table '{}' of '{file}' cannot be mapped: {}", table.name, other.why)));
    }
    if schema.views.iter().any(|view| same(view, &table.name)) {
        return Err(Error::refused(format!("'{}' of '{file}' is a view, not a table", table.name))
            .hint("map the tables it reads from"));
    }
    let error = Error::refused(format!("'{file}' has no table '{}', which is mapped", table.name));
    Err(match yaml::nearest(&table.name, schema.tables.iter().map(|found| found.name.as_str())) {
        Some(word) => error.hint(format!("did you mean '{word}'?")),
        None => error.hint("take it out of 'tables', or name the right file"),
    })
}

fn fits(mapping: &Mapping, schema: &Schema, table: &Table, found: &TableSchema) -> Result<()> {
    for column in &table.columns {
        has(table, found, &column.name)?;
    }
    for column in &found.columns {
        let listed = table.columns.iter().any(|mapped| same(&mapped.name, &column.name));
        if !listed && !table.never.iter().any(|never| same(never, &column.name)) {
            return Err(Error::refused(format!(
                "column '{}' of table '{}' is neither mapped nor on the table's never list",
                column.name, table.name
            ))
            .hint("add it to the table's 'columns', or to its 'never' list if it must not be read"));
        }
    }
    if let Some(rowid) = &table.rowid {
        let why = match found.columns.iter().any(|column| same(&column.name, rowid)) {
            true => "is a column, not the row number",
            false if found.without_rowid => "does not exist: the table has no row numbers",
            false => "",
        };
        if !why.is_empty() {
            return Err(Error::refused(format!("'{rowid}' of table '{}' {why}", table.name))
                .hint("name its key columns under 'identity', or a free name of the row number under 'rowid'"));
        }
    }
    if let Key::Through(through) = &table.key
        && let Some(parent) = mapping.table(&through.parent)
        && let Some(parent_found) = schema.table(&through.parent)
    {
        for column in &through.referenced {
            if parent.rowid.as_deref() != Some(column) {
                has(parent, parent_found, column)?;
            }
        }
    }
    Ok(())
}

fn has(table: &Table, found: &TableSchema, column: &str) -> Result<()> {
    if found.column(column).is_some() {
        return Ok(());
    }
    let error = Error::refused(format!("table '{}' has no column '{column}', which is mapped", table.name));
    Err(match yaml::nearest(column, found.columns.iter().map(|column| column.name.as_str())) {
        Some(word) => error.hint(format!("did you mean '{word}'?")),
        None => error.hint("take it out of the mapping, or name the right file"),
    })
}

fn unmapped(mapping: &Mapping, schema: &Schema) -> Vec<Unmapped> {
    let left_out = |name: &str| {
        !mapping.tables.iter().any(|table| same(&table.name, name))
            && !mapping.never.iter().any(|never| same(never, name))
    };
    let tables = schema.tables.iter().map(|table| (&table.name, None));
    let others = schema.unreadable.iter().map(|other| (&other.table, Some(other.why.clone())));
    let all = tables.chain(others).filter(|(name, _)| left_out(name));
    all.map(|(name, why)| Unmapped { table: name.clone(), why }).collect()
}
