//! Whether two SQLite files hold the same rows, judged by the `sqlite3` command alone.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// A table to compare.
#[derive(Clone, Copy, Debug)]
pub struct Same<'a> {
    pub table: &'a str,
    /// Has a unique key. Rows of a table without one are compared with their counts.
    pub keyed: bool,
    /// Columns left out of the projection on purpose.
    pub never: &'a [&'a str],
}

impl<'a> Same<'a> {
    pub const fn keyed(table: &'a str) -> Self {
        Self { table, keyed: true, never: &[] }
    }

    pub const fn keyless(table: &'a str) -> Self {
        Self { table, keyed: false, never: &[] }
    }

    pub const fn without(self, never: &'a [&'a str]) -> Self {
        Self { never, ..self }
    }
}

/// Fails unless both files hold the same rows in these tables, value for value and type for type; gives the number of
/// rows in each.
pub fn assert_same_rows(legacy: &Path, projection: &Path, tables: &[Same<'_>]) -> Vec<u64> {
    let found = differences(legacy, projection, tables);
    assert!(found.is_empty(), "the rows differ:\n{}", found.join("\n"));
    let queries = tables.iter().map(|same| format!("SELECT count(*) FROM legacy.{};\n", quoted(same.table)));
    let counts = sqlite3(legacy, projection, &queries.collect::<String>());
    counts.lines().map(|count| count.parse().unwrap()).collect()
}

/// What differs, a few samples per table; empty when nothing does.
pub fn differences(legacy: &Path, projection: &Path, tables: &[Same<'_>]) -> Vec<String> {
    assert!(!tables.is_empty(), "nothing to compare");
    tables.iter().flat_map(|same| table_differences(legacy, projection, same)).collect()
}

fn table_differences(legacy: &Path, projection: &Path, same: &Same<'_>) -> Vec<String> {
    let table = quoted(same.table);
    let columns = columns(legacy, projection, "legacy", same.table);
    let projected = self::columns(legacy, projection, "projection", same.table);
    let compared: Vec<_> = columns.iter().filter(|column| !same.never.contains(&column.as_str())).collect();
    assert!(!compared.is_empty(), "no columns of {table} to compare");
    if let Some(column) = compared.iter().find(|column| !projected.contains(column)) {
        return vec![format!("{table}: the projection has no column {column}")];
    }
    let strangers = projected.iter().filter(|column| !column.starts_with("_cf_") && !compared.contains(column));
    let mut found: Vec<String> = strangers
        .filter(|column| !["rowid", "_rowid_", "oid"].contains(&column.as_str()))
        .map(|column| format!("{table}: the projection has the column {column}"))
        .collect();

    // `quote` alone stops at NUL, and a cast of a real to text rounds.
    let exact: Vec<_> = compared
        .iter()
        .map(|column| {
            let c = quoted(column);
            format!(
                "typeof({c}) || ' ' || CASE typeof({c}) WHEN 'real' THEN quote({c}) \
                     ELSE coalesce(hex(CAST({c} AS BLOB)), '') END"
            )
        })
        .collect();
    let places: Vec<_> = (1..=exact.len()).map(|place| place.to_string()).collect();
    // EXCEPT alone swallows duplicates.
    let (count, group) =
        if same.keyed { (String::new(), String::new()) } else { (", count(*)".into(), places.join(", ")) };
    let group = if same.keyed { group } else { format!(" GROUP BY {group}") };
    let rows = |side: &str| format!("SELECT {}{count} FROM {side}.{table}{group}", exact.join(", "));
    let only = |this: &str, other: &str| {
        format!(
            "SELECT '{this} only', * FROM (SELECT * FROM ({}) EXCEPT SELECT * FROM ({}) LIMIT 3);\n",
            rows(this),
            rows(other)
        )
    };
    let counts = format!(
        "SELECT 'count(*)', l, p FROM (SELECT (SELECT count(*) FROM legacy.{table}) AS l, \
         (SELECT count(*) FROM projection.{table}) AS p) WHERE l <> p;\n"
    );
    let sql = counts + &only("legacy", "projection") + &only("projection", "legacy");
    found.extend(sqlite3(legacy, projection, &sql).lines().map(|line| format!("{table}: {line:.2000}")));
    found
}

fn columns(legacy: &Path, projection: &Path, side: &str, table: &str) -> Vec<String> {
    // As hex, because a name may hold a line break.
    let sql = format!("SELECT hex(name) FROM pragma_table_xinfo('{}', '{side}');\n", table.replace('\'', "''"));
    let names: Vec<_> = sqlite3(legacy, projection, &sql).lines().map(unhex).collect();
    assert!(!names.is_empty(), "the {side} file has no table {table}");
    names
}

fn unhex(hex: &str) -> String {
    let bytes = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap());
    String::from_utf8(bytes.collect()).unwrap()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Runs a script over both files, opened read only as `legacy` and `projection`.
fn sqlite3(legacy: &Path, projection: &Path, sql: &str) -> String {
    let uri = |path: &Path| {
        let path = path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = path.to_str().unwrap().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
        format!("'file:{}?mode=ro'", path.replace('\'', "''"))
    };
    let script = format!("ATTACH {} AS legacy;\nATTACH {} AS projection;\n{sql}", uri(legacy), uri(projection));
    let mut child = Command::new("sqlite3")
        .args(["-batch", "-bail", "-noheader", "-init", "/dev/null", "file::memory:"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the sqlite3 command, which judges these tests");
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaint.is_empty(), "sqlite3: {complaint}\n{sql}");
    String::from_utf8(output.stdout).unwrap()
}
