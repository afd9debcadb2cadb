//! One kind of statement at a time, out of PostgreSQL's own log.

use std::time::Duration;

use crossfade::capture::Ended;
use crossfade::port::change_source::{Capture, ChangeSource, Changes};

use crate::support::decoding::Bench;

const STORE: &str = "
    CREATE TABLE parent (id text PRIMARY KEY, name text UNIQUE, score double precision, data bytea);
    CREATE TABLE child (id integer PRIMARY KEY, parent text REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, note text);
    CREATE TABLE loose (id integer PRIMARY KEY, parent text REFERENCES parent ON DELETE SET NULL, note text);
    CREATE TABLE tree (id integer PRIMARY KEY, up integer REFERENCES tree ON DELETE CASCADE);
    CREATE TABLE pair (a text, b bigint, v text, PRIMARY KEY (a, b));
    CREATE TABLE \"odd \"\"name\" (\"a b\" text PRIMARY KEY, \"select\" text, \"it's\" text);
    CREATE TABLE big (id integer PRIMARY KEY, body text, small text);
    ALTER TABLE big ALTER body SET STORAGE EXTERNAL;
    INSERT INTO parent VALUES ('a', 'one', 1.5, '\\x00ff'), ('b', 'two', 2, NULL);
    INSERT INTO child VALUES (1, 'a', 'first'), (2, 'a', 'second'), (3, 'b', NULL);
    INSERT INTO loose VALUES (1, 'a', 'x'), (2, NULL, 'y');
    INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, 3);
    INSERT INTO pair VALUES ('x', 1, 'one'), ('x', 2, 'two');
    INSERT INTO \"odd \"\"name\" VALUES ('k', 's', 'i');
    INSERT INTO big VALUES (1, repeat('large ', 20000), 'small');";

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
fn after(bench: &mut Bench, script: &str) -> Vec<String> {
    let before = bench.told().len();
    bench.run(script);
    bench.assert_followed();
    assert_eq!(bench.reconciles, 0);
    bench.ops(before)
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_by_decoding_each_kind_of_statement_is_told() {
    let bench = &mut followed();
    assert_eq!(
        after(
            bench,
            "INSERT INTO parent VALUES ('c', 'three', '-0', ''); UPDATE parent SET score = 'infinity' WHERE id = 'a';
             DELETE FROM pair WHERE b = 1; INSERT INTO pair VALUES ('y', 9223372036854775807, NULL);
             UPDATE \"odd \"\"name\" SET \"select\" = 'it''s \"new\"';"
        ),
        ["insert c", "update a", "delete x", "insert y", "update k"]
    );
    assert_eq!(after(bench, "UPDATE pair SET b = 3 WHERE b = 2"), ["delete x", "insert x"]);
    assert_eq!(after(bench, "UPDATE parent SET name = name, score = score"), [""; 0]);
    assert_eq!(
        after(bench, "INSERT INTO parent VALUES ('a', 'x', 1) ON CONFLICT (id) DO UPDATE SET score = 77"),
        ["update a"]
    );
    assert_eq!(after(bench, "INSERT INTO parent VALUES ('a', 'x', 1) ON CONFLICT DO NOTHING"), [""; 0]);
    // A value too large for its row is not sent again when it stays.
    assert_eq!(after(bench, "UPDATE big SET small = 'other'"), ["update 1"]);
    let told = bench.told();
    let last = &told.last().unwrap().value;
    assert_eq!(last["row"]["body"].as_str().map(str::len), Some(120_000));
    assert_eq!((&last["before"]["small"], &last["row"]["small"]), (&"small".into(), &"other".into()));
    assert_eq!(after(bench, "UPDATE big SET id = 2"), ["delete 1", "insert 2"]);
    let mut told = after(bench, "DELETE FROM parent WHERE id = 'a'");
    told.sort();
    assert_eq!(told, ["delete 1", "delete 1", "delete 2", "delete a", "insert 1"]);
    let mut told = after(bench, "UPDATE parent SET id = 'z' WHERE id = 'b'");
    told.sort();
    assert_eq!(told, ["delete 3", "delete b", "insert 3", "insert z"]);
    let mut told = after(bench, "DELETE FROM tree WHERE id = 1");
    told.sort();
    assert_eq!(told, ["delete 1", "delete 2", "delete 3", "delete 4"]);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_by_decoding_only_what_is_committed_is_told() {
    let bench = &mut followed();
    let told = after(
        bench,
        "BEGIN; INSERT INTO pair VALUES ('r', 1); ROLLBACK;
         BEGIN; INSERT INTO pair VALUES ('s', 1); SAVEPOINT s; DELETE FROM pair; ROLLBACK TO s; UPDATE pair SET v = 'new' WHERE b = 2; COMMIT;",
    );
    assert_eq!(told, ["insert s", "update x"]);
    let mut client = bench.database.connect();
    let mut copy = client.copy_in("COPY tree FROM STDIN").unwrap();
    std::io::Write::write_all(&mut copy, b"70\t\\N\n71\t70\n").unwrap();
    copy.finish().unwrap();
    assert_eq!(after(bench, "SELECT 1"), ["insert 70", "insert 71"]);
    // What reverse writes is no news.
    let own =
        "BEGIN; SELECT pg_logical_emit_message(true, 'crossfade', ''); INSERT INTO tree VALUES (80, NULL); COMMIT;
        DELETE FROM tree WHERE id = 80";
    assert_eq!(after(bench, own), ["delete 80"]);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_by_decoding_what_a_truncate_took_is_reconciled() {
    let mut bench = followed();
    bench.run("INSERT INTO pair VALUES ('before', 1); BEGIN; TRUNCATE pair, tree; INSERT INTO pair VALUES ('after', 1); COMMIT; INSERT INTO tree VALUES (9, NULL)");
    bench.assert_followed();
    assert_eq!(bench.reconciles, 1);
    bench.run("UPDATE pair SET v = 'later'");
    bench.assert_followed();
    assert_eq!(bench.reconciles, 1);
    assert_eq!(bench.ops(0).last().unwrap(), "update after");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_by_decoding_a_transaction_of_fifty_thousand_rows_is_told_once() {
    let mut bench = followed();
    bench.run("INSERT INTO tree SELECT n, NULL FROM generate_series(1000, 50999) AS n; UPDATE tree SET up = 1000 WHERE id = 1001");
    bench.assert_followed();
    let told = bench.told();
    let ids: std::collections::BTreeSet<&str> = told.iter().map(|event| event.id.as_str()).collect();
    assert_eq!((told.len(), ids.len(), bench.reconciles), (50_001, 50_001, 0));
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_batch_does_not_wait_for_writers_that_never_pause() {
    let mut bench = followed();
    let position = bench.follow().position;
    let mut reader = bench.capture().open(&position).unwrap();
    let mut client = bench.database.connect();
    let writing = std::thread::spawn(move || {
        for number in 0..3_000 {
            client.execute("INSERT INTO tree VALUES ($1::int, NULL)", &[&(1_000 + number)]).unwrap();
        }
    });
    let mut changes = Changes::default();
    while changes.is_empty() {
        reader.read(&mut changes, 1_000_000, Duration::from_secs(1)).unwrap();
    }
    let told_meanwhile = !writing.is_finished();
    writing.join().unwrap();
    assert!(told_meanwhile, "a batch of {} changes", changes.len());
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i06_a_slot_is_taken_away_with_all_that_came_with_it() {
    let bench = followed();
    let identities = "SELECT relname || relreplident::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = relnamespace \
        WHERE nspname = 'public' AND relkind = 'r' ORDER BY 1";
    assert!(bench.database.column(identities).iter().all(|identity| identity.ends_with('f')));
    bench.capture().remove().unwrap();
    assert!(bench.database.column(identities).iter().all(|identity| identity.ends_with('d')));
    for nothing in [
        "SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()",
        "SELECT pubname::text FROM pg_publication",
        "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'crossfade%'",
    ] {
        assert_eq!(bench.database.column(nothing), Vec::<String>::new());
    }
    assert_eq!(bench.capture().planned_removal().unwrap(), Vec::<String>::new());
    assert!(bench.capture().incarnation().is_err());
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_a_table_that_changes_in_mid_follow_stops_it_before_any_event_of_the_change() {
    for (change, words) in [
        ("ALTER TABLE pair ADD COLUMN later text DEFAULT 'x'", "column 'later' of table 'pair' is neither mapped nor"),
        // Which of the two names is missed first depends on who looks first.
        ("ALTER TABLE pair RENAME COLUMN v TO w", "table 'pair'"),
        ("ALTER TABLE pair DROP COLUMN v", "table 'pair' has no column 'v', which is mapped"),
        (
            "ALTER TABLE pair ALTER COLUMN v TYPE bytea USING v::bytea",
            "'v' of table 'pair' is mapped as text, and is bytea",
        ),
        ("ALTER TABLE pair RENAME TO couple", "table 'pair' is not in the publication"),
        ("DROP TABLE pair", "table 'pair' is not in the publication"),
    ] {
        let mut bench = followed();
        bench.run("UPDATE pair SET v = 'seen' WHERE b = 1");
        bench.run(change);
        let table = if change.ends_with("couple") { "couple" } else { "pair" };
        if !change.starts_with("DROP") {
            bench.run(&format!("DELETE FROM {table} WHERE b = 2"));
        }
        let error = bench.try_follow().unwrap_err();
        assert!(error.message().contains(words), "{change}: {error:?}");
        assert_eq!(error.kind(), crossfade::base::Kind::Refused);
        assert!(bench.ops(0).iter().all(|op| op == "update x"), "{change}: {:?}", bench.ops(0));
        if change.contains("ADD COLUMN") {
            // Once the table is as it was, the rows are compared, and follow goes on behind that.
            bench.run("ALTER TABLE pair DROP COLUMN later; INSERT INTO pair VALUES ('n', 1)");
            assert!(bench.try_follow().is_err());
            bench.reconcile();
            bench.run("INSERT INTO pair VALUES ('n', 2)");
            bench.assert_followed();
            assert!(matches!(bench.try_follow(), Ok(Ended::CaughtUp(_))));
            assert_eq!(bench.ops(0).last().unwrap(), "insert n");
        }
    }
}
