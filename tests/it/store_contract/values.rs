//! Every value comes back with its storage class and bytes.

use crossfade::mapping::Rows;
use crossfade::port::row_store::{LastEvent, Mode};
use proptest::prelude::*;
use rusqlite::Connection;
use rusqlite::types::{ToSqlOutput, ValueRef};

use crate::support::store::{
    Cell, cells, claim, event, mapping, on_both_stores, on_each_kind, positions, put, rows_of, table,
};

on_both_stores!(
    i04_every_value_comes_back_as_it_was_put,
    i04_any_value_may_be_an_identity,
    i04_any_column_of_a_strict_table_keeps_its_values,
    nan_is_refused_because_it_would_become_null,
    a_large_table_is_lent_in_chunks_and_looked_up_by_identity,
);

/// Types as found in the wild, with every affinity, and some that try to be more than a type.
const TYPES: &[&str] = &[
    "TEXT",
    "INTEGER",
    "REAL",
    "BLOB",
    "",
    "NUMERIC",
    "DATETIME",
    "VARCHAR(255)",
    "DECIMAL(10,2)",
    "BOOLEAN",
    "JSON",
    "unsigned big int",
    "double precision",
    "FLOATING POINT",
    "CHARINT",
    "my \"own\" type",
    "TEXT NOT NULL CHECK (0)",
    "select",
    "x);--",
    "ANYTHING",
];

const NAMES: &[&str] = &[
    "id",
    "select",
    "a b",
    "quote\"d",
    "semi;colon",
    "ünïcode",
    "cf_",
    "rowid",
    "_cf",
    "'",
    "[x]",
    "?1",
    "%",
    "group",
    "UPPER",
    "_rowid_",
    "oid",
    "new\nline",
    "--",
    "index",
];

fn value() -> impl Strategy<Value = Cell> {
    prop_oneof![
        Just(Cell::Null),
        any::<i64>().prop_map(Cell::Integer),
        prop::sample::select(vec![i64::MIN, i64::MAX, 0, -1, (1 << 53) + 1]).prop_map(Cell::Integer),
        any::<f64>().prop_filter("SQLite stores NaN as null", |real| !real.is_nan()).prop_map(Cell::real),
        prop::sample::select(vec![
            0.0,
            -0.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN_POSITIVE,
            5e-324,
            1e15,
            9.3e18,
            -9.223372036854776e18
        ])
        .prop_map(Cell::real),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Cell::Text),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(Cell::Blob),
        prop::sample::select(vec![
            "",
            "1",
            "1.0",
            "-0.0",
            " 12 ",
            "1e400",
            "0x10",
            "12\0abc",
            "9223372036854775808",
            "nan"
        ])
        .prop_map(Cell::text),
    ]
}

fn bind(cell: &Cell) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match cell {
        Cell::Null => ValueRef::Null,
        Cell::Integer(number) => ValueRef::Integer(*number),
        Cell::Real(bits) => ValueRef::Real(f64::from_bits(*bits)),
        Cell::Text(bytes) => ValueRef::Text(bytes),
        Cell::Blob(bytes) => ValueRef::Blob(bytes),
    })
}

/// What a legacy column of this type makes of a value.
fn as_stored(declared: &str, cell: &Cell, strict: bool) -> Cell {
    let legacy = Connection::open_in_memory().unwrap();
    let (declared, strict) = (declared.replace('"', "\"\""), if strict { "STRICT" } else { "" });
    let declared = if declared.is_empty() { String::new() } else { format!("\"{declared}\"") };
    legacy.execute_batch(&format!("CREATE TABLE t (c {declared}) {strict}")).unwrap();
    legacy.execute("INSERT INTO t VALUES (?1)", [bind(cell)]).unwrap();
    legacy
        .query_row("SELECT c FROM t", [], |row| {
            Ok(match row.get_ref(0)? {
                ValueRef::Null => Cell::Null,
                ValueRef::Integer(number) => Cell::Integer(number),
                ValueRef::Real(number) => Cell::real(number),
                ValueRef::Text(bytes) => Cell::Text(bytes.into()),
                ValueRef::Blob(bytes) => Cell::Blob(bytes.into()),
            })
        })
        .unwrap()
}

fn numbered(rows: Vec<Vec<Cell>>) -> Vec<(Vec<Cell>, LastEvent)> {
    let event = |(at, row)| (row, event(0, at as i64, at as i64));
    rows.into_iter().enumerate().map(event).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    fn i04_every_value_comes_back_as_it_was_put(
        rows in prop::collection::vec(prop::collection::vec(value(), TYPES.len()), 1..12),
    ) {
        let mut columns: Vec<(&str, &str)> = vec![("key", "INTEGER")];
        columns.extend(NAMES.iter().copied().zip(TYPES.iter().copied()));
        let mapping = mapping(vec![table("odd \"table\"; name", &columns, &[0])]);
        let stored = |(number, row): (usize, &Vec<Cell>)| {
            let cells = row.iter().zip(TYPES).map(|(cell, declared)| as_stored(declared, cell, false));
            std::iter::once(Cell::Integer(number as i64)).chain(cells).collect::<Vec<_>>()
        };
        let rows = numbered(rows.iter().enumerate().map(stored).collect());
        for mode in [Mode::Live, Mode::Rebuild] {
            on_each_kind(|store| {
                let mut writer = claim(&*store, &mapping, mode);
                rows.iter().for_each(|(row, event)| put(&mut *writer, 0, row, *event));
                writer.commit(&positions(&[(0, 12)])).unwrap();
                writer.finish().unwrap();
                assert_eq!(rows_of(&*store, &mapping, 0), rows);
            });
        }
    }

    fn i04_any_value_may_be_an_identity(values in prop::collection::vec(value(), 1..20), declared in prop::sample::select(TYPES)) {
        let mapping = mapping(vec![table("t", &[("id", declared), ("body", "")], &[0])]);
        let mut ids: Vec<Cell> = values.iter().map(|cell| as_stored(declared, cell, false)).collect();
        ids.sort();
        ids.dedup();
        let rows = numbered(ids.iter().map(|id| vec![id.clone(), Cell::text("body")]).collect());
        for mode in [Mode::Live, Mode::Rebuild] {
            on_each_kind(|store| {
                let mut writer = claim(&*store, &mapping, mode);
                rows.iter().for_each(|(row, event)| put(&mut *writer, 0, row, *event));
                writer.commit(&positions(&[(0, 20)])).unwrap();
                writer.finish().unwrap();
                assert_eq!(rows_of(&*store, &mapping, 0), rows);

                let mut wanted = Rows::new(1);
                ids.iter().for_each(|id| wanted.push(id.lend()));
                let mut found = Vec::new();
                let mut view = store.view(&mapping).unwrap();
                view.lookup(&mapping.tables[0], &wanted, &mut |row, event| {
                    found.push((cells(row), event));
                    Ok(())
                })
                .unwrap();
                found.sort_by(|a: &(Vec<Cell>, LastEvent), b| a.0.cmp(&b.0));
                assert_eq!(found, rows);
            });
        }
    }

    fn i04_any_column_of_a_strict_table_keeps_its_values(values in prop::collection::vec(value(), 1..20)) {
        let mapping = mapping(vec![table("t", &[("id", "INT"), ("anything", "ANY")], &[0])]);
        let stored = values.iter().map(|cell| as_stored("ANY", cell, true));
        let rows = numbered(stored.enumerate().map(|(at, cell)| vec![Cell::Integer(at as i64), cell]).collect());
        on_each_kind(|store| {
            let mut writer = claim(&*store, &mapping, Mode::Live);
            rows.iter().for_each(|(row, event)| put(&mut *writer, 0, row, *event));
            writer.commit(&positions(&[(0, 20)])).unwrap();
            assert_eq!(rows_of(&*store, &mapping, 0), rows);
        });
    }
}

fn nan_is_refused_because_it_would_become_null() {
    let mapping = mapping(vec![table("t", &[("id", "INT"), ("real", "REAL")], &[0])]);
    on_each_kind(|store| {
        let mut writer = claim(&*store, &mapping, Mode::Live);
        let rows = crate::support::store::chunk(&[Cell::Integer(1), Cell::real(f64::NAN)]);
        let error = writer.apply(0, crossfade::port::row_store::Change::Put(rows.row(0)), event(0, 0, 0)).unwrap_err();
        assert_eq!(error.kind(), crossfade::base::Kind::Row);
    });
}

fn a_large_table_is_lent_in_chunks_and_looked_up_by_identity() {
    let mapping = mapping(vec![table("t", &[("id", "TEXT"), ("body", "TEXT")], &[0])]);
    let row = |number: i64| vec![Cell::text(&format!("key {number:06}")), Cell::text(&"body ".repeat(200))];
    on_each_kind(|store| {
        let mut writer = claim(&*store, &mapping, Mode::Rebuild);
        for number in 0..5_000 {
            put(&mut *writer, 0, &row(number), event(0, number, number));
        }
        writer.commit(&positions(&[(0, 5_000)])).unwrap();
        writer.finish().unwrap();
        let mut view = store.view(&mapping).unwrap();
        let mut sizes = Vec::new();
        view.scan(&mapping.tables[0], &mut |rows, events| {
            assert!(rows.byte_len() < 2 << 20, "a chunk holds {} bytes", rows.byte_len());
            assert_eq!(cells(rows.row(0)), row(events[0].offset));
            sizes.push(rows.len());
            Ok(())
        })
        .unwrap();
        assert_eq!(sizes.iter().sum::<usize>(), 5_000);
        assert!(sizes.len() > 2);
        let mut wanted = Rows::new(1);
        ["key 000007", "none", "KEY 000008", "key 004999"].iter().for_each(|key| wanted.push(Cell::text(key).lend()));
        let mut found = Vec::new();
        view.lookup(&mapping.tables[0], &wanted, &mut |_, event| {
            found.push(event.offset);
            Ok(())
        })
        .unwrap();
        assert_eq!(found, [7, 4_999]);
    });
}
