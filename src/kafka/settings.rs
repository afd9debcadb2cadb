//! What a person may set for Kafka, and the client configurations made of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use uuid::Uuid;

use crate::base::{Error, Result};
use crate::config::properties::refusal;
use crate::plan::readers_group;
use crate::port::group::Join;

/// How long a transaction may stay open before the brokers abort it; while one is open its records hide later ones.
pub const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest record the client hands to a broker, whatever the topic allows.
pub(super) const MAX_MESSAGE_BYTES: usize = 32 * 1024 * 1024;

/// Uncompressed bytes the producer puts into one batch at most, unless `batch.size` is set.
pub(super) const BATCH_BYTES: usize = 1_000_000;

const PRODUCER: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("compression.type", "lz4"),
    // Java's and KafkaJS's default, so that every client finds a key in the same partition.
    ("partitioner", "murmur2_random"),
    ("linger.ms", "5"),
    ("batch.num.messages", "10000"),
    ("queue.buffering.max.messages", "50000"),
    // This bounds the memory; a full queue is the normal brake.
    ("queue.buffering.max.kbytes", "32768"),
    // The commit tells whether all were delivered; half a million reports of success tell nothing more.
    ("delivery.report.only.error", "true"),
];

const CONSUMER: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    // A position that is gone is an error: jumping over it would lose records without a word.
    ("auto.offset.reset", "error"),
    // The end of a partition is told by an empty fetch, which waits this long.
    ("fetch.wait.max.ms", "50"),
    // A full queue is the normal case while catching up; the default waits a second.
    ("fetch.queue.backoff.ms", "2"),
    ("check.crcs", "true"),
];

/// Fetched bytes kept ahead by a reader, over all its partitions.
const READ_AHEAD_KB: usize = 16 * 1024;

/// Compressed bytes asked for at once, over all partitions of a reader.
const FETCH_BYTES: usize = 4 * 1024 * 1024;

/// How to reach a cluster.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// Brokers to ask first, `host:port`.
    pub bootstrap: Vec<String>,
    /// Further librdkafka properties; those that would break a promise of the log are refused on opening.
    pub properties: BTreeMap<String, String>,
    pub security: Option<Security>,
    /// The migration whose [`crate::plan::readers_group`] readers name; without one they name a group of their own.
    pub migration: Option<String>,
    /// [`TRANSACTION_TIMEOUT`] unless a test shortens it.
    pub transaction_timeout: Duration,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            properties: BTreeMap::new(),
            security: None,
            migration: None,
            transaction_timeout: TRANSACTION_TIMEOUT,
        }
    }
}

/// Encryption and log-in.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub protocol: String,
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: Option<String>,
    pub username: Option<String>,
    pub password: Option<Secret>,
    /// Certificates of the authorities to trust, PEM.
    pub ca_file: Option<PathBuf>,
    /// The client's own certificate, PEM.
    pub certificate_file: Option<PathBuf>,
    /// The key of the client's certificate, PEM.
    pub key_file: Option<PathBuf>,
    pub key_password: Option<Secret>,
}

/// A text that never shows itself.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(super) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Security {
    pub(super) fn apply(&self, config: &mut ClientConfig) {
        config.set("security.protocol", &self.protocol);
        let texts = [
            ("sasl.mechanism", self.mechanism.as_deref()),
            ("sasl.username", self.username.as_deref()),
            ("sasl.password", self.password.as_ref().map(|secret| secret.0.as_str())),
            ("ssl.key.password", self.key_password.as_ref().map(|secret| secret.0.as_str())),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                config.set(name, text);
            }
        }
        let files = [
            ("ssl.ca.location", &self.ca_file),
            ("ssl.certificate.location", &self.certificate_file),
            ("ssl.key.location", &self.key_file),
        ];
        for (name, file) in files {
            if let Some(file) = file {
                config.set(name, file.to_string_lossy());
            }
        }
    }
}

impl KafkaSettings {
    /// Refuses what would break a promise, before anything is connected.
    pub(super) fn check(&self) -> Result<()> {
        if self.bootstrap.iter().all(|broker| broker.trim().is_empty()) {
            return Err(Error::config("no Kafka broker is named").hint("name at least one as host:port in `bootstrap`"));
        }
        for name in self.properties.keys() {
            if let Some((message, hint)) = refusal(name) {
                return Err(hint.into_iter().fold(Error::config(message), Error::hint));
            }
        }
        Ok(())
    }

    /// The brokers as people read them.
    pub(super) fn brokers(&self) -> String {
        self.bootstrap.join(",")
    }

    /// Uncompressed bytes a batch may have.
    pub(super) fn batch_bytes(&self) -> usize {
        self.properties.get("batch.size").and_then(|text| text.parse().ok()).unwrap_or(BATCH_BYTES)
    }

    pub(super) fn producer(&self, name: &str) -> ClientConfig {
        let mut config = self.common();
        for (name, value) in PRODUCER {
            config.set(*name, *value);
        }
        config
            .set("transactional.id", name)
            .set("transaction.timeout.ms", self.transaction_timeout.as_millis().to_string())
            .set("batch.size", BATCH_BYTES.to_string())
            .set("message.max.bytes", MAX_MESSAGE_BYTES.to_string());
        self.extend(&mut config);
        config
    }

    /// A consumer that only asks for ends and metadata.
    pub(super) fn asker(&self, isolation: &str) -> ClientConfig {
        let mut config = self.common();
        config.set("isolation.level", isolation).remove("message.max.bytes");
        // Why a connection was closed is told as mere information.
        config.set_log_level(RDKafkaLogLevel::Info);
        config
    }

    pub(super) fn reader(&self, partitions: usize) -> ClientConfig {
        let partitions = partitions.max(1);
        let mut config = self.common();
        for (name, value) in CONSUMER {
            config.set(*name, *value);
        }
        config
            // The client wants one to be given partitions, and looks it up; nothing is ever stored under it.
            .set("group.id", self.group())
            .set("isolation.level", "read_committed")
            .set("queued.max.messages.kbytes", (READ_AHEAD_KB / partitions).max(256).to_string())
            .set("fetch.message.max.bytes", (FETCH_BYTES / partitions).clamp(64 * 1024, 1024 * 1024).to_string())
            .set("fetch.max.bytes", FETCH_BYTES.to_string());
        self.extend(&mut config);
        // Of no meaning to a consumer, yet checked against what it fetches.
        config.remove("message.max.bytes");
        config
    }

    /// A reader that stays for the few last records of a partition.
    pub(super) fn looker(&self) -> ClientConfig {
        let mut config = self.reader(1);
        config.set("fetch.wait.max.ms", "1");
        config
    }

    /// A member of a group that reads its share of so many partitions.
    pub(super) fn member(&self, join: &Join<'_>, partitions: usize) -> ClientConfig {
        let mut config = self.reader(partitions);
        let session = join.session.as_millis();
        config
            .set("group.id", join.group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session.to_string())
            .set("max.poll.interval.ms", session.to_string())
            .set("heartbeat.interval.ms", (session / 5).clamp(100, 3_000).to_string());
        if let Some(name) = join.name {
            config.set("group.instance.id", name);
        }
        config
    }

    fn group(&self) -> String {
        match &self.migration {
            Some(migration) => readers_group(migration),
            None => format!("crossfade-{}", Uuid::new_v4()),
        }
    }

    fn common(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set_log_level(RDKafkaLogLevel::Warning)
            .set("bootstrap.servers", self.brokers())
            .set("client.id", "crossfade")
            // Half of it is also what a client waits before it connects to a second broker; a broker that is away is
            // asked twice as late each time.
            .set("reconnect.backoff.ms", "20")
            .set("allow.auto.create.topics", "false");
        if let Some(security) = &self.security {
            security.apply(&mut config);
        }
        self.extend(&mut config);
        config
    }

    fn extend(&self, config: &mut ClientConfig) {
        for (name, value) in &self.properties {
            config.set(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Kind;
    use crate::config::properties::{REFUSED, names};

    fn with(name: &str, value: &str) -> KafkaSettings {
        KafkaSettings {
            bootstrap: vec!["127.0.0.1:1".to_owned()],
            properties: BTreeMap::from([(name.to_owned(), value.to_owned())]),
            ..KafkaSettings::default()
        }
    }

    #[test]
    fn properties_that_break_a_promise_are_refused_with_the_reason() {
        for (name, reason) in REFUSED {
            let error = with(name, "x").check().unwrap_err();
            assert_eq!(error.kind(), Kind::Config, "{name}");
            assert!(error.message().contains(name) && error.message().contains(reason), "{error}");
        }
        for name in ["sasl.password", "ssl.key.password", "ssl.keystore.password", "ssl.key.pem"] {
            let error = with(name, "tell-nobody").check().unwrap_err();
            assert_eq!(error.kind(), Kind::Config, "{name}");
            assert!(!format!("{error:?}").contains("tell-nobody"), "{error:?}");
        }
        with("linger.ms", "20").check().unwrap();
    }

    #[test]
    fn every_property_named_is_one_of_the_client_library() {
        let mut seen = 0;
        for name in names() {
            let mut config = ClientConfig::new();
            config.set(name, "?");
            let known = match config.create_native_config() {
                Ok(_) => true,
                Err(rdkafka::error::KafkaError::ClientConfig(_, text, ..)) => {
                    !text.contains("No such configuration property")
                }
                Err(_) => false,
            };
            assert!(known, "{name}");
            seen += 1;
        }
        assert!(seen > 150, "{seen}");
        let error = with("linger.msec", "5").check().unwrap_err();
        assert_eq!(error.help(), Some("did you mean 'linger.ms'?"));
    }

    #[test]
    fn a_password_never_shows_itself() {
        let security = Security { password: Some(Secret::new("tell-nobody")), ..Security::default() };
        assert!(!format!("{security:?}").contains("tell-nobody"));
    }

    #[test]
    fn a_property_of_the_operator_wins_over_ours() {
        let config = with("linger.ms", "20").producer("acc/replay");
        assert_eq!(config.get("linger.ms"), Some("20"));
        assert_eq!(config.get("acks"), Some("all"));
        assert_eq!(with("batch.size", "5000").batch_bytes(), 5000);
    }
}
