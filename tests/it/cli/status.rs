//! `status` at every stage.

use std::process::Stdio;
use std::time::{Duration, Instant};

use super::shop::{edit, moved, shop, sql, stops};
use crate::support::cli::Migration;

#[track_caller]
fn status(migration: &Migration, says: &[&str]) {
    let told = migration.expect(&["status"], 0);
    for text in says {
        assert!(told.contains(text), "no {text:?} in\n{told}");
    }
}

#[test]
fn status_follows_the_migration_from_nothing_to_a_verdict() {
    let shop = shop(3, "");
    status(&shop, &["log.db does not exist yet", "none yet", "next: crossfade provision apply"]);
    assert!(!shop.path(".crossfade").exists(), "status made something");
    shop.expect(&["provision", "apply"], 0);
    status(&shop, &["all topics are there", "not begun", "not made", "next: crossfade replay"]);
    shop.expect(&["replay"], 0);
    status(&shop, &["generation 1: 6 rows, 6 events, done", "not made", "next: crossfade project"]);
    shop.expect(&["project"], 0);
    status(&shop, &["at the log's end", "next: crossfade diff"]);
    shop.expect(&["diff"], 0);
    status(&shop, &["PASS, 0 s ago: 6 rows compared", "next: nothing to do"]);
    shop.expect(&["project"], 0);
    status(&shop, &["PASS, ", "next: nothing to do"]);
}

#[test]
fn a_verdict_is_stale_once_something_was_done_and_foreign_under_another_mapping() {
    let shop = moved(3);
    shop.expect(&["diff"], 0);
    sql(&shop.legacy(), "DELETE FROM orders WHERE id = 1");
    shop.expect(&["replay"], 0);
    status(
        &shop,
        &["PASS, ", "stale: something was done since", "behind the log's end by up to", "next: crossfade project"],
    );
    edit(&shop, "mapping.yaml", "name: TEXT", "name: VARCHAR");
    status(&shop, &["of another mapping", "made under another mapping", "next: crossfade replay --recopy"]);
}

#[test]
fn an_old_verdict_is_stale() {
    let shop = moved(3);
    let old = crossfade::journal::SqliteJournal::open(shop.path(".crossfade/journal.db")).unwrap();
    let two_days_ago =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64 - 2 * 86_400_000;
    let mapping = crossfade::mapping::Mapping::parse("m", super::shop::MAPPING).unwrap().hash;
    let detail = serde_json::json!({"verdict": "PASS", "reason": "all equal", "mapping": mapping});
    crossfade::port::journal::Journal::append(
        &old,
        two_days_ago,
        crossfade::port::journal::Stage::Noted,
        0,
        "diff",
        &detail,
    )
    .unwrap();
    status(&shop, &["PASS, 2 days ago, stale: older than a day", "next: crossfade diff"]);
}

#[test]
fn a_run_that_holds_the_lock_is_named_and_others_are_refused() {
    let shop = shop(2_000, "");
    shop.expect(&["provision", "apply"], 0);
    let mut replay =
        shop.command(&["replay", "--throttle", "200"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let holder = format!("held by 'replay', process {}", replay.id());
    let began = Instant::now();
    while !shop.expect(&["status"], 0).contains(&holder) {
        assert!(began.elapsed() < Duration::from_secs(8), "the lock was not seen");
        std::thread::sleep(Duration::from_millis(50));
    }
    status(&shop, &["it runs now", "next: wait for 'replay' to end"]);
    let refused = format!("'replay' holds the run lock of '{}': process {}", shop.name, replay.id());
    stops(&shop, &["replay"], 4, &[&refused, "help: wait for it to end"]);
    assert!(replay.try_wait().unwrap().is_none());
    replay.kill().unwrap();
    replay.wait().unwrap();
    status(
        &shop,
        &["which has ended: the next run takes it over", "it was killed; run it again", "next: crossfade replay"],
    );
    shop.expect(&["replay"], 0);
    let after = shop.expect(&["status"], 0);
    assert!(!after.contains("run lock") && !after.contains("unfinished"), "{after}");
}
