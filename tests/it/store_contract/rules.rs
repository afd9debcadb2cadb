//! Which event leaves the row: a table, every interleaving of moves between partitions, and a model.

use std::sync::Arc;

use crossfade::mapping::Mapping;
use crossfade::port::row_store::{LastEvent, Mode, RowStore};
use proptest::prelude::*;

use crate::support::store::{
    Cell, claim, delete, event, mapping, on_both_stores, on_each_kind, positions, put, rows_of, table, through_parent,
};

on_both_stores!(
    the_later_offset_wins_in_a_partition_and_the_higher_sequence_across,
    a_delete_without_a_row_changes_nothing,
    i03_moves_between_partitions_end_the_same_in_every_interleaving,
    composite_identities_and_keys_through_parents,
    a_table_without_a_key_is_kept_by_rowid,
    any_stream_ends_as_the_rule_says,
);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Op {
    Put,
    Delete,
}
use Op::{Delete, Put};

type Step = (Op, Vec<Cell>, LastEvent);
type Kept = Vec<(Vec<Cell>, LastEvent)>;

fn one_table() -> Arc<Mapping> {
    mapping(vec![table("t", &[("id", ""), ("body", "TEXT")], &[0])])
}

fn row(id: &str, body: &str) -> Vec<Cell> {
    vec![Cell::text(id), Cell::text(body)]
}

/// Applies the steps, a commit after every `each`, and ends a rebuild.
fn run(store: &dyn RowStore, mapping: &Arc<Mapping>, mode: Mode, each: usize, steps: &[Step]) {
    let mut writer = claim(store, mapping, mode);
    for (at, (op, cells, event)) in steps.iter().enumerate() {
        match op {
            Put => put(&mut *writer, 0, cells, *event),
            Delete => delete(&mut *writer, &mapping.tables[0], cells, *event),
        }
        if (at + 1) % each == 0 {
            writer.commit(&positions(&[(0, at as i64 + 1)])).unwrap();
        }
    }
    writer.commit(&positions(&[(0, steps.len() as i64)])).unwrap();
    writer.finish().unwrap();
}

fn the_later_offset_wins_in_a_partition_and_the_higher_sequence_across() {
    let last = event(1, 50, 500);
    let table = [
        ("same partition, later offset", event(1, 51, 1), true),
        ("same partition, later offset, same sequence", event(1, 51, 500), true),
        ("same partition, equal offset is a repeat", event(1, 50, 900), false),
        ("same partition, older offset", event(1, 49, 900), false),
        ("other partition, higher sequence", event(2, 1, 501), true),
        ("other partition, equal sequence", event(2, 90, 500), false),
        ("other partition, lower sequence", event(2, 90, 499), false),
    ];
    let mapping = one_table();
    for mode in [Mode::Live, Mode::Rebuild] {
        for (name, next, wins) in &table {
            on_each_kind(|store| {
                run(&*store, &mapping, mode, 1, &[(Put, row("a", "old"), last), (Put, row("a", "new"), *next)]);
                let expected = if *wins { (row("a", "new"), *next) } else { (row("a", "old"), last) };
                assert_eq!(rows_of(&*store, &mapping, 0), [expected], "{mode:?}: put, {name}");
            });
            on_each_kind(|store| {
                run(&*store, &mapping, mode, 1, &[(Put, row("a", "old"), last), (Delete, row("a", ""), *next)]);
                let expected = if *wins { vec![] } else { vec![(row("a", "old"), last)] };
                assert_eq!(rows_of(&*store, &mapping, 0), expected, "{mode:?}: delete, {name}");
            });
        }
    }
}

fn a_delete_without_a_row_changes_nothing() {
    let mapping = one_table();
    for mode in [Mode::Live, Mode::Rebuild] {
        on_each_kind(|store| {
            run(
                &*store,
                &mapping,
                mode,
                2,
                &[(Delete, row("a", ""), event(0, 0, 0)), (Put, row("b", ""), event(0, 1, 1))],
            );
            assert_eq!(rows_of(&*store, &mapping, 0), [(row("b", ""), event(0, 1, 1))]);
        });
    }
}

/// All orders of two partitions' events that keep each partition's own order.
fn interleavings(a: &[Step], b: &[Step]) -> Vec<Vec<Step>> {
    match (a, b) {
        ([], rest) | (rest, []) => vec![rest.to_vec()],
        ([first_a, rest_a @ ..], [first_b, rest_b @ ..]) => {
            let with = |first: &Step, tails: Vec<Vec<Step>>| {
                tails.into_iter().map(|tail| [vec![first.clone()], tail].concat()).collect::<Vec<_>>()
            };
            [with(first_a, interleavings(rest_a, b)), with(first_b, interleavings(a, rest_b))].concat()
        }
    }
}

/// The row is put in partition 0, moves to 1, and so on, `visits` times; at last it may be deleted.
fn moves(visits: i64, deleted: bool) -> ([Vec<Step>; 2], Kept) {
    let mut streams = [Vec::new(), Vec::new()];
    let mut sequence = 0;
    let mut end = Vec::new();
    for visit in 0..visits {
        let partition = (visit % 2) as usize;
        let mut append = |op, cells: Vec<Cell>| {
            sequence += 1;
            let event = event(partition as i32, 10 * streams[partition].len() as i64, sequence);
            streams[partition].push((op, cells, event));
            event
        };
        let cells = row("a", &format!("visit {visit}"));
        let put = append(Put, cells.clone());
        if visit + 1 < visits || deleted {
            append(Delete, row("a", ""));
        } else {
            end = vec![(cells, put)];
        }
    }
    (streams, end)
}

fn i03_moves_between_partitions_end_the_same_in_every_interleaving() {
    let mapping = one_table();
    let mut tried = 0;
    for (visits, deleted) in [(2, false), (2, true), (3, false), (3, true), (4, false)] {
        let ([a, b], end) = moves(visits, deleted);
        for steps in interleavings(&a, &b) {
            tried += 1;
            for (mode, each) in [(Mode::Live, 100), (Mode::Rebuild, 2)] {
                on_each_kind(|store| {
                    run(&*store, &mapping, mode, each, &steps);
                    assert_eq!(rows_of(&*store, &mapping, 0), end, "{mode:?}: {steps:?}");
                });
            }
        }
    }
    assert_eq!(tried, 3 + 6 + 10 + 15 + 35);
}

fn composite_identities_and_keys_through_parents() {
    let columns = [("a", "TEXT"), ("b", "INTEGER"), ("body", "BLOB")];
    let mapping = mapping(vec![through_parent(table("pairs", &columns, &[1, 0]))]);
    let pair = |a: &str, b: i64, key: &str| vec![Cell::text(a), Cell::Integer(b), Cell::Null, Cell::text(key)];
    for mode in [Mode::Live, Mode::Rebuild] {
        on_each_kind(|store| {
            let steps = [
                (Put, pair("x", 1, "root"), event(0, 0, 1)),
                (Put, pair("x", 2, "root"), event(0, 1, 2)),
                (Put, pair("y", 1, "root"), event(0, 2, 3)),
                (Put, pair("x", 1, "other"), event(0, 3, 4)),
                (Delete, pair("x", 2, ""), event(0, 4, 5)),
            ];
            run(&*store, &mapping, mode, 100, &steps);
            let expected = [(pair("x", 1, "other"), event(0, 3, 4)), (pair("y", 1, "root"), event(0, 2, 3))];
            assert_eq!(rows_of(&*store, &mapping, 0), expected);
        });
    }
}

fn a_table_without_a_key_is_kept_by_rowid() {
    // Every name of the rowid is taken by a column.
    let columns = [("rowid", ""), ("_rowid_", ""), ("oid", "")];
    let mapping = mapping(vec![table("log", &columns, &[])]);
    let line = |text: &str, rowid: i64| vec![Cell::text(text), Cell::Null, Cell::Integer(7), Cell::Integer(rowid)];
    for mode in [Mode::Live, Mode::Rebuild] {
        on_each_kind(|store| {
            let steps = [
                (Put, line("same", i64::MAX), event(0, 0, 1)),
                (Put, line("same", i64::MIN), event(0, 1, 2)),
                (Put, line("same", 0), event(0, 2, 3)),
                (Delete, line("", 0), event(0, 3, 4)),
                (Put, line("changed", i64::MAX), event(0, 4, 5)),
            ];
            run(&*store, &mapping, mode, 3, &steps);
            let expected = [(line("changed", i64::MAX), event(0, 4, 5)), (line("same", i64::MIN), event(0, 1, 2))];
            assert_eq!(rows_of(&*store, &mapping, 0), expected);
        });
    }
}

/// The rule over exact identities, one event after the other.
fn model(steps: &[Step]) -> Kept {
    let mut rows: Kept = Vec::new();
    for (op, cells, event) in steps {
        let found = rows.iter().position(|(row, _)| row[0] == cells[0]);
        let wins = found.is_none_or(|at| {
            let last = rows[at].1;
            if last.partition == event.partition { event.offset > last.offset } else { event.sequence > last.sequence }
        });
        match (op, found) {
            (Put, None) => rows.push((cells.clone(), *event)),
            (Put, Some(at)) if wins => rows[at] = (cells.clone(), *event),
            (Delete, Some(at)) if wins => drop(rows.remove(at)),
            _ => {}
        }
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

/// Identities that SQLite holds equal, or that affinity could confuse.
fn alike() -> impl Strategy<Value = Cell> {
    prop_oneof![
        Just(Cell::Integer(1)),
        Just(Cell::real(1.0)),
        Just(Cell::text("1")),
        Just(Cell::Blob(b"1".to_vec())),
        Just(Cell::real(0.0)),
        Just(Cell::real(-0.0)),
        Just(Cell::Integer(0)),
        Just(Cell::Null),
        Just(Cell::text("A")),
        Just(Cell::text("a")),
        Just(Cell::text("a ")),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    (prop::bool::weighted(0.7), alike(), 0..100u8, 0..3i32, 0..20i64, 0..20i64).prop_map(
        |(put, id, body, partition, offset, sequence)| {
            let op = if put { Put } else { Delete };
            (op, vec![id, Cell::text(&body.to_string())], event(partition, offset, sequence))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    fn any_stream_ends_as_the_rule_says(steps in prop::collection::vec(step(), 1..60), each in 1..20usize) {
        let mapping = one_table();
        let expected = model(&steps);
        for mode in [Mode::Live, Mode::Rebuild] {
            on_each_kind(|store| {
                run(&*store, &mapping, mode, each, &steps);
                assert_eq!(rows_of(&*store, &mapping, 0), expected, "{mode:?}");
            });
        }
    }
}
