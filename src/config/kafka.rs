//! How to reach a cluster, and which settings of that fit together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::effective::{Loader, Origin};
use super::properties;
use super::raw::{RawKafka, RawSecurity};
use crate::base::yaml::{self, Spanned};
use crate::base::{Error, Result};

pub(super) const BOOTSTRAP: &str = "CROSSFADE_LOG_KAFKA_BOOTSTRAP";
const PASSWORD: &str = "CROSSFADE_LOG_KAFKA_PASSWORD";
const KEY_PASSWORD: &str = "CROSSFADE_LOG_KAFKA_KEY_PASSWORD";

const PROTOCOLS: &[&str] = &["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];
const MECHANISMS: &[&str] = &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaHome {
    pub bootstrap: Vec<String>,
    pub security: Option<Security>,
    pub properties: BTreeMap<String, String>,
}

/// How to encrypt and log in; files are read by whoever connects, and the environment's passwords come before theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub protocol: String,
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`; there is one where the protocol logs in, and nowhere else.
    pub mechanism: Option<String>,
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
    pub ca_file: Option<PathBuf>,
    pub certificate_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub key_password_file: Option<PathBuf>,
}

impl Loader<'_> {
    /// The cluster in force: `bootstrap` from the environment, all else from the file.
    pub(super) fn kafka(&mut self, bootstrap: Option<String>, file: Option<&Spanned<RawKafka>>) -> Result<KafkaHome> {
        let empty = RawKafka::default();
        let kafka = file.map_or(&empty, |kafka| &kafka.value);
        let (bootstrap, origin) = match bootstrap {
            Some(list) => {
                let list = list.split(',').map(|broker| broker.trim().to_owned()).collect();
                (list, Origin::Environment(BOOTSTRAP.into()))
            }
            None => (kafka.bootstrap.clone(), Origin::File),
        };
        if bootstrap.is_empty() || bootstrap.iter().any(String::is_empty) {
            return Err(self
                .refuse(file, "'log.kafka.bootstrap' names no broker")
                .hint("list at least one, as [\"127.0.0.1:9092\"]"));
        }
        self.note("log.kafka.bootstrap", &bootstrap.join(","), origin);
        let security = kafka.security.as_ref().map(|security| self.security(security)).transpose()?;
        let mut properties = BTreeMap::new();
        for (name, value) in &kafka.properties {
            if let Some((message, hint)) = properties::refusal(name) {
                let error = yaml::refuse_at(&self.name, value, message);
                return Err(hint.into_iter().fold(error, Error::hint));
            }
            self.note("log.kafka.properties", &format!("{name}={}", value.value), Origin::File);
            properties.insert(name.clone(), value.value.clone());
        }
        Ok(KafkaHome { bootstrap, security, properties })
    }

    fn security(&mut self, at: &Spanned<RawSecurity>) -> Result<Security> {
        let raw = &at.value;
        let protocol = match &raw.protocol {
            Some(word) => self.word("protocol", word, PROTOCOLS)?,
            None => "PLAINTEXT",
        };
        self.fit(protocol, at)?;
        let from = if raw.protocol.is_some() { Origin::File } else { Origin::Default };
        self.note("log.kafka.security.protocol", protocol, from);
        let mechanism = raw.mechanism.as_ref().map(|word| self.word("mechanism", word, MECHANISMS)).transpose()?;
        if let Some(mechanism) = mechanism {
            self.note("log.kafka.security.mechanism", mechanism, Origin::File);
        }
        if let Some(username) = &raw.username {
            self.note("log.kafka.security.username", &username.value, Origin::File);
            self.secret("log.kafka.security.password", PASSWORD);
        }
        for (name, file) in [
            ("log.kafka.security.ca_file", &raw.ca_file),
            ("log.kafka.security.certificate_file", &raw.certificate_file),
            ("log.kafka.security.key_file", &raw.key_file),
        ] {
            if let Some(file) = file {
                self.note(name, &file.value, Origin::File);
            }
        }
        if raw.key_password_file.is_some() || (raw.key_file.is_some() && (self.env)(KEY_PASSWORD).is_some()) {
            self.secret("log.kafka.security.key_password", KEY_PASSWORD);
        }
        let path = |file: &Option<Spanned<String>>| file.as_ref().map(|file| self.folder.join(&file.value));
        Ok(Security {
            protocol: protocol.to_owned(),
            mechanism: mechanism.map(str::to_owned),
            username: raw.username.as_ref().map(|username| username.value.clone()),
            password_file: path(&raw.password_file),
            ca_file: path(&raw.ca_file),
            certificate_file: path(&raw.certificate_file),
            key_file: path(&raw.key_file),
            key_password_file: path(&raw.key_password_file),
        })
    }

    /// Refuses settings of which one is without effect, or lacks another.
    fn fit(&self, protocol: &str, at: &Spanned<RawSecurity>) -> Result<()> {
        let raw = &at.value;
        let (logs_in, encrypts) = (protocol.starts_with("SASL_"), protocol.ends_with("SSL"));
        let log_in =
            [("mechanism", &raw.mechanism), ("username", &raw.username), ("password_file", &raw.password_file)];
        let encryption = [
            ("ca_file", &raw.ca_file),
            ("certificate_file", &raw.certificate_file),
            ("key_file", &raw.key_file),
            ("key_password_file", &raw.key_password_file),
        ];
        let idle = |keys: &[(&str, &Option<Spanned<String>>)], what: &str, words: &str| -> Result<()> {
            for (key, value) in keys {
                if let Some(value) = value {
                    let message = format!("'{key}' is without effect: protocol {protocol} {what}");
                    let hint = format!("set protocol to {words}, or leave '{key}' out");
                    return Err(yaml::refuse_at(&self.name, value, message).hint(hint));
                }
            }
            Ok(())
        };
        if !logs_in {
            idle(&log_in, "does not log in", "SASL_SSL (or SASL_PLAINTEXT)")?;
        }
        if !encrypts {
            idle(&encryption, "does not encrypt", if logs_in { "SASL_SSL" } else { "SSL (or SASL_SSL)" })?;
        }
        for (key, value) in log_in.iter().chain(&encryption) {
            if let Some(value) = value.as_ref().filter(|value| value.value.trim().is_empty()) {
                return Err(yaml::refuse_at(&self.name, value, format!("'{key}' is empty")));
            }
        }
        if logs_in {
            for (key, value) in log_in {
                let given = value.is_some() || (key == "password_file" && (self.env)(PASSWORD).is_some());
                if given {
                    continue;
                }
                let hint = match key {
                    "mechanism" => format!("one of {}", MECHANISMS.join(", ")),
                    "username" => "name the user to log in as".to_owned(),
                    _ => format!("name a file that holds the password alone, or set {PASSWORD}"),
                };
                let message = format!("protocol {protocol} needs '{key}'");
                return Err(self.refuse(raw.protocol.as_ref(), &message).hint(hint));
            }
        }
        let without = |has: &Option<Spanned<String>>, lacks: &Option<Spanned<String>>, names: (&str, &str)| match has {
            Some(has) if lacks.is_none() => {
                Err(yaml::refuse_at(&self.name, has, format!("'{}' needs '{}'", names.0, names.1)))
            }
            _ => Ok(()),
        };
        without(&raw.certificate_file, &raw.key_file, ("certificate_file", "key_file"))?;
        without(&raw.key_file, &raw.certificate_file, ("key_file", "certificate_file"))?;
        without(&raw.key_password_file, &raw.key_file, ("key_password_file", "key_file"))
    }

    fn word(&self, key: &str, word: &Spanned<String>, valid: &'static [&'static str]) -> Result<&'static str> {
        if let Some(found) = valid.iter().find(|valid| **valid == word.value) {
            return Ok(found);
        }
        let message = format!("'{}' is no {key}: it is one of {}", word.value, valid.join(", "));
        let error = yaml::refuse_at(&self.name, word, message);
        let near = yaml::nearest(&word.value.to_ascii_uppercase(), valid.iter().copied());
        Err(near.into_iter().fold(error, |error, near| error.hint(format!("did you mean '{near}'?"))))
    }

    fn secret(&mut self, name: &'static str, variable: &str) {
        let origin = match (self.env)(variable) {
            Some(_) => Origin::Environment(variable.into()),
            None => Origin::File,
        };
        self.note(name, "***", origin);
    }
}
