//! A first mapping for any database, from what it says of its tables.

mod keys;
#[cfg(test)]
mod tests;
mod yaml;

use keys::{PartitionKey, Planned};

use super::Types;

/// What a store says of its tables, in the order they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schema {
    pub types: Types,
    pub tables: Vec<TableSchema>,
    pub views: Vec<String>,
    /// What looks like a table and cannot be read as one.
    pub unreadable: Vec<Unreadable>,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub table: String,
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    pub name: String,
    pub columns: Vec<ColumnSchema>,
    /// Columns of the primary key, in its order.
    pub key: Vec<String>,
    /// A name of the row number that no column has taken.
    pub rowid: Option<String>,
    pub without_rowid: bool,
    pub strict: bool,
    /// Only those that reference unique columns of a table that exists.
    pub foreign_keys: Vec<ForeignKey>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnSchema {
    pub name: String,
    /// The declared type; may be empty.
    pub declared: String,
    pub not_null: bool,
    pub generated: bool,
    pub collation: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignKey {
    pub columns: Vec<String>,
    pub parent: String,
    pub referenced: Vec<String>,
    /// Values that are equal to the store may differ as text.
    pub by_value: bool,
}

impl Schema {
    /// Whether the store takes two names for one: SQLite does so in any case.
    pub fn same(&self, one: &str, two: &str) -> bool {
        match self.types {
            Types::Sqlite => one.eq_ignore_ascii_case(two),
            Types::Postgres => one == two,
        }
    }

    pub fn table(&self, name: &str) -> Option<&TableSchema> {
        self.tables.iter().find(|table| self.same(&table.name, name))
    }
}

impl TableSchema {
    /// A column by its name, in any case.
    pub fn column(&self, name: &str) -> Option<&ColumnSchema> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }
}

/// Writes a mapping file that works as it stands, and what a person should look at before using it.
pub fn init(schema: &Schema, migration: &str) -> (String, Vec<String>) {
    let mut warnings = schema.notes.clone();
    let (named, taken): (Vec<&TableSchema>, Vec<&TableSchema>) =
        schema.tables.iter().partition(|table| kept_name(table).is_none());
    let (mappable, keyless): (Vec<&TableSchema>, Vec<&TableSchema>) =
        named.into_iter().partition(|table| !table.key.is_empty() || table.rowid.is_some());
    for table in &mappable {
        if table.key.is_empty() {
            warnings.push(format!(
                "table '{}' has no primary key: its row number is the identity, which VACUUM or a reload may change",
                table.name
            ));
        }
        for column in table.key.iter().filter_map(|name| table.column(name)) {
            let blob = match schema.types {
                Types::Sqlite => column.declared.to_ascii_uppercase().contains("BLOB"),
                Types::Postgres => column.declared == "bytea",
            };
            if blob {
                warnings.push(format!(
                    "key column '{}' of table '{}' is declared {}: a row with a blob there cannot become an event",
                    column.name, table.name, column.declared
                ));
            }
        }
    }
    let mut left_out = schema.unreadable.clone();
    left_out.extend(keyless.iter().map(|table| Unreadable {
        table: table.name.clone(),
        why: "it has no primary key, and columns have taken all names of its row number".to_owned(),
    }));
    left_out.extend(taken.iter().map(|table| Unreadable {
        table: table.name.clone(),
        why: format!("'{}' begins with _cf_, as a projection's own names do", kept_name(table).unwrap_or_default()),
    }));
    for other in &left_out {
        warnings.push(format!("table '{}' cannot be mapped: {}", other.table, other.why));
    }
    (yaml::write(schema.types, &keys::plan(&mappable), &left_out, migration), warnings)
}

/// The table's or a column's name that a projection keeps for itself.
fn kept_name(table: &TableSchema) -> Option<&str> {
    let names = [&table.name].into_iter().chain(table.columns.iter().map(|column| &column.name));
    names.map(String::as_str).find(|name| super::is_kept(name))
}
