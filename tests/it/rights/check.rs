//! `provision check` on access, and what the plan leaves to the operator, done with Kafka's own tools.

use std::process::Command;
use std::time::{Duration, Instant};

use crossfade::demo::Sizes;
use crossfade::kafka::{KafkaLog, Secret};
use serde_json::Value;
use uuid::Uuid;

use super::{PROVISION, ROLES, actors, migration, provisioned};
use crate::support::cli::{Migration, Ran};
use crate::support::flow::json;
use crate::support::secure::{brokers, certificate, password, settings};

/// Runs a line of the shell in which Kafka's tools have the names of its distribution.
#[track_caller]
fn with_kafka_tools(migration: &Migration, line: &str) -> Ran {
    let admin = format!(
        "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nssl.truststore.type=PEM\n\
         ssl.truststore.location={}\nsasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
         username=\"admin\" password=\"{}\";\n",
        certificate("ca.pem"),
        password("admin")
    );
    std::fs::write(migration.path("ADMIN.properties"), admin).unwrap();
    let script = "
        java=${JAVA_HOME:+$JAVA_HOME/bin/}java
        # Its commands end before a full compilation is of use.
        java=\"$java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC\"
        kafka-acls.sh() { $java -cp \"$LIBS/*\" org.apache.kafka.tools.AclCommand \"$@\"; }
        kafka-configs.sh() { $java -cp \"$LIBS/*\" kafka.admin.ConfigCommand \"$@\"; }
        eval \"$LINE\"";
    let libs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/kafka-libs");
    let mut command = Command::new("bash");
    command.args(["-c", script]).env("LIBS", libs).env("LINE", line).current_dir(migration.folder.path());
    let ran = Ran::of(command.output().unwrap());
    std::fs::remove_file(migration.path("ADMIN.properties")).unwrap();
    ran
}

#[track_caller]
fn acls(migration: &Migration, verb: &str) {
    let at = brokers("SASL_SSL");
    let line = format!("kafka-acls.sh --bootstrap-server {at} --command-config ADMIN.properties {verb}");
    let ran = with_kafka_tools(migration, &line);
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
}

type Found = (String, String, String);

/// Code, subject and text of what a check says of access, once it ends with `code` and says what is `wanted`: a rule takes a
/// moment from the controller to the broker.
#[track_caller]
fn check(migration: &Migration, code: i32, wanted: Option<&Found>) -> (Value, Vec<Found>) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let ran = migration.run(&["provision", "check", "--output", "json"]);
        let report = json(&ran.stdout);
        let text = |check: &Value, field: &str| check[field].as_str().unwrap_or_default().to_owned();
        let checks = report["checks"].as_array().unwrap().iter();
        let checks = checks.filter(|check| text(check, "code").contains("access"));
        let checks: Vec<Found> =
            checks.map(|check| (text(check, "code"), text(check, "subject"), text(check, "text"))).collect();
        if ran.code == Some(code) && wanted.is_none_or(|wanted| checks.contains(wanted)) {
            return (report, checks);
        }
        assert!(Instant::now() < deadline, "{:?}, not {code} with {wanted:?}: {checks:#?}\n{}", ran.code, ran.stderr);
    }
}

#[test]
#[ignore = "needs secure Kafka"]
fn a_rule_that_is_missing_fails_the_check_and_one_too_many_is_warned_of() {
    let migration = provisioned(Sizes::LEAST);
    let (report, checks) = check(&migration, 0, None);
    assert_eq!(report["verdict"], "PASS");
    assert_eq!(checks.len(), ROLES.len(), "{checks:?}");
    for (role, user) in ROLES {
        let subject = format!("User:{user} ({role})");
        let fine = checks.iter().find(|(code, of, _)| code == "access" && *of == subject);
        assert!(fine.is_some_and(|(_, _, text)| text == "what the role needs, and no more"), "{subject} in {checks:?}");
    }
    let topic = format!("{}.session.events", migration.name);
    let acls = |verb: &str| acls(&migration, verb);
    acls(&format!(
        "--add --allow-principal User:bridge --operation Delete --topic {}. --resource-pattern-type prefixed",
        migration.name
    ));
    let wider = format!("has more than the role needs: topic {}.* delete", migration.name);
    let (report, _) = check(&migration, 0, Some(&("access-wider".into(), "User:bridge (bridge)".into(), wider)));
    assert_eq!(report["verdict"], "PASS");

    acls(&format!("--remove --force --allow-principal User:verifier --operation Read --topic {topic}"));
    let missing = ("access".into(), "User:verifier (verifier)".into(), format!("may not topic {topic} read"));
    let (report, _) = check(&migration, 1, Some(&missing));
    assert_eq!(report["verdict"], "FAIL");
    {
        let _alone = PROVISION.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        migration.expect(&["provision", "apply"], 0);
    }
    let (report, checks) = check(&migration, 0, None);
    assert_eq!(report["verdict"], "PASS", "{checks:?}");
    assert!(!checks.contains(&missing));
}

#[test]
#[ignore = "needs secure Kafka"]
fn a_rule_that_denies_fails_the_check_and_the_plan_says_how_it_is_taken_away() {
    let migration = provisioned(Sizes::LEAST);
    let (topics, name) = (format!("{}.", migration.name), &migration.name);
    acls(
        &migration,
        &format!(
            "--add --deny-principal User:replayer --operation Write --topic {topics} --resource-pattern-type prefixed"
        ),
    );
    let denied = format!(
        "may not topic {name}.session.events write: the rule 'User:replayer topic {topics}* write (deny)' denies it"
    );
    let (report, checks) = check(&migration, 1, Some(&("access".into(), "User:replayer (replayer)".into(), denied)));
    assert_eq!(report["verdict"], "FAIL");
    assert!(checks.iter().all(|(code, _, _)| code != "access-wider"), "{checks:?}");
    let refused = super::run(&migration, "replayer", &["replay"]);
    assert_ne!(refused.code, Some(0), "{}", refused.stdout);
    let plan = json(&migration.expect(&["provision", "plan", "--output", "json"], 0));
    let left = plan["manual"].as_array().unwrap().iter().find(|entry| entry["kind"] == "deny-rule").unwrap();
    assert_eq!(left["name"], "User:replayer");
    let ran = with_kafka_tools(&migration, left["command"].as_str().unwrap());
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    check(&migration, 0, None);
    super::expect(&migration, "replayer", &["replay"], 0);

    acls(
        &migration,
        &format!("--add --allow-principal 'User:*' --operation All --topic {topics} --resource-pattern-type prefixed"),
    );
    let open = format!("everybody may topic {topics}* all");
    let (report, _) = check(&migration, 0, Some(&("open-access".into(), "User:*".into(), open)));
    assert_eq!(report["verdict"], "PASS");
}

#[test]
#[ignore = "needs secure Kafka"]
fn the_commands_for_what_is_left_to_the_operator_work_as_they_are_shown() {
    let user = format!("u{}", Uuid::new_v4().simple());
    let replayer = "replayer: {user: replayer}";
    let new = format!("replayer: {{user: {user}, quotas: {{producer_byte_rate: 5000000, request_percentage: 50}}}}");
    let migration = migration(&actors().replace(replayer, &new), Sizes::LEAST);
    let manual = || {
        let plan = json(&migration.expect(&["provision", "plan", "--output", "json"], 0));
        let manual = plan["manual"].as_array().unwrap().clone();
        manual.into_iter().map(|entry| (entry["kind"].as_str().unwrap().to_owned(), entry)).collect::<Vec<_>>()
    };
    let [(scram, user_entry), (quota, quota_entry)] = &manual()[..] else { panic!("two things are left to do") };
    assert_eq!((scram.as_str(), quota.as_str()), ("scram-user", "quota"));
    assert_eq!(user_entry["reason"], "the user does not exist");
    let secret = Uuid::new_v4().simple().to_string();
    for entry in [user_entry, quota_entry] {
        let line = entry["command"].as_str().unwrap().replace("PASSWORD", &secret);
        let ran = with_kafka_tools(&migration, &line);
        assert_eq!(ran.code, Some(0), "{}\n{}", entry["command"], ran.stderr.replace(&secret, "…"));
    }
    assert!(manual().iter().all(|(kind, _)| kind == "quota"), "the user exists now");
    let mut as_user = settings("admin");
    let security = as_user.security.as_mut().unwrap();
    (security.username, security.password) = (Some(user.clone()), Some(Secret::new(secret)));
    KafkaLog::open(&as_user).unwrap();
    let at = brokers("SASL_SSL");
    let line = format!(
        "kafka-configs.sh --bootstrap-server {at} --command-config ADMIN.properties --describe --entity-type users --entity-name {user}"
    );
    let told = with_kafka_tools(&migration, &line).stdout;
    for quota in ["producer_byte_rate=5000000", "request_percentage=50"] {
        assert!(told.contains(quota), "no {quota} in {told}");
    }
}
