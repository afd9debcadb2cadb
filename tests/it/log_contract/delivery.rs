//! What was committed is read, all of it and nothing else.

use std::time::{Duration, Instant};

use crossfade::port::event_log::{Batch, Record};
use serde_json::json;

use super::home::{Home, Scene, noise, now, numbered, texts};

pub fn i02_a_transaction_is_seen_whole_or_not_at_all(home: &dyn Home) {
    let scene = Scene::new(home, 3);
    let mut reader = home.open().open_reader(&scene.starts()).unwrap();
    let mut writer = scene.writer("replay");
    scene.append(&mut *writer, "first", 300);
    let mut batch = Batch::default();
    reader.read(&mut batch, 1_000, Duration::from_millis(300)).unwrap();
    assert!(batch.is_empty(), "an open transaction was read");
    assert_eq!(scene.committed(), scene.starts());
    writer.commit("plan", json!(1)).unwrap();
    assert_eq!(texts(&scene.read_on(&mut *reader, 300)), numbered("first", 300));
    scene.append(&mut *writer, "second", 10);
    writer.commit("plan", json!(2)).unwrap();
    assert_eq!(texts(&scene.read_on(&mut *reader, 10)), numbered("second", 10));
}

pub fn i02_an_aborted_transaction_leaves_nothing(home: &dyn Home) {
    let scene = Scene::new(home, 3);
    let mut writer = scene.writer("replay");
    writer.abort().unwrap();
    scene.append(&mut *writer, "dropped", 50);
    writer.abort().unwrap();
    assert_eq!(writer.checkpoint(), None);
    scene.append(&mut *writer, "kept", 50);
    writer.commit("plan", json!("kept")).unwrap();
    scene.append(&mut *writer, "dropped too", 50);
    writer.abort().unwrap();
    assert_eq!(writer.checkpoint().unwrap().state, json!("kept"));
    scene.append(&mut *writer, "last", 50);
    writer.commit("plan", json!("last")).unwrap();
    let expected = [numbered("kept", 50), numbered("last", 50)].concat();
    assert_eq!(texts(&scene.read(100)), expected);
}

pub fn i02_records_come_back_as_they_went_in(home: &dyn Home) {
    let scene = Scene::new(home, 1);
    let large = noise(900_000);
    let at = now();
    type Sample<'a> = (&'a [u8], &'a [u8], &'a [(&'a str, &'a [u8])], i64);
    let samples: [Sample<'_>; 7] = [
        (b"key", b"value", &[], at),
        (b"", b"", &[], at - 86_400_000),
        (b"a\0b", b"\0\0", &[("nul", b"\0"), ("empty", b"")], at + 1_000),
        ("\u{1f980} ключ".as_bytes(), b"\xff\xfe not UTF-8", &[("same", b"1"), ("same", b"2"), ("same", b"1")], at - 1),
        (b"large", &large, &[("ce_id", b"7"), ("ünïcode", b"\x80")], at),
        (b"header", b"x", &[("long", &large[..10_000])], at),
        (b"key", b"value", &[("ce_id", b"8")], at),
    ];
    let mut writer = scene.writer("replay");
    for (key, value, headers, timestamp) in samples {
        writer.append(&Record { topic: &scene.topic, partition: None, key, value, headers, timestamp }).unwrap();
    }
    writer.commit("plan", json!(null)).unwrap();
    let seen = scene.read(samples.len());
    assert_eq!(seen.len(), samples.len());
    for (index, (record, (key, value, headers, timestamp))) in seen.iter().zip(samples).enumerate() {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect();
        assert!(record.key == key && record.value == value, "record {index} has another key or value");
        assert_eq!((record.timestamp, &record.headers), (timestamp, &headers), "record {index}");
    }
}

pub fn i02_two_writers_at_once_lose_nothing(home: &dyn Home) {
    let scene = Scene::new(home, 3);
    let roles = ["replay", "operator"];
    std::thread::scope(|scope| {
        for role in roles {
            let (scene, log) = (&scene, home.open());
            scope.spawn(move || {
                let mut writer = log.open_writer(&scene.name(role), role).unwrap();
                for round in 0..5 {
                    for number in 0..200 {
                        let text = format!("{role} {}", round * 200 + number);
                        writer.append(&scene.record(&format!("key {number}"), &text)).unwrap();
                    }
                    writer.commit("plan", json!(round)).unwrap();
                }
            });
        }
    });
    let seen = scene.read(2_000);
    assert_eq!(texts(&seen), [numbered("operator", 1_000), numbered("replay", 1_000)].concat());
    for role in roles {
        for partition in 0..3 {
            let of_role = seen.iter().filter(|record| record.partition == partition);
            let numbers = of_role.filter_map(|record| record.text().strip_prefix(role)?.trim().parse::<u32>().ok());
            assert!(numbers.is_sorted(), "the records of {role} are out of order in partition {partition}");
        }
        assert_eq!(scene.log.checkpoint(&scene.name(role)).unwrap().unwrap().state, json!(4));
    }
}

pub fn i02_a_dead_transaction_hides_nothing_for_long(home: &dyn Home) {
    let scene = Scene::new(home, 3);
    let mut dead = home.open().open_writer(&scene.name("operator"), "dead").unwrap();
    scene.append(&mut *dead, "dead", 50);
    // As after kill -9: nobody ends the transaction.
    std::mem::forget(dead);
    let mut writer = scene.writer("replay");
    scene.append(&mut *writer, "alive", 50);
    writer.commit("plan", json!("alive")).unwrap();
    drop(writer);
    let started = Instant::now();
    let found = home.open().checkpoint(&scene.name("replay")).unwrap();
    assert_eq!(found.unwrap().state, json!("alive"));
    let again = scene.writer("replay");
    assert_eq!(again.checkpoint().unwrap().state, json!("alive"));
    assert_eq!(home.open().checkpoint(&scene.name("operator")).unwrap(), None);
    assert_eq!(texts(&scene.read(50)), numbered("alive", 50));
    assert!(started.elapsed() < home.time_out(), "held up for {:?}", started.elapsed());
}

pub fn a_waiting_reader_is_woken_by_a_commit(home: &dyn Home) {
    let scene = Scene::new(home, 3);
    let mut reader = home.open().open_reader(&scene.starts()).unwrap();
    let mut writer = scene.writer("replay");
    let mut batch = Batch::default();
    let started = Instant::now();
    reader.read(&mut batch, 10, Duration::from_millis(200)).unwrap();
    assert!(batch.is_empty());
    assert!(started.elapsed() >= Duration::from_millis(150), "an empty read came back at once");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            let started = Instant::now();
            reader.read(&mut batch, 10, Duration::from_secs(30)).unwrap();
            (batch.len(), started.elapsed())
        });
        std::thread::sleep(Duration::from_millis(300));
        scene.append(&mut *writer, "new", 1);
        writer.commit("plan", json!(1)).unwrap();
        let (count, waited) = waiting.join().unwrap();
        assert_eq!(count, 1);
        assert!(waited > Duration::from_millis(250) && waited < Duration::from_secs(15), "woken after {waited:?}");
    });
}
