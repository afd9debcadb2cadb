//! A mapping against the tables a store has, before anything starts.

use super::init::{Schema, TableSchema};
use super::{Key, Mapping, Table};
use crate::base::{Error, Result, yaml};

/// A table of the store that no event will carry, for the coverage of every verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmapped {
    pub table: String,
    /// Why it cannot be mapped; `None` when the mapping merely leaves it out.
    pub why: Option<String>,
}

/// The table a mapped one is read from; refuses one that is missing, unreadable or a view. `store` names it for people.
pub fn find<'s>(schema: &'s Schema, store: &str, table: &Table) -> Result<&'s TableSchema> {
    if let Some(found) = schema.table(&table.name) {
        return Ok(found);
    }
    if let Some(other) = schema.unreadable.iter().find(|other| schema.same(&other.table, &table.name)) {
        return Err(Error::refused(format!("table '{}' of '{store}' cannot be mapped: {}", table.name, other.why)));
    }
    if schema.views.iter().any(|view| schema.same(view, &table.name)) {
        return Err(Error::refused(format!("'{}' of '{store}' is a view, not a table", table.name))
            .hint("map the tables it reads from"));
    }
    let error = Error::refused(format!("'{store}' has no table '{}', which is mapped", table.name));
    Err(match yaml::nearest(&table.name, schema.tables.iter().map(|found| found.name.as_str())) {
        Some(word) => error.hint(format!("did you mean '{word}'?")),
        None => error.hint("take it out of 'tables', or name the right store"),
    })
}

/// Refuses a mapped column that is missing, and one that is neither mapped nor on its table's never list.
pub fn fits(mapping: &Mapping, schema: &Schema, table: &Table, found: &TableSchema) -> Result<()> {
    for column in &table.columns {
        has(schema, table, found, &column.name)?;
    }
    for column in &found.columns {
        let listed = table.columns.iter().any(|mapped| schema.same(&mapped.name, &column.name));
        if !listed && !table.never.iter().any(|never| schema.same(never, &column.name)) {
            return Err(Error::refused(format!(
                "column '{}' of table '{}' is neither mapped nor on the table's never list",
                column.name, table.name
            ))
            .hint("add it to the table's 'columns', or to its 'never' list if it must not be read"));
        }
    }
    if let Some(rowid) = &table.rowid {
        let why = match found.columns.iter().any(|column| schema.same(&column.name, rowid)) {
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
                has(schema, parent, parent_found, column)?;
            }
        }
    }
    Ok(())
}

fn has(schema: &Schema, table: &Table, found: &TableSchema, column: &str) -> Result<()> {
    if found.columns.iter().any(|there| schema.same(&there.name, column)) {
        return Ok(());
    }
    let error = Error::refused(format!("table '{}' has no column '{column}', which is mapped", table.name));
    Err(match yaml::nearest(column, found.columns.iter().map(|column| column.name.as_str())) {
        Some(word) => error.hint(format!("did you mean '{word}'?")),
        None => error.hint("take it out of the mapping, or name the right store"),
    })
}

/// The store's tables that the mapping neither maps nor lists under `never`.
pub fn unmapped(mapping: &Mapping, schema: &Schema) -> Vec<Unmapped> {
    let left_out = |name: &str| {
        !mapping.tables.iter().any(|table| schema.same(&table.name, name))
            && !mapping.never.iter().any(|never| schema.same(never, name))
    };
    let tables = schema.tables.iter().map(|table| (&table.name, None));
    let others = schema.unreadable.iter().map(|other| (&other.table, Some(other.why.clone())));
    let all = tables.chain(others).filter(|(name, _)| left_out(name));
    all.map(|(name, why)| Unmapped { table: name.clone(), why }).collect()
}
