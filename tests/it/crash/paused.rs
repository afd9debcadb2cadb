//! A run that is stopped for long and wakes up when another one has taken over.

use std::time::{Duration, Instant};

use crossfade::port::event_log::{EventLog, checkpoint_topic};
use crossfade::port::row_store::RowStore;
use crossfade::sqlite::store::SqliteStore;

use crate::support::cli::Log;
use crate::support::crash::{Child, Trial, signal};
use crate::support::flow::now;

/// Starts the command and waits until it has stopped itself at a boundary.
fn pause_at(trial: &Trial, args: &[&str], boundary: &str, nth: usize) -> Child {
    let place = format!("{boundary}:{nth}");
    let mut child = Child::at(trial.command(args, &[("CROSSFADE_PAUSE_AT", &place)]), boundary);
    child.await_stopped();
    child
}

/// Wakes the child and expects it to see that it was overtaken.
fn wake(child: Child) -> String {
    signal("CONT", child.id());
    let (status, said) = child.wait();
    assert_eq!(status.code(), Some(4), "{said}");
    said
}

/// Where every partition of the migration ends for a reader of committed records.
fn ends(trial: &Trial) -> Vec<String> {
    let log = trial.log();
    let topics = ["session.events"].map(|topic| format!("{}.{topic}", trial.migration.name));
    let all = topics.into_iter().chain([checkpoint_topic(&trial.migration.name)]);
    all.map(|topic| format!("{topic} {:?}", committed(log.as_ref(), &topic))).collect()
}

/// The ends of a topic once nothing is open there: the markers of a commit may come after its answer.
fn committed(log: &dyn EventLog, topic: &str) -> Vec<i64> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let ends = log.ends(topic).unwrap();
        if ends.values().all(|ends| ends.committed == ends.high) {
            return ends.values().map(|ends| ends.committed).collect();
        }
        assert!(Instant::now() < deadline, "a transaction of '{topic}' does not end: {ends:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Gives the lock of a stopped run away, as if it had gone stale.
fn free_the_lock(trial: &Trial) {
    let log = trial.log();
    let mut operator = log.open_writer(&format!("{}/operator", trial.migration.name), "test").unwrap();
    let held = operator.checkpoint().unwrap().clone();
    let mut record = held.state;
    assert!(record["holder"].is_object(), "{record}");
    record["holder"] = serde_json::Value::Null;
    operator.commit(&held.plan_hash, record).unwrap();
}

fn a_paused_replay_changes_nothing(log: Log, boundary: &str) {
    let trial = Trial::new(log, 17);
    trial.expect(&["provision", "apply"], 0);
    let paused = pause_at(&trial, &["replay"], boundary, 5);
    free_the_lock(&trial);
    trial.change_legacy();
    trial.expect(&["replay"], 0);
    trial.assert_passes();
    let (before, head) = (ends(&trial), trial.journal().len());
    wake(paused);
    let journal = trial.journal();
    assert_eq!(journal.len(), head + 1, "the paused run tells of its own end, once: {journal:?}");
    assert_eq!(ends(&trial), before, "the paused run wrote to the log");
    trial.assert_passes();
    trial.change_legacy();
    trial.expect(&["replay"], 0);
    trial.assert_passes();
}

#[test]
fn i08_a_paused_replay_wakes_up_fenced_and_changes_nothing_on_the_embedded_log() {
    a_paused_replay_changes_nothing(Log::Embedded, "replay.before-commit");
}

#[test]
#[ignore = "needs Kafka"]
fn i08_a_paused_replay_wakes_up_fenced_and_changes_nothing_on_kafka() {
    a_paused_replay_changes_nothing(Log::Kafka, "replay.before-commit");
}

#[test]
fn i08_a_replay_paused_between_its_transactions_changes_nothing_on_the_embedded_log() {
    a_paused_replay_changes_nothing(Log::Embedded, "replay.after-commit");
}

#[test]
#[ignore = "needs Kafka"]
fn i08_a_replay_paused_between_its_transactions_changes_nothing_on_kafka() {
    a_paused_replay_changes_nothing(Log::Kafka, "replay.after-commit");
}

#[test]
fn i08_a_reconcile_that_wakes_up_late_changes_nothing() {
    let trial = Trial::new(Log::Embedded, 19);
    trial.expect(&["provision", "apply"], 0);
    trial.expect(&["replay"], 0);
    trial.change_legacy();
    let paused = pause_at(&trial, &["replay"], "reconcile.before-commit", 2);
    free_the_lock(&trial);
    trial.change_legacy();
    trial.expect(&["replay"], 0);
    trial.assert_passes();
    let before = ends(&trial);
    wake(paused);
    assert_eq!(ends(&trial), before);
    trial.assert_passes();
}

#[test]
fn i08_a_run_that_loses_its_lock_stops_by_itself() {
    let trial = Trial::new(Log::Embedded, 23);
    trial.expect(&["provision", "apply"], 0);
    let paused = pause_at(&trial, &["replay"], "lock.taken", 1);
    free_the_lock(&trial);
    let before = ends(&trial);
    trial.expect(&["replay"], 0);
    let after = ends(&trial);
    assert_ne!(before, after);
    wake(paused);
    assert_eq!(ends(&trial), after);
    trial.assert_passes();
}

fn a_paused_projector_changes_nothing(log: Log, args: &[&str], boundary: &str, nth: usize) {
    let trial = Trial::new(log, 29);
    trial.expect(&["provision", "apply"], 0);
    trial.expect(&["replay"], 0);
    let paused = pause_at(&trial, args, boundary, nth);
    trial.assert_passes();
    let store = SqliteStore::new(trial.migration.projection());
    let before = store.state().unwrap();
    let said = wake(paused);
    assert!(said.contains("claimed by a newer run"), "{said}");
    assert_eq!(store.state().unwrap(), before);
    trial.assert_passes();
}

#[test]
fn i08_a_paused_rebuild_wakes_up_in_an_older_epoch_and_changes_nothing() {
    a_paused_projector_changes_nothing(Log::Embedded, &["project", "--rebuild"], "project.after-commit", 4);
}

#[test]
fn i08_a_projector_paused_after_its_claim_changes_nothing() {
    a_paused_projector_changes_nothing(Log::Embedded, &["project"], "project.claimed", 1);
}

#[test]
#[ignore = "needs Kafka"]
fn i08_a_paused_projector_of_kafka_changes_nothing() {
    a_paused_projector_changes_nothing(Log::Kafka, &["project"], "project.after-commit", 3);
}

fn journal_head(trial: &Trial) -> Option<crossfade::port::journal::Head> {
    crossfade::control::Lock::journal_head(trial.log().as_ref(), &trial.migration.name).unwrap()
}

/// Two commands that both read a free lock: the one that finds it taken backs off, and the holder goes on.
fn of_two_runs_that_read_a_free_lock_one_begins(log: Log, boundary: &str) {
    let trial = Trial::new(log, 31);
    trial.expect(&["provision", "apply"], 0);
    let late = pause_at(&trial, &["replay"], boundary, 1);
    let holder = pause_at(&trial, &["replay"], "lock.taken", 1);
    let (id, before) = (holder.id(), ends(&trial));
    let journal = trial.journal().len();
    let said = wake(late);
    assert!(
        said.contains(&format!("'replay' holds the run lock of '{}': process {id} on ", trial.migration.name)),
        "{said}"
    );
    assert_eq!(trial.journal().len(), journal, "who was refused has begun");
    assert_eq!(ends(&trial), before, "who was refused has written");
    signal("CONT", id);
    let (status, said) = holder.wait();
    assert!(status.success(), "the holder lost its lock to one who only looked: {said}");
    trial.assert_passes();
}

/// The head of the journal that a lock taken and given back in between has written stays the newest.
fn a_lock_taken_and_given_back_in_between_keeps_its_head(log: Log) {
    let trial = Trial::new(log, 37);
    trial.expect(&["provision", "apply"], 0);
    let places = [("CROSSFADE_PAUSE_AT", "lock.read"), ("CROSSFADE_STOP_AT", "lock.taken")];
    let mut late = Child::at(trial.command(&["replay"], &places), "lock.read");
    late.await_stopped();
    let before = journal_head(&trial);
    trial.expect(&["replay"], 0);
    let newest = journal_head(&trial);
    assert_ne!(newest, before);
    signal("CONT", late.id());
    let log = trial.log();
    let holder = || crossfade::control::Lock::holder(log.as_ref(), &trial.migration.name, now()).unwrap();
    while holder().is_none_or(|holder| holder.process.pid != late.id()) {
        assert!(late.alive(), "the late run did not take the lock");
    }
    assert_eq!(journal_head(&trial), newest, "the head of the journal was overwritten by an older one");
    late.kill();
    trial.expect(&["replay"], 0);
    trial.assert_passes();
}

#[test]
fn i08_of_two_runs_that_read_a_free_lock_one_begins_on_the_embedded_log() {
    of_two_runs_that_read_a_free_lock_one_begins(Log::Embedded, "lock.read");
    of_two_runs_that_read_a_free_lock_one_begins(Log::Embedded, "lock.opened");
}

#[test]
#[ignore = "needs Kafka"]
fn i08_of_two_runs_that_read_a_free_lock_one_begins_on_kafka() {
    of_two_runs_that_read_a_free_lock_one_begins(Log::Kafka, "lock.read");
    of_two_runs_that_read_a_free_lock_one_begins(Log::Kafka, "lock.opened");
}

#[test]
fn i08_a_lock_taken_and_given_back_in_between_keeps_its_head_on_the_embedded_log() {
    a_lock_taken_and_given_back_in_between_keeps_its_head(Log::Embedded);
}

#[test]
#[ignore = "needs Kafka"]
fn i08_a_lock_taken_and_given_back_in_between_keeps_its_head_on_kafka() {
    a_lock_taken_and_given_back_in_between_keeps_its_head(Log::Kafka);
}
