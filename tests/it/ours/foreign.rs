//! Records of somebody else between our own, and records of our own that cannot be read.

use crossfade::event::partition::partition;
use crossfade::port::event_log::{EventLog, Record, own_topics};

use crate::support::cli::{Log, Migration};
use crate::support::flow::{
    bring_over, confirmed_pass, diff, execute, generated, has_finding, json, mapping, on_both_logs, open_log,
    projected, run_all, started,
};

use super::sizes;

on_both_logs!(
    i14_records_of_others_are_passed_over_and_counted,
    i14_a_live_and_a_shared_projection_pass_them_over_too,
    a_record_of_ours_that_cannot_be_read_is_named_with_a_way_on,
);

type Headers<'a> = &'a [(&'a str, &'a [u8])];

/// What others may write into a topic, each with the headers of its kind.
const OTHERS: [Headers<'static>; 7] = [
    &[],
    &[("content-type", b"application/json")],
    &[("ce_specversion", b"1.0"), ("ce_id", b"order-17"), ("ce_source", b"shop/orders"), ("ce_type", b"Placed")],
    &[("ce_specversion", b"1.0"), ("ce_id", b"\xff\xfe"), ("ce_source", b"\xff\xfe"), ("ce_type", b"\xff")],
    &[("ce_specversion", b"1.0")],
    &[("ce_specversion", b"0.3"), ("ce_id", b""), ("ce_source", b""), ("ce_type", b"")],
    &[
        ("ce_specversion", b"1.0"),
        ("ce_id", b"6ba7b810-9dad-11d1-80b4-00c04fd430c8"),
        ("ce_source", b"another/sqlite#replay"),
        ("ce_type", b"SessionCreated"),
        ("ce_sequence", b"0001-00000000000001"),
    ],
];

/// Writes records with these headers under a key and value, as a program that is no part of the migration.
fn write(log: &dyn EventLog, topic: &str, key: &[u8], value: &[u8], all: &[Headers<'_>]) {
    let stranger = format!("t{}", uuid::Uuid::new_v4().simple());
    log.create_topics(&own_topics(&stranger)).unwrap();
    let mut writer = log.open_writer(&format!("{stranger}/replay"), "one").unwrap();
    for headers in all {
        writer.append(&Record { topic, partition: None, key, value, headers, timestamp: 1 }).unwrap();
    }
    writer.commit("", serde_json::Value::Null).unwrap();
}

/// Writes all kinds of others' records into every topic of rows, under the key of a session of ours and under one of theirs.
fn disturb(migration: &Migration) -> u64 {
    let (log, mapping) = (open_log(migration), mapping(migration));
    let session = crate::support::flow::column(&migration.legacy(), "SELECT min(id) FROM sessions").remove(0);
    let mut topics: Vec<&str> = mapping.tables.iter().map(|table| table.topic.as_str()).collect();
    topics.sort_unstable();
    topics.dedup();
    let mut written = 0;
    for topic in topics {
        for (key, value) in [(session.as_bytes(), &b"{\"v\":1}"[..]), (b"theirs", b""), (b"", b"\xff\x00")] {
            write(log.as_ref(), topic, key, value, &OTHERS);
            written += OTHERS.len() as u64;
        }
    }
    written
}

fn i14_records_of_others_are_passed_over_and_counted(log: Log) {
    let migration = projected(log, sizes(1));
    let written = disturb(&migration);
    let told = json(&migration.expect(&["project", "--output", "json"], 0));
    assert_eq!((&told["applied"], &told["foreign"]), (&0.into(), &written.into()), "{told}");
    confirmed_pass(&migration);
    disturb(&migration);
    let sql = "UPDATE messages SET content = 'later' WHERE session_id = (SELECT min(id) FROM sessions)";
    assert_ne!(execute(&migration.legacy(), sql), 0);
    assert_eq!(diff(&migration, &["--from-log"], 1)["verdict"], "FAIL");
    bring_over(&migration);
    let report = diff(&migration, &["--from-log"], 0);
    assert_eq!(report["verdict"], "PASS");
    has_finding(&report, "foreign-records", "warning");
    let check = json(&migration.expect(&["provision", "check", "--output", "json"], 0));
    let warned = check["checks"].as_array().unwrap().iter().filter(|check| check["code"] == "foreign-records");
    assert!(warned.clone().count() > 0 && warned.clone().all(|check| check["severity"] == "warning"), "{check:#}");
    let told = json(&migration.expect(&["project", "--rebuild", "--output", "json"], 0));
    assert_eq!(told["foreign"], 2 * written, "{told}");
    confirmed_pass(&migration);
}

fn i14_a_live_and_a_shared_projection_pass_them_over_too(log: Log) {
    let migration = projected(log, sizes(1));
    for args in [&["project", "--live"][..], &["project", "--live", "--shared"]] {
        let mut live = started(&migration, args, "Ctrl-C");
        disturb(&migration);
        let began = std::time::Instant::now();
        while migration.run(&["diff"]).code != Some(0) {
            assert!(began.elapsed() < std::time::Duration::from_secs(60), "{args:?} stays behind");
            assert_eq!(live.try_wait().unwrap(), None, "{args:?} ended");
        }
        live.kill().unwrap();
        live.wait().unwrap();
        confirmed_pass(&migration);
    }
}

fn a_record_of_ours_that_cannot_be_read_is_named_with_a_way_on(log: Log) {
    let migration = generated(log, sizes(1), "");
    run_all(&migration, &[&["provision", "apply"], &["replay"]]);
    let (log, mapping) = (open_log(&migration), mapping(&migration));
    let topic = &mapping.tables[0].topic;
    let source = format!("{}/sqlite#follow", migration.name);
    let headers: Headers<'_> = &[
        ("ce_specversion", b"1.0"),
        ("ce_id", b"order-17"),
        ("ce_source", source.as_bytes()),
        ("ce_type", b"SessionCreated"),
        ("ce_sequence", b"0001-00000000000001"),
    ];
    let lies = partition(b"k", log.ends(topic).unwrap().len() as i32);
    let at = log.ends(topic).unwrap()[&lies].committed;
    write(log.as_ref(), topic, b"k", b"{}", &[headers]);
    for args in [&["project"][..], &["diff", "--from-log"], &["replay"]] {
        let ran = migration.run(args);
        assert_eq!(ran.code, Some(2), "{args:?}: {}{}", ran.stdout, ran.stderr);
        assert!(ran.stderr.contains(&format!("{topic}[{lies}]@{at}: an event's 'ce_id' is no UUID")), "{}", ran.stderr);
        assert!(ran.stderr.contains("help: ") && ran.stderr.contains("replay --recopy"), "{}", ran.stderr);
    }
}
