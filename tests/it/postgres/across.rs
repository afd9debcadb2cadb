//! A SQLite legacy projected into PostgreSQL.

use crate::support::cli::{Log, Migration};
use crate::support::flow::{FLOW, MIDDLE, diff, generated, run_all, table};
use crate::support::postgres::{Database, password};

/// The migration with its projection in a database.
fn into(database: &Database, migration: &Migration) {
    let file = migration.path("crossfade.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let more = format!("projection: {}\nprojection_password_file: password\n", database.url());
    std::fs::write(file, text + &more).unwrap();
    std::fs::write(migration.path("password"), password()).unwrap();
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i04_rows_of_sqlite_with_all_their_quirks_are_kept_in_postgresql() {
    let database = Database::new();
    let migration = generated(Log::Embedded, MIDDLE, "");
    into(&database, &migration);
    crate::support::flow::execute(
        &migration.legacy(),
        "UPDATE messages SET duration = 12.5 WHERE rowid = 3; UPDATE messages SET cost = 'abc' WHERE rowid = 4",
    );
    let ran = migration.run(&["provision", "apply"]);
    assert_eq!(ran.code, Some(0));
    migration.expect(&["replay"], 0);
    let ran = migration.run(&["project"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("exact in _cf_exact"), "said before it starts: {}", ran.stderr);
    let report = diff(&migration, &[], 0);
    assert_eq!(report["verdict"], "PASS", "{report:#}");
    assert!(table(&report, "messages")["compared"].as_u64() >= Some(2_000));
    // What fits its column stands in it, and what does not stands beside.
    let exact =
        database.column("SELECT _cf_exact FROM messages WHERE _cf_exact LIKE '%duration%' AND duration IS NULL");
    assert!(exact.contains(&"{\"duration\":12.5}".to_owned()), "{exact:?}");
    let cost = database.column("SELECT _cf_exact FROM messages WHERE cost IS NULL AND _cf_exact LIKE '%abc%'");
    assert!(cost.contains(&"{\"cost\":\"abc\"}".to_owned()), "{cost:?}");
    let types = "SELECT string_agg(format_type(atttypid, atttypmod), ',' ORDER BY attnum) FROM pg_attribute \
        WHERE attrelid = 'sessions'::regclass AND attnum BETWEEN 1 AND 8";
    assert_eq!(database.column(types), ["text,text,text,text,text,text,text,text"]);

    // Changes of the legacy come over, and the other way of folding ends at the same rows.
    crate::support::flow::execute(
        &migration.legacy(),
        "DELETE FROM messages WHERE rowid % 7 = 0; UPDATE sessions SET status = 'failed' WHERE rowid % 2 = 0",
    );
    run_all(&migration, &[&["replay", "--allow", "mass-delete"], &["project"]]);
    assert_eq!(diff(&migration, &[], 0)["verdict"], "PASS");
    run_all(&migration, &[&["project", "--rebuild"]]);
    assert_eq!(diff(&migration, &[], 0)["verdict"], "PASS");
    assert_eq!(diff(&migration, &["--from-log"], 0)["verdict"], "PASS");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_schema_of_somebody_else_is_left_alone() {
    let database = Database::with("CREATE TABLE theirs (a integer)");
    let migration = generated(Log::Embedded, MIDDLE, "");
    into(&database, &migration);
    run_all(&migration, &FLOW[..2]);
    let ran = migration.run(&["project"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("holds tables, but is no projection") && ran.stderr.contains("schema=NAME"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        database.column("SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace"),
        ["theirs"]
    );
}
