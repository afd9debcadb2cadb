//! `apply` killed at every step the plan has, at every durable point of the step: on Kafka at each step and at each point
//! once, at every point of every step in the long lane.

use crossfade::plan::Plan;

use crate::support::cli::{Log, Migration};
use crate::support::crash::Child;
use crate::support::flow::{json, on_both_logs};
use crate::support::provision::{append, empty, looked_at};

on_both_logs!(
    i08_apply_killed_at_every_step_goes_on_to_the_same_end,
    i08_a_plan_file_killed_at_every_step_goes_on_and_is_not_stale,
);

/// What a step passes, in order.
const POINTS: [&str; 4] = ["journal.announced", "provision.step-made", "provision.step-seen", "journal.done"];

/// A plan with every kind of step: topics to make, one to grow, configs to set, and one to delete.
fn prepared(log: Log) -> (Migration, Vec<String>) {
    let migration = empty(log, "");
    let prefix = &migration.name;
    let yaml = std::fs::read_to_string(migration.path("crossfade.yaml")).unwrap();
    append(&migration, &format!("topics:\n  {prefix}.old: {{partitions: 1, replication: 1}}\n"));
    migration.expect(&["provision", "apply"], 0);
    let text = format!(
        "{yaml}topics:\n  {prefix}.old: {{state: absent}}\n  {prefix}.new: {{partitions: 2, replication: 1}}\n  \
         {prefix}.quality.gates: {{partitions: 4, configs: {{segment.ms: '7200000'}}}}\n"
    );
    std::fs::write(migration.path("crossfade.yaml"), text).unwrap();
    let flags = ["--allow", "partitions-added", "--allow", "topic-delete", "--confirm"];
    let mut args: Vec<String> = flags.map(str::to_owned).into();
    args.extend([format!("{prefix}.quality.gates"), "--confirm".to_owned(), format!("{prefix}.old")]);
    (migration, args)
}

fn steps(migration: &Migration) -> Plan {
    let text = migration.expect(&["provision", "plan", "--output", "json"], 0);
    Plan::parse("plan", &text).unwrap()
}

fn kill(migration: &Migration, args: &[String], point: &str, nth: usize) {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let mut command = migration.command(&args);
    command.env("CROSSFADE_STOP_AT", format!("{point}:{nth}"));
    Child::at(command, point).kill();
}

fn shape(migration: &Migration) -> Vec<(String, usize)> {
    let found = looked_at(migration);
    let names = found.iter().map(|(name, topic)| (name.replace(&migration.name, ""), topic.partitions.len()));
    let mut shape: Vec<_> = names.collect();
    shape.sort();
    shape
}

/// Meetings of a point: the act itself announces and ends as a step does.
fn nth(point: &str, step: usize) -> usize {
    if point == "journal.announced" { step + 2 } else { step + 1 }
}

fn i08_apply_killed_at_every_step_goes_on_to_the_same_end(log: Log) {
    let first = &POINTS[1..];
    match log {
        Log::Embedded => first.iter().for_each(|point| apply_killed_at(log, |_| point)),
        Log::Kafka => apply_killed_at(log, |step| first[step % first.len()]),
    }
    // From nothing, the tool's own topics first: they are made before there is a lock.
    let migration = empty(log, "");
    for left in (1..=15).rev() {
        assert_eq!(steps(&migration).steps.len(), left);
        kill(&migration, &["provision", "apply"].map(str::to_owned), "provision.step-made", 1);
    }
    migration.expect(&["provision", "plan", "--exit-code"], 0);
    migration.expect(&["provision", "apply"], 0);
    migration.expect(&["provision", "check"], 0);
}

/// One migration, killed at its first step, run again and killed at what is then the first, until none is left.
fn apply_killed_at<'a>(log: Log, point: impl Fn(usize) -> &'a str) {
    let (migration, flags) = prepared(log);
    let apply: Vec<String> = ["provision", "apply"].map(str::to_owned).into_iter().chain(flags).collect();
    for step in 0..4 {
        assert_eq!(steps(&migration).steps.len(), 4 - step);
        kill(&migration, &apply, point(step), 1);
    }
    assert_end(&migration);
}

fn i08_a_plan_file_killed_at_every_step_goes_on_and_is_not_stale(log: Log) {
    for (place, point) in POINTS.into_iter().enumerate() {
        for step in (0..4).filter(|step| log == Log::Embedded || *step == place) {
            plan_file_killed_at(log, point, step);
        }
    }
}

#[test]
#[ignore = "needs Kafka"]
fn campaign_provision_killed_at_every_point_of_every_step_on_kafka() {
    POINTS[1..].iter().for_each(|point| apply_killed_at(Log::Kafka, |_| point));
    for point in POINTS {
        (0..4).for_each(|step| plan_file_killed_at(Log::Kafka, point, step));
    }
    println!("campaign: campaign_provision_killed_at_every_point_of_every_step_on_kafka seeds=1 kills=28");
}

fn plan_file_killed_at(log: Log, point: &str, step: usize) {
    let (migration, flags) = prepared(log);
    let planned = json(&migration.expect(&["provision", "plan", "-o", "plan.json", "--output", "json"], 0));
    assert_eq!(planned["steps"].as_array().unwrap().len(), 4);
    let apply: Vec<String> = ["provision", "apply", "plan.json"].map(str::to_owned).into_iter().chain(flags).collect();
    kill(&migration, &apply, point, nth(point, step));
    let made = if point == "journal.announced" { step } else { step + 1 };
    assert_eq!(steps(&migration).steps.len(), 4 - made, "{point} of step {step}");
    let args: Vec<&str> = apply.iter().map(String::as_str).collect();
    migration.expect(&args, 0);
    assert_end(&migration);
}

fn assert_end(migration: &Migration) {
    migration.expect(&["provision", "plan", "--exit-code"], 0);
    let expected = [
        (".agent.tasks.manager", 3),
        (".agent.tasks.worker", 3),
        (".analytics.aggregated", 6),
        (".monitoring.events", 12),
        (".new", 2),
        (".quality.gates", 4),
        (".session.events", 6),
        ("crossfade..checkpoints", 32),
        ("crossfade..flags", 1),
    ];
    assert_eq!(shape(migration), expected.map(|(name, count)| (name.to_owned(), count)));
    migration.expect(&["journal", "verify"], 0);
}
