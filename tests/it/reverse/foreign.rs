//! What somebody writes in the legacy to sessions that events own.

use crossfade::event::{Envelope, Op};
use crossfade::mapping::FOREIGN_WRITE;

use super::sqlite::{message, ready, sessions};
use crate::support::acc::{TABLES, assert_same_rows};
use crate::support::cli::Log;
use crate::support::flow::{column, diff, each_record, events, execute, has_finding, on_both_logs, run_all, table};
use crate::support::gateway::{Gateway, values};
use crate::support::store::Cell;

on_both_logs!(
    i01_a_foreign_write_is_recorded_never_folded_and_stands_still_until_it_is_settled,
    a_reconcile_and_a_replay_leave_rows_of_the_events_side_alone,
    a_row_turned_back_to_what_it_was_unseen_is_found,
);

/// The values of all foreign writes in the log.
fn foreign(gateway: &Gateway) -> Vec<serde_json::Value> {
    let mut found = Vec::new();
    each_record(gateway.log.as_ref(), &gateway.mapping, &mut |record| {
        let envelope = Envelope::read(record.headers()).unwrap().unwrap();
        if envelope.event_type == FOREIGN_WRITE {
            found.push(serde_json::from_slice(record.value).unwrap());
        }
    });
    found
}

fn i01_a_foreign_write_is_recorded_never_folded_and_stands_still_until_it_is_settled(log: Log) {
    let migration = ready(log);
    let gateway = Gateway::of(&migration);
    let name = migration.name.clone();
    let all = sessions(&migration);
    let (owned, other) = (&all[0], &all[1]);
    gateway.take("sessions", std::slice::from_ref(owned));
    for id in ["m", "n", "o"] {
        gateway.once("messages", Op::Insert, &message(owned, id, 1), id);
    }
    migration.expect(&["project", "--reverse"], 0);

    // One changes rows of both owners, past every proxy.
    let sql = format!(
        "UPDATE messages SET content = 'by another' WHERE id = 'm'; DELETE FROM messages WHERE id = 'n';
         UPDATE sessions SET work_dir = '/else' WHERE id = '{other}';"
    );
    execute(&migration.legacy(), &sql);
    run_all(&migration, &[&["follow", "--until-caught-up"], &["project"]]);
    let told: Vec<_> = events(gateway.log.as_ref(), &gateway.mapping);
    let told: Vec<_> = told.iter().filter(|event| event.source.ends_with("#follow")).collect();
    assert!(!told.is_empty() && told.iter().all(|event| event.key == *other), "{told:?}");
    let found = foreign(&gateway);
    assert_eq!(found.len(), 2, "{found:?}");
    let update = found.iter().find(|value| value["op"] == "update").unwrap();
    assert_eq!(update["row"]["content"], "by another");
    assert_eq!(update["before"]["content"], "answer 1, \u{1f980} and a\0nul");
    assert!(found.iter().any(|value| value["op"] == "delete" && value["row"]["id"] == "n"));

    let report = diff(&migration, &[], 1);
    assert_eq!(report["verdict"], "FAIL");
    let findings = report["findings"].as_array().unwrap();
    let named: Vec<&str> = findings
        .iter()
        .filter(|finding| finding["code"] == "foreign-write" && finding["severity"] == "failure")
        .map(|finding| finding["text"].as_str().unwrap())
        .collect();
    assert_eq!(named.len(), 2, "{report:#}");
    assert!(named.iter().any(|text| text.contains("messages: id=m") && text.contains("session.events[")), "{named:?}");
    assert!(migration.expect(&["status"], 0).contains("2 rows written by others"));

    // Those rows stand still, others go on.
    gateway.once("messages", Op::Update, &message(owned, "m", 2), "m 2");
    gateway.once("messages", Op::Update, &message(owned, "o", 2), "o 2");
    assert!(migration.expect(&["project", "--reverse"], 1).contains("2 rows stand still"));
    let content = |id: &str| column(&migration.legacy(), &format!("SELECT content FROM messages WHERE id = '{id}'"));
    assert_eq!(content("m"), ["by another"]);
    assert_eq!(content("o")[0][..8], *"answer 2");
    assert_eq!(content("n"), Vec::<String>::new());
    let refused = gateway.give_back("sessions", owned, &mut || panic!("drained")).unwrap_err();
    assert!(refused.message().contains("is not settled"), "{refused}");

    // The operator's word, row by row; without consent nothing happens.
    let row = "messages: id=m";
    migration.expect(&["project", "--reverse", "--overwrite", row], 3);
    migration.expect(&["project", "--reverse", "--overwrite", "messages: id=x", "--confirm", &name], 3);
    migration.expect(&["project", "--reverse", "--overwrite", row, "--confirm", &name], 0);
    migration.expect(&["project", "--reverse"], 1);
    assert_eq!(content("m")[0][..8], *"answer 2");
    migration.expect(&["project", "--reverse", "--adopt", "all", "--confirm", &name], 0);
    migration.expect(&["project", "--reverse"], 0);
    assert_eq!(content("n"), Vec::<String>::new());
    run_all(&migration, &[&["follow", "--until-caught-up"], &["project"]]);
    assert_eq!(foreign(&gateway).len(), 2, "what reverse wrote is nobody's foreign write");
    assert_same_rows(&migration.legacy(), &migration.projection(), &TABLES);
    assert_eq!(diff(&migration, &[], 0)["verdict"], "PASS");
    gateway.once("messages", Op::Update, &message(owned, "m", 3), "m 3");
    migration.expect(&["project", "--reverse"], 0);
    assert_eq!(content("m")[0][..8], *"answer 3");
}

fn a_reconcile_and_a_replay_leave_rows_of_the_events_side_alone(log: Log) {
    let migration = ready(log);
    let gateway = Gateway::of(&migration);
    let all = sessions(&migration);
    let (owned, other) = (&all[0], &all[1]);
    gateway.take("sessions", std::slice::from_ref(owned));
    gateway.once("messages", Op::Insert, &message(owned, "m", 1), "m");
    execute(&migration.legacy(), &format!("UPDATE sessions SET work_dir = '/else' WHERE id IN ('{owned}', '{other}')"));
    // The same change twice: told by a pass that compares, and then by nobody again.
    migration.expect(&["replay"], 0);
    let told = events(gateway.log.as_ref(), &gateway.mapping);
    let told: Vec<_> = told.iter().filter(|event| event.source.ends_with("#reconcile")).collect();
    assert!(!told.is_empty() && told.iter().all(|event| event.key == *other), "{told:?}");
    let refused = migration.run(&["replay", "--recopy"]);
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("events own 1 sessions"), "{}", refused.stderr);
    migration.expect(&["project"], 0);
    has_finding(&diff(&migration, &[], 5), "reverse-behind", "gap");
    migration.expect(&["project", "--reverse"], 0);

    // A gateway writes for sessions of its own only.
    let mut writer = gateway.open();
    let table = gateway.table("messages");
    let rows = gateway.rows(table, &message(other, "x", 1));
    let refused = writer.append(table, (Op::Insert, rows.row(0), None), b"x").unwrap_err();
    assert!(refused.message().contains("events do not own session"), "{refused}");
    let moved =
        gateway.rows(table, &message(other, "m", 1).into_iter().chain(values(&[("cost", Cell::Null)])).collect());
    let before = gateway.rows(table, &message(owned, "m", 1));
    writer.append(table, (Op::Update, moved.row(0), Some(before.row(0))), b"y").unwrap_err();
}

fn a_row_turned_back_to_what_it_was_unseen_is_found(log: Log) {
    let migration = ready(log);
    let gateway = Gateway::of(&migration);
    let owned = sessions(&migration)[0].clone();
    gateway.take("sessions", std::slice::from_ref(&owned));
    gateway.once("messages", Op::Insert, &message(&owned, "m", 1), "1");
    migration.expect(&["project", "--reverse"], 0);
    let first = column(&migration.legacy(), "SELECT content FROM messages WHERE id = 'm'");
    gateway.once("messages", Op::Update, &message(&owned, "m", 2), "2");
    run_all(&migration, &[&["project", "--reverse"], &["project"], &["diff"]]);
    // On a connection without triggers, as reverse's own: no outbox tells of it.
    let connection = rusqlite::Connection::open(migration.legacy()).unwrap();
    connection.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false).unwrap();
    let before = message(&owned, "m", 1);
    let (Cell::Real(cost), Cell::Integer(duration)) = (&before["cost"], &before["duration"]) else { panic!() };
    connection
        .execute(
            "UPDATE messages SET content = ?1, cost = ?2, duration = ?3, agent_type = 'worker' WHERE id = 'm'",
            (&first[0], f64::from_bits(*cost), duration),
        )
        .unwrap();
    migration.expect(&["follow", "--until-caught-up"], 0);
    let report = diff(&migration, &[], 1);
    assert_eq!(table(&report, "messages")["changed"], 1, "{report:#}");
    assert_eq!(report["samples"][0]["kind"], "row-fold", "{report:#}");
}
