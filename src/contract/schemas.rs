//! The schemas of a contract. AsyncAPI's own schemas are JSON Schema's draft 7: references go to components, and nothing
//! stands beside one.

use serde_json::{Map, Value as Json, json};

use super::component;
use crate::event::schema::schema;
use crate::mapping::Mapping;

/// The component of the headers every event has.
pub(super) const HEADERS: &str = "cloudevents-headers";

/// Parts of a table's schema that are the same for every table.
const SHARED: &[&str] = &["key", "value", "null", "integer", "number", "real", "string", "text", "blob"];

pub(super) fn components(migration: &str, mapping: &Mapping) -> Json {
    let mut components = Map::new();
    components.insert(HEADERS.to_owned(), headers());
    for table in &mapping.tables {
        let schema = schema(migration, table);
        let parts = schema.get("$defs").and_then(Json::as_object).into_iter().flatten();
        for (name, part) in parts {
            components.insert(place(&table.name, name), draft7(&table.name, part));
        }
    }
    Json::Object(components)
}

/// The component of a part of a table's schema.
fn place(table: &str, part: &str) -> String {
    if SHARED.contains(&part) { format!("value.{part}") } else { component(&format!("{table}.{part}")) }
}

fn draft7(table: &str, schema: &Json) -> Json {
    match schema {
        Json::Array(schemas) => schemas.iter().map(|schema| draft7(table, schema)).collect(),
        Json::Object(keywords) => {
            let mut rest: Map<String, Json> =
                keywords.iter().map(|(keyword, value)| (keyword.clone(), within(table, keyword, value))).collect();
            match rest.get("$ref") {
                Some(reference) if rest.len() > 1 => {
                    let reference = json!({"$ref": reference});
                    rest.remove("$ref");
                    json!({"allOf": [reference, rest]})
                }
                _ => Json::Object(rest),
            }
        }
        other => other.clone(),
    }
}

fn within(table: &str, keyword: &str, value: &Json) -> Json {
    match (keyword, value) {
        // Values, not schemas.
        ("const" | "enum" | "required", value) => value.clone(),
        ("$ref", Json::String(reference)) => match reference.strip_prefix("#/$defs/") {
            Some(part) => format!("#/components/schemas/{}", place(table, part)).into(),
            None => value.clone(),
        },
        // Names of columns, which may be words of JSON Schema.
        ("properties", Json::Object(properties)) => {
            properties.iter().map(|(name, schema)| (name.clone(), draft7(table, schema))).collect::<Map<_, _>>().into()
        }
        (_, value) => draft7(table, value),
    }
}

fn headers() -> Json {
    json!({
        "type": "object",
        "description": "CloudEvents attributes, as Kafka record headers",
        "properties": {
            "ce_specversion": {"const": "1.0"},
            "ce_id": {"type": "string", "format": "uuid", "description": "the same for the same change, however often it is captured"},
            "ce_source": {"type": "string", "description": "<migration>/<store>#<capture>"},
            "ce_type": {"type": "string"},
            "ce_sequence": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{14}$"},
            "ce_time": {"type": "string", "format": "date-time", "description": "the legacy's own time of the row"},
            "ce_redacted": {"type": "string", "contentMediaType": "application/json", "description": "a JSON array of the columns that credentials were taken out of"},
        },
        "required": ["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_sequence"],
    })
}
