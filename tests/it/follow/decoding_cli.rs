//! Decoding through the binary: consent, kills at every boundary, a program at work beside it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::cli::{Log, Migration};
use crate::support::crash::{Child, Random, signal};
use crate::support::ends::Ends;
use crate::support::flow::{assert_orderly, diff, events, has_finding, json, mapping, open_log, run_all};
use crate::support::postgres::{Database, migration, projection, same_rows};

const ROWS: &str = "CREATE TABLE part (id integer PRIMARY KEY, size numeric(10,2), at timestamptz, body text);
    INSERT INTO part SELECT n, n / 7.0, 'epoch'::timestamptz + n * interval '1 hour', repeat('body ' || n, 10) FROM generate_series(1, 500) AS n";

pub(super) fn map(migration: &Migration) {
    let text = format!(
        "version: 1\ntypes: postgres\ntopics: {{{0}.rows: {{partitions: 6}}}}\ntables:\n  part:\n    topic: {0}.rows\n    \
         identity: [id]\n    columns: {{id: integer, size: \"numeric(10,2)\", at: timestamptz, body: text}}\n",
        migration.name
    );
    std::fs::write(migration.path("mapping.yaml"), text).unwrap();
}

fn store(log: Log) -> (Database, Migration) {
    let database = Database::with(ROWS);
    let migration = migration(log, &database, "  mapping: mapping.yaml\n", &projection(&database, true));
    map(&migration);
    migration.expect(&["provision", "apply"], 0);
    (database, migration)
}

pub(super) fn install(migration: &Migration) {
    migration.expect(&["follow", "--install", "--confirm", &migration.name], 0);
}

pub(super) fn passes(migration: &Migration) {
    run_all(migration, &[&["follow", "--until-caught-up"], &["project"]]);
    assert_eq!(diff(migration, &[], 0)["verdict"], "PASS");
}

pub(super) fn followed(migration: &Migration) -> usize {
    let told = events(open_log(migration).as_ref(), &mapping(migration));
    told.iter().filter(|event| event.source.ends_with("#follow")).count()
}

#[track_caller]
pub(super) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i06_a_slot_is_shown_confirmed_journalled_and_taken_away_without_the_journal() {
    let (database, migration) = store(Log::Embedded);
    let shown = migration.run(&["follow", "--install"]);
    assert_eq!(shown.code, Some(3), "{}", shown.stderr);
    for words in ["CREATE SCHEMA", "REPLICA IDENTITY FULL", "CREATE PUBLICATION", "pg_create_logical_replication_slot"]
    {
        assert!(shown.stdout.contains(words), "no '{words}' in {}", shown.stdout);
    }
    assert!(
        shown.stderr.contains("nothing was changed") && shown.stderr.contains("fills the disk"),
        "{}",
        shown.stderr
    );
    assert_eq!(database.column("SELECT pubname::text FROM pg_publication"), Vec::<String>::new());
    install(&migration);
    assert!(migration.expect(&["follow", "--install"], 0).contains("nothing to do"));
    let journal = migration.expect(&["journal", "export"], 0);
    let steps: Vec<&str> =
        journal.lines().filter(|line| line.contains("follow step") && line.contains("announced")).collect();
    assert!(steps.len() >= 6 && steps.iter().all(|step| step.contains("back")), "{steps:#?}");
    run_all(&migration, &[&["replay"], &["project"]]);
    database.execute("UPDATE part SET body = 'new' WHERE id = 7");
    has_finding(&diff(&migration, &[], 5), "follow-behind", "gap");
    let status = migration.expect(&["status"], 0);
    assert!(status.contains("1 change not in the log yet") && status.contains("kept for the slot"), "{status}");
    passes(&migration);
    assert!(migration.expect(&["status"], 0).contains("the log has every change"));
    assert_eq!(same_rows(&database, "part", &["id", "size", "at", "body"]), 500);
    std::fs::remove_file(migration.path(".crossfade/journal.db")).unwrap();
    migration.expect(&["follow", "--uninstall", "--confirm", &migration.name], 0);
    assert!(migration.expect(&["follow", "--uninstall"], 0).contains("nothing to do"));
    assert_eq!(database.column("SELECT relreplident::text FROM pg_class WHERE oid = 'public.part'::regclass"), ["d"]);
    let ran = migration.run(&["follow"]);
    assert_eq!(ran.code, Some(3));
    assert!(ran.stderr.contains("has no slot of this migration"), "{}", ran.stderr);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i08_a_follow_by_decoding_killed_at_every_boundary_goes_on() {
    let (database, migration) = store(Log::Embedded);
    let stop = |args: &[&str], boundary: &str, nth: u32| {
        let mut command = migration.command(args);
        command.env("CROSSFADE_STOP_AT", format!("{boundary}:{nth}")).env("CROSSFADE_TRANSACTION_ROWS", "30");
        Child::at(command, boundary).kill();
    };
    let confirmed = ["follow", "--install", "--confirm", &migration.name];
    stop(&confirmed, "follow.installed", 1);
    database.execute(
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()",
    );
    stop(&confirmed, "follow.triggers-gone", 1);
    install(&migration);
    migration.expect(&["replay"], 0);
    let mut from = 1000;
    for boundary in
        ["follow.writer-open", "follow.begun", "follow.before-commit", "follow.after-commit", "follow.released"]
    {
        for nth in [1, 2] {
            // More than one batch, in one transaction.
            database.execute(&format!(
                "BEGIN; INSERT INTO part SELECT n, 1, now(), 'x' FROM generate_series({from}, {from} + 99) AS n;
                 UPDATE part SET body = 'y' WHERE id >= {from}; COMMIT; UPDATE part SET body = 'z{from}' WHERE id < 20"
            ));
            from += 100;
            if nth == 2 && ["follow.writer-open", "follow.begun"].contains(&boundary) {
                continue;
            }
            stop(&["follow"], boundary, nth);
        }
    }
    passes(&migration);
    let all = events(open_log(&migration).as_ref(), &mapping(&migration));
    assert_orderly(&all);
    assert_eq!(followed(&migration), 10 * (200 + 19));
}

fn i02_a_program_at_work_is_followed_by_decoding_under_kills(log: Log) {
    let (database, migration) = store(log);
    let stop = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let (database, stop) = (&database, &stop);
                scope.spawn(move || {
                    let (mut client, mut n) = (database.connect(), 0);
                    while !stop.load(Ordering::Relaxed) {
                        n += 1;
                        let id = 10_000 * (writer + 1) + n;
                        let sql = format!(
                            "BEGIN; INSERT INTO part VALUES ({id}, 1.5, now(), 'new ' || pg_current_xact_id()); SAVEPOINT s; DELETE FROM part WHERE id > {writer} + 400; ROLLBACK TO s;
                             UPDATE part SET body = body || '.' WHERE id = {}; DELETE FROM part WHERE id = {}; COMMIT",
                            1 + (n * 7 + writer) % 500,
                            id - 5
                        );
                        if client.batch_execute(&sql).is_err() { client.batch_execute("ROLLBACK").unwrap(); }
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    n
                })
            })
            .collect();
        let ends = Ends(&stop);
        install(&migration);
        migration.expect(&["replay"], 0);
        let mut random = Random::new(u64::from(std::process::id()));
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(8) {
            let child = Child::start(migration.command(&["follow"]));
            std::thread::sleep(Duration::from_millis(200 + random.below(1_500)));
            if let Err((status, said)) = child.kill_if_alive() {
                panic!("follow ended by itself: {status}\n{said}");
            }
        }
        drop(ends);
        writers.into_iter().map(|writer| writer.join().unwrap() as usize).sum::<usize>()
    });
    migration.expect(&["follow", "--until-caught-up"], 0);
    let all = events(open_log(&migration).as_ref(), &mapping(&migration));
    assert_orderly(&all);
    passes(&migration);
    same_rows(&database, "part", &["id", "size", "at", "body"]);
    assert!(all.iter().all(|event| !event.source.ends_with("#reconcile")), "nothing was left to be reconciled");
    assert!(followed(&migration) > written, "{} events of {written} transactions", followed(&migration));
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_on_the_embedded_log_a_program_at_work_is_followed_by_decoding_under_kills() {
    i02_a_program_at_work_is_followed_by_decoding_under_kills(Log::Embedded);
}

#[test]
#[ignore = "needs PostgreSQL and Kafka"]
fn i02_on_kafka_a_program_at_work_is_followed_by_decoding_under_kills() {
    i02_a_program_at_work_is_followed_by_decoding_under_kills(Log::Kafka);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i08_of_two_follows_by_decoding_the_older_is_fenced() {
    let (database, migration) = store(Log::Embedded);
    install(&migration);
    migration.expect(&["replay"], 0);
    let older = Child::start(migration.command(&["follow"]));
    database.execute("UPDATE part SET body = 'one' WHERE id = 1");
    until("the change is followed", || followed(&migration) == 1);
    // A look from outside does not take the slot away.
    assert!(migration.expect(&["status"], 0).contains("follow"));
    let newer = Child::start(migration.command(&["follow"]));
    let (status, said) = older.wait();
    assert_eq!(status.code(), Some(4), "{said}");
    database.execute("UPDATE part SET body = 'two' WHERE id = 1");
    until("the newer goes on", || followed(&migration) == 2);
    // A replay takes its place, and it goes on behind that.
    migration.expect(&["replay"], 0);
    database.execute("UPDATE part SET body = 'three' WHERE id = 1");
    until("it goes on behind the replay", || followed(&migration) == 3);
    let began = Instant::now();
    signal("INT", newer.id());
    assert_eq!(newer.wait().0.code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    passes(&migration);
    let told = json(&migration.expect(&["follow", "--until-caught-up", "--output", "json"], 0));
    assert_eq!((&told["mode"], &told["reconciled"]), (&"decoding".into(), &0.into()), "{told:#}");
}
