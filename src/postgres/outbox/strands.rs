//! Which changes of a parent give rows that were not changed themselves another record key.

use std::sync::Arc;

use postgres::Client;
use postgres::types::ToSql;

use super::super::catalog::Catalog;
use super::super::fault::fault;
use super::super::form::quote;
use super::super::source::text;
use super::PostgresOutbox;
use crate::base::Result;
use crate::event::Op;
use crate::mapping::{Key, Row, Table, Value};

/// Why the fold is no longer told of everything; `None` for nearly every change.
pub(super) fn strands(
    client: &mut Client,
    outbox: &PostgresOutbox,
    (catalog, orphans): (&Arc<Catalog>, &[bool]),
    table: &Table,
    (op, row, before): (Op, Row<'_>, Option<Row<'_>>),
) -> Result<Option<String>> {
    for child in &outbox.mapping.tables {
        let Key::Through(through) = &child.key else { continue };
        if through.parent != table.name {
            continue;
        }
        let cells = |names: &[String]| names.iter().filter_map(|name| table.column(name)).collect::<Vec<usize>>();
        let referenced = cells(&through.referenced);
        let keys = match &table.key {
            Key::Cells(cells) => cells.clone(),
            Key::Through(own) => cells(&own.columns),
        };
        let mut told = referenced.iter().chain(&keys).chain(&table.identity);
        let sides = match (op, before) {
            (Op::Update, Some(before)) if told.any(|cell| before.get(*cell) != row.get(*cell)) => vec![before, row],
            (Op::Update, _) => continue,
            // A parent that comes late takes in the rows that waited for it.
            (Op::Insert, _) if !orphans[child.index] => continue,
            _ => vec![row],
        };
        for side in sides {
            if referenced.iter().any(|cell| side.get(*cell) == Value::Null) {
                continue;
            }
            let values: Vec<String> = referenced.iter().map(|cell| text(side.get(*cell))).collect();
            let columns = catalog.found(&child.name).map(|(_, found)| found);
            let terms: Vec<String> = through
                .columns
                .iter()
                .enumerate()
                .map(|(at, name)| {
                    let kind =
                        columns.and_then(|found| found.columns.get(name)).map_or("text", |column| &column.declared);
                    format!("{} = ${}::text::{kind}", quote(name), at + 1)
                })
                .collect();
            let sql = format!(
                "SELECT EXISTS (SELECT 1 FROM {}.{} WHERE {})",
                quote(&outbox.login.place.schema),
                quote(&child.name),
                terms.join(" AND ")
            );
            let bound: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
            let failed = fault(&outbox.store, "looking for rows of a parent");
            let found: bool = client.query_one(&sql, &bound).map_err(failed)?.get(0);
            if found {
                return Ok(Some(format!(
                    "rows of '{}' have another record key by a change of '{}'",
                    child.name, table.name
                )));
            }
        }
    }
    Ok(None)
}

/// Per table, whether rows of it have a parent's key to ask for and no such parent.
pub(super) fn orphans(client: &mut Client, outbox: &PostgresOutbox, catalog: &Catalog) -> Result<Vec<bool>> {
    let mut orphans = Vec::with_capacity(outbox.mapping.tables.len());
    for table in &outbox.mapping.tables {
        let Key::Through(through) = &table.key else {
            orphans.push(false);
            continue;
        };
        let kept = catalog.found(&table.name).is_some_and(|(described, _)| {
            described.foreign_keys.iter().any(|key| key.parent == through.parent && key.columns == through.columns)
        });
        let schema = quote(&outbox.login.place.schema);
        let joined = through.referenced.iter().zip(&through.columns);
        let joined: Vec<String> =
            joined.map(|(referenced, column)| format!("p.{} = t.{}", quote(referenced), quote(column))).collect();
        let known: Vec<String> =
            through.columns.iter().map(|column| format!("t.{} IS NOT NULL", quote(column))).collect();
        let sql = format!(
            "SELECT EXISTS (SELECT 1 FROM {schema}.{} AS t WHERE {} AND NOT EXISTS (SELECT 1 FROM {schema}.{} AS p WHERE {}))",
            quote(&table.name),
            known.join(" AND "),
            quote(&through.parent),
            joined.join(" AND ")
        );
        let failed = fault(&outbox.store, "looking for rows without a parent");
        orphans.push(!kept && client.query_one(&sql, &[]).map_err(failed)?.get(0));
    }
    Ok(orphans)
}
