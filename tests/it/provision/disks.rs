//! The room on the brokers' disks, as the check tells it.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crossfade::kafka::{KafkaLog, KafkaSettings};
use crossfade::plan::{Observed, Partition};
use crossfade::port::event_log::{EventLog, Record};
use crossfade::port::topic_admin::Scope;
use serde_json::Value;

use crate::support::cli::{Log, Migration, brokers};
use crate::support::flow::json;
use crate::support::provision::{admin, append, empty};

/// Bytes of the disk a folder lies on, all and those anybody may use.
fn room(folder: &Path) -> (u64, u64) {
    let ran = Command::new("df").args(["-B1", "--output=size,avail"]).arg(folder).output().unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    let mut numbers = text.lines().last().unwrap().split_whitespace().map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// Bytes of the records in a partition's folder.
fn segments(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let segment = |path: &Path| path.extension().is_some_and(|extension| extension == "log");
    files.filter(|file| segment(&file.path())).map(|file| file.metadata().unwrap().len()).sum()
}

/// Writes 200 records over all partitions of a topic.
fn fill(migration: &Migration, topic: &str) {
    let bootstrap = brokers().split(',').map(str::to_owned).collect();
    let log = KafkaLog::open(&KafkaSettings { bootstrap, ..KafkaSettings::default() }).unwrap();
    let mut writer = log.open_writer(&format!("{}/replay", migration.name), "one").unwrap();
    for number in 0..200 {
        let key = format!("key {number}");
        let record =
            Record { topic, partition: None, key: key.as_bytes(), value: &[7; 500], headers: &[], timestamp: 1 };
        writer.append(&record).unwrap();
    }
    writer.commit("plan", 1.into()).unwrap();
}

/// By broker: what it says a topic holds there, and what its files hold.
fn held(found: &Observed, topic: &str) -> Vec<(u64, u64)> {
    let partitions: Vec<(usize, &Partition)> = found.topics[topic].partitions.iter().enumerate().collect();
    let of = |disk: &crossfade::plan::Disk| {
        let here = partitions.iter().filter(|(_, partition)| partition.replicas.contains(&disk.broker));
        let files = here.map(|(number, _)| segments(&Path::new(&disk.path).join(format!("{topic}-{number}"))));
        (disk.held[topic], files.sum())
    };
    found.disks.known().unwrap().iter().map(of).collect()
}

fn checked(migration: &Migration, code: i32, of: &str) -> Vec<Value> {
    let report = json(&migration.expect(&["provision", "check", "--output", "json"], code));
    report["checks"].as_array().unwrap().iter().filter(|check| check["code"] == of).cloned().collect()
}

#[test]
#[ignore = "needs Kafka"]
fn the_brokers_tell_what_the_file_system_tells() {
    let migration = empty(Log::Kafka, "");
    migration.expect(&["provision", "apply"], 0);
    let name = format!("{}.session.events", migration.name);
    fill(&migration, &name);
    let admin = admin(&migration);
    assert!(admin.observe(&Scope::default()).unwrap().disks.known().is_none(), "not asked for");
    let found = admin.observe(&Scope { disks: true, ..Scope::default() }).unwrap();
    let disks = found.disks.known().unwrap_or_else(|| panic!("{:?}", found.disks));
    assert_eq!(disks.iter().map(|disk| disk.broker).collect::<Vec<_>>(), [1, 2, 3]);
    for disk in disks {
        let told = disk.room.unwrap();
        let (total, usable) = room(Path::new(&disk.path));
        assert_eq!(told.total, total);
        // Others write to the same disk meanwhile.
        assert!(told.usable.abs_diff(usable) < 4_000_000_000, "{} {usable}", told.usable);
    }
    // The end of the transaction may still be on its way to a copy.
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let found = admin.observe(&Scope { disks: true, ..Scope::default() }).unwrap();
        let held = held(&found, &name);
        if held.iter().all(|(told, files)| told == files && *told > 1000) {
            break;
        }
        assert!(Instant::now() < deadline, "{held:?}");
    }
}

#[test]
#[ignore = "needs Kafka"]
fn the_check_says_whether_the_disks_hold_the_migration() {
    let migration = empty(Log::Kafka, "");
    migration.expect(&["provision", "apply"], 0);
    let told = checked(&migration, 0, "disk-headroom");
    assert_eq!((told.len(), &told[0]["severity"]), (1, &Value::from("warning")), "{told:?}");
    assert!(told[0]["help"].as_str().unwrap().contains("planned.mb_per_day"), "{told:?}");
    assert_eq!(checked(&migration, 0, "disk-full").len(), 3);
    let yaml = std::fs::read_to_string(migration.path("crossfade.yaml")).unwrap();
    append(&migration, "planned: {days: 10, mb_per_day: 1}\n");
    let told = checked(&migration, 0, "disk-headroom");
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().all(|check| check["severity"] != "failure"), "{told:?}");
    std::fs::write(migration.path("crossfade.yaml"), yaml).unwrap();
    append(&migration, "planned: {days: 10, mb_per_day: 100000000}\n");
    let told = checked(&migration, 1, "disk-headroom");
    let full =
        |check: &&Value| check["severity"] == "failure" && check["text"].as_str().unwrap().contains("will be full");
    assert_eq!(told.iter().filter(full).count(), 3, "{told:?}");
    let ran = migration.run(&["provision", "check"]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.stdout.contains("within 10 days the topics take up to"), "{}", ran.stdout);
}

#[test]
fn one_file_has_no_disks_of_brokers() {
    let migration = empty(Log::Embedded, "planned: {mb_per_day: 100000000}\n");
    migration.expect(&["provision", "apply"], 0);
    let told = checked(&migration, 0, "disk-headroom");
    assert_eq!((told.len(), &told[0]["severity"]), (1, &Value::from("note")), "{told:?}");
    assert!(told[0]["text"].as_str().unwrap().contains("one file"), "{told:?}");
}
