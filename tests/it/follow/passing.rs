//! Rows that pass their keys to each other: SQLite checks row by row, so they do it by way of a third value.

use crate::support::crash::Random;
use crate::support::follow::{Bench, Outbox};

const SCHEMA: &str = "CREATE TABLE t (id INTEGER PRIMARY KEY, s TEXT NOT NULL, v TEXT UNIQUE);
    CREATE TABLE w (list INTEGER, pos INTEGER, v TEXT, PRIMARY KEY (list, pos)) WITHOUT ROWID;
    INSERT INTO t VALUES (1, 'a', 'v1'), (2, 'b', 'v2'), (3, 'c', 'v3'), (4, 'a', 'v4'), (5, 'b', 'v5');
    INSERT INTO w SELECT id % 2, id, v FROM t;";

const MAPPING: &str = "version: 1\ntopics: {rows: {partitions: 5}}\ntables:
  t: {topic: rows, identity: [id], key: [s], columns: {id: integer, s: text, v: text}}
  w: {topic: rows, identity: [list, pos], key: [list], columns: {list: integer, pos: integer, v: text}}\n";

fn bench() -> Bench {
    let mut bench = Bench::mapped(Outbox::of(SCHEMA), MAPPING);
    bench.install();
    bench.replay();
    bench.assert_followed();
    bench
}

/// A permutation of 1 to 5, as SQL over a column.
fn permuted(random: &mut Random, column: &str) -> String {
    let mut places = [1, 2, 3, 4, 5];
    for at in (1..places.len()).rev() {
        places.swap(at, random.below(at as u64 + 1) as usize);
    }
    let terms: Vec<String> =
        places.iter().enumerate().map(|(at, place)| format!("WHEN {} THEN {place}", at + 1)).collect();
    format!("CASE {column} {} ELSE {column} END", terms.join(" "))
}

fn statement(random: &mut Random) -> String {
    let one = 1 + random.below(5);
    match random.below(8) {
        0 | 1 => format!("UPDATE t SET id = -id; UPDATE t SET id = {}", permuted(random, "-id")),
        2 => format!("UPDATE w SET pos = -pos; UPDATE w SET pos = {}", permuted(random, "-pos")),
        3 => "UPDATE w SET list = list + 2; UPDATE w SET list = 3 - list".to_owned(),
        4 => format!("UPDATE t SET v = '-' || v; UPDATE t SET v = 'v' || ({})", permuted(random, "substr(v, 3) + 0")),
        5 => format!("UPDATE t SET s = CASE s WHEN 'a' THEN 'b' ELSE 'a' END WHERE id <> {one}"),
        6 => format!("UPDATE OR REPLACE t SET id = {one} WHERE id = {}", 1 + random.below(5)),
        _ => format!("DELETE FROM t WHERE id = {one}; INSERT OR REPLACE INTO t VALUES ({one}, 'c', 'v{one}')"),
    }
}

#[test]
fn i04_random_transactions_that_pass_keys_on_by_a_third_value_fold_to_the_rows() {
    let mut bench = bench();
    let (app, mut random) = (bench.app(), Random::new(35));
    for round in 0..40 {
        for _ in 0..4 {
            app.execute_batch("BEGIN").unwrap();
            let count = 1 + random.below(3);
            let done = (0..count).all(|_| app.execute_batch(&statement(&mut random)).is_ok());
            app.execute_batch(if done { "COMMIT" } else { "ROLLBACK" }).unwrap();
        }
        bench.follow();
        let differing = bench.differing();
        assert!(differing.is_empty(), "round {round}: {differing:#?}");
    }
    assert_eq!(bench.reconciles, 0);
    let told = bench.told();
    let ids: std::collections::BTreeSet<&str> = told.iter().map(|event| event.id.as_str()).collect();
    assert!(told.len() > 400 && ids.len() == told.len(), "{} of {}", ids.len(), told.len());
}
