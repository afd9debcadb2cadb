//! Foreign keys, looked at by queries where the server does not look at them itself.

use std::collections::BTreeMap;

use postgres::Client;
use postgres::types::ToSql;

use super::shape::Shape;
use crate::mapping::{Mapping, Table};
use crate::postgres::form::quote;

/// A foreign key that a written or deleted row may break: the query that finds a row without its parent.
pub(super) struct ForeignKey {
    /// The mapped table whose rows are asked about.
    pub(super) table: usize,
    /// Asked about deleted rows, else about written ones.
    pub(super) deleted: bool,
    /// Takes one array of texts for each cell of the table's identity; none where it asks about the whole table.
    query: String,
    by_identity: bool,
    reason: String,
}

const KEYS: &str = "SELECT k.conname::text, k.conrelid::regclass::text, c.relname::text, cn.nspname::text, \
    k.confrelid::regclass::text, p.relname::text, pn.nspname::text, \
    array(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u(n, o) \
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.o), \
    array(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u(n, o) \
        JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.o) \
    FROM pg_constraint AS k JOIN pg_class AS c ON c.oid = k.conrelid JOIN pg_namespace AS cn ON cn.oid = c.relnamespace \
    JOIN pg_class AS p ON p.oid = k.confrelid JOIN pg_namespace AS pn ON pn.oid = p.relnamespace \
    WHERE k.contype = 'f' AND k.conparentid = 0 AND (cn.nspname::text = $1 OR pn.nspname::text = $1) ORDER BY k.oid";

pub(super) fn all(
    client: &mut Client,
    mapping: &Mapping,
    shapes: &[Shape],
    schema: &str,
) -> Result<Vec<ForeignKey>, postgres::Error> {
    let mut keys = Vec::new();
    for row in client.query(KEYS, &[&schema])? {
        let text = |at: usize| row.get::<_, String>(at);
        let (name, child, parent) = (text(0), text(1), text(4));
        let (columns, referenced): (Vec<String>, Vec<String>) = (row.get(7), row.get(8));
        let mapped = |table: String, of: String| mapping.table(&table).filter(|_| of == schema);
        let given: Vec<String> = columns.iter().map(|column| format!("c.{} IS NOT NULL", quote(column))).collect();
        let equal = columns.iter().zip(&referenced);
        let equal: Vec<String> =
            equal.map(|(column, other)| format!("p.{} = c.{}", quote(other), quote(column))).collect();
        let lost = format!(
            "{} AND NOT EXISTS (SELECT 1 FROM {parent} AS p WHERE {}) LIMIT 1",
            given.join(" AND "),
            equal.join(" AND ")
        );
        if let Some(table) = mapped(text(2), text(3)) {
            keys.push(ForeignKey {
                table: table.index,
                deleted: false,
                query: format!(
                    "SELECT 1 FROM {} JOIN {child} AS c ON {} WHERE {lost}",
                    asked(table),
                    same(table, shapes, "c", None)
                ),
                by_identity: true,
                reason: format!("foreign key '{name}': the row it references is not there"),
            });
        }
        if let Some(table) = mapped(text(5), text(6)) {
            // By the referenced columns, where they are the identity; else of all children.
            let places: Option<Vec<usize>> = table
                .identity
                .iter()
                .map(|cell| referenced.iter().position(|name| *name == table.columns[*cell].name))
                .collect();
            let places = places.filter(|places| places.len() == referenced.len());
            let by_identity = places.is_some();
            let query = match places {
                Some(places) => {
                    let columns: Vec<&String> = places.iter().map(|at| &columns[*at]).collect();
                    let same = same(table, shapes, "c", Some(&columns));
                    format!("SELECT 1 FROM {} JOIN {child} AS c ON {same} WHERE {lost}", asked(table))
                }
                None => format!("SELECT 1 FROM {child} AS c WHERE {lost}"),
            };
            let reason = format!("foreign key '{name}': rows still reference it");
            keys.push(ForeignKey { table: table.index, deleted: true, query, by_identity, reason });
        }
    }
    Ok(keys)
}

/// The identities asked about, as rows `w(k0, k1, …)`.
fn asked(table: &Table) -> String {
    let arrays: Vec<String> = (1..=table.identity.len()).map(|at| format!("${at}::text[]")).collect();
    let names: Vec<String> = (0..table.identity.len()).map(|at| format!("k{at}")).collect();
    format!("unnest({}) AS w({})", arrays.join(", "), names.join(", "))
}

/// Compares `alias` with what is asked: its identity, or the columns that stand for it.
fn same(table: &Table, shapes: &[Shape], alias: &str, columns: Option<&[&String]>) -> String {
    let equal = table.identity.iter().enumerate().map(|(at, cell)| {
        let own = &shapes[table.index].columns[*cell];
        let name = columns.map_or_else(|| own.name.clone(), |columns| quote(columns[at]));
        format!("{alias}.{name} = w.k{at}::{}", own.declared)
    });
    equal.collect::<Vec<_>>().join(" AND ")
}

/// Identities of one table, cell by cell.
pub(super) type Identities = Vec<Vec<String>>;

/// What was written and deleted in a transaction, by table.
#[derive(Default)]
pub(super) struct Touched {
    pub(super) written: BTreeMap<usize, Identities>,
    pub(super) deleted: BTreeMap<usize, Identities>,
}

/// The reason why the sum of a transaction would break a foreign key.
pub(super) fn broken(
    client: &mut Client,
    keys: &[ForeignKey],
    touched: &Touched,
) -> Result<Option<String>, postgres::Error> {
    for key in keys {
        let rows = if key.deleted { &touched.deleted } else { &touched.written };
        // A row that was written may have moved a key that others reference, where that is not its identity.
        let moved = key.deleted && !key.by_identity && touched.written.contains_key(&key.table);
        let Some(identities) = rows.get(&key.table).or(moved.then_some(&Vec::new())).cloned() else { continue };
        let bound: Vec<&(dyn ToSql + Sync)> = match key.by_identity {
            true => identities.iter().map(|cell| cell as &(dyn ToSql + Sync)).collect(),
            false => Vec::new(),
        };
        if client.query_opt(&key.query, &bound)?.is_some() {
            return Ok(Some(key.reason.clone()));
        }
    }
    Ok(None)
}
