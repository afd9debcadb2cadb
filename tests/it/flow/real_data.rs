//! The production dump.

use crate::support::acc::{TABLES, assert_same_rows, load_dump, shared};
use crate::support::cli::{Log, Migration};
use crate::support::flow::{FLOW, diff, run_all, table};

fn i04_the_production_dump_comes_back_as_it_was(log: Log) {
    let dump = shared("legacy-data/acc-production-sessions.sql").expect("not run: ../shared/legacy-data is absent");
    let migration = Migration::acc(log, "");
    load_dump(&std::fs::read_to_string(dump).unwrap(), &migration.legacy());
    run_all(&migration, &FLOW);
    let report = diff(&migration, &[], 0);
    assert_eq!(report["verdict"], "PASS");
    for (name, rows) in [("sessions", 1_025), ("messages", 2)] {
        let line = table(&report, name);
        assert_eq!((&line["compared"], &line["skipped"]), (&rows.into(), &0.into()), "{line}");
    }
    assert_eq!(report["totals"]["compared"], 1_027);
    assert_eq!(report["totals"]["skipped"], 0);
    let counts = assert_same_rows(&migration.legacy(), &migration.projection(), &TABLES);
    assert_eq!(counts, [1_025, 2, 0, 0, 0, 0]);
}

#[test]
#[ignore = "needs ../shared/legacy-data"]
fn i04_on_the_embedded_log_the_production_dump_comes_back_as_it_was() {
    i04_the_production_dump_comes_back_as_it_was(Log::Embedded);
}

#[test]
#[ignore = "needs ../shared/legacy-data and Kafka"]
fn i04_on_kafka_the_production_dump_comes_back_as_it_was() {
    i04_the_production_dump_comes_back_as_it_was(Log::Kafka);
}
