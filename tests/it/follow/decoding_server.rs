//! Servers and roles that cannot be followed as they are, and servers that break.

use std::process::Command;

use crate::support::cli::{Log, Migration};
use crate::support::crash::{Child, signal};
use crate::support::flow::{assert_orderly, events, mapping, open_log};
use crate::support::postgres::{Database, Server, migration, password};

use super::decoding_cli::{followed, install, map, passes, until};

const PART: &str = "CREATE TABLE part (id integer PRIMARY KEY, size numeric(10,2), at timestamptz, body text);
    INSERT INTO part SELECT n, n / 7.0, now(), 'body' FROM generate_series(1, 300) AS n;";

/// The refusal in four lines at most, with what would help.
#[track_caller]
fn refused(migration: &Migration, args: &[&str], code: i32, words: &[&str]) {
    let ran = migration.run(args);
    assert_eq!(ran.code, Some(code), "{args:?}\n{}\n{}", ran.stdout, ran.stderr);
    for word in words.iter().chain(&["help: "]) {
        assert!(ran.stderr.contains(word), "no '{word}' in {}", ran.stderr);
    }
    let error = ran.stderr.lines().skip_while(|line| !line.starts_with("error"));
    assert!(error.count() <= 4, "{}", ran.stderr);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn rights_that_lack_are_refused_before_anything_is_changed() {
    let role = format!("r{}", &uuid::Uuid::new_v4().simple().to_string()[..10]);
    let database = Database::with(&format!(
        "{PART} CREATE ROLE {role} LOGIN PASSWORD '{}'; GRANT SELECT ON part TO {role}",
        password()
    ));
    let migration = migration(Log::Embedded, &database, "  mapping: mapping.yaml\n", "");
    let config = std::fs::read_to_string(migration.path("crossfade.yaml")).unwrap();
    std::fs::write(migration.path("crossfade.yaml"), config.replacen(&database.url(), &database.url_of(&role), 1))
        .unwrap();
    map(&migration);
    migration.expect(&["provision", "apply"], 0);
    let args = ["follow", "--install", "--confirm", &migration.name];
    refused(&migration, &args, 3, &["may not read its log", "REPLICATION"]);
    database.execute(&format!("ALTER ROLE {role} REPLICATION"));
    refused(&migration, &args, 3, &["may not make a schema", "GRANT CREATE ON DATABASE"]);
    database.execute(&format!("GRANT CREATE ON DATABASE {} TO {role}", database.name));
    refused(&migration, &args, 3, &["does not own public.part"]);
    database.execute(&format!("ALTER TABLE part OWNER TO {role}; ALTER TABLE part SET UNLOGGED"));
    refused(&migration, &args, 3, &["public.part is unlogged"]);
    database.execute("ALTER TABLE part SET LOGGED");
    assert_eq!(database.column("SELECT pubname::text FROM pg_publication"), Vec::<String>::new());
    install(&migration);
    migration.expect(&["replay"], 0);
    database.execute("UPDATE part SET body = 'by a role of its own' WHERE id = 1");
    passes(&migration);
    migration.expect(&["follow", "--uninstall", "--confirm", &migration.name], 0);
    database.execute(&format!("REASSIGN OWNED BY {role} TO tester; DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_table_without_a_key_and_a_slot_that_somebody_else_reads_are_refused() {
    let database = Database::with(&format!("{PART} ALTER TABLE part DROP CONSTRAINT part_pkey"));
    let migration = migration(Log::Embedded, &database, "  mapping: mapping.yaml\n", "");
    map(&migration);
    migration.expect(&["provision", "apply"], 0);
    let ran = migration.run(&["follow", "--install", "--confirm", &migration.name]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("neither a primary key nor a unique key"), "{}", ran.stderr);
    database.execute("ALTER TABLE part ADD PRIMARY KEY (id)");
    install(&migration);
    migration.expect(&["replay"], 0);
    let slot = database
        .column("SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()")
        .remove(0);
    let login = database.login();
    let mut other = Command::new("pg_recvlogical")
        .args(["--start", "-s", "0", "-S", &slot, "-f", "/dev/null", "-o", "proto_version=1", "-o"])
        .arg(format!("publication_names=crossfade_{}", migration.name))
        .args([
            "-h",
            &login.place.host,
            "-p",
            &login.place.port.to_string(),
            "-U",
            &login.place.user,
            "-d",
            &database.name,
        ])
        .env("PGPASSWORD", password())
        .spawn()
        .unwrap();
    until("the other reads", || {
        database.column("SELECT active::text FROM pg_replication_slots WHERE database = current_database()") == ["true"]
    });
    let ran = migration.run(&["follow", "--until-caught-up"]);
    other.kill().unwrap();
    other.wait().unwrap();
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(ran.stderr.contains("pg_recvlogical") && ran.stderr.contains("reads the slot"), "{}", ran.stderr);
    passes(&migration);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_server_without_logical_decoding_or_a_free_slot_is_refused_and_prepared_transactions_are_waited_for() {
    let server = Server::start();
    server.execute(PART);
    let migration = server.migration(Log::Embedded, "  mapping: mapping.yaml\n", "");
    map(&migration);
    migration.expect(&["provision", "apply"], 0);
    let args = ["follow", "--install", "--confirm", &migration.name];
    server.execute("ALTER SYSTEM SET wal_level = replica");
    server.execute("ALTER SYSTEM SET max_prepared_transactions = 5");
    server.does("restart");
    refused(&migration, &args, 3, &["wal_level replica", "ALTER SYSTEM SET wal_level = logical"]);
    server.execute("ALTER SYSTEM SET wal_level = logical");
    server.execute("ALTER SYSTEM SET max_replication_slots = 1");
    server.does("restart");
    server.execute("SELECT pg_create_physical_replication_slot('taken')");
    refused(&migration, &args, 3, &["no free replication slot", "max_replication_slots"]);
    server.execute("SELECT pg_drop_replication_slot('taken')");
    // A prepared transaction keeps the slot from being made, and is named.
    server.execute("CREATE TABLE aside (id integer); BEGIN; INSERT INTO aside VALUES (1); PREPARE TRANSACTION 'held'");
    let mut waiting = Child::start(migration.command(&args));
    waiting.await_said("prepared transaction 'held'");
    assert!(waiting.alive());
    server.execute("COMMIT PREPARED 'held'");
    let (status, said) = waiting.wait();
    assert!(status.success(), "{said}");
    migration.expect(&["replay"], 0);
    server.execute("BEGIN; UPDATE part SET body = 'prepared' WHERE id = 2; PREPARE TRANSACTION 'later'");
    server.execute("UPDATE part SET body = 'meanwhile' WHERE id = 3");
    passes(&migration);
    assert_eq!(followed(&migration), 1);
    server.execute("COMMIT PREPARED 'later'");
    passes(&migration);
    assert_eq!(followed(&migration), 2);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i08_a_server_that_is_killed_or_restarted_is_waited_for_and_an_older_backup_is_refused() {
    let server = Server::start();
    server.execute(PART);
    let migration = server.migration(Log::Embedded, "  mapping: mapping.yaml\n", "");
    map(&migration);
    migration.expect(&["provision", "apply"], 0);
    install(&migration);
    migration.expect(&["replay"], 0);
    let follow = Child::start(migration.command(&["follow"]));
    server.execute("UPDATE part SET body = 'one' WHERE id = 1");
    until("the change is followed", || followed(&migration) == 1);
    for (number, verb) in ["kill", "restart"].into_iter().enumerate() {
        server.does(verb);
        if verb == "kill" {
            server.does("restart");
        }
        server.execute("UPDATE part SET body = body || '.' WHERE id < 10");
        until("it goes on", || followed(&migration) == 1 + 9 * (number + 1));
    }
    signal("INT", follow.id());
    let (status, said) = follow.wait();
    assert_eq!(status.code(), Some(130), "{said}");
    passes(&migration);

    let (data, copy) = (server.folder.path().join("data"), server.folder.path().join("copy"));
    let shell =
        |command: &str| assert!(Command::new("bash").args(["-c", command]).status().unwrap().success(), "{command}");
    server.does("kill");
    shell(&format!("rm -f {0}/postmaster.pid; cp -a {0} {1}", data.display(), copy.display()));
    server.does("restart");
    server.execute("INSERT INTO part SELECT n, 1, now(), 'lost' FROM generate_series(1000, 1020) AS n; CHECKPOINT");
    passes(&migration);
    server.does("kill");
    shell(&format!("rm -rf {0}; mv {1} {0}", data.display(), copy.display()));
    server.does("restart");
    refused(&migration, &["follow", "--until-caught-up"], 3, &["was put back to an older state", "--uninstall"]);
    // All of it is in the backup and looks whole, so it has to be taken away first.
    migration.expect(&["follow", "--uninstall", "--confirm", &migration.name], 0);
    install(&migration);
    passes(&migration);
    assert_orderly(&events(open_log(&migration).as_ref(), &mapping(&migration)));
}
