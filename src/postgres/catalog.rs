//! What a PostgreSQL schema says of its tables.

use std::collections::HashMap;

use postgres::Client;

use super::form::Form;
use crate::mapping::Types;
use crate::mapping::init::{ColumnSchema, ForeignKey, Schema, TableSchema, Unreadable};

/// A schema's tables, and the names of its functions, by which a preset tells object sets apart.
#[derive(Clone, Debug)]
pub struct Described {
    pub schema: Schema,
    pub functions: Vec<String>,
}

/// What reading needs to know beyond the [`Schema`].
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) schema: Schema,
    functions: Vec<String>,
    tables: HashMap<String, Found>,
}

/// A table that can be read.
#[derive(Debug)]
pub(super) struct Found {
    /// Its rows lie in partitions, where a row's place is no number of one table.
    pub(super) partitioned: bool,
    pub(super) columns: HashMap<String, Column>,
}

#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) form: Form,
    /// The type as SQL.
    pub(super) declared: String,
}

/// A type as the catalog has it.
struct Kind {
    schema: String,
    name: String,
    /// Base, domain, enum, range, multirange or composite.
    kind: String,
    category: String,
    /// Of an array its element, of a range what it spans, of a domain what it narrows.
    inner: u32,
}

const TABLES: &str = "SELECT c.oid, c.relname::text, c.relkind::text FROM pg_class AS c \
    JOIN pg_namespace AS n ON n.oid = c.relnamespace \
    WHERE n.nspname::text = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition ORDER BY c.oid";

const COLUMNS: &str = "SELECT a.attrelid, a.attname::text, format_type(b.oid, b.typmod), b.oid, a.attnotnull, \
    a.attgenerated::text <> '', coalesce(o.collisdeterministic, true) \
    FROM pg_attribute AS a LEFT JOIN pg_collation AS o ON o.oid = a.attcollation CROSS JOIN LATERAL ( \
        WITH RECURSIVE d(oid, typmod) AS ( \
            SELECT a.atttypid, a.atttypmod UNION ALL \
            SELECT t.typbasetype, t.typtypmod FROM d JOIN pg_type AS t ON t.oid = d.oid WHERE t.typtype = 'd') \
        SELECT d.oid, d.typmod FROM d JOIN pg_type AS t ON t.oid = d.oid WHERE t.typtype <> 'd') AS b \
    WHERE a.attrelid = ANY($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum";

const TYPES: &str = "SELECT t.oid, n.nspname::text, t.typname::text, t.typtype::text, t.typcategory::text, \
    coalesce(nullif(t.typelem, 0), nullif(t.typbasetype, 0), r.rngsubtype, m.rngsubtype, 0) FROM pg_type AS t \
    JOIN pg_namespace AS n ON n.oid = t.typnamespace LEFT JOIN pg_range AS r ON r.rngtypid = t.oid \
    LEFT JOIN pg_range AS m ON m.rngmultitypid = t.oid WHERE t.typtype <> 'c'";

const KEYS: &str = "SELECT i.indrelid, array(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(n, o) \
        JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.n WHERE k.o <= i.indnkeyatts ORDER BY k.o) \
    FROM pg_index AS i WHERE i.indrelid = ANY($1) AND i.indisunique AND i.indisvalid AND i.indpred IS NULL \
        AND i.indexprs IS NULL ORDER BY i.indrelid, i.indisprimary DESC, i.indexrelid";

const FOREIGN_KEYS: &str = "SELECT k.conrelid, k.confrelid, k.confrelid::regclass::text, \
    array(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY AS u(n, o) \
        JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.o), \
    array(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY AS u(n, o) \
        JOIN pg_attribute AS a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.o) \
    FROM pg_constraint AS k WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid = ANY($1) ORDER BY k.conrelid, k.oid";

const FUNCTIONS: &str = "SELECT p.proname::text FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace \
    WHERE n.nspname::text = $1 ORDER BY 1";

impl Catalog {
    pub(super) fn read(client: &mut Client, schema: &str) -> Result<Self, postgres::Error> {
        let mut found = Schema { types: Types::Postgres, ..Schema::default() };
        let mut reading: Vec<(u32, String, bool)> = Vec::new();
        for row in client.query(TABLES, &[&schema])? {
            let (oid, name, kind): (u32, String, String) = (row.get(0), row.get(1), row.get(2));
            match kind.as_str() {
                "v" | "m" => found.views.push(name),
                "f" => {
                    let why = "it is a foreign table, whose rows have no snapshot".to_owned();
                    found.unreadable.push(Unreadable { table: name, why });
                }
                kind => reading.push((oid, name, kind == "p")),
            }
        }
        let oids: Vec<u32> = reading.iter().map(|(oid, ..)| *oid).collect();
        let types = types(client)?;
        let mut columns: HashMap<u32, Vec<(ColumnSchema, Column, Option<String>)>> = HashMap::new();
        let mut obstacles: HashMap<u32, String> = HashMap::new();
        for row in client.query(COLUMNS, &[&oids])? {
            let (table, name, declared): (u32, String, String) = (row.get(0), row.get(1), row.get(2));
            let base: u32 = row.get(3);
            if let Err(why) = carriable(&types, base) {
                obstacles.entry(table).or_insert_with(|| format!("column '{name}' has the type {declared}: {why}"));
            }
            let form = types.get(&base).filter(|kind| kind.schema == "pg_catalog" && kind.kind == "b");
            let form = form.map_or(Form::Output, |kind| Form::of(&kind.name));
            let family = family(&types, base, row.get(6));
            let column = ColumnSchema {
                name,
                declared: declared.clone(),
                not_null: row.get(4),
                generated: row.get(5),
                collation: "BINARY".to_owned(),
            };
            columns.entry(table).or_default().push((column, Column { form, declared }, family));
        }
        let mut keys: HashMap<u32, Vec<Vec<String>>> = HashMap::new();
        for row in client.query(KEYS, &[&oids])? {
            keys.entry(row.get(0)).or_default().push(row.get(1));
        }
        let mut catalog = Self { schema: found, functions: Vec::new(), tables: HashMap::new() };
        let mut families: HashMap<(u32, String), Option<String>> = HashMap::new();
        let mut kept: HashMap<u32, String> = HashMap::new();
        for (oid, name, partitioned) in reading {
            let columns = columns.remove(&oid).unwrap_or_default();
            let never_null = |key: &&Vec<String>| {
                key.iter().all(|name| columns.iter().any(|(column, ..)| column.name == *name && column.not_null))
            };
            let key = keys.get(&oid).and_then(|keys| keys.iter().find(never_null)).cloned();
            let obstacle = obstacles.remove(&oid).or_else(|| {
                let why = "it has neither a primary key nor a unique key of columns that are never null";
                key.is_none().then(|| why.to_owned())
            });
            if let Some(why) = obstacle {
                catalog.schema.unreadable.push(Unreadable { table: name, why });
                continue;
            }
            let mut found = Found { partitioned, columns: HashMap::new() };
            let mut described = Vec::with_capacity(columns.len());
            for (column, form, family) in columns {
                families.insert((oid, column.name.clone()), family);
                found.columns.insert(column.name.clone(), form);
                described.push(column);
            }
            kept.insert(oid, name.clone());
            catalog.tables.insert(name.clone(), found);
            catalog.schema.tables.push(TableSchema {
                name,
                columns: described,
                key: key.unwrap_or_default(),
                rowid: None,
                without_rowid: true,
                strict: false,
                foreign_keys: Vec::new(),
            });
        }
        for row in client.query(FOREIGN_KEYS, &[&oids])? {
            let (from, to): (u32, u32) = (row.get(0), row.get(1));
            let (columns, referenced): (Vec<String>, Vec<String>) = (row.get(3), row.get(4));
            let Some(name) = kept.get(&from) else { continue };
            let Some(parent) = kept.get(&to) else {
                let target: String = row.get(2);
                let note = "a foreign key of table '{}' to '{}' is left out of account: that table cannot be read here";
                catalog.schema.notes.push(note.replacen("{}", name, 1).replacen("{}", &target, 1));
                continue;
            };
            let family = |oid: u32, name: &String| families.get(&(oid, name.clone())).cloned().flatten();
            let by_value = columns.iter().zip(&referenced).any(|(child, parent)| {
                let of_parent = family(to, parent);
                of_parent.is_none() || of_parent != family(from, child)
            });
            let key = ForeignKey { columns, parent: parent.clone(), referenced, by_value };
            if let Some(table) = catalog.schema.tables.iter_mut().find(|table| table.name == *name) {
                table.foreign_keys.push(key);
            }
        }
        catalog.functions = client.query(FUNCTIONS, &[&schema])?.iter().map(|row| row.get(0)).collect();
        Ok(catalog)
    }

    pub(super) fn into_described(self) -> Described {
        Described { schema: self.schema, functions: self.functions }
    }

    pub(super) fn found(&self, table: &str) -> Option<(&TableSchema, &Found)> {
        Some((self.schema.table(table)?, self.tables.get(table)?))
    }
}

fn types(client: &mut Client) -> Result<HashMap<u32, Kind>, postgres::Error> {
    let kind = |row: &postgres::Row| Kind {
        schema: row.get(1),
        name: row.get(2),
        kind: row.get(3),
        category: row.get(4),
        inner: row.get(5),
    };
    Ok(client.query(TYPES, &[])?.iter().map(|row| (row.get(0), kind(row))).collect())
}

/// Types of the server whose text means something only there, or depends on its settings.
const BOUND: [&str; 4] = ["money", "aclitem", "refcursor", "gtsvector"];

/// Types that extensions of PostgreSQL itself bring, whose text reads back as the same value.
const EXTENSIONS: [&str; 3] = ["citext", "hstore", "ltree"];

/// Whether the text of a type's values says all of them; the error is why not.
fn carriable(types: &HashMap<u32, Kind>, oid: u32) -> Result<(), String> {
    let Some(kind) = types.get(&oid) else { return Err("a row type cannot be carried".to_owned()) };
    match kind.kind.as_str() {
        "e" => Ok(()),
        "d" | "r" | "m" => carriable(types, kind.inner),
        "b" if kind.category == "A" => carriable(types, kind.inner),
        "b" if kind.schema == "pg_catalog" => {
            let bound = BOUND.contains(&kind.name.as_str()) || kind.category == "Z" || kind.name.starts_with("reg");
            match bound && kind.name != "char" {
                true => Err("its text depends on the server".to_owned()),
                false => Ok(()),
            }
        }
        "b" if EXTENSIONS.contains(&kind.name.as_str()) => Ok(()),
        _ => Err("it is no type of PostgreSQL itself".to_owned()),
    }
}

/// Types within which equal values have equal texts: a key column may stand for the one it references.
fn family(types: &HashMap<u32, Kind>, oid: u32, deterministic: bool) -> Option<String> {
    let kind = types.get(&oid)?;
    if kind.kind == "e" {
        return Some(format!("enum {oid}"));
    }
    if kind.schema != "pg_catalog" {
        return None;
    }
    match kind.name.as_str() {
        "int2" | "int4" | "int8" | "oid" => Some("integer".to_owned()),
        "text" | "varchar" if deterministic => Some("text".to_owned()),
        name @ ("uuid" | "bool" | "date" | "timestamp" | "timestamptz" | "inet" | "cidr" | "macaddr") => {
            Some(name.to_owned())
        }
        _ => None,
    }
}
