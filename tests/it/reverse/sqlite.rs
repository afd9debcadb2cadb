//! ACC's store on SQLite, followed by its outbox, while events own most of its sessions.

use std::time::Duration;

use crossfade::base::Kind;
use crossfade::control::Captured;
use crossfade::event::Op;

use crate::support::acc::{TABLES, assert_same_rows};
use crate::support::cli::{Log, Migration};
use crate::support::flow::{MIDDLE, column, diff, events, execute, generated, on_both_logs, run_all};
use crate::support::gateway::{Gateway, Values, followed, source, stored, values};
use crate::support::store::Cell;

on_both_logs!(ten_thousand_changes_of_the_events_side_are_in_the_legacy);

/// A migration whose outbox is installed, replayed and projected, with reverse ready.
pub fn ready(log: Log) -> Migration {
    let migration = generated(log, MIDDLE, "");
    let name = migration.name.clone();
    run_all(
        &migration,
        &[
            &["provision", "apply"],
            &["follow", "--install", "--confirm", &name],
            &["replay"],
            &["project", "--reverse", "--install", "--confirm", &name],
            &["follow", "--until-caught-up"],
            &["project"],
        ],
    );
    migration
}

/// Ids of sessions whose rows are all sound.
pub fn sessions(migration: &Migration) -> Vec<String> {
    column(&migration.legacy(), "SELECT id FROM sessions WHERE id IS NOT NULL AND typeof(id) = 'text' ORDER BY id")
}

pub fn message(session: &str, id: &str, number: i64) -> Values {
    values(&[
        ("id", Cell::text(id)),
        ("session_id", Cell::text(session)),
        ("agent_type", Cell::text(if number % 2 == 0 { "manager" } else { "worker" })),
        ("message_type", Cell::text("response")),
        ("content", Cell::Text(format!("answer {number}, \u{1f980} and a\0nul").into_bytes())),
        ("timestamp", Cell::text("2026-11-26T03:00:00.000Z")),
        ("cost", Cell::real(number as f64 / 7.0)),
        ("duration", if number % 5 == 0 { Cell::real(12.5) } else { Cell::Integer(3_000_000_000 + number) }),
    ])
}

/// Writes `count` changes of every kind to these sessions, as events only.
pub fn change(gateway: &Gateway, migration: &Migration, owned: &[String], count: usize) {
    let mut writer = gateway.open();
    let mut made: Vec<Values> = Vec::new();
    let list = owned.iter().map(|id| format!("'{id}'")).collect::<Vec<_>>().join(", ");
    let mut old =
        stored(&migration.legacy(), &format!("SELECT * FROM messages WHERE session_id IN ({list}) ORDER BY id"));
    let mut rows = stored(&migration.legacy(), &format!("SELECT * FROM sessions WHERE id IN ({list}) ORDER BY id"));
    for number in 0..count {
        let named = format!("change {number}");
        let session = &owned[number % owned.len()];
        match number % 10 {
            0 => {
                let at = number / 10 % rows.len();
                rows[at].insert("status".into(), Cell::text(if number % 20 == 0 { "completed" } else { "paused" }));
                rows[at].insert("updated_at".into(), Cell::text(&format!("2026-11-26 03:{:02}:00", number / 10 % 60)));
                gateway.write(&mut writer, "sessions", Op::Update, &rows[at], &named);
            }
            1 if !old.is_empty() => {
                let mut row = old.pop().unwrap();
                row.insert("content".into(), Cell::text(&named));
                gateway.write(&mut writer, "messages", Op::Update, &row, &named);
                made.push(row);
            }
            2 if made.len() > 40 => {
                // One of its own: children of an older one lie in the legacy.
                let own = |row: &Values| matches!(&row["id"], Cell::Text(id) if id.starts_with(b"made-"));
                let row = made.remove(made.iter().position(own).unwrap() + number % 7);
                if !own(&row) {
                    made.push(row);
                    continue;
                }
                gateway.write(&mut writer, "messages", Op::Delete, &row, &named);
                // What the legacy would have done by itself.
                let orphaned = |other: &&mut Values| other.get("parent_message_id") == row.get("id");
                for (at, other) in made.iter_mut().filter(orphaned).enumerate() {
                    other.insert("parent_message_id".into(), Cell::Null);
                    gateway.write(&mut writer, "messages", Op::Update, other, &format!("{named} {at}"));
                }
            }
            3 => {
                let row = values(&[
                    ("id", Cell::text(&format!("event-{number}"))),
                    ("session_id", Cell::text(session)),
                    ("event_type", Cell::text("agent_switch")),
                    ("details", Cell::text("{}")),
                    ("timestamp", Cell::text("2026-11-26T03:00:00.000Z")),
                ]);
                gateway.write(&mut writer, "system_events", Op::Insert, &row, &named);
            }
            _ => {
                let mut row = message(session, &format!("made-{number:05}"), number as i64);
                let parent = made.iter().rev().take(60).find(|other| other["session_id"] == row["session_id"]);
                if let Some(parent) = parent {
                    row.insert("parent_message_id".into(), parent["id"].clone());
                }
                gateway.write(&mut writer, "messages", Op::Insert, &row, &named);
                made.push(row);
            }
        }
        if number % 700 == 699 {
            writer.commit().unwrap();
        }
    }
    writer.commit().unwrap();
}

/// Rows whose foreign keys lead nowhere, as SQLite sees them.
fn broken_keys(migration: &Migration) -> Vec<String> {
    column(
        &migration.legacy(),
        "SELECT \"table\" || ' ' || coalesce(rowid, '') FROM pragma_foreign_key_check() ORDER BY 1",
    )
}

fn ten_thousand_changes_of_the_events_side_are_in_the_legacy(log: Log) {
    let migration = ready(log);
    let gateway = Gateway::of(&migration);
    let all = sessions(&migration);
    let owned = &all[..40];
    let broken = broken_keys(&migration);
    let source = source(&migration);
    assert_eq!(gateway.try_take("sessions", owned, &followed(&source)).unwrap(), 40);
    assert_eq!(gateway.try_take("sessions", owned, &followed(&source)).unwrap(), 0, "asked once more");
    change(&gateway, &migration, owned, 10_000);

    let told = migration.expect(&["project", "--reverse", "--output", "json"], 0);
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    println!("reverse: {} events in {} s", told["events"], told["seconds"]);
    assert!(told["events"].as_u64().unwrap() >= 10_000, "{told}");
    assert_eq!(told["owned_sessions"], 40);
    migration.expect(&["project"], 0);
    let rows: u64 = assert_same_rows(&migration.legacy(), &migration.projection(), &TABLES).iter().sum();
    assert!(rows > 8_000, "{rows}");

    // The legacy's own rules hold, and its views work.
    assert_eq!(column(&migration.legacy(), "PRAGMA integrity_check"), ["ok"]);
    assert_eq!(broken_keys(&migration), broken);
    for view in ["session_overview", "recent_activity"] {
        let count = column(&migration.legacy(), &format!("SELECT count(*) || '' FROM {view}"));
        assert_ne!(count, ["0"], "{view}");
    }
    // Capture made no event of it.
    migration.expect(&["follow", "--until-caught-up"], 0);
    let follow = events(gateway.log.as_ref(), &gateway.mapping);
    assert_eq!(follow.iter().filter(|event| event.source.ends_with("#follow")).count(), 0);
    let kept = format!("SELECT count(*) || '' FROM _crossfade_{}_changes", migration.name);
    assert_eq!(column(&migration.legacy(), &kept), ["1"], "the outbox has its first entry only");

    // Nothing more to do, and a change of the legacy to a session of its own is told as ever.
    let told = migration.expect(&["project", "--reverse"], 0);
    assert!(told.contains("0 events written back"), "{told}");
    let report = diff(&migration, &[], 0);
    assert_eq!(report["verdict"], "PASS");
    let (compared, mirrored) = (&report["totals"]["compared"], report["totals"]["mirrored"].as_u64().unwrap());
    assert!(mirrored > 5_000 && mirrored < compared.as_u64().unwrap(), "{report:#}");
}

#[test]
fn i01_a_transfer_waits_for_every_change_told_by_an_outbox_of_sqlite() {
    let migration = ready(Log::Embedded);
    let gateway = Gateway::of(&migration);
    let owned = &sessions(&migration)[..1];
    let source = source(&migration);
    execute(&migration.legacy(), &format!("UPDATE sessions SET work_dir = '/late' WHERE id = '{}'", owned[0]));
    let (rows, changes) = (&source.0, &source.1);
    let impatient = Captured::Followed { rows, changes, patience: Duration::from_millis(300) };
    let refused = gateway.try_take("sessions", owned, &impatient).unwrap_err();
    assert_eq!(refused.kind(), Kind::Unknown, "{refused}");
    migration.expect(&["follow", "--until-caught-up"], 0);
    assert_eq!(gateway.try_take("sessions", owned, &followed(&source)).unwrap(), 1);
}
