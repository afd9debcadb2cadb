//! Commands that only look leave everything as it was.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crossfade::demo::Sizes;
use rusqlite::Connection;
use serde_json::Value;

use crate::support::cli::{Log, Migration, Ran};
use crate::support::flow::{FLOW, execute, generated, json, on_both_logs, open_log, run_all, table};

on_both_logs!(
    i07_before_the_log_exists_looking_makes_nothing,
    i07_after_a_replay_looking_changes_nothing,
    a_dry_run_reports_what_a_replay_would_add_change_and_remove,
);

/// Every file below a folder. SQLite's shared memory (`-shm`) is no content, and an empty `-wal` says nothing.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.to_str().unwrap();
        if path.is_dir() {
            found.insert(path.clone(), Vec::new());
            found.extend(files(&path));
        } else if !name.ends_with("-shm") {
            let bytes = std::fs::read(&path).unwrap();
            if !(name.ends_with("-wal") && bytes.is_empty()) {
                found.insert(path, bytes);
            }
        }
    }
    found
}

/// Topics of the migration with the ends of their partitions, where the log exists.
fn ends(migration: &Migration) -> Vec<String> {
    if migration.log == Log::Embedded && !migration.path(".crossfade/log.db").exists() {
        return Vec::new();
    }
    let log = open_log(migration);
    let topics = log.topics().unwrap().into_keys().filter(|name| name.contains(&migration.name));
    topics.map(|name| format!("{name} {:?}", log.ends(&name).unwrap())).collect()
}

/// Runs a command that must change nothing; only `diff` may write to the journal, and its own file of differing keys.
#[track_caller]
fn looks(migration: &Migration, args: &[&str], codes: &[i32]) -> String {
    let journal = |path: &Path| {
        let own = ["journal.db", "differing-keys.ndjson"];
        args[0] == "diff" && own.iter().any(|name| path.to_str().unwrap().contains(name))
    };
    let state = || -> BTreeMap<PathBuf, Vec<u8>> {
        files(migration.folder.path()).into_iter().filter(|(path, _)| !journal(path)).collect()
    };
    let ends_before = ends(migration);
    let before = state();
    let ran = Ran::of(migration.command(args).env("TMPDIR", migration.path("tmp")).output().unwrap());
    let after = state();
    let said = format!("crossfade {}\n{}\n{}", args.join(" "), ran.stdout, ran.stderr);
    assert!(codes.contains(&ran.code.unwrap()), "{:?} {said}", ran.code);
    let names = |state: &BTreeMap<PathBuf, Vec<u8>>| state.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&before), names(&after), "{said}");
    for (path, bytes) in &before {
        assert!(*bytes == after[path], "{} was changed by {said}", path.display());
    }
    assert_eq!(ends_before, ends(migration), "{said}");
    ran.stdout
}

/// The legacy system has its store open.
fn alive(migration: &Migration) -> Connection {
    std::fs::create_dir(migration.path("tmp")).unwrap();
    let legacy = Connection::open(migration.legacy()).unwrap();
    legacy.query_row("SELECT count(*) FROM sessions", (), |row| row.get::<_, i64>(0)).unwrap();
    legacy
}

fn i07_before_the_log_exists_looking_makes_nothing(log: Log) {
    let migration = generated(log, Sizes::LEAST, "");
    let _legacy = alive(&migration);
    let report = json(&looks(&migration, &["replay", "--dry-run", "--output", "json"], &[0]));
    assert_eq!(report["totals"]["missing"], report["totals"]["legacy_rows"]);
    assert_eq!(table(&report, "messages")["missing"], 160);
    let steps: Vec<&str> = report["steps"].as_array().unwrap().iter().map(|step| step.as_str().unwrap()).collect();
    let topics = steps.iter().filter(|step| step.starts_with("create topic")).count();
    assert_eq!(topics, 8, "{steps:?}");
    assert!(steps.iter().any(|step| step.contains("copy table messages") && step.contains("160 rows")), "{steps:?}");
    looks(&migration, &["status"], &[0]);
    looks(&migration, &["config"], &[0]);
    looks(&migration, &["journal", "show"], &[2, 3]);
}

fn i07_after_a_replay_looking_changes_nothing(log: Log) {
    let migration = generated(log, Sizes::LEAST, "");
    let _legacy = alive(&migration);
    run_all(&migration, &FLOW);
    migration.expect(&["diff"], 0);
    let changed = execute(&migration.legacy(), "UPDATE messages SET content = 'later' WHERE exit_code = 0");
    assert_ne!(changed, 0);
    looks(&migration, &["replay", "--dry-run"], &[0]);
    looks(&migration, &["replay", "--dry-run", "--recopy"], &[0]);
    looks(&migration, &["diff"], &[1]);
    looks(&migration, &["diff", "--from-log"], &[1]);
    looks(&migration, &["status"], &[0]);
    looks(&migration, &["config"], &[0]);
    looks(&migration, &["journal", "show"], &[0]);
    looks(&migration, &["journal", "verify"], &[0]);
}

fn a_dry_run_reports_what_a_replay_would_add_change_and_remove(log: Log) {
    let migration = generated(log, Sizes::LEAST, "");
    run_all(&migration, &FLOW);
    let change = [
        "UPDATE messages SET content = 'later' WHERE id = (SELECT min(id) FROM messages)",
        "DELETE FROM messages WHERE id = (SELECT max(id) FROM messages)",
        "INSERT INTO sessions (id, initial_task, work_dir) VALUES ('new', 't', '/w')",
    ];
    for sql in change {
        assert_eq!(execute(&migration.legacy(), sql), 1);
    }
    let report = json(&migration.expect(&["replay", "--dry-run", "--output", "json"], 0));
    assert_eq!(report["title"], "replay --dry-run");
    let counts = |name: &str| {
        let line = table(&report, name);
        ["missing", "changed", "extra"].map(|kind| line[kind].as_u64().unwrap())
    };
    assert_eq!((counts("messages"), counts("sessions")), ([0, 1, 1], [1, 0, 0]));
    let keys: Vec<&Value> = report["samples"].as_array().unwrap().iter().map(|sample| &sample["key"]).collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.contains(&&"id=new".into()), "{keys:?}");
    let told = json(&migration.expect(&["replay", "--output", "json"], 0));
    assert_eq!(told["reconciled"], serde_json::json!({"inserted": 1, "updated": 1, "deleted": 1}));
}
