//! A replay that is killed, or loses its server, goes on.

use crossfade::capture::ReplayState;

use crate::support::cli::{Log, Migration, Ran};
use crate::support::flow::{assert_orderly, committed, diff, events, mapping, open_log, run_all, started};
use crate::support::postgres::{Database, Server, migration, projection, same_rows};

const ROWS: &str = "CREATE TABLE part (id uuid PRIMARY KEY, size numeric(10,2), at timestamptz, body text);
    INSERT INTO part SELECT gen_random_uuid(), n / 7.0, 'epoch'::timestamptz + n * interval '1 hour', repeat('body ' || n, 10)
    FROM generate_series(1, 20000) AS n";

const TABLES: &str =
    "    identity: [id]\n    columns: {id: uuid, size: \"numeric(10,2)\", at: timestamptz, body: text}\n";

pub(super) const SMALL: &str = "replay: {transaction_rows: 1000, transaction_ms: 60000}\n";

/// A mapping of one table with a topic of the migration's own.
fn map(migration: &Migration) {
    let text = format!(
        "version: 1\ntypes: postgres\ntopics: {{{0}.rows: {{partitions: 6}}}}\ntables:\n  part:\n    topic: {0}.rows\n{TABLES}",
        migration.name
    );
    std::fs::write(migration.path("mapping.yaml"), text).unwrap();
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i08_on_the_embedded_log_a_replay_of_postgresql_killed_half_way_goes_on() {
    killed_half_way(Log::Embedded);
}

#[test]
#[ignore = "needs PostgreSQL and Kafka"]
fn i08_on_kafka_a_replay_of_postgresql_killed_half_way_goes_on() {
    killed_half_way(Log::Kafka);
}

fn killed_half_way(log: Log) {
    let database = Database::with(ROWS);
    let migration = migration(log, &database, "  mapping: mapping.yaml\n", &(projection(&database, true) + SMALL));
    map(&migration);
    run_all(&migration, &[&["provision", "apply"]]);
    let mut replay = migration.command(&["replay", "--throttle", "10000"]).spawn().unwrap();
    committed(&migration, &mut replay);
    replay.kill().unwrap();
    replay.wait().unwrap();
    // What was copied changes before the next run.
    database.execute("UPDATE part SET body = 'changed' WHERE get_byte(uuid_send(id), 0) = 3; DELETE FROM part WHERE get_byte(uuid_send(id), 0) = 4");
    let ran = migration.run(&["replay"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.contains("going on from an earlier run"), "{}", ran.stdout);
    run_all(&migration, &[&["project"]]);
    let report = diff(&migration, &[], 0);
    assert_eq!(report["verdict"], "PASS", "{report:#}");
    let rows = same_rows(&database, "part", &["id", "size", "at", "body"]);
    assert_eq!(report["totals"]["compared"], rows);
    assert_orderly(&events(open_log(&migration).as_ref(), &mapping(&migration)));
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i08_a_server_that_goes_down_under_a_replay_or_a_projection_is_said_and_survived() {
    let server = Server::start();
    let legacy = format!(
        "  mapping: mapping.yaml\n  store: {}?sslmode=verify-full&sslrootcert=ca.pem\n  password_file: password\n",
        server.url()
    );
    let more = format!("projection: {}?schema=projected\nprojection_password_file: password\n{SMALL}", server.url());
    let migration = Migration::new(Log::Embedded, &legacy, &more);
    for file in ["password", "ca.pem"] {
        std::fs::copy(server.folder.path().join(file), migration.path(file)).unwrap();
    }
    map(&migration);
    let password = std::fs::read_to_string(migration.path("password")).unwrap();
    let connect = || {
        let (place, port) =
            (server.url(), server.url().rsplit_once(':').unwrap().1.split_once('/').unwrap().0.to_owned());
        assert!(place.contains("127.0.0.1"));
        let mut config = ::postgres::Config::new();
        config.host("127.0.0.1").port(port.parse().unwrap()).user("tester").dbname("postgres").password(&password);
        config.connect(::postgres::NoTls).unwrap()
    };
    connect().batch_execute(ROWS).unwrap();
    run_all(&migration, &[&["provision", "apply"]]);

    for verb in ["restart", "kill"] {
        let replay = started_replay(&migration, if verb == "restart" { &[] } else { &["--recopy"] });
        Server::run(verb, server.folder.path());
        let ran = Ran::of(replay.wait_with_output().unwrap());
        assert_eq!(ran.code, Some(2), "{verb}: {}", ran.stdout);
        if verb == "kill" {
            let ran = migration.run(&["replay"]);
            assert_eq!(ran.code, Some(2));
            assert!(ran.stderr.contains("the server cannot be reached"), "{}", ran.stderr);
            assert!(ran.stderr.contains("help: check that it runs"), "{}", ran.stderr);
            Server::run("restart", server.folder.path());
        }
        let ran = migration.run(&["replay"]);
        assert_eq!(ran.code, Some(0), "{verb}: {}", ran.stderr);
        assert!(ran.stdout.contains("going on from an earlier run"), "{verb}: {}", ran.stdout);
    }
    run_all(&migration, &[&["project"]]);
    assert_eq!(diff(&migration, &[], 0)["totals"]["compared"], 20_000);

    // A projection whose server dies under it folds on from what it committed.
    let mut project = started(&migration, &["project", "--live"], "folding events as they come");
    connect().batch_execute("UPDATE part SET body = 'later' WHERE size < 100").unwrap();
    run_all(&migration, &[&["replay"]]);
    Server::run("kill", server.folder.path());
    let _ = connect_until_dead(&mut project);
    Server::run("restart", server.folder.path());
    run_all(&migration, &[&["project"]]);
    assert_eq!(diff(&migration, &[], 0)["verdict"], "PASS");
}

/// A replay that has committed something and has more to do.
fn started_replay(migration: &Migration, more: &[&str]) -> std::process::Child {
    let args = [&["replay", "--throttle", "8000"], more].concat();
    let mut command = migration.command(&args);
    let mut replay = command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let generation = if more.is_empty() { 1 } else { 2 };
    let log = open_log(migration);
    let begun = |state: &ReplayState| state.generation == generation && state.count > 0;
    while !ReplayState::read(log.as_ref(), &migration.name).unwrap().is_some_and(|(state, _)| begun(&state)) {
        assert!(replay.try_wait().unwrap().is_none(), "the replay ended");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    replay
}

/// Ends a live projection that has not seen yet that its server is gone.
fn connect_until_dead(project: &mut std::process::Child) -> std::io::Result<std::process::ExitStatus> {
    for _ in 0..50 {
        if let Some(status) = project.try_wait()? {
            return Ok(status);
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    project.kill()?;
    project.wait()
}
