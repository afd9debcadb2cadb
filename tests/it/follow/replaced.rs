//! Rows that another takes the place of without a trigger, by every way a unique index has.

use crate::support::follow::Bench;

/// Runs a script on a store; what follow tells folds to the rows, and no row was left to a reconcile.
#[track_caller]
fn told(store: &str, script: &str) -> Vec<String> {
    let mut bench = Bench::of(store);
    bench.install();
    bench.replay();
    bench.run(script);
    bench.assert_followed();
    assert_eq!(bench.reconciles, 0);
    let mut told = bench.ops(0);
    told.sort();
    told
}

const PARTIAL: &str = "CREATE TABLE p (id INTEGER PRIMARY KEY, em TEXT, st TEXT, n INTEGER);
    CREATE UNIQUE INDEX pu ON p(em) WHERE st = 'live';
    INSERT INTO p VALUES (1, 'a', 'live', 1), (2, 'a', 'dead', 2), (3, 'a', 'dead', 3);";

#[test]
fn i02_a_row_that_enters_an_index_of_some_rows_is_told_with_the_one_it_replaced() {
    assert_eq!(told(PARTIAL, "UPDATE OR REPLACE p SET st = 'live' WHERE id = 2"), ["delete 1", "update 2"]);
    assert_eq!(told(PARTIAL, "REPLACE INTO p VALUES (9, 'a', 'live', 0)"), ["delete 1", "insert 9"]);
    assert_eq!(told(PARTIAL, "REPLACE INTO p VALUES (9, 'a', 'dead', 0)"), ["insert 9"]);
    assert_eq!(told(PARTIAL, "UPDATE OR IGNORE p SET st = 'live' WHERE id = 2"), [""; 0]);
    assert_eq!(told(PARTIAL, "UPDATE OR REPLACE p SET n = 7 WHERE id = 1"), ["update 1"]);
    let qualified =
        PARTIAL.replace("WHERE st = 'live'", "WHERE p.st IN ('live', 'x') AND \"p\".n > 0 -- those (only)\n");
    assert_eq!(told(&qualified, "UPDATE OR REPLACE p SET st = 'x' WHERE id = 3"), ["delete 1", "update 3"]);
    let by_type = PARTIAL.replace("st = 'live'", "n = '2'").replace("(1, 'a', 'live', 1)", "(1, 'a', 'live', '2')");
    assert_eq!(
        told(&by_type.replace("'dead', 2", "'dead', 4"), "UPDATE OR REPLACE p SET n = 2.0 WHERE id = 3"),
        ["delete 1", "update 3"]
    );
}

#[test]
fn i02_a_row_replaced_through_an_index_over_expressions_is_told() {
    let lower = "CREATE TABLE p (id INTEGER PRIMARY KEY, em TEXT, d TEXT); CREATE UNIQUE INDEX pu ON p(lower(em) DESC, length(d));
        INSERT INTO p VALUES (1, 'A', 'x'), (2, 'b', 'x');";
    assert_eq!(told(lower, "UPDATE OR REPLACE p SET em = 'a' WHERE id = 2"), ["delete 1", "update 2"]);
    assert_eq!(told(lower, "REPLACE INTO p VALUES (3, 'B', 'y')"), ["delete 2", "insert 3"]);
    assert_eq!(told(lower, "UPDATE OR REPLACE p SET d = 'long', em = 'A' WHERE id = 2"), ["update 2"]);
    // What the index would not compute is not computed: it may fail.
    let json = "CREATE TABLE p (id INTEGER PRIMARY KEY, d TEXT); CREATE UNIQUE INDEX pu ON p(json_extract(d, '$.k')) WHERE json_valid(d);
        INSERT INTO p VALUES (1, '{\"k\": 5}'), (2, 'no json');";
    assert_eq!(
        told(json, "REPLACE INTO p VALUES (3, 'nor this'); UPDATE p SET d = 'still none' WHERE id = 2"),
        ["insert 3", "update 2"]
    );
    assert_eq!(told(json, "UPDATE OR REPLACE p SET d = '{\"k\":5.0}' WHERE id = 2"), ["delete 1", "update 2"]);
    // Compared with the collations of the table's columns.
    let typed = "CREATE TABLE p (id INTEGER PRIMARY KEY, n TEXT, s TEXT COLLATE NOCASE);
        CREATE UNIQUE INDEX pu ON p(s = 'A', (n || s) COLLATE NOCASE); INSERT INTO p VALUES (1, 5, 'a'), (2, 6, 'a');";
    assert_eq!(told(typed, "UPDATE OR REPLACE p SET n = 5 WHERE id = 2"), ["delete 1", "update 2"]);
}

#[test]
fn i02_a_row_replaced_by_a_computed_column_is_told() {
    let store =
        "CREATE TABLE g (id INTEGER PRIMARY KEY, a INTEGER, twice AS (a * 2) UNIQUE, kept TEXT AS (lower(a)) STORED);
        INSERT INTO g (id, a) VALUES (1, 1), (2, 2);";
    assert_eq!(told(store, "REPLACE INTO g (id, a) VALUES (3, 2)"), ["delete 2", "insert 3"]);
    assert_eq!(told(store, "UPDATE OR REPLACE g SET a = 1 WHERE id = 2"), ["delete 1", "update 2"]);
}

#[test]
fn i02_a_row_replaced_by_a_declared_policy_or_a_default_is_told() {
    let store = "CREATE TABLE d (id INTEGER PRIMARY KEY, u TEXT UNIQUE ON CONFLICT REPLACE, w INTEGER NOT NULL DEFAULT 7 UNIQUE);
        INSERT INTO d VALUES (1, 'a', 7), (2, 'b', 8);";
    assert_eq!(told(store, "INSERT INTO d VALUES (3, 'a', 9)"), ["delete 1", "insert 3"]);
    assert_eq!(told(store, "UPDATE d SET u = 'a' WHERE id = 2"), ["delete 1", "update 2"]);
    // A null becomes the default.
    assert_eq!(told(store, "REPLACE INTO d VALUES (3, 'c', NULL)"), ["delete 1", "insert 3"]);
    assert_eq!(told(store, "UPDATE OR REPLACE d SET w = NULL WHERE id = 2"), ["delete 1", "update 2"]);
}

#[test]
fn i02_a_row_whose_number_is_taken_by_an_update_is_told_under_any_name_of_it() {
    for name in ["rowid", "oid", "_rowid_"] {
        let alias = "CREATE TABLE a (id INTEGER PRIMARY KEY, v); INSERT INTO a VALUES (1, 'x'), (2, 'y');";
        let sql = format!("UPDATE OR REPLACE a SET {name} = 1 WHERE v = 'y'");
        assert_eq!(told(alias, &sql), ["delete 1", "delete 2", "insert 1"], "{name}");
        let hidden = "CREATE TABLE h (v, w); INSERT INTO h VALUES ('x', 1), ('y', 2);";
        let sql = format!("UPDATE OR REPLACE h SET {name} = 1 WHERE v = 'y'");
        assert_eq!(told(hidden, &sql), ["delete 1", "delete 2", "insert 1"], "{name}");
    }
}

#[test]
fn i02_a_row_replaced_by_a_key_without_row_numbers_or_by_a_collation_is_told() {
    let store = "CREATE TABLE w (a TEXT COLLATE NOCASE, b INTEGER, v TEXT, PRIMARY KEY (a, b)) WITHOUT ROWID;
        CREATE UNIQUE INDEX wv ON w(v COLLATE RTRIM); INSERT INTO w VALUES ('k', 1, 'one'), ('l', 2, 'two');";
    assert_eq!(told(store, "UPDATE OR REPLACE w SET v = 'one  ' WHERE a = 'l'"), ["delete k", "update l"]);
    assert_eq!(
        told(store, "UPDATE OR REPLACE w SET a = 'K', b = 1 WHERE a = 'l'"),
        ["delete k", "delete l", "insert K"]
    );
    assert_eq!(told(store, "UPDATE OR REPLACE w SET a = 'K' WHERE a = 'k'"), ["delete k", "insert K"]);
}
