//! A diff while the legacy's program is at work: one position for both sides, and a planted fault is found all the same.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::writer::Program;
use crate::support::cli::{Log, Migration};
use crate::support::crash::{Child, signal};
use crate::support::flow::{confirmed_pass, diff, execute, generated, json, on_both_logs, run_all, table};

on_both_logs!(i04_a_diff_holds_both_sides_at_one_position_while_the_legacy_is_written_to);

fn store(log: Log) -> Migration {
    generated(log, crossfade::demo::Sizes { sessions: 60, messages: 1_500, seed: 12 }, "")
}

fn end(child: Child) {
    signal("INT", child.id());
    let (status, said) = child.wait();
    assert_eq!(status.code(), Some(130), "{said}");
}

/// Changes a row of the legacy behind the back of its triggers.
fn unrecorded(migration: &Migration, sql: &str) {
    let connection = Connection::open(migration.legacy()).unwrap();
    connection.busy_timeout(std::time::Duration::from_secs(5)).unwrap();
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
    assert_eq!(connection.execute(sql, []).unwrap(), 1);
}

fn i04_a_diff_holds_both_sides_at_one_position_while_the_legacy_is_written_to(log: Log) {
    let migration = store(log);
    run_all(&migration, &[&["provision", "apply"], &["follow", "--install", "--confirm", &migration.name]]);
    let program = Program::start(&migration, 4);
    run_all(&migration, &[&["replay"], &["project"]]);
    let follow = Child::start(migration.command(&["follow"]));
    let live = Child::start(migration.command(&["project", "--live"]));
    let mut healed = 0;
    for round in 0..6 {
        let args: &[&str] = if round % 3 == 2 { &["--from-log"] } else { &[] };
        let report = diff(&migration, args, 0);
        assert_eq!(report["totals"]["skipped"], 0, "{report:#}");
        healed += u64::from(report["findings"].to_string().contains("\"healed\""));
    }
    assert!(healed > 0, "no row changed while it was compared");
    unrecorded(
        &migration,
        "UPDATE system_events SET details = 'behind the outbox' WHERE id = (SELECT min(id) FROM system_events)",
    );
    execute(
        &migration.projection(),
        "UPDATE system_events SET details = 'by hand' WHERE id = (SELECT max(id) FROM system_events)",
    );
    let report = diff(&migration, &[], 1);
    assert_eq!(table(&report, "system_events")["changed"], 2, "{report:#}");
    assert_eq!(report["totals"]["differing"], 2, "{report:#}");
    let kinds: Vec<&str> =
        report["samples"].as_array().unwrap().iter().map(|sample| sample["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"row-fold") && kinds.contains(&"projection-fold"), "{kinds:?}");
    program.end();
    end(follow);
    end(live);
}

#[test]
fn i05_while_passes_bring_changes_over_a_difference_counts_only_if_it_stays() {
    let migration = store(Log::Embedded);
    run_all(&migration, &[&["provision", "apply"], &["replay"], &["project"]]);
    let follow = Child::start(migration.command(&["follow", "--mode", "reconcile", "--every", "0"]));
    let program = Program::start(&migration, 5);
    std::thread::sleep(std::time::Duration::from_secs(1));
    for _ in 0..3 {
        let ran = migration.run(&["diff", "--output", "json"]);
        let report = json(&ran.stdout);
        // At a quiet moment all rows are equal; at others some differ, each time others.
        assert!(matches!(ran.code, Some(0 | 5)), "{report:#}");
        assert_eq!(report["totals"]["differing"], 0, "{report:#}");
    }
    program.end();
    end(follow);
    run_all(&migration, &[&["follow", "--mode", "reconcile", "--until-caught-up"]]);
    migration.expect(&["project"], 0);
    confirmed_pass(&migration);
    execute(
        &migration.projection(),
        "UPDATE system_events SET details = 'by hand' WHERE id = (SELECT max(id) FROM system_events)",
    );
    assert_eq!(diff(&migration, &[], 1)["totals"]["differing"], 1);
}
