//! JSON Schemas of row events, made from the mapping. They say the same of a row as [`Table::broken`].

use serde_json::{Map, Value as Json, json};

use super::encode::VERSION;
use crate::mapping::{Rule, Table, Value};

/// The schema of one table's event values.
///
/// The model is closed. Rules bind the new image only: what a row was before, and the identity of a deleted one, may
/// break them. JSON Schema does not tell `1` from `1.0`; the storage class is the reader's to see. The title is the record
/// name by which Confluent's clients find the subject.
pub fn schema(migration: &str, table: &Table) -> Json {
    let row = match rules(table) {
        rules if rules.is_empty() => reference("image"),
        rules => json!({"$ref": "#/$defs/image", "properties": rules}),
    };
    let mut defs = Map::new();
    defs.insert("written".into(), event(table, &["base", "insert"], "row", false));
    defs.insert("updated".into(), event(table, &["update"], "row", true));
    defs.insert("deleted".into(), event(table, &["delete"], "identity", true));
    defs.insert("row".into(), row);
    defs.insert("image".into(), image(table, |_| true));
    defs.insert("identity".into(), image(table, |cell| table.identity.contains(&cell)));
    defs.extend(forms());
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": format!("urn:crossfade:{}:{}:v{VERSION}", urn_part(migration), urn_part(&table.name)),
        "title": table.name,
        "description": format!("row events of table {}", table.name),
        "type": "object",
        "oneOf": [reference("written"), reference("updated"), reference("deleted")],
        "$defs": defs,
    })
}

fn reference(name: &str) -> Json {
    json!({"$ref": format!("#/$defs/{name}")})
}

fn event(table: &Table, ops: &[&str], row: &str, before: bool) -> Json {
    let mut properties = json!({
        "v": {"const": VERSION},
        "table": {"const": table.name},
        "op": {"enum": ops},
        "row": reference(row),
    });
    if before {
        properties["before"] = reference("image");
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": ["v", "table", "op", "row"],
        "additionalProperties": false,
    })
}

/// A closed image of the wanted cells, all of them required. No event has an identity that is null or a blob.
fn image(table: &Table, wanted: impl Fn(usize) -> bool) -> Json {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (cell, field) in table.fields().enumerate().filter(|(cell, _)| wanted(*cell)) {
        let form = if table.identity.contains(&cell) { "key" } else { "value" };
        properties.insert(field.to_owned(), reference(form));
        required.push(field);
    }
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// The forms a value may take, as [`super::codec::Exact`] writes them.
fn forms() -> Map<String, Json> {
    let any = |names: &[&str]| json!({"anyOf": names.iter().map(|name| reference(name)).collect::<Vec<_>>()});
    let tagged = |tag: &str, form: Json| json!({"type": "object", "properties": {tag: form}, "required": [tag], "additionalProperties": false});
    let base64 = json!({
        "type": "string",
        "contentEncoding": "base64",
        "pattern": "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
    });
    [
        ("key", any(&["integer", "number", "real", "string", "text"])),
        ("value", any(&["null", "integer", "number", "real", "string", "text", "blob"])),
        ("null", json!({"type": "null"})),
        ("integer", json!({"type": "integer", "minimum": i64::MIN, "maximum": i64::MAX})),
        ("number", json!({"type": "number", "description": "a real; it has a point or an exponent"})),
        ("real", tagged("$real", json!({"enum": WORDS.map(|(word, _)| word)}))),
        ("string", json!({"type": "string"})),
        ("text", tagged("$text", with(&base64, "description", "a text that is not UTF-8"))),
        ("blob", tagged("$blob", base64)),
    ]
    .into_iter()
    .map(|(name, form)| (name.to_owned(), form))
    .collect()
}

fn with(form: &Json, keyword: &str, text: &str) -> Json {
    let mut form = form.clone();
    form[keyword] = text.into();
    form
}

/// What JSON has no number for.
const WORDS: [(&str, f64); 3] = [("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY), ("NaN", f64::NAN)];

/// The keywords of every column with rules.
fn rules(table: &Table) -> Map<String, Json> {
    let columns = table.columns.iter().filter(|column| !column.rules.is_empty());
    columns.map(|column| (column.name.clone(), joined("allOf", column.rules.iter().map(keywords).collect()))).collect()
}

/// One form as it is, several under `keyword`.
fn joined(keyword: &str, mut forms: Vec<Json>) -> Json {
    if forms.len() == 1 { forms.remove(0) } else { json!({keyword: forms}) }
}

fn keywords(rule: &Rule) -> Json {
    match rule {
        Rule::NotNull => json!({"not": reference("null")}),
        Rule::OneOf(words) => {
            let mut allowed: Vec<Option<&String>> = words.iter().map(Some).collect();
            allowed.push(None);
            json!({"enum": allowed})
        }
        Rule::Min(limit) => bound("minimum", *limit, rule),
        Rule::Max(limit) => bound("maximum", *limit, rule),
        Rule::MaxLength(most) => json!({"maxLength": most}),
    }
}

/// A bound on numbers. The reals that JSON has no number for are objects there, and so are bounds of no finite value.
fn bound(keyword: &str, limit: f64, rule: &Rule) -> Json {
    let broken: Vec<&str> =
        WORDS.iter().filter(|(_, number)| !rule.keeps(Value::Real(*number))).map(|(word, _)| *word).collect();
    let mut bound = Map::new();
    if limit.is_finite() {
        bound.insert(keyword.to_owned(), limit.into());
    }
    let mut never = Vec::new();
    if !limit.is_finite() && !rule.keeps(Value::Real(0.0)) {
        never.push(json!({"type": "number"}));
    }
    if !broken.is_empty() {
        never.push(json!({"type": "object", "properties": {"$real": {"enum": broken}}, "required": ["$real"]}));
    }
    if !never.is_empty() {
        bound.insert("not".to_owned(), joined("anyOf", never));
    }
    Json::Object(bound)
}

/// Percent-encodes what a URN has no place for.
fn urn_part(text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            part.push(char::from(byte));
        } else {
            part.push_str(&format!("%{byte:02X}"));
        }
    }
    part
}
