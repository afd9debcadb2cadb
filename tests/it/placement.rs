//! Keys of real clients of other languages: they lie where crossfade puts them, or the rule that moved them is named.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use crossfade::event::partition::partition;
use crossfade::event::partitioners::Partitioner;
use crossfade::kafka::{KafkaLog, KafkaSettings};
use crossfade::mapping::PROBE;
use crossfade::port::event_log::{Batch, EventLog, Positions, Record, Topic, own_topics};
use crossfade::port::memory_log::MemoryLog;
use crossfade::port::progress::Silent;
use crossfade::provision::placement::{Limits, Placement, placements};

use crate::support::cli::brokers;

/// 2,000 different keys: empty, of one byte, as ids and numbers, in other scripts, and long.
fn keys() -> Vec<Vec<u8>> {
    let mut keys = BTreeSet::from([Vec::new()]);
    keys.extend((0..128_u8).map(|byte| vec![byte]));
    keys.extend((0..600).map(|number| format!("session-{number}").into_bytes()));
    keys.extend((0..400).map(|number| number.to_string().into_bytes()));
    keys.extend((0..500).map(|number| format!("сессия {number} \u{1f980} 会議").into_bytes()));
    keys.extend((0..200).map(|number| format!("{number:>0$}", 200 + number).into_bytes()));
    keys.extend((0..).map(|number| format!("{number:08x}-47c1-4b2e").into_bytes()).take(2_000 - keys.len()));
    assert_eq!(keys.iter().filter(|key| key.is_empty()).count(), 1);
    let keys: Vec<Vec<u8>> = keys.into_iter().collect();
    assert_eq!(keys.len(), 2_000);
    keys
}

fn kafka() -> KafkaLog {
    let bootstrap = brokers().split(',').map(str::to_owned).collect();
    KafkaLog::open(&KafkaSettings { bootstrap, ..KafkaSettings::default() }).unwrap()
}

fn new_topic(log: &dyn EventLog, partitions: i32) -> String {
    let name = format!("t{}.keys", &uuid::Uuid::new_v4().simple().to_string()[..12]);
    log.create_topics(&[Topic { name: name.clone(), partitions, configs: BTreeMap::new() }]).unwrap();
    assert_eq!(log.ends(&name).unwrap().len(), partitions as usize);
    name
}

/// Writes every key once by the client of a language; the record's value is the key's number.
#[track_caller]
fn produce(script: &str, topic: &str, args: &[&str], keys: &[Vec<u8>]) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let clients = root.join(".cache/clients");
    assert!(clients.join("stamp").exists(), "the clients are not there: run tests/clients/install");
    let program = if script.ends_with(".py") { clients.join("venv/bin/python") } else { PathBuf::from("node") };
    let mut child = Command::new(program)
        .arg(root.join("tests/clients").join(script))
        .args([&brokers(), topic])
        .args(args)
        .env("NODE_PATH", clients.join("node_modules"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = keys.iter().map(|key| BASE64.encode(key) + "\n").collect();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Writes every key once by crossfade's own writer.
fn write(log: &dyn EventLog, topic: &str, keys: &[Vec<u8>]) {
    let migration = format!("t{}", uuid::Uuid::new_v4().simple());
    log.create_topics(&own_topics(&migration)).unwrap();
    let mut writer = log.open_writer(&format!("{migration}/replay"), "one").unwrap();
    for (number, key) in keys.iter().enumerate() {
        let value = number.to_string();
        let record = Record { topic, partition: None, key, value: value.as_bytes(), headers: &[], timestamp: 0 };
        writer.append(&record).unwrap();
    }
    writer.commit("plan", serde_json::json!(null)).unwrap();
    // A commit may be answered before every partition shows it.
    while log.ends(topic).unwrap().values().any(|ends| ends.committed < ends.high) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The partition of each key, by its number.
#[track_caller]
fn lie(log: &dyn EventLog, topic: &str, keys: &[Vec<u8>]) -> Vec<i32> {
    let ends = log.ends(topic).unwrap();
    let place = |number: &i32| (topic.to_owned(), *number);
    let from: Positions = ends.iter().map(|(number, ends)| (place(number), ends.low)).collect();
    let mut reader = log.open_reader(&from).unwrap();
    let (mut batch, mut lie) = (Batch::default(), vec![-1; keys.len()]);
    while ends.iter().any(|(number, ends)| reader.positions()[&place(number)] < ends.committed) {
        reader.read(&mut batch, 2_000, Duration::from_millis(100)).unwrap();
        for record in batch.iter() {
            let number: usize = std::str::from_utf8(record.value).unwrap().parse().unwrap();
            assert_eq!(record.key, keys[number], "key {number} came back as another one");
            assert_eq!(lie[number], -1, "key {number} came twice");
            lie[number] = record.partition;
        }
    }
    assert!(!lie.contains(&-1), "{} keys did not come", lie.iter().filter(|at| **at == -1).count());
    lie
}

#[track_caller]
fn look(log: &dyn EventLog, topic: &str) -> Placement {
    let mut found = placements(log, &[topic], Limits::default(), &Silent).unwrap();
    assert_eq!(found.len(), 1);
    found.remove(0)
}

#[test]
#[ignore = "needs Kafka"]
fn keys_of_kafkajs_python_and_crossfade_lie_in_equal_partitions() {
    let (log, keys) = (kafka(), keys());
    for partitions in [3, 6, 12] {
        let topics = [(); 3].map(|()| new_topic(&log, partitions));
        write(&log, &topics[0], &keys);
        produce("produce.js", &topics[1], &["default"], &keys);
        produce("produce.py", &topics[2], &["murmur2_random"], &keys);
        let [ours, js, python] = topics.each_ref().map(|topic| lie(&log, topic, &keys));
        for (number, key) in keys.iter().enumerate() {
            let found = (ours[number], js[number], python[number]);
            let expected = partition(key, partitions);
            assert_eq!(found, (expected, expected, expected), "{key:?} among {partitions}");
        }
        assert_eq!(ours.iter().collect::<BTreeSet<_>>().len(), partitions as usize);
        for topic in &topics {
            let found = look(&log, topic);
            assert_eq!((found.records, found.keys, found.without_key), (2_000, 1_999, 1), "{found:?}");
            assert_eq!((found.misplaced, found.lie_as, found.producers.len()), (0, None, 0), "{found:?}");
        }
    }
}

#[test]
#[ignore = "needs Kafka"]
fn a_foreign_partitioner_is_named_with_its_producer() {
    let (log, keys) = (kafka(), keys());
    for (script, setting, rule) in [
        ("produce.py", "default", Partitioner::Crc32),
        ("produce.py", "consistent", Partitioner::Crc32),
        ("produce.py", "fnv1a_random", Partitioner::Fnv1a),
        ("produce.js", "legacy", Partitioner::KafkaJsLegacy),
    ] {
        for partitions in [3, 12] {
            let topic = new_topic(&log, partitions);
            produce(script, &topic, &[setting, "billing"], &keys);
            for (key, found) in keys.iter().zip(lie(&log, &topic, &keys)) {
                // librdkafka scatters the empty key.
                let expected = if key.is_empty() { found } else { rule.partition(key, partitions) };
                assert_eq!(found, expected, "{setting}: {key:?} among {partitions}");
            }
            // A good producer beside it changes nothing.
            write(&log, &topic, &keys);
            let found = look(&log, &topic);
            let wrong = |key: &&Vec<u8>| rule.partition(key, partitions) != partition(key, partitions);
            let misplaced = keys.iter().filter(|key| !key.is_empty()).filter(wrong).count() as u64;
            assert_eq!((found.records, found.keys), (4_000, 1_999), "{setting}: {found:?}");
            assert_eq!((found.misplaced, found.misplaced_records), (misplaced, misplaced), "{setting}: {found:?}");
            assert_eq!(found.lie_as, Some(rule), "{setting}: {found:?}");
            let [producer] = &found.producers[..] else { panic!("{setting}: {found:?}") };
            assert_eq!((producer.source.as_deref(), producer.lie_as), (Some("billing"), Some(rule)));
            assert_eq!(found.samples.len(), 5);
            for sample in &found.samples {
                assert_eq!(sample.expected, partition(&sample.key, partitions));
                assert_eq!(sample.partition, rule.partition(&sample.key, partitions));
                assert_ne!(sample.partition, sample.expected);
                assert!((1..=64).contains(&sample.key_text().chars().count()), "{}", sample.key_text());
            }
        }
    }
}

/// Key, partition, headers.
type Given<'a> = (&'a [u8], i32, Headers<'a>);
type Headers<'a> = &'a [(&'a str, &'a [u8])];

/// A log in memory with these records in one topic of six partitions.
fn memory(records: &[Given<'_>]) -> MemoryLog {
    let log = MemoryLog::new();
    log.create_topics(&own_topics("m")).unwrap();
    log.create_topics(&[Topic { name: "t".into(), partitions: 6, configs: BTreeMap::new() }]).unwrap();
    let mut writer = log.open_writer("m/replay", "one").unwrap();
    for (key, partition, headers) in records {
        let record = Record { topic: "t", partition: Some(*partition), key, value: b"", headers, timestamp: 0 };
        writer.append(&record).unwrap();
    }
    writer.commit("plan", serde_json::json!(null)).unwrap();
    log
}

#[test]
fn each_producer_is_judged_by_its_own_keys() {
    let keys = keys();
    let one: Headers<'_> = &[("ce_source", b"one")];
    let two: Headers<'_> = &[("ce_source", b"two")];
    let probe: Headers<'_> = &[("ce_type", PROBE.as_bytes())];
    let mut records: Vec<Given<'_>> = Vec::new();
    for key in &keys[1..] {
        records.push((key, Partitioner::Crc32.partition(key, 6), one));
        records.push((key, Partitioner::Fewer(3).partition(key, 6), two));
        records.push((key, (partition(key, 6) + 1) % 6, probe));
    }
    for key in &keys[1..21] {
        let random = Partitioner::Crc32.partition(&[key.as_slice(), b"!"].concat(), 6);
        records.push((key, random, &[]));
    }
    let log = memory(&records);
    let found = look(&log, "t");
    assert_eq!((found.partitions, found.lie_as, found.keys), (6, None, 1_999));
    assert_eq!(found.records, 2 * 1_999 + 20);
    let rules: Vec<_> = found.producers.iter().map(|producer| (producer.source.as_deref(), producer.lie_as)).collect();
    assert_eq!(
        rules,
        [(Some("one"), Some(Partitioner::Crc32)), (Some("two"), Some(Partitioner::Fewer(3))), (None, None)]
    );
    let sources: Vec<_> = found.samples.iter().map(|sample| sample.source.as_deref()).collect();
    assert_eq!(sources, [Some("one"), Some("two"), None, Some("one"), Some("two")]);
    let producers: u64 = found.producers.iter().map(|producer| producer.records).sum();
    assert_eq!(producers, found.misplaced_records);
}

#[test]
fn a_large_topic_costs_a_bounded_read() {
    let keys: Vec<Vec<u8>> = (0..30_000).map(|number| format!("key {number}").into_bytes()).collect();
    let right = |key: &[u8]| partition(key, 6);
    let records: Vec<Given<'_>> = keys
        .iter()
        .enumerate()
        .map(|(number, key)| {
            // The middle is not looked at, both ends are.
            let middle = (8_000..22_000).contains(&number);
            let wrong = middle || number == 0 || number == 29_999;
            (key.as_slice(), (right(key) + i32::from(wrong)) % 6, &[] as Headers<'_>)
        })
        .collect();
    let limits = Limits { positions: 500, samples: 5 };
    let found = placements(&memory(&records), &["t"], limits, &Silent).unwrap().remove(0);
    // The markers of the one transaction are positions, too.
    assert_eq!((found.positions, found.looked_through), (30_006, 6_000));
    assert_eq!(found.records, 6_000 - 6);
    assert_eq!((found.misplaced, found.lie_as), (2, None));
    let samples: Vec<&[u8]> = found.samples.iter().map(|sample| sample.key.as_slice()).collect();
    assert_eq!(samples, [b"key 0".as_slice(), b"key 29999"]);
}

#[test]
fn nothing_read_is_told_as_nothing() {
    let found = look(&memory(&[]), "t");
    assert_eq!((found.positions, found.looked_through, found.records, found.misplaced), (0, 0, 0, 0));
    assert!(placements(&memory(&[]), &["not.there"], Limits::default(), &Silent).is_err());
}
