//! The generated store, the loaded dump, and the judge of sameness.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crossfade::demo::{self, Sizes};
use crossfade::{acc, base};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::support::acc::{Same, TABLES, assert_same_rows, build_store, differences, load_dump, shared};

const SMALL: Sizes = Sizes { sessions: 60, messages: 2_000, seed: 7 };

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn store(folder: &tempfile::TempDir, sizes: Sizes) -> PathBuf {
    let path = folder.path().join(format!("acc-{}-{}.db", sizes.seed, sizes.messages));
    build_store(&path, sizes);
    path
}

fn tables(store: &Connection) -> Vec<String> {
    let mut names = store.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").unwrap();
    names.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

fn count(store: &Connection, query: &str) -> i64 {
    store.query_row(query, (), |row| row.get(0)).unwrap_or_else(|error| panic!("{error} in {query}"))
}

/// BLAKE3 of all rows of all tables in stored order.
fn digest(path: &Path) -> String {
    let store = Connection::open(path).unwrap();
    let mut hasher = blake3::Hasher::new();
    for table in tables(&store) {
        let mut statement = store.prepare(&format!("SELECT * FROM {table} ORDER BY rowid")).unwrap();
        let width = statement.column_count();
        let mut rows = statement.query(()).unwrap();
        while let Some(row) = rows.next().unwrap() {
            for column in 0..width {
                let (class, bytes) = match row.get_ref(column).unwrap() {
                    ValueRef::Null => (0, Vec::new()),
                    ValueRef::Integer(number) => (1, number.to_be_bytes().to_vec()),
                    ValueRef::Real(number) => (2, number.to_bits().to_be_bytes().to_vec()),
                    ValueRef::Text(text) => (3, text.to_vec()),
                    ValueRef::Blob(bytes) => (4, bytes.to_vec()),
                };
                hasher.update(&[class]).update(&(bytes.len() as u64).to_be_bytes()).update(&bytes);
            }
        }
    }
    base::hex(hasher.finalize().as_bytes())
}

#[test]
fn the_same_seed_makes_the_same_rows_and_another_others() {
    let (first, second) = (scratch(), scratch());
    let one = digest(&store(&first, SMALL));
    assert_eq!(one, digest(&store(&second, SMALL)));
    assert_ne!(one, digest(&store(&second, Sizes { seed: 8, ..SMALL })));
}

#[test]
fn every_quirk_is_there_in_the_smallest_and_in_the_default_store() {
    let folder = scratch();
    for sizes in [Sizes::LEAST, SMALL, Sizes { seed: 3, ..Sizes::LEAST }, Sizes::default()] {
        let store = Connection::open(store(&folder, sizes)).unwrap();
        assert_eq!(count(&store, "SELECT count(*) FROM sessions"), sizes.sessions as i64);
        assert_eq!(count(&store, "SELECT count(*) FROM messages"), sizes.messages as i64);
        for (quirk, table, query) in demo::quirks() {
            assert!(count(&store, query) > 0, "quirk {quirk} is not in {table} of {sizes:?}: {query}");
        }
        for table in tables(&store) {
            assert!(count(&store, &format!("SELECT count(*) FROM {table}")) > 0, "{table} is empty");
        }
        let hash = "SELECT count(*) FROM users WHERE password_hash = ?1 AND length(password_hash) = 60";
        assert_eq!(store.query_row(hash, [demo::PASSWORD_HASH], |row| row.get::<_, i64>(0)), Ok(1));
        let token = "SELECT count(*) FROM user_sessions WHERE refresh_token = ?1";
        assert_eq!(store.query_row(token, [demo::REFRESH_TOKEN], |row| row.get::<_, i64>(0)), Ok(1));
    }
}

#[test]
fn a_store_without_room_for_the_quirks_is_refused() {
    for sizes in [Sizes { sessions: 31, ..Sizes::LEAST }, Sizes { messages: 0, ..Sizes::LEAST }] {
        let error = demo::rows(sizes, &mut |_, _, _| Ok(())).unwrap_err();
        assert_eq!(error.kind(), base::Kind::Refused);
    }
}

#[test]
fn an_error_of_the_taker_ends_the_generation() {
    let mut calls = 0;
    let error = demo::rows(SMALL, &mut |_, _, _| {
        calls += 1;
        Err(base::Error::full("no room left"))
    });
    assert_eq!(error.unwrap_err().kind(), base::Kind::Full);
    assert_eq!(calls, 1);
}

#[test]
fn the_schema_makes_every_table() {
    let store = Connection::open_in_memory().unwrap();
    store.execute_batch(demo::schema()).unwrap();
    assert_eq!(count(&store, "SELECT count(*) FROM sqlite_schema WHERE type = 'view'"), 4);
    assert_eq!(count(&store, "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'"), 6);
    for view in ["session_overview", "recent_activity", "user_overview", "session_activity_with_users"] {
        assert_eq!(count(&store, &format!("SELECT count(*) FROM {view}")), 0);
    }
}

#[test]
fn the_preset_maps_every_column_of_the_six_tables_and_knows_the_store() {
    let store = Connection::open_in_memory().unwrap();
    store.execute_batch(demo::schema()).unwrap();
    let columns_of = |table: &str| -> Vec<(String, String)> {
        let mut statement = store.prepare("SELECT name, type FROM pragma_table_xinfo(?1)").unwrap();
        statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    };
    let mapping = acc::mapping().unwrap();
    assert_eq!(mapping.tables.len(), 6);
    for table in &mapping.tables {
        let mapped: Vec<_> =
            table.columns.iter().map(|column| (column.name.clone(), column.declared.clone())).collect();
        assert_eq!(mapped, columns_of(&table.name), "{}", table.name);
    }
    let all = tables(&store);
    for table in &all {
        assert!(mapping.table(table).is_some() != mapping.never.contains(table), "{table}");
    }

    let mut found: BTreeMap<String, Vec<String>> = all
        .into_iter()
        .map(|table| (table.clone(), columns_of(&table).into_iter().map(|(name, _)| name).collect()))
        .collect();
    assert!(acc::recognises(&found));
    found.remove("agent_communications");
    assert!(!acc::recognises(&found));
    let other = [("sessions", "id"), ("messages", "id"), ("agent_communications", "id")];
    assert!(!acc::recognises(&other.iter().map(|(table, id)| (table.to_string(), vec![id.to_string()])).collect()));
}

#[test]
fn the_judge_finds_what_was_planted() {
    let folder = scratch();
    let legacy = store(&folder, SMALL);
    let projection = folder.path().join("projection.db");
    let prepare = "CREATE TABLE notes (a, b); INSERT INTO notes VALUES (1, 'x'), (1, 'x'), (1.0, 'x'), (NULL, x'00')";
    Connection::open(&legacy).unwrap().execute_batch(prepare).unwrap();
    let compared: Vec<_> = TABLES.into_iter().chain([Same::keyless("notes")]).collect();
    let copy = || {
        let _ = std::fs::remove_file(&projection);
        Connection::open(&legacy).unwrap().execute("VACUUM INTO ?1", [projection.to_str().unwrap()]).unwrap();
        let store = Connection::open(&projection).unwrap();
        store.execute_batch("ALTER TABLE messages ADD COLUMN _cf_offset INTEGER").unwrap();
        store
    };
    copy().close().unwrap();
    let counts = assert_same_rows(&legacy, &projection, &compared);
    assert_eq!((counts[0], counts[1], counts[6]), (60, 2_000, 4));

    let one = "rowid = (SELECT max(rowid) FROM messages)";
    let planted = [
        ("a value", format!("UPDATE messages SET content = content || ' ' WHERE {one}"), "\"messages\""),
        (
            "an empty text for null",
            "UPDATE messages SET tools_used = '' WHERE tools_used IS NULL".into(),
            "\"messages\"",
        ),
        ("zero for null", "UPDATE messages SET exit_code = 0 WHERE exit_code IS NULL".into(), "\"messages\""),
        ("text for a blob", "UPDATE messages SET content = '' WHERE content = x''".into(), "\"messages\""),
        (
            "a NUL tail",
            "UPDATE messages SET content = 'ends with' WHERE content = CAST(x'656e6473207769746800' AS TEXT)".into(),
            "\"messages\"",
        ),
        (
            "lossy UTF-8",
            "UPDATE messages SET content = replace(content, CAST(x'e9' AS TEXT), char(65533)) \
             WHERE content LIKE 'latin-1%'"
                .into(),
            "\"messages\"",
        ),
        (
            "a rounded integer",
            "UPDATE messages SET duration = 9007199254740992 \
             WHERE duration = 9007199254740993"
                .into(),
            "\"messages\"",
        ),
        ("the last bit of a real", "UPDATE messages SET cost = 0.3 WHERE cost = 0.1 + 0.2".into(), "\"messages\""),
        ("a missing row", format!("DELETE FROM messages WHERE {one}"), "\"messages\": count(*)|2000|1999"),
        (
            "an added row",
            "INSERT INTO sessions (id, initial_task, work_dir) VALUES ('new', '', '')".into(),
            "\"sessions\"",
        ),
        ("1.0 for 1", "UPDATE notes SET a = 1.0 WHERE rowid = 1".into(), "\"notes\""),
        ("a duplicate", "INSERT INTO notes VALUES (1.0, 'x')".into(), "\"notes\": count(*)|4|5"),
        ("another duplicate", "UPDATE notes SET (a, b) = (NULL, x'00') WHERE rowid = 1".into(), "\"notes\""),
        ("a column too many", "ALTER TABLE notes ADD COLUMN c".into(), "\"notes\": the projection has the column c"),
        ("a column too few", "ALTER TABLE notes DROP COLUMN b".into(), "\"notes\": the projection has no column b"),
    ];
    for (what, sql, expected) in planted {
        let store = copy();
        let before = store.total_changes();
        store.execute_batch(&sql).unwrap();
        assert!(sql.starts_with("ALTER") || store.total_changes() > before, "{what} changed nothing");
        store.close().unwrap();
        let found = differences(&legacy, &projection, &compared);
        assert!(found.first().is_some_and(|first| first.starts_with(expected)), "{what}: {found:?}");
    }

    let store = copy();
    store.execute_batch("ALTER TABLE notes DROP COLUMN b").unwrap();
    store.close().unwrap();
    assert_same_rows(&legacy, &projection, &[Same::keyless("notes").without(&["b"])]);
}

#[test]
#[ignore = "needs ../shared/legacy-data"]
fn the_production_dump_loads_whole() {
    let dump = shared("legacy-data/acc-production-sessions.sql").expect("not run: ../shared/legacy-data is absent");
    let folder = scratch();
    let path = folder.path().join("production.db");
    assert_eq!(load_dump(&std::fs::read_to_string(dump).unwrap(), &path), 1_027);
    let counts = assert_same_rows(&path, &path, &TABLES);
    assert_eq!(counts, [1_025, 2, 0, 0, 0, 0]);
    let store = Connection::open(&path).unwrap();
    let checks = "SELECT count(*) FROM sessions WHERE initial_task = 'health check' AND status = 'completed' \
                  AND end_time IS NULL AND start_time GLOB '????-??-??T??:??:??.???Z' AND created_at GLOB '* *+00'";
    assert_eq!(count(&store, checks), 1_023);
    let messages = "SELECT count(*) FROM messages WHERE tools_used = '[]' AND cost IS NULL \
                    AND timestamp IN ('2025-09-01T01:24:36.241Z', '2025-09-01T01:25:01.177Z')";
    assert_eq!(count(&store, messages), 2);
}
