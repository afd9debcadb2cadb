//! What every home does.

use crossfade::base::Kind;
use crossfade::plan::Seen;
use crossfade::port::topic_admin::{Answer, Scope, Topics};

use super::home::{Home, add, alter, create, delete, fresh, map, own, told};

pub fn a_topic_is_created_as_asked_and_once(home: &impl Home) {
    let name = fresh("created");
    let configs = [("cleanup.policy", "compact"), ("retention.ms", "86400000")];
    for _ in 0..2 {
        home.perform(create(&name, 3, &configs)).unwrap();
    }
    let found = home.topic(&name, |found| own(found) == map(&configs));
    assert_eq!(found.partitions.len(), 3);
    for (partition, number) in found.partitions.iter().zip(0..) {
        let alone = partition.replicas.is_empty();
        assert!(alone || (partition.replicas.len() == 2 && partition.leader.is_some()), "{number}: {partition:?}");
    }
    for (other, word) in
        [(create(&name, 4, &configs), "3 partitions"), (create(&name, 3, &[("retention.ms", "1000")]), "retention.ms")]
    {
        let error = home.perform(other).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert!(told(&error).contains(&name) && told(&error).contains(word), "{}", told(&error));
    }
    assert_eq!(home.topic(&name, |_| true), found);
    home.perform(delete(&name)).unwrap();
}

pub fn configs_change_one_by_one(home: &impl Home) {
    let name = fresh("altered");
    let configs = [("cleanup.policy", "compact"), ("retention.ms", "86400000"), ("segment.ms", "600000")];
    home.perform(create(&name, 1, &configs)).unwrap();
    for _ in 0..2 {
        let set = [("max.message.bytes", "50000"), ("segment.ms", "700000")];
        home.perform(alter(&name, &set, &["retention.ms"])).unwrap();
        let wanted = map(&[("cleanup.policy", "compact"), ("max.message.bytes", "50000"), ("segment.ms", "700000")]);
        home.topic(&name, |found| own(found) == wanted);
    }
    home.perform(alter(&name, &[], &["max.message.bytes", "cleanup.policy"])).unwrap();
    let found = home.topic(&name, |found| own(found) == map(&[("segment.ms", "700000")]));
    if let Some(default) = found.configs.known().unwrap().get("max.message.bytes") {
        assert_eq!(default.value.as_deref(), Some("1048588"));
    }
    home.perform(delete(&name)).unwrap();
}

pub fn partitions_grow_and_never_shrink(home: &impl Home) {
    let name = fresh("grown");
    home.perform(create(&name, 2, &[])).unwrap();
    for _ in 0..2 {
        home.perform(add(&name, 5)).unwrap();
    }
    home.topic(&name, |found| found.partitions.len() == 5);
    assert!(matches!(home.judge(add(&name, 4)), Answer::No(words) if !words.is_empty()));
    let error = home.perform(add(&name, 4)).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    assert!(told(&error).contains(&name) && told(&error).contains('5'), "{}", told(&error));
    home.topic(&name, |found| found.partitions.len() == 5);
    home.perform(delete(&name)).unwrap();
}

pub fn a_deleted_topic_is_gone(home: &impl Home) {
    let (name, other) = (fresh("deleted"), fresh("kept"));
    home.perform(create(&name, 2, &[("retention.ms", "1000")])).unwrap();
    home.perform(create(&other, 1, &[])).unwrap();
    for _ in 0..2 {
        home.perform(delete(&name)).unwrap();
    }
    home.is_gone(&name);
    assert_eq!(home.topic(&other, |_| true).partitions.len(), 1);
    // Nothing of it is left to a topic of the same name.
    home.perform(create(&name, 1, &[])).unwrap();
    let found = home.topic(&name, |found| found.partitions.len() == 1);
    assert_eq!(own(&found), map(&[]));
    home.perform(delete(&name)).unwrap();
    home.perform(delete(&other)).unwrap();
}

pub fn judging_changes_nothing(home: &impl Home) {
    let (name, missing) = (fresh("judged"), fresh("missing"));
    home.perform(create(&name, 2, &[("retention.ms", "86400000")])).unwrap();
    let before = home.topic(&name, |_| true);
    let fine = [
        create(&missing, 3, &[("retention.ms", "1000")]),
        add(&name, 6),
        alter(&name, &[("retention.ms", "1000")], &["cleanup.policy"]),
        // One topic twice: each is asked about by itself.
        alter(&name, &[("segment.ms", "600000")], &[]),
    ];
    let wrong = [
        (create(&name, 3, &[]), "exists"),
        (create(&missing, 0, &[]), "partition"),
        (add(&name, 1), "partition"),
        (add(&missing, 3), "topic"),
        (alter(&name, &[("retention.mss", "1000")], &[]), "retention.mss"),
        (alter(&name, &[("max.message.bytes", "lots")], &[]), "lots"),
    ];
    let all: Vec<_> = fine.iter().chain(wrong.iter().map(|(action, _)| action)).cloned().collect();
    let answers = home.admin().judge(&all).unwrap();
    assert_eq!(answers.len(), all.len());
    assert_eq!(answers[..fine.len()], [Answer::Fine, Answer::Fine, Answer::Fine, Answer::Fine]);
    for ((action, word), answer) in wrong.iter().zip(&answers[fine.len()..]) {
        assert!(matches!(answer, Answer::No(words) if words.contains(word)), "{action:?}: {answer:?}");
    }
    let after = home.look(&name);
    assert_eq!(after.topics[&name], before);
    assert!(!after.topics.contains_key(&missing));
    home.perform(delete(&name)).unwrap();
}

pub fn a_refusal_has_the_homes_words(home: &impl Home) {
    let (name, missing) = (fresh("refused"), fresh("missing"));
    home.perform(create(&name, 1, &[])).unwrap();
    for (action, word) in [
        (alter(&missing, &[("retention.ms", "1000")], &[]), missing.as_str()),
        (add(&missing, 3), &missing),
        (alter(&name, &[("retention.mss", "1000")], &[]), "retention.mss"),
        (alter(&name, &[("max.message.bytes", "lots")], &[]), "lots"),
        (create(&missing, 1, &[("retention.mss", "1000")]), "retention.mss"),
        (create("no spaces, please", 1, &[]), "no spaces"),
    ] {
        let error = home.perform(action.clone()).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{action:?}: {error}");
        assert!(told(&error).contains(word), "{action:?}: {}", told(&error));
        assert!(std::error::Error::source(&error).is_some(), "{error}");
    }
    assert!(!home.look(&missing).topics.contains_key(&missing));
    home.perform(delete(&name)).unwrap();
}

pub fn a_look_brings_no_more_than_asked_for(home: &impl Home) {
    let (name, other) = (fresh("seen"), fresh("aside"));
    home.perform(create(&name, 1, &[("retention.ms", "86400000")])).unwrap();
    home.perform(create(&other, 1, &[])).unwrap();
    home.topic(&name, |_| true);
    let nothing = home.admin().observe(&Scope::default()).unwrap();
    assert!(!nothing.home.is_empty() && !nothing.cluster_id.is_empty());
    assert!(matches!(nothing.topics[&name].configs, Seen::NotHere(_)));
    for hidden in
        [nothing.acls.known().is_some(), nothing.scram_users.known().is_some(), nothing.groups.known().is_some()]
    {
        assert!(!hidden);
    }
    let one = home.look(&name);
    assert!(one.topics[&name].configs.known().is_some() && one.topics[&other].configs.known().is_none());
    assert!(one.config_names.contains("retention.ms") && !one.config_names.contains("retention.mss"));
    let prefix = name.split('.').next().unwrap().to_owned();
    let prefixed = Scope { configs: Topics::Prefixed(prefix), ..Scope::default() };
    let prefixed = home.admin().observe(&prefixed).unwrap();
    assert_eq!(prefixed.topics[&name], one.topics[&name]);
    assert!(prefixed.topics[&other].configs.known().is_none());
    assert!(prefixed.topics.keys().all(|name| !name.starts_with("__") && !name.starts_with('/')));
    home.perform(delete(&name)).unwrap();
    home.perform(delete(&other)).unwrap();
}
