//! One kind of statement at a time, on a store with keys of several kinds.

use crate::support::follow::{Bench, Outbox};

const STORE: &str = "
    CREATE TABLE parent (id TEXT PRIMARY KEY, name TEXT UNIQUE COLLATE NOCASE, score REAL, data BLOB);
    CREATE TABLE child (id INTEGER PRIMARY KEY, parent TEXT REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, note);
    CREATE TABLE loose (id INTEGER PRIMARY KEY, parent TEXT REFERENCES parent ON DELETE SET NULL, note);
    CREATE TABLE tree (id INTEGER PRIMARY KEY, up INTEGER REFERENCES tree ON DELETE CASCADE);
    CREATE TABLE pair (a TEXT, b INTEGER, v, PRIMARY KEY (a DESC, b)) WITHOUT ROWID;
    CREATE TABLE plain (x, y);
    CREATE TABLE made (id TEXT PRIMARY KEY, n INTEGER, twice AS (n * 2), kept TEXT AS (upper(id)) STORED);
    CREATE TABLE \"odd \"\"name\" (\"a b\" TEXT PRIMARY KEY, \"select\" TEXT, \"NEW\" TEXT, \"it's\" TEXT);
    INSERT INTO parent VALUES ('a', 'one', 1.5, x'00ff'), ('b', 'two', 2, NULL);
    INSERT INTO child VALUES (1, 'a', 'first'), (2, 'a', 'second'), (3, 'b', NULL);
    INSERT INTO loose VALUES (1, 'a', 'x'), (2, NULL, 'y');
    INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, 3);
    INSERT INTO pair VALUES ('x', 1, 'one'), ('x', 2, 'two');
    INSERT INTO plain VALUES (1, 2), (3, 4), (5, 6);
    INSERT INTO made VALUES ('m', 21);
    INSERT INTO \"odd \"\"name\" VALUES ('k', 's', 'n', 'i');";

fn followed() -> Bench {
    let mut bench = Bench::of(STORE);
    bench.install();
    bench.replay();
    bench.assert_followed();
    assert_eq!((bench.told().len(), bench.reconciles), (0, 0));
    bench
}

/// Runs a script and gives the events it led to; they fold to the rows.
#[track_caller]
fn after(script: &str) -> Vec<String> {
    let mut bench = followed();
    bench.run(script);
    bench.assert_followed();
    assert_eq!(bench.reconciles, 0);
    bench.ops(0)
}

#[test]
fn i02_inserts_updates_and_deletes_are_told_in_order() {
    let told = after(
        "INSERT INTO parent VALUES ('c', 'three', -0.0, x''); UPDATE parent SET score = 9e999 WHERE id = 'a';
         DELETE FROM pair WHERE b = 1; INSERT INTO pair VALUES ('y', 9223372036854775807, 0.1);
         UPDATE made SET n = 4; UPDATE \"odd \"\"name\" SET \"NEW\" = 'it''s \"new\"';",
    );
    assert_eq!(told, ["insert c", "update a", "delete x", "insert y", "update m", "update k"]);
}

#[test]
fn i02_what_foreign_keys_do_is_told_row_by_row() {
    // Children first, as SQLite does it; a key set to null is a move to the row's own key.
    assert_eq!(
        after("DELETE FROM parent WHERE id = 'a'"),
        ["delete 1", "insert 1", "delete 1", "delete 2", "delete a"]
    );
    assert_eq!(after("DELETE FROM tree WHERE id = 1"), ["delete 4", "delete 3", "delete 2", "delete 1"]);
    let mut told = after("UPDATE parent SET id = 'z' WHERE id = 'b'");
    told.sort();
    assert_eq!(told, ["delete 3", "delete b", "insert 3", "insert z"]);
}

#[test]
fn i02_rows_replaced_without_a_trigger_are_told_as_deleted() {
    assert_eq!(after("INSERT OR REPLACE INTO parent VALUES ('b', 'new', 3, NULL)"), ["delete 3", "update b"]);
    assert_eq!(
        after("INSERT OR REPLACE INTO parent VALUES ('c', 'ONE', 3, NULL)"),
        ["delete a", "delete 1", "insert 1", "delete 1", "delete 2", "insert c"]
    );
    assert_eq!(
        after("DELETE FROM child; DELETE FROM loose; UPDATE OR REPLACE parent SET name = 'One' WHERE id = 'b'")[5..],
        ["delete a", "update b"]
    );
    assert_eq!(after("REPLACE INTO pair VALUES ('x', 2, 'again')"), ["update x"]);
    let recursive = "DELETE FROM child; DELETE FROM loose; PRAGMA recursive_triggers = ON;
        REPLACE INTO parent VALUES ('c', 'one', 3, NULL)";
    assert_eq!(after(recursive)[5..], ["delete a", "insert c"]);
}

#[test]
fn i02_rows_that_stand_in_the_way_and_stay_are_not_told() {
    assert_eq!(after("INSERT OR IGNORE INTO parent VALUES ('a', 'x', 1, NULL), ('q', 'TWO', 1, NULL)"), [""; 0]);
    assert_eq!(
        after("INSERT INTO parent VALUES ('a', 'x', 1, NULL) ON CONFLICT (id) DO UPDATE SET score = 77"),
        ["update a"]
    );
    assert_eq!(after("INSERT INTO parent VALUES ('a', 'x', 1, NULL) ON CONFLICT DO NOTHING"), [""; 0]);
    assert_eq!(
        after("UPDATE parent SET name = name, score = score; UPDATE OR IGNORE parent SET name = 'one'"),
        [""; 0]
    );
}

#[test]
fn i02_what_was_rolled_back_is_not_told() {
    let told = after(
        "BEGIN; INSERT INTO plain VALUES (7, 8); ROLLBACK;
         BEGIN; INSERT INTO plain VALUES (8, 9); SAVEPOINT s; DELETE FROM plain; ROLLBACK TO s; UPDATE plain SET y = 0 WHERE x = 1; COMMIT;",
    );
    assert_eq!(told, ["insert 4", "update 1"]);
}

/// The triggers run on the SQLite of the legacy's program, which is not the one built in here: the `sqlite3` command's
/// is older.
#[test]
fn the_triggers_work_on_another_sqlite() {
    let mut bench = followed();
    let script = "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;
        INSERT INTO parent VALUES ('c', 'three', 0.1, x'00'); INSERT OR REPLACE INTO parent VALUES ('d', 'ONE', 3, NULL);
        UPDATE OR REPLACE parent SET name = 'two' WHERE id = 'c'; DELETE FROM tree WHERE id = 1; UPDATE made SET n = n + 1;
        INSERT INTO pair VALUES ('x', 1, 'again') ON CONFLICT DO UPDATE SET v = excluded.v; REPLACE INTO pair VALUES ('x', 2, NULL);
        BEGIN; DELETE FROM plain; SAVEPOINT s; INSERT INTO plain VALUES (1, 1); ROLLBACK TO s; COMMIT;
        INSERT INTO plain VALUES (9e999, CAST(x'ff' AS TEXT));";
    let ran = std::process::Command::new("sqlite3").arg(bench.legacy()).arg(script).output().unwrap();
    assert!(ran.status.success() && ran.stderr.is_empty(), "{}", String::from_utf8_lossy(&ran.stderr));
    bench.assert_followed();
    assert_eq!(bench.reconciles, 0);
    let told = bench.ops(0);
    assert!(
        told.len() > 20 && told.contains(&"delete a".to_owned()) && told.contains(&"delete b".to_owned()),
        "{told:?}"
    );
}

#[test]
fn i02_a_row_number_used_again_is_another_row() {
    let told = after("DELETE FROM plain WHERE x = 5; INSERT INTO plain VALUES (50, 60);");
    assert_eq!(told, ["delete 3", "insert 3"]);
    assert_eq!(after("UPDATE plain SET rowid = 10 WHERE x = 3"), ["delete 2", "insert 10"]);
}

#[test]
fn i02_row_numbers_that_vacuum_gave_anew_are_reconciled() {
    let mut bench = followed();
    bench.run("DELETE FROM plain WHERE x = 1; INSERT INTO plain VALUES (9, 9)");
    bench.run("VACUUM");
    bench.run("UPDATE plain SET y = 1 WHERE x = 3");
    bench.assert_followed();
    assert_eq!(bench.reconciles, 1);
    bench.run("INSERT INTO plain VALUES (10, 10)");
    bench.assert_followed();
    assert_eq!(bench.reconciles, 1);
}

#[test]
fn i04_every_value_is_told_exactly() {
    let told = after(
        "INSERT INTO plain VALUES (x'00ff', CAST(x'ff00fe' AS TEXT)), ('a' || char(0) || 'b', 0.1), (9223372036854775807, -9223372036854775808),
             (1e308 * 10, -1e308 * 10), (5e-324, '1'), (1, 1.0), (NULL, ''), (9007199254740993, x'');
         INSERT INTO parent VALUES ('r', NULL, 3, CAST('text in a blob' AS BLOB)), ('s', 'n', '4', 5);
         UPDATE plain SET x = y, y = x;",
    );
    assert!(told.len() > 20, "{told:?}");
}

#[test]
fn i03_a_trigger_of_the_legacy_comes_after_what_led_to_it() {
    let mut bench = Bench::of(
        "CREATE TABLE t (id TEXT PRIMARY KEY, v, touched INTEGER DEFAULT 0);
         CREATE TRIGGER app AFTER UPDATE OF v ON t BEGIN UPDATE t SET touched = touched + 1 WHERE id = NEW.id; END;
         INSERT INTO t VALUES ('a', 1, 0)",
    );
    bench.install();
    bench.replay();
    bench.run("UPDATE t SET v = 2");
    bench.assert_followed();
    let told = bench.told();
    let touched: Vec<_> = told.iter().map(|event| event.value["row"]["touched"].as_i64().unwrap()).collect();
    assert_eq!(touched, [0, 1]);
}

#[test]
fn columns_never_to_be_read_never_enter_the_outbox() {
    let text = "version: 1\ntopics: {t: {partitions: 2}}\ntables:\n  s: {topic: t, identity: [id], columns: {id: TEXT, v: TEXT}, never: [secret]}\nnever: [users]\n";
    let legacy =
        Outbox::of("CREATE TABLE s (id TEXT PRIMARY KEY, v TEXT, secret TEXT); CREATE TABLE users (id, password)");
    let mut bench = Bench::mapped(legacy, text);
    bench.install();
    bench.replay();
    bench.run("INSERT INTO s VALUES ('a', 'v', 'hush'); UPDATE s SET secret = 'hush hush'; REPLACE INTO s VALUES ('a', 'w', 'hush'); INSERT INTO users VALUES (1, 'hush')");
    bench.run("PRAGMA wal_checkpoint(TRUNCATE)");
    let kept: i64 = bench
        .app()
        .query_row("SELECT count(*) FROM _crossfade_bench_changes WHERE instr(quote(n0) || quote(o0) || quote(n1) || quote(o1), 'hush')", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, 0);
    bench.assert_followed();
    assert_eq!(bench.ops(0), ["insert a", "update a"], "a change of the secret alone is none");
}

#[test]
fn a_table_of_more_than_a_hundred_columns_is_followed() {
    let columns: Vec<String> = (0..130).map(|number| format!("c{number} REAL")).collect();
    let mut bench = Bench::of(&format!("CREATE TABLE wide (id TEXT PRIMARY KEY, {})", columns.join(", ")));
    bench.install();
    bench.replay();
    bench.run("INSERT INTO wide (id, c0, c129) VALUES ('w', 1, 2); UPDATE wide SET c64 = 64; REPLACE INTO wide (id, c7) VALUES ('w', 7)");
    bench.assert_followed();
    assert_eq!(bench.ops(0), ["insert w", "update w", "update w"]);
}
