//! The SQLite store's file: what others may read in it, and what it refuses.

use std::path::PathBuf;
use std::sync::Arc;

use crossfade::base::Kind;
use crossfade::mapping::Mapping;
use crossfade::port::row_store::{Mode, RowStore};
use crossfade::sqlite::store::SqliteStore;
use rusqlite::Connection;

use crate::support::store::{Cell, claim, delete, event, mapping, positions, put, rows_of, table};

struct File {
    folder: tempfile::TempDir,
    store: SqliteStore,
    mapping: Arc<Mapping>,
}

impl File {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::new(folder.path().join("projection.db"));
        let columns = [("id", "TEXT"), ("n", "my \"own\" INT"), ("body", "VARCHAR(20)")];
        Self { folder, store, mapping: mapping(vec![table("notes", &columns, &[0])]) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("projection.db")
    }

    fn raw(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }

    fn with_one_row() -> Self {
        let file = Self::new();
        let mut writer = claim(&file.store, &file.mapping, Mode::Live);
        put(&mut *writer, 0, &row("a"), event(3, 7, 9));
        writer.commit(&positions(&[(3, 8)])).unwrap();
        file
    }
}

fn row(id: &str) -> Vec<Cell> {
    vec![Cell::text(id), Cell::Integer(5), Cell::Null]
}

#[test]
fn others_read_ordinary_tables_with_the_declared_types() {
    let file = File::with_one_row();
    let raw = file.raw();
    let read = "SELECT id || '/' || n || '/' || _cf_partition || '/' || _cf_offset || '/' || _cf_sequence || '/' || length(_cf_event) FROM notes";
    assert_eq!(raw.query_row(read, [], |row| row.get::<_, String>(0)).unwrap(), "a/5/3/7/9/16");
    let types = "SELECT group_concat(type || ':' || \"notnull\" || ':' || pk, ' ') FROM pragma_table_xinfo('notes')";
    assert_eq!(
        raw.query_row(types, [], |row| row.get::<_, String>(0)).unwrap(),
        "TEXT:0:0 my \"own\" INT:0:0 VARCHAR(20):0:0 INTEGER:0:0 INTEGER:0:0 BLOB:0:0 INTEGER:0:0 INTEGER:0:1"
    );
}

#[test]
fn identities_are_found_by_an_index() {
    let file = File::with_one_row();
    let plan: String =
        file.raw().query_row("EXPLAIN QUERY PLAN SELECT * FROM notes WHERE id IS ?1", ["a"], |row| row.get(3)).unwrap();
    assert!(plan.contains("SEARCH") && plan.contains("_cf_identity_0"), "{plan}");
}

#[test]
fn a_commit_from_other_positions_than_the_stored_ones_changes_nothing() {
    let file = File::with_one_row();
    let mut writer = claim(&file.store, &file.mapping, Mode::Live);
    file.raw().execute_batch("UPDATE _cf_positions SET next = 100").unwrap();
    put(&mut *writer, 0, &row("b"), event(3, 8, 10));
    let error = writer.commit(&positions(&[(3, 9)])).unwrap_err();
    assert_eq!(error.kind(), Kind::Stale);
    assert_eq!(rows_of(&file.store, &file.mapping, 0), [(row("a"), event(3, 7, 9))]);
    assert_eq!(file.store.state().unwrap().unwrap().positions, positions(&[(3, 100)]));
}

#[test]
fn a_row_planted_by_hand_is_shown_and_the_next_event_replaces_it() {
    let file = File::with_one_row();
    file.raw().execute_batch("INSERT INTO notes (id, n) VALUES ('planted', 1)").unwrap();
    let rows = rows_of(&file.store, &file.mapping, 0);
    assert_eq!((rows.len(), rows[1].1.partition, rows[1].1.offset), (2, -1, -1));
    let mut writer = claim(&file.store, &file.mapping, Mode::Live);
    put(&mut *writer, 0, &row("planted"), event(0, 0, 0));
    writer.commit(&positions(&[(3, 8)])).unwrap();
    assert_eq!(rows_of(&file.store, &file.mapping, 0)[1], (row("planted"), event(0, 0, 0)));
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let file = File::with_one_row();
    file.raw().execute_batch("UPDATE _cf_meta SET value = 2 WHERE key = 'format'").unwrap();
    let errors = [
        file.store.state().err().unwrap(),
        file.store.claim(&file.mapping, Mode::Live).err().unwrap(),
        file.store.claim(&file.mapping, Mode::Rebuild).err().unwrap(),
        file.store.view(&file.mapping).err().unwrap(),
    ];
    for error in errors {
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.message().contains("format 2"), "{error}");
    }
    let rows: i64 = file.raw().query_row("SELECT count(*) FROM notes", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 1);
}

#[test]
fn a_file_that_is_something_else_is_refused_and_left_alone() {
    let file = File::new();
    file.raw().execute_batch("CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)").unwrap();
    let before = std::fs::read(file.path()).unwrap();
    for mode in [Mode::Live, Mode::Rebuild] {
        assert_eq!(file.store.claim(&file.mapping, mode).err().unwrap().kind(), Kind::Refused);
    }
    assert_eq!(file.store.state().err().unwrap().kind(), Kind::Refused);
    assert_eq!(std::fs::read(file.path()).unwrap(), before);

    std::fs::write(file.path(), "no database at all, but long enough to be taken for one").unwrap();
    let error = file.store.claim(&file.mapping, Mode::Rebuild).err().unwrap();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.message().contains("not a SQLite database"), "{error}");
}

#[test]
fn a_folder_that_does_not_exist_is_named() {
    let file = File::new();
    let store = SqliteStore::new(file.folder.path().join("none/projection.db"));
    assert_eq!(store.state().unwrap(), None);
    let error = store.claim(&file.mapping, Mode::Live).err().unwrap();
    assert_eq!(error.kind(), Kind::Connect);
    assert!(error.message().contains("none/projection.db"), "{error}");
}

#[test]
fn a_lost_table_is_not_made_anew_in_silence() {
    let file = File::with_one_row();
    file.raw().execute_batch("DROP TABLE notes").unwrap();
    let error = file.store.claim(&file.mapping, Mode::Live).err().unwrap();
    assert_eq!(error.kind(), Kind::Corrupt);
    assert!(error.message().contains("'notes'"), "{error}");
    claim(&file.store, &file.mapping, Mode::Rebuild).finish().unwrap();
    assert_eq!(rows_of(&file.store, &file.mapping, 0), []);
}

#[test]
fn deletes_of_an_unfinished_rebuild_survive_a_restart() {
    let file = File::new();
    let mut writer = claim(&file.store, &file.mapping, Mode::Rebuild);
    put(&mut *writer, 0, &row("a"), event(0, 0, 0));
    delete(&mut *writer, &file.mapping.tables[0], &row("b"), event(0, 1, 1));
    writer.commit(&positions(&[(0, 2)])).unwrap();
    let mut writer = claim(&file.store, &file.mapping, Mode::Live);
    delete(&mut *writer, &file.mapping.tables[0], &row("a"), event(0, 2, 2));
    put(&mut *writer, 0, &row("c"), event(0, 3, 3));
    writer.commit(&positions(&[(0, 4)])).unwrap();
    let mut writer = claim(&file.store, &file.mapping, Mode::Live);
    writer.finish().unwrap();
    assert_eq!(rows_of(&file.store, &file.mapping, 0), [(row("c"), event(0, 3, 3))]);
}
