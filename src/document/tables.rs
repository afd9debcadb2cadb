//! The rows of many documents, table by table.

use std::cmp::Ordering;

use serde_json::Value as Json;

use super::json::{exact, written};
use super::{Field, Layout, Lines};
use crate::base::{Error, Result};
use crate::mapping::fit::Unmapped;
use crate::mapping::{Mapping, Rows, Table, Value};

/// Rows of a mapping's tables, as they lie in documents.
pub struct Tables<'m> {
    mapping: &'m Mapping,
    layout: Layout,
    rows: Vec<Rows>,
}

impl<'m> Tables<'m> {
    /// Refuses a mapping of tables or columns that no document has, and a column of documents that is neither mapped nor
    /// on its table's never list.
    pub fn check(mapping: &Mapping, layout: Layout, store: &str) -> Result<Vec<Unmapped>> {
        for table in &mapping.tables {
            let Some(lines) = layout.tables().find(|lines| lines.table == table.name) else {
                let message = format!("'{store}' has no table '{}', which is mapped", table.name);
                let names = layout.tables().map(|lines| lines.table).collect::<Vec<_>>().join(", ");
                return Err(Error::refused(message).hint(format!("its documents have: {names}")));
            };
            if let Some(column) = table.columns.iter().find(|column| field(lines, &column.name).is_none()) {
                let message = format!("table '{}' has no column '{}', which is mapped", table.name, column.name);
                return Err(Error::refused(message).hint("take it out of the mapping"));
            }
            let listed = |name: &str| table.column(name).is_some() || table.never.iter().any(|never| never == name);
            if let Some((name, _)) = lines.columns.iter().find(|(name, _)| !listed(name)) {
                let message = format!(
                    "column '{name}' of table '{}' is neither mapped nor on the table's never list",
                    table.name
                );
                return Err(Error::refused(message).hint("add it to one of them"));
            }
            if table.rowid.is_some() || table.key_cell().is_some() {
                let message = format!("table '{}' of documents has no row numbers and no keys of others", table.name);
                return Err(Error::refused(message).hint("name columns under 'identity' and 'key'"));
            }
        }
        let left_out = |name: &str| mapping.table(name).is_none() && !mapping.never.iter().any(|never| never == name);
        let names = layout.tables().map(|lines| lines.table).filter(|name| left_out(name));
        Ok(names.map(|name| Unmapped { table: name.to_owned(), why: None }).collect())
    }

    pub fn new(mapping: &'m Mapping, layout: Layout) -> Self {
        let rows = mapping.tables.iter().map(|table| Rows::new(table.width())).collect();
        Self { mapping, layout, rows }
    }

    /// Adds a document's rows; false for one of no known shape.
    pub fn add(&mut self, document: &Json) -> bool {
        let Some(shape) = self.layout.shape(document) else { return false };
        for lines in shape.lines {
            let Some(table) = self.mapping.table(lines.table) else { continue };
            let deeper: Vec<&str> =
                shape.lines.iter().filter_map(|other| other.at.strip_prefix(lines.at)?.first().copied()).collect();
            let rows = &mut self.rows[table.index];
            match lines.at.iter().try_fold(document, |json, member| json.get(*member)) {
                Some(Json::Array(items)) => {
                    for (place, item) in items.iter().enumerate() {
                        push(&self.layout, (lines, &deeper), table, document, (item, place + 1), rows);
                    }
                }
                Some(item @ Json::Object(_)) => push(&self.layout, (lines, &deeper), table, document, (item, 1), rows),
                _ => {}
            }
        }
        true
    }

    /// Rows by the order of their identities. Refuses an identity that two documents have.
    pub fn sorted(self) -> Result<Vec<Rows>> {
        let mut all = Vec::with_capacity(self.rows.len());
        for (rows, table) in self.rows.into_iter().zip(&self.mapping.tables) {
            let mut order: Vec<usize> = (0..rows.len()).collect();
            let identity = |row: usize| table.identity.iter().map(move |cell| (row, *cell));
            let compare = |a: &usize, b: &usize| {
                identity(*a)
                    .zip(identity(*b))
                    .map(|((a, cell), (b, _))| order_of(rows.row(a).get(cell), rows.row(b).get(cell)))
                    .find(|order| order.is_ne())
                    .unwrap_or(Ordering::Equal)
            };
            order.sort_by(compare);
            if let Some(pair) = order.windows(2).find(|pair| compare(&pair[0], &pair[1]).is_eq()) {
                let name = crate::scan::mask(&table.identity_text(rows.row(pair[0]))).into_owned();
                let message = format!("two documents have a row of table '{}' with {name}", table.name);
                return Err(Error::refused(message).hint("one of them is a copy: take it away"));
            }
            let mut sorted = Rows::new(table.width());
            order.iter().for_each(|row| sorted.push_row(rows.row(*row)));
            all.push(sorted);
        }
        Ok(all)
    }
}

/// The order of two values of identities.
pub(crate) fn order_of(a: Value<'_>, b: Value<'_>) -> Ordering {
    match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => a.cmp(&b),
        (Value::Text(a), Value::Text(b)) => a.cmp(b),
        (a, b) => {
            let image = |value: Value<'_>| {
                let mut image = Vec::new();
                value.write_image(&mut image);
                image
            };
            image(a).cmp(&image(b))
        }
    }
}

fn field(lines: &Lines, column: &str) -> Option<Field> {
    lines.columns.iter().find(|(name, _)| *name == column).map(|(_, field)| *field)
}

fn push(
    layout: &Layout,
    (lines, deeper): (&Lines, &[&str]),
    table: &Table,
    document: &Json,
    (item, place): (&Json, usize),
    rows: &mut Rows,
) {
    let at = |from: &Json, path: &[&str]| {
        path.iter().try_fold(from, |json, member| json.get(*member)).map(|json| clean(layout, json))
    };
    for column in &table.columns {
        let json = match field(lines, &column.name) {
            Some(Field::Own(path)) => at(item, path),
            Some(Field::Document(path)) => at(document, path),
            Some(Field::Place) => Some(Json::from(place)),
            Some(Field::Rest) => rest(layout, lines, deeper, item),
            None => None,
        };
        match json {
            None | Some(Json::Null) => rows.push(Value::Null),
            Some(Json::Bool(flag)) => rows.push(Value::Integer(i64::from(flag))),
            Some(Json::String(text)) => rows.push(Value::Text(&exact(&text))),
            Some(Json::Number(number)) => rows.push(match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => Value::Integer(number),
                (None, Some(number)) => Value::Real(number),
                (None, None) => Value::Null,
            }),
            Some(json) => rows.push(Value::text(&written(&json))),
        }
    }
}

/// Without the members that are never read.
fn clean(layout: &Layout, json: &Json) -> Json {
    match json {
        Json::Array(items) => items.iter().map(|item| clean(layout, item)).collect(),
        Json::Object(members) => {
            let kept = members.iter().filter(|(name, _)| !layout.never.contains(&name.as_str()));
            Json::Object(kept.map(|(name, json)| (name.clone(), clean(layout, json))).collect())
        }
        other => other.clone(),
    }
}

fn rest(layout: &Layout, lines: &Lines, deeper: &[&str], item: &Json) -> Option<Json> {
    let Json::Object(members) = clean(layout, item) else { return Some(clean(layout, item)) };
    let taken = |name: &str, json: &Json| {
        let own = |(_, field): &(&str, Field)| matches!(field, Field::Own([first]) if *first == name);
        (deeper.contains(&name) && (json.is_array() || json.is_object())) || lines.columns.iter().any(own)
    };
    let left: serde_json::Map<String, Json> = members.into_iter().filter(|(name, json)| !taken(name, json)).collect();
    (!left.is_empty()).then_some(Json::Object(left))
}
