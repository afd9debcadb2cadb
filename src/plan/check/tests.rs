//! What is failed, warned of and left alone, by tables.

use std::collections::BTreeMap;

use super::super::observed::{Config, Group, Source};
use super::*;
use crate::mapping::Mapping;

const MAPPING: &str = "version: 1\ntopics:\n  rows: {partitions: 2}\n  notes: {partitions: 1}\ntables:\n  t: {topic: rows, identity: [id], columns: {id: TEXT}}\n";

fn desired() -> Desired {
    let mapping = Mapping::parse("m.yaml", MAPPING).unwrap();
    Desired::new("m", &mapping, Vec::new(), None, &[], Vec::new()).unwrap()
}

fn topic(replicas: &[i32], in_sync: &[i32], configs: &[(&str, &str)]) -> FoundTopic {
    let partition =
        Partition { leader: in_sync.first().copied(), replicas: replicas.to_vec(), in_sync: in_sync.to_vec() };
    let entry = |(key, value): &(&str, &str)| {
        ((*key).to_owned(), Config { value: Some((*value).to_owned()), source: Source::Default })
    };
    FoundTopic {
        partitions: vec![partition; 2],
        configs: Seen::Known(configs.iter().map(entry).collect::<BTreeMap<_, _>>()),
    }
}

/// Three brokers, the last on a rack of its own, and the topic of the rows.
fn cluster(rows: FoundTopic) -> Observed {
    let broker = |(id, rack): (i32, &str)| Broker { id, host: String::new(), rack: Some(rack.to_owned()) };
    let mut notes = topic(&[1, 3], &[1, 3], &[]);
    notes.partitions.truncate(1);
    Observed {
        home: "kafka b".to_owned(),
        cluster_id: "one".to_owned(),
        brokers: Seen::Known([(1, "a"), (2, "a"), (3, "b")].map(broker).into()),
        broker_configs: Seen::Known(BTreeMap::from([("auto.create.topics.enable".to_owned(), "false".to_owned())])),
        topics: BTreeMap::from([("rows".to_owned(), rows), ("notes".to_owned(), notes)]),
        hidden: BTreeSet::new(),
        config_names: BTreeSet::new(),
        acls: Seen::NotHere(String::new()),
        scram_users: Seen::NotHere(String::new()),
        groups: Seen::NotHere(String::new()),
        claims: Seen::NotHere(String::new()),
        disks: Seen::NotHere(String::new()),
    }
}

/// `severity code` of every check on `subject` that is more than a note.
fn told(observed: &Observed, subject: &str) -> Vec<String> {
    let desired = desired();
    let steps = crate::plan::steps(&desired, observed, &Schemas::none());
    let plan = Plan {
        schema_version: 1,
        tool: String::new(),
        made_at: String::new(),
        migration: String::new(),
        desired: String::new(),
        home: String::new(),
        cluster_id: String::new(),
        observed: BTreeMap::new(),
        observed_hash: String::new(),
        steps,
        manual: Vec::new(),
        notes: Vec::new(),
    };
    let checks = check(&desired, observed, &Schemas::none(), &plan, 30);
    let worse = checks.iter().filter(|check| check.subject == subject && check.severity > Severity::Note);
    worse.map(|check| format!("{:?} {}", check.severity, check.code)).collect()
}

#[test]
fn a_topic_is_judged_by_its_copies_configs_and_place() {
    let safe = [("min.insync.replicas", "2"), ("retention.ms", "-1"), ("cleanup.policy", "delete")];
    let all: &[i32] = &[1, 2, 3];
    let with = |key: &str, value: &str| topic(all, all, &[&safe[..], &[(key, value)]].concat());
    let cases: Vec<(FoundTopic, &[&str])> = vec![
        (topic(all, all, &safe), &[]),
        (with("min.insync.replicas", "1"), &["Warning min-isr"]),
        (with("min.insync.replicas", "3"), &["Warning min-isr"]),
        (with("min.insync.replicas", "4"), &["Failure min-isr"]),
        (with("unclean.leader.election.enable", "true"), &["Failure unclean-election"]),
        (with("unclean.leader.election.enable", "false"), &[]),
        (with("cleanup.policy", "delete,compact"), &["Failure cleanup-policy", "Failure drift"]),
        (with("retention.ms", "86400000"), &["Failure retention", "Failure drift"]),
        (topic(all, &[1, 2], &safe), &["Failure under-replicated"]),
        (topic(all, &[1], &safe), &["Failure under-replicated", "Failure under-min-isr"]),
        (topic(all, &[], &safe), &["Failure offline", "Failure under-replicated", "Failure under-min-isr"]),
        // Both copies on one rack, while there are two.
        (topic(&[1, 2], &[1, 2], &[("min.insync.replicas", "1")]), &["Warning rack-spread", "Warning min-isr"]),
    ];
    for (found, expected) in cases {
        assert_eq!(told(&cluster(found.clone()), "rows"), expected, "{found:?}");
    }
}

#[test]
fn a_broker_that_just_died_is_still_named_in_sync_and_counts_for_nothing() {
    let mut observed = cluster(topic(&[1, 2, 3], &[3, 1, 2], &[("min.insync.replicas", "2"), ("retention.ms", "-1")]));
    if let Seen::Known(brokers) = &mut observed.brokers {
        brokers.retain(|broker| broker.id != 3);
    }
    assert_eq!(told(&observed, "rows"), ["Failure offline", "Failure under-replicated"]);
    assert_eq!(told(&observed, "cluster"), ["Warning brokers"]);
}

#[test]
fn the_cluster_is_judged_and_what_is_hidden_is_not_known() {
    let mut observed = cluster(topic(&[1, 2, 3], &[1, 2, 3], &[("min.insync.replicas", "2"), ("retention.ms", "-1")]));
    assert!(told(&observed, "cluster").is_empty());
    observed.broker_configs =
        Seen::Known(BTreeMap::from([("auto.create.topics.enable".to_owned(), "true".to_owned())]));
    assert_eq!(told(&observed, "cluster"), ["Warning auto-create"]);
    observed.broker_configs = Seen::Hidden("no right".to_owned());
    assert_eq!(told(&observed, "cluster"), ["Warning auto-create"]);
    observed.topics.get_mut("rows").unwrap().configs = Seen::Hidden("no right".to_owned());
    assert_eq!(told(&observed, "rows"), ["Gap configs"]);
    observed.topics.remove("rows");
    assert_eq!(told(&observed, "rows"), ["Failure exists"]);
}

#[test]
fn a_group_of_the_migration_is_shown() {
    let mut observed = cluster(topic(&[1, 2, 3], &[1, 2, 3], &[]));
    let offsets = BTreeMap::from([(("rows".to_owned(), 0), 7)]);
    let group = Group { name: "crossfade.m.bridge".to_owned(), state: "Stable".to_owned(), members: 2, offsets };
    observed.groups = Seen::Known(vec![group]);
    let mut checks = Checks { observed: &observed, found: Vec::new() };
    checks.groups();
    assert_eq!(checks.found[0].text, "stable, 2 members, positions in 1 partition");
}
