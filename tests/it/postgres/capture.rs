//! Where a snapshot stands: what it says of transactions is what its rows show.

use std::sync::Arc;

use crossfade::base::Result;
use crossfade::mapping::Mapping;
use crossfade::mapping::init::init;
use crossfade::port::change_source::Position;
use crossfade::port::legacy_source::LegacySource;
use crossfade::port::progress::{Progress, Silent};
use crossfade::postgres::capture::{Installed, Names, Seen, position, settle};
use crossfade::postgres::{PostgresSource, describe};
use postgres::Client;

use crate::support::cli::Log;
use crate::support::flow::run_all;
use crate::support::postgres::{Database, migration};

const TABLE: &str = "CREATE TABLE part (id integer PRIMARY KEY, body text); INSERT INTO part VALUES (1, 'a');";

fn install(database: &Database, migration: &str, ready: bool) {
    let names = Names::new(migration);
    for step in Installed::steps(&names) {
        database.execute(&step.sql);
    }
    let row = Installed {
        kind: "outbox".to_owned(),
        incarnation: "i".to_owned(),
        mapping: "m".to_owned(),
        back: vec!["SELECT 1".to_owned()],
        ready,
    };
    let mut client = database.connect();
    row.write(&mut client, &names).unwrap();
    assert_eq!(Installed::read(&mut client, &database.login(), &names).unwrap(), Some(row));
}

fn mapping_of(database: &Database) -> Arc<Mapping> {
    let (text, _) = init(&describe(&database.login()).unwrap().schema, "bench");
    Arc::new(Mapping::parse("mapping.yaml", &text).unwrap())
}

fn source(database: &Database) -> PostgresSource {
    PostgresSource::open(database.login(), mapping_of(database)).unwrap()
}

fn snapshot(database: &Database, migration: &str) -> Result<Option<Position>> {
    source(database).followed(migration).snapshot().unwrap().position()
}

fn begin(database: &Database, sql: &str) -> (Client, u64) {
    let mut client = database.connect();
    client.batch_execute(&format!("BEGIN; {sql}")).unwrap();
    let xid: String = client.query_one("SELECT pg_current_xact_id()::text", &[]).unwrap().get(0);
    (client, xid.parse().unwrap())
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_snapshot_sees_by_number_what_is_in_its_rows() {
    let database = Database::with(TABLE);
    assert_eq!(snapshot(&database, "bench").unwrap(), None);
    install(&database, "bench", false);
    assert_eq!(snapshot(&database, "bench").unwrap(), None, "what is not ready gives no position");
    Installed::make_ready(&mut database.connect(), &Names::new("bench")).unwrap();
    assert_eq!(snapshot(&database, "other").unwrap(), None);

    let (mut first, one) = begin(&database, "INSERT INTO part VALUES (10, 'one')");
    let (mut second, two) = begin(&database, "SAVEPOINT s; INSERT INTO part VALUES (20, 'two'); RELEASE s");
    second.batch_execute("COMMIT").unwrap();
    let mut reading = database.connect();
    reading.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").unwrap();
    let mapping = mapping_of(&database);
    let stands = position(&mut reading, &database.login(), &Names::new("bench"), &mapping).unwrap().unwrap();
    first.batch_execute("COMMIT").unwrap();
    let (mut third, three) = begin(&database, "INSERT INTO part VALUES (30, 'three')");
    third.batch_execute("COMMIT").unwrap();
    let seen: Seen = stands.seen.parse().unwrap();
    let rows = reading.query("SELECT id FROM part ORDER BY id", &[]).unwrap();
    let rows: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(rows, [1, 20]);
    assert_eq!((seen.sees(one), seen.sees(two), seen.sees(three)), (false, true, false));
    assert_eq!(seen.to_string(), stands.seen);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_capture_that_may_not_be_read_is_named_and_never_taken_for_missing() {
    let role = format!("r{}", &uuid::Uuid::new_v4().simple().to_string()[..10]);
    let password = crate::support::postgres::password();
    let database = Database::with(TABLE);
    install(&database, "bench", true);
    database.execute(&format!("CREATE ROLE {role} LOGIN PASSWORD '{password}'"));
    let names = Names::new("bench");
    let mut login = database.login();
    login.place.user.clone_from(&role);
    let read = |login: &crossfade::postgres::Login| {
        let mut client = database.connect();
        client.batch_execute(&format!("SET ROLE {role}")).unwrap();
        Installed::read(&mut client, login, &names)
    };
    assert!(read(&login).unwrap().is_some(), "everybody may read it");
    database.execute("REVOKE ALL ON crossfade_bench.capture FROM PUBLIC");
    let error = read(&login).unwrap_err();
    assert!(error.help().is_some_and(|help| help.contains("GRANT SELECT ON \"crossfade_bench\".capture")), "{error:?}");
    database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

/// Keeps what is noted.
#[derive(Default)]
struct Notes(std::sync::Mutex<Vec<String>>);

impl Progress for Notes {
    fn note(&self, text: &str) {
        self.0.lock().unwrap().push(text.to_owned());
    }
}

#[test]
#[ignore = "needs PostgreSQL"]
fn settling_waits_for_whoever_was_at_work_and_names_them() {
    let database = Database::with(TABLE);
    let (mut holder, _) = begin(&database, "SET application_name = 'slow job'; INSERT INTO part VALUES (10, 'held')");
    let notes = Notes::default();
    std::thread::scope(|scope| {
        let settling = scope.spawn(|| settle(&mut database.connect(), "store", &notes));
        while notes.0.lock().unwrap().is_empty() {
            assert!(!settling.is_finished(), "it settled beside a transaction at work");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        // Whoever comes later is not waited for.
        let (_later, _) = begin(&database, "INSERT INTO part VALUES (20, 'later')");
        holder.batch_execute("COMMIT").unwrap();
        settling.join().unwrap().unwrap();
    });
    let notes = notes.0.into_inner().unwrap();
    assert!(notes.iter().any(|note| note.contains("slow job")), "{notes:?}");
    settle(&mut database.connect(), "store", &Silent).unwrap();
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_schema_that_may_not_be_changed_is_followed_in_passes() {
    let database = Database::with(TABLE);
    let migration = migration(Log::Embedded, &database, "  mapping: mapping.yaml\n", "");
    let mapping = "version: 1\ntypes: postgres\ntopics: {rows: {partitions: 2}}\ntables:\n  part:\n    topic: rows\n    \
        identity: [id]\n    columns: {id: integer, body: text}\n";
    std::fs::write(migration.path("mapping.yaml"), mapping).unwrap();
    run_all(&migration, &[&["provision", "apply"], &["replay"]]);
    database.execute("UPDATE part SET body = 'b'; INSERT INTO part VALUES (2, 'c')");
    let told = migration.expect(&["follow", "--mode", "reconcile", "--until-caught-up"], 0);
    assert!(told.contains("reconciled: 2 events"), "{told}");
    run_all(&migration, &[&["project"], &["diff"]]);
    assert!(migration.expect(&["status"], 0).contains("by reconcile"));
}
