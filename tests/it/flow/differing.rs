//! What a diff says of rows that differ: which of row, fold and projection, since which event, and all of them.

use std::collections::BTreeSet;

use crossfade::demo::Sizes;

use crate::support::acc::{TABLES, differences};
use crate::support::cli::{Log, Migration};
use crate::support::flow::{
    MIDDLE, bring_over, column, confirmed_pass, diff, events, events_of, execute, has_finding, json, mapping,
    on_both_logs, open_log, projected, sample,
};

on_both_logs!(
    a_corrupt_projected_row_is_told_from_a_changed_legacy_row,
    a_projected_row_that_is_lost_or_invented_is_found,
    i05_what_both_sides_changed_alike_behind_the_log_is_found_from_the_log_only,
    every_differing_key_is_found_and_written_to_the_file,
    ignore_rules_explain_differences_until_they_expire,
    an_ignore_rule_without_an_owner_is_refused,
);

fn message(migration: &Migration) -> String {
    let sql = "SELECT min(id) FROM messages WHERE typeof(content) = 'text'";
    column(&migration.legacy(), sql).remove(0)
}

fn a_corrupt_projected_row_is_told_from_a_changed_legacy_row(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    let ids = column(&migration.legacy(), "SELECT id FROM messages WHERE exit_code IS NULL ORDER BY id LIMIT 4");
    let (legacy, projection) = (migration.legacy(), migration.projection());
    let set = |path, id: &str, code| {
        assert_eq!(execute(path, &format!("UPDATE messages SET exit_code = {code} WHERE id = '{id}'")), 1);
    };
    set(&legacy, &ids[0], 8);
    bring_over(&migration);
    set(&projection, &ids[0], 9);
    set(&projection, &ids[1], 9);
    set(&legacy, &ids[2], 8);
    set(&legacy, &ids[3], 8);
    set(&projection, &ids[3], 9);
    let report = diff(&migration, &[], 1);
    assert_eq!(report["totals"]["changed"], 4);
    let events = events(open_log(&migration).as_ref(), &mapping(&migration));
    for (id, kind, event, legacy, fold, projection) in [
        (&ids[0], "projection-fold", 1, "8", "8", "9"),
        (&ids[1], "projection-fold", 0, "null", "null", "9"),
        (&ids[2], "row-fold", 0, "8", "null", "null"),
        (&ids[3], "both", 0, "8", "null", "9"),
    ] {
        let found = sample(&report, &format!("id={id}"));
        assert_eq!(found["kind"], kind, "{found:#}");
        let expected = events_of(&events, "messages", id)[event];
        assert_eq!(found["event"]["offset"], expected.offset, "{found:#}");
        assert_eq!(found["event"]["partition"], expected.partition);
        let column = &found["columns"][0];
        assert_eq!((&column["name"], &column["legacy"]), (&"exit_code".into(), &legacy.into()));
        assert_eq!((&column["fold"], &column["projection"]), (&fold.into(), &projection.into()));
    }
    let shown = migration.expect(&["diff"], 1);
    assert!(shown.contains("projection ≠ fold") && shown.contains("row ≠ fold"), "{shown}");
}

fn a_projected_row_that_is_lost_or_invented_is_found(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    let id = message(&migration);
    assert_eq!(execute(&migration.projection(), &format!("DELETE FROM messages WHERE id = '{id}'")), 1);
    let invented = "INSERT INTO sessions (id, initial_task, work_dir) VALUES ('invented', 't', '/w')";
    assert_eq!(execute(&migration.projection(), invented), 1);
    let report = diff(&migration, &[], 1);
    let events = events(open_log(&migration).as_ref(), &mapping(&migration));
    let lost = sample(&report, &format!("id={id}"));
    assert_eq!((&lost["kind"], &lost["difference"]), (&"projection-fold".into(), &"missing".into()));
    assert_eq!(lost["event"]["offset"], events_of(&events, "messages", &id)[0].offset);
    let extra = sample(&report, "id=invented");
    assert_eq!((&extra["kind"], &extra["difference"]), (&"projection-fold".into(), &"extra".into()));
    assert!(extra["event"].is_null(), "{extra:#}");
    assert_eq!(report["next"], "crossfade project --rebuild");
    diff(&migration, &["--from-log"], 0);
    migration.expect(&["project", "--rebuild"], 0);
    confirmed_pass(&migration);
}

/// The digests of both sides agree and the log is read for differing keys only, so a plain diff passes: it says that
/// legacy and projection are equal. Whether both are what the events say is asked with `--from-log`.
fn i05_what_both_sides_changed_alike_behind_the_log_is_found_from_the_log_only(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    let id = message(&migration);
    let sql = format!("UPDATE messages SET content = 'behind the log' WHERE id = '{id}'");
    assert_eq!(execute(&migration.legacy(), &sql), 1);
    assert_eq!(execute(&migration.projection(), &sql), 1);
    confirmed_pass(&migration);
    let report = diff(&migration, &["--from-log"], 1);
    let found = sample(&report, &format!("id={id}"));
    assert_eq!((&found["kind"], &found["difference"]), (&"row-fold".into(), &"changed".into()), "{found:#}");
    let compared = report["facts"].as_array().unwrap().iter().find(|fact| fact["name"] == "compared with").unwrap();
    assert!(compared["value"].as_str().unwrap().contains("whole log"), "{compared}");
}

fn every_differing_key_is_found_and_written_to_the_file(log: Log) {
    let migration = projected(log, MIDDLE);
    assert_eq!(execute(&migration.legacy(), "UPDATE messages SET content = 'changed ' || id"), 2_000);
    let report = diff(&migration, &["--keys", "keys.ndjson"], 1);
    assert_eq!(report["totals"]["differing"], 2_000);
    assert_eq!(report["samples"].as_array().unwrap().len(), 20);
    assert_eq!(report["keys_file"], "keys.ndjson");
    let file = std::fs::read_to_string(migration.path("keys.ndjson")).unwrap();
    let lines: Vec<_> = file.lines().map(json).collect();
    assert!(lines.iter().all(|line| line["table"] == "messages" && line["kind"] == "row-fold"));
    assert!(lines.iter().all(|line| line["event"]["offset"].is_i64()));
    let found: BTreeSet<String> = lines.iter().map(|line| line["key"].as_str().unwrap().to_owned()).collect();
    let keys: BTreeSet<String> = column(&migration.legacy(), "SELECT 'id=' || id FROM messages").into_iter().collect();
    assert_eq!((lines.len(), &found), (2_000, &keys));

    let pass = migration.path("keys-of-a-pass.ndjson");
    bring_over(&migration);
    diff(&migration, &["--keys", pass.to_str().unwrap()], 0);
    assert_eq!(std::fs::read_to_string(pass).unwrap(), "");
}

/// A rule for `messages.content`, in place of those before.
fn ignore(migration: &Migration, rule: &str) {
    let path = migration.path("crossfade.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.split("diff:").next().unwrap();
    let rule = format!("{text}diff:\n  ignore:\n    - {{table: messages, column: content, {rule}}}\n");
    std::fs::write(path, rule).unwrap();
}

fn ignore_rules_explain_differences_until_they_expire(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    let id = message(&migration);
    let set = |sql: &str| assert_eq!(execute(&migration.legacy(), &format!("{sql} WHERE id = '{id}'")), 1);
    set("UPDATE messages SET content = 'drifted'");
    let in_force = "reason: clock drift, owner: ops, expires: 2999-12-31";
    ignore(&migration, in_force);
    let report = diff(&migration, &[], 0);
    assert_eq!((&report["totals"]["explained"], &report["totals"]["differing"]), (&1.into(), &0.into()));
    assert_eq!(sample(&report, &format!("id={id}"))["explained_by"], "clock drift");
    has_finding(&report, "ignore-rule", "note");
    assert_eq!(report["ignore_rules"][0]["owner"], "ops");
    assert_eq!(differences(&migration.legacy(), &migration.projection(), &TABLES).len(), 2);

    set("UPDATE messages SET exit_code = 99");
    let report = diff(&migration, &[], 1);
    assert_eq!((&report["totals"]["explained"], &report["totals"]["differing"]), (&0.into(), &1.into()));

    ignore(&migration, "reason: clock drift, owner: ops, expires: 2026-01-01");
    has_finding(&diff(&migration, &[], 1), "ignore-rule-expired", "failure");
    migration.expect(&["replay"], 0);
    migration.expect(&["project"], 0);
    let report = diff(&migration, &[], 1);
    assert_eq!(report["totals"]["differing"], 0);
    has_finding(&report, "ignore-rule-expired", "failure");
    ignore(&migration, in_force);
    confirmed_pass(&migration);
}

fn an_ignore_rule_without_an_owner_is_refused(log: Log) {
    let migration = Migration::acc(log, "");
    for (rule, missing) in [
        ("reason: drift, expires: 2999-12-31", "owner"),
        ("reason: drift, owner: ' ', expires: 2999-12-31", "owner"),
        ("owner: ops, expires: 2999-12-31", "reason"),
        ("reason: drift, owner: ops", "expires"),
        ("reason: drift, owner: ops, expires: soon", "expires"),
    ] {
        ignore(&migration, rule);
        let ran = migration.run(&["diff"]);
        assert_eq!(ran.code, Some(2), "{rule}: {}", ran.stderr);
        assert!(ran.stderr.contains(missing) && ran.stderr.contains("crossfade.yaml:"), "{rule}: {}", ran.stderr);
    }
}
