//! What goes wrong on a server is said in a few words, each in its own.

use crate::support::cli::{Log, Migration, Ran};
use crate::support::flow::run_all;
use crate::support::postgres::{Database, migration, password, projection};

const MAPPING: &str = "version: 1\ntypes: postgres\ntopics: {rows: {partitions: 2}}\ntables:\n  part:\n    topic: rows\n    \
    identity: [id]\n    columns: {id: integer, body: text}\n";

fn parts(url: impl Fn(&Database) -> String, sql: &str, more: &str) -> (Database, Migration) {
    let database = Database::with(&format!(
        "CREATE TABLE part (id integer PRIMARY KEY, body text); INSERT INTO part SELECT n, 'body ' || n FROM generate_series(1, 3000) AS n; {sql}"
    ));
    let migration = migration(Log::Embedded, &database, "  mapping: mapping.yaml\n", more);
    let config = std::fs::read_to_string(migration.path("crossfade.yaml")).unwrap();
    let config = config.replacen(&database.url(), &url(&database), 1);
    std::fs::write(migration.path("crossfade.yaml"), config).unwrap();
    std::fs::write(migration.path("mapping.yaml"), MAPPING).unwrap();
    migration.expect(&["provision", "apply"], 0);
    (database, migration)
}

#[track_caller]
fn says(ran: &Ran, code: i32, words: &[&str]) {
    assert_eq!(ran.code, Some(code), "{}\n{}", ran.stdout, ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "no '{word}' in {}", ran.stderr);
    }
    assert!(!ran.stderr.contains(&password()), "{}", ran.stderr);
    let error = ran.stderr.lines().find(|line| line.starts_with("error")).unwrap_or_else(|| panic!("{}", ran.stderr));
    assert!(error.len() < 240, "{error}");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_login_that_fails_is_said_with_its_reason() {
    let (_database, migration) = parts(Database::url, "", "");
    std::fs::write(migration.path("password"), "wrong").unwrap();
    says(&migration.run(&["replay"]), 2, &["the login was refused", "help: check user and password"]);
    std::fs::remove_file(migration.path("password")).unwrap();
    says(&migration.run(&["replay"]), 2, &["password cannot be read"]);
    let config = std::fs::read_to_string(migration.path("crossfade.yaml")).unwrap();
    std::fs::write(migration.path("crossfade.yaml"), config.replace("  password_file: password\n", "")).unwrap();
    says(&migration.run(&["replay"]), 2, &["none was given", "CROSSFADE_LEGACY_PASSWORD"]);
    let mut command = migration.command(&["replay"]);
    let ran = Ran::of(command.env("CROSSFADE_LEGACY_PASSWORD", password()).output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let ran = migration.command(&["config"]).env("CROSSFADE_LEGACY_PASSWORD", password()).output().unwrap();
    let told = Ran::of(ran).stdout;
    assert!(told.contains("legacy.password") && told.contains("***") && !told.contains(&password()), "{told}");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_place_that_is_not_there_is_said() {
    let (_database, none) = parts(|database| database.url() + "_gone", "", "");
    says(&none.run(&["replay"]), 2, &["there is no such database"]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (_database, down) = parts(|database| format!("postgres://tester@{free}/{}", database.name), "", "");
    says(&down.run(&["replay"]), 2, &["the server cannot be reached", "help: check that it runs"]);
    let (_database, untrusted) = parts(|database| database.url() + "?sslmode=verify-full", "", "");
    says(&untrusted.run(&["replay"]), 2, &["TLS could not be agreed on", "sslrootcert"]);
    let (_database, empty) = parts(|database| database.url() + "?schema=elsewhere", "", "");
    says(&empty.run(&["replay"]), 3, &["has no table 'part', which is mapped"]);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn rights_are_asked_for_by_name_and_reading_is_enough() {
    let role = format!("r{}", &uuid::Uuid::new_v4().simple().to_string()[..10]);
    let create = format!("CREATE ROLE {role} LOGIN PASSWORD '{}'", password());
    let (database, migration) = parts(|database| database.url_of(&role), &create, "");
    says(&migration.run(&["replay"]), 2, &["permission denied for table part", "help: GRANT"]);
    database.execute(&format!("GRANT SELECT ON part TO {role}"));
    run_all(&migration, &[&["replay"], &["project"], &["diff"]]);
    // A policy would hide rows: that is no smaller table, it is an error.
    database.execute("ALTER TABLE part ENABLE ROW LEVEL SECURITY; CREATE POLICY few ON part USING (id < 10)");
    says(&migration.run(&["diff"]), 2, &["row-level security policy for table \"part\""]);
    database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_query_that_takes_too_long_is_given_up() {
    let (database, migration) = parts(Database::url, "", "");
    let config = std::fs::read_to_string(migration.path("crossfade.yaml")).unwrap();
    let config = config.replace("  password_file", "  statement_timeout_ms: 300\n  password_file");
    std::fs::write(migration.path("crossfade.yaml"), config).unwrap();
    // Another session holds the table for longer than a query may take.
    let mut holder = database.connect();
    holder.batch_execute("BEGIN; LOCK TABLE part").unwrap();
    says(&migration.run(&["replay"]), 2, &["a query took longer than it may", "legacy.statement_timeout_ms"]);
    holder.batch_execute("ROLLBACK").unwrap();
    run_all(&migration, &[&["replay"]]);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn tables_that_change_under_the_mapping_are_named() {
    let (database, migration) = parts(Database::url, "", "");
    run_all(&migration, &[&["replay"], &["project"]]);
    database.execute("ALTER TABLE part ADD COLUMN later text");
    says(&migration.run(&["replay"]), 3, &["column 'later' of table 'part' is neither mapped nor"]);
    database
        .execute("ALTER TABLE part DROP COLUMN later; ALTER TABLE part ALTER COLUMN body TYPE bytea USING body::bytea");
    says(&migration.run(&["replay"]), 3, &["column 'body' of table 'part' is mapped as text", "is bytea"]);
    database.execute("ALTER TABLE part DROP COLUMN body");
    says(&migration.run(&["replay"]), 3, &["table 'part' has no column 'body', which is mapped"]);
    database.execute("ALTER TABLE part ADD COLUMN body money");
    says(&migration.run(&["replay"]), 3, &["table 'part'", "column 'body' has the type money"]);
    database.execute("DROP TABLE part");
    says(&migration.run(&["diff"]), 3, &["has no table 'part', which is mapped"]);
    let sqlite = std::fs::read_to_string(migration.path("mapping.yaml")).unwrap().replace("types: postgres\n", "");
    std::fs::write(migration.path("mapping.yaml"), sqlite).unwrap();
    says(&migration.run(&["replay"]), 3, &["the mapping's types are those of SQLite", "types: postgres"]);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_projection_is_guarded_like_a_file() {
    let (database, migration) = parts(Database::url, "", "");
    let config = std::fs::read_to_string(migration.path("crossfade.yaml")).unwrap();
    let more = projection(&database, true);
    std::fs::write(migration.path("crossfade.yaml"), config + &more).unwrap();
    run_all(&migration, &[&["replay"], &["project"], &["diff"]]);
    database.execute("INSERT INTO projected.part (id, body) VALUES (9999, 'planted')");
    says_on_stdout(&migration.run(&["diff"]), 1, "planted");
    migration.expect(&["project"], 0);
    database.execute("DROP TABLE projected.part");
    database.execute("UPDATE public.part SET body = 'new' WHERE id = 1");
    says(&migration.run(&["replay"]), 2, &["has lost its table 'part'", "project --rebuild"]);
    run_all(&migration, &[&["project", "--rebuild"], &["replay"], &["project"], &["diff"]]);
    // The legacy's own schema is no place for it.
    let config = std::fs::read_to_string(migration.path("crossfade.yaml")).unwrap().replace("?schema=projected", "");
    std::fs::write(migration.path("crossfade.yaml"), config).unwrap();
    says(&migration.run(&["project"]), 2, &["are the same store"]);
}

#[track_caller]
fn says_on_stdout(ran: &Ran, code: i32, word: &str) {
    assert_eq!(ran.code, Some(code), "{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains(word) || ran.stdout.contains("9999"), "{}", ran.stdout);
}
