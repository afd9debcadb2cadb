//! Partition keys and parents, by foreign keys.

use super::{ForeignKey, TableSchema};

/// A table with its place among the others.
pub(super) struct Planned<'a> {
    pub(super) table: &'a TableSchema,
    pub(super) key: PartitionKey<'a>,
    pub(super) parents: Vec<&'a str>,
}

/// Where the record key comes from.
#[derive(Debug, PartialEq)]
pub(super) enum PartitionKey<'a> {
    Identity,
    /// Columns whose text is that of the root's identity.
    Columns(Vec<&'a str>),
    Through(&'a ForeignKey),
}

/// Decides key and parents of each table. A key follows the first foreign key that is never null, else the first; one
/// that leads back to its own table, at once or round a circle, is no way to a root. Parents lose only what would close
/// a circle.
pub(super) fn plan<'a>(tables: &[&'a TableSchema]) -> Vec<Planned<'a>> {
    let place = |name: &str| tables.iter().position(|table| table.name == name);
    let edges: Vec<Vec<(usize, &'a ForeignKey)>> = tables
        .iter()
        .map(|table| table.foreign_keys.iter().filter_map(|key| Some((place(&key.parent)?, key))).collect())
        .collect();
    let all: Vec<Vec<usize>> = edges.iter().map(|edges| edges.iter().map(|edge| edge.0).collect()).collect();
    let mut chosen: Vec<Option<(usize, &'a ForeignKey)>> = Vec::with_capacity(tables.len());
    let mut order: Vec<Vec<usize>> = Vec::with_capacity(tables.len());
    for (index, table) in tables.iter().enumerate() {
        let onward: Vec<_> = edges[index].iter().filter(|edge| !reaches(&all, edge.0, index)).collect();
        let never_null =
            |key: &ForeignKey| key.columns.iter().all(|name| table.column(name).is_some_and(|column| column.not_null));
        chosen.push(onward.iter().find(|edge| never_null(edge.1)).or(onward.first()).map(|edge| **edge));
        order.push(onward.iter().map(|edge| edge.0).collect());
    }
    for (index, edges) in all.iter().enumerate() {
        for parent in edges {
            if !order[index].contains(parent) && !reaches(&order, *parent, index) {
                order[index].push(*parent);
            }
        }
    }
    let mut planned = Vec::with_capacity(tables.len());
    for (index, table) in tables.iter().enumerate() {
        let key = match chosen[index] {
            None => PartitionKey::Identity,
            Some((parent, key)) if chosen[parent].is_none() => direct(table, tables[parent], key),
            Some((_, key)) => PartitionKey::Through(key),
        };
        let mut parents: Vec<&str> = Vec::new();
        for parent in &order[index] {
            if !parents.contains(&tables[*parent].name.as_str()) {
                parents.push(&tables[*parent].name);
            }
        }
        planned.push(Planned { table, key, parents });
    }
    planned
}

/// Whether the edges lead from one table to another, or are the same.
fn reaches(edges: &[Vec<usize>], from: usize, to: usize) -> bool {
    let mut seen = vec![false; edges.len()];
    let mut open = vec![from];
    while let Some(table) = open.pop() {
        if table == to {
            return true;
        }
        if !std::mem::replace(&mut seen[table], true) {
            open.extend(&edges[table]);
        }
    }
    false
}

/// The foreign key's own columns serve as key when equal to the store means equal as text; else the parent row is asked.
fn direct<'a>(table: &'a TableSchema, root: &TableSchema, key: &'a ForeignKey) -> PartitionKey<'a> {
    if key.by_value {
        return PartitionKey::Through(key);
    }
    let mut columns = Vec::with_capacity(root.key.len());
    for name in &root.key {
        let pair = key.referenced.iter().position(|referenced| referenced == name);
        let Some((parent, child)) = pair.and_then(|pair| root.column(name).zip(table.column(&key.columns[pair])))
        else {
            return PartitionKey::Through(key);
        };
        let of_parent = affinity(&parent.declared, root.strict);
        let alike = of_parent == Affinity::None || of_parent == affinity(&child.declared, table.strict);
        if !parent.collation.eq_ignore_ascii_case("BINARY") || !alike {
            return PartitionKey::Through(key);
        }
        columns.push(child.name.as_str());
    }
    match columns.len() == key.columns.len() && !columns.is_empty() {
        true => PartitionKey::Columns(columns),
        false => PartitionKey::Through(key),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Affinity {
    Text,
    /// Integer and numeric convert alike.
    Numeric,
    Real,
    None,
}

/// SQLite's rule for declared types.
fn affinity(declared: &str, strict: bool) -> Affinity {
    let declared = declared.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    match () {
        () if strict && declared == "ANY" => Affinity::None,
        () if has(&["INT"]) => Affinity::Numeric,
        () if has(&["CHAR", "CLOB", "TEXT"]) => Affinity::Text,
        () if declared.is_empty() || has(&["BLOB"]) => Affinity::None,
        () if has(&["REAL", "FLOA", "DOUB"]) => Affinity::Real,
        () => Affinity::Numeric,
    }
}
