//! What is failed, warned of and left alone, by tables.

use std::collections::BTreeMap;

use super::super::desired::Actor;
use super::super::observed::{Acl, Config, Group, Operation, Pattern, Source};
use super::super::{Role, manual};
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
    let checks = judged(&desired(), observed);
    let worse = checks.iter().filter(|check| check.subject == subject);
    worse.map(|check| format!("{:?} {}", check.severity, check.code)).collect()
}

/// Every check that is more than a note.
fn judged(desired: &Desired, observed: &Observed) -> Vec<Checked> {
    let steps = crate::plan::steps(desired, observed, &Schemas::none());
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
    let mut checks = check(desired, observed, &Schemas::none(), &plan, 30);
    checks.retain(|check| check.severity > Severity::Note);
    checks
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

#[test]
fn access_is_what_all_rules_come_to() {
    let mapping = Mapping::parse("m.yaml", MAPPING).unwrap();
    let actor = Actor { role: Role::Replayer, principal: "User:r".into(), host: "*".into(), quotas: BTreeMap::new() };
    let desired = Desired::new("m", &mapping, Vec::new(), None, &[], vec![actor]).unwrap();
    let write = desired.acls.iter().find(|rule| rule.name == "rows" && rule.operation == Operation::Write).unwrap();
    let all = |change: &dyn Fn(&mut Acl)| {
        let mut rule = write.clone();
        (rule.name, rule.pattern) = ("ro".to_owned(), Pattern::Prefixed);
        change(&mut rule);
        rule
    };
    let judge = |without: bool, more: &[Acl]| {
        let mut observed = cluster(topic(&[1, 2, 3], &[1, 2, 3], &[("retention.ms", "-1")]));
        let rules = desired.acls.iter().filter(|rule| !without || *rule != write).chain(more);
        observed.acls = Seen::Known(rules.cloned().collect());
        let checks = judged(&desired, &observed);
        let checks = checks.into_iter().filter(|check| check.code.contains("access"));
        let told: Vec<String> = checks
            .map(|check| format!("{:?} {} {}: {}", check.severity, check.code, check.subject, check.text))
            .collect();
        (told, manual(&desired, &observed, None))
    };
    assert_eq!(judge(false, &[]), (Vec::new(), Vec::new()));
    assert_eq!(judge(true, &[]).0, ["Failure access User:r (replayer): may not topic rows write"]);
    let denied = all(&|rule| rule.allow = false);
    let (told, manual) = judge(false, std::slice::from_ref(&denied));
    let by = "the rule 'User:r topic ro* write (deny)' denies it";
    assert_eq!(told, [format!("Failure access User:r (replayer): may not topic rows write: {by}")]);
    assert_eq!(manual.len(), 1);
    assert_eq!((manual[0].kind.as_str(), manual[0].name.as_str()), ("deny-rule", "User:r"));
    assert!(manual[0].reason.contains("User:r topic rows write"), "{}", manual[0].reason);
    let options = "--remove --force --deny-principal 'User:r' --deny-host '*' --operation Write --topic 'ro' \
                   --resource-pattern-type prefixed";
    assert!(manual[0].command.ends_with(options), "{}", manual[0].command);
    // Of a role that may come from any host one host is refused, and each rule that denies is named.
    let from = all(&|rule| (rule.allow, rule.principal, rule.host) = (false, "User:*".into(), "10.0.0.9".into()));
    let (told, manual) = judge(false, &[denied.clone(), from]);
    let by_host = "the rule 'User:* topic ro* write from 10.0.0.9 (deny)' denies it";
    assert_eq!(
        told,
        [
            format!("Failure access User:r (replayer): may not topic rows write from 10.0.0.9: {by_host}"),
            format!("Failure access User:r (replayer): may not topic rows write: {by}"),
        ]
    );
    let commands: Vec<&str> = manual.iter().map(|entry| entry.command.as_str()).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    assert!(
        commands.iter().any(|line| line.contains("--deny-principal 'User:*' --deny-host '10.0.0.9'")),
        "{commands:?}"
    );
    // What is denied to everybody is denied to the role, and what is denied to others is not.
    let everybody = all(&|rule| (rule.allow, rule.principal) = (false, "User:*".into()));
    assert_eq!(judge(false, &[everybody]).0.len(), 1);
    let others = all(&|rule| (rule.allow, rule.principal) = (false, "User:q".into()));
    assert_eq!(judge(false, &[others]), (Vec::new(), Vec::new()));
    // Of no use to the role: a denial is no right too many.
    let elsewhere = all(&|rule| (rule.allow, rule.operation) = (false, Operation::Delete));
    assert_eq!(judge(false, &[elsewhere]), (Vec::new(), Vec::new()));
    let wider = all(&|_| {});
    assert_eq!(
        judge(true, &[wider]).0,
        [
            "Warning access User:r (replayer): has no rule of its own for topic rows write by User:r topic ro* write",
            "Warning access-wider User:r (replayer): has more than the role needs: topic ro* write",
        ]
    );
    let open = all(&|rule| (rule.principal, rule.operation) = ("User:*".into(), Operation::All));
    assert_eq!(judge(false, &[open]).0, ["Warning open-access User:*: everybody may topic ro* all"]);
    let far = all(&|rule| (rule.principal, rule.name) = ("User:*".into(), "elsewhere".into()));
    assert_eq!(judge(false, &[far]).0, Vec::<String>::new());
}
