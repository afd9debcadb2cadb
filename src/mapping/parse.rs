//! The mapping language: reading it strictly, and the form `init` writes.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::Types;
use super::model::{Column, EventTypes, Key, Mapping, OWN_TYPES, Rule, Table, Through, Topic, UpdateType, Use};
use crate::base::yaml::{self, Spanned};
use crate::base::{Error, Result, hex};

/// A mapping file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    pub version: Spanned<u32>,
    #[serde(default, skip_serializing_if = "Types::is_default")]
    pub types: Types,
    pub topics: IndexMap<String, RawTopic>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<String>,
    pub tables: IndexMap<String, RawTable>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTopic {
    pub partitions: Spanned<i32>,
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    pub purpose: Option<Spanned<Use>>,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub configs: IndexMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawTable {
    pub topic: Spanned<String>,
    /// Key columns; without them the store's row number is the identity.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub identity: Vec<Spanned<String>>,
    /// The name of the row number when it is the identity: one no column has taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rowid: Option<Spanned<String>>,
    /// Columns whose text is the record key; the identity when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<Spanned<String>>,
    /// The record key is the one of a parent row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<RawThrough>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<Spanned<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order: Option<Spanned<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Spanned<String>>,
    pub columns: IndexMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub generated: Vec<Spanned<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set_by_trigger: Vec<Spanned<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<RawEvents>,
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub rules: IndexMap<String, Spanned<RawRules>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawThrough {
    pub columns: Vec<Spanned<String>>,
    pub parent: Spanned<String>,
    pub referenced: Vec<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawEvents {
    insert: Option<Spanned<String>>,
    update: Option<Spanned<String>>,
    updates: Vec<RawUpdate>,
    delete: Option<Spanned<String>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUpdate {
    columns: Vec<Spanned<String>>,
    #[serde(rename = "type")]
    name: Spanned<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRules {
    not_null: bool,
    one_of: Option<Vec<String>>,
    min: Option<f64>,
    max: Option<f64>,
    max_length: Option<usize>,
}

impl Mapping {
    /// Reads and checks a mapping file; `file` is its name in refusals.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        Self::resolve(file, yaml::parse(file, text)?)
    }

    /// Resolves names to cells and checks what the grammar cannot.
    pub fn resolve(file: &str, raw: Raw) -> Result<Self> {
        if raw.version.value != 1 {
            let message =
                format!("mapping version {} is not known to this tool, which reads version 1", raw.version.value);
            return Err(yaml::refuse_at(file, &raw.version, message));
        }
        let mut topics = Vec::with_capacity(raw.topics.len());
        for (name, topic) in &raw.topics {
            if topic.partitions.value < 1 {
                return Err(yaml::refuse_at(
                    file,
                    &topic.partitions,
                    format!("topic '{name}' needs at least one partition"),
                ));
            }
            let configs = topic.configs.clone().into_iter().collect();
            topics.push(Topic { name: name.clone(), partitions: topic.partitions.value, configs });
        }
        let mut uses = BTreeMap::new();
        for (name, purpose) in raw.topics.iter().filter_map(|(name, topic)| Some((name, topic.purpose.as_ref()?))) {
            let of_rows = raw.tables.values().any(|table| table.topic.value == *name);
            if (purpose.value == Use::Rows) != of_rows {
                let message = if of_rows {
                    format!("tables name the topic '{name}', so its use is rows")
                } else {
                    format!("no table names the topic '{name}', so its use is not rows")
                };
                return Err(yaml::refuse_at(file, purpose, message).hint("leave 'use' out, or name another topic"));
            }
            uses.insert(name.clone(), purpose.value);
        }
        let mut tables = Vec::with_capacity(raw.tables.len());
        for (name, table) in &raw.tables {
            if raw.never.contains(name) {
                return Err(yaml::refuse_at(
                    file,
                    &table.topic,
                    format!("table '{name}' is mapped and on the never list"),
                ));
            }
            tables.push(resolve_table(file, &raw, name, table)?);
        }
        let mut tables = by_dependency(tables).map_err(|name| {
            Error::config(format!("{file}: the parents of table '{name}' form a circle"))
                .hint("leave one of the 'parents' out")
        })?;
        for (index, table) in tables.iter_mut().enumerate() {
            table.index = index;
        }
        Self { types: raw.types, topics, tables, never: raw.never, uses, hash: String::new() }.sealed()
    }

    /// The mapping with its topics under other names, each behind `prefix`. Where events lie is part of it, so it is another.
    pub fn with_prefix(mut self, prefix: &str) -> Result<Self> {
        let names = self.topics.iter_mut().map(|topic| &mut topic.name);
        for name in names.chain(self.tables.iter_mut().map(|table| &mut table.topic)) {
            name.insert_str(0, prefix);
        }
        self.uses = self.uses.into_iter().map(|(name, purpose)| (format!("{prefix}{name}"), purpose)).collect();
        self.sealed()
    }

    /// The mapping with other numbers of partitions for some of its topics. Keys lie elsewhere then, so it is another one.
    pub fn with_partitions<'n>(mut self, wishes: impl IntoIterator<Item = (&'n str, i32)>) -> Result<Self> {
        for (name, partitions) in wishes {
            if let Some(topic) = self.topics.iter_mut().find(|topic| topic.name == name) {
                topic.partitions = partitions;
            }
        }
        self.sealed()
    }

    /// The mapping, bound to one more thing that what lies in the log depends on.
    pub fn bound_to(mut self, what: &str) -> Self {
        self.hash = hex(blake3::hash(format!("{} {what}", self.hash).as_bytes()).as_bytes());
        self
    }

    fn sealed(mut self) -> Result<Self> {
        let canonical = serde_json::to_vec(&self)
            .map_err(|error| Error::failed("the mapping has no canonical form").because(error))?;
        self.hash = hex(blake3::hash(&canonical).as_bytes());
        Ok(self)
    }
}

fn resolve_table(file: &str, raw: &Raw, name: &str, table: &RawTable) -> Result<Table> {
    let topic = &table.topic;
    if !raw.topics.contains_key(&topic.value) {
        let error = yaml::refuse_at(file, topic, format!("table '{name}' names the unknown topic '{}'", topic.value));
        return Err(match yaml::nearest(&topic.value, raw.topics.keys().map(String::as_str)) {
            Some(word) => error.hint(format!("did you mean '{word}'?")),
            None => error.hint("declare it under 'topics'"),
        });
    }
    if let Some(kept) = [name].into_iter().chain(table.columns.keys().map(String::as_str)).find(|name| is_kept(name)) {
        let message = format!("'{kept}' of table '{name}' begins with _cf_, as a projection's own names do");
        return Err(
            yaml::refuse_at(file, topic, message).hint("leave the table out, or put the column on its 'never' list")
        );
    }
    let cell = |column: &Spanned<String>| {
        table.columns.get_index_of(&column.value).ok_or_else(|| {
            let error =
                yaml::refuse_at(file, column, format!("table '{name}' has no column '{}' in 'columns'", column.value));
            match yaml::nearest(&column.value, table.columns.keys().map(String::as_str)) {
                Some(word) => error.hint(format!("did you mean '{word}'?")),
                None => error,
            }
        })
    };
    let cells = |columns: &[Spanned<String>]| columns.iter().map(cell).collect::<Result<Vec<usize>>>();
    let columns = resolve_columns(file, name, table, &cells(&table.generated)?, &cells(&table.set_by_trigger)?)?;
    let (identity, rowid) = match (&table.rowid, table.identity.is_empty()) {
        (None, false) => (cells(&table.identity)?, None),
        (Some(rowid), true) if !table.columns.contains_key(&rowid.value) && is_rowid(&rowid.value) => {
            (vec![columns.len()], Some(rowid.value.clone()))
        }
        (Some(rowid), true) => {
            let message =
                format!("'{}' of table '{name}' must be rowid, _rowid_ or oid, and no column's name", rowid.value);
            return Err(yaml::refuse_at(file, rowid, message));
        }
        (Some(rowid), false) => {
            return Err(yaml::refuse_at(file, rowid, format!("table '{name}' has both 'identity' and 'rowid'")));
        }
        (None, true) => {
            return Err(yaml::refuse_at(file, topic, format!("table '{name}' has no identity"))
                .hint("name its key columns under 'identity', or write 'rowid: rowid' for a table without a key"));
        }
    };
    for parent in table.parents.iter().chain(table.through.iter().map(|through| &through.parent)) {
        if !raw.tables.contains_key(&parent.value) {
            return Err(yaml::refuse_at(
                file,
                parent,
                format!("table '{name}' names the unmapped parent '{}'", parent.value),
            ));
        }
    }
    let key = match &table.through {
        Some(through) => {
            cells(&through.columns)?;
            let columns = through.columns.iter().map(|column| column.value.clone()).collect();
            Key::Through(Through {
                columns,
                parent: through.parent.value.clone(),
                referenced: through.referenced.clone(),
            })
        }
        None if table.key.is_empty() => Key::Cells(identity.clone()),
        None => Key::Cells(cells(&table.key)?),
    };
    let mut parents: Vec<String> = table.parents.iter().map(|parent| parent.value.clone()).collect();
    if let Key::Through(through) = &key
        && !parents.contains(&through.parent)
    {
        parents.push(through.parent.clone());
    }
    let events = table.events.clone().unwrap_or_default();
    let mut updates = Vec::new();
    for update in &events.updates {
        updates.push(UpdateType { columns: cells(&update.columns)?, name: event_type(file, &update.name)? });
    }
    let named = |given: &Option<Spanned<String>>, word: &str| match given {
        Some(given) => event_type(file, given),
        None => Ok(format!("{name}.{word}")),
    };
    Ok(Table {
        index: 0,
        name: name.to_owned(),
        topic: topic.value.clone(),
        columns,
        rowid,
        identity,
        key,
        parents,
        order: table.order.as_ref().map(cell).transpose()?,
        time: table.time.as_ref().map(cell).transpose()?,
        events: EventTypes {
            insert: named(&events.insert, "inserted")?,
            update: named(&events.update, "updated")?,
            updates,
            delete: named(&events.delete, "deleted")?,
        },
        never: table.never.clone(),
    })
}

/// Refuses a type that readers take for no row event.
fn event_type(file: &str, given: &Spanned<String>) -> Result<String> {
    if OWN_TYPES.contains(&given.value.as_str()) {
        return Err(yaml::refuse_at(file, given, format!("the event type '{}' is the tool's own", given.value)));
    }
    Ok(given.value.clone())
}

fn resolve_columns(
    file: &str,
    name: &str,
    table: &RawTable,
    generated: &[usize],
    triggers: &[usize],
) -> Result<Vec<Column>> {
    for (column, rules) in &table.rules {
        if !table.columns.contains_key(column) {
            return Err(yaml::refuse_at(
                file,
                rules,
                format!("table '{name}' has no column '{column}' to set rules for"),
            ));
        }
    }
    let columns = table.columns.iter().enumerate().map(|(cell, (column, declared))| Column {
        name: column.clone(),
        declared: declared.clone(),
        generated: generated.contains(&cell),
        set_by_trigger: triggers.contains(&cell),
        rules: table.rules.get(column).map_or_else(Vec::new, |rules| rules.value.compile()),
    });
    Ok(columns.collect())
}

impl RawRules {
    fn compile(&self) -> Vec<Rule> {
        let not_null = self.not_null.then_some(Rule::NotNull);
        let one_of = self.one_of.clone().map(Rule::OneOf);
        let bounds = self.min.map(Rule::Min).into_iter().chain(self.max.map(Rule::Max));
        not_null.into_iter().chain(one_of).chain(bounds).chain(self.max_length.map(Rule::MaxLength)).collect()
    }
}

/// Whether a projection keeps the name for itself.
pub(super) fn is_kept(name: &str) -> bool {
    name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("_cf_"))
}

fn is_rowid(name: &str) -> bool {
    ["rowid", "_rowid_", "oid"].contains(&name)
}

/// Parents before children, else in the order written; a table whose parents form a circle is the error.
fn by_dependency(mut tables: Vec<Table>) -> std::result::Result<Vec<Table>, String> {
    let mut sorted: Vec<Table> = Vec::with_capacity(tables.len());
    while !tables.is_empty() {
        let ready = tables.iter().position(|table| {
            table.parents.iter().all(|parent| *parent == table.name || sorted.iter().any(|done| done.name == *parent))
        });
        match ready {
            Some(index) => sorted.push(tables.remove(index)),
            None => return Err(tables.remove(0).name),
        }
    }
    Ok(sorted)
}
