//! The outbox in the legacy's file, and what happens to it, through the binary.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::support::cli::{Log, Migration};
use crate::support::crash::{Child, signal};
use crate::support::flow::{
    column, confirmed_pass, diff, events, execute, generated, has_finding, json, mapping, open_log,
};

const SMALL: crossfade::demo::Sizes = crossfade::demo::Sizes { sessions: 32, messages: 200, seed: 3 };

fn store() -> Migration {
    let migration = generated(Log::Embedded, SMALL, "replay: {transaction_rows: 100}\n");
    migration.expect(&["provision", "apply"], 0);
    migration
}

fn install(migration: &Migration) {
    migration.expect(&["follow", "--install", "--confirm", &migration.name], 0);
}

fn replayed() -> Migration {
    let migration = store();
    install(&migration);
    migration.expect(&["replay"], 0);
    migration
}

fn insert(migration: &Migration, id: &str) {
    let sql = format!("INSERT INTO sessions (id, initial_task, work_dir) VALUES ('{id}', 'task', '/')");
    assert_eq!(execute(&migration.legacy(), &sql), 1);
}

fn caught_up(migration: &Migration) {
    migration.expect(&["follow", "--until-caught-up"], 0);
    migration.expect(&["project"], 0);
    confirmed_pass(migration);
}

fn schema(migration: &Migration) -> Vec<String> {
    column(&migration.legacy(), "SELECT type || name || coalesce(sql, '') FROM sqlite_schema ORDER BY 1")
}

#[track_caller]
fn refused(migration: &Migration, args: &[&str], code: i32, words: &str) {
    let ran = migration.run(args);
    assert_eq!(ran.code, Some(code), "{args:?}\n{}\n{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
}

/// Waits until `done` says so.
#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

fn followed(migration: &Migration) -> usize {
    let told = events(open_log(migration).as_ref(), &mapping(migration));
    told.iter().filter(|event| event.source.ends_with("#follow")).count()
}

#[test]
fn i06_an_outbox_is_shown_confirmed_journalled_and_taken_away_without_the_journal() {
    let migration = store();
    let before = schema(&migration);
    let shown = migration.run(&["follow", "--install"]);
    assert_eq!(shown.code, Some(3), "{}", shown.stderr);
    assert!(shown.stdout.contains("AFTER DELETE ON \"messages\""), "{}", shown.stdout);
    assert!(!shown.stdout.contains("users"), "{}", shown.stdout);
    refused(&migration, &["follow", "--install", "--confirm", "other"], 3, "nothing was changed");
    assert_eq!(schema(&migration), before);
    install(&migration);
    assert_ne!(schema(&migration), before);
    assert!(migration.expect(&["follow", "--install"], 0).contains("nothing to do"));
    let journal = migration.expect(&["journal", "export"], 0);
    let steps = journal.lines().filter(|line| line.contains("follow step") && line.contains("announced"));
    let steps: Vec<&str> = steps.collect();
    assert!(steps.len() > 20 && steps.iter().all(|step| step.contains("DROP")), "{steps:#?}");
    insert(&migration, "with an outbox");

    std::fs::remove_file(migration.path(".crossfade/journal.db")).unwrap();
    execute(&migration.legacy(), &format!("DROP TRIGGER _crossfade_{}_1_insert", migration.name));
    refused(&migration, &["follow", "--uninstall"], 3, "nothing was changed");
    insert(&migration, "with half of one");
    migration.expect(&["follow", "--uninstall", "--confirm", &migration.name], 0);
    insert(&migration, "without");
    assert_eq!(schema(&migration), before);
    assert!(migration.expect(&["follow", "--uninstall"], 0).contains("nothing to do"));
}

#[test]
fn a_follow_needs_an_outbox_a_replay_and_a_store_in_wal_mode() {
    let migration = store();
    refused(&migration, &["follow"], 3, "there was no replay yet");
    migration.expect(&["replay"], 0);
    refused(&migration, &["follow"], 3, "has no outbox");
    execute(&migration.legacy(), "PRAGMA journal_mode = DELETE");
    refused(&migration, &["follow", "--install"], 3, "journal mode");
}

#[test]
fn i02_a_follow_without_capture_at_the_replay_begins_with_a_reconcile() {
    let migration = store();
    migration.expect(&["replay"], 0);
    insert(&migration, "before the outbox");
    install(&migration);
    insert(&migration, "after it");
    let told = json(&migration.expect(&["follow", "--until-caught-up", "--output", "json"], 0));
    assert_eq!(told["reconciled"], 2, "{told:#}");
    insert(&migration, "followed");
    let told = json(&migration.expect(&["follow", "--until-caught-up", "--output", "json"], 0));
    assert_eq!((&told["reconciled"], &told["events"]), (&0.into(), &1.into()), "{told:#}");
    migration.expect(&["project"], 0);
    confirmed_pass(&migration);
}

#[test]
fn i05_changes_that_are_not_followed_yet_make_a_verdict_inconclusive() {
    let migration = replayed();
    migration.expect(&["project"], 0);
    confirmed_pass(&migration);
    insert(&migration, "new");
    has_finding(&diff(&migration, &[], 5), "follow-behind", "gap");
    assert!(migration.expect(&["status"], 0).contains("1 change not in the log yet"));
    caught_up(&migration);
    let report = diff(&migration, &[], 0);
    let blind = report["findings"].as_array().unwrap().iter().filter(|finding| finding["code"] == "follow-blind");
    assert_eq!(blind.count(), 2, "{report:#}");
}

#[test]
fn i02_a_rebuilt_table_stops_follow_until_the_outbox_is_made_again() {
    let migration = replayed();
    migration.expect(&["follow", "--until-caught-up"], 0);
    let running = Child::start(migration.command(&["follow"]));
    insert(&migration, "seen");
    until("the change is followed", || followed(&migration) == 1);
    let rebuild = "PRAGMA legacy_alter_table = ON; BEGIN; DROP VIEW IF EXISTS session_overview; DROP VIEW IF EXISTS recent_activity;
        DROP VIEW IF EXISTS user_overview; DROP VIEW IF EXISTS session_activity_with_users;
        CREATE TABLE new_metrics AS SELECT * FROM performance_metrics WHERE 0; DROP TABLE new_metrics;
        CREATE TABLE kept AS SELECT * FROM system_events;";
    let definition: Vec<String> =
        column(&migration.legacy(), "SELECT sql FROM sqlite_schema WHERE name = 'system_events'");
    let again = format!(
        "{rebuild} DROP TABLE system_events; {}; INSERT INTO system_events SELECT * FROM kept; DROP TABLE kept; COMMIT",
        definition[0]
    );
    execute(&migration.legacy(), &again);
    execute(&migration.legacy(), "UPDATE system_events SET details = 'unseen'");
    let (status, said) = running.wait();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("no longer whole") && said.contains("--install"), "{said}");
    refused(&migration, &["follow"], 3, "no longer whole");
    install(&migration);
    caught_up(&migration);
    insert(&migration, "again");
    caught_up(&migration);
}

#[test]
fn a_store_put_back_to_an_older_state_is_refused() {
    let migration = replayed();
    insert(&migration, "kept");
    caught_up(&migration);
    let copy = migration.path("older.db");
    execute(&migration.legacy(), &format!("VACUUM INTO '{}'", copy.display()));
    for number in 0..5 {
        insert(&migration, &format!("lost {number}"));
    }
    caught_up(&migration);
    for tail in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(migration.path(&format!("legacy.db{tail}")));
    }
    std::fs::copy(&copy, migration.legacy()).unwrap();
    execute(&migration.legacy(), "PRAGMA journal_mode = WAL");
    refused(&migration, &["follow"], 3, "put back to an older state");
    for number in 0..9 {
        insert(&migration, &format!("other {number}"));
    }
    refused(&migration, &["follow"], 3, "put back to an older state");
    // The outbox looks whole, so it has to be taken away first.
    migration.expect(&["follow", "--uninstall", "--confirm", &migration.name], 0);
    install(&migration);
    caught_up(&migration);
}

#[test]
fn i08_of_two_follows_the_older_is_fenced() {
    let migration = replayed();
    let older = Child::start(migration.command(&["follow"]));
    insert(&migration, "one");
    until("the change is followed", || followed(&migration) == 1);
    let newer = Child::start(migration.command(&["follow"]));
    until("the newer has begun", || {
        insert(&migration, &uuid::Uuid::new_v4().to_string());
        let status = migration.run(&["status"]);
        status.stdout.contains("the log has every change") && followed(&migration) > 3
    });
    until("the older has ended", || {
        insert(&migration, &uuid::Uuid::new_v4().to_string());
        std::thread::sleep(Duration::from_millis(200));
        !std::path::Path::new(&format!("/proc/{}/fd/0", older.id())).exists()
    });
    let (status, said) = older.wait();
    assert_eq!(status.code(), Some(4), "{said}");
    signal("TERM", newer.id());
    assert_eq!(newer.wait().0.code(), Some(143));
    caught_up(&migration);
}

#[test]
fn i02_a_replay_beside_a_follow_takes_its_place_and_leaves_no_gap() {
    let migration = replayed();
    let follow = Child::start(migration.command(&["follow"]));
    insert(&migration, "one");
    until("the change is followed", || followed(&migration) == 1);
    migration.expect(&["replay"], 0);
    // The follow meets its fence, sees that nobody is at work any more, and goes on behind the reconcile.
    insert(&migration, "two");
    until("the follow goes on", || followed(&migration) == 2);
    // One that still is at work is left alone.
    let slow = Child::at(
        {
            let mut command = migration.command(&["replay", "--recopy"]);
            command.env("CROSSFADE_STOP_AT", "replay.before-commit:2");
            command
        },
        "replay.before-commit",
    );
    insert(&migration, "three");
    let (status, said) = follow.wait();
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(said.contains("'replay'"), "{said}");
    refused(&migration, &["follow"], 4, "'replay'");
    slow.kill();
    refused(&migration, &["follow"], 3, "unfinished");
    migration.expect(&["replay"], 0);
    execute(&migration.legacy(), "UPDATE sessions SET status = 'paused' WHERE id IN ('one', 'two')");
    caught_up(&migration);
    migration.expect(&["replay"], 0);
    migration.expect(&["project"], 0);
    confirmed_pass(&migration);
    let told = events(open_log(&migration).as_ref(), &mapping(&migration));
    let ids: std::collections::BTreeSet<&str> = told.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), told.len());
}

#[test]
fn i02_an_outbox_made_anew_under_a_follow_is_reconciled() {
    let migration = replayed();
    let follow = Child::start(migration.command(&["follow"]));
    insert(&migration, "one");
    until("the change is followed", || followed(&migration) == 1);
    let pause = crate::support::crash::signal;
    pause("STOP", follow.id());
    insert(&migration, "two");
    migration.expect(&["follow", "--uninstall", "--confirm", &migration.name], 0);
    insert(&migration, "three");
    install(&migration);
    for number in 0..6 {
        insert(&migration, &format!("more {number}"));
    }
    pause("CONT", follow.id());
    until("the follow goes on", || {
        insert(&migration, &uuid::Uuid::new_v4().to_string());
        followed(&migration) > 1
    });
    signal("INT", follow.id());
    assert_eq!(follow.wait().0.code(), Some(130));
    caught_up(&migration);
}

#[test]
fn a_column_added_under_a_follow_stops_it() {
    let migration = replayed();
    let follow = Child::start(migration.command(&["follow"]));
    insert(&migration, "one");
    until("the change is followed", || followed(&migration) == 1);
    execute(&migration.legacy(), "ALTER TABLE messages ADD COLUMN mood TEXT");
    let (status, said) = follow.wait();
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("column 'mood' of table 'messages'"), "{said}");
    execute(&migration.legacy(), "UPDATE messages SET mood = 'good', content = 'new'");
    let text = std::fs::read_to_string(migration.path("mapping.yaml")).unwrap();
    let mended = text.replacen("      content: TEXT\n", "      content: TEXT\n      mood: TEXT\n", 1);
    assert_ne!(text, mended);
    std::fs::write(migration.path("mapping.yaml"), mended).unwrap();
    refused(&migration, &["follow"], 4, "mapping");
    migration.expect(&["follow", "--install", "--confirm", &migration.name], 0);
    migration.expect(&["replay", "--recopy"], 0);
    insert(&migration, "two");
    migration.expect(&["follow", "--until-caught-up"], 0);
    migration.expect(&["project", "--rebuild"], 0);
    confirmed_pass(&migration);
}

#[test]
fn i02_comparing_follows_where_no_trigger_is_allowed() {
    let migration = store();
    migration.expect(&["replay"], 0);
    let before = schema(&migration);
    let follow = Child::start(migration.command(&["follow", "--mode", "reconcile", "--every", "0"]));
    insert(&migration, "one");
    let reconciled = || {
        let told = events(open_log(&migration).as_ref(), &mapping(&migration));
        told.iter().filter(|event| event.source.ends_with("#reconcile")).count()
    };
    until("the change is brought over", || reconciled() == 1);
    execute(&migration.legacy(), "UPDATE sessions SET status = 'failed' WHERE id = 'one'");
    until("and the next", || reconciled() == 2);
    assert!(migration.expect(&["status"], 0).contains("by reconcile"));
    signal("INT", follow.id());
    assert_eq!(follow.wait().0.code(), Some(130));
    execute(&migration.legacy(), "DELETE FROM sessions WHERE id = 'one'");
    migration.expect(&["follow", "--mode", "reconcile", "--until-caught-up"], 0);
    assert_eq!(schema(&migration), before);
    migration.expect(&["project"], 0);
    confirmed_pass(&migration);
    let report = diff(&migration, &[], 0);
    assert!(report["findings"].to_string().contains("follow by reconcile does not see"), "{report:#}");
}

#[test]
fn i02_a_reconcile_leaves_whoever_projects_at_work() {
    let migration = store();
    migration.expect(&["replay"], 0);
    migration.expect(&["project"], 0);
    let shared: [&[&str]; 2] = [&["project", "--live"], &["project", "--live", "--shared"]];
    for (round, live) in shared.into_iter().enumerate() {
        let project = Child::start(migration.command(live));
        let projected = |id: &str| {
            column(&migration.projection(), &format!("SELECT id FROM sessions WHERE id = '{id}'")).len() == 1
        };
        let follow = Child::start(migration.command(&["follow", "--mode", "reconcile", "--every", "0"]));
        for number in 0..5 {
            let id = format!("{round}-{number}");
            insert(&migration, &id);
            until("the row is projected", || projected(&id));
        }
        signal("INT", follow.id());
        let ended = follow.wait();
        assert_eq!(ended.0.code(), Some(130), "{}", ended.1);
        // Afterwards only the projector is left to do it.
        insert(&migration, &format!("{round}-replayed"));
        migration.expect(&["replay"], 0);
        until("the row of a replay is projected", || projected(&format!("{round}-replayed")));
        signal("INT", project.id());
        let ended = project.wait();
        assert_eq!(ended.0.code(), Some(130), "{}", ended.1);
    }
    confirmed_pass(&migration);
}

#[test]
fn i09_a_store_held_by_a_writer_is_waited_for_and_then_left_alone() {
    let migration = store();
    let writer = Connection::open(migration.legacy()).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    let before = schema(&migration);
    let install_now = ["follow", "--install", "--confirm", &migration.name, "--wait", "1"];
    refused(&migration, &install_now, 3, "holds a snapshot of it");
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(schema(&migration), before);
    install(&migration);
}
