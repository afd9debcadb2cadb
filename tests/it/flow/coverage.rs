//! What a diff says when there is little or nothing to compare.

use crossfade::demo::Sizes;
use rusqlite::Connection;

use crate::support::acc::{Same, TABLES, assert_same_rows};
use crate::support::cli::{Log, Migration};
use crate::support::flow::{
    FLOW, bring_over, column, committed, confirmed_pass, diff, execute, generated, has_finding, on_both_logs,
    projected, run_all, started, table,
};

on_both_logs!(
    i05_an_empty_table_is_listed_and_does_not_spoil_a_pass,
    i05_nothing_on_either_side_is_inconclusive,
    i05_before_a_replay_a_diff_is_inconclusive,
    i05_after_an_unfinished_replay_a_diff_is_inconclusive,
    i05_a_projection_behind_the_log_is_inconclusive,
    i05_without_a_projection_a_diff_is_inconclusive,
    i05_unmapped_tables_are_named,
);

/// An ACC store without a row.
fn empty(log: Log) -> Migration {
    let migration = Migration::acc(log, "");
    let store = Connection::open(migration.legacy()).unwrap();
    store.pragma_update(None, "journal_mode", "WAL").unwrap();
    store.execute_batch(crossfade::demo::schema()).unwrap();
    migration
}

fn i05_an_empty_table_is_listed_and_does_not_spoil_a_pass(log: Log) {
    let migration = empty(log);
    execute(&migration.legacy(), "INSERT INTO sessions (id, initial_task, work_dir) VALUES ('one', 't', '/w')");
    run_all(&migration, &FLOW);
    let report = confirmed_pass(&migration);
    assert_eq!(table(&report, "sessions")["compared"], 1);
    for name in ["messages", "system_events", "performance_metrics"] {
        let line = table(&report, name);
        assert_eq!((&line["state"], &line["legacy_rows"]), (&"mapped".into(), &0.into()), "{line}");
        assert_eq!((&line["projected_rows"], &line["compared"]), (&0.into(), &0.into()), "{line}");
    }
    let never = table(&report, "user_sessions");
    assert_eq!((&never["state"], &never["in_scope"]), (&"never read".into(), &false.into()), "{never}");
}

fn i05_nothing_on_either_side_is_inconclusive(log: Log) {
    let migration = empty(log);
    run_all(&migration, &FLOW);
    let report = diff(&migration, &[], 5);
    assert_eq!(report["verdict"], "INCONCLUSIVE");
    assert_eq!(report["totals"]["compared"], 0);
    diff(&migration, &["--from-log"], 5);
    assert_eq!(assert_same_rows(&migration.legacy(), &migration.projection(), &TABLES), [0; 6]);
}

fn i05_before_a_replay_a_diff_is_inconclusive(log: Log) {
    let migration = empty(log);
    migration.expect(&["provision", "apply"], 0);
    has_finding(&diff(&migration, &[], 5), "no-replay", "gap");
    migration.expect(&["project"], 0);
    has_finding(&diff(&migration, &[], 5), "no-replay", "gap");
}

/// Even when every row that is there is equal.
fn i05_after_an_unfinished_replay_a_diff_is_inconclusive(log: Log) {
    let migration = generated(log, Sizes::LEAST, "replay: {transaction_rows: 20}\n");
    migration.expect(&["provision", "apply"], 0);
    let mut child = started(&migration, &["replay", "--throttle", "50"], "throttled");
    committed(&migration, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    migration.expect(&["project"], 0);
    let report = diff(&migration, &[], 5);
    has_finding(&report, "replay-unfinished", "gap");

    let projection = Connection::open(migration.projection()).unwrap();
    projection.execute("ATTACH ?1 AS legacy", [migration.legacy().to_str().unwrap()]).unwrap();
    for Same { table, .. } in TABLES {
        let key = if table == "session_summaries" { "session_id" } else { "id" };
        let sql = format!("DELETE FROM legacy.{table} WHERE {key} NOT IN (SELECT {key} FROM main.{table})");
        projection.execute(&sql, ()).unwrap();
    }
    drop(projection);
    let report = diff(&migration, &[], 5);
    has_finding(&report, "replay-unfinished", "gap");
    let counts = assert_same_rows(&migration.legacy(), &migration.projection(), &TABLES);
    assert_eq!(report["totals"]["compared"], counts.iter().sum::<u64>());
    assert!(counts[0] > 0);
    bring_over(&migration);
}

/// Even when the legacy has gone back to what the projection still shows.
fn i05_a_projection_behind_the_log_is_inconclusive(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    let id = &column(&migration.legacy(), "SELECT id FROM messages WHERE exit_code = 0 LIMIT 1")[0];
    let set = |code: u32| {
        let sql = format!("UPDATE messages SET exit_code = {code} WHERE id = '{id}'");
        assert_eq!(execute(&migration.legacy(), &sql), 1);
    };
    set(1);
    migration.expect(&["replay"], 0);
    set(0);
    let report = diff(&migration, &[], 5);
    assert_eq!(report["totals"]["differing"], 0);
    has_finding(&report, "projection-behind", "gap");
    migration.expect(&["project"], 0);
    assert_eq!(diff(&migration, &[], 1)["totals"]["changed"], 1);
    bring_over(&migration);
}

fn i05_without_a_projection_a_diff_is_inconclusive(log: Log) {
    let migration = generated(log, Sizes::LEAST, "");
    run_all(&migration, &FLOW[..2]);
    let report = diff(&migration, &[], 5);
    has_finding(&report, "no-projection", "gap");
    assert_eq!(report["totals"]["skipped"], report["totals"]["legacy_rows"]);
    let report = diff(&migration, &["--from-log"], 0);
    assert_eq!(report["totals"]["compared"], report["totals"]["legacy_rows"]);
    assert!(!migration.projection().exists());
}

fn i05_unmapped_tables_are_named(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    execute(&migration.legacy(), "CREATE TABLE stray (a); INSERT INTO stray VALUES (1)");
    let report = diff(&migration, &[], 0);
    assert_eq!(table(&report, "stray")["state"], "unmapped");
    has_finding(&report, "unmapped-table", "warning");
    let shown = migration.expect(&["diff"], 0);
    assert!(shown.contains("stray") && shown.contains("not mapped"), "{shown}");
}
