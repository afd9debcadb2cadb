//! The first way through: provision, replay, project, diff.

use std::collections::BTreeMap;

use crossfade::demo::Sizes;

use crate::support::cli::Log;
use crate::support::flow::{
    MIDDLE, assert_orderly, bring_over, confirmed_pass, events, generated, json, mapping, on_both_logs, open_log,
    projected, table,
};

on_both_logs!(
    i04_generated_rows_come_back_as_they_were,
    i03_all_events_of_a_session_lie_in_one_partition_in_order,
    a_second_provision_apply_has_nothing_to_do,
    a_recopy_raises_the_generation_and_passes,
    a_second_replay_of_an_unchanged_store_writes_nothing,
);

fn i04_generated_rows_come_back_as_they_were(log: Log) {
    let migration = projected(log, MIDDLE);
    let report = confirmed_pass(&migration);
    assert_eq!(table(&report, "messages")["compared"], 2_000);
    assert_eq!(table(&report, "sessions")["compared"], 60);
    assert_eq!(report["totals"]["differing"], 0);
}

fn i03_all_events_of_a_session_lie_in_one_partition_in_order(log: Log) {
    let migration = projected(log, MIDDLE);
    let events = events(open_log(&migration).as_ref(), &mapping(&migration));
    assert_orderly(&events);
    let mut partitions = std::collections::BTreeSet::new();
    for event in &events {
        let row = &event.value["row"];
        let session = if event.value["table"] == "sessions" { &row["id"] } else { &row["session_id"] };
        match session.as_str() {
            Some(session) => assert_eq!(event.key, session, "{event:?}"),
            None => assert_eq!(event.key, row["id"].as_str().unwrap(), "{event:?}"),
        }
        assert_eq!((event.op(), event.sequence.generation), ("base", 1));
        partitions.insert(event.partition);
    }
    assert_eq!(partitions.len(), 6);
}

fn a_second_provision_apply_has_nothing_to_do(log: Log) {
    let migration = generated(log, Sizes::LEAST, "");
    let first = json(&migration.expect(&["provision", "apply", "--output", "json"], 0));
    assert_eq!(first["items"].as_array().unwrap().len(), 15, "{first}");
    let topics = open_log(&migration).topics().unwrap();
    let second = json(&migration.expect(&["provision", "apply", "--output", "json"], 0));
    assert_eq!(second["items"], serde_json::json!([]));
    let again = open_log(&migration).topics().unwrap();
    let own = |topics: BTreeMap<String, i32>| -> Vec<_> {
        topics.into_iter().filter(|(name, _)| name.contains(&migration.name)).collect()
    };
    let (topics, again) = (own(topics), own(again));
    assert_eq!(topics, again);
    assert_eq!(topics.len(), 8);
}

fn a_recopy_raises_the_generation_and_passes(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    let told = json(&migration.expect(&["replay", "--recopy", "--output", "json"], 0));
    assert_eq!(told["generation"], 2, "{told}");
    assert_eq!(told["reconciled"], serde_json::json!({"inserted": 0, "updated": 0, "deleted": 0}));
    migration.expect(&["project"], 0);
    confirmed_pass(&migration);
    let events = events(open_log(&migration).as_ref(), &mapping(&migration));
    assert_orderly(&events);
    let of = |generation| events.iter().filter(|event| event.sequence.generation == generation).count();
    assert_eq!(of(1), of(2));
    assert_eq!(of(1) + of(2), events.len());
    migration.expect(&["project", "--rebuild"], 0);
    confirmed_pass(&migration);
}

fn a_second_replay_of_an_unchanged_store_writes_nothing(log: Log) {
    let migration = projected(log, Sizes::LEAST);
    let (log, mapping) = (open_log(&migration), mapping(&migration));
    let before = events(log.as_ref(), &mapping).len();
    bring_over(&migration);
    assert_eq!(events(log.as_ref(), &mapping).len(), before);
}
