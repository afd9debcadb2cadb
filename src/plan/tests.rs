//! The planner on generated clusters, and its rules by tables.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    Action, Actor, Broker, Config, Consent, Desired, FoundTopic, KNOWN_CONFIGS, Observed, Override, Partition, Plan,
    Risk, Role, Schemas, Seen, Source, Step, VERSION, WayBack, check, fingerprints, observed_hash, of_topic, predict,
};
use crate::base::Kind as ErrorKind;
use crate::diff::Severity;
use crate::mapping::{Mapping, Topic, Types};

fn nothing() -> Mapping {
    Mapping {
        types: Types::Sqlite,
        topics: Vec::new(),
        tables: Vec::new(),
        never: Vec::new(),
        uses: BTreeMap::new(),
        hash: String::new(),
    }
}

fn partition(replicas: &[i32]) -> Partition {
    Partition { leader: replicas.first().copied(), replicas: replicas.to_vec(), in_sync: replicas.to_vec() }
}

fn own(value: &str) -> Config {
    Config { value: Some(value.to_owned()), source: Source::Topic }
}

fn found(partitions: usize, copies: i32, configs: &[(&str, &str)]) -> FoundTopic {
    let replicas: Vec<i32> = (1..=copies).collect();
    let configs = configs.iter().map(|(key, value)| ((*key).to_owned(), own(value))).collect();
    FoundTopic { partitions: vec![partition(&replicas); partitions], configs: Seen::Known(configs) }
}

fn cluster(topics: &[(&str, FoundTopic)]) -> Observed {
    let brokers = (1..=3).map(|id| Broker { id, host: format!("b{id}:9092"), rack: None }).collect();
    Observed {
        home: "kafka b1:9092".to_owned(),
        cluster_id: "one".to_owned(),
        brokers: Seen::Known(brokers),
        broker_configs: Seen::Known(BTreeMap::new()),
        topics: topics.iter().map(|(name, topic)| ((*name).to_owned(), topic.clone())).collect(),
        hidden: BTreeSet::new(),
        config_names: BTreeSet::new(),
        acls: Seen::Known(Vec::new()),
        scram_users: Seen::Known(BTreeMap::new()),
        groups: Seen::NotHere(String::new()),
        claims: Seen::NotHere(String::new()),
        disks: Seen::NotHere(String::new()),
    }
}

fn desired(mapping: &Mapping, overrides: &[Override]) -> Desired {
    Desired::new("m", mapping, Vec::new(), None, overrides, Vec::new()).unwrap()
}

/// The steps where no schemas are wished.
fn steps(desired: &Desired, observed: &Observed) -> Vec<Step> {
    super::steps(desired, observed, &Schemas::none())
}

fn prints(desired: &Desired, observed: &Observed) -> BTreeMap<String, String> {
    fingerprints(desired, observed, &Schemas::none().found)
}

fn wish(name: &str) -> Override {
    Override { name: name.to_owned(), ..Override::default() }
}

/// The cluster after the steps, all of them.
fn after(mut observed: Observed, steps: &[Step]) -> Observed {
    for step in steps {
        let action = step.action().unwrap();
        if let Action::CreateAcls { acls, .. } = action {
            if let Seen::Known(known) = &mut observed.acls {
                known.extend(acls.clone());
            }
            continue;
        }
        let now = observed.topics.get(step.name());
        assert_eq!(of_topic(now), step.before, "{step:?}");
        let next = predict(now, action);
        assert_eq!(of_topic(next.as_ref()), step.after, "{step:?}");
        match next {
            Some(topic) => observed.topics.insert(step.name().to_owned(), topic),
            None => observed.topics.remove(step.name()),
        };
    }
    observed
}

fn shop() -> Mapping {
    let text = "version: 1\ntopics:\n  orders: {partitions: 3, configs: {retention.ms: \"-1\"}}\n  notes: {partitions: 2}\ntables:\n  t: {topic: orders, identity: [id], columns: {id: TEXT}}\n";
    Mapping::parse("m.yaml", text).unwrap()
}

#[test]
fn from_nothing_to_the_plan_and_then_nothing_is_left() {
    let own = Topic { name: "crossfade.m.flags".to_owned(), partitions: 1, configs: BTreeMap::new() };
    let wished = Desired::new("m", &shop(), vec![own], None, &[], Vec::new()).unwrap();
    let steps = steps(&wished, &cluster(&[]));
    let names: Vec<&str> = steps.iter().map(Step::name).collect();
    assert_eq!(names, ["crossfade.m.flags", "orders", "notes"]);
    let Some(Action::CreateTopic { partitions, replication, configs, .. }) = steps[1].action() else { panic!() };
    assert_eq!((*partitions, *replication), (3, 2));
    assert_eq!(configs["min.insync.replicas"], "1");
    assert_eq!((&*configs["retention.ms"], &*configs["cleanup.policy"]), ("-1", "delete"), "said outright");
    let made = after(cluster(&[]), &steps);
    assert_eq!(self::steps(&wished, &made), []);
}

/// What one change of a wish or a cluster leads to: reason, risk, way back.
#[test]
fn the_table_of_changes() {
    let store = || found(3, 2, &[("retention.ms", "-1"), ("cleanup.policy", "delete")]);
    let notes = || found(2, 2, &[]);
    let with = |key: &str, value: &str| Override {
        configs: BTreeMap::from([(key.to_owned(), value.to_owned())]),
        ..wish("orders")
    };
    type Case = (Override, FoundTopic, &'static [(&'static str, Risk, WayBack)]);
    let cases: Vec<Case> = vec![
        (wish("orders"), store(), &[]),
        (
            Override { partitions: Some(6), ..wish("orders") },
            store(),
            &[("partitions-added", Risk::NeedsFlag, WayBack::Final)],
        ),
        (
            Override { partitions: Some(2), ..wish("orders") },
            store(),
            &[("partitions-cannot-shrink", Risk::Impossible, WayBack::Final)],
        ),
        (
            Override { replication: Some(3), ..wish("orders") },
            store(),
            &[("replication-differs", Risk::Impossible, WayBack::Reversible)],
        ),
        (
            wish("orders"),
            found(3, 1, &[("retention.ms", "-1")]),
            &[("replication-differs", Risk::Impossible, WayBack::Reversible)],
        ),
        (wish("orders"), found(3, 3, &[("retention.ms", "-1")]), &[]),
        (wish("orders"), found(3, 2, &[("retention.ms", "5")]), &[("config-differs", Risk::Safe, WayBack::Reversible)]),
        (wish("orders"), found(3, 2, &[]), &[("config-missing", Risk::Safe, WayBack::Reversible)]),
        (with("retention.ms", "5"), store(), &[("event-store-expires", Risk::NeedsFlag, WayBack::Reversible)]),
        (
            with("cleanup.policy", "compact"),
            store(),
            &[("event-store-compacted", Risk::Impossible, WayBack::Reversible)],
        ),
        (
            with("min.insync.replicas", "3"),
            store(),
            &[("min-isr-above-replication", Risk::Impossible, WayBack::Reversible)],
        ),
        (with("min.insync.replicas", "2"), store(), &[("config-missing", Risk::Safe, WayBack::Reversible)]),
        (
            with("unclean.leader.election.enable", "true"),
            store(),
            &[("unclean-election", Risk::NeedsFlag, WayBack::Reversible)],
        ),
        (Override { absent: true, ..wish("orders") }, store(), &[("topic-needed", Risk::Impossible, WayBack::Final)]),
        // What nobody declared is kept, unless it is to be taken back.
        (wish("orders"), found(3, 2, &[("retention.ms", "-1"), ("segment.ms", "9")]), &[]),
        (
            Override { reset_undeclared: true, ..wish("orders") },
            found(3, 2, &[("retention.ms", "-1"), ("segment.ms", "9"), ("min.insync.replicas", "1")]),
            &[("config-undeclared", Risk::Safe, WayBack::Reversible)],
        ),
        // Both in one run: the topic grows first.
        (
            Override { partitions: Some(4), ..with("segment.ms", "7") },
            store(),
            &[
                ("partitions-added", Risk::NeedsFlag, WayBack::Final),
                ("config-missing", Risk::Safe, WayBack::Reversible),
            ],
        ),
    ];
    for (wish, found, expected) in cases {
        let observed = cluster(&[("orders", found), ("notes", notes())]);
        let steps = steps(&desired(&shop(), std::slice::from_ref(&wish)), &observed);
        let changes: Vec<_> = steps
            .iter()
            .flat_map(|step| &step.changes)
            .map(|change| (change.reason.as_str(), change.risk, change.way_back))
            .collect();
        assert_eq!(changes, expected, "{wish:?}");
    }
}

#[test]
fn what_cannot_be_created_is_told_before_anything_is_tried() {
    let cases = [
        (Override { replication: Some(4), ..wish("x") }, "too-few-brokers"),
        (wish("notes_x.y"), "topic-name-collides"),
        (Override { configs: BTreeMap::from([("retention.msx".into(), "1".into())]), ..wish("x") }, "unknown-config"),
        (
            Override { configs: BTreeMap::from([("min.insync.replicas".into(), "3".into())]), ..wish("x") },
            "min-isr-above-replication",
        ),
    ];
    for (wish, reason) in cases {
        let mut observed = cluster(&[("notes.x.y", found(1, 1, &[]))]);
        observed.config_names = ["retention.ms", "min.insync.replicas"].map(str::to_owned).into();
        let steps = steps(&desired(&nothing(), std::slice::from_ref(&wish)), &observed);
        assert!(
            steps
                .iter()
                .flat_map(|step| &step.changes)
                .any(|change| change.reason == reason && change.risk == Risk::Impossible),
            "{wish:?}: {steps:?}"
        );
        let plan = plan_of(&desired(&nothing(), &[wish]), &observed);
        assert_eq!(
            plan.judge(&Consent { allow: ["topic-delete".into()].into(), ..Consent::default() }).unwrap_err().kind(),
            ErrorKind::Refused
        );
    }
}

#[test]
fn what_may_not_be_looked_at_is_neither_planned_nor_called_drift() {
    let orders = FoundTopic { configs: Seen::Hidden("no right".to_owned()), ..found(3, 2, &[]) };
    let observed = Observed { hidden: ["notes".to_owned()].into(), ..cluster(&[("orders", orders)]) };
    let wished = desired(&shop(), &[]);
    let steps = steps(&wished, &observed);
    let reasons: Vec<&str> = steps.iter().flat_map(|step| &step.changes).map(|change| change.reason.as_str()).collect();
    assert_eq!(reasons, ["configs-hidden", "topic-hidden"]);
    assert!(steps.iter().all(|step| step.action().is_none() && step.risk() == Risk::Impossible));
    let checks = check(&wished, &observed, &Schemas::none(), &plan_of(&wished, &observed), 30);
    let severity = |code: &str, subject: &str| -> Vec<Severity> {
        let of = checks.iter().filter(|check| (check.code, check.subject.as_str()) == (code, subject));
        of.map(|check| check.severity).collect()
    };
    assert_eq!(severity("exists", "notes"), [Severity::Gap]);
    assert_eq!(severity("configs", "orders"), [Severity::Gap]);
    assert!(severity("drift", "orders").is_empty() && severity("drift", "notes").is_empty());
}

#[test]
fn a_broker_that_is_down_is_no_drift_of_copies() {
    let mut observed = cluster(&[("orders", found(3, 2, &[("retention.ms", "-1")])), ("notes", found(2, 2, &[]))]);
    if let Seen::Known(brokers) = &mut observed.brokers {
        brokers.remove(0);
    }
    for topic in observed.topics.values_mut() {
        for partition in &mut topic.partitions {
            partition.in_sync.remove(0);
            partition.leader = Some(2);
        }
    }
    assert_eq!(steps(&desired(&shop(), &[]), &observed), []);
}

fn plan_of(desired: &Desired, observed: &Observed) -> Plan {
    let fingerprints = prints(desired, observed);
    Plan {
        schema_version: VERSION,
        tool: String::new(),
        made_at: String::new(),
        migration: desired.migration.clone(),
        desired: desired.hash().unwrap(),
        home: observed.home.clone(),
        cluster_id: observed.cluster_id.clone(),
        observed_hash: observed_hash(&observed.cluster_id, &fingerprints),
        observed: fingerprints,
        steps: steps(desired, observed),
        manual: Vec::new(),
        notes: Vec::new(),
    }
}

#[test]
fn deletion_and_growth_take_the_flag_and_the_name() {
    let gone = Override { absent: true, ..wish("old") };
    let more = Override { partitions: Some(9), ..wish("orders") };
    let observed = cluster(&[
        ("old", found(1, 1, &[])),
        ("orders", found(3, 2, &[("retention.ms", "-1")])),
        ("notes", found(2, 2, &[])),
    ]);
    let plan = plan_of(&desired(&shop(), &[gone, more]), &observed);
    assert_eq!(plan.steps.last().unwrap().name(), "old", "what is final comes last");
    let consent = |allow: &[&str], confirm: &[&str]| Consent {
        allow: allow.iter().map(|text| (*text).to_owned()).collect(),
        confirm: confirm.iter().map(|text| (*text).to_owned()).collect(),
    };
    for (consent, help) in [
        (consent(&[], &[]), "--allow partitions-added --allow topic-delete --confirm old --confirm orders"),
        (consent(&["topic-delete"], &["old"]), "--allow partitions-added --confirm orders"),
        (consent(&["topic-delete", "partitions-added"], &["orders"]), "--confirm old"),
        (consent(&["topic-delete", "partitions-added"], &[]), "--confirm old --confirm orders"),
    ] {
        let error = plan.judge(&consent).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(error.help().unwrap().contains(help), "{error}: {:?}", error.help());
    }
    plan.judge(&consent(&["topic-delete", "partitions-added"], &["orders", "old"])).unwrap();
}

#[test]
fn a_plan_goes_on_where_it_stopped_and_not_after_somebody_else() {
    let wished = desired(&shop(), &[Override { partitions: Some(4), ..wish("orders") }]);
    let start = cluster(&[("orders", found(3, 2, &[]))]);
    let plan = plan_of(&wished, &start);
    assert_eq!(plan.steps.len(), 3);
    for done in 0..=plan.steps.len() {
        let now = prints(&wished, &after(start.clone(), &plan.steps[..done]));
        assert_eq!(plan.remaining(&now, true, &[]).unwrap(), plan.steps[done..]);
        // Who has not begun it finds a change of somebody else.
        assert_eq!(plan.remaining(&now, false, &[]).is_ok(), done == 0);
    }
    let mut other = start;
    other.topics.insert("orders".to_owned(), found(3, 2, &[("segment.ms", "1")]));
    let error = plan.remaining(&prints(&wished, &other), true, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale);
    assert!(error.message().contains("'orders'"), "{error}");
}

#[test]
fn a_plan_file_is_read_back_and_others_are_refused_with_their_place() {
    let plan = plan_of(&desired(&shop(), &[]), &cluster(&[]));
    let text = serde_json::to_string_pretty(&plan).unwrap();
    assert_eq!(Plan::parse("p.json", &text).unwrap(), plan);
    let newer = text.replacen("\"schema_version\": 1", "\"schema_version\": 2", 1);
    assert!(Plan::parse("p.json", &newer).unwrap_err().message().contains("version 2"));
    for broken in ["", "{}", "[1]", &text[..text.len() / 2], &text.replacen("\"steps\"", "\"stepz\"", 1)] {
        let error = Plan::parse("p.json", broken).unwrap_err();
        assert!(error.message().starts_with("p.json:"), "{error}");
    }
}

#[test]
fn the_first_rule_of_a_topic_that_is_open_to_all_needs_a_flag() {
    let actor = Actor { role: Role::Verifier, principal: "User:v".into(), host: "*".into(), quotas: BTreeMap::new() };
    let wished = Desired::new("m", &shop(), Vec::new(), None, &[], vec![actor]).unwrap();
    let mut observed = cluster(&[("orders", found(3, 2, &[("retention.ms", "-1")])), ("notes", found(2, 2, &[]))]);
    let risks = |observed: &Observed| -> BTreeSet<Risk> {
        steps(&wished, observed).iter().flat_map(|step| &step.changes).map(|change| change.risk).collect()
    };
    assert_eq!(risks(&observed), [Risk::Safe].into());
    let open = BTreeMap::from([("allow.everyone.if.no.acl.found".to_owned(), "true".to_owned())]);
    observed.broker_configs = Seen::Known(open);
    assert_eq!(risks(&observed), [Risk::Safe, Risk::NeedsFlag].into());
    observed.acls = Seen::Hidden("no authorizer".into());
    assert_eq!(risks(&observed), [Risk::Impossible].into());
    observed.acls = Seen::NotHere("a file".into());
    assert_eq!(risks(&observed), [].into());
    // Made, they are found again.
    observed.acls = Seen::Known(Vec::new());
    let made = after(observed.clone(), &steps(&wished, &observed));
    assert_eq!(steps(&wished, &made), []);
}

fn any_topic() -> impl Strategy<Value = FoundTopic> {
    let value = prop_oneof!["[0-9]{1,6}", "-1", "[ -~]{0,12}", "\\PC{0,6}", Just("compact,delete".to_owned())];
    let source = prop_oneof![Just(Source::Topic), Just(Source::Broker), Just(Source::Default)];
    let entry = (proptest::option::weighted(0.9, value), source).prop_map(|(value, source)| Config { value, source });
    let key = prop_oneof![proptest::sample::select(KNOWN_CONFIGS).prop_map(str::to_owned), "[a-z.]{3,12}"];
    let configs = proptest::collection::btree_map(key, entry, 0..6);
    let copies = proptest::collection::vec(proptest::collection::vec(1..4, 1..4), 1..5);
    (copies, configs).prop_map(|(copies, configs)| FoundTopic {
        partitions: copies.iter().map(|replicas| partition(replicas)).collect(),
        configs: Seen::Known(configs),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every plan without impossible steps leads where it says, and there it ends.
    #[test]
    fn a_plan_leads_to_its_wish(
        topics in proptest::collection::btree_map("[ab]\\.[cd]", any_topic(), 0..4),
        wishes in proptest::collection::btree_map("[ab]\\.[cd]", (1..8i32, proptest::option::of(1..4i32), any::<bool>(), any::<bool>(), 0..99u32), 0..4),
    ) {
        let mut observed = cluster(&[]);
        observed.topics = topics;
        let overrides: Vec<Override> = wishes.into_iter().map(|(name, (partitions, replication, absent, reset, ms))| Override {
            partitions: Some(partitions),
            replication,
            absent,
            reset_undeclared: reset,
            configs: BTreeMap::from([("retention.ms".to_owned(), ms.to_string())]),
            ..wish(&name)
        }).collect();
        let wished = desired(&nothing(), &overrides);
        let steps: Vec<Step> = steps(&wished, &observed).into_iter().filter(|step| step.action().is_some()).collect();
        let made = after(observed.clone(), &steps);
        prop_assert!(self::steps(&wished, &made).iter().all(|step| step.action().is_none()));
        // Nothing that was not named has changed.
        for (name, topic) in observed.topics.iter().filter(|(name, _)| !overrides.iter().any(|wish| wish.name == **name)) {
            prop_assert_eq!(made.topics.get(name), Some(topic));
        }
    }
}
