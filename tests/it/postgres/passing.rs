//! Rows that pass their keys to each other inside a statement or a transaction: events end in the rows, by either capture.

use crate::support::crash::Random;
use crate::support::decoding::{Boxed, Decoded};
use crate::support::followed::{Bench, Legacy};
use crate::support::postgres::{Database, Door};

const SCHEMA: &str = "
    CREATE TABLE t (id integer, s text NOT NULL, v text, PRIMARY KEY (id) DEFERRABLE);
    CREATE TABLE u (n integer PRIMARY KEY, id integer NOT NULL UNIQUE DEFERRABLE INITIALLY DEFERRED, s text, v text);
    CREATE TABLE w (list integer, pos integer, v text, PRIMARY KEY (list, pos) DEFERRABLE INITIALLY DEFERRED);
    INSERT INTO t SELECT n, 's' || n % 3, 'v' || n FROM generate_series(1, 6) AS n;
    INSERT INTO u SELECT n, n, 's' || n % 3, 'v' || n FROM generate_series(1, 6) AS n;
    INSERT INTO w SELECT n % 2, n / 2, 'v' || n FROM generate_series(2, 7) AS n;";

const MAPPING: &str = "version: 1\ntypes: postgres\ntopics: {rows: {partitions: 5}}\ntables:
  t: {topic: rows, identity: [id], key: [s], columns: {id: integer, s: text, v: text}}
  u: {topic: rows, identity: [id], key: [s], columns: {n: integer, id: integer, s: text, v: text}}
  w: {topic: rows, identity: [list, pos], key: [list], columns: {list: integer, pos: integer, v: text}}\n";

pub trait Kind: Legacy + Sized {
    fn of(database: Database) -> Self;

    fn database(&self) -> &Database;
}

impl Kind for Decoded {
    fn of(database: Database) -> Self {
        Self { database }
    }

    fn database(&self) -> &Database {
        &self.database
    }
}

impl Kind for Boxed {
    fn of(database: Database) -> Self {
        Self { database }
    }

    fn database(&self) -> &Database {
        &self.database
    }
}

fn followed<L: Kind>() -> Bench<L> {
    let mut bench = Bench::mapped(L::of(Database::with(SCHEMA)), MAPPING);
    bench.install();
    bench.replay();
    bench.assert_followed();
    bench
}

/// Scripts are one transaction each, unless they say otherwise.
fn every_order<L: Kind>() {
    let bench = &mut followed::<L>();
    for (script, told) in [
        ("UPDATE t SET id = 7 - id", None),
        ("UPDATE t SET id = id % 6 + 1", None),
        ("UPDATE t SET id = id + 1", None),
        ("UPDATE t SET id = id - 1", None),
        ("UPDATE t SET id = CASE id WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE id END, s = 'moved', v = 'same'", None),
        // Rows that are the same but for their keys, swapped.
        ("UPDATE t SET id = CASE id WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE id END", None),
        ("UPDATE u SET id = 2 WHERE n = 1; UPDATE u SET id = 3 WHERE n = 2; UPDATE u SET id = 1 WHERE n = 3", None),
        ("INSERT INTO u VALUES (9, 4, 'new', 'new'); DELETE FROM u WHERE n = 4", Some(2)),
        // It came and went beside the row that stays.
        ("INSERT INTO u VALUES (10, 5, 'new', 'new'); DELETE FROM u WHERE n = 10", Some(0)),
        ("INSERT INTO u VALUES (10, 50, 'new', 'new'); UPDATE u SET v = 'newer' WHERE n = 10", None),
        ("DELETE FROM u WHERE n = 10; INSERT INTO u VALUES (11, 50, 'back', 'back')", None),
        ("UPDATE w SET pos = 4 - pos", None),
        ("UPDATE w SET list = 1 - list", None),
        (
            "DELETE FROM w WHERE (list, pos) = (0, 1); UPDATE w SET pos = pos - 1 WHERE list = 0; INSERT INTO w VALUES (0, 3, 'last')",
            None,
        ),
        ("UPDATE t SET s = CASE s WHEN 's1' THEN 's2' ELSE 's1' END", None),
    ] {
        let before = bench.told().len();
        bench.database().execute(script);
        bench.follow();
        let differing = bench.differing();
        assert!(differing.is_empty(), "{script}: {differing:#?}\n{:#?}", bench.ops(before));
        if let Some(told) = told {
            assert_eq!(bench.ops(before).len(), told, "{script}: {:?}", bench.ops(before));
        }
    }
    assert_eq!(bench.reconciles, 0);
    let told = bench.told();
    let ids: std::collections::BTreeSet<&str> = told.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), told.len());
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_by_decoding_keys_passed_in_every_order_end_in_the_rows() {
    every_order::<Decoded>();
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_from_an_outbox_keys_passed_in_every_order_end_in_the_rows() {
    every_order::<Boxed>();
}

/// One statement on one of the tables, which have nine keys each.
fn statement(random: &mut Random) -> String {
    let mut below = |end: u64| random.below(end);
    let (table, cell) = [("t", "id"), ("u", "id"), ("w", "pos")][below(3) as usize];
    let (one, two, v) = (1 + below(9), 1 + below(9), below(4));
    match below(9) {
        0 => format!("UPDATE {table} SET {cell} = 10 - {cell}"),
        1 => format!("UPDATE {table} SET {cell} = {cell} % 9 + 1"),
        2 | 3 => format!(
            "UPDATE {table} SET {cell} = CASE {cell} WHEN {one} THEN {two} WHEN {two} THEN {one} ELSE {cell} END WHERE {cell} IN ({one}, {two})"
        ),
        4 => format!("UPDATE {table} SET {cell} = {two} WHERE {cell} = {one} AND v <> 'v{v}'"),
        5 => format!("DELETE FROM {table} WHERE {cell} = {one} AND v <> 'v{v}'"),
        6 => format!("UPDATE {table} SET v = 'v{v}' WHERE {cell} = {one}"),
        _ => match table {
            "t" => format!("INSERT INTO t VALUES ({one}, 's{two}', 'v{v}')"),
            "u" => format!("INSERT INTO u SELECT coalesce(max(n), 0) + 1, {one}, 's{two}', 'v{v}' FROM u"),
            _ => format!("INSERT INTO w VALUES ({}, {one}, 'v{v}')", below(2)),
        },
    }
}

/// Transactions whose statements may fail, and they with them.
fn program(door: &Door, seed: u64, transactions: usize) {
    let (mut client, mut random) = (door.connect().unwrap(), Random::new(seed));
    client.batch_execute("SET deadlock_timeout = '20ms'").unwrap();
    for _ in 0..transactions {
        client.batch_execute("BEGIN; SET CONSTRAINTS ALL DEFERRED").unwrap();
        let count = 1 + random.below(5);
        let done = (0..count).all(|_| client.batch_execute(&statement(&mut random)).is_ok());
        let _ = client.batch_execute(if done { "COMMIT" } else { "ROLLBACK" });
        let _ = client.batch_execute("ROLLBACK");
    }
}

fn at_random<L: Kind>() {
    let bench = &mut followed::<L>();
    for round in 0..12_u64 {
        let door = bench.database().door();
        let writers: Vec<_> = (0..1 + round % 3)
            .map(|writer| {
                let door = door.clone();
                std::thread::spawn(move || program(&door, 100 * round + writer + 1, 60))
            })
            .collect();
        // Beside writers, and behind them.
        if round % 2 == 1 {
            bench.follow();
        }
        for writer in writers {
            writer.join().unwrap();
        }
        bench.follow();
        let differing = bench.differing();
        assert!(differing.is_empty(), "round {round}: {differing:#?}");
    }
    assert_eq!(bench.reconciles, 0);
    assert!(bench.told().len() > 300, "{}", bench.told().len());
    let told = bench.told();
    let ids: std::collections::BTreeSet<&str> = told.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), told.len());
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i04_by_decoding_random_transactions_that_pass_keys_fold_to_the_rows() {
    at_random::<Decoded>();
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i04_from_an_outbox_random_transactions_that_pass_keys_fold_to_the_rows() {
    at_random::<Boxed>();
}

/// More rows than are held at once: what cannot be told by changes is compared.
fn too_many<L: Kind>() {
    let bench = &mut followed::<L>();
    bench.database().execute("INSERT INTO t SELECT n, 's' || n % 9, 'v' || n FROM generate_series(7, 60000) AS n");
    bench.follow();
    assert_eq!((bench.reconciles, bench.told().len()), (0, 59_994));
    bench.database().execute("UPDATE t SET id = 60001 - id");
    bench.assert_followed();
    assert_eq!(bench.reconciles, 1);
    bench.database().execute("UPDATE t SET id = 60001 - id WHERE id < 100 OR id > 59901");
    bench.assert_followed();
    assert_eq!(bench.reconciles, 1);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_by_decoding_more_keys_passed_than_are_held_are_reconciled() {
    too_many::<Decoded>();
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_from_an_outbox_more_keys_passed_than_are_held_are_reconciled() {
    too_many::<Boxed>();
}
