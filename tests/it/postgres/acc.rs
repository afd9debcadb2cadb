//! An ACC store: the production dump, and generated rows.

use crate::support::acc::shared;
use crate::support::cli::{Log, Migration};
use crate::support::flow::{FLOW, diff, run_all, table};
use crate::support::postgres::{Database, acc, migration, projection, same_rows};

pub(super) const SCHEMA: &str = include_str!("../support/acc-postgres.sql");

const SESSIONS: [&str; 8] =
    ["id", "start_time", "end_time", "status", "initial_task", "work_dir", "created_at", "updated_at"];
const MESSAGES: [&str; 13] = [
    "id",
    "session_id",
    "agent_type",
    "message_type",
    "content",
    "timestamp",
    "parent_message_id",
    "tools_used",
    "files_modified",
    "commands_executed",
    "cost",
    "duration",
    "exit_code",
];

/// One with the ACC preset; on Kafka with topics of its own.
fn acc_on(log: Log, database: &Database, in_postgres: bool) -> Migration {
    let more = projection(database, in_postgres);
    if log == Log::Embedded {
        return migration(log, database, "  preset: acc\n", &more);
    }
    acc(log, database, &more)
}

fn production_dump(log: Log) {
    let dump = shared("legacy-data/acc-production-sessions.sql").expect("not run: ../shared/legacy-data is absent");
    let dump = std::fs::read_to_string(dump).unwrap();
    let sql: Vec<&str> = dump.lines().filter(|line| !line.starts_with('\\')).collect();
    let database = Database::with(SCHEMA);
    database.execute(&sql.join("\n"));
    for in_postgres in [true, false] {
        let migration = acc_on(log, &database, in_postgres);
        run_all(&migration, &FLOW);
        let report = diff(&migration, &[], 0);
        assert_eq!(report["verdict"], "PASS", "{report:#}");
        for (name, rows) in [("sessions", 1_025), ("messages", 2)] {
            let line = table(&report, name);
            assert_eq!((&line["compared"], &line["skipped"]), (&rows.into(), &0.into()), "{line}");
        }
        assert_eq!((&report["totals"]["compared"], &report["totals"]["skipped"]), (&1_027.into(), &0.into()));
        if in_postgres {
            assert_eq!(same_rows(&database, "sessions", &SESSIONS), 1_025);
            assert_eq!(same_rows(&database, "messages", &MESSAGES), 2);
            let types = "SELECT string_agg(format_type(atttypid, atttypmod), ',' ORDER BY attnum) FROM pg_attribute \
                WHERE attrelid = 'projected.messages'::regclass AND attnum BETWEEN 1 AND 13";
            let wanted = "SELECT string_agg(format_type(atttypid, atttypmod), ',' ORDER BY attnum) FROM pg_attribute \
                WHERE attrelid = 'public.messages'::regclass AND attnum BETWEEN 1 AND 13";
            assert_eq!(database.column(types), database.column(wanted), "the same shape");
        } else {
            let texts = |of: &str, sql: &str| {
                assert_eq!(of, "sqlite");
                crate::support::flow::column(&migration.projection(), sql)
            };
            let legacy = database.column(
                "SELECT to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM sessions ORDER BY id",
            );
            assert_eq!(texts("sqlite", "SELECT created_at FROM sessions ORDER BY id"), legacy);
        }
        // What was cut off or changed behind the projection's back is found and located.
        if in_postgres {
            database.execute("UPDATE projected.messages SET content = 'other' WHERE content LIKE 'Testing%'");
            let report = diff(&migration, &[], 1);
            assert_eq!(table(&report, "messages")["changed"], 1, "{report:#}");
            let sample = &report["samples"][0];
            assert_eq!(
                (&sample["kind"], &sample["columns"][0]["name"]),
                (&"projection-fold".into(), &"content".into()),
                "{sample:#}"
            );
            database.execute("DROP SCHEMA projected CASCADE");
        }
    }
}

#[test]
#[ignore = "needs ../shared/legacy-data and PostgreSQL"]
fn i04_on_the_embedded_log_the_production_dump_in_postgresql_comes_back_as_it_was() {
    production_dump(Log::Embedded);
}

#[test]
#[ignore = "needs ../shared/legacy-data, PostgreSQL and Kafka"]
fn i04_on_kafka_the_production_dump_in_postgresql_comes_back_as_it_was() {
    production_dump(Log::Kafka);
}
