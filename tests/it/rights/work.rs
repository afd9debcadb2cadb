//! The work of each role through the built binary, and the work of others, which it is denied.

use std::collections::BTreeMap;
use std::process::{Child, Command};

use crossfade::demo::Sizes;
use crossfade::event::Op;
use crossfade::kafka::{KafkaLog, KafkaSettings};
use crossfade::port::event_log::{EventLog, checkpoint_topic};

use super::{ROLES, config_of, expect, provisioned, run};
use crate::reverse::sqlite::{message, sessions};
use crate::support::acc::{TABLES, assert_same_rows};
use crate::support::cli::{Migration, Ran};
use crate::support::flow::{MIDDLE, column, execute, json, mapping, started};
use crate::support::gateway::Gateway;
use crate::support::secure::{folder, settings};

/// Stops a run as Ctrl-C does.
fn stop(child: Child) -> Ran {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    Ran::of(child.wait_with_output().unwrap())
}

#[track_caller]
fn passes(migration: &Migration, args: &[&str]) {
    let report = json(&expect(migration, "verifier", &[&["diff", "--output", "json"], args].concat(), 0).stdout);
    assert_eq!(report["verdict"], "PASS");
    let rows: u64 = assert_same_rows(&migration.legacy(), &migration.projection(), &TABLES).iter().sum();
    assert_eq!(report["totals"]["compared"], rows);
}

/// The brokers' own account, from a place on.
fn told_by_brokers(from: usize) -> String {
    let log = std::fs::read(folder().join("broker-1.log")).unwrap();
    String::from_utf8_lossy(&log[from..]).into_owned()
}

/// What the brokers denied since, of this migration or of readers that named no group of a migration.
fn denials(migration: &Migration, since: usize) -> Vec<String> {
    let of_it = |line: &String| {
        line.contains(" is Denied ") && (line.contains(&migration.name) || line.contains("Group:LITERAL:crossfade-"))
    };
    told_by_brokers(since).lines().map(str::to_owned).filter(of_it).collect()
}

#[test]
#[ignore = "needs secure Kafka"]
fn each_role_with_a_command_does_its_whole_work_and_asks_for_nothing_more() {
    let since = told_by_brokers(0).len();
    let migration = provisioned(MIDDLE);
    let config = config_of(&migration, "replayer");
    let replay = started(&migration, &["--config", &config, "replay", "--throttle", "400"], "rows");
    let stopped = stop(replay);
    assert_eq!(stopped.code, Some(130), "{}{}", stopped.stdout, stopped.stderr);
    let resumed = expect(&migration, "replayer", &["replay"], 0);
    assert!(resumed.stdout.contains("going on from an earlier run"), "{}", resumed.stdout);

    expect(&migration, "projector", &["project"], 0);
    expect(&migration, "projector", &["project", "--rebuild"], 0);
    passes(&migration, &[]);
    let status = expect(&migration, "verifier", &["status"], 0).stdout;
    assert!(status.contains("at the log's end") && status.contains("PASS"), "{status}");

    execute(&migration.legacy(), "UPDATE messages SET content = content || ' more' WHERE id % 7 = 0");
    let reconciled = expect(&migration, "replayer", &["replay"], 0).stdout;
    assert!(reconciled.contains("reconciled with the legacy: 0 inserted, "), "{reconciled}");
    assert!(!reconciled.contains(" 0 updated"), "{reconciled}");
    let config = config_of(&migration, "projector");
    let live = started(&migration, &["--config", &config, "project", "--live"], "folding events as they come");
    assert_eq!(stop(live).code, Some(130));
    let args = ["--config", &config, "project", "--live", "--shared"];
    let shared = started(&migration, &args, "folding events as they come");
    // Until it has joined its group and met what there is.
    std::thread::sleep(std::time::Duration::from_secs(6));
    assert_eq!(stop(shared).code, Some(130));
    expect(&migration, "projector", &["project"], 0);
    passes(&migration, &["--from-log"]);

    expect(&migration, "projector", &["project", "--snapshot", "fold.snap"], 0);
    std::fs::remove_file(migration.projection()).unwrap();
    expect(&migration, "projector", &["project", "--restore", "fold.snap"], 0);
    passes(&migration, &[]);
    expect(&migration, "verifier", &["replay", "--dry-run"], 0);
    assert_eq!(denials(&migration, since), Vec::<String>::new());
}

#[test]
#[ignore = "needs secure Kafka"]
fn a_gateway_takes_sessions_writes_their_events_and_asks_for_nothing_more() {
    let since = told_by_brokers(0).len();
    let migration = provisioned(Sizes::LEAST);
    expect(&migration, "replayer", &["replay"], 0);
    let of_migration = KafkaSettings { migration: Some(migration.name.clone()), ..settings("gateway") };
    let log = Box::new(KafkaLog::open(&of_migration).unwrap());
    let gateway = Gateway { name: migration.name.clone(), log, mapping: mapping(&migration) };
    let owned = &sessions(&migration)[..2];
    gateway.take("sessions", owned);
    gateway.once("messages", Op::Insert, &message(&owned[0], "by-the-gateway", 1), "one");
    expect(&migration, "projector", &["project"], 0);
    let found = column(&migration.projection(), "SELECT session_id FROM messages WHERE id = 'by-the-gateway'");
    assert_eq!(found, owned[..1]);
    assert_eq!(denials(&migration, since), Vec::<String>::new());
    let writer = format!("the writer '{}/replay' cannot be opened", migration.name);
    denied(&migration, "gateway", &["replay"], [&writer, "Write on the transactional id"]);
}

/// The ends of every partition that is there.
fn ends(migration: &Migration) -> BTreeMap<(String, i32), i64> {
    let log = KafkaLog::open(&settings("admin")).unwrap();
    let names = mapping(migration).topics.iter().map(|topic| topic.name.clone()).collect::<Vec<_>>();
    let names = names.into_iter().chain([checkpoint_topic(&migration.name)]);
    let ends = names.flat_map(|name| {
        let ends = log.ends(&name).unwrap();
        ends.into_iter().map(move |(partition, ends)| ((name.clone(), partition), ends.high))
    });
    ends.collect()
}

#[track_caller]
fn denied(migration: &Migration, user: &str, args: &[&str], says: [&str; 2]) {
    let ran = expect(migration, user, args, 3);
    for (lead, text) in ["error: ", "help: "].iter().zip(says) {
        let line = ran.stderr.lines().find(|line| line.starts_with(lead));
        assert!(line.is_some_and(|line| line.contains(text)), "{user} {args:?}: no {lead}{text:?} in\n{}", ran.stderr);
    }
    let most = if args[0] == "provision" { 14 } else { 4 };
    assert!(ran.stderr.lines().count() <= most, "a short answer\n{}", ran.stderr);
}

#[test]
#[ignore = "needs secure Kafka"]
fn a_role_is_denied_the_work_of_others_and_leaves_nothing_half_done() {
    let migration = provisioned(Sizes::LEAST);
    let journal = || json(&migration.expect(&["journal", "show", "--output", "json"], 0));
    let (before, told) = (ends(&migration), journal());
    let writer = format!("the writer '{}/operator' cannot be opened", migration.name);
    let no_writer = [writer.as_str(), "Write on the transactional id"];
    for user in ["projector", "verifier", "aggregator"] {
        denied(&migration, user, &["replay"], no_writer);
    }
    denied(&migration, "projector", &["diff"], ["how large a record of", "DescribeConfigs on the topic"]);
    denied(&migration, "projector", &["diff", "--from-log"], ["how large a record of", "DescribeConfigs on the topic"]);
    let cannot_look = ["cannot be looked up", "Describe on the topic"];
    for user in ["gates", "manager", "worker", "bridge", "nobody"] {
        for args in [&["replay"][..], &["replay", "--dry-run"], &["project"], &["diff"], &["status"]] {
            denied(&migration, user, args, cannot_look);
        }
    }
    for (_, user) in ROLES.into_iter().chain([("", "nobody")]) {
        denied(
            &migration,
            user,
            &["provision", "apply"],
            ["so nothing was done", "run it as one who manages the cluster"],
        );
        let plan = expect(&migration, user, &["provision", "plan"], 0).stdout;
        assert!(plan.contains("access-hidden"), "{user}: {plan}");
        for drift in ["topic-missing", "config-missing", "config-differs"] {
            assert!(!plan.contains(drift), "{user} sees what is not so: {plan}");
        }
        assert!(plan.contains("topic-hidden"), "{user}: {plan}");
        let check = expect(&migration, user, &["provision", "check"], 5).stdout;
        assert!(check.contains("INCONCLUSIVE") && check.contains("the access rules cannot be read"), "{user}: {check}");
        assert!(check.contains("whether the topic exists is not known"), "{user}: {check}");
    }
    let probe = run(&migration, "replayer", &["provision", "check", "--probe"]);
    assert_eq!(probe.code, Some(3), "{}{}", probe.stdout, probe.stderr);
    assert!(probe.stderr.contains(&format!("{}/probe", migration.name)), "{}", probe.stderr);
    assert!(!denials(&migration, 0).is_empty());
    assert_eq!(ends(&migration), before);
    assert!(!migration.projection().exists());
    let acts = |journal: &serde_json::Value| {
        let mut entries = journal["entries"].as_array().unwrap().clone();
        entries.retain(|entry| entry["act"] != "provision check --probe");
        entries
    };
    assert_eq!(acts(&journal()), acts(&told));
}

#[test]
#[ignore = "needs secure Kafka"]
fn who_may_not_join_the_projectors_is_told_the_right_and_makes_no_store() {
    let migration = provisioned(Sizes::LEAST);
    let shared = ["project", "--live", "--shared", "--quiet"];
    denied(&migration, "verifier", &shared, ["the group cannot be joined", "Read on the group"]);
    assert!(!migration.projection().exists());
}
