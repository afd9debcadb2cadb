//! Whose a topic is: claimed by provision, looked at by every writer.

use std::sync::Barrier;

use crossfade::base::Kind;
use crossfade::mapping::Use;
use crossfade::plan::Action;
use crossfade::port::claims;
use crossfade::port::event_log::Topic;

use crate::support::cli::{Log, Migration};
use crate::support::flow::{FLOW, confirmed_pass, events, json, mapping, on_both_logs, open_log, run_all};
use crate::support::provision::{admin, described};

use super::{two, unclaimed};

on_both_logs!(
    i14_a_topic_of_another_migration_is_refused_by_plans_and_writers,
    i14_of_two_that_claim_a_topic_at_once_one_gets_it,
    i14_a_topic_made_anew_is_nobodys_and_a_given_up_one_can_be_claimed,
    topics_of_an_older_version_are_claimed_unless_events_of_another_lie_in_them,
);

/// Runs, asserts the code, and that the other migration is named.
#[track_caller]
fn refused(migration: &Migration, args: &[&str], code: i32, other: &str) {
    let ran = migration.run(args);
    assert_eq!(ran.code, Some(code), "{args:?}: {}{}", ran.stdout, ran.stderr);
    let named = format!("the migration '{other}'");
    assert!(ran.stdout.contains(&named) || ran.stderr.contains(&named), "{args:?}: {}{}", ran.stdout, ran.stderr);
}

fn i14_a_topic_of_another_migration_is_refused_by_plans_and_writers(log: Log) {
    let both = two(log, "");
    let [one, other] = &both;
    run_all(one, &FLOW);
    let (log, mapping) = (open_log(one), mapping(one));
    let written = events(log.as_ref(), &mapping).len();
    let before = described(admin(one).as_ref(), &other.name);
    refused(other, &["provision", "plan"], 0, &one.name);
    refused(other, &["provision", "apply"], 3, &one.name);
    assert_eq!(described(admin(one).as_ref(), &other.name), before, "nothing was made");
    refused(other, &["provision", "check", "--output", "json"], 1, &one.name);

    // As if its own topics were there from before: no writer begins.
    unclaimed(&both);
    for args in [&["replay"][..], &["replay", "--recopy"]] {
        refused(other, args, 3, &one.name);
    }
    refused(other, &["status"], 0, &one.name);
    assert_eq!(events(log.as_ref(), &mapping).len(), written);
    confirmed_pass(one);
    one.expect(&["provision", "plan", "--exit-code"], 0);
}

fn i14_of_two_that_claim_a_topic_at_once_one_gets_it(log: Log) {
    let both = two(log, "");
    let (_, mapping) = unclaimed(&both);
    let topics: Vec<&str> = mapping.topics.iter().map(|topic| topic.name.as_str()).collect();
    let begin = Barrier::new(4);
    let claims: Vec<_> = std::thread::scope(|scope| {
        let claim = |migration: &str| {
            let log = open_log(&both[0]);
            begin.wait();
            claims::claim(log.as_ref(), (migration, migration), &topics, 1)
        };
        let begun: Vec<_> =
            (0..4).map(|number| scope.spawn(move || (number, claim(&format!("racer{number}"))))).collect();
        begun.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let won: Vec<String> =
        claims.iter().filter(|(_, claimed)| claimed.is_ok()).map(|(number, _)| format!("racer{number}")).collect();
    assert_eq!(won.len(), 1, "{claims:?}");
    for (_, claimed) in claims.iter().filter(|(_, claimed)| claimed.is_err()) {
        let error = claimed.as_ref().unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert!(error.to_string().contains(&won[0]), "{error}");
    }
    let owners = claims::owners(open_log(&both[0]).as_ref(), &topics).unwrap();
    assert!(owners.len() == topics.len() && owners.values().all(|owner| *owner == won[0]), "{owners:?}");
}

fn i14_a_topic_made_anew_is_nobodys_and_a_given_up_one_can_be_claimed(log: Log) {
    let both = two(log, "");
    let [one, other] = &both;
    one.expect(&["provision", "apply"], 0);
    let (log, mapping) = (open_log(one), mapping(one));
    let topics: Vec<&str> = mapping.topics.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(claims::owners(log.as_ref(), &topics).unwrap().len(), topics.len());

    // Deleted and made anew under its name.
    let rows = mapping.topics_for(Use::Rows).next().unwrap();
    let Topic { name, partitions, .. } = mapping.topics.iter().find(|topic| topic.name == rows).unwrap().clone();
    admin(one).perform(&Action::DeleteTopic { name: name.clone() }).unwrap();
    while log.topics().unwrap().contains_key(&name) {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let mut again = false;
    while !again {
        log.create_topics(&[Topic { name: name.clone(), partitions, configs: Default::default() }]).unwrap();
        again = log.topics().unwrap().contains_key(&name);
    }
    assert!(!claims::owners(log.as_ref(), &topics).unwrap().contains_key(&name));
    let plan = json(&one.expect(&["provision", "plan", "--output", "json"], 0));
    let claimed = plan["steps"].as_array().unwrap().iter().flat_map(|step| step["changes"].as_array().unwrap());
    let claimed: Vec<_> = claimed.filter(|change| change["kind"] == "claim").collect();
    assert!(claimed.len() == 1 && claimed[0]["name"] == name && claimed[0]["reason"] == "topic-unclaimed", "{plan:#}");
    one.expect(&["provision", "apply"], 0);
    assert_eq!(claims::owners(log.as_ref(), &topics).unwrap()[&name], one.name);

    // Given up by the one that has it, and by nobody else.
    let mut release = vec!["provision", "apply"];
    release.extend(topics.iter().flat_map(|topic| ["--release", *topic]));
    unclaimed(&both);
    refused(other, &release, 3, &one.name);
    one.expect(&release, 0);
    one.expect(&release, 3);
    run_all(other, &FLOW);
    confirmed_pass(other);
    refused(one, &["provision", "apply"], 3, &other.name);
    refused(one, &["replay"], 3, &other.name);
}

fn topics_of_an_older_version_are_claimed_unless_events_of_another_lie_in_them(log: Log) {
    let both = two(log, "");
    let [one, other] = &both;
    let (log, mapping) = unclaimed(&both);
    one.expect(&["replay"], 0);
    one.expect(&["provision", "check"], 1);
    // The first has events there, the second none: whoever comes second is told.
    refused(other, &["provision", "apply"], 3, &one.name);
    one.expect(&["provision", "apply"], 0);
    let topics: Vec<&str> = mapping.topics.iter().map(|topic| topic.name.as_str()).collect();
    let owners = claims::owners(log.as_ref(), &topics).unwrap();
    assert!(owners.len() == topics.len() && owners.values().all(|owner| *owner == one.name), "{owners:?}");
    let ran = other.run(&["provision", "apply", "--allow", "topic-shared"]);
    assert_eq!(ran.code, Some(3), "a claim of another is no matter of a flag: {}", ran.stderr);
    run_all(one, &[&["project"]]);
    confirmed_pass(one);
}
