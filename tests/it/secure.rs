//! A cluster that asks who comes: every way in, and every way to be turned away.

use std::path::Path;
use std::time::{Duration, Instant};

use crossfade::demo::Sizes;

use crate::support::cli::{Migration, Ran, brokers as open_brokers};
use crate::support::flow::{FLOW, confirmed_pass};
use crate::support::secure::{
    brokers, certificate, log_in, migration, migration_of, password, settings, shows, trusts,
};

/// Runs the whole job; gives all that was said.
#[track_caller]
fn whole_job(migration: &Migration) -> Vec<Ran> {
    let run = |args: &[&str]| {
        let ran = migration.run(args);
        assert_eq!(ran.code, Some(0), "crossfade {}\n{}\n{}", args.join(" "), ran.stdout, ran.stderr);
        ran
    };
    let mut said = vec![run(&["replay", "--dry-run"])];
    said.extend(FLOW.iter().map(|args| run(args)));
    let reports = ["html", "md", "json", "ndjson", "junit", "table"].map(|kind| format!("{kind}=report.{kind}"));
    let mut diff = vec!["diff"];
    reports.iter().for_each(|report| diff.extend(["--report", report]));
    said.push(run(&diff));
    confirmed_pass(migration);
    for args in [&["status"][..], &["config"], &["journal", "show"], &["journal", "export", "journal.ndjson"]] {
        said.push(run(args));
    }
    said
}

/// No file of the folder holds the secret, and nothing said does.
#[track_caller]
fn assert_hidden(folder: &Path, said: &[Ran], secret: &str) {
    let mut open = vec![folder.to_owned()];
    let mut searched = 0;
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()), "in {}", path.display());
        searched += 1;
    }
    assert!(searched > 3, "{searched} files");
    for ran in said {
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{}{}", ran.stdout, ran.stderr);
    }
}

#[test]
#[ignore = "needs secure Kafka"]
fn i11_the_whole_job_passes_over_sasl_ssl_and_the_password_appears_nowhere() {
    let migration = migration_of("admin", Sizes::LEAST);
    let said = whole_job(&migration);
    assert_hidden(migration.folder.path(), &said, &password("admin"));
}

#[test]
#[ignore = "needs secure Kafka"]
fn the_whole_job_passes_with_a_client_certificate() {
    let security = format!("protocol: SSL, {}, {}", shows("admin"), trusts());
    whole_job(&migration(&brokers("SSL"), &security, Sizes::LEAST));
}

#[test]
#[ignore = "needs secure Kafka"]
fn every_mechanism_and_a_locked_key_open_the_door() {
    let file = |user: &str| crate::support::secure::password_file(user).display().to_string();
    let (locked, by) = (certificate("admin-locked.key"), certificate("admin-locked.password"));
    for (listener, security) in [
        (
            "SASL_SSL",
            format!(
                "protocol: SASL_SSL, mechanism: PLAIN, username: admin, password_file: {}, {}",
                file("admin"),
                trusts()
            ),
        ),
        (
            "SASL_SSL",
            format!(
                "protocol: SASL_SSL, mechanism: SCRAM-SHA-256, username: admin, password_file: {}, {}",
                file("admin"),
                trusts()
            ),
        ),
        ("SASL_PLAINTEXT", format!("protocol: SASL_PLAINTEXT, {}", log_in("admin"))),
        (
            "SSL",
            format!(
                "protocol: SSL, certificate_file: {}, key_file: {locked}, key_password_file: {by}, {}",
                certificate("admin.pem"),
                trusts()
            ),
        ),
    ] {
        migration(&brokers(listener), &security, Sizes::LEAST).expect(&["replay", "--dry-run"], 0);
    }
}

/// Asserts that each command is turned away in time, in words of its own, with no line of the client library.
#[track_caller]
fn turned_away(brokers: &str, security: &str, says: [&str; 3]) -> String {
    let migration = migration(brokers, security, Sizes::LEAST);
    std::fs::write(migration.path("wrong"), "planted-secret\n").unwrap();
    let mut message = String::new();
    for args in [&["status"][..], &["provision", "apply"]] {
        let began = Instant::now();
        let ran = migration.run(args);
        let took = began.elapsed();
        let said = format!("{security}\n{}{}", ran.stdout, ran.stderr);
        assert_eq!(ran.code, Some(2), "{said}");
        assert!(took < Duration::from_secs(10), "{took:?} {said}");
        for (lead, text) in ["error: ", "  because: ", "help: "].iter().zip(says) {
            let line = ran.stderr.lines().find(|line| line.starts_with(lead));
            assert!(line.is_some_and(|line| line.contains(text)), "no {lead}{text:?} in {said}");
        }
        assert_eq!(ran.stderr.lines().count(), 4, "{said}");
        assert!(!said.contains("planted-secret"), "{said}");
        message = ran.stderr.lines().next().unwrap_or_default().to_owned();
    }
    message
}

#[test]
#[ignore = "needs secure Kafka"]
fn a_refused_log_in_is_told_with_the_user() {
    let at = brokers("SASL_SSL");
    for mechanism in ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"] {
        for user in ["admin", "stranger"] {
            let security = format!(
                "protocol: SASL_SSL, mechanism: {mechanism}, username: {user}, password_file: wrong, {}",
                trusts()
            );
            let refused = format!("refused the log-in of '{user}'");
            turned_away(&at, &security, [&refused, "no such user, or a wrong password", "check `username`"]);
        }
    }
    let plain = format!("protocol: SASL_PLAINTEXT, {}", log_in("admin").replace("SCRAM-SHA-512", "PLAIN"));
    let says = ["does not take the mechanism PLAIN", "it takes SCRAM-SHA-512", "set `mechanism`"];
    turned_away(&brokers("SASL_PLAINTEXT"), &plain, says);
}

#[test]
#[ignore = "needs secure Kafka"]
fn a_broker_that_is_not_trusted_is_told_with_the_reason() {
    let with = |ca: &str| format!("protocol: SASL_SSL, {}{ca}", log_in("admin"));
    let untrusted = "is not from an authority that is trusted here";
    let other = format!(", ca_file: {}", certificate("other-ca.pem"));
    let at = brokers("SASL_SSL");
    turned_away(&at, &with(&other), [untrusted, "certificate", "other-ca.pem is not the authority that signed it"]);
    turned_away(&at, &with(""), [untrusted, "certificate", "set `ca_file`"]);
    let good = with(&format!(", {}", trusts()));
    turned_away(&brokers("EXPIRED"), &good, ["has expired", "it was valid until", "the brokers need a new one"]);
    turned_away(&brokers("MISNAMED"), &good, ["for another name", "it is for broker.invalid", "127.0.0.1"]);
}

#[test]
#[ignore = "needs secure Kafka"]
fn a_client_certificate_that_is_missing_or_refused_is_told() {
    let at = brokers("SSL");
    let with = |more: &str| format!("protocol: SSL, {}{more}", trusts());
    let shown = |name: &str| with(&format!(", {}", shows(name)));
    turned_away(
        &at,
        &with(""),
        ["asks for a client certificate", "none is set", "set `certificate_file` and `key_file`"],
    );
    turned_away(
        &at,
        &shown("stranger"),
        ["refused the client certificate", "certificate", "an authority the brokers trust"],
    );
    turned_away(&at, &shown("late"), ["late.pem has expired", "it was valid until", "get a new one"]);
}

#[test]
#[ignore = "needs secure Kafka"]
fn a_protocol_the_listener_does_not_speak_is_told() {
    let no_tls = |at: &str, security: &str, set: &str| {
        turned_away(at, security, ["does not speak TLS on this listener", "is TLS", set]);
    };
    let only_tls = |at: &str, security: &str, set: &str| {
        turned_away(at, security, ["speaks only TLS on this listener", "is not TLS", set]);
    };
    let log_in_wanted = |at: &str, security: &str, set: &str| {
        turned_away(at, security, ["turns away who does not log in", "does not log in", set]);
    };
    let no_log_in = |at: &str, security: &str, set: &str| {
        turned_away(at, security, ["has no log-in on this listener", "logs in", set]);
    };
    let (tls, sasl_tls, sasl) = (brokers("SSL"), brokers("SASL_SSL"), brokers("SASL_PLAINTEXT"));
    let open = open_brokers();
    let open = open.split(',').next().unwrap();
    let logs_in = log_in("admin");
    let encrypted = trusts();
    only_tls(&tls, "protocol: PLAINTEXT", "set `protocol` to SSL");
    only_tls(&sasl_tls, "protocol: PLAINTEXT", "set `protocol` to SSL (or SASL_SSL)");
    only_tls(&sasl_tls, &format!("protocol: SASL_PLAINTEXT, {logs_in}"), "set `protocol` to SASL_SSL");
    no_tls(&sasl, &format!("protocol: SSL, {encrypted}"), "set `protocol` to PLAINTEXT");
    no_tls(&sasl, &format!("protocol: SASL_SSL, {logs_in}, {encrypted}"), "set `protocol` to SASL_PLAINTEXT");
    no_tls(open, &format!("protocol: SSL, {encrypted}"), "set `protocol` to PLAINTEXT");
    log_in_wanted(&sasl, "protocol: PLAINTEXT", "set `protocol` to SASL_PLAINTEXT");
    log_in_wanted(&sasl_tls, &format!("protocol: SSL, {encrypted}"), "set `protocol` to SASL_SSL");
    no_log_in(open, &format!("protocol: SASL_PLAINTEXT, {logs_in}"), "set `protocol` to PLAINTEXT");
    let both = format!("protocol: SASL_SSL, {logs_in}, {encrypted}, {}", shows("admin"));
    no_log_in(&tls, &both, "set `protocol` to SSL");
}

#[test]
#[ignore = "needs secure Kafka"]
fn files_that_hold_something_else_are_told_by_their_key() {
    let at = brokers("SSL");
    let of = |certificate: &str, key: &str, ca: &str| {
        format!("protocol: SSL, certificate_file: {certificate}, key_file: {key}, ca_file: {ca}")
    };
    let (pem, key, ca) = (certificate("admin.pem"), certificate("admin.key"), certificate("ca.pem"));
    turned_away(&at, &of(&pem, &key, "wrong"), ["`ca_file` holds no certificate", "", "PEM"]);
    turned_away(&at, &of("wrong", &key, &ca), ["`certificate_file` holds no certificate", "", "PEM"]);
    turned_away(&at, &of(&pem, "wrong", &ca), ["`key_file` cannot be read", "", "PEM"]);
    turned_away(&at, &of(&pem, &certificate("late.key"), &ca), ["does not belong to the certificate", "", "one pair"]);
    turned_away(
        &at,
        &of(&pem, &certificate("admin-locked.key"), &ca),
        ["`key_file` cannot be read", "", "key_password_file"],
    );
}

#[test]
#[ignore = "needs secure Kafka"]
fn a_user_without_an_acl_is_let_in_and_sees_nothing() {
    let migration = migration_of("nobody", Sizes::LEAST);
    let ran = migration.run(&["provision", "apply"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    let log = crossfade::kafka::KafkaLog::open(&settings("nobody")).unwrap();
    assert!(crossfade::port::event_log::EventLog::topics(&log).unwrap().is_empty());
}
