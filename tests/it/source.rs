//! The SQLite source: exact rows, resumable reads, and writers that feel nothing.

mod refusals;

use std::path::PathBuf;
use std::sync::Arc;

use crossfade::mapping::{KeyText, Mapping, Rows, Table, Value};
use crossfade::port::legacy_source::{Cursor, LegacySource, Snapshot};
use crossfade::sqlite::source::SqliteSource;
use rusqlite::Connection;
use tempfile::TempDir;

/// A legacy store in a folder of its own, with its writer still open.
struct Legacy {
    folder: TempDir,
    writer: Connection,
}

impl Legacy {
    fn new(sql: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let writer = Connection::open(folder.path().join("legacy.db")).unwrap();
        writer.execute_batch("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = OFF").unwrap();
        writer.execute_batch(sql).unwrap();
        Self { folder, writer }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("legacy.db")
    }

    fn source(&self, mapping: &Arc<Mapping>) -> SqliteSource {
        let source = SqliteSource::open(self.path(), Arc::clone(mapping), false).unwrap();
        source.check().unwrap();
        source
    }
}

/// A mapping of one topic with these tables.
fn mapping(tables: &str) -> Arc<Mapping> {
    let text = format!("version: 1\ntopics: {{rows: {{partitions: 6}}}}\ntables:\n{tables}");
    Arc::new(Mapping::parse("test.yaml", &text).unwrap())
}

fn no_tables() -> Arc<Mapping> {
    Arc::new(Mapping::parse("test.yaml", "version: 1\ntopics: {}\ntables: {}\n").unwrap())
}

fn read_from(snapshot: &mut dyn Snapshot, table: &Table, cursor: &mut Cursor, max_rows: usize) -> Rows {
    let (mut all, mut chunk) = (Rows::new(table.width()), Rows::default());
    loop {
        snapshot.read(table, cursor, max_rows, &mut chunk).unwrap();
        if chunk.is_empty() {
            return all;
        }
        assert!(chunk.len() <= max_rows);
        chunk.iter().for_each(|row| all.push_row(row));
    }
}

fn read_all(source: &SqliteSource, table: &Table, max_rows: usize) -> Rows {
    let mut snapshot = source.snapshot().unwrap();
    let rows = read_from(snapshot.as_mut(), table, &mut Cursor::default(), max_rows);
    assert_eq!(snapshot.count(table).unwrap(), rows.len() as u64);
    rows
}

fn images(rows: &Rows) -> Vec<Vec<u8>> {
    let image = |index| {
        let mut bytes = Vec::new();
        rows.row(index).values().for_each(|value| value.write_image(&mut bytes));
        bytes
    };
    (0..rows.len()).map(image).collect()
}

fn keys(table: &Table, rows: &Rows) -> Vec<Option<String>> {
    let mut key = KeyText::default();
    rows.iter().map(|row| key.write(table, row).map(|key| String::from_utf8_lossy(key).into_owned())).collect()
}

#[test]
fn values_come_as_stored() {
    let legacy = Legacy::new(
        "CREATE TABLE odd (id INTEGER PRIMARY KEY, \"select\" REAL, \"a \"\"b\"\"\" TEXT, \"größe\" INTEGER, any);
         INSERT INTO odd VALUES (1, 'abc', CAST(x'61006200' AS TEXT), 9223372036854775807, NULL);
         INSERT INTO odd VALUES (2, 9e999, CAST(x'ff61fe' AS TEXT), 3000000000000.5, x'00ff');
         INSERT INTO odd VALUES (-7, -9e999, '', -9223372036854775808, 0);
         INSERT INTO odd VALUES (9223372036854775807, 1, NULL, 'text', x'');",
    );
    let mapping = mapping(
        "  odd:\n    topic: rows\n    identity: [id]\n    columns: {id: INTEGER, select: REAL, 'a \"b\"': TEXT, größe: INTEGER, any: ''}\n",
    );
    let rows = read_all(&legacy.source(&mapping), &mapping.tables[0], 2);
    let expected: [[Value<'_>; 5]; 4] = [
        [
            Value::Integer(-7),
            Value::Real(f64::NEG_INFINITY),
            Value::text(""),
            Value::Integer(i64::MIN),
            Value::Integer(0),
        ],
        [Value::Integer(1), Value::text("abc"), Value::Text(b"a\0b\0"), Value::Integer(i64::MAX), Value::Null],
        [
            Value::Integer(2),
            Value::Real(f64::INFINITY),
            Value::Text(b"\xffa\xfe"),
            Value::Real(3_000_000_000_000.5),
            Value::Blob(b"\0\xff"),
        ],
        [Value::Integer(i64::MAX), Value::Real(1.0), Value::Null, Value::text("text"), Value::Blob(b"")],
    ];
    assert_eq!(rows.len(), 4);
    for (row, expected) in rows.iter().zip(expected) {
        assert_eq!(row.values().collect::<Vec<_>>(), expected);
    }
}

#[test]
fn reads_resume_after_any_row_of_any_key() {
    let legacy = Legacy::new(
        "CREATE TABLE plain (a TEXT, b);
         CREATE TABLE nocase (a TEXT COLLATE NOCASE PRIMARY KEY, b) WITHOUT ROWID;
         CREATE TABLE mixed (a TEXT, b INTEGER, c, PRIMARY KEY (a COLLATE NOCASE DESC, b, c DESC)) WITHOUT ROWID;
         CREATE TABLE taken (rowid TEXT, _rowid_ TEXT, oid TEXT, k TEXT, l REAL, PRIMARY KEY (k DESC, l));
         CREATE TABLE alias (rowid TEXT, _rowid_ TEXT, oid TEXT, id INTEGER PRIMARY KEY);
         CREATE TABLE strict (k ANY PRIMARY KEY, v INT) STRICT, WITHOUT ROWID;",
    );
    let words = ["b", "A", "a b", "ä", "c", "B c", "Zz", "z", "", "10", "9"];
    for (number, word) in words.iter().enumerate() {
        let writer = &legacy.writer;
        writer.execute("INSERT INTO plain VALUES (?1, ?2)", (word, number as i64)).unwrap();
        writer.execute("INSERT INTO nocase VALUES (?1, ?2)", (word, number as i64)).unwrap();
        writer.execute("INSERT INTO alias VALUES ('r', 'r', 'r', ?1)", [number as i64 * 7 - 20]).unwrap();
        writer.execute("INSERT INTO strict VALUES (?1, 1)", [word]).unwrap();
        writer.execute("INSERT INTO strict VALUES (?1, 2)", [number as i64]).unwrap();
        writer.execute("INSERT INTO strict VALUES (?1, 3)", [number as f64 + 0.5]).unwrap();
        writer.execute("INSERT INTO strict VALUES (?1, 4)", [word.as_bytes()]).unwrap();
        for count in 0..3i64 {
            let sql = "INSERT INTO taken VALUES ('r', 'r', 'r', ?1, ?2)";
            writer.execute(sql, (word, count as f64 / 10.0)).unwrap();
            writer.execute("INSERT INTO mixed VALUES (?1, ?2, ?3)", (word, count, word)).unwrap();
            writer.execute("INSERT INTO mixed VALUES (?1, ?2, ?3)", (word, count, 0.1)).unwrap();
            writer.execute("INSERT INTO mixed VALUES (?1, ?2, x'00')", (word, count)).unwrap();
        }
    }
    let taken = "rowid: TEXT, _rowid_: TEXT, oid: TEXT";
    let mapping = mapping(&format!(
        "  plain:  {{topic: rows, rowid: oid, columns: {{a: TEXT, b: ''}}}}
  nocase: {{topic: rows, identity: [a], columns: {{a: TEXT, b: ''}}}}
  mixed:  {{topic: rows, identity: [a, b, c], columns: {{a: TEXT, b: INTEGER, c: ''}}}}
  taken:  {{topic: rows, identity: [k, l], columns: {{{taken}, k: TEXT, l: REAL}}}}
  alias:  {{topic: rows, identity: [id], columns: {{{taken}, id: INTEGER}}}}
  strict: {{topic: rows, identity: [k], columns: {{k: BLOB, v: INT}}}}
"
    ));
    let source = legacy.source(&mapping);
    for table in &mapping.tables {
        let whole = images(&read_all(&source, table, 1000));
        let count = usize::try_from(source.snapshot().unwrap().count(table).unwrap()).unwrap();
        assert_eq!(whole.len(), count);
        assert!(count >= words.len());
        let mut distinct = whole.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), count, "{}", table.name);
        for step in [1, 2, 5] {
            assert_eq!(images(&read_all(&source, table, step)), whole, "{}", table.name);
        }
        for at in 1..=count {
            let mut cursor = Cursor::default();
            source.snapshot().unwrap().read(table, &mut cursor, at, &mut Rows::default()).unwrap();
            let saved = serde_json::to_string(&cursor).unwrap();
            let mut cursor: Cursor = serde_json::from_str(&saved).unwrap();
            let rest = read_from(source.snapshot().unwrap().as_mut(), table, &mut cursor, 4);
            assert_eq!(images(&rest), whole[at..], "{} after {at}", table.name);
        }
    }
}

#[test]
fn chunks_end_at_a_mebibyte() {
    let legacy = Legacy::new(
        "CREATE TABLE big (id INTEGER PRIMARY KEY, c);
         WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 40)
         INSERT INTO big SELECT i, zeroblob(iif(i = 1, 3000000, 100000)) FROM n;",
    );
    let mapping = mapping("  big: {topic: rows, identity: [id], columns: {id: INTEGER, c: ''}}\n");
    let source = legacy.source(&mapping);
    let (mut snapshot, mut cursor, mut rows) = (source.snapshot().unwrap(), Cursor::default(), Rows::default());
    let mut sizes = Vec::new();
    loop {
        snapshot.read(&mapping.tables[0], &mut cursor, 1000, &mut rows).unwrap();
        if rows.is_empty() {
            break;
        }
        sizes.push(rows.len());
    }
    assert_eq!(sizes, [1, 11, 11, 11, 6]);
}

#[test]
fn writers_feel_nothing_and_a_snapshot_stays_as_it_was() {
    let legacy = Legacy::new(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, c);
         WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) INSERT INTO t SELECT i, 'old' FROM n;",
    );
    legacy.writer.busy_timeout(std::time::Duration::ZERO).unwrap();
    let mapping = mapping("  t: {topic: rows, identity: [id], columns: {id: INTEGER, c: ''}}\n");
    let table = &mapping.tables[0];
    let source = legacy.source(&mapping);
    let (mut snapshot, mut cursor, mut rows) = (source.snapshot().unwrap(), Cursor::default(), Rows::default());
    let mut seen = 0;
    for round in 0i64.. {
        let writer = &legacy.writer;
        writer.execute_batch("BEGIN IMMEDIATE").unwrap();
        writer.execute("UPDATE t SET c = ?1", [round]).unwrap();
        writer.execute("INSERT INTO t VALUES (NULL, 'new')", []).unwrap();
        writer.execute("DELETE FROM t WHERE id = ?1", [1 + round * 7]).unwrap();
        writer.execute_batch("COMMIT").unwrap();
        let busy: i64 = writer.query_row("PRAGMA wal_checkpoint", [], |row| row.get(0)).unwrap();
        assert_eq!(busy, 0);
        snapshot.read(table, &mut cursor, 100, &mut rows).unwrap();
        if rows.is_empty() {
            break;
        }
        assert!(rows.iter().all(|row| row.get(1) == Value::text("old")));
        seen += rows.len();
    }
    assert_eq!(seen, 1000);
    assert!(source.retained_bytes() > 0);
    drop(snapshot);
    let now = read_all(&source, table, 5000);
    assert!(now.iter().all(|row| row.get(1) != Value::text("old")));
    let checkpointed: i64 = legacy.writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
    assert_eq!(checkpointed, 0);
    assert_eq!(source.retained_bytes(), 0);
}

#[test]
fn a_source_writes_nothing() {
    let legacy = Legacy::new("CREATE TABLE t (id INTEGER PRIMARY KEY)");
    let mapping = mapping("  t: {topic: rows, identity: [id], columns: {id: INTEGER}}\n");
    let Legacy { folder, writer } = legacy;
    drop(writer);
    let path = folder.path().join("legacy.db");
    let before = std::fs::read(&path).unwrap();
    let source = SqliteSource::open(&path, Arc::clone(&mapping), false).unwrap();
    read_all(&source, &mapping.tables[0], 10);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let missing = folder.path().join("missing.db");
    assert!(SqliteSource::open(&missing, mapping, false).is_err());
    assert!(!missing.exists());
}

#[test]
fn the_key_of_a_parent_row_is_taken_over() {
    let legacy = Legacy::new(
        "CREATE TABLE root (id TEXT COLLATE NOCASE PRIMARY KEY);
         CREATE TABLE one (a INTEGER, b TEXT, root TEXT, PRIMARY KEY (a, b));
         CREATE TABLE two (id INTEGER PRIMARY KEY, a, b);
         CREATE TABLE three (c, two TEXT);
         INSERT INTO root VALUES ('R'), ('S');
         INSERT INTO one VALUES (1, 'x', 'r'), (2, 'x', 'gone'), (3, 'x', NULL);
         INSERT INTO two VALUES (10, '1', 'x'), (20, 2.0, 'x'), (30, 3, 'x'), (40, 9, 'x'), (50, NULL, 'x');
         INSERT INTO three VALUES ('t', '10'), ('t', '20'), ('t', '030'), ('t', '40'), ('t', '50'), ('t', '60'), ('t', NULL);",
    );
    let mapping = mapping(
        "  root: {topic: rows, identity: [id], columns: {id: TEXT}}
  one:
    topic: rows
    identity: [a, b]
    through: {columns: [root], parent: root, referenced: [id]}
    columns: {a: INTEGER, b: TEXT, root: TEXT}
  two:
    topic: rows
    identity: [id]
    through: {columns: [b, a], parent: one, referenced: [b, a]}
    columns: {id: INTEGER, a: '', b: ''}
  three:
    topic: rows
    rowid: rowid
    through: {columns: [two], parent: two, referenced: [id]}
    columns: {c: '', two: TEXT}
",
    );
    let source = legacy.source(&mapping);
    let keys_of = |name: &str| {
        let table = mapping.table(name).unwrap();
        keys(table, &read_all(&source, table, 3)).into_iter().map(Option::unwrap).collect::<Vec<_>>()
    };
    assert_eq!(keys_of("one"), ["R", r#"["2","x"]"#, r#"["3","x"]"#]);
    assert_eq!(keys_of("two"), ["R", r#"["2","x"]"#, r#"["3","x"]"#, "40", "50"]);
    assert_eq!(keys_of("three"), ["R", r#"["2","x"]"#, r#"["3","x"]"#, "40", "50", "6", "7"]);
}

#[test]
fn a_key_by_columns_of_the_parent_falls_back_as_the_parent_does() {
    let legacy = Legacy::new(
        "CREATE TABLE parent (id INTEGER PRIMARY KEY, owner REAL);
         CREATE TABLE child (id TEXT PRIMARY KEY, parent INTEGER);
         INSERT INTO parent VALUES (1, 5.0), (2, NULL), (3, x'00');
         INSERT INTO child VALUES ('a', 1), ('b', 2), ('c', 3), ('d', 4);",
    );
    let mapping = mapping(
        "  parent: {topic: rows, identity: [id], key: [owner], columns: {id: INTEGER, owner: REAL}}
  child:
    topic: rows
    identity: [id]
    through: {columns: [parent], parent: parent, referenced: [id]}
    columns: {id: TEXT, parent: INTEGER}
",
    );
    let source = legacy.source(&mapping);
    let [parent, child] = [0, 1].map(|index| {
        let table = &mapping.tables[index];
        keys(table, &read_all(&source, table, 10))
    });
    assert_eq!(parent, [Some("5".into()), Some("2".into()), None]);
    assert_eq!(child, [Some("5".into()), Some("2".into()), None, Some("d".into())]);
}
