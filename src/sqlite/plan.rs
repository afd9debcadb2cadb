//! How a table is read: its range key, and the statements that page along it.

use rusqlite::Connection;

use super::introspect;
use crate::base::{Error, Result};
use crate::mapping::init::TableSchema;
use crate::mapping::{Key, Mapping, Table};

/// What orders a table's rows and lets a read go on after any of them.
#[derive(Debug)]
pub(super) enum Range {
    /// The row number, under a name that no column has taken, or that of the column that is the row number.
    Rowid(String),
    /// The columns of the primary key as its index has them.
    Key(Vec<KeyColumn>),
}

#[derive(Debug)]
pub(super) struct KeyColumn {
    pub(super) name: String,
    pub(super) collation: String,
    pub(super) descending: bool,
}

/// Identities that several rows have, one of them. They are told apart as events do: by storage class and bytes.
pub(super) fn shared(table: &Table) -> String {
    let names: Vec<String> =
        table.identity.iter().filter_map(|cell| table.columns.get(*cell)).map(|column| quote(&column.name)).collect();
    let usable: Vec<String> = names.iter().map(|name| format!("typeof({name}) NOT IN ('null', 'blob')")).collect();
    let group: Vec<String> = names.iter().map(|name| format!("{name} COLLATE BINARY, typeof({name})")).collect();
    format!(
        "SELECT {} FROM {} NOT INDEXED WHERE {} GROUP BY {} HAVING count(*) > 1 LIMIT 1",
        names.join(", "),
        quote(&table.name),
        usable.join(" AND "),
        group.join(", ")
    )
}

/// The statements for one table. The select list is the layout of [`Table`], and the row number last when it is the
/// range.
#[derive(Debug)]
pub(super) struct Plan {
    /// The cells of the range key; empty when it is the row number.
    pub(super) range: Vec<usize>,
    /// Reads from the start; its parameter is the limit.
    pub(super) first: String,
    /// Where the range is the row number: all identities with it, for which SQLite may walk an index alone, and one row
    /// by it. Else a row is read whole to see its identity.
    pub(super) by_number: Option<(String, String)>,
    /// Read on after a row, to be run in this order until the chunk is full: with as many key values as `parameters`
    /// says, then the limit.
    pub(super) next: Vec<Next>,
}

#[derive(Debug)]
pub(super) struct Next {
    pub(super) sql: String,
    pub(super) parameters: usize,
}

/// A name in double quotes.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Finds the range key of a table; the error says why it has none.
pub(super) fn range(connection: &Connection, found: &TableSchema) -> rusqlite::Result<Result<Range, &'static str>> {
    if let Some(name) = &found.rowid {
        return Ok(Ok(Range::Rowid(name.clone())));
    }
    let columns = introspect::primary_index(connection, &found.name)?;
    Ok(match (columns.is_empty(), found.key.as_slice()) {
        (false, _) => Ok(Range::Key(columns)),
        (true, [column]) => Ok(Range::Rowid(column.clone())),
        (true, _) => Err("it has no primary key, and columns have taken all names of its row number"),
    })
}

impl Plan {
    pub(super) fn new(mapping: &Mapping, table: &Table, range: &Range) -> Result<Self> {
        let mut cells: Vec<String> = table.columns.iter().map(|column| format!("t.{}", quote(&column.name))).collect();
        cells.extend(table.rowid.as_ref().map(|name| format!("t.{}", quote(name))));
        if table.key_cell().is_some() {
            cells.push(key(mapping, table, "t", 0)?);
        }
        match range {
            Range::Rowid(name) => {
                cells.push(format!("t.{}", quote(name)));
                Ok(Self::by_rowid(&cells, table, name))
            }
            Range::Key(columns) => Self::by_key(&cells, table, columns),
        }
    }

    fn by_rowid(cells: &[String], table: &Table, name: &str) -> Self {
        let select = format!("SELECT {} FROM {} AS t", cells.join(", "), quote(&table.name));
        let name = quote(name);
        let next = Next { sql: format!("{select} WHERE t.{name} > ?1 ORDER BY t.{name} LIMIT ?2"), parameters: 1 };
        let identity: Vec<&str> = table.identity.iter().map(|cell| cells[*cell].as_str()).collect();
        let identities = format!("SELECT {}, t.{name} FROM {} AS t", identity.join(", "), quote(&table.name));
        let by_number = Some((identities, format!("{select} WHERE t.{name} = ?1")));
        Self { range: Vec::new(), first: format!("{select} ORDER BY t.{name} LIMIT ?1"), by_number, next: vec![next] }
    }

    /// One statement per length of the shared prefix, longest first: each is a single seek in the index, whatever
    /// directions and collations its columns mix, where a row value could only go one way.
    fn by_key(cells: &[String], table: &Table, columns: &[KeyColumn]) -> Result<Self> {
        let select = format!("SELECT {} FROM {} AS t", cells.join(", "), quote(&table.name));
        let terms: Vec<String> = columns
            .iter()
            .map(|column| format!("t.{} COLLATE {}", quote(&column.name), quote(&column.collation)))
            .collect();
        let order: Vec<String> = columns
            .iter()
            .zip(&terms)
            .map(|(column, term)| format!("{term} {}", if column.descending { "DESC" } else { "ASC" }))
            .collect();
        let order = order.join(", ");
        let next = (1..=columns.len()).rev().map(|length| {
            let mut conditions: Vec<String> =
                (1..length).map(|place| format!("{} = ?{place}", terms[place - 1])).collect();
            let beyond = if columns[length - 1].descending { "<" } else { ">" };
            conditions.push(format!("{} {beyond} ?{length}", terms[length - 1]));
            let conditions = conditions.join(" AND ");
            let sql = format!("{select} WHERE {conditions} ORDER BY {order} LIMIT ?{}", length + 1);
            Next { sql, parameters: length }
        });
        let cell = |column: &KeyColumn| {
            table.columns.iter().position(|mapped| mapped.name.eq_ignore_ascii_case(&column.name)).ok_or_else(|| {
                Error::refused(format!(
                    "column '{}' of table '{}' is part of its primary key, by which the table is read, but is not mapped",
                    column.name, table.name
                ))
                .hint("add it to 'columns': the position of a copy holds its value")
            })
        };
        Ok(Self {
            range: columns.iter().map(cell).collect::<Result<_>>()?,
            first: format!("{select} ORDER BY {order} LIMIT ?1"),
            by_number: None,
            next: next.collect(),
        })
    }
}

/// The record key of the row under `alias`, as SQL.
pub(super) fn key(mapping: &Mapping, table: &Table, alias: &str, depth: usize) -> Result<String> {
    let name = |cell: &usize| {
        let name = table.columns.get(*cell).map(|column| column.name.as_str()).or(table.rowid.as_deref());
        format!("{alias}.{}", quote(name.unwrap_or_default()))
    };
    let text = |cells: &[usize]| format!("cf_key({})", cells.iter().map(name).collect::<Vec<_>>().join(", "));
    let own = text(&table.identity);
    let through = match &table.key {
        Key::Cells(cells) if *cells == table.identity => return Ok(own),
        Key::Cells(cells) => return Ok(format!("COALESCE({}, {own})", text(cells))),
        Key::Through(through) => through,
    };
    let parent = mapping.table(&through.parent).filter(|parent| parent.name != table.name).ok_or_else(|| {
        Error::refused(format!("the key of table '{}' goes through itself", table.name))
            .hint("take the key from another parent, or name key columns of its own")
    })?;
    if through.columns.len() != through.referenced.len() || through.columns.is_empty() {
        return Err(Error::refused(format!(
            "the key of table '{}' goes through {} columns to {} of '{}'",
            table.name,
            through.columns.len(),
            through.referenced.len(),
            parent.name
        )));
    }
    let next = format!("p{depth}");
    // As a foreign key compares: by collation and affinity of the parent's column alone, hence the plus.
    let joined = through
        .referenced
        .iter()
        .zip(&through.columns)
        .map(|(referenced, column)| format!("{next}.{} = +{alias}.{}", quote(referenced), quote(column)));
    let joined = joined.collect::<Vec<_>>().join(" AND ");
    let key = key(mapping, parent, &next, depth + 1)?;
    Ok(format!("COALESCE((SELECT {key} FROM {} AS {next} WHERE {joined} LIMIT 1), {own})", quote(&parent.name)))
}
