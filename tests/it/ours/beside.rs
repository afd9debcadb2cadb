//! Two migrations with the same topics on one log.

use crate::support::cli::Log;
use crate::support::flow::{bring_over, confirmed_pass, diff, events, execute, json, on_both_logs, run_all};

use super::{two, unclaimed};

on_both_logs!(i14_two_migrations_in_the_same_topics_leave_each_others_rows_alone);

fn i14_two_migrations_in_the_same_topics_leave_each_others_rows_alone(log: Log) {
    let both = two(log, "");
    let (log, mapping) = unclaimed(&both);
    for migration in &both {
        run_all(migration, &[&["replay"]]);
    }
    let written = events(log.as_ref(), &mapping).len() as u64;
    for migration in &both {
        let told = json(&migration.expect(&["project", "--output", "json"], 0));
        let (applied, foreign) = (told["applied"].as_u64().unwrap(), told["foreign"].as_u64().unwrap());
        assert!(applied > 0 && foreign > 0 && applied + foreign == written, "{told}");
        confirmed_pass(migration);
    }

    // What differs is named by an event of its own, not of the other's.
    for (number, migration) in both.iter().enumerate() {
        execute(&migration.legacy(), "UPDATE messages SET content = 'later' WHERE id = (SELECT min(id) FROM messages)");
        migration.expect(&["project"], 0);
        let report = diff(migration, &[], 1);
        let event = &report["samples"][0]["event"];
        let named = events(log.as_ref(), &mapping).into_iter().find(|seen| {
            seen.topic == event["topic"] && seen.partition == event["partition"] && seen.offset == event["offset"]
        });
        assert!(named.unwrap().source.starts_with(&both[number].name), "{report:#}");
        bring_over(migration);
    }

    // A reconcile has nothing to say of the other's rows.
    for migration in &both {
        let told = json(&migration.expect(&["replay", "--output", "json"], 0));
        let nothing = serde_json::json!({"inserted": 0, "updated": 0, "deleted": 0});
        assert_eq!(told["reconciled"], nothing, "{told}");
    }
    assert_eq!(events(log.as_ref(), &mapping).len() as u64, written + 2);
    let [one, other] = &both;
    one.expect(&["project", "--snapshot", "fold.snap"], 0);
    other.expect(&["project", "--restore", one.path("fold.snap").to_str().unwrap()], 4);
    for migration in &both {
        run_all(migration, &[&["project"]]);
        confirmed_pass(migration);
        assert_eq!(diff(migration, &["--from-log"], 0)["verdict"], "PASS");
        migration.expect(&["project", "--rebuild"], 0);
        confirmed_pass(migration);
    }
}
