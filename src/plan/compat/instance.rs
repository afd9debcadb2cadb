//! Instances of schemas: which are valid, and some of each to try.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::{Map, Value as Json, json};

use super::proof::{Case, DEEPEST, Form, Node, cases, compare, has_type, is_annotation, same};

/// Whether the instance is valid; `None` where a keyword is not understood and nothing else decides.
pub(super) fn valid(node: Node<'_>, value: &Json, depth: usize) -> Option<bool> {
    if depth > DEEPEST {
        return None;
    }
    let Some(keywords) = node.keywords() else { return node.schema.as_bool() };
    all(keywords.iter().map(|(keyword, of)| keeps(node, (keyword, of), value, depth + 1)))
}

fn all(answers: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut every = Some(true);
    for answer in answers {
        match answer {
            Some(false) => return Some(false),
            Some(true) => {}
            None => every = None,
        }
    }
    every
}

fn keeps(node: Node<'_>, (keyword, of): (&str, &Json), value: &Json, depth: usize) -> Option<bool> {
    let choices = || of.as_array().into_iter().flatten().map(|choice| valid(node.with(choice), value, depth));
    match (keyword, value) {
        ("$ref", _) => valid(node.referred(of.as_str()?)?, value, depth),
        ("type", _) => Some(has_type(of, value)),
        ("const", _) => Some(same(of, value)),
        ("enum", _) => Some(of.as_array()?.iter().any(|word| same(word, value))),
        ("allOf", _) => all(choices()),
        ("anyOf", _) => all(choices().map(|answer| answer.map(|valid| !valid))).map(|none| !none),
        ("oneOf", _) => {
            let answers: Vec<Option<bool>> = choices().collect();
            match answers.iter().filter(|answer| **answer == Some(true)).count() {
                2.. => Some(false),
                _ if answers.contains(&None) => None,
                count => Some(count == 1),
            }
        }
        ("not", _) => valid(node.with(of), value, depth).map(|valid| !valid),
        ("properties", Json::Object(members)) => all(members
            .iter()
            .map(|(name, member)| node.property(name).map_or(Some(true), |property| valid(property, member, depth)))),
        ("required", Json::Object(members)) => Some(node.required().all(|name| members.contains_key(name))),
        ("additionalProperties", Json::Object(members)) => {
            if node.get("patternProperties").is_some() {
                return None;
            }
            let known: BTreeSet<&str> = node.names().collect();
            let more = members.iter().filter(|(name, _)| !known.contains(name.as_str()));
            all(more.map(|(_, member)| valid(node.with(of), member, depth)))
        }
        ("minimum", Json::Number(number)) => compare(number, of.as_number()?).map(Ordering::is_ge),
        ("maximum", Json::Number(number)) => compare(number, of.as_number()?).map(Ordering::is_le),
        ("maxLength", Json::String(text)) => Some(text.chars().count() as u64 <= of.as_u64()?),
        // Of patterns only this is known: one that begins and ends the text and has only groups that may be left out.
        ("pattern", Json::String(text)) => (text.is_empty() && of.as_str()? == BASE64).then_some(true),
        ("properties" | "required" | "additionalProperties" | "minimum" | "maximum" | "maxLength" | "pattern", _) => {
            Some(true)
        }
        (keyword, _) if is_annotation(keyword) => Some(true),
        _ => None,
    }
}

/// The pattern of a base64 text, as events have it.
const BASE64: &str = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$";

/// Numbers and texts at the limits that schemas set.
pub(super) struct Pool(Vec<Json>);

impl Pool {
    pub(super) fn of(nodes: &[Node<'_>]) -> Self {
        let mut pool = vec![json!(0), json!(1), json!(0.5), json!(-1), json!(1e300), json!(""), json!("a")];
        nodes.iter().for_each(|node| harvest(node.schema, &mut pool));
        Self(pool)
    }
}

fn harvest(schema: &Json, pool: &mut Vec<Json>) {
    match schema {
        Json::Array(schemas) => schemas.iter().for_each(|schema| harvest(schema, pool)),
        Json::Object(keywords) => {
            for (keyword, value) in keywords {
                match (keyword.as_str(), value) {
                    ("minimum" | "maximum", Json::Number(bound)) => {
                        pool.push(value.clone());
                        if let Some(bound) = bound.as_i64() {
                            pool.extend([bound.saturating_add(1).into(), bound.saturating_sub(1).into()]);
                        } else if let Some(bound) = bound.as_f64() {
                            pool.extend([(bound + 0.5).into(), (bound - 0.5).into()]);
                        }
                    }
                    ("maxLength", Json::Number(most)) => {
                        let most = most.as_u64().unwrap_or(0).min(10_000) as usize;
                        pool.extend([Json::from("x".repeat(most)), Json::from("x".repeat(most + 1))]);
                    }
                    (_, value) => harvest(value, pool),
                }
            }
        }
        _ => {}
    }
}

const MOST: usize = 400;

/// Some instances that may be of the case; whoever uses them asks [`valid`].
pub(super) fn samples(case: &Case<'_>, pool: &Pool, depth: usize) -> Vec<Json> {
    if depth > DEEPEST {
        return Vec::new();
    }
    match case.form {
        Form::Value(value) => vec![value.clone()],
        Form::Array => vec![json!([])],
        Form::Number { .. } => pool.0.iter().filter(|value| value.is_number()).cloned().collect(),
        Form::Text => pool.0.iter().filter(|value| value.is_string()).cloned().collect(),
        Form::Object => objects(case, pool, depth),
    }
}

/// The object of required members, the one of all, and each of both with one member changed or one more.
fn objects(case: &Case<'_>, pool: &Pool, depth: usize) -> Vec<Json> {
    let required: BTreeSet<&str> = case.parts.iter().flat_map(|part| part.required()).collect();
    let named: BTreeSet<&str> =
        case.parts.iter().flat_map(|part| part.names()).chain(required.iter().copied()).collect();
    let mut members: Vec<(&str, Vec<Json>)> = Vec::new();
    for name in named {
        let own = case.property(name).and_then(|nodes| Some((cases(&nodes, depth + 1).ok()?, nodes)));
        let values: Vec<Json> = own.map_or(Vec::new(), |(cases, nodes)| {
            let tried = cases.iter().flat_map(|case| samples(case, pool, depth + 1));
            let good = |value: &Json| nodes.iter().all(|node| valid(*node, value, depth + 1) == Some(true));
            tried.filter(good).take(MOST).collect()
        });
        match values.is_empty() {
            false => members.push((name, values)),
            true if required.contains(name) => return Vec::new(),
            true => {}
        }
    }
    let base = |all: bool| -> Map<String, Json> {
        let there = members.iter().filter(|(name, _)| all || required.contains(name));
        there.map(|(name, values)| ((*name).to_owned(), values[0].clone())).collect()
    };
    let mut objects = Vec::new();
    for object in [base(false), base(true)] {
        for (name, values) in &members {
            for value in values {
                let mut other = object.clone();
                other.insert((*name).to_owned(), value.clone());
                objects.push(Json::Object(other));
            }
        }
        if case.only_names().is_none() {
            let mut more = object.clone();
            more.insert("a property of no schema".to_owned(), Json::Null);
            objects.push(Json::Object(more));
        }
        objects.push(Json::Object(object));
    }
    objects
}
