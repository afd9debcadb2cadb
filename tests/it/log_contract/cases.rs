//! Topics, and the log as a whole.

use std::collections::BTreeMap;

use crossfade::base::{Error, Kind};
use crossfade::port::event_log::{Positions, Record, Topic};
use serde_json::json;

use super::home::{Home, Scene, noise};

pub fn topics_are_created_once(home: &dyn Home) {
    let scene = Scene::new(home, 3);
    let config = |value: &str| BTreeMap::from([("retention.ms".to_owned(), value.to_owned())]);
    let fresh = Topic { name: format!("{}.fresh", scene.topic), partitions: 2, configs: config("86400000") };
    let changed = Topic { name: scene.topic.clone(), partitions: 5, configs: config("1000") };
    let mut writer = scene.writer("replay");
    scene.append(&mut *writer, "record", 5);
    writer.commit("plan", json!(1)).unwrap();
    // One that exists does not keep the others from being made.
    for _ in 0..2 {
        scene.log.create_topics(&[changed.clone(), fresh.clone()]).unwrap();
    }
    let topics = home.open().topics().unwrap();
    assert_eq!((topics[&fresh.name], topics[&scene.topic]), (2, 3));
    assert_eq!(scene.log.ends(&fresh.name).unwrap().into_keys().collect::<Vec<_>>(), [0, 1]);
    assert_eq!(scene.read(5).len(), 5);
}

pub fn i13_a_topic_keeps_its_id_and_one_made_anew_has_another(home: &dyn Home) {
    let scene = Scene::new(home, 2);
    let (other, missing) = (format!("{}.other", scene.topic), format!("{}.missing", scene.topic));
    let topic = |name: &str| Topic { name: name.to_owned(), partitions: 2, configs: BTreeMap::new() };
    scene.log.create_topics(&[topic(&other)]).unwrap();
    let asked = [scene.topic.as_str(), &missing, &other];
    let before = scene.log.topic_ids(&asked).unwrap();
    assert_eq!(before.keys().collect::<Vec<_>>(), [&scene.topic, &other]);
    assert_ne!(before[&scene.topic], before[&other]);
    let mut writer = scene.writer("replay");
    scene.append(&mut *writer, "record", 5);
    writer.commit("plan", json!(1)).unwrap();
    scene.log.create_topics(&[topic(&other)]).unwrap();
    assert_eq!(home.open().topic_ids(&asked).unwrap(), before, "stable over writes and reopening");
    home.delete(&scene.topic);
    assert_eq!(home.open().topic_ids(&asked).unwrap().keys().collect::<Vec<_>>(), [&other]);
    home.open().create_topics(&[topic(&scene.topic)]).unwrap();
    let after = home.open().topic_ids(&asked).unwrap();
    assert_ne!(after[&scene.topic], before[&scene.topic]);
    assert_eq!((&after[&other], scene.log.topic_ids(&asked).unwrap()), (&before[&other], after.clone()));
}

pub fn what_is_not_there_is_named(home: &dyn Home) {
    let scene = Scene::new(home, 3);
    let missing = format!("{}.missing", scene.topic);
    let check = |error: Error| {
        assert_eq!(error.kind(), Kind::Config, "{error}");
        assert!(error.message().contains(&missing), "{error}");
        assert!(error.help().unwrap().contains("crossfade provision apply"), "{error}");
    };
    check(scene.log.ends(&missing).unwrap_err());
    check(scene.log.max_record_bytes(&missing).unwrap_err());
    check(scene.log.open_reader(&Positions::from([((missing.clone(), 0), 0)])).err().unwrap());
    let mut writer = scene.writer("replay");
    check(writer.append(&Record { topic: &missing, ..scene.record("key", "value") }).unwrap_err());
    writer.abort().unwrap();
    for number in [3, -1] {
        let error = scene.log.open_reader(&Positions::from([((scene.topic.clone(), number), 0)])).err().unwrap();
        assert_eq!(error.kind(), Kind::Config, "{error}");
        let record = Record { partition: Some(number), ..scene.record("key", "value") };
        assert_eq!(writer.append(&record).unwrap_err().kind(), Kind::Config);
        writer.abort().unwrap();
    }
    assert!(!scene.log.topics().unwrap().contains_key(&missing), "asking made the topic");
}

pub fn the_largest_record_is_taken_and_a_larger_one_is_not(home: &dyn Home) {
    let scene = Scene::new(home, 1);
    let default = scene.log.max_record_bytes(&scene.topic).unwrap();
    assert!((1_000_000..=1_048_588).contains(&default), "{default}");
    let configs = BTreeMap::from([("max.message.bytes".to_owned(), "50000".to_owned())]);
    let small = Topic { name: format!("{}.small", scene.topic), partitions: 1, configs };
    scene.log.create_topics(std::slice::from_ref(&small)).unwrap();
    let limit = scene.log.max_record_bytes(&small.name).unwrap();
    assert!((49_000..=50_000).contains(&limit), "{limit}");

    let value = noise(60_000);
    let mut writer = scene.writer("replay");
    let record = |value| Record { topic: &small.name, value, headers: &[("h", b"12")], ..scene.record("key", "") };
    writer.append(&record(&value[..limit - 6])).unwrap();
    writer.commit("plan", json!(1)).unwrap();
    let outcome = writer.append(&record(&value)).and_then(|()| writer.commit("plan", json!(2)));
    assert!(outcome.is_err(), "a record above `max.message.bytes` was taken");
    assert_eq!(scene.log.checkpoint(&scene.name("replay")).unwrap().unwrap().state, json!(1));
}

pub fn all_handles_see_the_same_log(home: &dyn Home) {
    let (one, two) = (home.open(), home.open());
    assert_eq!(one.cluster_id().unwrap(), two.cluster_id().unwrap());
    assert!(!one.cluster_id().unwrap().is_empty() && !one.describe().is_empty());
    let scene = Scene::new(home, 3);
    assert_eq!(two.ends(&scene.topic).unwrap(), scene.log.ends(&scene.topic).unwrap());
    assert_eq!(two.topics().unwrap(), one.topics().unwrap());
}
