//! Ctrl-C and SIGTERM: the step is finished, the end is journalled, the same command goes on.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use super::shop::{moved, shop, sql};
use crate::support::cli::{Migration, Ran};

fn start(migration: &Migration, args: &[&str]) -> Child {
    migration.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap().success());
}

/// Reads stderr until a line holds `text`.
fn wait_for(child: &mut Child, text: &str) {
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        if line.contains(text) {
            child.stderr = Some(lines.into_inner());
            return;
        }
        line.clear();
    }
    panic!("the run ended without '{text}'");
}

fn end(child: Child) -> Ran {
    Ran::of(child.wait_with_output().unwrap())
}

/// The stage and detail of the newest entry of an act.
fn last(migration: &Migration, act: &str) -> (String, Value) {
    let shown: Value = serde_json::from_str(&migration.expect(&["journal", "show", "--output", "json"], 0)).unwrap();
    let entry = shown["entries"].as_array().unwrap().iter().rfind(|entry| entry["act"] == act).unwrap().clone();
    (entry["stage"].as_str().unwrap().to_owned(), serde_json::from_str(entry["detail"].as_str().unwrap()).unwrap())
}

/// Stops a slow replay, and asserts that it can go on to the end.
fn stop_a_replay(name: &str, code: i32, rate: &str) {
    let shop = shop(4_000, "replay: {transaction_rows: 100}\n");
    shop.expect(&["provision", "apply"], 0);
    let mut replay = start(&shop, &["replay", "--throttle", rate]);
    wait_for(&mut replay, "throttled by");
    std::thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    signal(&replay, name);
    let ran = end(replay);
    assert!(asked.elapsed() < Duration::from_secs(5), "heard after {:?}", asked.elapsed());
    assert_eq!(ran.code, Some(code), "{}", ran.stderr);
    assert!(ran.stderr.contains("what was committed stays") && ran.stderr.contains("run the same command again"));
    let (stage, detail) = last(&shop, "replay");
    assert_eq!((stage.as_str(), &detail["interrupted"]), ("failed", &Value::Bool(true)));
    let status = shop.expect(&["status"], 0);
    assert!(status.contains("under way, in table") && status.contains("next: crossfade replay"), "{status}");
    assert!(!status.contains("run lock") && !status.contains("unfinished"), "{status}");
    let told = shop.expect(&["replay"], 0);
    assert!(told.contains("going on from an earlier run"), "{told}");
    shop.expect(&["project"], 0);
    shop.expect(&["diff"], 0);
}

#[test]
fn exit_130_ctrl_c_once_ends_a_replay_that_can_go_on() {
    stop_a_replay("INT", 130, "1000");
}

#[test]
fn exit_130_a_very_slow_replay_hears_ctrl_c_too() {
    stop_a_replay("INT", 130, "3");
}

#[test]
fn exit_143_sigterm_ends_a_replay_that_can_go_on() {
    stop_a_replay("TERM", 143, "1000");
}

#[test]
fn ctrl_c_twice_ends_at_once() {
    let shop = shop(300, "replay: {transaction_rows: 100}\n");
    shop.expect(&["provision", "apply"], 0);
    let mut replay = shop.command(&["replay"]);
    // Parked at a boundary it cannot finish its step.
    let mut replay = replay
        .env("CROSSFADE_STOP_AT", "replay.before-commit")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&mut replay, "boundary replay.before-commit");
    signal(&replay, "INT");
    std::thread::sleep(Duration::from_millis(300));
    assert!(replay.try_wait().unwrap().is_none(), "one signal must not end it in the middle of a step");
    signal(&replay, "INT");
    assert_eq!(end(replay).code, Some(130));
    let status = shop.expect(&["status"], 0);
    assert!(status.contains("which has ended: the next run takes it over"), "{status}");
    assert!(status.contains("it was killed; run it again to go on"), "{status}");
    shop.expect(&["replay"], 0);
}

#[test]
fn a_live_projection_follows_until_it_is_stopped() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let shop = shop(5, "");
        shop.expect(&["provision", "apply"], 0);
        let mut live = start(&shop, &["project", "--live"]);
        wait_for(&mut live, "Ctrl-C ends it");
        shop.expect(&["replay"], 0);
        let count = || -> i64 {
            let store = Connection::open(shop.projection()).unwrap();
            store.query_row("SELECT count(*) FROM customers", [], |row| row.get(0)).unwrap_or_default()
        };
        let began = Instant::now();
        while count() < 3 {
            assert!(began.elapsed() < Duration::from_secs(10), "the new rows were not folded");
            std::thread::sleep(Duration::from_millis(20));
        }
        signal(&live, name);
        let ran = end(live);
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        assert!(!ran.stderr.contains("error"), "{}", ran.stderr);
        assert_eq!(last(&shop, "project").0, "failed");
        shop.expect(&["project"], 0);
        shop.expect(&["diff"], 0);
    }
}

#[test]
fn ctrl_c_in_a_reconcile_leaves_what_the_next_run_finishes() {
    let shop = moved(3_000);
    sql(&shop.legacy(), "UPDATE orders SET total = total + 1");
    let mut reconcile = shop.command(&["replay"]);
    let mut reconcile = reconcile
        .env("CROSSFADE_STOP_AT", "reconcile.before-commit")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(&mut reconcile, "boundary reconcile.before-commit");
    signal(&reconcile, "INT");
    std::thread::sleep(Duration::from_millis(200));
    signal(&reconcile, "INT");
    assert_eq!(end(reconcile).code, Some(130));
    shop.expect(&["diff"], 1);
    let told = shop.expect(&["replay"], 0);
    assert!(told.contains("3,000 updated"), "{told}");
    shop.expect(&["project"], 0);
    shop.expect(&["diff"], 0);
}
