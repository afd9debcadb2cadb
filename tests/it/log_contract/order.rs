//! Order, positions and ends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crossfade::event::partition::partition;
use crossfade::port::event_log::{Batch, Record};
use serde_json::json;

use super::home::{Home, Scene, Seen, keep, noise, now, numbered, texts};

fn by_partition(seen: &[Seen]) -> BTreeMap<i32, Vec<Seen>> {
    let mut partitions: BTreeMap<i32, Vec<Seen>> = BTreeMap::new();
    for record in seen {
        partitions.entry(record.partition).or_default().push(record.clone());
    }
    partitions
}

pub fn i02_a_reader_goes_on_exactly_where_another_stopped(home: &dyn Home) {
    let scene = Scene::new(home, 3);
    let mut writer = scene.writer("replay");
    for round in 0..3 {
        for number in 0..50 {
            let text = format!("{:03}", round * 50 + number);
            writer.append(&scene.record(&format!("key {number}"), &text)).unwrap();
        }
        writer.commit("plan", json!(round)).unwrap();
        scene.append(&mut *writer, "dropped", 3);
        writer.abort().unwrap();
    }
    let whole = scene.read(150);
    assert_eq!(whole.len(), 150);
    let whole = by_partition(&whole);
    for seen in whole.values() {
        assert!(seen.windows(2).all(|pair| pair[0].offset < pair[1].offset && pair[0].value < pair[1].value));
    }
    for max in [1, 7, 60, 149] {
        let mut positions = scene.starts();
        let mut seen = Vec::new();
        // A new reader for every few records: each goes on from the positions of the one before.
        while seen.len() < (4 * max).min(150) {
            let mut reader = home.open().open_reader(&positions).unwrap();
            let mut batch = Batch::default();
            reader.read(&mut batch, max, Duration::from_secs(10)).unwrap();
            assert!(!batch.is_empty());
            seen.extend(keep(&batch));
            positions = reader.positions().clone();
        }
        let mut reader = home.open().open_reader(&positions).unwrap();
        seen.extend(scene.read_on(&mut *reader, 150 - seen.len()));
        assert_eq!(by_partition(&seen), whole, "in steps of {max}");
    }
}

pub fn positions_meet_the_ends(home: &dyn Home) {
    let scene = Scene::new(home, 3);
    for ends in scene.log.ends(&scene.topic).unwrap().values() {
        assert_eq!((ends.low, ends.committed, ends.high), (0, 0, 0));
    }
    let mut writer = scene.writer("replay");
    scene.append(&mut *writer, "first", 60);
    writer.commit("plan", json!(1)).unwrap();
    scene.append(&mut *writer, "dropped", 60);
    writer.abort().unwrap();
    writer.commit("plan", json!("no records")).unwrap();
    scene.append(&mut *writer, "second", 60);
    writer.commit("plan", json!(2)).unwrap();

    let mut reader = home.open().open_reader(&scene.starts()).unwrap();
    // Waits until positions and committed ends are equal.
    let seen = scene.read_on(&mut *reader, 120);
    for (number, ends) in scene.log.ends(&scene.topic).unwrap() {
        let last = seen.iter().filter(|record| record.partition == number).map(|record| record.offset).max().unwrap();
        assert!(ends.low == 0 && ends.committed > last && ends.high >= ends.committed, "{ends:?}, last {last}");
    }
    let mut next = home.open().open_reader(reader.positions()).unwrap();
    let mut batch = Batch::default();
    next.read(&mut batch, 10, Duration::from_millis(200)).unwrap();
    assert!(batch.is_empty());
    scene.append(&mut *writer, "third", 60);
    let before = scene.committed();
    assert_eq!(before, *next.positions(), "an open transaction moved the committed end");
    writer.commit("plan", json!(3)).unwrap();
    assert_eq!(texts(&scene.read_on(&mut *next, 60)), numbered("third", 60));
}

pub fn keys_lie_where_kafka_puts_them(home: &dyn Home) {
    let scene = Scene::new(home, 7);
    let noise = noise(200 * 20);
    let mut keys: BTreeSet<Vec<u8>> = BTreeSet::from([vec![], vec![0], vec![0xff; 3]]);
    keys.extend(noise.chunks(20).enumerate().map(|(index, bytes)| bytes[..index % 20 + 1].to_vec()));
    keys.extend((0..).map(|number| format!("сессия-{number} \u{1f980}").into_bytes()).take(150));
    for number in 0.. {
        if keys.len() >= 500 {
            break;
        }
        keys.insert(format!("{number}").into_bytes());
    }
    let mut writer = scene.writer("replay");
    for key in &keys {
        let record =
            Record { topic: &scene.topic, partition: None, key, value: b"by key", headers: &[], timestamp: now() };
        writer.append(&record).unwrap();
        writer.append(&Record { partition: Some(2), value: b"by number", ..record }).unwrap();
    }
    writer.commit("plan", json!(null)).unwrap();
    let seen = scene.read(2 * keys.len());
    assert_eq!(seen.len(), 2 * keys.len());
    let mut used = BTreeSet::new();
    for record in &seen {
        let by_key = record.value == b"by key";
        let expected = if by_key { partition(&record.key, 7) } else { 2 };
        assert_eq!(record.partition, expected, "key {:?}", record.key);
        used.extend(by_key.then_some(record.partition));
    }
    assert_eq!(used.len(), 7);
}
