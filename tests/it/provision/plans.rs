//! Plans made and applied, on both logs: from nothing, from a file, imported, and after somebody else.

use crossfade::plan::{Action, Plan};
use serde_json::Value;

use crate::support::cli::{Log, Migration};
use crate::support::flow::{json, on_both_logs};
use crate::support::provision::{admin, append, empty, looked_at};

on_both_logs!(
    from_nothing_to_the_plan_and_a_second_apply_has_nothing_to_do,
    what_is_imported_plans_to_nothing,
    i07_plan_check_and_import_change_nothing,
    a_change_by_someone_else_between_plan_and_apply_is_refused,
    a_plan_for_other_wishes_is_refused,
    a_topic_made_by_hand_survives_every_command,
    partitions_are_added_with_the_flag_and_the_name_only,
    a_topic_is_deleted_with_the_flag_and_the_name_only,
    configs_are_set_one_by_one_and_taken_back_when_asked,
);

/// Partitions by the topic's name, without the migration's prefix.
const SHAPE: [(&str, usize); 8] = [
    ("agent.tasks.manager", 3),
    ("agent.tasks.worker", 3),
    ("analytics.aggregated", 6),
    ("crossfade.checkpoints", 32),
    ("crossfade.flags", 1),
    ("monitoring.events", 12),
    ("quality.gates", 2),
    ("session.events", 6),
];

fn from_nothing_to_the_plan_and_a_second_apply_has_nothing_to_do(log: Log) {
    let migration = empty(log, "");
    let plan = json(&migration.expect(&["provision", "plan", "--output", "json"], 0));
    assert_eq!(plan["steps"].as_array().unwrap().len(), 15, "eight topics, their claims and six schemas");
    migration.expect(&["provision", "plan", "--exit-code"], 1);
    let applied = json(&migration.expect(&["provision", "apply", "--output", "json"], 0));
    let items = applied["items"].as_array().unwrap();
    assert!(items.len() == 15 && items.iter().all(|item| item["result"] == "done"), "{applied}");

    let found = looked_at(&migration);
    let mut shape: Vec<(String, usize)> = found
        .iter()
        .map(|(name, topic)| (name.replace(&format!("{}.", migration.name), ""), topic.partitions.len()))
        .collect();
    shape.sort();
    assert_eq!(shape, SHAPE.map(|(name, partitions)| (name.to_owned(), partitions)));
    if log == Log::Kafka {
        let copies =
            |topic: &crossfade::plan::FoundTopic| topic.partitions.iter().all(|found| found.replicas.len() == 2);
        assert!(found.values().all(copies), "{found:?}");
    }
    migration.expect(&["provision", "plan", "--exit-code"], 0);
    let again = json(&migration.expect(&["provision", "apply", "--output", "json"], 0));
    assert_eq!(again["items"], serde_json::json!([]));
    assert_eq!(looked_at(&migration), found);
    let check = json(&migration.expect(&["provision", "check", "--output", "json"], 0));
    assert_eq!(check["verdict"], "PASS", "{check:#}");
}

fn what_is_imported_plans_to_nothing(log: Log) {
    let migration = empty(log, "");
    migration.expect(&["provision", "apply"], 0);
    let foreign = format!("{}.made-by-hand", migration.name);
    create(&migration, &foreign, 3, &[("segment.ms", "3600000"), ("cleanup.policy", "compact,delete")]);
    let yaml = migration.expect(&["provision", "import", "--prefix", &migration.name], 0);
    assert!(yaml.contains(&foreign) && yaml.contains("3600000"), "{yaml}");
    append(&migration, &yaml);
    let plan = json(&migration.expect(&["provision", "plan", "--exit-code", "--output", "json"], 0));
    assert_eq!(plan["steps"], serde_json::json!([]), "{plan:#}");
    migration.expect(&["provision", "check"], 0);
}

fn i07_plan_check_and_import_change_nothing(log: Log) {
    let migration = empty(log, "");
    let files = || -> Vec<_> {
        let mut names: Vec<_> =
            std::fs::read_dir(migration.folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        names
    };
    let before = files();
    migration.expect(&["provision", "plan"], 0);
    migration.expect(&["provision", "check"], 1);
    migration.expect(&["provision", "import"], 0);
    assert_eq!(files(), before, "a look leaves no file behind");
    assert!(log == Log::Embedded || looked_at(&migration).is_empty());
}

fn a_change_by_someone_else_between_plan_and_apply_is_refused(log: Log) {
    let migration = empty(log, "");
    migration.expect(&["provision", "apply"], 0);
    append(
        &migration,
        &format!("topics: {{{}.quality.gates: {{configs: {{segment.ms: '7200000'}}}}}}\n", migration.name),
    );
    migration.expect(&["provision", "plan", "-o", "plan.json"], 0);
    // Another config of the same topic, which the plan would not even touch.
    let name = format!("{}.quality.gates", migration.name);
    let set = [("retention.bytes".to_owned(), "1000000000".to_owned())].into();
    admin(&migration).perform(&Action::AlterConfigs { name: name.clone(), set, reset: Vec::new() }).unwrap();
    let before = looked_at(&migration);
    let ran = migration.run(&["provision", "apply", "plan.json"]);
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(ran.stderr.contains(&name) && ran.stderr.contains("changed since the plan was made"), "{}", ran.stderr);
    assert_eq!(looked_at(&migration), before);
    migration.expect(&["provision", "plan", "-o", "plan.json"], 0);
    migration.expect(&["provision", "apply", "plan.json"], 0);
    migration.expect(&["provision", "apply", "plan.json"], 0);
}

fn a_plan_for_other_wishes_is_refused(log: Log) {
    let migration = empty(log, "");
    migration.expect(&["provision", "plan", "-o", "plan.json"], 0);
    append(&migration, &format!("topics: {{{}.quality.gates: {{partitions: 4}}}}\n", migration.name));
    let ran = migration.run(&["provision", "apply", "plan.json"]);
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(ran.stderr.contains("has changed since the plan was made"), "{}", ran.stderr);

    let other = empty(log, "");
    std::fs::copy(migration.path("plan.json"), other.path("plan.json")).unwrap();
    let ran = other.run(&["provision", "apply", "plan.json"]);
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(ran.stderr.contains(&migration.name), "{}", ran.stderr);

    // The same wishes of another cluster.
    migration.expect(&["provision", "apply"], 0);
    migration.expect(&["provision", "plan", "-o", "new.json"], 0);
    let text = std::fs::read_to_string(migration.path("new.json")).unwrap();
    let mut plan = Plan::parse("new.json", &text).unwrap();
    plan.cluster_id = "another".to_owned();
    std::fs::write(migration.path("new.json"), serde_json::to_string(&plan).unwrap()).unwrap();
    let ran = migration.run(&["provision", "apply", "new.json"]);
    assert_eq!(ran.code, Some(4), "{}", ran.stderr);
    assert!(ran.stderr.contains("made for the cluster 'another'"), "{}", ran.stderr);
}

fn a_topic_made_by_hand_survives_every_command(log: Log) {
    let migration = empty(log, "");
    let name = format!("{}.made-by-hand", migration.name);
    if log == Log::Embedded {
        migration.expect(&["provision", "apply"], 0);
    }
    create(&migration, &name, 2, &[("segment.ms", "3600000"), ("retention.ms", "86400000")]);
    let before = looked_at(&migration)[&name].clone();
    migration.expect(&["provision", "plan"], 0);
    migration.expect(&["provision", "apply"], 0);
    migration.expect(&["provision", "apply"], 0);
    migration.expect(&["provision", "check", "--probe", "--rounds", "2"], 0);
    migration.expect(&["provision", "import"], 0);
    // Declared with one key only, it keeps the others, which are told.
    append(&migration, &format!("topics: {{{name}: {{partitions: 2, configs: {{segment.ms: '3600000'}}}}}}\n"));
    migration.expect(&["provision", "apply"], 0);
    let check = json(&migration.expect(&["provision", "check", "--output", "json"], 0));
    let told = |check: &&Value| check["code"] == "unmanaged" && check["subject"] == *name;
    let told: Vec<&Value> = check["checks"].as_array().unwrap().iter().filter(told).collect();
    assert!(told.len() == 1 && told[0]["text"].as_str().unwrap().contains("retention.ms=86400000"), "{told:?}");
    assert_eq!(looked_at(&migration)[&name], before);
}

fn partitions_are_added_with_the_flag_and_the_name_only(log: Log) {
    let migration = empty(log, "");
    migration.expect(&["provision", "apply"], 0);
    let name = format!("{}.quality.gates", migration.name);
    append(&migration, &format!("topics: {{{name}: {{partitions: 5}}}}\n"));
    let before = looked_at(&migration);
    for args in [
        &[][..],
        &["--allow", "partitions-added"],
        &["--confirm", &name],
        &["--allow", "partitions-added", "--confirm", "other"],
    ] {
        let ran = migration.run(&[&["provision", "apply"], args].concat());
        assert_eq!(ran.code, Some(3), "{args:?}\n{}", ran.stderr);
        assert!(ran.stderr.contains("--confirm") && ran.stderr.contains(&name), "{}", ran.stderr);
        assert_eq!(looked_at(&migration), before);
    }
    let plan = migration.expect(&["provision", "plan"], 0);
    assert!(plan.contains("order is lost") && plan.contains("FINAL"), "{plan}");
    migration.expect(&["provision", "apply", "--allow", "partitions-added", "--confirm", &name], 0);
    assert_eq!(looked_at(&migration)[&name].partitions.len(), 5);
    migration.expect(&["provision", "plan", "--exit-code"], 0);
}

fn a_topic_is_deleted_with_the_flag_and_the_name_only(log: Log) {
    let migration = empty(log, "");
    migration.expect(&["provision", "apply"], 0);
    let name = format!("{}.made-by-hand", migration.name);
    create(&migration, &name, 1, &[]);
    append(&migration, &format!("topics: {{{name}: {{state: absent}}}}\n"));
    for args in [&[][..], &["--allow", "topic-delete"], &["--confirm", &name]] {
        let ran = migration.run(&[&["provision", "apply"], args].concat());
        assert_eq!(ran.code, Some(3), "{args:?}\n{}", ran.stderr);
        assert!(looked_at(&migration).contains_key(&name));
    }
    migration.expect(&["provision", "apply", "--allow", "topic-delete", "--confirm", &name], 0);
    assert!(!looked_at(&migration).contains_key(&name));
    migration.expect(&["provision", "plan", "--exit-code"], 0);
}

fn configs_are_set_one_by_one_and_taken_back_when_asked(log: Log) {
    let migration = empty(log, "");
    migration.expect(&["provision", "apply"], 0);
    let name = format!("{}.quality.gates", migration.name);
    let set = [("segment.ms".to_owned(), "7200000".to_owned())].into();
    admin(&migration).perform(&Action::AlterConfigs { name: name.clone(), set, reset: Vec::new() }).unwrap();
    let yaml = std::fs::read_to_string(migration.path("crossfade.yaml")).unwrap();
    append(&migration, &format!("topics: {{{name}: {{configs: {{max.message.bytes: '500000'}}}}}}\n"));
    let own = |name: &str| -> Vec<String> {
        let found = looked_at(&migration)[name].clone();
        let entries = found.configs.known().unwrap().iter();
        let own = entries.filter(|(_, entry)| entry.source == crossfade::plan::Source::Topic);
        own.map(|(key, entry)| format!("{key}={}", entry.value.as_deref().unwrap()))
            .filter(|text| !text.starts_with("min."))
            .collect()
    };
    migration.expect(&["provision", "apply", "--allow", "record-size-lowered"], 0);
    assert_eq!(
        own(&name),
        ["cleanup.policy=delete", "max.message.bytes=500000", "retention.ms=2592000000", "segment.ms=7200000"]
    );
    std::fs::write(migration.path("crossfade.yaml"), format!("{yaml}topics: {{{name}: {{undeclared: reset}}}}\n"))
        .unwrap();
    migration.expect(&["provision", "apply"], 0);
    assert_eq!(own(&name), ["cleanup.policy=delete", "retention.ms=2592000000"]);
}

/// As another tool would.
fn create(migration: &Migration, name: &str, partitions: i32, configs: &[(&str, &str)]) {
    let configs = configs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    admin(migration)
        .perform(&Action::CreateTopic { name: name.to_owned(), partitions, replication: 1, configs })
        .unwrap();
}
