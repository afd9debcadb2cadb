//! Clusters other tools made: what is imported of one plans to nothing.

use std::collections::{BTreeMap, BTreeSet};

use crossfade::config::{Config as Settings, Wishes};
use crossfade::mapping::Mapping;
use crossfade::plan::{
    Config, Desired, FoundTopic, KNOWN_CONFIGS, Observed, Partition, Schemas, Seen, Source, import, steps,
};
use crossfade::port::memory_admin::MemoryAdmin;
use crossfade::port::topic_admin::{Scope, TopicAdmin, Topics};
use proptest::prelude::*;

fn any_topic() -> impl Strategy<Value = FoundTopic> {
    let value = prop_oneof!["[0-9]{1,6}", "-1", "[ -~]{0,12}", "\\PC{0,6}", Just("compact,delete".to_owned())];
    let source = prop_oneof![Just(Source::Topic), Just(Source::Broker), Just(Source::Default)];
    let entry = (proptest::option::weighted(0.9, value), source).prop_map(|(value, source)| Config { value, source });
    let key = prop_oneof![proptest::sample::select(KNOWN_CONFIGS).prop_map(str::to_owned), "[a-z.]{3,12}"];
    let configs = proptest::collection::btree_map(key, entry, 0..6);
    let copies = proptest::collection::vec(proptest::collection::vec(1..9, 1..4), 1..5);
    (copies, configs).prop_map(|(copies, configs)| FoundTopic {
        partitions: copies
            .into_iter()
            .map(|replicas| Partition { leader: replicas.first().copied(), in_sync: replicas.clone(), replicas })
            .collect(),
        configs: Seen::Known(configs),
    })
}

fn read(block: &str) -> Wishes {
    let text = format!("version: 1\nmigration: m\nlegacy: {{preset: acc, store: \"sqlite:a.db\"}}\n{block}");
    Settings::load("c.yaml".as_ref(), &text, &|_| None).unwrap().wishes
}

fn cluster(topics: BTreeMap<String, FoundTopic>) -> Observed {
    let scope = Scope { configs: Topics::Prefixed(String::new()), ..Scope::default() };
    Observed { topics, ..MemoryAdmin::new().observe(&scope).unwrap() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn two_hundred_topics_with_odd_configs_plan_to_no_change(
        topics in proptest::collection::btree_map("[a-zA-Z0-9][a-zA-Z0-9._-]{4,20}", any_topic(), 200)
    ) {
        let observed = cluster(topics);
        let (block, count) = import(&observed, "", "", &BTreeSet::new());
        prop_assert_eq!(count, 200);
        let wishes = read(&block).topics;
        let nothing = Mapping::parse("m.yaml", "version: 1\ntopics: {}\ntables: {}\n").unwrap();
        let desired = Desired::new("m", &nothing, Vec::new(), None, &wishes, Vec::new()).unwrap();
        prop_assert_eq!(desired.topics.len(), 200);
        prop_assert_eq!(steps(&desired, &observed, &Schemas::none()), []);
        // One odd change of somebody else, and the plan is no longer empty.
        let mut changed = observed.clone();
        changed.topics.values_mut().next().unwrap().partitions.clear();
        prop_assert_ne!(steps(&desired, &changed, &Schemas::none()), []);
    }
}
