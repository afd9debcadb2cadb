//! What the source refuses, and how it says so.

use std::path::Path;
use std::sync::Arc;

use crossfade::base::{Error, Kind};
use crossfade::mapping::Mapping;
use crossfade::mapping::init::init;
use crossfade::port::legacy_source::LegacySource;
use crossfade::sqlite::introspect::describe;
use crossfade::sqlite::source::{SqliteSource, Unmapped};
use rusqlite::Connection;

use super::{Legacy, mapping, no_tables, read_all};

fn refusal(path: &Path, mapping: &Arc<Mapping>) -> Error {
    match SqliteSource::open(path, Arc::clone(mapping), false).and_then(|source| source.check()) {
        Err(error) => error,
        Ok(_) => panic!("{} was accepted", path.display()),
    }
}

#[test]
fn files_that_cannot_be_read_are_named_with_what_would_help() {
    let folder = tempfile::tempdir().unwrap();
    let mapping = no_tables();
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).unwrap();
        folder.path().join(name)
    };
    let encrypted: Vec<u8> = (0..8192u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let cases = [
        (folder.path().join("none.db"), Kind::Connect, "there is no file"),
        (folder.path().to_owned(), Kind::Connect, "is a folder"),
        (
            file(
                "text.db",
                b"just some text, and enough of it to be longer than a header of SQLite, which is 100 bytes long",
            ),
            Kind::Connect,
            "not a SQLite database",
        ),
        (file("short.db", b"short"), Kind::Connect, "not a SQLite database"),
        (file("encrypted.db", &encrypted), Kind::Connect, "or it is encrypted"),
        (file("empty.db", b""), Kind::Connect, "is empty"),
    ];
    for (path, kind, words) in cases {
        let error = refusal(&path, &mapping);
        assert_eq!(error.kind(), kind, "{error}");
        let named = error.message().contains(&path.display().to_string());
        assert!(named && error.message().contains(words) && error.help().is_some(), "{error}");
    }
}

#[test]
fn a_locked_file_is_said_to_be_locked() {
    let legacy = Legacy::new("CREATE TABLE t (c)");
    legacy.writer.execute_batch("PRAGMA locking_mode = EXCLUSIVE; INSERT INTO t VALUES (1)").unwrap();
    let error = refusal(&legacy.path(), &no_tables());
    assert_eq!(error.kind(), Kind::Connect);
    assert!(error.message().contains("locked") && error.help().unwrap().contains("stop it"), "{error}");
}

#[test]
fn journal_modes_in_which_readers_block_writers_are_refused() {
    let legacy = Legacy::new("CREATE TABLE t (c); PRAGMA journal_mode = DELETE");
    let error = refusal(&legacy.path(), &no_tables());
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.message().contains("journal mode delete"), "{error}");
    assert!(error.help().unwrap().contains("--legacy-stopped"));
    let stopped = SqliteSource::open(legacy.path(), no_tables(), true).unwrap();
    assert_eq!(stopped.check().unwrap(), [Unmapped { table: "t".into(), why: None }]);
}

#[test]
fn odd_file_names_open() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    for name in [&b"a b?c#d%41.db"[..], b"\xff\xfe.db", "größe&mode=rwc.db".as_bytes()] {
        let path = folder.path().join(std::ffi::OsStr::from_bytes(name));
        let plain = folder.path().join("plain.db");
        Connection::open(&plain).unwrap().execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (c)").unwrap();
        std::fs::rename(&plain, &path).unwrap();
        let source = SqliteSource::open(&path, no_tables(), false).unwrap();
        assert_eq!(source.snapshot().unwrap().tables().unwrap(), ["t"]);
    }
}

#[test]
fn a_mapping_the_store_does_not_fit_is_refused() {
    let legacy = Legacy::new(
        "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, secret TEXT, twice AS (id * 2));
         CREATE TABLE Other (id TEXT PRIMARY KEY) WITHOUT ROWID;
         CREATE VIEW everyone AS SELECT * FROM users;
         CREATE VIRTUAL TABLE words USING fts5(word);",
    );
    let whole = "{topic: rows, identity: [id], never: [Secret], columns: {id: INTEGER, name: TEXT, twice: ''}}";
    let cases = [
        ("user: {topic: rows, identity: [id], columns: {id: ''}}", "no table 'user'", "did you mean 'users'?"),
        ("everyone: {topic: rows, identity: [id], columns: {id: ''}}", "is a view", "map the tables"),
        ("words: {topic: rows, rowid: rowid, columns: {word: ''}}", "a virtual table", ""),
        ("users: {topic: rows, identity: [id], columns: {id: '', nam: ''}}", "no column 'nam'", "did you mean 'name'?"),
        (
            "users: {topic: rows, identity: [id], columns: {id: '', name: '', secret: ''}}",
            "column 'twice' of table 'users' is neither mapped",
            "'never'",
        ),
        ("other: {topic: rows, rowid: rowid, columns: {id: ''}}", "the table has no row numbers", "'identity'"),
        (
            "other: {topic: rows, identity: [id], through: {columns: [id], parent: users, referenced: [nam]}, columns: {id: ''}}",
            "no column 'nam'",
            "did you mean 'name'?",
        ),
        (
            "other: {topic: rows, identity: [id], through: {columns: [id], parent: other, referenced: [id]}, columns: {id: ''}}",
            "goes through itself",
            "another parent",
        ),
    ];
    for (table, message, hint) in cases {
        let users = if table.starts_with("users") { String::new() } else { format!("  users: {whole}\n") };
        let error = refusal(&legacy.path(), &mapping(&format!("{users}  {table}\n")));
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert!(error.message().contains(message), "{error}");
        assert!(error.help().unwrap_or_default().contains(hint), "{:?}", error.help());
    }
    let source = SqliteSource::open(legacy.path(), mapping(&format!("  users: {whole}\n")), false).unwrap();
    let left_out = [
        Unmapped { table: "Other".into(), why: None },
        Unmapped { table: "words".into(), why: Some("it is a virtual table".into()) },
    ];
    assert_eq!(source.check().unwrap(), left_out);
    assert_eq!(source.snapshot().unwrap().tables().unwrap(), ["users", "Other"]);
}

#[test]
fn what_only_the_legacy_program_could_read_is_left_out() {
    let legacy = Legacy::new(
        "CREATE TABLE own (id TEXT COLLATE NOCASE PRIMARY KEY);
         CREATE TABLE sorted (id TEXT COLLATE NOCASE PRIMARY KEY) WITHOUT ROWID;
         CREATE TABLE computed (id TEXT PRIMARY KEY, c AS (upper(id)));
         CREATE TABLE child (id INTEGER PRIMARY KEY, own TEXT REFERENCES own);
         INSERT INTO own VALUES ('a');
         INSERT INTO child VALUES (1, 'a');
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(replace(sql, 'NOCASE', 'german'), 'upper(', 'german(');
         INSERT INTO sqlite_schema VALUES ('table', 'loaded', 'loaded', 0, 'CREATE VIRTUAL TABLE loaded USING german(a)');",
    );
    let (text, warnings) = init(&describe(&legacy.path()).unwrap(), "any");
    let mapping = Arc::new(Mapping::parse("mapping.yaml", &text).unwrap());
    let source = SqliteSource::open(legacy.path(), Arc::clone(&mapping), false).unwrap();
    let left_out: Vec<String> = source.check().unwrap().into_iter().map(|table| table.table).collect();
    assert_eq!(left_out, ["sorted", "computed", "loaded"]);
    for words in ["'sorted' cannot", "'computed' cannot", "'loaded' cannot", "'child' to 'own' is left out"] {
        assert!(warnings.iter().any(|warning| warning.contains(words)), "{warnings:?}");
    }
    for table in &mapping.tables {
        assert_eq!(read_all(&source, table, 10).len(), 1);
    }
}
