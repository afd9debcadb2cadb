//! The tables of a projection: the legacy's columns and declared types, and nothing that would refuse or change a value.

use crate::base::{Error, Result};
use crate::mapping::{Carried, Mapping, Table, Types};

/// Columns of the last event, after the cells of the layout.
const EVENT: &str = "_cf_partition, _cf_offset, _cf_event, _cf_sequence";

/// Words that may stand unquoted in a type; any other type is written as one quoted name, which SQLite reads the same.
const TYPE_WORDS: &[&str] = &[
    "BIGINT",
    "BLOB",
    "BOOLEAN",
    "CHAR",
    "CHARACTER",
    "CLOB",
    "DATE",
    "DATETIME",
    "DECIMAL",
    "DOUBLE",
    "FLOAT",
    "INT",
    "INTEGER",
    "JSON",
    "NUMERIC",
    "NVARCHAR",
    "PRECISION",
    "REAL",
    "SMALLINT",
    "TEXT",
    "TIME",
    "TIMESTAMP",
    "UUID",
    "VARCHAR",
];

/// One table with the statements on it. Every statement binds cells in the order of the layout, from `?1`.
#[derive(Debug)]
pub(super) struct Shape {
    pub(super) name: String,
    /// The rowid is the identity; otherwise it counts arrivals.
    pub(super) by_rowid: bool,
    pub(super) create: String,
    /// The index identities are found by; a rowid needs none.
    pub(super) index: Option<String>,
    pub(super) drop_index: String,
    pub(super) insert: String,
    /// Binds the row number after the cells and the event.
    pub(super) update: String,
    pub(super) delete: String,
    /// Row number, event and identity of the rows with an identity equal to the one bound.
    pub(super) find: String,
    /// Cells and event of all rows, in store order.
    pub(super) scan: String,
    /// Cells and event of the rows with an identity equal to the one bound.
    pub(super) lookup: String,
    /// All identities with the number of their row, for which SQLite may walk the index alone.
    pub(super) identities: String,
    /// As `scan`, one row by its number.
    pub(super) numbered: String,
    pub(super) count: String,
    /// Whether an identity is borne by more than one row, by SQLite's equality, which is wider than ours.
    pub(super) doubled: String,
    /// As `find`, all rows: those with equal identities together, in order of arrival within a class.
    pub(super) arrivals: String,
}

impl Shape {
    /// The shapes of all tables, or why one of them cannot be kept.
    pub(super) fn all(mapping: &Mapping) -> Result<Vec<Self>> {
        mapping.tables.iter().map(|table| Self::of(table, mapping.types)).collect()
    }

    pub(super) fn of(table: &Table, types: Types) -> Result<Self> {
        refuse_reserved(table)?;
        let by_rowid = table.rowid.is_some();
        let name = quote(&table.name);
        let row = if by_rowid { "_cf_rowid" } else { "_cf_row" };
        let mut cells: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
        cells.extend(table.rowid_cell().map(|_| row.to_owned()));
        cells.extend(table.key_cell().map(|_| "_cf_key".to_owned()));
        let identity: Vec<&str> = table.identity.iter().map(|cell| cells[*cell].as_str()).collect();

        let mut columns: Vec<String> = table
            .columns
            .iter()
            .zip(&cells)
            .map(|(column, name)| match types {
                Types::Sqlite => format!("{name}{}", declared(&column.declared)),
                Types::Postgres => format!("{name} {}", keeping(Carried::of(&column.declared))),
            })
            .collect();
        columns.extend(
            ["_cf_partition INTEGER", "_cf_offset INTEGER", "_cf_event BLOB", "_cf_sequence INTEGER"].map(String::from),
        );
        columns.extend(table.key_cell().map(|_| "_cf_key".to_owned()));
        columns.push(format!("{row} INTEGER PRIMARY KEY"));

        // IS finds null identities too. A rowid is never null, and only `=` is sure to seek it.
        let equals = if by_rowid { "=" } else { "IS" };
        let wanted: Vec<String> =
            identity.iter().enumerate().map(|(at, cell)| format!("{cell} {equals} ?{}", at + 1)).collect();
        let wanted = wanted.join(" AND ");
        let cell_list = cells.join(", ");
        let identity_list = identity.join(", ");
        let width = cells.len();
        let index = format!("_cf_identity_{}", table.index);
        let marks: Vec<String> = (1..=width + 4).map(|at| format!("?{at}")).collect();
        let mut set: Vec<String> = cells
            .iter()
            .enumerate()
            .filter(|(_, cell)| *cell != row)
            .map(|(at, cell)| format!("{cell} = ?{}", at + 1))
            .collect();
        set.extend(EVENT.split(", ").enumerate().map(|(at, cell)| format!("{cell} = ?{}", width + at + 1)));
        let found = format!("SELECT {row}, {EVENT}, {identity_list} FROM {name}");
        let classes: Vec<String> = identity.iter().map(|cell| format!("typeof({cell})")).collect();
        Ok(Self {
            by_rowid,
            create: format!("CREATE TABLE {name} ({})", columns.join(", ")),
            index: (!by_rowid).then(|| format!("CREATE INDEX {index} ON {name} ({identity_list})")),
            drop_index: format!("DROP INDEX {index}"),
            insert: format!("INSERT INTO {name} ({cell_list}, {EVENT}) VALUES ({})", marks.join(", ")),
            update: format!("UPDATE {name} SET {} WHERE {row} = ?{}", set.join(", "), width + 5),
            delete: format!("DELETE FROM {name} WHERE {row} = ?1"),
            scan: format!("SELECT {cell_list}, {EVENT} FROM {name}"),
            lookup: format!("SELECT {cell_list}, {EVENT} FROM {name} WHERE {wanted}"),
            identities: format!("SELECT {identity_list}, {row} FROM {name}"),
            numbered: format!("SELECT {cell_list}, {EVENT} FROM {name} WHERE {row} = ?1"),
            count: format!("SELECT count(*) FROM {name}"),
            doubled: format!("SELECT 1 FROM {name} GROUP BY {identity_list} HAVING count(*) > 1 LIMIT 1"),
            arrivals: format!("{found} NOT INDEXED ORDER BY {identity_list}, {}, {row}", classes.join(", ")),
            find: format!("{found} WHERE {wanted}"),
            name,
        })
    }
}

/// Writes a name as SQL.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn refuse_reserved(table: &Table) -> Result<()> {
    let reserved = |name: &str| {
        let start = name.get(..4).unwrap_or_default();
        start.eq_ignore_ascii_case("_cf_")
    };
    if reserved(&table.name) || table.name.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("sqlite_")) {
        return Err(Error::refused(format!("table '{}' has a name that a projection keeps for itself", table.name))
            .hint("names must not begin with '_cf_' or 'sqlite_': leave the table out of the mapping"));
    }
    match table.columns.iter().find(|column| reserved(&column.name)) {
        Some(column) => Err(Error::refused(format!(
            "column '{}' of table '{}' has a name that a projection keeps for itself",
            column.name, table.name
        ))
        .hint("names must not begin with '_cf_': put the column on the table's never list")),
        None => Ok(()),
    }
}

/// A type that keeps values of this class as they are. PostgreSQL's own names would not: a numeric would become a real,
/// and SQLite's own REAL forgets the sign of a zero.
fn keeping(carried: Carried) -> &'static str {
    match carried {
        Carried::Integer => "INTEGER",
        Carried::Real => "",
        Carried::Text => "TEXT",
        Carried::Blob => "BLOB",
    }
}

/// The declared type as SQL, with a space before it. Only the type decides the affinity, quoted or not.
fn declared(declared: &str) -> String {
    // ANY keeps every value in the STRICT table it must come from, but makes numbers of texts in any other table.
    if declared.is_empty() || declared.eq_ignore_ascii_case("any") {
        return String::new();
    }
    let (words, size) = match declared.split_once('(') {
        Some((words, size)) => (words, size.strip_suffix(')').unwrap_or("?")),
        None => (declared, "0"),
    };
    let known = words.split_ascii_whitespace().all(|word| TYPE_WORDS.contains(&word.to_ascii_uppercase().as_str()));
    let sized = size.split(',').count() <= 2
        && size.split(',').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if known && sized && !words.trim().is_empty() {
        return format!(" {declared}");
    }
    format!(" {}", quote(declared))
}

#[cfg(test)]
mod tests {
    use super::declared;

    #[test]
    fn a_type_is_raw_only_when_nothing_can_hide_in_it() {
        for plain in ["TEXT", "varchar(255)", "DECIMAL(10,2)", "double precision"] {
            assert_eq!(declared(plain), format!(" {plain}"));
        }
        assert_eq!(declared("TEXT NOT NULL"), " \"TEXT NOT NULL\"");
        assert_eq!(declared("TEXT(1) CHECK (0)"), " \"TEXT(1) CHECK (0)\"");
        assert_eq!(declared("my \"type"), " \"my \"\"type\"");
        assert_eq!(declared("(3)"), " \"(3)\"");
        assert_eq!(declared(""), "");
        assert_eq!(declared("any"), "");
    }
}
