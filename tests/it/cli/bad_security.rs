//! Settings of the log-in that do not fit together, and properties that would break a promise.

use super::shop::{refuses, shop};
use crate::support::cli::{Migration, Ran};

const LOG_IN: &str = "mechanism: PLAIN, username: u, password_file: pw";

fn with(kafka: &str) -> Migration {
    let shop = shop(1, &format!("log:\n  kafka:\n    bootstrap: [a:1]\n{kafka}"));
    std::fs::write(shop.path("pw"), "planted-secret\n").unwrap();
    shop
}

#[track_caller]
fn security(keys: &str, says: &[&str]) {
    let shop = with(&format!("    security: {{{keys}}}\n"));
    for args in [&["config"][..], &["replay"]] {
        refuses(&shop, args, 2, says);
    }
}

#[test]
fn unknown_words_are_refused_with_the_nearest() {
    security("protocol: SASL-SSL", &["crossfade.yaml:9:26: 'SASL-SSL' is no protocol", "did you mean 'SASL_SSL'?"]);
    security("protocol: ssl", &["crossfade.yaml:9:26: ", "did you mean 'SSL'?"]);
    security(
        "protocol: SASL_SSL, mechanism: SCRAM-SHA512, username: u, password_file: pw",
        &["crossfade.yaml:9:47: 'SCRAM-SHA512' is no mechanism", "did you mean 'SCRAM-SHA-512'?"],
    );
    security("protocl: SSL", &["crossfade.yaml:9:16: unknown field `protocl`", "did you mean 'protocol'?"]);
}

#[test]
fn a_password_has_no_place_in_the_file() {
    security("password: planted-secret", &["crossfade.yaml:9:16: unknown field `password`", "'password_file'"]);
    let shop = with("    security: {password: planted-secret}\n");
    let ran = shop.run(&["config"]);
    assert!(!ran.stderr.contains("planted-secret") && !ran.stdout.contains("planted-secret"), "{}", ran.stderr);
}

#[test]
fn keys_that_lack_another_are_refused() {
    security(
        "protocol: SASL_SSL, username: u, password_file: pw",
        &["crossfade.yaml:9:26: protocol SASL_SSL needs 'mechanism'"],
    );
    security("protocol: SASL_SSL, mechanism: PLAIN, password_file: pw", &["crossfade.yaml:9:26: ", "needs 'username'"]);
    security(
        "protocol: SASL_SSL, mechanism: PLAIN, username: u",
        &["crossfade.yaml:9:26: ", "needs 'password_file'", "or set CROSSFADE_LOG_KAFKA_PASSWORD"],
    );
    security("protocol: SSL, certificate_file: c", &["crossfade.yaml:9:49: 'certificate_file' needs 'key_file'"]);
    security("protocol: SSL, key_file: k", &["crossfade.yaml:9:41: 'key_file' needs 'certificate_file'"]);
    security("protocol: SSL, key_password_file: k", &["crossfade.yaml:9:50: 'key_password_file' needs 'key_file'"]);
    security("protocol: SSL, ca_file: ''", &["crossfade.yaml:9:40: 'ca_file' is empty"]);
}

#[test]
fn keys_without_effect_are_refused() {
    security(
        "mechanism: PLAIN",
        &["crossfade.yaml:9:27: 'mechanism' is without effect: protocol PLAINTEXT does not log in"],
    );
    security(
        "protocol: SSL, username: u",
        &["crossfade.yaml:9:41: 'username' is without effect", "set protocol to SASL_SSL"],
    );
    security(
        &format!("protocol: SASL_PLAINTEXT, {LOG_IN}, ca_file: c"),
        &["'ca_file' is without effect: protocol SASL_PLAINTEXT does not encrypt", "set protocol to SASL_SSL"],
    );
}

#[test]
fn the_environment_may_hold_the_password() {
    let shop = with("    security: {protocol: SASL_SSL, mechanism: PLAIN, username: u}\n");
    let ran =
        Ran::of(shop.command(&["config"]).env("CROSSFADE_LOG_KAFKA_PASSWORD", "planted-secret").output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(!ran.stdout.contains("planted-secret"), "{}", ran.stdout);
}

#[test]
fn a_file_that_is_missing_or_empty_is_named() {
    let opens = |keys: &str, says: &[&str]| {
        let shop = with(&format!("    security: {{{keys}}}\n"));
        std::fs::write(shop.path("empty"), "\n").unwrap();
        refuses(&shop, &["status"], 2, says);
    };
    let gone =
        |key: &'static str| [format!("'log.kafka.security.{key}' is of no use"), "gone cannot be read".to_owned()];
    let all = |key: &'static str, keys: &str| opens(keys, &gone(key).each_ref().map(String::as_str));
    all("password_file", "protocol: SASL_SSL, mechanism: PLAIN, username: u, password_file: gone");
    all("ca_file", &format!("protocol: SASL_SSL, {LOG_IN}, ca_file: gone"));
    all("certificate_file", "protocol: SSL, certificate_file: gone, key_file: pw");
    all("key_file", "protocol: SSL, certificate_file: pw, key_file: gone");
    all("key_password_file", "protocol: SSL, certificate_file: pw, key_file: pw, key_password_file: gone");
    opens(
        "protocol: SASL_SSL, mechanism: PLAIN, username: u, password_file: empty",
        &["'log.kafka.security.password_file' is of no use", "empty"],
    );
}

#[test]
fn properties_are_refused_with_place_and_reason() {
    let property = |text: &str, says: &[&str]| {
        let shop = with(&format!("    properties: {{{text}}}\n"));
        let ran = refuses(&shop, &["config"], 2, says);
        assert!(!ran.stderr.contains("planted-secret"), "{}", ran.stderr);
    };
    property(
        "acks: '1'",
        &["crossfade.yaml:9:24: the Kafka property 'acks' may not be set: ", "every in-sync replica"],
    );
    property(
        "linger.ms: '5', isolation.level: x",
        &["crossfade.yaml:9:51: ", "aborted transactions must never be read"],
    );
    property("partitioner: consistent", &["crossfade.yaml:9:31: ", "same partition"]);
    property("enable.idempotence: 'false'", &["crossfade.yaml:9:38: ", "written once"]);
    property("sasl.username: u", &["crossfade.yaml:9:33: ", "a key of its own under `security`"]);
    property(
        "sasl.password: planted-secret",
        &["crossfade.yaml:9:33: ", "a secret is never written", "under `security`"],
    );
    property(
        "linger.msec: '5'",
        &["crossfade.yaml:9:31: there is no Kafka property 'linger.msec'", "did you mean 'linger.ms'?"],
    );
}
