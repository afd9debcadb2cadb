//! The file as written.

use std::collections::BTreeMap;
use std::fmt;

use indexmap::IndexMap;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::base::yaml::Spanned;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawConfig {
    pub version: Spanned<u32>,
    pub migration: Spanned<String>,
    pub legacy: RawLegacy,
    #[serde(default)]
    pub log: RawLog,
    #[serde(default)]
    pub projection: Option<Spanned<String>>,
    #[serde(default)]
    pub projection_password_file: Option<Spanned<String>>,
    #[serde(default)]
    pub topics: RawTopics,
    #[serde(default)]
    pub planned: RawPlanned,
    #[serde(default)]
    pub replay: RawReplay,
    #[serde(default)]
    pub follow: RawFollow,
    #[serde(default)]
    pub diff: RawDiff,
    #[serde(default)]
    pub registry: RawRegistry,
    #[serde(default)]
    pub scan: RawScan,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawScan {
    pub mode: Option<Spanned<String>>,
    pub ignore: Vec<Spanned<RawAccepted>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawAccepted {
    pub rule: Spanned<String>,
    pub table: Spanned<String>,
    pub column: Spanned<String>,
    pub reason: Spanned<String>,
    pub owner: Spanned<String>,
    pub expires: Spanned<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRegistry {
    pub url: Option<Spanned<String>>,
    pub username: Option<Spanned<String>>,
    pub password_file: Option<Spanned<String>>,
    pub ca_file: Option<Spanned<String>>,
    pub compatibility: Option<Spanned<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawReplay {
    pub transaction_rows: Option<Spanned<u64>>,
    pub transaction_ms: Option<Spanned<u64>>,
    pub retained_mb: Option<Spanned<u64>>,
    pub mass_delete_percent: Option<Spanned<u64>>,
    pub mass_delete_rows: Option<Spanned<u64>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawFollow {
    pub keep_changes: Option<Spanned<u64>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLegacy {
    #[serde(default)]
    pub preset: Option<Spanned<String>>,
    #[serde(default)]
    pub mapping: Option<Spanned<String>>,
    pub store: Spanned<String>,
    #[serde(default)]
    pub password_file: Option<Spanned<String>>,
    #[serde(default)]
    pub statement_timeout_ms: Option<Spanned<u64>>,
    #[serde(default)]
    pub slot_warn_mb: Option<Spanned<u64>>,
    #[serde(default)]
    pub slot_drop_mb: Option<Spanned<u64>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawLog {
    #[serde(default)]
    pub embedded: Option<Spanned<String>>,
    #[serde(default)]
    pub kafka: Option<Spanned<RawKafka>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawKafka {
    pub bootstrap: Vec<String>,
    #[serde(default)]
    pub security: Option<Spanned<RawSecurity>>,
    #[serde(default)]
    pub properties: BTreeMap<String, Spanned<String>>,
    /// Copies kept of each topic that says nothing of it.
    #[serde(default)]
    pub replication: Option<Spanned<i32>>,
    #[serde(default)]
    pub roles: IndexMap<String, Spanned<RawActor>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawActor {
    pub user: Spanned<String>,
    #[serde(default)]
    pub host: Option<String>,
    #[serde(default)]
    pub quotas: IndexMap<String, u64>,
}

/// Topics by name, and beside them what goes before all names.
#[derive(Clone, Debug, Default)]
pub struct RawTopics {
    pub prefix: Option<Spanned<String>>,
    pub wishes: IndexMap<String, Spanned<RawTopicWish>>,
}

impl<'de> Deserialize<'de> for RawTopics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Topics;
        impl<'de> Visitor<'de> for Topics {
            type Value = RawTopics;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("'prefix', and topics by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawTopics, A::Error> {
                let mut topics = RawTopics::default();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "prefix" {
                        topics.prefix = Some(map.next_value()?);
                    } else {
                        topics.wishes.insert(name, map.next_value()?);
                    }
                }
                Ok(topics)
            }
        }
        deserializer.deserialize_map(Topics)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawTopicWish {
    pub partitions: Option<Spanned<i32>>,
    pub replication: Option<Spanned<i32>>,
    pub configs: IndexMap<String, Spanned<String>>,
    pub state: Option<Spanned<String>>,
    pub undeclared: Option<Spanned<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawPlanned {
    pub days: Option<Spanned<u64>>,
    pub mb_per_day: Option<Spanned<u64>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawSecurity {
    pub protocol: Option<Spanned<String>>,
    pub mechanism: Option<Spanned<String>>,
    pub username: Option<Spanned<String>>,
    pub password_file: Option<Spanned<String>>,
    pub ca_file: Option<Spanned<String>>,
    pub certificate_file: Option<Spanned<String>>,
    pub key_file: Option<Spanned<String>>,
    pub key_password_file: Option<Spanned<String>>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawDiff {
    pub ignore: Vec<Spanned<RawIgnore>>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawIgnore {
    pub table: Spanned<String>,
    pub column: Spanned<String>,
    pub reason: Spanned<String>,
    pub owner: Spanned<String>,
    pub expires: Spanned<String>,
}
