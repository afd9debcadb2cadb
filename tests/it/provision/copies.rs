//! Three copies of which two must be in sync, and what a check says of fewer.

use crossfade::plan::Action;
use serde_json::Value;

use crate::support::cli::Log;
use crate::support::flow::json;
use crate::support::provision::{admin, append, empty, looked_at};

/// Checks of a code, as `severity subject text`.
fn told(report: &Value, code: &str) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap().iter().filter(|check| check["code"] == code);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    checks.map(|check| [&check["severity"], &check["subject"], &check["text"]].map(text).join(" ")).collect()
}

#[test]
#[ignore = "needs Kafka"]
fn three_copies_and_two_in_sync_are_made_and_nothing_warns_of_a_single_disk() {
    let migration = empty(Log::Kafka, "");
    let path = migration.path("crossfade.yaml");
    let yaml = std::fs::read_to_string(&path).unwrap().replace("kafka: {", "kafka: {replication: 3, ");
    std::fs::write(path, yaml).unwrap();
    migration.expect(&["provision", "apply"], 0);
    for (name, topic) in looked_at(&migration) {
        assert!(topic.partitions.iter().all(|partition| partition.replicas.len() == 3), "{name}");
        let configs = topic.configs.known().unwrap();
        assert_eq!(configs["min.insync.replicas"].value.as_deref(), Some("2"), "{name}");
    }
    let report = json(&migration.expect(&["provision", "check", "--output", "json"], 0));
    let found = told(&report, "min-isr");
    assert!(
        found.len() == 8
            && found.iter().all(|text| text.starts_with("note") && text.ends_with("2 of 3 copies must be in sync")),
        "{found:?}"
    );
}

#[test]
#[ignore = "needs Kafka"]
fn a_wrong_number_of_copies_comes_with_the_reassignment_to_run() {
    let migration = empty(Log::Kafka, "");
    let name = format!("{}.quality.gates", migration.name);
    let configs = [("retention.ms".to_owned(), "2592000000".to_owned())].into();
    admin(&migration)
        .perform(&Action::CreateTopic { name: name.clone(), partitions: 2, replication: 1, configs })
        .unwrap();
    let ran = migration.run(&["provision", "apply"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    let (_, rest) = ran.stderr.split_once("{\"version\":1").expect("the reassignment");
    let (body, _) = rest.split_once("]}]}").expect("its end");
    let plan: Value = serde_json::from_str(&format!("{{\"version\":1{body}]}}]}}")).unwrap();
    assert_eq!(plan["partitions"].as_array().unwrap().len(), 2);
    assert!(plan["partitions"].as_array().unwrap().iter().all(|part| part["replicas"].as_array().unwrap().len() == 2));
    assert_eq!(looked_at(&migration).len(), 1, "nothing else was made");
    // Declared as it is, it is left.
    append(&migration, &format!("topics: {{{name}: {{replication: 1}}}}\n"));
    migration.expect(&["provision", "apply"], 0);
    let report = json(&migration.expect(&["provision", "check", "--output", "json"], 0));
    assert!(told(&report, "min-isr").iter().any(|text| text.contains(&name) && text.contains("one copy")));
}

#[test]
#[ignore = "needs Kafka"]
fn what_would_lose_events_fails_the_check() {
    let migration = empty(Log::Kafka, "planned: {days: 2}\n");
    migration.expect(&["provision", "apply"], 0);
    let report = json(&migration.expect(&["provision", "check", "--output", "json"], 0));
    assert!(told(&report, "retention").iter().all(|text| text.starts_with("note")), "{report:#}");
    let store = format!("{}.session.events", migration.name);
    let gates = format!("{}.quality.gates", migration.name);
    let set = |name: &str, configs: &[(&str, &str)]| {
        let set = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        admin(&migration).perform(&Action::AlterConfigs { name: name.to_owned(), set, reset: Vec::new() }).unwrap();
    };
    set(&store, &[("retention.ms", "86400000"), ("cleanup.policy", "compact,delete")]);
    set(
        &gates,
        &[("unclean.leader.election.enable", "true"), ("min.insync.replicas", "3"), ("retention.ms", "3600000")],
    );
    let report = json(&migration.expect(&["provision", "check", "--output", "json"], 1));
    for (code, severity, subject, text) in [
        ("retention", "failure", &store, "rebuilt"),
        ("cleanup-policy", "failure", &store, "newest event of each"),
        ("unclean-election", "failure", &gates, "lost"),
        ("min-isr", "failure", &gates, "nothing can be written"),
        ("retention", "warning", &gates, "planned for 2"),
        ("drift", "failure", &store, "cleanup.policy"),
        ("drift", "failure", &gates, "retention.ms 3600000 → 2592000000"),
    ] {
        let found = told(&report, code);
        let fits =
            |found: &&String| found.starts_with(severity) && found.contains(subject.as_str()) && found.contains(text);
        assert!(found.iter().any(|found| fits(&found)), "{code} of {subject}: {found:#?}");
    }
    // Raised limits are safe, and so is the way back.
    migration.expect(&["provision", "apply"], 0);
    let report = json(&migration.expect(&["provision", "check", "--output", "json"], 1));
    assert!(told(&report, "drift").iter().all(|text| text.starts_with("note")), "what was declared is mended");
    assert_eq!(told(&report, "unclean-election").iter().filter(|text| text.starts_with("failure")).count(), 1);
}
