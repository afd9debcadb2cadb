//! The contract of the events as an AsyncAPI 3 document, from mapping and schemas. Pure.

mod schemas;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value as Json, json};

use crate::event::encode::VERSION;
use crate::mapping::{Key, Mapping, Table, Topic};
use crate::plan::subject;

/// What a contract is made of; nothing in it is secret.
#[derive(Clone, Debug)]
pub struct Contract<'a> {
    pub migration: &'a str,
    pub mapping: &'a Mapping,
    /// Brokers as `host:port`; none where the log is no Kafka.
    pub brokers: &'a [String],
    /// Kafka's security protocol and the mechanism of the log-in.
    pub protocol: &'a str,
    pub mechanism: Option<&'a str>,
    pub registry: Option<&'a str>,
    /// Copies of each topic, where known.
    pub replicas: BTreeMap<String, i32>,
}

const KAFKA: &str = "0.5.0";

impl Contract<'_> {
    /// The document.
    pub fn document(&self) -> Json {
        let mut document = json!({
            "asyncapi": "3.0.0",
            "info": {
                "title": format!("row events of {}", self.migration),
                "version": format!("{VERSION}.0.0"),
                "description": "Each message is a CloudEvents 1.0 event in Kafka's binary mode: one change of one row. \
                                Read committed transactions only.",
            },
            "defaultContentType": "application/json",
        });
        if !self.brokers.is_empty() {
            document["servers"] = self.servers();
        }
        let messages = self.messages();
        document["channels"] = self.channels(&messages);
        document["operations"] = self.operations(&messages);
        let mut components = json!({
            "messages": messages.iter().map(|message| (message.key.clone(), self.message(message))).collect::<Map<_, _>>(),
            "schemas": schemas::components(self.migration, self.mapping),
        });
        if let Some(scheme) = self.security_scheme() {
            components["securitySchemes"] = json!({"login": scheme});
        }
        document["components"] = components;
        document
    }

    fn servers(&self) -> Json {
        let encrypted = self.protocol.ends_with("SSL");
        let servers = self.brokers.iter().zip(1..).map(|(broker, number)| {
            let mut server = json!({
                "host": broker,
                "protocol": if encrypted { "kafka-secure" } else { "kafka" },
            });
            if self.security_scheme().is_some() {
                server["security"] = json!([reference("securitySchemes", "login")]);
            }
            if let Some(url) = self.registry {
                server["bindings"] = json!({
                    "kafka": {"schemaRegistryUrl": url, "schemaRegistryVendor": "confluent", "bindingVersion": KAFKA},
                });
            }
            (format!("broker-{number}"), server)
        });
        Json::Object(servers.collect())
    }

    fn security_scheme(&self) -> Option<Json> {
        if self.brokers.is_empty() || !self.protocol.starts_with("SASL") {
            return None;
        }
        let kind = match self.mechanism.unwrap_or("PLAIN") {
            "SCRAM-SHA-256" => "scramSha256",
            "SCRAM-SHA-512" => "scramSha512",
            _ => "plain",
        };
        Some(json!({"type": kind}))
    }

    /// One message for each event type of each table.
    fn messages(&self) -> Vec<Message<'_>> {
        let mut taken = BTreeSet::new();
        let mut messages = Vec::new();
        for table in &self.mapping.tables {
            for (name, forms) in types(table) {
                let mut key = component(&name);
                if taken.contains(&key) {
                    key = component(&format!("{}.{name}", table.name));
                }
                let plain = key.clone();
                let mut number = 2;
                while !taken.insert(key.clone()) {
                    key = format!("{plain}-{number}");
                    number += 1;
                }
                messages.push(Message { key, table, name, forms });
            }
        }
        messages
    }

    fn channels(&self, messages: &[Message<'_>]) -> Json {
        let channels = self.mapping.topics.iter().map(|topic| {
            let own = messages.iter().filter(|message| message.table.topic == topic.name);
            let own: Map<String, Json> =
                own.map(|message| (message.key.clone(), reference("messages", &message.key))).collect();
            let channel = json!({
                "address": topic.name,
                "messages": own,
                "bindings": {"kafka": self.channel_binding(topic)},
            });
            (component(&topic.name), channel)
        });
        Json::Object(channels.collect())
    }

    fn channel_binding(&self, topic: &Topic) -> Json {
        let mut binding = json!({"topic": topic.name, "partitions": topic.partitions});
        if let Some(replicas) = self.replicas.get(&topic.name) {
            binding["replicas"] = (*replicas).into();
        }
        if !topic.configs.is_empty() {
            binding["topicConfiguration"] =
                Json::Object(topic.configs.iter().map(|(name, value)| (name.clone(), config(name, value))).collect());
        }
        binding["bindingVersion"] = KAFKA.into();
        binding
    }

    fn operations(&self, messages: &[Message<'_>]) -> Json {
        let mut operations = Map::new();
        for topic in &self.mapping.topics {
            let channel = component(&topic.name);
            let own: Vec<Json> = messages
                .iter()
                .filter(|message| message.table.topic == topic.name)
                .map(|message| json!({"$ref": format!("#/channels/{channel}/messages/{}", message.key)}))
                .collect();
            if own.is_empty() {
                continue;
            }
            for (action, verb) in [("send", "writes"), ("receive", "reads")] {
                operations.insert(
                    format!("{action}-{channel}"),
                    json!({
                        "action": action,
                        "channel": {"$ref": format!("#/channels/{channel}")},
                        "summary": format!("crossfade {verb} the row events of {}", topic.name),
                        "messages": own,
                        "bindings": {"kafka": {
                            "clientId": {"type": "string", "enum": ["crossfade"]},
                            "bindingVersion": KAFKA,
                        }},
                    }),
                );
            }
        }
        Json::Object(operations)
    }

    fn message(&self, message: &Message<'_>) -> Json {
        let table = message.table;
        let headers = json!({"type": "object", "properties": {
            "ce_type": {"const": message.name},
        }});
        let payload = |form: &&str| reference("schemas", &component(&format!("{}.{form}", table.name)));
        let mut payloads: Vec<Json> = message.forms.iter().map(payload).collect();
        let mut kafka = json!({"key": key(table)});
        if self.registry.is_some() {
            // The value itself is plain JSON, without a schema's id; a client that wants one finds it by name.
            kafka["schemaLookupStrategy"] = "TopicRecordNameStrategy".into();
        }
        kafka["bindingVersion"] = KAFKA.into();
        json!({
            "name": message.name,
            "title": format!("{} of table {}", message.name, table.name),
            "contentType": "application/json",
            "headers": {"allOf": [reference("schemas", schemas::HEADERS), headers]},
            "payload": if payloads.len() == 1 { payloads.remove(0) } else { json!({"oneOf": payloads}) },
            "bindings": {"kafka": kafka},
            "x-subject": subject(table),
        })
    }
}

struct Message<'a> {
    /// Its name in the document.
    key: String,
    table: &'a Table,
    name: String,
    forms: Vec<&'static str>,
}

/// The event types of a table, with the forms of value each may have.
fn types(table: &Table) -> Vec<(String, Vec<&'static str>)> {
    let events = &table.events;
    let updates = events.updates.iter().map(|update| &update.name).chain([&events.update]);
    let all = [(&events.insert, "written")].into_iter();
    let all = all.chain(updates.map(|name| (name, "updated"))).chain([(&events.delete, "deleted")]);
    let mut types: Vec<(String, Vec<&'static str>)> = Vec::new();
    for (name, form) in all {
        match types.iter_mut().find(|(known, _)| known == name) {
            Some((_, forms)) if forms.contains(&form) => {}
            Some((_, forms)) => forms.push(form),
            None => types.push((name.clone(), vec![form])),
        }
    }
    types
}

fn key(table: &Table) -> Json {
    let fields: Vec<&str> = table.fields().collect();
    let named = |cells: &[usize]| {
        let names: Vec<&str> = cells.iter().filter_map(|cell| fields.get(*cell).copied()).collect();
        names.join(", ")
    };
    let description = match &table.key {
        Key::Cells(cells) => format!("the text of {}, of several a JSON array of texts", named(cells)),
        Key::Through(through) => {
            format!("the key of the row of {} that {} refers to", through.parent, through.columns.join(", "))
        }
    };
    json!({"type": "string", "description": description})
}

/// A topic's config as the Kafka binding has it: texts but for those it wants otherwise.
fn config(name: &str, value: &str) -> Json {
    match name {
        "cleanup.policy" => value.split(',').map(|word| Json::from(word.trim())).collect(),
        "retention.ms" | "retention.bytes" | "delete.retention.ms" | "max.message.bytes" => {
            value.parse::<i64>().map_or_else(|_| value.into(), Json::from)
        }
        "confluent.key.schema.validation" | "confluent.value.schema.validation" => {
            value.parse::<bool>().map_or_else(|_| value.into(), Json::from)
        }
        _ => value.into(),
    }
}

fn reference(kind: &str, name: &str) -> Json {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

/// A name as a component may have: letters, digits, `.`, `-` and `_`. Others become `_` and their code.
fn component(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => text.push(character),
            other => text.push_str(&format!("_{:x}_", u32::from(other))),
        }
    }
    text
}
