//! Decoding where tables are of other kinds, and what becomes of the slot.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossfade::base::Kind;
use crossfade::port::change_source::{Capture, ChangeSource, Changes};
use crossfade::postgres::decoding::{Limits, PostgresDecoding};

use crate::support::decoding::{Bench, Decoded};
use crate::support::ends::Ends;
use crate::support::flow::assert_orderly;
use crate::support::followed::MIGRATION;
use crate::support::postgres::Database;

const ROWS: &str =
    "CREATE TABLE part (id integer PRIMARY KEY, body text); CREATE TABLE other (id integer PRIMARY KEY, body text);
    INSERT INTO part SELECT n, 'body ' || n FROM generate_series(1, 200) AS n;";

const PART: &str = "version: 1\ntypes: postgres\ntopics: {rows: {partitions: 3}}\ntables:\n  part:\n    topic: rows\n    \
    identity: [id]\n    columns: {id: integer, body: text}\n";

fn part() -> Bench {
    let bench = Bench::mapped(Decoded { database: Database::with(ROWS) }, PART);
    bench.install();
    bench.replay();
    bench
}

/// What lies in the server's log for the slot, as it would be sent.
fn would_be_sent(bench: &Bench) -> String {
    let slot =
        bench.database.column("SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()");
    let sql = format!(
        "SELECT coalesce(string_agg(encode(data, 'escape'), ''), '') FROM pg_logical_slot_peek_binary_changes('{}', NULL, NULL, \
         'proto_version', '1', 'publication_names', 'crossfade_{MIGRATION}')",
        slot[0]
    );
    bench.database.column(&sql).remove(0)
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i07_columns_never_to_be_read_do_not_leave_the_server() {
    let text = "version: 1\ntypes: postgres\ntopics: {rows: {partitions: 3}}\nnever: [users]\ntables:\n  s:\n    topic: rows\n    \
        identity: [id]\n    columns: {id: integer, v: text}\n    never: [secret]\n";
    let script = "CREATE TABLE s (id integer PRIMARY KEY, v text, secret text); CREATE TABLE users (id integer PRIMARY KEY, password text);
        ALTER TABLE s ALTER v SET STORAGE EXTERNAL; INSERT INTO s VALUES (0, repeat('large ', 20000), 'hush')";
    let mut bench = Bench::mapped(Decoded { database: Database::with(script) }, text);
    bench.install();
    bench.replay();
    bench.run("INSERT INTO s VALUES (1, 'v', 'hush'); UPDATE s SET secret = 'hush hush'; UPDATE s SET v = 'w', secret = 'hush' WHERE id = 1;
        UPDATE s SET id = 2, secret = 'hush' WHERE id = 1; DELETE FROM s WHERE id = 2; INSERT INTO users VALUES (1, 'hush')");
    let sent = would_be_sent(&bench);
    assert!(sent.contains('w') && !sent.contains("hush"), "{sent}");
    bench.assert_followed();
    assert_eq!(bench.reconciles, 0);
    // The large value of row 0 was not sent again, and is not lost.
    let told = bench.told();
    assert!(
        told.iter()
            .all(|event| event.value["row"]["id"] != 0 || event.value["row"]["v"].as_str().unwrap().len() == 120_000)
    );
    assert_eq!(bench.ops(0).last().unwrap(), "delete 2");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_rows_in_partitions_are_told_as_those_of_their_table() {
    let mut bench = Bench::of(
        "CREATE TABLE split (id integer, kind text, body text, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
         CREATE TABLE split_a PARTITION OF split FOR VALUES IN ('a'); CREATE TABLE split_b PARTITION OF split DEFAULT;
         INSERT INTO split VALUES (1, 'a', 'x'), (2, 'b', 'y');",
    );
    bench.install();
    bench.replay();
    bench.run("UPDATE split SET body = 'new'; UPDATE split SET kind = 'c' WHERE id = 1; INSERT INTO split VALUES (3, 'a', NULL); DELETE FROM split_b WHERE id = 2");
    bench.assert_followed();
    assert_eq!((bench.reconciles, bench.told().len()), (0, 6));
    // A partition made later has no whole old rows: what came without them is compared.
    bench.run("CREATE TABLE split_z PARTITION OF split FOR VALUES IN ('z'); INSERT INTO split VALUES (9, 'z', 'new'); UPDATE split SET body = 'newer' WHERE id = 9");
    bench.assert_followed();
    assert_eq!(bench.reconciles, 1);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i03_a_record_key_that_comes_through_a_parent_is_found_while_it_is_there_and_after() {
    let text = "version: 1\ntypes: postgres\ntopics: {rows: {partitions: 6}}\ntables:\n  root:\n    topic: rows\n    identity: [id]\n    \
        columns: {id: integer, name: text}\n  leaf:\n    topic: rows\n    identity: [id]\n    parents: [root]\n    \
        through: {columns: [root], parent: root, referenced: [id]}\n    columns: {id: integer, root: integer}\n";
    let script = "CREATE TABLE root (id integer PRIMARY KEY, name text); CREATE TABLE leaf (id integer PRIMARY KEY, root integer);
        INSERT INTO root VALUES (1, 'one'), (2, 'two'); INSERT INTO leaf VALUES (10, 1), (20, 2)";
    let mut bench = Bench::mapped(Decoded { database: Database::with(script) }, text);
    bench.install();
    bench.replay();
    bench.run("INSERT INTO leaf VALUES (11, 1), (99, 7); UPDATE leaf SET root = 2 WHERE id = 10");
    bench.assert_followed();
    bench.run("BEGIN; DELETE FROM leaf WHERE root = 1; DELETE FROM root WHERE id = 1; COMMIT");
    bench.assert_followed();
    assert_eq!(bench.reconciles, 0);
    let told = bench.told();
    let keys: Vec<(String, &str)> =
        told.iter().map(|event| (format!("{} {}", event.op(), event.value["row"]["id"]), event.key.as_str())).collect();
    let key = |op: &str| keys.iter().find(|(found, _)| found == op).map(|(_, key)| *key);
    assert_eq!((key("insert 99"), key("delete 10"), key("insert 10")), (Some("99"), Some("1"), Some("2")), "{keys:?}");
    assert_eq!(key("delete 11"), Some("1"), "{keys:?}");
    // A parent that comes after its child gives it another key: that is compared.
    bench.run("INSERT INTO leaf VALUES (98, 8)");
    bench.assert_followed();
    let before = bench.reconciles;
    bench.run("INSERT INTO leaf VALUES (97, 8); INSERT INTO root VALUES (8, 'later')");
    bench.assert_followed();
    assert_eq!(bench.reconciles, before + 1);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i05_a_slot_far_behind_what_was_told_does_not_say_that_nothing_is_left() {
    let mut bench = part();
    let from = bench.follow().position;
    // Told, and not confirmed: as a server has it that was killed before it wrote down what was confirmed.
    bench.run("INSERT INTO part SELECT n, 'told' FROM generate_series(1000, 13000) AS n");
    let (mut changes, capture) = (Changes::default(), bench.capture());
    let mut reader = capture.open(&from).unwrap();
    while !changes.caught_up {
        reader.read(&mut changes, 100_000, Duration::from_millis(200)).unwrap();
    }
    drop(reader);
    let told = changes.end.clone();
    assert_ne!(told, from);
    let active = "SELECT active::text FROM pg_replication_slots WHERE database = current_database()";
    while bench.database.column(active) != ["false"] {
        std::thread::sleep(Duration::from_millis(10));
    }
    bench.run("UPDATE part SET body = 'not told' WHERE id = 1");
    assert!(capture.lag(&told).unwrap().any());
    let snapshot = || bench.source().snapshot().unwrap().position().unwrap().unwrap();
    assert!(!capture.covers(&told, &snapshot()).unwrap());
    let seen = snapshot();
    bench.assert_followed();
    let told = bench.follow().position;
    assert!(capture.covers(&told, &seen).unwrap());
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_slot_moves_on_where_only_others_write_and_is_dropped_before_the_disk_is_full() {
    let mut bench = part();
    bench.assert_followed();
    let confirmed = || -> u64 {
        bench.database.column("SELECT (confirmed_flush_lsn - '0/0')::bigint::text FROM pg_replication_slots WHERE database = current_database()")[0].parse().unwrap()
    };
    let before = confirmed();
    bench.run("INSERT INTO other SELECT n, repeat('x', 900) FROM generate_series(1, 30000) AS n");
    assert!(matches!(bench.try_follow(), Ok(crossfade::capture::Ended::CaughtUp(_))));
    assert!(confirmed() > before + (20 << 20), "the slot stayed behind");

    let limited = |warn, drop| {
        PostgresDecoding::new(bench.database.login(), MIGRATION, Arc::clone(&bench.mapping), Limits { warn, drop })
    };
    assert_eq!(limited(1 << 40, 0).watch().unwrap(), None);
    let said = limited(1, 1 << 40).watch().unwrap().unwrap();
    assert!(said.contains("of its log for the slot"), "{said}");
    assert!(limited(1, 1 << 40).keeps().unwrap().unwrap().contains("kept for the slot"));
    let said = limited(1, 2).watch().unwrap().unwrap();
    assert!(said.contains("was dropped"), "{said}");
    bench.run("INSERT INTO part VALUES (1000, 'unseen')");
    let error = bench.try_follow().unwrap_err();
    assert!(error.kind() == Kind::Refused && error.message().contains("is gone"), "{error:?}");
    bench.install();
    bench.assert_followed();
    assert_eq!(bench.reconciles, 1);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_slot_that_vanished_or_was_moved_on_by_somebody_else_is_refused() {
    let mut bench = part();
    bench.run("UPDATE part SET body = 'a' WHERE id = 1");
    bench.assert_followed();
    bench.run("UPDATE part SET body = 'missed' WHERE id = 2");
    bench.run("SELECT pg_replication_slot_advance(slot_name, pg_current_wal_lsn()) FROM pg_replication_slots WHERE database = current_database()");
    let error = bench.try_follow().unwrap_err();
    assert!(error.kind() == Kind::Refused && error.message().contains("somebody has moved the slot"), "{error:?}");
    bench.install();
    bench.assert_followed();
    assert_eq!(bench.reconciles, 1);
    bench.run("UPDATE part SET body = 'b' WHERE id = 1; SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()");
    let error = bench.try_follow().unwrap_err();
    assert!(error.kind() == Kind::Refused && error.message().contains("is gone"), "{error:?}");
    assert!(error.help().unwrap().contains("--install"));
    bench.run("DROP PUBLICATION crossfade_bench");
    bench.install();
    bench.assert_followed();
    bench.run("ALTER PUBLICATION crossfade_bench SET (publish = 'insert')");
    let error = bench.try_follow().unwrap_err();
    assert!(error.message().contains("leaves kinds of changes out"), "{error:?}");
}

/// The slot is being made while transactions are open that began before, and commit in any order.
#[test]
#[ignore = "needs PostgreSQL"]
fn i02_no_change_is_lost_or_told_twice_between_snapshot_and_slot() {
    let mut bench = Bench::mapped(Decoded { database: Database::with(ROWS) }, PART);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let (bench, stop) = (&bench, &stop);
            scope.spawn(move || {
                let mut client = bench.database.connect();
                let mut n = 0;
                while !stop.load(Ordering::Relaxed) {
                    n += 1;
                    let id = 10_000 * (writer + 1) + n;
                    client
                        .batch_execute(&format!(
                            "BEGIN; INSERT INTO part VALUES ({id}, 'new'); UPDATE part SET body = body || '.' WHERE id = {};
                             DELETE FROM part WHERE id = {}; COMMIT; UPDATE part SET id = -{id} WHERE id = {id}",
                            1 + (n * 7 + writer) % 200,
                            -(id - 3)
                        ))
                        .unwrap();
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let _ended = Ends(&stop);
        std::thread::sleep(Duration::from_millis(300));
        bench.install();
        bench.replay();
        for _ in 0..4 {
            assert!(matches!(bench.try_follow(), Ok(crossfade::capture::Ended::CaughtUp(_))));
            // A reconcile beside writers: follow goes on from its snapshot.
            bench.reconcile();
        }
    });
    bench.assert_followed();
    assert_eq!(bench.reconciles, 0);
    let all = crate::support::flow::events(&bench.log, &bench.mapping);
    assert_orderly(&all);
    assert!(bench.told().len() > 100, "{}", bench.told().len());
    // What was taken in by a reconcile is not told again: no update leads to what the row was already.
    let same = bench
        .told()
        .iter()
        .filter(|event| event.op() == "update" && event.value["row"] == event.value["before"])
        .count();
    assert_eq!(same, 0);
}

/// Whoever asks for a table alone makes all that come later wait behind him, even for what he himself waits for.
#[test]
#[ignore = "needs PostgreSQL"]
fn i09_what_a_slot_needs_is_made_and_taken_away_beside_a_long_read_and_no_writer_waits_for_it() {
    let bench = Bench::mapped(Decoded { database: Database::with(ROWS) }, PART);
    let stop = AtomicBool::new(false);
    let beside_a_read = |work: &dyn Fn()| {
        std::thread::scope(|scope| {
            let mut reader = bench.database.connect();
            reader.batch_execute("BEGIN; SELECT count(*) FROM part").unwrap();
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(1_500));
                reader.batch_execute("COMMIT").unwrap();
            });
            work();
        });
    };
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut client = bench.database.connect();
            client.batch_execute("SET lock_timeout = '250ms'").unwrap();
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                client.batch_execute(&format!("UPDATE part SET body = 'b {n}' WHERE id = {}", 1 + n % 200))?;
                std::thread::sleep(Duration::from_millis(2));
            }
            Ok::<i32, postgres::Error>(n)
        });
        let ends = Ends(&stop);
        beside_a_read(&|| bench.install());
        beside_a_read(&|| bench.capture().remove().unwrap());
        drop(ends);
        let written = writer.join().unwrap().unwrap();
        assert!(written > 100, "{written}");
    });
}

#[test]
#[ignore = "needs PostgreSQL"]
fn looks_from_outside_and_a_follow_that_begins_do_not_meet() {
    let mut bench = part();
    let told = bench.follow().position;
    // So much that a look takes a while.
    bench.run("INSERT INTO part SELECT n, repeat('x', 200) FROM generate_series(1000, 9000) AS n");
    let (capture, ended) = (bench.capture(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    capture.lag(&told).unwrap();
                }
            });
        }
        let _ended = Ends(&ended);
        for _ in 0..6 {
            drop(capture.open(&told).unwrap());
        }
    });
    bench.assert_followed();
}
