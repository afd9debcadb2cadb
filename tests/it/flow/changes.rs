//! The legacy goes on after a replay: what changed is found, then brought over.

use crossfade::demo::Sizes;
use serde_json::Value;

use crate::support::cli::{Log, Migration};
use crate::support::flow::{
    MIDDLE, assert_orderly, bring_over, column, diff, events, events_of, execute, json, mapping, on_both_logs,
    open_log, projected, sample, table,
};

on_both_logs!(
    legacy_changes_are_found_and_brought_over,
    i03_a_changed_partition_key_is_a_delete_and_an_insert,
    a_row_that_changes_and_changes_back_has_its_first_diverging_event_named,
    i02_a_row_deleted_and_made_again_has_a_new_event_each_time,
);

fn legacy(migration: &Migration, sql: &str) {
    assert_ne!(execute(&migration.legacy(), sql), 0, "{sql}");
}

/// Ids of messages, each of another session.
fn messages(migration: &Migration, count: usize) -> Vec<String> {
    let sql = format!("SELECT min(id) FROM messages GROUP BY session_id ORDER BY 1 LIMIT {count}");
    column(&migration.legacy(), &sql)
}

fn seen(migration: &Migration) -> Vec<crate::support::flow::Seen> {
    events(open_log(migration).as_ref(), &mapping(migration))
}

#[track_caller]
fn assert_diverges(sample: &Value, kind: &str, difference: &str, event: Option<&crate::support::flow::Seen>) {
    assert_eq!((&sample["kind"], &sample["difference"]), (&kind.into(), &difference.into()), "{sample:#}");
    match event {
        None => assert!(sample["event"].is_null(), "{sample:#}"),
        Some(event) => {
            assert_eq!(sample["event"]["id"].as_str().unwrap().replace('-', ""), event.id, "{sample:#}");
            assert_eq!(sample["event"]["partition"], event.partition);
            assert_eq!(sample["event"]["offset"], event.offset);
            assert_eq!(sample["event"]["topic"], event.topic);
            assert_eq!(sample["event"]["type"], event.event_type);
        }
    }
}

fn legacy_changes_are_found_and_brought_over(log: Log) {
    let migration = projected(log, MIDDLE);
    let ids = messages(&migration, 2);
    let (updated, deleted) = (&ids[0], &ids[1]);
    legacy(&migration, &format!("UPDATE messages SET content = 'amended', exit_code = 7 WHERE id = '{updated}'"));
    legacy(&migration, &format!("DELETE FROM messages WHERE id = '{deleted}'"));
    legacy(
        &migration,
        "INSERT INTO messages (id, session_id, agent_type, message_type, content)
         SELECT 'inserted', id, 'worker', 'response', 'later' FROM sessions LIMIT 1",
    );
    legacy(
        &migration,
        "UPDATE sessions SET status = 'paused' WHERE id = (SELECT min(id) FROM sessions WHERE status <> 'paused')",
    );
    let events = seen(&migration);
    let report = diff(&migration, &[], 1);
    assert_eq!(report["verdict"], "FAIL");
    let line = table(&report, "messages");
    assert_eq!((&line["missing"], &line["extra"], &line["changed"]), (&1.into(), &1.into(), &1.into()), "{line}");
    assert_eq!(table(&report, "sessions")["changed"], 1);
    assert_eq!(report["totals"]["differing"], 4);

    let changed = sample(&report, &format!("id={updated}"));
    let only = events_of(&events, "messages", updated);
    assert_diverges(changed, "row-fold", "changed", Some(only[0]));
    let names: Vec<&str> = changed["columns"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["content", "exit_code"]);
    assert_eq!(changed["columns"][0]["legacy"], "\"amended\"");
    assert_eq!(changed["columns"][0]["fold"], changed["columns"][0]["projection"]);
    let gone = events_of(&events, "messages", deleted);
    assert_diverges(sample(&report, &format!("id={deleted}")), "row-fold", "extra", Some(gone[0]));
    assert_diverges(sample(&report, "id=inserted"), "row-fold", "missing", None);

    let told = json(&migration.expect(&["replay", "--output", "json"], 0));
    assert_eq!(told["reconciled"], serde_json::json!({"inserted": 1, "updated": 2, "deleted": 1}));
    bring_over(&migration);
    let events = seen(&migration);
    assert_orderly(&events);
    let ops = |table: &str, id: &str| -> Vec<(String, String)> {
        let of = events_of(&events, table, id).into_iter();
        of.map(|event| (event.op().to_owned(), event.event_type.clone())).collect()
    };
    let pair = |op: &str, event_type: &str| (op.to_owned(), event_type.to_owned());
    assert_eq!(ops("messages", updated), [pair("base", "MessageAppended"), pair("update", "MessageAmended")]);
    assert_eq!(ops("messages", deleted), [pair("base", "MessageAppended"), pair("delete", "MessageDeleted")]);
    assert_eq!(ops("messages", "inserted"), [pair("insert", "MessageAppended")]);
    let status: Vec<_> = events.iter().filter(|event| event.event_type == "SessionStatusChanged").collect();
    assert_eq!(status.len(), 1);
    assert!(status[0].source.ends_with("#reconcile"), "{}", status[0].source);
}

fn i03_a_changed_partition_key_is_a_delete_and_an_insert(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    let (moved, mapping) = (&messages(&migration, 1)[0], mapping(&migration));
    let before = seen(&migration);
    let old = events_of(&before, "messages", moved)[0].clone();
    let elsewhere = before.iter().find(|event| event.partition != old.partition && event.value["table"] == "sessions");
    let target = elsewhere.unwrap().key.clone();
    legacy(&migration, &format!("UPDATE messages SET session_id = '{target}' WHERE id = '{moved}'"));
    let report = diff(&migration, &[], 1);
    assert_diverges(sample(&report, &format!("id={moved}")), "row-fold", "changed", Some(&old));
    let told = json(&migration.expect(&["replay", "--output", "json"], 0));
    assert_eq!(told["reconciled"], serde_json::json!({"inserted": 1, "updated": 0, "deleted": 1}));
    bring_over(&migration);

    let back = format!("UPDATE messages SET session_id = '{}' WHERE id = '{moved}'", old.key);
    legacy(&migration, &back);
    bring_over(&migration);
    migration.expect(&["project", "--rebuild"], 0);
    crate::support::flow::confirmed_pass(&migration);
    let events = events(open_log(&migration).as_ref(), &mapping);
    assert_orderly(&events);
    let path: Vec<(&str, &str)> =
        events_of(&events, "messages", moved).into_iter().map(|event| (event.op(), event.key.as_str())).collect();
    let (here, there) = (old.key.as_str(), target.as_str());
    let expected = [("base", here), ("delete", here), ("insert", there), ("delete", there), ("insert", here)];
    assert_eq!(path, expected);
}

fn a_row_that_changes_and_changes_back_has_its_first_diverging_event_named(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    let id = &column(&migration.legacy(), "SELECT min(id) FROM messages WHERE typeof(content) = 'text'")[0];
    let set = |content: &str| {
        let sql = format!("UPDATE messages SET content = '{content}' WHERE id = '{id}'");
        legacy(&migration, &sql);
    };
    for content in ["A", "B", "C"] {
        set(content);
        bring_over(&migration);
    }
    set("A");
    let before = seen(&migration);
    let of: Vec<_> = events_of(&before, "messages", id);
    assert_eq!(of.len(), 4);
    let report = diff(&migration, &[], 1);
    let found = sample(&report, &format!("id={id}"));
    assert_diverges(found, "row-fold", "changed", Some(of[2]));
    assert_eq!(found["columns"][0]["last_agreed"]["offset"], of[1].offset);
    bring_over(&migration);
    let events = seen(&migration);
    assert_orderly(&events);
    assert_eq!(events_of(&events, "messages", id).len(), 5);
}

fn i02_a_row_deleted_and_made_again_has_a_new_event_each_time(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    let make = "INSERT INTO messages (id, session_id, agent_type, message_type, content, timestamp)
         SELECT 'again', min(id), 'worker', 'response', 'same', '2026-06-01T08:00:00.000Z' FROM sessions";
    for _ in 0..2 {
        legacy(&migration, make);
        bring_over(&migration);
        legacy(&migration, "DELETE FROM messages WHERE id = 'again'");
        bring_over(&migration);
    }
    legacy(&migration, make);
    bring_over(&migration);
    let events = seen(&migration);
    let ops: Vec<&str> = events_of(&events, "messages", "again").into_iter().map(|event| event.op()).collect();
    assert_eq!(ops, ["insert", "delete", "insert", "delete", "insert"]);
    assert_orderly(&events);
}
