//! Proofs on schemas: that every instance of one is an instance of the other, or that no instance is.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::{Map, Number, Value as Json};

use super::instance::valid;

/// A schema and the document its references point into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    root: &'a Json,
    pub(super) schema: &'a Json,
}

/// Beyond this a schema is too deep, or refers to itself.
pub(super) const DEEPEST: usize = 24;
const MOST_CASES: usize = 2_000;

/// Keywords that no instance is judged by.
const ANNOTATIONS: &[&str] = &[
    "$schema",
    "$id",
    "$defs",
    "$comment",
    "$anchor",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "contentEncoding",
    "contentMediaType",
];

pub(super) fn is_annotation(keyword: &str) -> bool {
    ANNOTATIONS.contains(&keyword)
}

impl<'a> Node<'a> {
    pub(super) fn root(schema: &'a Json) -> Self {
        Self { root: schema, schema }
    }

    pub(super) fn with(self, schema: &'a Json) -> Self {
        Self { root: self.root, schema }
    }

    /// Where `#/…` points to, within the document only.
    pub(super) fn referred(self, reference: &str) -> Option<Self> {
        self.root.pointer(reference.strip_prefix('#')?).map(|schema| self.with(schema))
    }

    pub(super) fn keywords(self) -> Option<&'a Map<String, Json>> {
        self.schema.as_object()
    }

    pub(super) fn get(self, keyword: &str) -> Option<&'a Json> {
        self.schema.get(keyword)
    }

    fn list(self, keyword: &str) -> impl Iterator<Item = Self> {
        self.get(keyword).and_then(Json::as_array).into_iter().flatten().map(move |schema| self.with(schema))
    }

    fn number(self, keyword: &str) -> Option<&'a Number> {
        self.get(keyword).and_then(Json::as_number)
    }

    pub(super) fn property(self, name: &str) -> Option<Self> {
        self.get("properties")?.get(name).map(|schema| self.with(schema))
    }

    pub(super) fn required(self) -> impl Iterator<Item = &'a str> {
        self.get("required").and_then(Json::as_array).into_iter().flatten().filter_map(Json::as_str)
    }

    /// The names it takes, where it takes no others.
    fn only_names(self) -> Option<BTreeSet<&'a str>> {
        let closed = self.get("additionalProperties") == Some(&Json::Bool(false));
        (closed && self.get("patternProperties").is_none()).then(|| self.names().collect())
    }

    pub(super) fn names(self) -> impl Iterator<Item = &'a str> {
        self.get("properties").and_then(Json::as_object).into_iter().flatten().map(|(name, _)| name.as_str())
    }
}

/// What an instance is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form<'a> {
    Number { whole: bool },
    Text,
    Array,
    Object,
    Value(&'a Json),
}

/// Instances of one form for which all of `parts` hold.
#[derive(Clone, Debug)]
pub(super) struct Case<'a> {
    pub(super) form: Form<'a>,
    pub(super) parts: Vec<Node<'a>>,
}

/// What stands in the way of a proof. `{reader}` in the text is the schema that is to take the instances.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gap {
    pub(super) path: String,
    pub(super) what: String,
}

fn gap(path: &str, what: impl Into<String>) -> Vec<Gap> {
    vec![Gap { path: path.to_owned(), what: what.into() }]
}

/// JSON's types, a bit each; an integer is a number of its own.
const NULL: u8 = 1;
const BOOL: u8 = 2;
const WHOLE: u8 = 4;
const NUMBER: u8 = 8;
const TEXT: u8 = 16;
const ARRAY: u8 = 32;
const OBJECT: u8 = 64;
const EVERY: u8 = 127;

fn bits(kind: &Json) -> u8 {
    let bit = |word: &str| match word {
        "null" => NULL,
        "boolean" => BOOL,
        "integer" => WHOLE,
        "number" => NUMBER | WHOLE,
        "string" => TEXT,
        "array" => ARRAY,
        "object" => OBJECT,
        _ => 0,
    };
    match kind {
        Json::String(word) => bit(word),
        Json::Array(words) => words.iter().filter_map(Json::as_str).fold(0, |bits, word| bits | bit(word)),
        _ => 0,
    }
}

pub(super) fn has_type(kind: &Json, value: &Json) -> bool {
    let is = match value {
        Json::Null => NULL,
        Json::Bool(_) => BOOL,
        Json::Number(number) if is_whole(number) => WHOLE,
        Json::Number(_) => NUMBER,
        Json::String(_) => TEXT,
        Json::Array(_) => ARRAY,
        Json::Object(_) => OBJECT,
    };
    bits(kind) & is != 0
}

fn is_whole(number: &Number) -> bool {
    number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
}

/// Exact where both are integers.
pub(super) fn compare(left: &Number, right: &Number) -> Option<Ordering> {
    let exact = |number: &Number| number.as_i64().map(i128::from).or(number.as_u64().map(i128::from));
    match (exact(left), exact(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        _ => left.as_f64()?.partial_cmp(&right.as_f64()?),
    }
}

/// A schema being taken apart.
#[derive(Clone)]
struct Open<'a> {
    parts: Vec<Node<'a>>,
    types: u8,
    values: Option<Vec<&'a Json>>,
    choices: Vec<Vec<Node<'a>>>,
}

impl<'a> Open<'a> {
    /// Takes a schema in. A keyword that is not known only narrows, so leaving it out proves nothing wrong.
    fn take(&mut self, node: Node<'a>, depth: usize) -> Result<(), Gap> {
        if depth > DEEPEST {
            return Err(Gap { path: String::new(), what: "a schema refers to itself".to_owned() });
        }
        let Some(keywords) = node.keywords() else {
            if node.schema == &Json::Bool(false) {
                self.types = 0;
            }
            return Ok(());
        };
        self.parts.push(node);
        for (keyword, value) in keywords {
            match keyword.as_str() {
                "$ref" => {
                    if let Some(referred) = value.as_str().and_then(|reference| node.referred(reference)) {
                        self.take(referred, depth + 1)?;
                    }
                }
                "allOf" => node.list(keyword).try_for_each(|part| self.take(part, depth + 1))?,
                "anyOf" | "oneOf" => self.choices.push(node.list(keyword).collect()),
                "type" => self.types &= bits(value),
                "const" => self.keep(&[value]),
                "enum" => self.keep(&value.as_array().into_iter().flatten().collect::<Vec<_>>()),
                _ => {}
            }
        }
        Ok(())
    }

    fn keep(&mut self, values: &[&'a Json]) {
        self.values = Some(match self.values.take() {
            None => values.to_vec(),
            Some(kept) => kept.into_iter().filter(|kept| values.iter().any(|value| same(kept, value))).collect(),
        });
    }

    fn close(mut self, depth: usize, cases: &mut Vec<Case<'a>>) -> Result<(), Gap> {
        if let Some(choices) = self.choices.pop() {
            for choice in choices {
                let mut open = self.clone();
                open.take(choice, depth + 1)?;
                open.close(depth + 1, cases)?;
            }
            return Ok(());
        }
        let mut forms = Vec::new();
        match &self.values {
            Some(values) => forms.extend(values.iter().map(|value| Form::Value(value))),
            None => {
                let bits = [(NULL, &[Json::Null][..]), (BOOL, &[Json::Bool(false), Json::Bool(true)])];
                for (bit, values) in bits {
                    if self.types & bit != 0 {
                        forms.extend(values.iter().map(Form::Value));
                    }
                }
                if self.types & (NUMBER | WHOLE) != 0 {
                    forms.push(Form::Number { whole: self.types & NUMBER == 0 });
                }
                for (bit, form) in [(TEXT, Form::Text), (ARRAY, Form::Array), (OBJECT, Form::Object)] {
                    if self.types & bit != 0 {
                        forms.push(form);
                    }
                }
            }
        }
        for form in forms {
            let case = Case { form, parts: self.parts.clone() };
            if !case.impossible(depth) {
                cases.push(case);
            }
        }
        if cases.len() > MOST_CASES {
            return Err(Gap { path: String::new(), what: "a schema has too many alternatives".to_owned() });
        }
        Ok(())
    }
}

/// Takes the instances for which all of `nodes` hold apart: together the cases have every one of them.
pub(super) fn cases<'a>(nodes: &[Node<'a>], depth: usize) -> Result<Vec<Case<'a>>, Gap> {
    let mut open = Open { parts: Vec::new(), types: EVERY, values: None, choices: Vec::new() };
    nodes.iter().try_for_each(|node| open.take(*node, depth))?;
    let mut cases = Vec::new();
    open.close(depth, &mut cases)?;
    Ok(cases)
}

/// JSON Schema's equality: `1` is `1.0`.
pub(super) fn same(left: &Json, right: &Json) -> bool {
    match (left, right) {
        (Json::Number(left), Json::Number(right)) => compare(left, right) == Some(Ordering::Equal),
        (Json::Array(left), Json::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Json::Object(left), Json::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, left)| right.get(name).is_some_and(|right| same(left, right)))
        }
        _ => left == right,
    }
}

impl<'a> Case<'a> {
    /// Whether there surely is no such instance.
    fn impossible(&self, depth: usize) -> bool {
        if let Form::Value(value) = self.form {
            return self.parts.iter().any(|part| valid(*part, value, depth) == Some(false));
        }
        let nots = self.parts.iter().filter_map(|part| part.get("not").map(|not| part.with(not)));
        nots.into_iter().any(|not| covers(self, not, "", depth + 1).is_empty())
    }

    fn requires(&self, name: &str) -> bool {
        self.parts.iter().any(|part| part.required().any(|required| required == name))
    }

    /// All that is said of a property; `None` where there can be none of this name.
    pub(super) fn property(&self, name: &str) -> Option<Vec<Node<'a>>> {
        let mut nodes = Vec::new();
        for part in &self.parts {
            match part.property(name) {
                Some(node) => nodes.push(node),
                None if part.only_names().is_some() => return None,
                None => {}
            }
        }
        Some(nodes)
    }

    /// The names its instances may have, where they can have no others.
    pub(super) fn only_names(&self) -> Option<BTreeSet<&'a str>> {
        self.parts.iter().filter_map(|part| part.only_names()).reduce(|left, right| &left & &right)
    }

    fn has_bound(&self, keyword: &str, bound: &Number, wanted: Ordering) -> bool {
        let bounds = self.parts.iter().filter_map(|part| part.number(keyword));
        bounds.into_iter().any(|own| compare(own, bound).is_some_and(|order| order == wanted || order.is_eq()))
    }

    fn word(&self) -> String {
        match self.form {
            Form::Number { whole: true } => "an integer".to_owned(),
            Form::Number { whole: false } => "a number".to_owned(),
            Form::Text => "a string".to_owned(),
            Form::Array => "an array".to_owned(),
            Form::Object => "an object".to_owned(),
            Form::Value(value) => value.to_string(),
        }
    }

    fn bits(&self) -> u8 {
        match self.form {
            Form::Number { whole: true } => WHOLE,
            Form::Number { whole: false } => NUMBER | WHOLE,
            Form::Text => TEXT,
            Form::Array => ARRAY,
            Form::Object => OBJECT,
            Form::Value(_) => 0,
        }
    }
}

/// What stands in the way of `node` taking every instance of the case; nothing when it is proven.
pub(super) fn covers(case: &Case<'_>, node: Node<'_>, path: &str, depth: usize) -> Vec<Gap> {
    if depth > DEEPEST {
        return gap(path, "a schema refers to itself");
    }
    if let Form::Value(value) = case.form {
        return match valid(node, value, depth) {
            Some(true) => Vec::new(),
            Some(false) => gap(path, format!("{value} is not taken by {{reader}}")),
            None => gap(path, format!("whether {value} is taken by {{reader}} is not known")),
        };
    }
    let Some(keywords) = node.keywords() else {
        return if node.schema == &Json::Bool(true) { Vec::new() } else { gap(path, "{reader} takes nothing here") };
    };
    keywords.iter().flat_map(|(keyword, value)| covers_keyword(case, node, (keyword, value), path, depth)).collect()
}

fn covers_keyword(
    case: &Case<'_>,
    node: Node<'_>,
    (keyword, value): (&str, &Json),
    path: &str,
    depth: usize,
) -> Vec<Gap> {
    let object = case.form == Form::Object;
    let number = matches!(case.form, Form::Number { .. });
    let unless = |proven: bool, what: String| if proven { Vec::new() } else { gap(path, what) };
    match keyword {
        "$ref" => match value.as_str().and_then(|reference| node.referred(reference)) {
            Some(referred) => covers(case, referred, path, depth + 1),
            None => gap(path, format!("the reference {value} is not understood")),
        },
        "type" => {
            let taken = case.bits() & !bits(value) == 0;
            unless(taken, format!("{} is not taken by {{reader}}", case.word()))
        }
        "const" | "enum" => gap(path, format!("{} may be anything; {{reader}} takes {value} only", case.word())),
        "allOf" => node.list(keyword).flat_map(|part| covers(case, part, path, depth + 1)).collect(),
        "anyOf" | "oneOf" => one_covers(case, node, keyword, path, depth),
        "not" => {
            let proven = disjoint(case, node.with(value), depth + 1);
            unless(proven, format!("{{reader}} does not take what matches {value}"))
        }
        "properties" if object => {
            let named = node.names().filter_map(|name| Some((name, case.property(name)?, node.property(name)?)));
            named
                .flat_map(|(name, own, wanted)| {
                    let path = format!("{path}/{name}");
                    match cases(&own, depth + 1) {
                        Ok(cases) => cases.iter().flat_map(|case| covers(case, wanted, &path, depth + 1)).collect(),
                        Err(gap) => vec![Gap { path, ..gap }],
                    }
                })
                .collect()
        }
        "required" if object => {
            let lacks = node.required().filter(|name| !case.requires(name));
            lacks.flat_map(|name| gap(path, format!("'{name}' may be absent, and {{reader}} requires it"))).collect()
        }
        "additionalProperties" if object && value == &Json::Bool(false) => {
            let known: BTreeSet<&str> = node.names().collect();
            match case.only_names() {
                None => gap(path, "any property may be there, and {reader} takes only those it names"),
                Some(names) => {
                    let more = names.into_iter().filter(|name| !known.contains(name));
                    more.flat_map(|name| gap(path, format!("'{name}' is not taken by {{reader}}"))).collect()
                }
            }
        }
        "additionalProperties" if !object || value == &Json::Bool(true) => Vec::new(),
        "minimum" | "maximum" if number => {
            let wanted = if keyword == "minimum" { Ordering::Greater } else { Ordering::Less };
            let proven = value.as_number().is_some_and(|bound| case.has_bound(keyword, bound, wanted));
            unless(proven, format!("{{reader}} has the {keyword} {value}"))
        }
        "maxLength" if case.form == Form::Text => {
            let proven = value.as_number().is_some_and(|bound| case.has_bound(keyword, bound, Ordering::Less));
            unless(proven, format!("{{reader}} takes at most {value} characters"))
        }
        "pattern" if case.form == Form::Text => {
            let proven = case.parts.iter().any(|part| part.get(keyword) == Some(value));
            unless(proven, format!("{{reader}} takes only what matches {value}"))
        }
        "properties" | "required" | "minimum" | "maximum" | "maxLength" | "pattern" => Vec::new(),
        keyword if is_annotation(keyword) => Vec::new(),
        keyword => gap(path, format!("the keyword '{keyword}' of {{reader}} is not understood")),
    }
}

/// Whether one alternative takes the whole case; of `oneOf` no other may take any of it.
fn one_covers(case: &Case<'_>, node: Node<'_>, keyword: &str, path: &str, depth: usize) -> Vec<Gap> {
    let gaps: Vec<Vec<Gap>> = node.list(keyword).map(|choice| covers(case, choice, path, depth + 1)).collect();
    let Some(taken) = gaps.iter().position(Vec::is_empty) else {
        // The nearest alternative has the reasons of interest: those deepest in the instance, then the fewest.
        let near = gaps.into_iter().min_by_key(|gaps| {
            let deepest = gaps.iter().map(|gap| gap.path.matches('/').count()).min().unwrap_or(0);
            (std::cmp::Reverse(deepest), gaps.len())
        });
        return match near {
            Some(gaps) if gaps.iter().any(|gap| gap.path != path) => gaps,
            _ => gap(path, format!("{} is not taken by {{reader}}", case.word())),
        };
    };
    let others = node.list(keyword).enumerate().filter(|(at, _)| keyword == "oneOf" && *at != taken);
    if others.into_iter().all(|(_, other)| disjoint(case, other, depth + 1)) {
        return Vec::new();
    }
    gap(path, "whether exactly one alternative of {reader} matches is not known")
}

/// Whether it is proven that no instance of the case is one of `node`.
fn disjoint(case: &Case<'_>, node: Node<'_>, depth: usize) -> bool {
    if depth > DEEPEST {
        return false;
    }
    if let Form::Value(value) = case.form {
        return valid(node, value, depth) == Some(false);
    }
    let Some(keywords) = node.keywords() else { return node.schema == &Json::Bool(false) };
    let mut nots = case.parts.iter().filter_map(|part| part.get("not").map(|not| part.with(not)));
    let excluded = nots.any(|not| {
        cases(&[node], depth + 1)
            .is_ok_and(|cases| cases.iter().all(|case| covers(case, not, "", depth + 1).is_empty()))
    });
    excluded || keywords.iter().any(|(keyword, value)| apart(case, node, (keyword, value), depth))
}

fn apart(case: &Case<'_>, node: Node<'_>, (keyword, value): (&str, &Json), depth: usize) -> bool {
    let object = case.form == Form::Object;
    let never = |value: &Json| {
        !has_bits(case, value) || case.parts.iter().any(|part| valid(*part, value, depth + 1) == Some(false))
    };
    match keyword {
        "$ref" => {
            let referred = value.as_str().and_then(|reference| node.referred(reference));
            referred.is_some_and(|referred| disjoint(case, referred, depth + 1))
        }
        "type" => case.bits() & bits(value) == 0,
        "const" => never(value),
        "enum" => value.as_array().is_some_and(|values| values.iter().all(never)),
        "allOf" => node.list(keyword).any(|part| disjoint(case, part, depth + 1)),
        "anyOf" | "oneOf" => node.list(keyword).all(|choice| disjoint(case, choice, depth + 1)),
        "not" => covers(case, node.with(value), "", depth + 1).is_empty(),
        "required" if object => node.required().any(|name| case.property(name).is_none()),
        "additionalProperties" if object => node.only_names().is_some_and(|names| {
            case.parts.iter().flat_map(|part| part.required()).any(|required| !names.contains(required))
        }),
        "properties" if object => node.names().any(|name| {
            let there = case.requires(name) || node.required().any(|required| required == name);
            let (Some(own), Some(theirs)) = (case.property(name), node.property(name)) else { return false };
            there
                && cases(&own, depth + 1).is_ok_and(|cases| cases.iter().all(|case| disjoint(case, theirs, depth + 1)))
        }),
        _ => false,
    }
}

fn has_bits(case: &Case<'_>, value: &Json) -> bool {
    let kinds = [
        (NULL, "null"),
        (BOOL, "boolean"),
        (WHOLE, "integer"),
        (NUMBER, "number"),
        (TEXT, "string"),
        (ARRAY, "array"),
        (OBJECT, "object"),
    ];
    kinds.iter().any(|(bit, word)| case.bits() & bit != 0 && has_type(&Json::String((*word).to_owned()), value))
}
