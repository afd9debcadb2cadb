//! One JSON document per line: tables, findings, ignore rules, samples, steps, and the verdict last.

use serde::Serialize;

use super::json::{Check, Fact, Finding, Head, Rule, SCHEMA_VERSION, Sample, Table, broken, facts};
use crate::diff::Outcome;

/// A stream without its `verdict` line was cut off.
pub(super) fn render(outcome: &Outcome) -> Vec<u8> {
    let mut out = Vec::new();
    for table in &outcome.tables {
        line(&mut out, "table", Table::from(table));
    }
    for finding in &outcome.findings {
        line(&mut out, "finding", Finding::from(finding));
    }
    for check in &outcome.checks {
        line(&mut out, "check", Check::from(check));
    }
    for rule in &outcome.ignored {
        line(&mut out, "ignore-rule", Rule::from(rule));
    }
    for sample in &outcome.samples {
        line(&mut out, "sample", Sample::from(sample));
    }
    for (index, text) in outcome.steps.iter().enumerate() {
        line(&mut out, "step", Step { number: index + 1, text });
    }
    let (keys_file, next) = (outcome.keys_file.as_deref(), outcome.next.as_deref());
    line(&mut out, "verdict", Closing { head: outcome.into(), facts: facts(outcome).collect(), keys_file, next });
    out
}

#[derive(Serialize)]
struct Line<T> {
    schema_version: u32,
    r#type: &'static str,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize)]
struct Step<'a> {
    number: usize,
    text: &'a str,
}

#[derive(Serialize)]
struct Closing<'a> {
    #[serde(flatten)]
    head: Head<'a>,
    facts: Vec<Fact<'a>>,
    keys_file: Option<&'a str>,
    next: Option<&'a str>,
}

fn line(out: &mut Vec<u8>, name: &'static str, body: impl Serialize) {
    let line = Line { schema_version: SCHEMA_VERSION, r#type: name, body };
    out.extend(serde_json::to_vec(&line).unwrap_or_else(|error| broken(&error)));
    out.push(b'\n');
}
