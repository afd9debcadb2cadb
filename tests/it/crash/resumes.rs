//! More than one kill in one migration, and the lock a killed run leaves behind.

use crossfade::capture::ReplayState;
use crossfade::demo::Sizes;
use crossfade::port::journal::Stage;

use crate::support::cli::Log;
use crate::support::crash::{Trial, bring_back, take_away};

#[test]
fn i02_a_row_that_goes_and_comes_back_the_same_has_a_new_event_each_time() {
    let trial = Trial::new(Log::Embedded, 3);
    trial.expect(&["provision", "apply"], 0);
    trial.expect(&["replay"], 0);
    for _ in 0..3 {
        bring_back(&trial.migration.legacy());
        trial.expect(&["replay"], 0);
        take_away(&trial.migration.legacy());
        trial.expect(&["replay"], 0);
    }
    bring_back(&trial.migration.legacy());
    trial.expect(&["replay"], 0);
    trial.assert_passes();
}

/// Kills the same command again and again, with changes in between; the last run goes through.
fn kill_and_kill_again(log: Log, args: &[&str], kills: &[(&str, usize)]) {
    let trial = Trial::new(log, kills.len() as u64);
    trial.expect(&["provision", "apply"], 0);
    for (boundary, nth) in kills {
        trial.kill_at(args, boundary, *nth);
        trial.change_legacy();
    }
    trial.expect(&["replay"], 0);
    assert_eq!(trial.unfinished_acts(), kills.len());
    trial.assert_passes();
}

const RESUMED_AND_KILLED: &[(&str, usize)] = &[
    ("replay.after-commit", 3),
    ("replay.before-commit", 2),
    ("replay.records-appended", 2),
    ("replay.after-done", 1),
    ("project.before-commit", 2),
    ("project.after-commit", 3),
    ("reconcile.before-commit", 1),
    ("reconcile.after-commit", 1),
];

#[test]
fn i08_a_replay_killed_in_each_of_its_resumes_ends_well_on_the_embedded_log() {
    kill_and_kill_again(Log::Embedded, &["replay"], RESUMED_AND_KILLED);
}

#[test]
#[ignore = "needs Kafka"]
fn i08_a_replay_killed_in_each_of_its_resumes_ends_well_on_kafka() {
    kill_and_kill_again(Log::Kafka, &["replay"], RESUMED_AND_KILLED);
}

#[test]
fn i08_a_copy_anew_that_is_killed_is_ended_by_a_plain_replay() {
    let trial = Trial::new(Log::Embedded, 5);
    trial.expect(&["provision", "apply"], 0);
    trial.expect(&["replay"], 0);
    trial.change_legacy();
    trial.kill_at(&["replay", "--recopy"], "replay.after-commit", 5);
    trial.change_legacy();
    trial.kill_at(&["replay"], "replay.after-commit", 3);
    trial.expect(&["replay"], 0);
    trial.assert_passes();
    let (state, _) = ReplayState::read(trial.log().as_ref(), &trial.migration.name).unwrap().unwrap();
    assert_eq!(state.generation, 2, "the copy that was begun is ended, no other is begun");
}

#[test]
fn i08_a_reconcile_killed_between_its_commits_goes_on_where_it_stood() {
    let trial = Trial::sized(Log::Embedded, Sizes { seed: 7, ..Sizes::LEAST }, 5);
    trial.expect(&["provision", "apply"], 0);
    trial.expect(&["replay"], 0);
    for nth in 1..4 {
        trial.change_legacy();
        trial.kill_at(&["replay"], "reconcile.after-commit", nth);
    }
    trial.expect(&["replay"], 0);
    trial.assert_passes();
}

#[test]
fn i08_a_projection_killed_in_every_transaction_of_a_rebuild_is_whole_in_the_end() {
    let trial = Trial::new(Log::Embedded, 11);
    trial.expect(&["provision", "apply"], 0);
    trial.expect(&["replay"], 0);
    for nth in 1..6 {
        trial.kill_at(&["project", "--rebuild"], "project.before-commit", nth);
        trial.kill_at(&["project"], "project.after-commit", nth);
        trial.expect(&["diff"], 5);
    }
    trial.kill_at(&["project"], "project.indexes-built", 1);
    trial.assert_passes();
}

/// Seconds after which a lock counts as left behind, whoever holds it.
const STALE_MS: i64 = 15_000;

fn the_lock_of_a_killed_run_is_taken_over(log: Log) {
    let trial = Trial::new(log, 13);
    trial.expect(&["provision", "apply"], 0);
    let holder = trial.stop_at(&["replay"], "replay.after-commit", 4);
    let refused = trial.expect(&["replay"], 4);
    assert!(refused.stderr.contains(&format!("process {}", holder.id())), "{}", refused.stderr);
    holder.kill();
    trial.expect(&["replay"], 0);
    let journal = trial.journal();
    let began: Vec<i64> = journal
        .iter()
        .filter(|entry| entry.stage == Stage::Announced && entry.act == "replay")
        .map(|entry| entry.at)
        .collect();
    assert_eq!(began.len(), 2, "the refused run announced nothing");
    assert!(began[1] - began[0] < STALE_MS, "the next run waited for the lock: {began:?}");
    trial.assert_passes();
}

#[test]
fn i08_the_lock_of_a_killed_run_is_taken_over_at_once_on_the_embedded_log() {
    the_lock_of_a_killed_run_is_taken_over(Log::Embedded);
}

#[test]
#[ignore = "needs Kafka"]
fn i08_the_lock_of_a_killed_run_is_taken_over_at_once_on_kafka() {
    the_lock_of_a_killed_run_is_taken_over(Log::Kafka);
}
