//! `topics.prefix`: a rehearsal beside the real migration.

use crate::support::cli::{Log, Ran};
use crate::support::flow::{
    FLOW, bring_over, confirmed_pass, diff, execute, json, mapping, on_both_logs, open_log, run_all,
};
use crate::support::provision::append;

use super::two;

on_both_logs!(i14_with_a_prefix_two_migrations_of_one_mapping_do_not_meet);

fn i14_with_a_prefix_two_migrations_of_one_mapping_do_not_meet(log: Log) {
    let both = two(log, "topics:\n  prefix: rehearsal.\n");
    let [real, rehearsal] = &both;
    for migration in &both {
        run_all(migration, &FLOW);
    }
    for migration in &both {
        confirmed_pass(migration);
        execute(&migration.legacy(), "DELETE FROM messages WHERE id = (SELECT min(id) FROM messages)");
        bring_over(migration);
        assert_eq!(diff(migration, &["--from-log"], 0)["verdict"], "PASS");
        let told = json(&migration.expect(&["project", "--rebuild", "--output", "json"], 0));
        assert_eq!(told["foreign"], 0, "{told}");
        migration.expect(&["provision", "check"], 0);
        migration.expect(&["provision", "plan", "--exit-code"], 0);
    }

    // The same topics under other names; schemas and contract follow.
    let topics = open_log(real).topics().unwrap();
    let mapping = mapping(real);
    for topic in &mapping.topics {
        let other = format!("rehearsal.{}", topic.name);
        assert_eq!(topics.get(&other), topics.get(&topic.name), "{topics:?}");
        let contract = rehearsal.expect(&["contract", "export"], 0);
        assert!(contract.contains(&other), "{other}: {contract}");
    }
    let subjects = |migration: &crate::support::cli::Migration| -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(migration.path("schemas"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let prefixed: Vec<String> = subjects(real).iter().map(|name| format!("rehearsal.{name}")).collect();
    assert_eq!(subjects(rehearsal), prefixed);
}

#[test]
fn a_topic_of_the_config_is_named_without_the_prefix_and_an_import_leaves_it_off() {
    let [migration, _] = two(Log::Embedded, "");
    append(&migration, "topics:\n  session.events: {partitions: 2}\n  notes: {partitions: 1}\n");
    let with = |args: &[&str]| {
        let mut command = migration.command(args);
        command.env("CROSSFADE_TOPICS_PREFIX", "dry_");
        let ran = Ran::of(command.output().unwrap());
        assert_eq!(ran.code, Some(0), "{args:?}: {}", ran.stderr);
        ran.stdout
    };
    // Migration::acc names the mapping's topics by the migration; this one is beside them.
    with(&["provision", "apply"]);
    let topics = open_log(&migration).topics().unwrap();
    assert_eq!((topics.get("dry_session.events"), topics.get("dry_notes")), (Some(&2), Some(&1)), "{topics:?}");
    let own = format!("crossfade.{}.", migration.name);
    assert!(
        topics.keys().all(|name| name.starts_with("dry_") || name.starts_with(&own) || name == "crossfade.topics"),
        "{topics:?}"
    );
    let yaml = with(&["provision", "import"]);
    assert!(yaml.starts_with("topics:\n  prefix: \"dry_\"\n") && yaml.contains("  \"notes\":\n"), "{yaml}");
    let config = json(&with(&["config", "--output", "json"]));
    let settings = config["settings"].as_array().unwrap();
    let setting = settings.iter().find(|setting| setting["name"] == "topics.prefix").unwrap();
    assert_eq!(setting["origin"], "environment CROSSFADE_TOPICS_PREFIX", "{config}");
}
