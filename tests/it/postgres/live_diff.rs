//! A diff of a PostgreSQL legacy while its program is at work, by either capture.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::cli::{Log, Migration};
use crate::support::crash::{Child, Random, signal};
use crate::support::ends::Ends;
use crate::support::flow::{diff, has_finding, run_all};
use crate::support::postgres::{Database, Server, migration, projection};

const STORE: &str = "CREATE TABLE part (id integer PRIMARY KEY, body text, n integer NOT NULL DEFAULT 0);
    INSERT INTO part SELECT n, 'body ' || n FROM generate_series(1, 5000) AS n";

const MAPPING: &str = "    identity: [id]\n    columns: {id: integer, body: text, n: integer}\n";

#[test]
#[ignore = "needs PostgreSQL"]
fn i04_a_diff_beside_writers_of_postgresql_holds_by_decoding() {
    let server = Server::start();
    // What is committed is seen by others for long before it is safe on the disk, and before then it is not sent.
    server.execute("ALTER SYSTEM SET synchronous_commit = off");
    server.execute("ALTER SYSTEM SET wal_writer_delay = '1s'");
    server.execute("ALTER SYSTEM SET wal_writer_flush_after = '1GB'");
    server.execute("SELECT pg_reload_conf()");
    beside_writers("decoding", &Database::on(&server));
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i04_a_diff_beside_writers_of_postgresql_holds_by_outbox() {
    beside_writers("outbox", &Database::new());
}

fn end(child: Child) {
    signal("INT", child.id());
    let (status, said) = child.wait();
    assert_eq!(status.code(), Some(130), "{said}");
}

/// Two sessions whose transactions overlap: a few rows over and over, and new ones.
fn program(database: &Database, seed: u64, stop: &AtomicBool) {
    let (mut client, mut random) = (database.connect(), Random::new(seed));
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let (hot, id) = (1 + random.below(5), seed * 1_000_000 + number);
        let script = format!(
            "BEGIN; INSERT INTO part VALUES ({id}, 'new'); UPDATE part SET n = n + 1 WHERE id = {hot}; SELECT pg_sleep(0.002);
             DELETE FROM part WHERE id = {}; COMMIT",
            10 + random.below(4_000)
        );
        // Two that wait for each other are the program's own affair.
        if client.batch_execute(&script).is_err() {
            client.batch_execute("ROLLBACK").unwrap();
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i04_a_diff_holds_by_decoding_while_only_tables_that_are_not_captured_are_written() {
    let database = Database::new();
    let migration = installed("decoding", &database);
    run_all(&migration, &[&["replay"], &["project"]]);
    let follow = Child::start(migration.command(&["follow"]));
    let live = Child::start(migration.command(&["project", "--live"]));
    database.execute("UPDATE part SET n = 1 WHERE id = 7; CREATE TABLE other (n integer)");
    // Once all is still, what it writes does not come to the disk.
    std::thread::sleep(Duration::from_secs(2));
    let mut open = database.connect();
    open.batch_execute("BEGIN; UPDATE part SET n = 2 WHERE id = 8").unwrap();
    diff(&migration, &[], 0);
    open.batch_execute("ROLLBACK").unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = database.connect();
            while !stop.load(Ordering::Relaxed) {
                client.batch_execute("INSERT INTO other SELECT generate_series(1, 20)").unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let _ended = Ends(&stop);
        for _ in 0..4 {
            diff(&migration, &[], 0);
        }
    });
    end(follow);
    end(live);
    migration.expect(&["follow", "--uninstall", "--confirm", &migration.name], 0);
}

fn installed(mode: &str, database: &Database) -> Migration {
    database.execute(STORE);
    let migration = migration(Log::Embedded, database, "  mapping: mapping.yaml\n", &projection(database, true));
    let text = format!(
        "version: 1\ntypes: postgres\ntopics: {{{0}.rows: {{partitions: 2}}}}\ntables:\n  part:\n    topic: {0}.rows\n{MAPPING}",
        migration.name
    );
    std::fs::write(migration.path("mapping.yaml"), text).unwrap();
    let install = ["follow", "--install", "--mode", mode, "--confirm", &migration.name];
    run_all(&migration, &[&["provision", "apply"], &install]);
    migration
}

fn beside_writers(mode: &str, database: &Database) {
    let migration = installed(mode, database);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in [1, 2] {
            let stop = &stop;
            scope.spawn(move || program(database, seed, stop));
        }
        let _ended = Ends(&stop);
        judge(database, &migration);
    });
    run_all(&migration, &[&["follow", "--until-caught-up"], &["project"]]);
    assert_eq!(diff(&migration, &[], 1)["totals"]["differing"], 1);
    migration.expect(&["follow", "--uninstall", "--confirm", &migration.name], 0);
}

fn judge(database: &Database, migration: &Migration) {
    run_all(migration, &[&["replay"], &["project"]]);
    let follow = Child::start(migration.command(&["follow"]));
    let live = Child::start(migration.command(&["project", "--live"]));
    let mut healed = 0;
    for _ in 0..5 {
        let report = diff(migration, &[], 0);
        healed += u64::from(report["findings"].to_string().contains("\"healed\""));
    }
    assert!(healed > 0, "no row changed while it was compared");
    database.execute("UPDATE projected.part SET body = 'by hand' WHERE id = 4999");
    let report = diff(migration, &[], 1);
    assert_eq!(report["totals"]["differing"], 1, "{report:#}");
    assert_eq!(report["samples"][0]["kind"], "projection-fold", "{report:#}");
    end(follow);
    // Whatever the log lacks is no difference yet.
    std::thread::sleep(Duration::from_millis(300));
    has_finding(&diff(migration, &[], 5), "follow-behind", "gap");
    end(live);
}
