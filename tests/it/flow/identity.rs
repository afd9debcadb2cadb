//! Events that are no longer there, or never were: who relies on a position finds out, before anything is dropped, and
//! `replay --recopy` makes it good.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use crossfade::capture::ReplayState;
use crossfade::demo::Sizes;
use crossfade::plan::Action;
use crossfade::port::event_log::{Record, Topic};
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rusqlite::Connection;
use serde_json::{Value, json as value};

use crate::support::cli::{Log, Migration, Ran, brokers};
use crate::support::crash::signal;
use crate::support::flow::{
    column, confirmed_pass, diff, execute, generated, has_finding, json, mapping, on_both_logs, open_log, projected,
    run_all,
};
use crate::support::provision::{admin, delete_topic};

on_both_logs!(
    i13_an_event_store_deleted_and_made_by_apply_is_found_by_everyone,
    i13_one_made_by_hand_and_grown_past_the_old_offsets_is_found_too,
    i13_a_beginning_that_is_gone_is_found_before_anything_is_dropped,
    i13_running_projectors_and_follows_notice_a_topic_made_anew,
    i13_a_recopy_makes_good_what_a_deletion_took_on_a_machine_without_the_projection,
    i05_a_store_that_compacts_is_no_pass_unless_all_its_events_are_counted,
);

/// The topic that rows go to.
fn store(migration: &Migration) -> String {
    mapping(migration).tables[0].topic.clone()
}

fn delete(migration: &Migration) {
    delete_topic(migration, &store(migration));
}

fn make_by_hand(migration: &Migration) {
    let topic = Topic { name: store(migration), partitions: 6, configs: BTreeMap::new() };
    open_log(migration).create_topics(&[topic]).unwrap();
}

/// Other programs' records, so many that no old position lies beyond the end.
fn fill(migration: &Migration, records: usize) {
    let (log, topic) = (open_log(migration), store(migration));
    let mut writer = log.open_writer(&format!("{}/probe", migration.name), "other").unwrap();
    for number in 0..records {
        for partition in 0..6 {
            let (key, value) = (number.to_string(), b"{}");
            let timestamp = jiff::Timestamp::now().as_millisecond();
            writer
                .append(&Record {
                    topic: &topic,
                    partition: Some(partition),
                    key: key.as_bytes(),
                    value,
                    headers: &[],
                    timestamp,
                })
                .unwrap();
        }
    }
    writer.commit("none", value!({})).unwrap();
}

/// Drops the first records of each partition of the event store.
fn drop_first(migration: &Migration) {
    let (log, topic) = (open_log(migration), store(migration));
    match migration.log {
        Log::Embedded => {
            let sql = "DELETE FROM batches WHERE id IN (SELECT min(b.id) FROM batches AS b JOIN partitions AS p ON b.id >> 40 = p.id
                 JOIN topics AS t ON t.id = p.topic WHERE t.name LIKE '%session.events' GROUP BY p.id)";
            execute(&migration.path(".crossfade/log.db"), sql);
        }
        Log::Kafka => {
            let admin: AdminClient<DefaultClientContext> =
                ClientConfig::new().set("bootstrap.servers", brokers()).create().unwrap();
            let mut offsets = TopicPartitionList::new();
            for (partition, ends) in log.ends(&topic).unwrap() {
                let half = ends.low + (ends.high - ends.low) / 2;
                offsets.add_partition_offset(&topic, partition, rdkafka::Offset::Offset(half)).unwrap();
            }
            let options = AdminOptions::new();
            let mut asked = std::pin::pin!(admin.delete_records(&offsets, &options));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            while asked.as_mut().poll(&mut context).is_pending() {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
    assert!(log.ends(&topic).unwrap().values().any(|ends| ends.low > 0));
}

#[track_caller]
fn refused(migration: &Migration, args: &[&str], says: &[&str]) -> Ran {
    let ran = migration.run(args);
    assert_eq!(ran.code, Some(3), "crossfade {}\n{}\n{}", args.join(" "), ran.stdout, ran.stderr);
    for text in says {
        assert!(ran.stderr.contains(text), "no {text:?} in\n{}", ran.stderr);
    }
    ran
}

#[track_caller]
fn next(report: &Value, command: &str) {
    let next = report["next"].as_str().unwrap();
    assert!(next.contains(command), "{next}");
}

/// Everyone who relies on the old events refuses, and says how to go on; then that is done.
#[track_caller]
fn found_and_made_good(migration: &Migration, says: &str) {
    let rows = |migration: &Migration| std::fs::metadata(migration.projection()).unwrap().len();
    let before = rows(migration);
    refused(migration, &["replay"], &[says, "crossfade replay --recopy"]);
    refused(migration, &["project"], &[says, "crossfade replay --recopy"]);
    refused(migration, &["project", "--rebuild"], &[says, "crossfade replay --recopy"]);
    refused(migration, &["project", "--live"], &[says, "crossfade replay --recopy"]);
    assert!(rows(migration) >= before, "the projection was dropped");
    refused(migration, &["replay", "--dry-run"], &[says, "crossfade replay --recopy"]);
    assert!(migration.expect(&["replay", "--recopy", "--dry-run"], 0).contains("would be written as events"));
    for args in [&[][..], &["--from-log"]] {
        let report = diff(migration, args, 5);
        has_finding(&report, "events-gone", "gap");
        next(&report, "replay --recopy");
    }
    let status = migration.expect(&["status"], 0);
    assert!(status.contains("next: crossfade replay --recopy"), "{status}");
    let check = json(&migration.run(&["provision", "check", "--output", "json"]).stdout);
    let gone = check["checks"].as_array().unwrap().iter().find(|check| check["code"] == "event-store").unwrap();
    assert_eq!(gone["severity"], "failure", "{gone}");
    made_good(migration);
}

#[track_caller]
fn made_good(migration: &Migration) {
    let told = json(&migration.expect(&["replay", "--recopy", "--output", "json"], 0));
    assert_eq!(told["generation"], 2, "{told}");
    migration.expect(&["project"], 0);
    confirmed_pass(migration);
    run_all(migration, &[&["project", "--rebuild"], &["replay"], &["project"]]);
    confirmed_pass(migration);
    migration.expect(&["diff", "--from-log"], 0);
}

fn i13_an_event_store_deleted_and_made_by_apply_is_found_by_everyone(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    delete(&migration);
    migration.expect(&["provision", "apply"], 0);
    found_and_made_good(&migration, "was deleted and made anew");
}

fn i13_one_made_by_hand_and_grown_past_the_old_offsets_is_found_too(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    delete(&migration);
    make_by_hand(&migration);
    fill(&migration, 800);
    found_and_made_good(&migration, "was deleted and made anew");
}

fn i13_a_recopy_makes_good_what_a_deletion_took_on_a_machine_without_the_projection(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    migration.expect(&["project", "--snapshot", "fold.snap"], 0);
    delete(&migration);
    migration.expect(&["provision", "apply"], 0);
    std::fs::remove_file(migration.projection()).unwrap();
    refused(&migration, &["project"], &["was deleted and made anew", "crossfade replay --recopy"]);
    made_good(&migration);
    refused(&migration, &["project", "--restore", "fold.snap"], &["the snapshot", "crossfade project --rebuild"]);
    confirmed_pass(&migration);
}

fn i13_a_beginning_that_is_gone_is_found_before_anything_is_dropped(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    drop_first(&migration);
    let says = ["deleted or has expired", "crossfade replay --recopy"];
    refused(&migration, &["project", "--rebuild"], &says);
    let report = diff(&migration, &[], 5);
    has_finding(&report, "events-gone", "gap");
    next(&report, "replay --recopy");
    assert!(migration.expect(&["status"], 0).contains("next: crossfade replay --recopy"));
    // The projection is whole, and goes on.
    execute(&migration.legacy(), "UPDATE sessions SET status = 'paused'");
    run_all(&migration, &[&["replay"], &["project"]]);
    assert_eq!(diff(&migration, &[], 5)["totals"]["differing"], 0);
    std::fs::remove_file(migration.projection()).unwrap();
    refused(&migration, &["project"], &says);
    refused(&migration, &["replay"], &says);
    made_good(&migration);
}

fn i13_running_projectors_and_follows_notice_a_topic_made_anew(log: Log) {
    for live in [&["project", "--live"][..], &["project", "--live", "--shared"]] {
        let migration = generated(log, Sizes::LEAST, "");
        migration.expect(&["provision", "apply"], 0);
        migration.expect(&["follow", "--install", "--confirm", &migration.name], 0);
        run_all(&migration, &[&["replay"], &["project"]]);
        let running = [&["follow"], live]
            .map(|args| migration.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        // Both are at work once a change has come through.
        execute(&migration.legacy(), "UPDATE sessions SET status = 'paused'");
        let paused = "SELECT id FROM sessions WHERE status = 'paused'";
        while column(&migration.projection(), paused).len() < column(&migration.legacy(), paused).len() {
            std::thread::sleep(Duration::from_millis(20));
        }
        // Neither looks while there is none.
        running.iter().for_each(|child| signal("STOP", child.id()));
        delete(&migration);
        make_by_hand(&migration);
        running.iter().for_each(|child| signal("CONT", child.id()));
        for child in running {
            let ran = Ran::of(child.wait_with_output().unwrap());
            assert_eq!(ran.code, Some(3), "{}", ran.stderr);
            assert!(ran.stderr.contains("crossfade replay --recopy"), "{}", ran.stderr);
        }
        made_good(&migration);
    }
}

fn i05_a_store_that_compacts_is_no_pass_unless_all_its_events_are_counted(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    let policy = |policy: &str| {
        let set = BTreeMap::from([("cleanup.policy".to_owned(), policy.to_owned())]);
        let action = Action::AlterConfigs { name: store(&migration), set, reset: Vec::new() };
        admin(&migration).perform(&action).unwrap();
        while open_log(&migration).topic_config(&store(&migration), "cleanup.policy").unwrap().unwrap() != policy {
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    policy("compact");
    has_finding(&diff(&migration, &[], 5), "events-compacted", "gap");
    diff(&migration, &["--from-log"], 0);
    let check = json(&migration.run(&["provision", "check", "--output", "json"]).stdout);
    let mut checks = check["checks"].as_array().unwrap().iter();
    let fails = |check: &&Value| check["code"] == "cleanup-policy" && check["severity"] == "failure";
    assert_eq!(checks.find(fails).unwrap()["subject"], store(&migration).as_str());
    policy("delete");
    confirmed_pass(&migration);
}

#[test]
fn i05_events_that_were_compacted_away_are_missed_though_the_rows_are_equal() {
    let migration = projected(Log::Embedded, Sizes::LEAST);
    let log = migration.path(".crossfade/log.db");
    let last = "SELECT max(b.id) FROM batches AS b JOIN partitions AS p ON b.id >> 40 = p.id JOIN topics AS t ON t.id = p.topic
         WHERE t.name LIKE '%session.events'";
    execute(&migration.legacy(), "UPDATE sessions SET status = 'paused'");
    migration.expect(&["replay"], 0);
    let middle = Connection::open(&log).unwrap().query_row(last, [], |row| row.get::<_, i64>(0)).unwrap();
    execute(&migration.legacy(), "UPDATE sessions SET status = 'failed'");
    run_all(&migration, &[&["replay"], &["project"]]);
    diff(&migration, &["--from-log"], 0);
    execute(&log, &format!("DELETE FROM batches WHERE id = {middle}"));
    let report = diff(&migration, &["--from-log"], 5);
    has_finding(&report, "events-missing", "gap");
    assert_eq!(report["totals"]["differing"], 0, "{report:#}");
    made_good(&migration);
}

#[test]
fn i13_a_log_restored_from_an_older_copy_is_found_and_folded_anew() {
    let migration = projected(Log::Embedded, Sizes::LEAST);
    let (log, copy) = (migration.path(".crossfade/log.db"), migration.path("copy.db"));
    let keep = |from: &Path, to: &Path| {
        execute(from, "PRAGMA wal_checkpoint(TRUNCATE)");
        std::fs::copy(from, to).unwrap();
    };
    keep(&log, &copy);
    execute(&migration.legacy(), "UPDATE sessions SET status = 'paused'; UPDATE messages SET content = 'other'");
    run_all(&migration, &[&["replay"], &["project"]]);
    for name in ["log.db-wal", "log.db-shm"] {
        let _ = std::fs::remove_file(migration.path(".crossfade").join(name));
    }
    std::fs::copy(&copy, &log).unwrap();
    let says = ["but the topic ends at", "crossfade project --rebuild"];
    refused(&migration, &["project"], &says);
    refused(&migration, &["replay"], &says);
    let report = diff(&migration, &[], 5);
    has_finding(&report, "projection-astray", "gap");
    next(&report, "project --rebuild");
    assert!(migration.expect(&["status"], 0).contains("next: crossfade project --rebuild"));
    run_all(&migration, &[&["project", "--rebuild"], &["replay"], &["project"]]);
    confirmed_pass(&migration);
}

#[test]
fn i13_a_log_mirrored_to_another_home_is_not_the_one_positions_were_taken_in() {
    let migration = projected(Log::Embedded, Sizes::LEAST);
    let sql = "UPDATE log SET cluster_id = 'mirror'; UPDATE topics SET uuid = 'mirror ' || id";
    execute(&migration.path(".crossfade/log.db"), sql);
    refused(&migration, &["project"], &["was deleted and made anew"]);
    made_good(&migration);
}

#[test]
fn i13_what_was_written_before_topics_had_ids_is_believed_within_the_ends_and_gets_them() {
    let migration = projected(Log::Embedded, Sizes::LEAST);
    let log = migration.path(".crossfade/log.db");
    let forget = "UPDATE writers SET checkpoint = json_remove(checkpoint, '$.state.topics') WHERE name LIKE '%/replay'";
    execute(&log, forget);
    execute(&migration.projection(), "DELETE FROM _cf_meta WHERE key = 'topics'");
    migration.expect(&["diff"], 0);
    execute(&migration.legacy(), "UPDATE sessions SET status = 'paused'");
    run_all(&migration, &[&["replay"], &["project"]]);
    confirmed_pass(&migration);
    let kept = ReplayState::read(open_log(&migration).as_ref(), &migration.name).unwrap().unwrap().0.topics;
    assert_eq!(kept, open_log(&migration).topic_ids(&[&store(&migration)]).unwrap());
    // Emptied, they are not believed, whatever its id.
    execute(&log, forget);
    delete(&migration);
    make_by_hand(&migration);
    refused(&migration, &["replay"], &["of which the log can hold 0 at most", "crossfade replay --recopy"]);
    execute(&migration.projection(), "DELETE FROM _cf_meta WHERE key = 'topics'");
    made_good(&migration);
}
