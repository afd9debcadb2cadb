//! Fold snapshots: written, refused when damaged, and restored to what a full fold gives.

use crossfade::demo::Sizes;
use serde_json::Value;

use crate::support::cli::{Log, Migration};
use crate::support::flow::{MIDDLE, confirmed_pass, execute, json, on_both_logs, projected};

on_both_logs!(
    i04_a_rebuild_equals_the_fold_kept_live,
    i04_a_restored_snapshot_with_its_tail_equals_a_full_fold,
    i08_a_snapshot_that_was_cut_changed_or_made_by_a_newer_tool_is_refused,
    a_snapshot_of_another_log_or_mapping_is_refused,
);

fn project(migration: &Migration, args: &[&str]) -> Value {
    json(&migration.expect(&[&["project", "--output", "json"], args].concat(), 0))
}

fn digest(told: &Value) -> (u64, String) {
    let snapshot = &told["snapshot"];
    (snapshot["rows"].as_u64().unwrap(), snapshot["digest"].as_str().unwrap().to_owned())
}

/// Changes, deletes and moves rows, and brings the changes into the log.
fn change(migration: &Migration) {
    let changed = [
        "UPDATE messages SET content = content || '!' WHERE rowid % 7 = 0 AND typeof(content) = 'text'",
        "UPDATE messages SET session_id = (SELECT max(id) FROM sessions) WHERE rowid % 11 = 0",
        "DELETE FROM messages WHERE rowid % 13 = 0",
        "UPDATE sessions SET status = 'completed', end_time = '2026-06-02T00:00:00.000Z' WHERE status <> 'completed'",
    ];
    for sql in changed {
        assert_ne!(execute(&migration.legacy(), sql), 0, "{sql}");
    }
    migration.expect(&["replay"], 0);
}

fn i04_a_rebuild_equals_the_fold_kept_live(log: Log) {
    let migration = projected(log, MIDDLE);
    change(&migration);
    let live = digest(&project(&migration, &["--snapshot", "live.snap"]));
    confirmed_pass(&migration);
    let rebuilt = digest(&project(&migration, &["--rebuild", "--snapshot", "rebuilt.snap"]));
    confirmed_pass(&migration);
    assert_eq!(live, rebuilt);
}

fn i04_a_restored_snapshot_with_its_tail_equals_a_full_fold(log: Log) {
    let migration = projected(log, MIDDLE);
    let early = digest(&project(&migration, &["--snapshot", "early.snap"]));
    change(&migration);
    let full = project(&migration, &["--rebuild", "--snapshot", "full.snap"]);
    assert_ne!(early, digest(&full));

    assert_ne!(execute(&migration.projection(), "DELETE FROM messages"), 0);
    let restored = project(&migration, &["--restore", "early.snap", "--snapshot", "restored.snap"]);
    let (tail, whole) = (restored["applied"].as_u64().unwrap(), full["applied"].as_u64().unwrap());
    assert!(tail > 0 && tail < whole / 2, "{tail} of {whole} events were folded after the snapshot");
    assert_eq!(digest(&restored), digest(&full));
    confirmed_pass(&migration);

    let again = project(&migration, &["--restore", "full.snap"]);
    assert_eq!(again["applied"], 0);
    confirmed_pass(&migration);
}

fn i08_a_snapshot_that_was_cut_changed_or_made_by_a_newer_tool_is_refused(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    project(&migration, &["--snapshot", "good.snap"]);
    let good = std::fs::read_to_string(migration.path("good.snap")).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let without = |left_out: usize| {
        let kept = lines.iter().enumerate().filter(|(at, _)| *at != left_out);
        kept.map(|(_, line)| format!("{line}\n")).collect::<String>()
    };
    let mut swapped = lines.clone();
    swapped.swap(1, 2);
    let bad = [
        ("cut in the middle of a line", good[..good.len() / 2].to_owned(), 2),
        ("cut after a line", good[..good.find('\n').unwrap() + 1].to_owned(), 2),
        ("without its end", without(lines.len() - 1), 2),
        ("without a row", without(5), 2),
        ("with a row twice", good.replacen(lines[5], &format!("{}\n{}", lines[5], lines[5]), 1), 2),
        ("with rows swapped", swapped.join("\n") + "\n", 2),
        ("with a value changed", good.replacen("\"status\":\"", "\"status\":\"x", 1), 2),
        ("with a position changed", good.replacen("\"positions\":[[", "\"positions\":[[\"x\",0,0],[", 1), 2),
        ("of a newer version", good.replacen("\"version\":1", "\"version\":2", 1), 3),
        ("empty", String::new(), 2),
        ("something else", "hello\n".to_owned(), 2),
    ];
    for (what, text, code) in bad {
        assert_ne!(text, good, "{what}");
        std::fs::write(migration.path("bad.snap"), text).unwrap();
        let ran = migration.run(&["project", "--restore", "bad.snap"]);
        assert_eq!(ran.code, Some(code), "{what}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains("bad.snap"), "{what}: {}", ran.stderr);
        confirmed_pass(&migration);
    }
}

fn a_snapshot_of_another_log_or_mapping_is_refused(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    project(&migration, &["--snapshot", "good.snap"]);
    let good = std::fs::read_to_string(migration.path("good.snap")).unwrap();
    let header: Value = serde_json::from_str(good.lines().next().unwrap()).unwrap();
    for field in ["cluster", "mapping_hash"] {
        let mut seal = crossfade::fold::snapshot::Seal::default();
        let mut other = header.clone();
        other[field] = "other".into();
        let line = other.to_string();
        seal.header(line.as_bytes());
        let trailer = serde_json::to_string(&seal.trailer()).unwrap();
        std::fs::write(migration.path("other.snap"), format!("{line}\n{trailer}\n")).unwrap();
        migration.expect(&["project", "--restore", "other.snap"], 4);
        confirmed_pass(&migration);
    }
}
