//! What a SQLite database says of its tables.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, Result};

use super::error::{explain, open_read_only};
use super::outbox::KEPT;
use super::plan::{KeyColumn, quote};
use crate::mapping::init::{ColumnSchema, ForeignKey, Schema, TableSchema, Unreadable};

/// Names of the row number, unless a column has taken them.
const ROWID_NAMES: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// Describes the tables of a file, read only, whatever its journal mode.
pub fn describe(path: &Path) -> crate::base::Result<Schema> {
    let connection = open_read_only(path)?;
    schema(&connection).map_err(|error| explain(path, error))
}

/// Describes the tables in the order they were made. Internal tables, those behind virtual ones and outboxes are left out.
pub(super) fn schema(connection: &Connection) -> Result<Schema> {
    let mut found = Schema::default();
    let mut statement = connection.prepare(
        "SELECT s.name, s.type, s.sql LIKE 'create virtual%', l.type, l.wr, l.strict \
         FROM sqlite_schema AS s LEFT JOIN pragma_table_list AS l ON l.schema = 'main' AND l.name = s.name \
         WHERE s.type IN ('table', 'view') AND s.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY s.rowid",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let (kind, is_virtual): (String, bool) = (row.get(1)?, row.get(2)?);
        let listed: Option<String> = row.get(3)?;
        if name.starts_with(KEPT) {
            continue;
        }
        match (kind.as_str(), is_virtual, listed.as_deref()) {
            ("view", ..) => found.views.push(name),
            (_, true, _) => {
                found.unreadable.push(Unreadable { table: name, why: "it is a virtual table".to_owned() });
            }
            (_, _, Some("shadow")) => {}
            _ => {
                let table = table(connection, name, row.get(4)?, row.get(5)?)?;
                match obstacle(connection, &table)? {
                    None => found.tables.push(table),
                    Some(why) => found.unreadable.push(Unreadable { table: table.name, why }),
                }
            }
        }
    }
    let referenced: Vec<Vec<Vec<String>>> =
        found.tables.iter().map(|table| unique_columns(connection, table)).collect::<Result<_>>()?;
    for index in 0..found.tables.len() {
        let keys = foreign_keys(connection, &found, &found.tables[index], &referenced)?;
        found.notes.extend(keys.notes);
        found.tables[index].foreign_keys = keys.usable;
    }
    Ok(found)
}

fn table(connection: &Connection, name: String, without_rowid: bool, strict: bool) -> Result<TableSchema> {
    let mut statement = connection
        .prepare("SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?1, 'main') ORDER BY cid")?;
    let mut rows = statement.query([&name])?;
    let mut columns = Vec::new();
    let mut key = Vec::new();
    while let Some(row) = rows.next()? {
        let column: String = row.get(0)?;
        let place: i64 = row.get(3)?;
        let collation = connection.column_metadata(Some("main"), name.as_str(), column.as_str())?.1;
        if place > 0 {
            key.push((place, column.clone()));
        }
        columns.push(ColumnSchema {
            declared: row.get(1)?,
            not_null: row.get::<_, bool>(2)? || (without_rowid && place > 0),
            generated: row.get::<_, i64>(4)? >= 2,
            collation: collation.map_or_else(|| "BINARY".into(), |name| name.to_string_lossy().into_owned()),
            name: column,
        });
    }
    key.sort();
    let key: Vec<String> = key.into_iter().map(|(_, column)| column).collect();
    let taken = |word: &&&str| !columns.iter().any(|column| column.name.eq_ignore_ascii_case(word));
    let rowid = ROWID_NAMES.iter().find(taken).filter(|_| !without_rowid).map(|word| (*word).to_owned());
    // An integer primary key is the row number, which is never null.
    if !without_rowid && key.len() == 1 && primary_index(connection, &name)?.is_empty() {
        for column in columns.iter_mut().filter(|column| column.name == key[0]) {
            column.not_null = true;
        }
    }
    Ok(TableSchema { name, columns, key, rowid, without_rowid, strict, foreign_keys: Vec::new() })
}

/// What only the store's own program could do for a read of this table: compute a column, or order its key.
fn obstacle(connection: &Connection, table: &TableSchema) -> Result<Option<String>> {
    if let Err(error) = connection.prepare(&format!("SELECT * FROM {}", quote(&table.name))) {
        return match error.sqlite_error_code() {
            Some(ErrorCode::Unknown) => Ok(Some(format!("SQLite alone cannot read it: {error}"))),
            _ => Err(error),
        };
    }
    if table.rowid.is_some() {
        return Ok(None);
    }
    for column in primary_index(connection, &table.name)? {
        if !knows(&column.collation) {
            return Ok(Some(format!("its key is in the order of '{}', which is not SQLite's own", column.collation)));
        }
    }
    Ok(None)
}

/// Whether a collation is SQLite's own. Its list of collations also has those that a schema merely names.
fn knows(collation: &str) -> bool {
    ["BINARY", "NOCASE", "RTRIM"].iter().any(|own| own.eq_ignore_ascii_case(collation))
}

/// The primary key as its index has it; empty when the key is the row number, or there is none.
pub(super) fn primary_index(connection: &Connection, table: &str) -> Result<Vec<KeyColumn>> {
    let mut statement = connection.prepare(
        "SELECT x.name, x.coll, x.\"desc\" FROM pragma_index_list(?1, 'main') AS i \
         JOIN pragma_index_xinfo(i.name, 'main') AS x WHERE i.origin = 'pk' AND x.key ORDER BY x.seqno",
    )?;
    let columns = statement.query_map([table], |row| {
        Ok(KeyColumn { name: row.get(0)?, collation: row.get(1)?, descending: row.get(2)? })
    })?;
    columns.collect()
}

/// Each set of columns a foreign key may reference: those of whole unique indexes by the columns' own collations, which
/// must be SQLite's own.
pub(super) fn unique_columns(connection: &Connection, table: &TableSchema) -> Result<Vec<Vec<String>>> {
    let mut statement = connection
        .prepare("SELECT name FROM pragma_index_list(?1, 'main') WHERE \"unique\" AND NOT partial ORDER BY seq")?;
    let indexes: Vec<String> = statement.query_map([&table.name], |row| row.get(0))?.collect::<Result<_>>()?;
    let mut statement =
        connection.prepare("SELECT name, coll FROM pragma_index_xinfo(?1, 'main') WHERE key ORDER BY seqno")?;
    let mut sets = Vec::new();
    // A key without an index of its own is the row number.
    if table.key.len() == 1 && primary_index(connection, &table.name)?.is_empty() {
        sets.push(table.key.clone());
    }
    for index in indexes {
        let columns = statement.query_map([&index], |row| {
            let (name, collation): (Option<String>, String) = (row.get(0)?, row.get(1)?);
            let column = name.and_then(|name| table.column(&name));
            let own = column.filter(|column| knows(&collation) && column.collation.eq_ignore_ascii_case(&collation));
            Ok(own.map(|column| column.name.clone()))
        })?;
        sets.extend(columns.collect::<Result<Option<Vec<String>>>>()?);
    }
    Ok(sets)
}

/// A foreign key as written.
struct Declared {
    id: i64,
    target: String,
    from: Vec<String>,
    to: Vec<Option<String>>,
}

struct ForeignKeys {
    usable: Vec<ForeignKey>,
    notes: Vec<String>,
}

/// The foreign keys SQLite itself could enforce, in the order declared; a note on each other one.
fn foreign_keys(
    connection: &Connection,
    schema: &Schema,
    table: &TableSchema,
    referenced: &[Vec<Vec<String>>],
) -> Result<ForeignKeys> {
    // The list numbers them backwards.
    let mut statement = connection.prepare(
        "SELECT id, \"table\", \"from\", \"to\" FROM pragma_foreign_key_list(?1, 'main') ORDER BY id DESC, seq",
    )?;
    let mut rows = statement.query([&table.name])?;
    let mut declared: Vec<Declared> = Vec::new();
    while let Some(row) = rows.next()? {
        let id = row.get(0)?;
        if declared.last().is_none_or(|last| last.id != id) {
            declared.push(Declared { id, target: row.get(1)?, from: Vec::new(), to: Vec::new() });
        }
        if let Some(last) = declared.last_mut() {
            last.from.push(row.get(2)?);
            last.to.push(row.get(3)?);
        }
    }
    let mut keys = ForeignKeys { usable: Vec::new(), notes: Vec::new() };
    for declared in declared {
        match resolve(schema, table, &declared, referenced) {
            Ok(key) => keys.usable.push(key),
            Err(why) => keys.notes.push(format!(
                "a foreign key of table '{}' to '{}' is left out of account: {why}",
                table.name, declared.target
            )),
        }
    }
    Ok(keys)
}

fn resolve(
    schema: &Schema,
    table: &TableSchema,
    declared: &Declared,
    referenced: &[Vec<Vec<String>>],
) -> std::result::Result<ForeignKey, &'static str> {
    let place = schema.tables.iter().position(|parent| parent.name.eq_ignore_ascii_case(&declared.target));
    let place = place.ok_or("there is no such table")?;
    let parent = &schema.tables[place];
    let named: Option<Vec<&str>> = declared.to.iter().map(Option::as_deref).collect();
    let named = named.unwrap_or_else(|| parent.key.iter().map(String::as_str).collect());
    let real = |table: &TableSchema, name: &str| table.column(name).map(|column| column.name.clone());
    let columns: Option<Vec<String>> = declared.from.iter().map(|name| real(table, name)).collect();
    let named: Option<Vec<String>> = named.iter().map(|name| real(parent, name)).collect();
    let (columns, named) = columns.zip(named).ok_or("it names columns that do not exist")?;
    if columns.len() != named.len() {
        return Err("it has another number of columns");
    }
    let unique = |set: &Vec<String>| set.len() == named.len() && named.iter().all(|name| set.contains(name));
    if !referenced[place].iter().any(unique) {
        return Err("what it references is no unique key that SQLite alone could look up");
    }
    Ok(ForeignKey { columns, parent: parent.name.clone(), referenced: named, by_value: false })
}
