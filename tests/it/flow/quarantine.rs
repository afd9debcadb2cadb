//! Rows that may not become events.

use crossfade::demo::Sizes;

use crate::support::cli::{Log, Migration};
use crate::support::flow::{
    FLOW, bring_over, diff, execute, generated, has_finding, json, on_both_logs, run_all, table,
};

on_both_logs!(
    a_row_that_may_not_become_an_event_stops_the_replay,
    i05_rows_in_quarantine_make_the_verdict_inconclusive,
    a_row_that_turns_bad_after_the_copy_stops_the_next_replay,
);

const WITHOUT_KEY: &str = "INSERT INTO sessions (id, initial_task, work_dir) VALUES (NULL, 'no key', '/w')";
const AGAINST_THE_RULE: &str = "INSERT INTO messages (id, session_id, agent_type, message_type, content, exit_code)
     SELECT 'against', min(id), 'worker', 'response', 'too large a code', 5000 FROM sessions";

/// A generated store under a mapping with a rule that all its rows keep.
fn with_a_rule(log: Log) -> Migration {
    let migration = generated(log, Sizes::LEAST, "");
    let path = migration.path("mapping.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let events = "    events: {insert: MessageAppended";
    assert!(text.contains(events));
    std::fs::write(path, text.replace(events, &format!("    rules: {{exit_code: {{max: 1000}}}}\n{events}"))).unwrap();
    migration
}

#[track_caller]
fn bad(migration: &Migration, sql: &str) {
    assert_eq!(execute(&migration.legacy(), sql), 1, "{sql}");
}

fn mend(migration: &Migration) {
    execute(&migration.legacy(), "DELETE FROM sessions WHERE id IS NULL; DELETE FROM messages WHERE id = 'against'");
}

/// The replay stops with exit 1, names these, and a diff does not pass.
#[track_caller]
fn stops(migration: &Migration, table: &str, row: &str) {
    let ran = migration.run(&["replay"]);
    assert_eq!(ran.code, Some(1), "{}{}", ran.stdout, ran.stderr);
    for named in [format!("'{table}'"), row.to_owned(), "--quarantine".to_owned()] {
        assert!(ran.stderr.contains(&named), "{named} is not in {}", ran.stderr);
    }
    migration.expect(&["project"], 0);
    assert!(matches!(migration.run(&["diff"]).code, Some(1 | 5)));
}

fn a_row_that_may_not_become_an_event_stops_the_replay(log: Log) {
    let migration = with_a_rule(log);
    migration.expect(&["provision", "apply"], 0);
    bad(&migration, WITHOUT_KEY);
    stops(&migration, "sessions", "id=NULL");
    mend(&migration);
    bad(&migration, AGAINST_THE_RULE);
    stops(&migration, "messages", "id=against");
    mend(&migration);
    bring_over(&migration);
}

fn i05_rows_in_quarantine_make_the_verdict_inconclusive(log: Log) {
    let migration = with_a_rule(log);
    bad(&migration, WITHOUT_KEY);
    bad(&migration, AGAINST_THE_RULE);
    migration.expect(FLOW[0], 0);
    let told = json(&migration.expect(&["replay", "--quarantine", "bad.ndjson", "--output", "json"], 0));
    assert_eq!(told["quarantined"], 2);
    let file = std::fs::read_to_string(migration.path("bad.ndjson")).unwrap();
    let mut lines: Vec<_> = file.lines().map(json).collect();
    lines.sort_by_key(|line| line["table"].to_string());
    assert_eq!(lines.len(), 2, "{file}");
    assert_eq!((&lines[0]["table"], &lines[0]["row"]["id"]), (&"messages".into(), &"against".into()));
    assert_eq!(lines[0]["row"]["exit_code"], 5000);
    assert!(lines[0]["reason"].as_str().unwrap().contains("exit_code"), "{file}");
    assert_eq!((&lines[1]["table"], &lines[1]["row"]["id"]), (&"sessions".into(), &serde_json::Value::Null));
    assert_eq!(lines[1]["row"]["initial_task"], "no key");

    migration.expect(&["project"], 0);
    let report = diff(&migration, &[], 5);
    has_finding(&report, "quarantined", "gap");
    assert_eq!((&report["totals"]["skipped"], &report["totals"]["differing"]), (&2.into(), &0.into()));
    for name in ["sessions", "messages"] {
        let line = table(&report, name);
        assert_eq!(line["skipped"], 1);
        assert_eq!(line["compared"], line["projected_rows"]);
        assert_eq!(line["legacy_rows"].as_u64(), line["projected_rows"].as_u64().map(|rows| rows + 1));
    }
    mend(&migration);
    bring_over(&migration);
}

fn a_row_that_turns_bad_after_the_copy_stops_the_next_replay(log: Log) {
    let migration = with_a_rule(log);
    run_all(&migration, &FLOW);
    bad(&migration, AGAINST_THE_RULE);
    stops(&migration, "messages", "id=against");
    mend(&migration);
    bad(&migration, WITHOUT_KEY);
    stops(&migration, "sessions", "id=NULL");
    let told = json(&migration.expect(&["replay", "--quarantine", "bad.ndjson", "--output", "json"], 0));
    assert_eq!(told["quarantined"], 1);
    let file = std::fs::read_to_string(migration.path("bad.ndjson")).unwrap();
    assert_eq!(file.lines().count(), 1, "{file}");
    migration.expect(&["project"], 0);
    has_finding(&diff(&migration, &[], 5), "quarantined", "gap");
    mend(&migration);
    bring_over(&migration);
}
