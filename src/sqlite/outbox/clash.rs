//! Which rows a new one may take the place of, as conditions of the triggers that note them.

use std::collections::BTreeMap;

use super::super::plan::quote;
use super::index::{Term, Text, Unique};
use crate::mapping::init::TableSchema;

/// What makes a row of the table stand in the way of a new one.
pub(super) struct Clause {
    /// What the table is called in it.
    pub(super) alias: String,
    pub(super) equal: String,
    /// An update that leaves these as they are brings no row in the way.
    pub(super) rests_on: Vec<String>,
}

/// The row number or key, and all unique indexes. Where an index holds some rows only, a row that will not be among them
/// is taken for one: what is noted is settled by whoever reads it.
pub(super) fn clauses(schema: &TableSchema, uniques: &[Unique], defaults: &BTreeMap<String, String>) -> Vec<Clause> {
    let mut all = Vec::new();
    // A column that takes no null may have a default, which OR REPLACE puts in its place later.
    let new = |name: &String| match defaults.get(name) {
        Some(default) => format!("coalesce(NEW.{}, {default})", quote(name)),
        None => format!("NEW.{}", quote(name)),
    };
    if let Some(name) = row_number(schema, uniques) {
        let equal = format!("t.{0} = NEW.{0}", quote(&name));
        all.push(Clause { alias: "t".to_owned(), equal, rests_on: vec![name] });
    }
    for unique in uniques.iter().filter(|unique| unique.readable()) {
        let texts = || {
            let expressions = unique.terms.iter().filter_map(|(term, _)| match term {
                Term::Expression(text) => text.as_ref(),
                Term::Column(_) => None,
            });
            expressions.chain(&unique.filter)
        };
        let alias = if texts().any(Text::qualified) { schema.name.clone() } else { "t".to_owned() };
        let named = |text: &Text| {
            let named = schema.columns.iter().filter(|column| text.names(&column.name));
            named.map(|column| column.name.clone()).collect::<Vec<String>>()
        };
        let mut terms: Vec<String> = unique.filter.iter().map(|filter| format!("({})", filter.sql())).collect();
        for (term, collation) in &unique.terms {
            let (old, new) = match term {
                Term::Column(name) => (format!("{}.{}", quote(&alias), quote(name)), new(name)),
                Term::Expression(Some(text)) => {
                    let mut read = named(text);
                    read.extend(unique.filter.iter().flat_map(named).filter(|name| !named(text).contains(name)));
                    (format!("({})", text.sql()), computed(schema, unique, text, &read))
                }
                Term::Expression(None) => continue,
            };
            terms.push(format!("{old} COLLATE {} = {new}", quote(collation)));
        }
        let columns = unique.columns().map(|(name, _)| name.clone());
        let rests_on = columns.chain(texts().flat_map(named)).collect();
        all.push(Clause { alias, equal: terms.join(" AND "), rests_on });
    }
    all
}

/// An index's expression over the new row: with the types and collations of the table's columns, and only where the
/// index would compute it, for it may fail elsewhere.
fn computed(schema: &TableSchema, unique: &Unique, text: &Text, read: &[String]) -> String {
    let columns: Vec<String> = read.iter().map(|name| quote(name)).collect();
    let new: Vec<String> = columns.iter().map(|name| format!("NEW.{name}")).collect();
    let table = quote(&schema.name);
    let value = match &unique.filter {
        Some(filter) => format!("CASE WHEN {} THEN {} END", filter.sql(), text.sql()),
        None => text.sql(),
    };
    if columns.is_empty() {
        return format!("({value})");
    }
    format!(
        "(SELECT {value} FROM (SELECT {} FROM {table} WHERE 0 UNION ALL SELECT {}) AS {table})",
        columns.join(", "),
        new.join(", ")
    )
}

/// The column that is the row number, or a name of it that no column has taken.
fn row_number(schema: &TableSchema, uniques: &[Unique]) -> Option<String> {
    if schema.without_rowid {
        return None;
    }
    let indexed = |key: &String| {
        uniques
            .iter()
            .any(|unique| !unique.partial && unique.terms.len() == 1 && unique.columns().any(|(name, _)| name == key))
    };
    let alias = schema.key.iter().find(|key| schema.key.len() == 1 && !indexed(key));
    alias.or(schema.rowid.as_ref()).cloned()
}

/// As the first form had it: an index by its columns alone, in updates that name one of them.
pub(super) fn first_clauses(schema: &TableSchema, uniques: &[Unique]) -> Vec<Clause> {
    let mut all = Vec::new();
    if let Some(name) = row_number(schema, uniques) {
        let equal = format!("t.{0} = NEW.{0}", quote(&name));
        let rests_on = if schema.key.contains(&name) { vec![name] } else { Vec::new() };
        all.push(Clause { alias: "t".to_owned(), equal, rests_on });
    }
    for unique in uniques.iter().filter(|unique| unique.columns().next().is_some()) {
        let equal = |(name, collation): (&String, &String)| {
            format!("t.{0} COLLATE {1} = NEW.{0}", quote(name), quote(collation))
        };
        let terms: Vec<String> = unique.columns().map(equal).collect();
        let rests_on = unique.columns().map(|(name, _)| name.clone()).collect();
        all.push(Clause { alias: "t".to_owned(), equal: terms.join(" AND "), rests_on });
    }
    all
}
