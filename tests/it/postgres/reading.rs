//! How a PostgreSQL legacy is read: by a role that may do nothing else, along keys or pages, each row once.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossfade::mapping::{Mapping, Table, Value};
use crossfade::port::legacy_source::{Cursor, LegacySource, Snapshot};
use crossfade::postgres::PostgresSource;

use crate::support::cli::Log;
use crate::support::flow::{diff, run_all};
use crate::support::postgres::{Database, migration, password};

const MAPPING: &str = "version: 1\ntypes: postgres\ntopics: {rows: {partitions: 1}}\ntables:\n  part:\n    topic: rows\n    identity: [id]\n    columns: {id: integer, body: text}\n";

/// Several runs of pages, with room between the rows.
const ROWS: &str = "INSERT INTO part SELECT n, repeat('body ' || n, 20) FROM generate_series(1, 40000) AS n;
    DELETE FROM part WHERE id % 3 = 0; UPDATE part SET body = body || '!' WHERE id % 7 = 0";

type Seen = BTreeMap<i64, Vec<u8>>;

fn add(seen: &mut Seen, rows: &crossfade::mapping::Rows) {
    for row in rows.iter() {
        let (Value::Integer(id), Value::Text(body)) = (row.get(0), row.get(1)) else { panic!("{row:?}") };
        assert!(seen.insert(id, body.to_vec()).is_none(), "row {id} came twice");
    }
}

fn scanned(snapshot: &mut dyn Snapshot, table: &Table) -> Seen {
    let mut seen = Seen::new();
    let mut all = Vec::new();
    let add_all = &mut |rows: &crossfade::mapping::Rows, places: &[u64]| {
        add(&mut seen, rows);
        all.extend_from_slice(places);
        Ok(())
    };
    snapshot.scan(table, add_all).unwrap();
    // A table in partitions has no places.
    assert!(all.is_empty() || all.len() == seen.len());
    let mut at = Seen::new();
    let some: Vec<u64> = all.iter().step_by(7).copied().collect();
    if !some.is_empty() {
        let add = &mut |rows: &crossfade::mapping::Rows| {
            add(&mut at, rows);
            Ok(())
        };
        snapshot.at(table, &some, add).unwrap();
    }
    assert_eq!(at.len(), some.len());
    assert!(at.iter().all(|(id, body)| seen[id] == *body));
    seen
}

fn read(snapshot: &mut dyn Snapshot, table: &Table) -> Seen {
    let (mut seen, mut rows, mut cursor) = (Seen::new(), crossfade::mapping::Rows::default(), Cursor::default());
    loop {
        snapshot.read(table, &mut cursor, 1_000, &mut rows).unwrap();
        if rows.is_empty() {
            return seen;
        }
        add(&mut seen, &rows);
    }
}

fn scans_as_it_was(create: &str) {
    let database = Database::with(&format!("{create}; {ROWS}"));
    let mapping = Arc::new(Mapping::parse("mapping.yaml", MAPPING).unwrap());
    let table = mapping.table("part").unwrap().clone();
    let source = PostgresSource::open(database.login(), mapping).unwrap();
    source.check().unwrap();
    let mut snapshot = source.snapshot().unwrap();
    let before = read(snapshot.as_mut(), &table);
    assert_eq!(before.len(), 26_667);
    database.execute("UPDATE part SET body = 'later'; DELETE FROM part WHERE id % 2 = 0");
    database.execute("INSERT INTO part SELECT n, 'new' FROM generate_series(50001, 90000) AS n");
    database.execute("VACUUM part");
    assert_eq!(scanned(snapshot.as_mut(), &table), before);
    let mut now = source.snapshot().unwrap();
    let (scanned, read) = (scanned(now.as_mut(), &table), read(now.as_mut(), &table));
    assert_eq!(scanned.len(), 13_333 + 40_000);
    assert_eq!(scanned, read);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_scan_gives_each_row_of_its_snapshot_once_whatever_is_written_beside_it() {
    scans_as_it_was("CREATE TABLE part (id integer PRIMARY KEY, body text) WITH (fillfactor = 60)");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_scan_of_a_table_in_partitions_gives_each_row_once() {
    scans_as_it_was(
        "CREATE TABLE part (id integer PRIMARY KEY, body text) PARTITION BY RANGE (id);
         CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (20000);
         CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (20000) TO (100000)",
    );
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_role_that_may_only_select_is_enough() {
    let database = Database::with(&format!("CREATE TABLE part (id integer PRIMARY KEY, body text); {ROWS}"));
    let role = format!("r{}", &database.name[1..]);
    database.execute(&format!(
        "CREATE ROLE {role} LOGIN NOINHERIT PASSWORD '{}'; REVOKE ALL ON SCHEMA public FROM PUBLIC;
         REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC; GRANT USAGE ON SCHEMA public TO {role};
         GRANT SELECT ON part TO {role}; ALTER ROLE {role} SET default_transaction_read_only = on",
        password(),
        database.name
    ));
    let migration = migration(Log::Embedded, &database, "  mapping: mapping.yaml\n", "");
    let config = std::fs::read_to_string(migration.path("crossfade.yaml")).unwrap();
    std::fs::write(migration.path("crossfade.yaml"), config.replace(&database.url(), &database.url_of(&role))).unwrap();
    std::fs::write(migration.path("mapping.yaml"), MAPPING).unwrap();
    let mut session = database.connect();
    let asked = |session: &mut postgres::Client| -> i64 {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND application_name = 'crossfade'";
        session.query_one(sql, &[&role]).unwrap().get(0)
    };
    run_all(&migration, &[&["provision", "apply"]]);
    let mut replay = migration.command(&["replay", "--throttle", "20000"]).spawn().unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while asked(&mut session) == 0 {
        assert!(std::time::Instant::now() < deadline, "no session of the role");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(replay.wait().unwrap().success());
    run_all(&migration, &[&["project"]]);
    assert_eq!(diff(&migration, &[], 0)["totals"]["compared"], 26_667);
    database.execute("UPDATE part SET body = 'other' WHERE id = 1");
    assert_eq!(diff(&migration, &[], 1)["totals"]["differing"], 1);
    drop(migration);
    database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}
