//! One impossible entry anywhere: the home is as it was, and the entry is told with its place.

use crossfade::plan::Action;

use crate::support::cli::{Log, Migration};
use crate::support::flow::on_both_logs;
use crate::support::provision::{admin, append, empty, looked_at};

on_both_logs!(an_impossible_entry_anywhere_leaves_the_home_as_it_was);

const TOPICS: [&str; 6] = [
    "agent.tasks.manager",
    "agent.tasks.worker",
    "session.events",
    "monitoring.events",
    "quality.gates",
    "analytics.aggregated",
];

fn an_impossible_entry_anywhere_leaves_the_home_as_it_was(log: Log) {
    for impossible in TOPICS {
        let migration = empty(log, "");
        if log == Log::Embedded {
            // The log's file is made by the first apply; an empty one is what there is before.
            crossfade::embedded::EmbeddedLog::open(&migration.path(".crossfade/log.db"), true).unwrap();
        }
        let name = format!("{}.{impossible}", migration.name);
        let configs = [("segment.ms".to_owned(), "3600000".to_owned())].into();
        admin(&migration)
            .perform(&Action::CreateTopic { name: name.clone(), partitions: 20, replication: 2, configs })
            .unwrap();
        let before = looked_at(&migration);
        let ran = migration.run(&["provision", "apply"]);
        assert_eq!(ran.code, Some(3), "{}", ran.stderr);
        assert!(ran.stderr.contains("partitions-cannot-shrink") && ran.stderr.contains(&name), "{}", ran.stderr);
        assert!(ran.stderr.contains("of another name"), "the way round is told: {}", ran.stderr);
        assert_eq!(looked_at(&migration), before);
        let plan = migration.expect(&["provision", "plan", "-o", "plan.json"], 0);
        assert!(plan.contains("IMPOSSIBLE"), "{plan}");
        assert_eq!(migration.run(&["provision", "apply", "plan.json"]).code, Some(3));
        assert_eq!(looked_at(&migration), before);
    }
}

#[track_caller]
fn refused(migration: &Migration, yaml: &str, code: i32, told: &[&str]) {
    let path = migration.path("crossfade.yaml");
    let before = std::fs::read_to_string(&path).unwrap();
    append(migration, yaml);
    let ran = migration.run(&["provision", "apply"]);
    assert_eq!(ran.code, Some(code), "{yaml}\n{}", ran.stderr);
    for part in told {
        assert!(ran.stderr.contains(part), "{yaml}\n'{part}' is not in\n{}", ran.stderr);
    }
    assert!(ran.stderr.lines().count() < 12, "a short answer\n{}", ran.stderr);
    std::fs::write(path, before).unwrap();
}

#[test]
fn wrong_fields_are_told_with_line_and_column() {
    let migration = empty(Log::Embedded, "");
    for (yaml, told) in [
        ("topics: {a: {partitons: 3}}\n", &["crossfade.yaml:", "partitons", "did you mean 'partitions'?"][..]),
        ("topics: {a: {partitions: 0}}\n", &["crossfade.yaml:6:", "at least 1"]),
        ("topics: {a: {partitions: many}}\n", &["crossfade.yaml:6:", "number"]),
        ("topics: {a: {replication: -1}}\n", &["crossfade.yaml:6:", "at least 1"]),
        ("topics: {a: {state: gone}}\n", &["crossfade.yaml:6:", "present or absent"]),
        ("topics: {a: {undeclared: drop}}\n", &["crossfade.yaml:6:", "keep or reset"]),
        ("topics: {a: {partitions: 1}, a: {partitions: 2}}\n", &["crossfade.yaml:6:", "duplicate"]),
        ("topics: {'a b': {partitions: 1}}\n", &["crossfade.yaml:6:", "' '"]),
        ("topics: {__a: {partitions: 1}}\n", &["crossfade.yaml:6:", "brokers' own"]),
        ("topics: []\n", &["crossfade.yaml:6:"]),
        ("planned: {days: 0}\n", &["crossfade.yaml:6:", "at least 1"]),
        ("planned: {day: 3}\n", &["crossfade.yaml:6:", "did you mean 'days'?"]),
        (
            "log: {kafka: {bootstrap: ['127.0.0.1:1'], roles: {replayr: {user: x}}}}\n",
            &["crossfade.yaml:6:", "replayr", "did you mean 'replayer'?"],
        ),
        (
            "log: {kafka: {bootstrap: ['127.0.0.1:1'], roles: {replayer: {user: 'User:x'}}}}\n",
            &["crossfade.yaml:6:", "without 'User:'"],
        ),
        (
            "log: {kafka: {bootstrap: ['127.0.0.1:1'], roles: {replayer: {user: x, quotas: {bytes: 1}}}}}\n",
            &["crossfade.yaml:6:", "no quota 'bytes'", "producer_byte_rate"],
        ),
        ("log: {kafka: {bootstrap: ['127.0.0.1:1'], replication: 0}}\n", &["crossfade.yaml:6:", "at least 1"]),
    ] {
        refused(&migration, yaml, 2, told);
    }
    assert!(!migration.path(".crossfade").exists());
}

#[test]
#[ignore = "needs Kafka"]
fn what_the_cluster_cannot_have_is_refused_whole() {
    let migration = empty(Log::Kafka, "");
    let prefix = migration.name.clone();
    let admin = admin(&migration);
    let configs = Default::default();
    let taken = format!("{prefix}.taken.name");
    admin.perform(&Action::CreateTopic { name: taken, partitions: 1, replication: 1, configs }).unwrap();
    let topic = |fields: &str| format!("topics: {{{prefix}.x: {{{fields}}}}}\n");
    let cases = [
        (topic("replication: 9"), &["too-few-brokers", "9 copies", "3 brokers"][..]),
        (
            topic("configs: {retention.mss: '1'}"),
            &["crossfade.yaml:8:", "retention.mss", "did you mean 'retention.ms'?"],
        ),
        (topic("configs: {retention.ms: soon}"), &["broker-refuses", "retention.ms", "soon"]),
        (topic("configs: {cleanup.policy: shred}"), &["broker-refuses", "cleanup.policy", "shred"]),
        (
            topic("configs: {min.insync.replicas: '9'}"),
            &["min-isr-above-replication", "no record could ever be written"],
        ),
        (format!("topics: {{{prefix}.taken_name: {{partitions: 1}}}}\n"), &["topic-name-collides", "taken.name"]),
        (format!("topics: {{{prefix}.session.events: {{state: absent}}}}\n"), &[]),
        (
            format!("topics: {{{prefix}.session.events: {{configs: {{cleanup.policy: compact}}}}}}\n"),
            &["event-store-compacted"],
        ),
    ];
    for (yaml, told) in cases {
        if told.is_empty() {
            continue;
        }
        refused(&migration, &yaml, 3, told);
        assert_eq!(looked_at(&migration).len(), 1, "{yaml}");
    }
    // Once it is there, the event store cannot be wished away.
    migration.expect(&["provision", "apply"], 0);
    let gone = format!("topics: {{{prefix}.session.events: {{state: absent}}}}\n");
    refused(&migration, &gone, 3, &["topic-needed"]);
    assert_eq!(looked_at(&migration).len(), 9);
}
