//! The secure cluster: its listeners, users, certificates, and a crossfade.yaml for each.

use std::path::PathBuf;

use crossfade::demo::Sizes;
use crossfade::kafka::{KafkaSettings, Secret, Security};

use super::acc::build_store;
use super::cli::{Log, Migration};

/// The folder of the secure cluster; a test that asks for it is `#[ignore = "needs secure Kafka"]`.
pub fn folder() -> PathBuf {
    std::env::var_os("CROSSFADE_TEST_SECURE").expect("CROSSFADE_TEST_SECURE names no cluster: run tests/run").into()
}

/// The brokers of a listener: `SASL_SSL`, `SSL`, `SASL_PLAINTEXT`, `EXPIRED` or `MISNAMED`.
pub fn brokers(listener: &str) -> String {
    let variable = format!("CROSSFADE_TEST_SECURE_{listener}");
    std::env::var(&variable).unwrap_or_else(|_| panic!("{variable} names no brokers: run tests/run"))
}

/// A file that `tests/certificates` made.
pub fn certificate(file: &str) -> String {
    folder().join("certificates").join(file).display().to_string()
}

pub fn password_file(user: &str) -> PathBuf {
    folder().join("passwords").join(user)
}

pub fn password(user: &str) -> String {
    std::fs::read_to_string(password_file(user)).unwrap().trim_end().to_owned()
}

/// How `user` logs in with SCRAM-SHA-512, as keys under `security` without the protocol.
pub fn log_in(user: &str) -> String {
    format!("mechanism: SCRAM-SHA-512, username: {user}, password_file: {}", password_file(user).display())
}

/// How a client shows the certificate `name`, as keys under `security`.
pub fn shows(name: &str) -> String {
    format!(
        "certificate_file: {}, key_file: {}",
        certificate(&format!("{name}.pem")),
        certificate(&format!("{name}.key"))
    )
}

pub fn trusts() -> String {
    format!("ca_file: {}", certificate("ca.pem"))
}

/// A migration of a generated ACC store at these brokers, with these keys under `security`.
pub fn migration(brokers: &str, security: &str, sizes: Sizes) -> Migration {
    let brokers: Vec<String> = brokers.split(',').map(|broker| format!("\"{broker}\"")).collect();
    let log = format!(
        "log:\n  kafka:\n    bootstrap: [{}]\n    replication: 1\n    security: {{{security}}}\n",
        brokers.join(", ")
    );
    let migration = Migration::acc(Log::Embedded, &log);
    build_store(&migration.legacy(), sizes);
    migration
}

/// A migration whose commands run as `user`, over SASL_SSL.
pub fn migration_of(user: &str, sizes: Sizes) -> Migration {
    migration(&brokers("SASL_SSL"), &format!("protocol: SASL_SSL, {}, {}", log_in(user), trusts()), sizes)
}

/// What the library needs to come as `user`, over SASL_SSL.
pub fn settings(user: &str) -> KafkaSettings {
    let security = Security {
        protocol: "SASL_SSL".to_owned(),
        mechanism: Some("SCRAM-SHA-512".to_owned()),
        username: Some(user.to_owned()),
        password: Some(Secret::new(password(user))),
        ca_file: Some(certificate("ca.pem").into()),
        ..Security::default()
    };
    let bootstrap = brokers("SASL_SSL").split(',').map(str::to_owned).collect();
    KafkaSettings { bootstrap, security: Some(security), ..KafkaSettings::default() }
}
