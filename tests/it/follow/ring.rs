//! The outbox as a ring: what its triggers keep, what the legacy's program feels of that, and what follow does when
//! changes went by.

use std::sync::atomic::{AtomicBool, Ordering};

use crossfade::base::Kind;
use crossfade::capture::Ended;
use crossfade::port::change_source::Capture;
use rusqlite::Connection;

use crate::support::follow::Bench;

const KEEPS: u64 = 2_000;
const SLAB: i64 = 1_024;

/// A store of one table that rows replace each other in, under an outbox of [`KEEPS`] changes.
fn bench(script: &str) -> Bench {
    let bench = Bench::of(script);
    bench.keeps.store(KEEPS, Ordering::Relaxed);
    bench.install();
    bench.replay();
    bench
}

fn plain() -> Bench {
    bench("CREATE TABLE t (id INTEGER PRIMARY KEY, v, u TEXT UNIQUE); INSERT INTO t VALUES (1, 'a', 'one')")
}

fn number(connection: &Connection, sql: &str) -> i64 {
    connection.query_row(sql, [], |row| row.get(0)).unwrap_or_else(|error| panic!("{error} in {sql}"))
}

fn held(connection: &Connection) -> i64 {
    number(connection, "SELECT count(*) FROM _crossfade_bench_changes")
}

/// Writes so many rows in one transaction.
fn write(bench: &Bench, rows: u32) {
    bench.run(&format!(
        "WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < {rows}) INSERT INTO t (v) SELECT i FROM g"
    ));
}

#[test]
fn i09_the_triggers_keep_the_outbox_small_whatever_numbers_a_statement_takes() {
    for (statement, each) in [
        ("INSERT INTO t (v) VALUES (1)", 1),
        ("INSERT OR REPLACE INTO t VALUES (1, 'b', 'one')", 2),
        ("INSERT INTO t VALUES (1, 'b', 'two') ON CONFLICT (id) DO UPDATE SET v = v || 'x'", 2),
        ("UPDATE t SET v = v || 'y' WHERE id = 1", 1),
        ("INSERT OR IGNORE INTO t VALUES (1, 'c', 'one'); UPDATE t SET v = 1 WHERE id = 1", 2),
        ("INSERT INTO t VALUES (7, 1, 'seven'); DELETE FROM t WHERE id = 7", 2),
    ] {
        let bench = plain();
        let app = bench.app();
        app.execute_batch("BEGIN").unwrap();
        for _ in 0..6_000 {
            app.execute_batch(statement).unwrap();
        }
        app.execute_batch("COMMIT").unwrap();
        let most = number(&app, "SELECT max(number) FROM _crossfade_bench_changes");
        assert!(most >= 6_000 * each, "{statement}: {most} numbers");
        let held = held(&app);
        let keeps = KEEPS as i64;
        assert!(held >= keeps && held <= keeps + SLAB + 2, "{statement}: {held} changes are kept");
    }
}

#[test]
fn i09_what_the_program_is_told_of_its_own_statement_is_as_without_triggers() {
    let bench = plain();
    let app = bench.app();
    app.execute_batch("BEGIN").unwrap();
    let mut slabs = 0;
    for at in 0..5_000 {
        let before = held(&app);
        let total = app.total_changes();
        assert_eq!(app.execute("INSERT INTO t (id, v) VALUES (?1, 1)", [1_000_000 + at]).unwrap(), 1);
        assert_eq!((app.last_insert_rowid(), app.changes()), (1_000_000 + at, 1));
        assert!(app.total_changes() > total);
        slabs += i32::from(held(&app) < before);
        if at % 500 == 0 {
            assert_eq!(app.execute("UPDATE t SET v = 2 WHERE id >= 1000000", []).unwrap() as i64, at + 1);
            assert_eq!(app.last_insert_rowid(), 1_000_000 + at);
        }
    }
    app.execute_batch("ROLLBACK").unwrap();
    assert!(slabs > 2, "{slabs}");
    assert_eq!(held(&app), 1, "what was rolled back took nothing with it");
}

#[test]
fn i09_no_write_fails_by_a_slab_whatever_its_policy_and_what_runs_it() {
    let mut bench = bench(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v, u TEXT UNIQUE);
         CREATE TABLE tree (id INTEGER PRIMARY KEY, up INTEGER REFERENCES tree ON DELETE CASCADE);
         CREATE TABLE pair (a TEXT, b INTEGER, v, PRIMARY KEY (a, b)) WITHOUT ROWID;
         CREATE TRIGGER deny BEFORE INSERT ON pair WHEN NEW.b < 0 BEGIN SELECT RAISE(IGNORE); END;
         CREATE TRIGGER deeper AFTER INSERT ON tree WHEN NEW.id % 1000 > 0 BEGIN INSERT INTO tree VALUES (NEW.id - 1, NULL); END;",
    );
    let app = bench.app();
    app.execute_batch("PRAGMA recursive_triggers = ON").unwrap();
    for round in 0..40 {
        let base = round * 1_000;
        app.execute_batch(&format!(
            "INSERT INTO tree VALUES ({base} + 900, NULL);
             WITH RECURSIVE g(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM g WHERE i < 300)
                 INSERT OR REPLACE INTO t SELECT i, {round}, 'u' || (i % 290) FROM g;
             WITH RECURSIVE g(i) AS (SELECT -50 UNION ALL SELECT i + 1 FROM g WHERE i < 300)
                 INSERT OR IGNORE INTO pair SELECT 'p', i % 200, {round} FROM g;
             UPDATE tree SET up = id - 1 WHERE id > {base} AND id <= {base} + 900;
             DELETE FROM tree WHERE id = {base};
             UPDATE OR REPLACE pair SET b = b + 1 WHERE b > 150;"
        ))
        .unwrap();
        for policy in ["FAIL", "ROLLBACK", "ABORT"] {
            let sql = format!("INSERT OR {policy} INTO t VALUES (NULL, 'x', 'new {round}{policy}'), (NULL, 'y', 'u1')");
            let failed = app.execute_batch(&sql).unwrap_err();
            assert!(failed.to_string().contains("UNIQUE"), "{failed}");
        }
    }
    assert!(held(&app) <= KEEPS as i64 + SLAB + 700, "{}", held(&app));
    drop(app);
    bench.assert_followed();
    assert_eq!(bench.reconciles, 1);
}

#[test]
fn i02_changes_that_went_by_are_reconciled_and_the_verdict_says_so() {
    let mut bench = plain();
    bench.run("UPDATE t SET v = 'b'");
    bench.assert_followed();
    write(&bench, 500);
    bench.assert_followed();
    assert_eq!(bench.reconciles, 0);
    // One transaction larger than the ring leaves its tail.
    write(&bench, 5_000);
    bench.run("INSERT INTO t (v) VALUES ('last')");
    bench.assert_followed();
    let state = bench.follow();
    assert_eq!((bench.reconciles, state.gaps.count, state.gaps.running), (1, 1, 0), "{state:?}");
    assert!(state.gaps.last.contains("the log has them up to 502 only"), "{}", state.gaps.last);
    write(&bench, 500);
    bench.assert_followed();
    assert_eq!(bench.reconciles, 1);
}

#[test]
fn i02_two_gaps_running_end_and_name_the_size_needed() {
    let bench = plain();
    write(&bench, 4_000);
    assert!(matches!(bench.try_follow().unwrap(), Ended::Reconcile(_)));
    bench.reconcile();
    write(&bench, 4_000);
    let error = bench.try_follow().unwrap_err();
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    assert!(error.help().unwrap_or_default().contains("keep_changes: 8000"), "{error} {:?}", error.help());
    // With more room it goes on, and the outbox is the same one.
    let mut bench = bench;
    bench.keeps.store(8_000, Ordering::Relaxed);
    bench.install();
    bench.assert_followed();
    assert_eq!(bench.reconciles, 1, "that which was due");
    write(&bench, 6_000);
    bench.assert_followed();
    assert_eq!(bench.reconciles, 1);
}

#[test]
fn i02_rows_taken_out_by_hand_are_noticed_wherever_they_stood() {
    for taken in ["number > 40", "number BETWEEN 40 AND 60", "number < 60", "number > 90", "1"] {
        let mut bench = plain();
        for at in 0..100 {
            bench.run(&format!("INSERT INTO t VALUES ({at} + 10, 1, 'r{at}')"));
            if at == 20 {
                bench.assert_followed();
            }
        }
        bench.run("DELETE FROM t WHERE id > 60; UPDATE t SET v = 'new' WHERE id > 30");
        bench.run(&format!("DELETE FROM _crossfade_bench_changes WHERE {taken}"));
        bench.run("INSERT INTO t VALUES (500, 1, 'after'), (501, 1, 'that')");
        bench.assert_followed();
        assert_eq!(bench.reconciles, 1, "{taken}");
        bench.run("UPDATE t SET v = 'again'");
        bench.assert_followed();
        assert_eq!(bench.reconciles, 1, "{taken}");
    }
}

#[test]
fn i02_a_file_that_another_has_taken_the_place_of_is_reconciled() {
    let mut bench = plain();
    bench.run("UPDATE t SET v = 'b'");
    bench.assert_followed();
    let (legacy, copy) = (bench.legacy(), bench.legacy().with_extension("copy"));
    bench.run(&format!("VACUUM INTO '{}'", copy.display()));
    for tail in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{tail}", legacy.display()));
    }
    std::fs::rename(&copy, &legacy).unwrap();
    bench.run("PRAGMA journal_mode = WAL; INSERT INTO t VALUES (9, 1, 'nine')");
    bench.assert_followed();
    assert_eq!(bench.reconciles, 1);
}

#[test]
fn i09_follow_writes_nothing_to_the_legacy() {
    let mut bench = plain();
    write(&bench, 300);
    let app = bench.app();
    let version = number(&app, "PRAGMA data_version");
    bench.assert_followed();
    bench.assert_followed();
    assert_eq!(number(&app, "PRAGMA data_version"), version, "somebody else committed");
    assert_eq!(held(&app), 301);
}

/// As versions before made it: what it holds, and the triggers of one table.
const FIRST: &str = "
    CREATE TABLE \"_crossfade_bench_meta\" (key, value);
    CREATE TABLE \"_crossfade_bench_changes\" (number INTEGER PRIMARY KEY, made, tab, op, n0, o0, n1, o1);
    CREATE TRIGGER \"_crossfade_bench_1_insert\" AFTER INSERT ON \"t\" BEGIN INSERT INTO \"_crossfade_bench_changes\" (made, tab, op, n0, n1) VALUES (julianday('now'), 1, 'i', NEW.\"id\", NEW.\"u\"); END;
    CREATE TRIGGER \"_crossfade_bench_1_update\" AFTER UPDATE ON \"t\" BEGIN INSERT INTO \"_crossfade_bench_changes\" (made, tab, op, o0, o1, n0, n1) VALUES (julianday('now'), 1, 'u', OLD.\"id\", OLD.\"u\", NEW.\"id\", NEW.\"u\"); END;
    CREATE TRIGGER \"_crossfade_bench_1_delete\" AFTER DELETE ON \"t\" BEGIN INSERT INTO \"_crossfade_bench_changes\" (made, tab, op, o0) VALUES (julianday('now'), 1, 'd', OLD.\"id\"); END;
    CREATE TRIGGER \"_crossfade_bench_1_before_insert\" BEFORE INSERT ON \"t\" BEGIN INSERT INTO \"_crossfade_bench_changes\" (made, tab, op, o0, o1) SELECT julianday('now'), 1, 'c', t.\"id\", t.\"u\" FROM \"t\" AS t WHERE t.\"id\" = NEW.\"id\"; INSERT INTO \"_crossfade_bench_changes\" (made, tab, op, o0, o1) SELECT julianday('now'), 1, 'c', t.\"id\", t.\"u\" FROM \"t\" AS t WHERE t.\"u\" COLLATE \"BINARY\" = NEW.\"u\"; END;
    CREATE TRIGGER \"_crossfade_bench_1_before_update\" BEFORE UPDATE OF \"id\", \"u\" ON \"t\" BEGIN INSERT INTO \"_crossfade_bench_changes\" (made, tab, op, o0, o1) SELECT julianday('now'), 1, 'c', t.\"id\", t.\"u\" FROM \"t\" AS t WHERE t.\"id\" = NEW.\"id\" AND NOT (t.\"rowid\" IS OLD.\"rowid\"); INSERT INTO \"_crossfade_bench_changes\" (made, tab, op, o0, o1) SELECT julianday('now'), 1, 'c', t.\"id\", t.\"u\" FROM \"t\" AS t WHERE t.\"u\" COLLATE \"BINARY\" = NEW.\"u\" AND NOT (t.\"rowid\" IS OLD.\"rowid\"); END;
    INSERT INTO \"_crossfade_bench_meta\" VALUES ('format', 1), ('incarnation', 'made-long-ago');
    INSERT INTO \"_crossfade_bench_changes\" (number, made, tab, op) VALUES (1, julianday('now'), 0, 's');";

#[test]
fn i02_an_outbox_of_the_first_form_is_read_and_made_a_ring_without_losing_a_change() {
    use crossfade::port::change_source::ChangeSource;
    let mut bench =
        Bench::of("CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT UNIQUE); INSERT INTO t VALUES (1, 'one')");
    bench.run(FIRST);
    bench.keeps.store(KEEPS, Ordering::Relaxed);
    bench.replay();
    bench.run("INSERT INTO t VALUES (2, 'two'); REPLACE INTO t VALUES (3, 'one')");
    bench.assert_followed();
    assert_eq!(bench.ops(0), ["insert 2", "delete 1", "insert 3"]);
    let dated = bench.capture().dated().unwrap().unwrap();
    assert!(dated.contains("grows without end: it holds 4 changes") && dated.contains("--install"), "{dated}");
    bench.run("INSERT INTO t VALUES (4, 'four')");
    // A writer at work meanwhile loses nothing.
    let stop = AtomicBool::new(false);
    let app = bench.app();
    std::thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            app.execute_batch("PRAGMA busy_timeout = 5000").unwrap();
            for at in 0.. {
                if stop.load(Ordering::Relaxed) && at > 300 {
                    break;
                }
                app.execute("INSERT INTO t (u) VALUES (?1)", [format!("w{at}")]).unwrap();
            }
        });
        let planned = bench.capture().plan().unwrap();
        assert!(planned.keeps && !planned.whole);
        bench.install();
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(bench.capture().dated().unwrap(), None);
    bench.assert_followed();
    assert_eq!(bench.reconciles, 0);
    assert_eq!(bench.capture().incarnation().unwrap(), "made-long-ago");
    bench.run("REPLACE INTO t VALUES (5, 'two')");
    bench.assert_followed();
    assert_eq!(bench.reconciles, 0);
}

#[test]
fn a_trigger_of_another_migration_is_no_newer_one() {
    let mut bench = plain();
    bench.run(
        "CREATE TABLE _crossfade_other_changes (number INTEGER PRIMARY KEY, x);
         CREATE TRIGGER _crossfade_other_1_insert AFTER INSERT ON t BEGIN INSERT INTO _crossfade_other_changes (x) VALUES (NEW.v); END;
         INSERT INTO t VALUES (5, 5, 'five')",
    );
    bench.assert_followed();
    assert_eq!(bench.ops(0), ["insert 5"]);
}

#[test]
fn what_the_outbox_keeps_and_outlasts_is_said() {
    use crossfade::port::change_source::ChangeSource;
    let bench = plain();
    assert_eq!(
        bench.capture().keeps().unwrap().unwrap(),
        "the outbox keeps up to 2,000 changes with or without a follow"
    );
    bench.run("INSERT INTO _crossfade_bench_changes (number, made, tab, op) VALUES (11, julianday('now', '+100 seconds'), 0, 's')");
    let said = bench.capture().keeps().unwrap().unwrap();
    assert!(said.contains("at the rate of the last 10 those of 5 hours"), "{said}");
}
