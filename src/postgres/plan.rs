//! How a table is read: the statements that page along its key.

use super::catalog::Catalog;
use super::form::{Form, quote};
use crate::base::{Error, Result};
use crate::mapping::{Key, Mapping, Table};

/// The statements for one table. The select list is its columns, then what a key through parents is made of.
#[derive(Debug)]
pub(super) struct Plan {
    /// Forms of the whole select list.
    pub(super) forms: Vec<Form>,
    /// The rows whose key is asked when it comes through a parent, the nearest first.
    pub(super) levels: Vec<Level>,
    /// The cells of the range key.
    pub(super) range: Vec<usize>,
    /// Reads from the start; its parameter is the limit.
    pub(super) first: String,
    /// Reads on after a row: the texts of its range key, then the limit.
    pub(super) next: String,
    pub(super) count: String,
    /// All identities with the place of their row, and the rows at places; a table in partitions has no such places.
    pub(super) by_place: Option<(String, String)>,
    /// The number of the table's pages, and the rows of a run of them with their places: its first page and the one behind
    /// its last, as places. As `by_place`, not for a table in partitions.
    pub(super) pages: Option<(String, String)>,
    /// One identity that several rows have; `None` where the range key is part of the identity.
    pub(super) shared: Option<String>,
    /// Every row.
    pub(super) all: String,
    /// The select list over a row `t`, and what joins its parents to it.
    pub(super) cells: String,
    pub(super) joins: String,
}

/// One parent row in a select list, by places in it.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) identity: Vec<usize>,
    /// Its own key, where that is not its identity.
    pub(super) key: Option<Vec<usize>>,
}

impl Plan {
    pub(super) fn new(mapping: &Mapping, table: &Table, catalog: &Catalog, store: &str, schema: &str) -> Result<Self> {
        let missing = || Error::refused(format!("'{store}' has no table '{}'", table.name));
        let (described, found) = catalog.found(&table.name).ok_or_else(missing)?;
        let (mut forms, mut cells) = (Vec::new(), Vec::new());
        for column in &table.columns {
            let there = found.columns.get(&column.name).ok_or_else(|| {
                Error::refused(format!(
                    "table '{}' of '{store}' has no column '{}', which is mapped",
                    table.name, column.name
                ))
                .hint("the table changed under the mapping: mend it, then copy anew with `crossfade replay --recopy`")
            })?;
            forms.push(there.form);
            cells.push(there.form.select(&format!("t.{}", quote(&column.name))));
        }
        let mut joins = String::new();
        let levels = through(mapping, table, catalog, schema, &mut forms, &mut cells, &mut joins)?;
        let range = described.key.iter().map(|name| {
            table.column(name).ok_or_else(|| {
                Error::refused(format!(
                    "column '{name}' of table '{}' is part of its key, by which the table is read, but is not mapped",
                    table.name
                ))
                .hint("add it to 'columns': the position of a copy holds its value")
            })
        });
        let range: Vec<usize> = range.collect::<Result<_>>()?;
        // Rows of tables that inherit from it are their own table's.
        let only = if found.partitioned { "" } else { "ONLY " };
        let from = format!("{only}{}.{} AS t", quote(schema), quote(&table.name));
        let select = format!("SELECT {} FROM {from}{joins}", cells.join(", "));
        let keys: Vec<String> = described.key.iter().map(|name| format!("t.{}", quote(name))).collect();
        let order = keys.join(", ");
        let bound: Vec<String> = described
            .key
            .iter()
            .enumerate()
            .map(|(at, name)| format!("${}::text::{}", at + 1, found.columns[name].declared))
            .collect();
        let identity = table.identity.iter().map(|cell| cells[*cell].as_str()).collect::<Vec<_>>().join(", ");
        let unique = range.iter().all(|cell| table.identity.contains(cell));
        let shared = || {
            let cells: Vec<&str> = table.identity.iter().map(|cell| cells[*cell].as_str()).collect();
            let usable: Vec<String> = cells.iter().map(|cell| format!("{cell} IS NOT NULL")).collect();
            let group: Vec<String> = (1..=cells.len()).map(|at| at.to_string()).collect();
            format!(
                "SELECT {identity} FROM {from} WHERE {} GROUP BY {} HAVING count(*) > 1 LIMIT 1",
                usable.join(" AND "),
                group.join(", ")
            )
        };
        Ok(Self {
            shared: (!unique).then(shared),
            first: format!("{select} ORDER BY {order} LIMIT $1::bigint"),
            next: format!(
                "{select} WHERE ({order}) > ({}) ORDER BY {order} LIMIT ${}::bigint",
                bound.join(", "),
                keys.len() + 1
            ),
            count: format!("SELECT count(*) FROM {from}"),
            by_place: (!found.partitioned).then(|| {
                let places = format!("SELECT {identity}, t.ctid::text FROM {from}");
                (places, format!("{select} WHERE t.ctid = ANY($1::text[]::tid[])"))
            }),
            pages: (!found.partitioned).then(|| {
                let name = format!("{}.{}", quote(schema), quote(&table.name)).replace('\'', "''");
                (
                    format!(
                        // Before version 14 a run of pages costs as much as the whole table.
                        "SELECT CASE WHEN current_setting('server_version_num')::int < 140000 THEN 0 \
                         ELSE pg_relation_size('{name}'::regclass) / current_setting('block_size')::bigint END"
                    ),
                    format!(
                        "SELECT {}, t.ctid FROM {from}{joins} WHERE t.ctid >= $1::text::tid AND t.ctid < $2::text::tid",
                        cells.join(", ")
                    ),
                )
            }),
            all: select,
            cells: cells.join(", "),
            joins,
            forms,
            levels,
            range,
        })
    }
}

/// Adds what the record key needs of parent rows to the select list.
fn through(
    mapping: &Mapping,
    table: &Table,
    catalog: &Catalog,
    schema: &str,
    forms: &mut Vec<Form>,
    cells: &mut Vec<String>,
    joins: &mut String,
) -> Result<Vec<Level>> {
    let mut levels = Vec::new();
    let (mut child, mut alias) = (table, "t".to_owned());
    while let Key::Through(through) = &child.key {
        let parent = mapping.table(&through.parent).filter(|parent| parent.name != child.name && levels.len() < 32);
        let parent = parent.ok_or_else(|| {
            Error::refused(format!("the key of table '{}' goes through itself", child.name))
                .hint("take the key from another parent, or name key columns of its own")
        })?;
        let (_, found) = catalog
            .found(&parent.name)
            .ok_or_else(|| Error::refused(format!("there is no table '{}', through which a key goes", parent.name)))?;
        if through.columns.len() != through.referenced.len() || through.columns.is_empty() {
            return Err(Error::refused(format!(
                "the key of table '{}' goes through {} columns to {} of '{}'",
                child.name,
                through.columns.len(),
                through.referenced.len(),
                parent.name
            )));
        }
        let next = format!("p{}", levels.len());
        let joined = through.referenced.iter().zip(&through.columns);
        let joined = joined.map(|(referenced, column)| format!("p.{} = {alias}.{}", quote(referenced), quote(column)));
        let from = format!("{}.{} AS p", quote(schema), quote(&parent.name));
        // What is referenced should be unique; where it is not, one row is as good as another, but must not double ours.
        joins.push_str(&format!(
            " LEFT JOIN LATERAL (SELECT p.* FROM {from} WHERE {} LIMIT 1) AS {next} ON true",
            joined.collect::<Vec<_>>().join(" AND ")
        ));
        let mut add = |wanted: &[usize]| {
            let places = wanted.iter().map(|cell| {
                let name = parent.columns.get(*cell).map_or("", |column| column.name.as_str());
                let form = found.columns.get(name).map_or(Form::Output, |column| column.form);
                forms.push(form);
                cells.push(form.select(&format!("{next}.{}", quote(name))));
                forms.len() - 1
            });
            places.collect::<Vec<usize>>()
        };
        let identity = add(&parent.identity);
        let key = match &parent.key {
            Key::Cells(cells) if *cells != parent.identity => Some(add(cells)),
            _ => None,
        };
        levels.push(Level { identity, key });
        (child, alias) = (parent, next);
    }
    Ok(levels)
}
