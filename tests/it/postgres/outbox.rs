//! The trigger outbox: what the legacy's own program does becomes events, in order, once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossfade::mapping::init::init;
use crossfade::postgres::describe;
use postgres::fallible_iterator::FallibleIterator;

use crate::support::cli::{Log, Migration, Ran};
use crate::support::crash::{Child, Random, signal};
use crate::support::ends::Ends;
use crate::support::flow::{Seen, assert_orderly, diff, events, mapping, open_log, run_all};
use crate::support::postgres::{Database, migration, projection, same_rows};

const STORE: &str = "
    CREATE TYPE mood AS ENUM ('good', 'it''s, \"odd\"');
    CREATE TABLE parent (id text PRIMARY KEY, name text UNIQUE, score double precision, data bytea, at timestamptz, mood mood, tags text[]);
    CREATE TABLE child (id integer PRIMARY KEY, parent text REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, note text);
    CREATE TABLE loose (id integer PRIMARY KEY, parent text REFERENCES parent ON DELETE SET NULL, note text);
    CREATE TABLE tree (id integer PRIMARY KEY, up integer REFERENCES tree ON DELETE CASCADE);
    CREATE TABLE made (id text PRIMARY KEY, n integer, twice integer GENERATED ALWAYS AS (n * 2) STORED);
    CREATE TABLE \"odd \"\"name\" (\"a b\" text PRIMARY KEY, \"select\" text, \"NEW\" text, \"it's\" text);
    CREATE TABLE parts (id integer, at date, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
    CREATE TABLE parts_a (note text, at date NOT NULL, gone int, id integer NOT NULL);
    ALTER TABLE parts_a DROP COLUMN gone;
    ALTER TABLE parts ATTACH PARTITION parts_a FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
    CREATE TABLE parts_b PARTITION OF parts FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
    INSERT INTO parent VALUES ('a', 'one', 1.5, '\\x00ff', 'epoch', 'good', '{a,\"b,c\"}'), ('b', 'two', 2, NULL, NULL, NULL, NULL);
    INSERT INTO child VALUES (1, 'a', 'first'), (2, 'a', 'second'), (3, 'b', NULL);
    INSERT INTO loose VALUES (1, 'a', 'x'), (2, NULL, 'y');
    INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, 3);
    INSERT INTO made VALUES ('m', 21);
    INSERT INTO \"odd \"\"name\" VALUES ('k', 's', 'n', 'i');
    INSERT INTO parts VALUES (1, '2020-05-01', 'x'), (2, '2021-05-01', 'y');";

/// A database under follow; nothing was written to it since its replay.
struct Followed {
    database: Database,
    migration: Migration,
}

impl Followed {
    fn new(log: Log, script: &str) -> Self {
        let followed = Self::installed(log, script);
        run_all(&followed.migration, &[&["replay"], &["follow", "--until-caught-up"]]);
        assert_eq!(followed.told().len(), 0);
        followed
    }

    fn mapped(log: Log, script: &str) -> Self {
        let database = Database::with(script);
        let migration = migration(log, &database, "  mapping: mapping.yaml\n", &projection(&database, true));
        let (text, _) = init(&describe(&database.login()).unwrap().schema, &migration.name);
        std::fs::write(migration.path("mapping.yaml"), text).unwrap();
        Self { database, migration }
    }

    fn installed(log: Log, script: &str) -> Self {
        let followed = Self::mapped(log, script);
        run_all(&followed.migration, &[&["provision", "apply"]]);
        followed.install(0);
        followed
    }

    #[track_caller]
    fn install(&self, code: i32) -> String {
        let ran = self.migration.run(&["follow", "--install", "--mode", "outbox", "--confirm", &self.migration.name]);
        assert_eq!(ran.code, Some(code), "{}\n{}", ran.stdout, ran.stderr);
        ran.stdout + &ran.stderr
    }

    fn told(&self) -> Vec<Seen> {
        let events = events(open_log(&self.migration).as_ref(), &mapping(&self.migration));
        events.into_iter().filter(|event| event.source.ends_with("#follow")).collect()
    }

    /// Follows, folds, and compares; gives what follow printed.
    #[track_caller]
    fn pass(&self) -> String {
        let ran = self.migration.run(&["follow", "--until-caught-up", "--allow", "mass-delete"]);
        assert_eq!(ran.code, Some(0), "{}\n{}", ran.stdout, ran.stderr);
        run_all(&self.migration, &[&["project"]]);
        let report = diff(&self.migration, &[], 0);
        assert_eq!(report["verdict"], "PASS", "{report:#}");
        assert_orderly(&events(open_log(&self.migration).as_ref(), &mapping(&self.migration)));
        ran.stdout + &ran.stderr
    }

    /// Operation and identity (its first column) of the events of follow, in the order they were made in.
    fn ops(&self) -> Vec<String> {
        let mapping = mapping(&self.migration);
        let mut told = self.told();
        told.sort_by_key(|event| event.sequence);
        told.iter().map(|event| event.change(&mapping)).collect()
    }
}

/// Runs a script and gives the events it led to; they fold to the rows, without a reconcile.
#[track_caller]
fn after(script: &str) -> Vec<String> {
    let followed = Followed::new(Log::Embedded, STORE);
    let mut program = followed.database.connect();
    // What is sent at once would be one transaction.
    for statement in script.split(";\n") {
        program.batch_execute(statement).unwrap_or_else(|error| panic!("{error:?} in {statement}"));
    }
    let said = followed.pass();
    assert!(!said.contains("reconciling"), "{said}");
    followed.ops()
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_statements_of_every_kind_are_told_in_order() {
    let told = after(
        "SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Kathmandu'; SET extra_float_digits = 0; SET bytea_output = 'escape';
         INSERT INTO parent VALUES ('c', 'three', '-0', '\\x5c00', '2020-03-04 05:06:07.000001+02', 'it''s, \"odd\"', '{NULL,\"\",\"\\\"\"}');
         UPDATE parent SET score = 0.1::float8 + 0.2::float8 WHERE id = 'a'; UPDATE made SET n = 4; UPDATE made SET n = 4;
         UPDATE \"odd \"\"name\" SET \"NEW\" = 'it''s \"new\"';
         INSERT INTO parent VALUES ('c') ON CONFLICT (id) DO UPDATE SET name = 'upserted'; INSERT INTO parent VALUES ('c') ON CONFLICT DO NOTHING;
         BEGIN; INSERT INTO made VALUES ('q', 1); ROLLBACK;
         BEGIN; INSERT INTO made VALUES ('r', 1); SAVEPOINT s; DELETE FROM made; ROLLBACK TO s; UPDATE made SET n = 9 WHERE id = 'r'; COMMIT;
         SET session_replication_role = replica; INSERT INTO made VALUES ('z', 1);",
    );
    assert_eq!(told, ["insert c", "update a", "update m", "update k", "update c", "insert r", "update r", "insert z"]);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_what_foreign_keys_do_is_told_row_by_row() {
    let mut told = after("DELETE FROM parent WHERE id = 'a'; DELETE FROM tree WHERE id = 1");
    told.sort();
    assert_eq!(
        told,
        ["delete 1", "delete 1", "delete 1", "delete 2", "delete 2", "delete 3", "delete 4", "delete a", "insert 1"]
    );
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_rows_of_partitions_are_their_tables_rows() {
    let told = after(
        "INSERT INTO parts VALUES (3, '2020-06-01', 'new'); UPDATE parts SET note = 'z' WHERE id = 1;
         UPDATE parts SET at = '2021-06-01' WHERE id = 3; INSERT INTO parts_b VALUES (4, '2021-07-01', 'direct');
         DELETE FROM parts WHERE id = 2;",
    );
    assert_eq!(told, ["insert 3", "update 1", "delete 3", "insert 3", "insert 4", "delete 2"]);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_keys_through_parents_that_move_or_go_are_reconciled() {
    let followed = Followed::new(Log::Embedded, STORE);
    followed.database.execute("UPDATE parent SET id = 'z' WHERE id = 'b'; DELETE FROM parent WHERE id = 'a'");
    followed.pass();
    followed.database.execute("TRUNCATE child, loose; INSERT INTO child VALUES (9, 'z', 'later')");
    let said = followed.pass();
    assert!(said.contains("TRUNCATE"), "{said}");
    assert_eq!(same_rows(&followed.database, "child", &["id", "parent", "note"]), 1);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i03_transactions_that_end_in_another_order_than_they_began_are_told_once_and_in_the_order_of_each_row() {
    let followed = Followed::new(
        Log::Embedded,
        "CREATE TABLE part (id integer PRIMARY KEY, body text); INSERT INTO part VALUES (1, 'a')",
    );
    let (mut first, mut second, mut held) =
        (followed.database.connect(), followed.database.connect(), followed.database.connect());
    first.batch_execute("BEGIN; INSERT INTO part VALUES (10, 'early')").unwrap();
    held.batch_execute("BEGIN; INSERT INTO part VALUES (20, 'held')").unwrap();
    second.batch_execute("BEGIN; UPDATE part SET body = 'second' WHERE id = 1; COMMIT").unwrap();
    // The transaction with the lower number changes the row after the one with the higher number.
    first.batch_execute("UPDATE part SET body = 'first' WHERE id = 1; COMMIT").unwrap();
    let caught_up = followed.migration.run(&["follow", "--until-caught-up"]);
    assert_eq!(caught_up.code, Some(0), "{}", caught_up.stderr);
    assert_eq!(followed.ops(), ["insert 10", "update 1", "update 1"], "a transaction that is open holds nobody up");
    held.batch_execute("COMMIT").unwrap();
    followed.pass();
    assert_eq!(followed.ops(), ["insert 10", "update 1", "update 1", "insert 20"]);
    assert_eq!(same_rows(&followed.database, "part", &["id", "body"]), 3);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i11_columns_never_to_be_read_are_kept_by_no_outbox() {
    let followed =
        Followed::mapped(Log::Embedded, "CREATE TABLE part (id integer PRIMARY KEY, body text, secret text NOT NULL);");
    let path = followed.migration.path("mapping.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("      secret: text\n", "").replace("    identity:", "    never: [secret]\n    identity:");
    std::fs::write(&path, &text).unwrap();
    run_all(&followed.migration, &[&["provision", "apply"]]);
    followed.install(0);
    run_all(&followed.migration, &[&["replay"]]);
    followed.database.execute("INSERT INTO part VALUES (1, 'a', 'hush-hush'); UPDATE part SET secret = 'hush-again'; UPDATE part SET body = 'b'");
    let kept =
        followed.database.column(&format!("SELECT c::text FROM crossfade_{}.changes AS c", followed.migration.name));
    assert!(kept.len() >= 3 && kept.iter().all(|row| !row.contains("hush")), "{kept:?}");
    followed.pass();
    assert_eq!(followed.ops(), ["insert 1", "update 1"]);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i06_an_outbox_is_taken_away_whole_and_without_the_journal() {
    let followed = Followed::new(Log::Embedded, STORE);
    let name = &followed.migration.name;
    followed.database.execute("INSERT INTO made VALUES ('x', 1)");
    std::fs::remove_file(followed.migration.path(".crossfade/journal.db")).unwrap();
    followed.migration.expect(&["follow", "--uninstall", "--confirm", name], 0);
    let left = followed.database.column(
        "SELECT tgname::text FROM pg_trigger WHERE tgname LIKE '%crossfade%' UNION ALL SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'crossfade%'",
    );
    assert_eq!(left, Vec::<String>::new());
    followed.database.execute("INSERT INTO made VALUES ('y', 1)");
    run_all(&followed.migration, &[&["replay"]]);
    let ran = followed.migration.run(&["follow", "--mode", "outbox"]);
    assert!(ran.code == Some(3) && ran.stderr.contains("has no outbox"), "{}", ran.stderr);
    assert!(followed.migration.expect(&["follow", "--uninstall", "--confirm", name], 0).contains("nothing to do"));
}

#[test]
#[ignore = "needs PostgreSQL"]
fn bad_input_is_refused_before_the_first_change() {
    let followed = Followed::mapped(Log::Embedded, "CREATE TABLE part (id integer PRIMARY KEY, body text);");
    run_all(&followed.migration, &[&["provision", "apply"]]);
    let refused = |ran: Ran, code: i32, words: &str| {
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
        let made = followed.database.column("SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'crossfade%'");
        assert_eq!(made, Vec::<String>::new());
    };
    let install = ["follow", "--install", "--mode", "outbox"];
    refused(followed.migration.run(&install), 3, "nothing was changed");

    let role = format!("weak_{}", followed.migration.name);
    let password = crate::support::postgres::password();
    followed
        .database
        .execute(&format!("CREATE ROLE {role} LOGIN PASSWORD '{password}'; GRANT SELECT ON part TO {role}"));
    let config = std::fs::read_to_string(followed.migration.path("crossfade.yaml")).unwrap();
    let weak = config.replace("tester@", &format!("{role}@"));
    std::fs::write(followed.migration.path("crossfade.yaml"), &weak).unwrap();
    refused(followed.migration.run(&install), 2, "GRANT CREATE ON DATABASE");
    followed.database.execute(&format!("GRANT CREATE ON DATABASE {} TO {role}", followed.database.name));
    refused(followed.migration.run(&install), 2, "GRANT TRIGGER ON");
    followed.database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
    std::fs::write(followed.migration.path("crossfade.yaml"), &config).unwrap();

    followed.database.execute(
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER \" first\" AFTER UPDATE ON part FOR EACH ROW EXECUTE FUNCTION touch();",
    );
    refused(followed.migration.run(&install), 3, "would run before the outbox's");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_table_altered_under_follow_stops_it_and_the_mended_mapping_loses_nothing() {
    let followed = Followed::new(
        Log::Embedded,
        "CREATE TABLE part (id integer PRIMARY KEY, body text); INSERT INTO part VALUES (1, 'a')",
    );
    followed.database.execute(
        "INSERT INTO part VALUES (2, 'before'); ALTER TABLE part RENAME COLUMN body TO text; INSERT INTO part VALUES (3, 'after');",
    );
    let ran = followed.migration.run(&["follow", "--until-caught-up"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("body"), "{}", ran.stderr);
    // Dropped and made again between two runs, it has its old name in a new place.
    followed.database.execute(
        "ALTER TABLE part RENAME COLUMN text TO body; ALTER TABLE part DROP COLUMN body; ALTER TABLE part ADD COLUMN body text;",
    );
    let ran = followed.migration.run(&["follow", "--until-caught-up"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("altered since"), "{}", ran.stderr);
    followed.install(0);
    followed.database.execute("INSERT INTO part VALUES (4, 'again')");
    let said = followed.pass();
    assert!(said.contains("reconcil"), "{said}");
    assert_eq!(same_rows(&followed.database, "part", &["id", "body"]), 4);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn an_outbox_that_lost_a_part_is_found_out() {
    let followed = Followed::new(Log::Embedded, STORE);
    let name = format!("!crossfade_{}_row", followed.migration.name);
    followed
        .database
        .execute(&format!("ALTER TABLE made DISABLE TRIGGER \"{name}\"; INSERT INTO made VALUES ('unseen', 1)"));
    let ran = followed.migration.run(&["follow", "--until-caught-up"]);
    assert!(ran.code == Some(3) && ran.stderr.contains("is switched off"), "{}", ran.stderr);
    followed.database.execute(&format!("DROP TRIGGER \"{name}\" ON made"));
    let ran = followed.migration.run(&["follow", "--until-caught-up"]);
    assert!(ran.code == Some(3) && ran.stderr.contains("is gone"), "{}", ran.stderr);
    followed.install(0);
    followed.pass();
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_database_put_back_to_an_older_state_is_refused() {
    let followed = Followed::new(
        Log::Embedded,
        "CREATE TABLE part (id integer PRIMARY KEY, body text); INSERT INTO part VALUES (1, 'a')",
    );
    let changes = format!("crossfade_{}.changes", followed.migration.name);
    followed.database.execute("INSERT INTO part VALUES (2, 'b'), (3, 'c')");
    followed.pass();
    // What a backup would have put back: the number is there, of another transaction.
    followed.database.execute(&format!(
        "DELETE FROM {changes}; ALTER SEQUENCE crossfade_{}.number RESTART; INSERT INTO part VALUES (4, 'd'), (5, 'e'), (6, 'f')",
        followed.migration.name
    ));
    let ran = followed.migration.run(&["follow", "--until-caught-up"]);
    assert!(ran.code == Some(3) && ran.stderr.contains("put back to an older state"), "{}", ran.stderr);
    followed.migration.expect(&["follow", "--uninstall", "--confirm", &followed.migration.name], 0);
    followed.install(0);
    followed.pass();
    assert_eq!(same_rows(&followed.database, "part", &["id", "body"]), 6);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_writers_at_work_lose_nothing_at_the_hand_over_on_the_embedded_log() {
    writers_at_work(Log::Embedded);
}

#[test]
#[ignore = "needs PostgreSQL and Kafka"]
fn i02_writers_at_work_lose_nothing_at_the_hand_over_on_kafka() {
    writers_at_work(Log::Kafka);
}

/// Four writers with transactions of many lengths run while outbox, replay and follow start, and while follow is killed.
fn writers_at_work(log: Log) {
    let followed = Followed::mapped(
        log,
        "CREATE TABLE part (id integer PRIMARY KEY, n integer NOT NULL, body text); INSERT INTO part SELECT g, 0, repeat('x', g % 50) FROM generate_series(1, 3000) AS g",
    );
    run_all(&followed.migration, &[&["provision", "apply"]]);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (stop, database) = (&stop, &followed.database);
            scope.spawn(move || {
                let (mut client, mut random) = (database.connect(), Random::new(seed));
                let mut made = 0;
                while !stop.load(Ordering::Relaxed) {
                    let own = 10_000 + seed * 100_000 + made;
                    made += 1;
                    let id = random.below(3000) + 1;
                    // Rows are taken in the order of their ids, so that no two writers wait for each other.
                    let script = match random.below(6) {
                        0 => format!("INSERT INTO part VALUES ({own}, 1, 'own')"),
                        1 => format!("DELETE FROM part WHERE id = {id}"),
                        2 => format!("INSERT INTO part VALUES ({id}, 1, 'again') ON CONFLICT (id) DO UPDATE SET n = part.n + 1"),
                        3 => format!("BEGIN; UPDATE part SET n = n + 1 WHERE id = 7; INSERT INTO part VALUES ({own}, 1, NULL); SELECT pg_sleep({}); COMMIT", random.below(8) as f64 / 100.0),
                        4 => format!("BEGIN; UPDATE part SET n = n + 1 WHERE id = {id}; ROLLBACK"),
                        _ => format!("UPDATE part SET n = n + 1, body = body || 'y' WHERE id = {id}"),
                    };
                    client.batch_execute(&script).unwrap_or_else(|error| panic!("{error:?} in {script}"));
                }
            });
        }
        let _ended = Ends(&stop);
        std::thread::sleep(Duration::from_millis(200));
        followed.install(0);
        run_all(&followed.migration, &[&["replay"]]);
        for wait in [300, 700, 1500] {
            let mut follow = followed.migration.command(&["follow"]).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(wait));
            follow.kill().unwrap();
            follow.wait().unwrap();
        }
    });
    let said = followed.pass();
    assert!(!said.contains("reconciling"), "{said}");
    assert!(followed.told().len() > 100);
    same_rows(&followed.database, "part", &["id", "n", "body"]);
    let left =
        followed.database.column(&format!("SELECT count(*)::text FROM crossfade_{}.changes", followed.migration.name));
    assert!(left[0].parse::<u64>().unwrap() < 60_000, "{left:?}");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i08_an_outbox_killed_half_way_through_being_made_or_taken_away_is_gone_on_with() {
    let followed = Followed::new(Log::Embedded, STORE);
    let confirm = ["--confirm", followed.migration.name.as_str()];
    let kill_at = |args: &[&str], place: &str| {
        let mut command = followed.migration.command(&[args, &confirm[..]].concat());
        command.env("CROSSFADE_STOP_AT", place);
        Child::at(command, place.split(':').next().unwrap()).kill();
    };
    // Some of its triggers are gone, some are there: what is written meanwhile is not all told.
    kill_at(&["follow", "--uninstall"], "follow.triggers-gone:5");
    followed.database.execute("INSERT INTO made VALUES ('between', 1)");
    let ran = followed.migration.run(&["follow", "--until-caught-up"]);
    assert!(ran.code == Some(3) && ran.stderr.contains("no longer whole"), "{}", ran.stderr);
    kill_at(&["follow", "--install", "--mode", "outbox"], "follow.installed:1");
    followed.install(0);
    let said = followed.pass();
    assert!(said.contains("reconcil"), "{said}");
}

/// The server lets one transaction at a time commit that has a NOTIFY.
#[test]
#[ignore = "needs PostgreSQL"]
fn i09_writers_call_a_follow_that_sleeps_and_nobody_while_it_is_awake() {
    let followed = Followed::new(Log::Embedded, STORE);
    let mut writer = followed.database.connect();
    let mut listener = followed.database.connect();
    listener.batch_execute(&format!("LISTEN \"crossfade_{}\"", followed.migration.name)).unwrap();
    let mut calls = || {
        let mut news = listener.notifications();
        std::iter::from_fn(|| news.timeout_iter(Duration::from_millis(300)).next().unwrap()).count()
    };
    let follow = Child::start(followed.migration.command(&["follow"]));
    for n in 0..300 {
        writer.batch_execute(&format!("INSERT INTO tree VALUES ({}, NULL)", 100 + n)).unwrap();
        std::thread::sleep(Duration::from_millis(3));
    }
    let called = calls();
    assert!(called < 60, "{called} calls");
    let asleep = "SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ExclusiveLock' \
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    let began = std::time::Instant::now();
    while followed.database.column(asleep) != ["1"] {
        assert!(began.elapsed() < Duration::from_secs(20), "it never falls asleep");
        std::thread::sleep(Duration::from_millis(20));
    }
    calls();
    writer.batch_execute("INSERT INTO tree VALUES (99, NULL)").unwrap();
    assert_eq!(calls(), 1);
    signal("INT", follow.id());
    assert_eq!(follow.wait().0.code(), Some(130));
    followed.pass();
    assert_eq!(followed.told().len(), 301);
}
