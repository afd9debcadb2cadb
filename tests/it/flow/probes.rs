//! Probe records between row events: every reader drops them and moves on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crossfade::base::{Kind, Result};
use crossfade::event::Envelope;
use crossfade::mapping::PROBE;
use crossfade::port::event_log::{EventLog, Record};
use crossfade::port::progress::Silent;
use crossfade::provision::probe::{Probe, RoundTrips, Stage};
use serde_json::Value;

use crate::support::cli::{Log, Migration};
use crate::support::flow::{
    FLOW, MIDDLE, bring_over, confirmed_pass, diff, each_record, execute, generated, json, mapping, now, on_both_logs,
    open_log, projected, run_all, sample, started,
};
use crate::support::flow_faults::{Fault, FaultyLog};

on_both_logs!(
    a_projection_and_its_snapshots_are_the_same_with_probes_between,
    a_live_projection_moves_past_probes,
    a_differing_row_is_traced_past_probes_of_its_key,
    every_topic_is_tried_and_failures_say_where,
    a_failed_stage_is_named_and_the_next_topic_is_tried,
);

/// Row topics of the preset have up to 12 partitions: each gets a probe.
const ROUNDS: u32 = 12;

fn probe(migration: &Migration, topics: &[&str], rounds: u32) -> Vec<RoundTrips> {
    probe_on(open_log(migration).as_ref(), migration, topics, (rounds, Duration::from_secs(30))).unwrap()
}

fn probe_on(
    log: &dyn EventLog,
    migration: &Migration,
    topics: &[&str],
    (rounds, patience): (u32, Duration),
) -> Result<Vec<RoundTrips>> {
    let migration = migration.name.as_str();
    Probe { log, migration, instance: "a test", rounds, patience, progress: &Silent, now: &now }.run(topics)
}

/// Probes every partition of every topic of the mapping.
#[track_caller]
fn probe_all(migration: &Migration) {
    let mapping = mapping(migration);
    let topics: Vec<&str> = mapping.topics.iter().map(|topic| topic.name.as_str()).collect();
    for (topic, trips) in mapping.topics.iter().zip(probe(migration, &topics, ROUNDS)) {
        assert!(trips.failed.is_none(), "{trips:?}");
        assert_eq!(trips.trips.len(), ROUNDS as usize);
        let tried: BTreeSet<i32> = trips.trips.iter().map(|trip| trip.partition).collect();
        assert_eq!(tried, (0..topic.partitions).collect());
        assert!(trips.trips.iter().all(|trip| trip.committed <= trip.visible));
    }
    let mut last: BTreeMap<(String, i32), bool> = BTreeMap::new();
    each_record(open_log(migration).as_ref(), &mapping, &mut |record| {
        let envelope = Envelope::read(record.headers()).unwrap().unwrap();
        last.insert((record.topic.to_owned(), record.partition), envelope.event_type == PROBE);
    });
    assert!(last.values().all(|probe| *probe), "a partition does not end with a probe: {last:?}");
}

fn project(migration: &Migration, args: &[&str]) -> Value {
    json(&migration.expect(&[&["project", "--output", "json"], args].concat(), 0))
}

fn digest(told: &Value) -> &Value {
    let digest = &told["snapshot"]["digest"];
    assert!(digest.is_string(), "{told:#}");
    digest
}

fn a_projection_and_its_snapshots_are_the_same_with_probes_between(log: Log) {
    let migration = generated(log, MIDDLE, "");
    migration.expect(FLOW[0], 0);
    probe_all(&migration);
    run_all(&migration, &FLOW[1..]);
    confirmed_pass(&migration);
    let early = project(&migration, &["--snapshot", "early.snap"]);

    probe_all(&migration);
    // Positions are compared, not what lies between.
    assert_eq!(diff(&migration, &[], 5)["next"], "crossfade project");
    let after = project(&migration, &["--snapshot", "after.snap"]);
    assert_eq!(after["applied"], 0);
    assert_ne!(after["passed_over"], 0);
    assert_eq!(digest(&after), digest(&early));
    confirmed_pass(&migration);
    let rebuilt = project(&migration, &["--rebuild", "--snapshot", "rebuilt.snap"]);
    assert_eq!(digest(&rebuilt), digest(&early));
    confirmed_pass(&migration);
    assert_eq!(diff(&migration, &["--from-log"], 0)["verdict"], "PASS");

    assert_ne!(execute(&migration.legacy(), "DELETE FROM messages WHERE rowid % 3 = 0"), 0);
    assert_ne!(execute(&migration.legacy(), "UPDATE sessions SET status = 'completed' WHERE rowid % 2 = 0"), 0);
    bring_over(&migration);
    probe_all(&migration);
    let whole = project(&migration, &["--snapshot", "whole.snap"]);
    assert_ne!(digest(&whole), digest(&early));
    let restored = project(&migration, &["--restore", "early.snap", "--snapshot", "restored.snap"]);
    assert_eq!(digest(&restored), digest(&whole));
    confirmed_pass(&migration);
}

fn a_live_projection_moves_past_probes(log: Log) {
    let migration = projected(log, MIDDLE);
    let mut live = started(&migration, &["project", "--live"], "Ctrl-C");
    probe_all(&migration);
    let began = Instant::now();
    while migration.run(&["diff"]).code != Some(0) {
        assert!(began.elapsed() < Duration::from_secs(60), "the live projection stays behind");
        assert_eq!(live.try_wait().unwrap(), None, "the live projection ended");
    }
    live.kill().unwrap();
    live.wait().unwrap();
    confirmed_pass(&migration);
}

fn a_differing_row_is_traced_past_probes_of_its_key(log: Log) {
    let migration = projected(log, MIDDLE);
    probe_all(&migration);
    let mut keys = BTreeSet::new();
    each_record(open_log(&migration).as_ref(), &mapping(&migration), &mut |record| {
        if record.header("ce_type") == Some(PROBE.as_bytes()) {
            keys.insert(String::from_utf8(record.key.to_vec()).unwrap());
        }
    });
    let key = keys.first().unwrap();
    let session = format!("UPDATE sessions SET id = '{key}' WHERE rowid = (SELECT max(rowid) FROM sessions)");
    assert_eq!(execute(&migration.legacy(), &session), 1);
    bring_over(&migration);
    probe_all(&migration);
    project(&migration, &[]);
    let change = "UPDATE sessions SET status = iif(status = 'failed', 'paused', 'failed') WHERE id =";
    assert_eq!(execute(&migration.legacy(), &format!("{change} '{key}'")), 1);
    let report = diff(&migration, &[], 1);
    let sample = sample(&report, &format!("id={key}"));
    assert_eq!((&sample["difference"], &sample["event"]["type"]), (&"changed".into(), &"SessionCreated".into()));
}

fn every_topic_is_tried_and_failures_say_where(log: Log) {
    let migration = generated(log, MIDDLE, "");
    migration.expect(FLOW[0], 0);
    let mapping = mapping(&migration);
    let there = mapping.topics[0].name.as_str();
    let found = probe(&migration, &["not.there", there], 3);
    let failed = found[0].failed.as_ref().unwrap();
    assert_eq!(failed.stage, Stage::Prepare);
    assert!(failed.error.message().contains("not.there"), "{failed:?}");
    assert!(found[0].visible().is_none() && found[0].trips.is_empty());
    let spread = found[1].visible().unwrap();
    assert!(spread.p50 <= spread.p99 && spread.p99 <= spread.max && spread.max > Duration::ZERO);
    assert!(found[1].committed().unwrap().p50 <= spread.p50);
    assert_eq!((found[1].trips.len(), found[1].failed.is_none()), (3, true));
}

fn a_failed_stage_is_named_and_the_next_topic_is_tried(log: Log) {
    let migration = generated(log, MIDDLE, "");
    migration.expect(FLOW[0], 0);
    let mapping = mapping(&migration);
    let topics: Vec<&str> = mapping.topics[..2].iter().map(|topic| topic.name.as_str()).collect();
    let patience = Duration::from_secs(30);
    for (fault, stage) in
        [(Fault::Append, Stage::Append), (Fault::LostReply, Stage::Commit), (Fault::LostCommit, Stage::Commit)]
    {
        let faulty = FaultyLog::new(open_log(&migration).into(), fault, 2);
        let found = probe_on(&faulty, &migration, &topics, (3, patience)).unwrap();
        let failed = found[0].failed.as_ref().unwrap();
        assert_eq!((failed.stage, found[0].trips.len()), (stage, 1), "{fault:?}");
        assert!(found[1].failed.is_none() && found[1].trips.len() == 3, "{fault:?}: {:?}", found[1]);
    }
    let faulty = FaultyLog::new(open_log(&migration).into(), Fault::Fenced, 2);
    assert_eq!(probe_on(&faulty, &migration, &topics, (3, patience)).unwrap_err().kind(), Kind::Fenced);
}

#[test]
#[ignore = "needs Kafka"]
fn an_open_transaction_of_another_writer_shows_as_a_record_not_seen() {
    let migration = generated(Log::Kafka, MIDDLE, "");
    migration.expect(FLOW[0], 0);
    let (log, mapping) = (open_log(&migration), mapping(&migration));
    let topic = mapping.topics.iter().find(|topic| topic.partitions > 1).unwrap().name.as_str();
    let mut other = log.open_writer(&format!("{}/replay", migration.name), "another").unwrap();
    let record = Record { topic, partition: Some(1), key: b"", value: b"", headers: &[], timestamp: now() };
    other.append(&record).unwrap();
    // Sent at the latest when the client has waited for more of them.
    std::thread::sleep(Duration::from_millis(500));
    let found = probe_on(log.as_ref(), &migration, &[topic], (3, Duration::from_secs(2))).unwrap();
    other.abort().unwrap();
    let failed = found[0].failed.as_ref().unwrap();
    assert_eq!((failed.stage, found[0].trips.len()), (Stage::Read, 1), "{found:?}");
    assert!(failed.error.message().ends_with("within 2 s"), "{failed:?}");
    assert!(failed.error.help().unwrap().contains("another writer's transaction"), "{failed:?}");
    assert!(probe(&migration, &[topic], 3)[0].failed.is_none());
}
