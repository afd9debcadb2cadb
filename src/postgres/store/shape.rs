//! The tables of a projection: the legacy's columns with types that give its values back, and nothing that would refuse
//! or change one.

use super::super::form::{Form, quote};
use crate::base::{Error, Result};
use crate::mapping::{Declared, Mapping, Table, Types};

/// Columns of the last event, after the cells of the layout.
const EVENT: &str = "_cf_partition, _cf_offset, _cf_event, _cf_sequence";

/// PostgreSQL's own columns, which no table may have.
const SYSTEM: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// Longer names are cut silently.
const LONGEST_NAME: usize = 63;

/// One table with the statements on it.
#[derive(Debug)]
pub(super) struct Shape {
    /// Schema and table, as SQL.
    pub(super) name: String,
    /// Name and form of each cell of the layout.
    pub(super) cells: Vec<(String, Form)>,
    pub(super) create: String,
    /// The index identities are found by.
    pub(super) index: String,
    /// Takes rows in COPY's text form: cells, event, identity, and what no column keeps.
    pub(super) copy: String,
    /// Identity and event of the rows with one of the identities bound.
    pub(super) find: String,
    pub(super) delete: String,
    /// Cells, event and what no column keeps of all rows.
    pub(super) scan: String,
    /// As `scan`, with the place of each row.
    pub(super) everywhere: String,
    /// As `scan`, the rows with one of the identities bound, and those another hand planted.
    pub(super) lookup: String,
    /// All identities with the place of their row.
    pub(super) identities: String,
    /// As `scan`, the rows at the places bound.
    pub(super) placed: String,
    pub(super) count: String,
    /// Whether an identity arrived more than once.
    pub(super) doubled: String,
    /// Identity, number and event of every arrival of such identities, in order of arrival.
    pub(super) arrivals: String,
}

impl Shape {
    /// The shapes of all tables, or why one of them cannot be kept.
    pub(super) fn all(mapping: &Mapping, schema: &str) -> Result<Vec<Self>> {
        mapping.tables.iter().map(|table| Self::of(table, mapping.types, schema)).collect()
    }

    fn of(table: &Table, types: Types, schema: &str) -> Result<Self> {
        refuse_reserved(table)?;
        let name = format!("{}.{}", quote(schema), quote(&table.name));
        let mut cells: Vec<(String, Form)> = Vec::new();
        let mut columns: Vec<String> = Vec::new();
        for column in &table.columns {
            let (declared, form) = kept(&column.declared, types);
            columns.push(format!("{} {declared}", quote(&column.name)));
            cells.push((column.name.clone(), form));
        }
        if table.rowid.is_some() {
            cells.push(("_cf_rowid".to_owned(), Form::Int8));
            columns.push("_cf_rowid bigint".to_owned());
        }
        if table.key_cell().is_some() {
            cells.push(("_cf_key".to_owned(), Form::Text));
            columns.push("_cf_key text".to_owned());
        }
        columns.extend(
            [
                "_cf_partition integer",
                "_cf_offset bigint",
                "_cf_event uuid",
                "_cf_sequence bigint",
                "_cf_identity uuid",
                "_cf_exact text",
                "_cf_row bigint GENERATED ALWAYS AS IDENTITY",
            ]
            .map(str::to_owned),
        );
        let names: Vec<String> = cells.iter().map(|(name, _)| quote(name)).collect();
        let selected: Vec<String> = cells.iter().map(|(name, form)| form.select(&quote(name))).collect();
        let identity: Vec<&str> = table.identity.iter().map(|cell| selected[*cell].as_str()).collect();
        let list = |parts: &[String]| parts.iter().map(|part| format!("{part}, ")).collect::<String>();
        let rows = format!("SELECT {}{EVENT}, _cf_exact", list(&selected));
        let by_identity = "_cf_identity = ANY($1::uuid[])";
        Ok(Self {
            create: format!("CREATE TABLE {name} ({})", columns.join(", ")),
            index: format!("CREATE INDEX {} ON {name} (_cf_identity)", quote(&format!("_cf_identity_{}", table.index))),
            copy: format!("COPY {name} ({}{EVENT}, _cf_identity, _cf_exact) FROM STDIN", list(&names)),
            find: format!("SELECT _cf_identity, {EVENT} FROM {name} WHERE {by_identity}"),
            delete: format!("DELETE FROM {name} WHERE {by_identity}"),
            scan: format!("{rows} FROM {name}"),
            everywhere: format!("{rows}, ctid FROM {name}"),
            lookup: format!("{rows} FROM {name} WHERE {by_identity} OR _cf_identity IS NULL"),
            identities: format!("SELECT {}, _cf_exact, ctid::text FROM {name}", identity.join(", ")),
            placed: format!("{rows} FROM {name} WHERE ctid = ANY($1::text[]::tid[])"),
            count: format!("SELECT count(*) FROM {name}"),
            doubled: format!("SELECT EXISTS (SELECT FROM {name} GROUP BY _cf_identity HAVING count(*) > 1)"),
            arrivals: format!(
                "SELECT _cf_identity, {EVENT}, _cf_row FROM {name} WHERE _cf_identity IN (SELECT _cf_identity FROM {name} \
                 GROUP BY _cf_identity HAVING count(*) > 1 OR bool_or(_cf_event IS NULL)) ORDER BY _cf_identity, _cf_row"
            ),
            name,
            cells,
        })
    }
}

/// The type that keeps a column's values, as SQL, and how they travel.
fn kept(declared: &str, types: Types) -> (String, Form) {
    let own = |name: &str, form| (name.to_owned(), form);
    if types == Types::Postgres {
        return match Declared::parse(declared) {
            Some(known) if known.array => (declared.to_owned(), Form::Output),
            Some(known) => (declared.to_owned(), Form::of(internal(known.base))),
            // What only the legacy's own database knows: its text.
            None => own("text", Form::Text),
        };
    }
    let declared = declared.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    match () {
        () if has(&["INT"]) => own("bigint", Form::Int8),
        () if has(&["CHAR", "CLOB", "TEXT"]) => own("text", Form::Text),
        () if has(&["BLOB"]) => own("bytea", Form::Bytes),
        () if has(&["REAL", "FLOA", "DOUB"]) => own("double precision", Form::Float8),
        () if has(&["BOOL"]) => own("bigint", Form::Int8),
        () if has(&["NUMERIC", "DECIMAL"]) => own("numeric", Form::Number),
        // Dates and times, JSON, no type at all.
        () => own("text", Form::Text),
    }
}

/// The catalog's name of a type.
fn internal(base: &'static str) -> &'static str {
    match base {
        "smallint" => "int2",
        "integer" => "int4",
        "bigint" => "int8",
        "boolean" => "bool",
        "real" => "float4",
        "double precision" => "float8",
        "character varying" => "varchar",
        "character" => "bpchar",
        "timestamp without time zone" => "timestamp",
        "timestamp with time zone" => "timestamptz",
        other => other,
    }
}

fn refuse_reserved(table: &Table) -> Result<()> {
    let names = table
        .columns
        .iter()
        .map(|column| (&column.name, format!("column '{}' of table '{}'", column.name, table.name)));
    for (name, what) in [(&table.name, format!("table '{}'", table.name))].into_iter().chain(names) {
        let kept = name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("_cf_"));
        let why = match () {
            () if kept => "has a name that a projection keeps for itself: names must not begin with '_cf_'",
            () if *name != table.name && SYSTEM.contains(&name.as_str()) => {
                "has a name that PostgreSQL keeps for itself"
            }
            () if name.len() > LONGEST_NAME => "has a name longer than the 63 bytes PostgreSQL keeps",
            () => continue,
        };
        return Err(Error::refused(format!("{what} {why}")).hint(
            "leave the table out of the mapping, put the column on its never list, or name a SQLite file as projection",
        ));
    }
    Ok(())
}
