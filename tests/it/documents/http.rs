//! The export of a server with its store in memory.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::cli::{Log, Migration, Ran};
use crate::support::export_server::{ExportServer, Fault, export};
use crate::support::flow::{FLOW, diff, events, mapping, on_both_logs, open_log, run_all, table};

on_both_logs!(
    what_a_server_exports_becomes_rows_and_its_changes_events,
    a_server_that_stumbles_is_asked_again_and_one_that_is_down_deletes_nothing,
    a_list_that_changes_between_two_pages_is_read_again,
);

fn migration(log: Log, server: &ExportServer) -> Migration {
    let store = format!("  mapping: mapping.yaml\n  store: {}\n", server.url);
    let migration = Migration::new(log, &store, "");
    let mut text = crossfade::acc::HTTP_MAPPING.to_owned();
    for topic in crossfade::acc::http_mapping().unwrap().topics {
        text = text.replace(&topic.name, &format!("{}.{}", migration.name, topic.name));
    }
    std::fs::write(migration.path("mapping.yaml"), text).unwrap();
    migration
}

fn filled(sessions: usize) -> ExportServer {
    let server = ExportServer::start();
    server.state().exports =
        (0..sessions).map(|number| export(&format!("s{number}"), number, 1 + number % 3)).collect();
    server
}

#[track_caller]
fn passes(migration: &Migration) -> Value {
    let report = diff(migration, &[], 0);
    assert_eq!(report["verdict"], "PASS");
    report
}

fn what_a_server_exports_becomes_rows_and_its_changes_events(log: Log) {
    let server = filled(120);
    // Invented ones of a late version, and one whose id is no part of a path.
    server.state().exports.extend([export("demo-session-1", 500, 2), export("a b/ü", 501, 1)]);
    let migration = migration(log, &server);
    run_all(&migration, &FLOW);
    let report = passes(&migration);
    assert_eq!(table(&report, "sessions")["compared"], 121);
    assert_eq!(table(&report, "messages")["compared"], 241);
    assert_eq!(table(&report, "performance_metrics")["compared"], 121);
    assert!(report["findings"].as_array().unwrap().iter().any(|finding| finding["code"] == "not-seen"), "{report:#}");
    let before = events(open_log(&migration).as_ref(), &mapping(&migration));
    let event = before.iter().find(|event| event.value["row"]["id"] == "s2-m1").unwrap();
    assert_eq!((event.event_type.as_str(), event.key.as_str()), ("MessageAppended", "s2"));
    assert_eq!(
        event.value["row"]["metadata"],
        json!({"cost": 0.01, "exitCode": 0, "nested": {"a": [1, 2.5, null, "x"]}}).to_string()
    );
    assert_eq!(server.most_at_once(), 1);
    assert!(
        !server.state().asked.iter().any(|path| path.contains("health")),
        "a health check stores a row on some servers"
    );

    {
        let mut state = server.state();
        state.exports.retain(|export| export["session"]["id"] != "s5");
        let session = &mut state.exports[3]["session"];
        session["status"] = "completed".into();
        session["endTime"] = "2026-11-26T00:00:00.000Z".into();
        let more = json!({"id": "new", "sessionId": "s3", "agentType": "worker", "messageType": "response", "content": "done", "timestamp": "2026-11-26T00:00:00.000Z"});
        session["messages"].as_array_mut().unwrap().push(more);
    }
    migration.expect(&["follow", "--mode", "reconcile", "--until-caught-up"], 0);
    migration.expect(&["project"], 0);
    passes(&migration);
    let after = events(open_log(&migration).as_ref(), &mapping(&migration));
    let mut new: Vec<String> = after[before.len()..].iter().map(|event| event.event_type.clone()).collect();
    new.sort();
    new.dedup();
    assert_eq!(
        new,
        [
            "AgentPerformanceMetricDeleted",
            "MessageAppended",
            "MessageDeleted",
            "SessionDeleted",
            "SessionStatusChanged",
            "SessionSummaryDeleted",
            "SystemEventDeleted"
        ]
    );
}

fn a_server_that_stumbles_is_asked_again_and_one_that_is_down_deletes_nothing(log: Log) {
    let server = filled(5);
    let migration = migration(log, &server);
    migration.expect(FLOW[0], 0);
    let stumbles = [
        Fault::Status(500),
        Fault::Busy,
        Fault::Cut,
        Fault::Half,
        Fault::Slow(Duration::from_secs(2)),
        Fault::Status(503),
    ];
    server.state().faults.extend(stumbles);
    run_all(&migration, &FLOW[1..]);
    passes(&migration);

    for down in [500, 400] {
        server.state().down = Some(down);
        let ran = migration.run(&["replay"]);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains(&format!("answers {down}")), "{}", ran.stderr);
    }
    server.state().down = None;
    // One session of all cannot be read: it is not deleted.
    server
        .state()
        .faults
        .extend(std::iter::repeat_n(Fault::Slow(Duration::ZERO), 4).chain(std::iter::repeat_n(Fault::Status(500), 40)));
    assert_eq!(migration.run(&["replay"]).code, Some(2));
    server.state().faults.clear();
    passes(&migration);
    server.state().hidden = Some("s1".to_owned());
    let ran = migration.run(&["replay"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains("lists session s1"), "{}", ran.stderr);
    server.state().hidden = None;
    passes(&migration);
    server.state().exports.clear();
    let url = server.url.clone();
    drop(server);
    let ran = migration.run(&["diff"]);
    assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    assert!(ran.stderr.contains(&url), "{}", ran.stderr);
}

#[test]
fn a_server_is_trusted_by_its_certificate_alone() {
    let folder = tempfile::tempdir().unwrap();
    let made =
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/certificates")).arg(folder.path()).output();
    assert!(made.unwrap().status.success());
    let file = |name: &str| folder.path().join(name);
    let ran = |certificate: &str, trusted: &str| {
        let server = ExportServer::secure(&file(&format!("{certificate}.pem")), &file(&format!("{certificate}.key")));
        server.state().exports = vec![export("s", 1, 2)];
        let migration = migration(Log::Embedded, &server);
        migration.expect(FLOW[0], 0);
        Ran::of(migration.command(&["replay"]).env("SSL_CERT_FILE", file(trusted)).output().unwrap())
    };
    let good = ran("broker", "ca.pem");
    assert_eq!(good.code, Some(0), "{}", good.stderr);
    for (certificate, trusted) in [("broker", "other-ca.pem"), ("expired", "ca.pem"), ("misnamed", "ca.pem")] {
        let ran = ran(certificate, trusted);
        assert_eq!(ran.code, Some(2), "{certificate}: {}", ran.stderr);
        assert!(ran.stderr.contains("is not who it should be"), "{certificate}: {}", ran.stderr);
    }
}

fn a_list_that_changes_between_two_pages_is_read_again(log: Log) {
    let server = filled(120);
    let migration = migration(log, &server);
    migration.expect(FLOW[0], 0);
    server.state().faults.extend([Fault::Changed, Fault::Slow(Duration::ZERO), Fault::Changed]);
    run_all(&migration, &FLOW[1..]);
    let report = passes(&migration);
    assert_eq!(table(&report, "sessions")["compared"], 120);
}

#[test]
fn a_list_that_is_cut_by_its_backend_is_refused() {
    let server = filled(50);
    let migration = migration(Log::Embedded, &server);
    run_all(&migration, &FLOW);
    passes(&migration);
    server.state().exports.iter_mut().for_each(|export| export["session"]["endTime"] = Value::Null);
    let ran = migration.run(&["replay"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert!(ran.stderr.contains("postgres://"), "{}", ran.stderr);
}

#[test]
fn an_address_that_is_no_export_is_refused_by_name() {
    let server = filled(1);
    for (store, code, says) in [
        (format!("{}/nowhere", server.url), 2, "no list of sessions"),
        ("http://user:secret-pw-1@127.0.0.1:1".to_owned(), 2, "legacy.store"),
        ("http://".to_owned(), 2, "legacy.store"),
    ] {
        let migration = Migration::new(Log::Embedded, &format!("  preset: acc\n  store: {store}\n"), "");
        let _ = migration.run(&["provision", "apply"]);
        let ran = migration.run(&["replay"]);
        assert_eq!(ran.code, Some(code), "{store}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{store}: {}", ran.stderr);
        assert!(!ran.stderr.contains("secret-pw-1"), "{}", ran.stderr);
    }
    let migration = migration(Log::Embedded, &server);
    migration.expect(FLOW[0], 0);
    assert_eq!(migration.run(&["follow"]).code, Some(3));
}
