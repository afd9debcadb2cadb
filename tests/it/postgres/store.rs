//! The PostgreSQL store's tables: what others may read in them, and what it refuses.

use std::sync::Arc;

use crossfade::base::Kind;
use crossfade::mapping::{Mapping, Types};
use crossfade::port::row_store::{Mode, RowStore};
use crossfade::postgres::store::PostgresStore;

use crate::support::postgres::Database;
use crate::support::store::{Cell, claim, event, mapping, positions, put, rows_of, table};

struct Kept {
    database: Database,
    store: PostgresStore,
    mapping: Arc<Mapping>,
}

fn row(id: &str) -> Vec<Cell> {
    vec![Cell::text(id), Cell::Integer(5), Cell::text("1.50")]
}

fn with_one_row() -> Kept {
    let database = Database::new();
    let columns = [("id", "uuid"), ("n", "integer"), ("cost", "numeric(10,2)")];
    let mapping = mapping(vec![table("notes", &columns, &[0])]);
    let mapping = Arc::new(Mapping { types: Types::Postgres, ..Arc::unwrap_or_clone(mapping) });
    let store = PostgresStore::new(database.login());
    let mut writer = claim(&store, &mapping, Mode::Live);
    put(&mut *writer, 0, &row(ONE), event(3, 7, 9));
    writer.commit(&positions(&[(3, 8)])).unwrap();
    Kept { database, store, mapping }
}

const ONE: &str = "00000000-0000-4000-8000-000000000001";
const TWO: &str = "00000000-0000-4000-8000-000000000002";

#[test]
#[ignore = "needs PostgreSQL"]
fn others_read_ordinary_tables_with_the_declared_types() {
    let kept = with_one_row();
    let read = "SELECT concat_ws('/', id, n, cost, _cf_partition, _cf_offset, _cf_sequence) FROM notes";
    assert_eq!(kept.database.column(read), [format!("{ONE}/5/1.50/3/7/9")]);
    let types = "SELECT string_agg(format_type(atttypid, atttypmod) || attnotnull, ' ' ORDER BY attnum) FROM pg_attribute \
        WHERE attrelid = 'notes'::regclass AND attnum BETWEEN 1 AND 3";
    assert_eq!(kept.database.column(types), ["uuidfalse integerfalse numeric(10,2)false"]);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i08_a_commit_from_other_positions_than_the_stored_ones_changes_nothing_in_postgresql() {
    let kept = with_one_row();
    let mut writer = claim(&kept.store, &kept.mapping, Mode::Live);
    kept.database.execute("UPDATE _cf_positions SET next = 100");
    put(&mut *writer, 0, &row(TWO), event(3, 8, 10));
    assert_eq!(writer.commit(&positions(&[(3, 9)])).unwrap_err().kind(), Kind::Stale);
    assert_eq!(rows_of(&kept.store, &kept.mapping, 0), [(row(ONE), event(3, 7, 9))]);
    assert_eq!(kept.store.state().unwrap().unwrap().positions, positions(&[(3, 100)]));
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_row_planted_by_hand_is_shown_and_the_next_event_replaces_it() {
    let kept = with_one_row();
    kept.database.execute(&format!("INSERT INTO notes (id, n) VALUES ('{TWO}', 1)"));
    let rows = rows_of(&kept.store, &kept.mapping, 0);
    assert_eq!((rows.len(), rows[1].1.partition, rows[1].1.offset), (2, -1, -1));
    let mut writer = claim(&kept.store, &kept.mapping, Mode::Live);
    put(&mut *writer, 0, &row(TWO), event(0, 0, 0));
    writer.commit(&positions(&[(3, 8)])).unwrap();
    assert_eq!(rows_of(&kept.store, &kept.mapping, 0)[1], (row(TWO), event(0, 0, 0)));
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_newer_format_is_refused_and_left_alone() {
    let kept = with_one_row();
    kept.database.execute("UPDATE _cf_meta SET value = '2' WHERE key = 'format'");
    let errors = [
        kept.store.state().err().unwrap(),
        kept.store.claim(&kept.mapping, Mode::Live).err().unwrap(),
        kept.store.claim(&kept.mapping, Mode::Rebuild).err().unwrap(),
        kept.store.view(&kept.mapping).err().unwrap(),
    ];
    for error in errors {
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.message().contains("format 2"), "{error}");
    }
    assert_eq!(kept.database.column("SELECT count(*)::text FROM notes"), ["1"]);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_value_the_type_cannot_read_is_refused_with_its_row() {
    let kept = with_one_row();
    let mut writer = claim(&kept.store, &kept.mapping, Mode::Live);
    put(&mut *writer, 0, &row("no uuid"), event(3, 8, 10));
    let error = writer.commit(&positions(&[(3, 9)])).unwrap_err();
    assert_eq!(error.kind(), Kind::Row, "{error}");
    assert!(error.message().contains("table 'notes'") && error.message().contains("uuid"), "{error}");
    assert_eq!(rows_of(&kept.store, &kept.mapping, 0), [(row(ONE), event(3, 7, 9))]);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn names_that_postgresql_has_no_room_for_are_refused() {
    let kept = with_one_row();
    let long = "n".repeat(64);
    for (name, column) in [("t", "ctid"), ("t", long.as_str()), (long.as_str(), "c")] {
        let mapping = mapping(vec![table(name, &[("id", "INTEGER"), (column, "TEXT")], &[0])]);
        assert_eq!(kept.store.claim(&mapping, Mode::Rebuild).err().unwrap().kind(), Kind::Refused, "{name} {column}");
    }
    assert_eq!(rows_of(&kept.store, &kept.mapping, 0).len(), 1, "nothing was changed");
}
