//! The log in its homes, its management, and the registry.

use std::path::{Path, PathBuf};

use crossfade::base::{Error, Result};
use crossfade::config::{Home, KafkaHome};
use crossfade::control::missing_topics;
use crossfade::embedded::{EmbeddedLog, nothing_yet};
use crossfade::kafka::{KafkaAdmin, KafkaLog, KafkaSettings, Secret, Security};
use crossfade::plan::{Desired, DesiredSchemas};
use crossfade::port::event_log::{EventLog, own_topics};
use crossfade::port::memory_admin::MemoryAdmin;
use crossfade::port::memory_log::MemoryLog;
use crossfade::port::registry::Registry;
use crossfade::port::topic_admin::TopicAdmin;
use crossfade::registry::{FolderRegistry, HttpRegistry, Password, RegistrySettings};

use super::{Context, make_folder_of, password, read_text};

impl Context {
    /// Says so where the log has not been made yet.
    pub(crate) fn log_missing(&self) -> Option<String> {
        match &self.config.log {
            Home::Embedded(path) if !path.exists() => {
                Some(format!("the embedded log {} does not exist yet", path.display()))
            }
            _ => None,
        }
    }

    /// The log, where it is made already.
    pub(crate) fn log_if_made(&self) -> Result<Option<Box<dyn EventLog>>> {
        if self.log_missing().is_some() { Ok(None) } else { self.log(false).map(Some) }
    }

    /// The log of the migration; `create` makes the embedded one when it is not there yet.
    pub(crate) fn log(&self, create: bool) -> Result<Box<dyn EventLog>> {
        match &self.config.log {
            Home::Embedded(path) => Ok(Box::new(self.embedded(path, create)?)),
            Home::Kafka(home) => Ok(Box::new(KafkaLog::open(&kafka(home, &self.config.migration)?)?)),
        }
    }

    /// The management of the same. An embedded log that is not made yet can be looked at: it has nothing.
    pub(crate) fn admin(&self, create: bool) -> Result<Box<dyn TopicAdmin>> {
        match &self.config.log {
            Home::Embedded(path) if !create && !path.exists() => Ok(Box::new(MemoryAdmin::of(nothing_yet(path)))),
            Home::Embedded(path) => Ok(Box::new(self.embedded(path, create)?)),
            Home::Kafka(home) => Ok(Box::new(KafkaAdmin::open(&kafka(home, &self.config.migration)?)?)),
        }
    }

    fn embedded(&self, path: &Path, create: bool) -> Result<EmbeddedLog> {
        if create {
            make_folder_of(path)?;
        } else if let Some(missing) = self.log_missing() {
            return Err(Error::refused(missing).hint("create it and its topics: crossfade provision apply"));
        }
        EmbeddedLog::open(path, create)
    }

    /// Everything wished of the log's home.
    pub(crate) fn desired(&self) -> Result<Desired> {
        let wishes = &self.config.wishes;
        let own = own_topics(&self.config.migration);
        Desired::new(&self.config.migration, &self.mapping, own, wishes.copies, &wishes.topics, wishes.actors.clone())
    }

    /// How clients log in, where they do.
    pub(crate) fn mechanism(&self) -> Option<&str> {
        match &self.config.log {
            Home::Kafka(home) => home.security.as_ref()?.mechanism.as_deref(),
            Home::Embedded(_) => None,
        }
    }

    /// The schemas of the mapping's events.
    pub(crate) fn desired_schemas(&self) -> DesiredSchemas {
        DesiredSchemas::of(&self.config.migration, &self.mapping, self.config.registry.level)
    }

    /// Where the schemas are kept: a registry, or without one the folder beside the config.
    pub(crate) fn registry(&self) -> Result<Box<dyn Registry>> {
        let registry = &self.config.registry;
        let Some(url) = &registry.url else {
            let folder = self.config.file.parent().unwrap_or(Path::new("")).join("schemas");
            return Ok(Box::new(FolderRegistry::new(folder)));
        };
        let password = password("CROSSFADE_REGISTRY_PASSWORD", registry.password_file.as_deref())?;
        let settings = RegistrySettings {
            url: url.clone(),
            username: registry.username.clone(),
            password: password.map(Password::new),
            ca_file: registry.ca_file.clone(),
        };
        Ok(Box::new(HttpRegistry::new(&settings)?))
    }

    /// A log in memory with this migration's topics, for dry runs before the real one exists.
    pub(crate) fn empty_log(&self) -> Result<MemoryLog> {
        let log = MemoryLog::default();
        log.create_topics(&missing_topics(&log, &self.mapping, &self.config.migration)?)?;
        Ok(log)
    }
}

fn kafka(home: &KafkaHome, migration: &str) -> Result<KafkaSettings> {
    let mut settings = KafkaSettings { bootstrap: home.bootstrap.clone(), ..KafkaSettings::default() };
    settings.migration = Some(migration.to_owned());
    settings.properties.clone_from(&home.properties);
    settings.security = home.security.as_ref().map(security).transpose()?;
    Ok(settings)
}

fn security(security: &crossfade::config::Security) -> Result<Security> {
    let files = [
        ("ca_file", &security.ca_file),
        ("certificate_file", &security.certificate_file),
        ("key_file", &security.key_file),
    ];
    for (key, file) in files {
        if let Some(file) = file {
            named(key, read_text(file))?;
        }
    }
    let secret = |variable: &str, key: &str, file: &Option<PathBuf>| -> Result<Option<Secret>> {
        let Some(text) = named(key, password(variable, file.as_deref()))? else { return Ok(None) };
        if text.is_empty() {
            return named(key, Err(Error::config("the file is empty")));
        }
        Ok(Some(Secret::new(text)))
    };
    let password = match &security.username {
        Some(_) => secret("CROSSFADE_LOG_KAFKA_PASSWORD", "password_file", &security.password_file)?,
        None => None,
    };
    Ok(Security {
        protocol: security.protocol.clone(),
        mechanism: security.mechanism.clone(),
        username: security.username.clone(),
        password,
        ca_file: security.ca_file.clone(),
        certificate_file: security.certificate_file.clone(),
        key_file: security.key_file.clone(),
        key_password: secret("CROSSFADE_LOG_KAFKA_KEY_PASSWORD", "key_password_file", &security.key_password_file)?,
    })
}

/// The key of `log.kafka.security` whose file could not be had.
fn named<T>(key: &str, result: Result<T>) -> Result<T> {
    result.map_err(|error| Error::config(format!("'log.kafka.security.{key}' is of no use")).because(error))
}

pub(crate) fn open_embedded(path: &Path) -> Result<Box<dyn EventLog>> {
    Ok(Box::new(EmbeddedLog::open(path, false)?))
}
