//! What only a cluster has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crossfade::kafka::{KafkaAdmin, KafkaLog, KafkaSettings};
use crossfade::plan::{Acl, Action, KNOWN_CONFIGS, Operation, Pattern, Resource, Seen};
use crossfade::port::event_log::{EventLog, Topic};
use crossfade::port::topic_admin::{Answer, Scope, TopicAdmin, Topics};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::contract;
use crate::support::crash::Victim;

use super::home::{Home, create, delete, fresh};

struct Kafka(KafkaAdmin);

fn settings() -> KafkaSettings {
    let brokers = std::env::var("CROSSFADE_TEST_KAFKA").expect("CROSSFADE_TEST_KAFKA names no brokers");
    KafkaSettings { bootstrap: brokers.split(',').map(str::to_owned).collect(), ..KafkaSettings::default() }
}

impl Kafka {
    fn new() -> Self {
        Self(KafkaAdmin::open(&settings()).unwrap())
    }
}

impl Home for Kafka {
    fn admin(&self) -> &dyn TopicAdmin {
        &self.0
    }
}

contract!(Kafka::new(), #[ignore = "needs Kafka"]);

#[test]
#[ignore = "needs Kafka"]
fn a_cluster_tells_its_brokers_and_their_settings() {
    let home = Kafka::new();
    let name = fresh("told");
    home.perform(create(&name, 1, &[])).unwrap();
    let found = home.look(&name);
    let brokers = found.brokers.known().unwrap();
    assert_eq!(brokers.iter().map(|broker| broker.id).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(brokers.iter().all(|broker| broker.host == "127.0.0.1" && broker.rack.is_none()), "{brokers:?}");
    let configs = found.broker_configs.known().unwrap();
    assert_eq!(configs["auto.create.topics.enable"], "false");
    assert!(configs["authorizer.class.name"].contains("StandardAuthorizer"));
    assert_eq!(configs["unclean.leader.election.enable"], "false");
    assert!(!configs.contains_key("log.dirs"), "{configs:?}");
    assert_eq!(found.config_names, KNOWN_CONFIGS.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
    home.perform(delete(&name)).unwrap();
}

#[test]
#[ignore = "needs Kafka"]
fn a_cluster_says_in_its_words_what_it_cannot_keep() {
    let home = Kafka::new();
    let wide = |name| Action::CreateTopic { name, partitions: 1, replication: 4, configs: BTreeMap::new() };
    let Answer::No(words) = home.judge(wide(fresh("wide"))) else { panic!("four copies on three brokers") };
    assert!(words.contains("replication factor") && words.contains('4'), "{words}");
    let error = home.perform(wide(fresh("wide"))).unwrap_err();
    assert!(super::home::told(&error).contains(&words[..20]), "{}", super::home::told(&error));
    assert!(matches!(home.judge(delete("any")), Answer::NotAsked(why) if why.contains("deletion")));
}

#[test]
#[ignore = "needs Kafka"]
fn access_rules_come_back_as_they_were_made() {
    let home = Kafka::new();
    let (topic, principal) = (fresh("access"), format!("User:{}", fresh("one")));
    let rule = |resource, name: &str, pattern, operation, allow| Acl {
        principal: principal.clone(),
        host: "*".into(),
        resource,
        name: name.to_owned(),
        pattern,
        operation,
        allow,
    };
    let mut rules = vec![
        rule(Resource::Topic, &topic, Pattern::Literal, Operation::Read, true),
        rule(Resource::Topic, &topic, Pattern::Prefixed, Operation::DescribeConfigs, true),
        rule(Resource::Topic, &topic, Pattern::Literal, Operation::Write, false),
        rule(Resource::Group, &topic, Pattern::Prefixed, Operation::All, true),
        rule(Resource::Cluster, "kafka-cluster", Pattern::Literal, Operation::IdempotentWrite, true),
        rule(Resource::TransactionalId, &topic, Pattern::Prefixed, Operation::Write, true),
    ];
    rules.sort();
    for _ in 0..2 {
        home.perform(Action::CreateAcls { principal: principal.clone(), acls: rules.clone() }).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found = home.admin().observe(&Scope { access: true, ..Scope::default() }).unwrap();
        assert!(matches!(found.scram_users, Seen::Known(_)), "{:?}", found.scram_users);
        let mut own = found.acls.known().unwrap().clone();
        own.retain(|acl| acl.principal == principal);
        own.sort();
        if own == rules {
            return;
        }
        assert!(Instant::now() < deadline, "{own:?}");
    }
}

/// Offset 7 of partition 0 and offset 0 of partition 2, as a consumer of the group.
fn commit(settings: &KafkaSettings, group: &str, topic: &str) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", settings.bootstrap.join(",")).set("group.id", group);
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(7)).unwrap();
    list.add_partition_offset(topic, 2, Offset::Offset(0)).unwrap();
    // A new cluster first makes the topic it keeps offsets in.
    let deadline = Instant::now() + Duration::from_secs(20);
    while let Err(error) = consumer.commit(&list, CommitMode::Sync) {
        assert!(Instant::now() < deadline, "{error}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
#[ignore = "needs Kafka"]
fn groups_are_seen_with_their_offsets() {
    let home = Kafka::new();
    let (topic, group, other) = (fresh("read"), fresh("group"), fresh("group"));
    home.perform(create(&topic, 3, &[])).unwrap();
    commit(&settings(), &group, &topic);
    commit(&settings(), &other, &topic);
    let found = home.admin().observe(&Scope { groups: Some(group.clone()), ..Scope::default() }).unwrap();
    let groups = found.groups.known().unwrap();
    assert_eq!(groups.len(), 1, "{groups:?}");
    assert_eq!((groups[0].name.as_str(), groups[0].state.as_str(), groups[0].members), (group.as_str(), "Empty", 0));
    assert_eq!(groups[0].offsets, BTreeMap::from([((topic.clone(), 0), 7), ((topic.clone(), 2), 0)]));
    home.perform(delete(&topic)).unwrap();
}

#[test]
#[ignore = "needs Kafka"]
fn hundreds_of_topics_are_one_look() {
    let home = Kafka::new();
    let prefix = fresh("many");
    let named = |number| format!("{prefix}.{number}");
    let topic = |number| Topic {
        name: named(number),
        partitions: 1,
        configs: BTreeMap::from([("replication.factor", "1"), ("retention.ms", "86400000")])
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    };
    let topics: Vec<Topic> = (0..300).map(topic).collect();
    KafkaLog::open(&settings()).unwrap().create_topics(&topics).unwrap();
    let started = Instant::now();
    let scope = Scope { configs: Topics::Prefixed(prefix.clone()), ..Scope::default() };
    let found = home.admin().observe(&scope).unwrap();
    let took = started.elapsed();
    let mine: Vec<_> = found.topics.iter().filter(|(name, _)| name.starts_with(&prefix)).collect();
    assert_eq!(mine.len(), 300);
    for (name, topic) in mine {
        assert_eq!(topic.configs.known().unwrap()["retention.ms"].value.as_deref(), Some("86400000"), "{name}");
    }
    let started = Instant::now();
    let wanted: Vec<Action> = (0..300).map(|number| super::home::add(&named(number), 2)).collect();
    assert!(home.admin().judge(&wanted).unwrap().iter().all(|answer| *answer == Answer::Fine));
    let judged = started.elapsed();
    let made: Vec<String> = (0..300).map(named).collect();
    std::thread::scope(|scope| {
        for some in made.chunks(30) {
            scope.spawn(|| some.iter().for_each(|name| home.perform(delete(name)).unwrap()));
        }
    });
    // A request for each of them would take longer.
    assert!(took < Duration::from_secs(3) && judged < Duration::from_secs(3), "{took:?}, {judged:?}");
    println!("300 topics: a look {took:?}, judged {judged:?}");
}

#[test]
#[ignore = "needs Kafka"]
fn a_broker_that_is_down_hides_nothing_and_keeps_nobody_waiting() {
    let cluster = Victim::take();
    let bootstrap = cluster.brokers.split(',').map(str::to_owned).collect();
    let settings = KafkaSettings { bootstrap, ..KafkaSettings::default() };
    let topic = fresh("outage");
    let opened_before = Kafka(KafkaAdmin::open(&settings).unwrap());
    opened_before.perform(create(&topic, 3, &[("retention.ms", "86400000")])).unwrap();
    // So many that every broker keeps some.
    let groups = fresh("groups");
    (0..8).for_each(|number| commit(&settings, &format!("{groups}-{number}"), &topic));
    let scope = Scope { configs: Topics::Prefixed(String::new()), access: true, groups: Some(groups), disks: false };
    let whole = opened_before.admin().observe(&scope).unwrap();
    assert_eq!(whole.groups.known().map(Vec::len), Some(8));
    let down = cluster.kill(2);
    for home in [&opened_before, &Kafka(KafkaAdmin::open(&settings).unwrap())] {
        let started = Instant::now();
        let found = home.admin().observe(&scope).unwrap();
        let took = started.elapsed();
        assert!(took < Duration::from_secs(25), "{took:?}");
        assert_eq!(found.topics[&topic].configs, whole.topics[&topic].configs);
        assert_eq!(found.acls, whole.acls);
        assert!(found.broker_configs.known().is_some(), "{:?}", found.broker_configs);
        let name = fresh("made-in-outage");
        assert_eq!(home.judge(create(&name, 2, &[])), Answer::Fine);
        home.perform(create(&name, 2, &[])).unwrap();
        home.perform(delete(&name)).unwrap();
    }
    // The brokers notice within seconds, and take over its groups.
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let found = opened_before.admin().observe(&scope).unwrap();
        let (partitions, before) = (&found.topics[&topic].partitions, &whole.topics[&topic].partitions);
        for (now, before) in partitions.iter().zip(before) {
            assert_eq!(now.replicas, before.replicas);
        }
        let gone =
            partitions.iter().all(|now| !now.in_sync.contains(&2) && now.leader.is_some_and(|leader| leader != 2));
        let brokers: Vec<i32> = found.brokers.known().unwrap().iter().map(|broker| broker.id).collect();
        if gone && brokers == [1, 3] && found.groups == whole.groups {
            break;
        }
        assert!(Instant::now() < deadline, "{partitions:?}, {brokers:?}, {:?}", found.groups);
    }
    drop(down);
}
