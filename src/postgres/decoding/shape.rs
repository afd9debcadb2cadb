//! Tables as the server's log has them, held against the mapping.

use std::collections::HashMap;

use postgres::Client;

use super::super::form::Form;
use super::pgoutput::{Cell, Column, Tuple};
use crate::mapping::{Carried, Mapping, Rows, Table, Value};

/// A table at one moment of the log: where each of its columns goes.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) table: usize,
    /// By the columns sent; what is never to be read goes nowhere.
    cells: Vec<Option<(usize, Form)>>,
}

/// Forms of types, asked for once.
#[derive(Debug, Default)]
pub(super) struct Kinds(HashMap<(u32, i32), Option<(Form, String)>>);

/// The base type of a domain, or the type itself, with its name as SQL.
const KIND: &str = "WITH RECURSIVE d(oid, typmod) AS (SELECT $1::oid, $2::int4 UNION ALL \
    SELECT t.typbasetype, t.typtypmod FROM d JOIN pg_type AS t ON t.oid = d.oid WHERE t.typtype = 'd') \
    SELECT format_type(d.oid, d.typmod), CASE WHEN t.typtype = 'b' AND n.nspname = 'pg_catalog' THEN t.typname::text END \
    FROM d JOIN pg_type AS t ON t.oid = d.oid JOIN pg_namespace AS n ON n.oid = t.typnamespace WHERE t.typtype <> 'd'";

impl Kinds {
    fn of(&mut self, client: &mut Client, column: &Column<'_>) -> Result<Option<(Form, String)>, postgres::Error> {
        if let Some(known) = self.0.get(&(column.kind, column.modifier)) {
            return Ok(known.clone());
        }
        let found = client.query_opt(KIND, &[&column.kind, &column.modifier])?.map(|row| {
            let name: Option<String> = row.get(1);
            (name.map_or(Form::Output, |name| Form::of(&name)), row.get(0))
        });
        self.0.insert((column.kind, column.modifier), found.clone());
        Ok(found)
    }
}

impl Shape {
    /// The inner error is why changes of the table, as it is from here on, may not be told.
    pub(super) fn of(
        client: &mut Client,
        kinds: &mut Kinds,
        mapping: &Mapping,
        name: &str,
        columns: &[Column<'_>],
    ) -> Result<Result<Self, String>, postgres::Error> {
        let Some(table) = mapping.table(name) else {
            return Ok(Err(format!(
                "a table '{name}', which is not mapped, is in the publication (renamed, or put there)"
            )));
        };
        let mut cells = Vec::with_capacity(columns.len());
        for column in columns {
            let Some(cell) = table.column(column.name) else {
                if table.never.iter().any(|never| never == column.name) {
                    cells.push(None);
                    continue;
                }
                let message = "column '{}' of table '{}' is neither mapped nor on the table's never list";
                return Ok(Err(message.replacen("{}", column.name, 1).replacen("{}", name, 1)));
            };
            let mapped = &table.columns[cell].declared;
            let Some((form, there)) = kinds.of(client, column)? else {
                return Ok(Err(format!("column '{}' of table '{name}' has a type that is gone", column.name)));
            };
            if Carried::of(mapped) != Carried::of(&there) {
                return Ok(Err(format!(
                    "column '{}' of table '{name}' is mapped as {mapped}, and is {there}",
                    column.name
                )));
            }
            cells.push(Some((cell, form)));
        }
        let sent = |cell: usize| cells.iter().flatten().any(|(sent, _)| *sent == cell);
        if let Some(missing) = (0..table.columns.len()).find(|cell| !sent(*cell)) {
            let missing = &table.columns[missing].name;
            return Ok(Err(format!("table '{name}' has no column '{missing}', which is mapped")));
        }
        Ok(Ok(Self { table: table.index, cells }))
    }

    /// Appends an image by the table's own columns. What an update left as it was comes from the `old` row, if that is
    /// known; gives the cells whose value is not. `None` where a value is none of its type.
    pub(super) fn image(
        &self,
        table: &Table,
        tuple: &Tuple<'_>,
        old: Option<&Tuple<'_>>,
        rows: &mut Rows,
        scratch: &mut Vec<u8>,
    ) -> Option<Vec<usize>> {
        if tuple.len() != self.cells.len() || old.is_some_and(|old| old.len() != self.cells.len()) {
            return None;
        }
        let mut places: Vec<Option<(usize, Form)>> = vec![None; table.columns.len()];
        for (at, cell) in self.cells.iter().enumerate() {
            if let Some((cell, form)) = cell {
                places[*cell] = Some((at, *form));
            }
        }
        let mut missing = Vec::new();
        for (cell, place) in places.iter().enumerate() {
            let (at, form) = (*place)?;
            let sent = match (tuple[at], old) {
                (Cell::Unchanged, Some(old)) => old[at],
                (sent, _) => sent,
            };
            match sent {
                Cell::Null => rows.push(Value::Null),
                Cell::Text(text) => rows.push(form.read_text(text, scratch)?),
                Cell::Unchanged => {
                    missing.push(cell);
                    rows.push(Value::Null);
                }
            }
        }
        Some(missing)
    }
}
