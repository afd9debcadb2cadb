//! The document for programs. These structs are its contract: a change of meaning raises `SCHEMA_VERSION`.

use serde::Serialize;

use super::total;
use super::wording::{difference, kind_code, place, severity};
use crate::diff;

/// Version of the JSON and NDJSON documents.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// Renders `outcome` as one indented document.
pub(super) fn render(outcome: &diff::Outcome) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(&Report::from(outcome)).unwrap_or_else(|error| broken(&error));
    bytes.push(b'\n');
    bytes
}

/// Stands for a document that could not be written, so that no reader takes silence for a result.
pub(super) fn broken(error: &serde_json::Error) -> Vec<u8> {
    let text = serde_json::Value::from(error.to_string());
    format!("{{\"schema_version\":{SCHEMA_VERSION},\"verdict\":\"INCONCLUSIVE\",\"reason\":{text}}}").into_bytes()
}

#[derive(Serialize)]
struct Report<'a> {
    schema_version: u32,
    #[serde(flatten)]
    head: Head<'a>,
    facts: Vec<Fact<'a>>,
    totals: Counts,
    tables: Vec<Table<'a>>,
    findings: Vec<Finding<'a>>,
    checks: Vec<Check<'a>>,
    ignore_rules: Vec<Rule<'a>>,
    samples: Vec<Sample<'a>>,
    keys_file: Option<&'a str>,
    steps: &'a [String],
    next: Option<&'a str>,
}

/// What says whether to go on; also the last line of the stream.
#[derive(Serialize)]
pub(super) struct Head<'a> {
    title: &'a str,
    migration: &'a str,
    verdict: &'static str,
    reason: &'a str,
    taken_at: &'a str,
    tool: &'a str,
    mapping_hash: &'a str,
}

#[derive(Serialize)]
pub(super) struct Fact<'a> {
    name: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
pub(super) struct Counts {
    legacy_rows: u64,
    projected_rows: u64,
    compared: u64,
    skipped: u64,
    differing: u64,
    missing: u64,
    extra: u64,
    changed: u64,
    shared: u64,
    explained: u64,
    redacted: u64,
    #[serde(skip_serializing_if = "none")]
    mirrored: u64,
}

/// Left out of reports of migrations in which events own nothing.
fn none(count: &u64) -> bool {
    *count == 0
}

#[derive(Serialize)]
pub(super) struct Table<'a> {
    table: &'a str,
    state: &'a str,
    /// False for tables that take no part by declaration.
    in_scope: bool,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Serialize)]
pub(super) struct Finding<'a> {
    code: &'a str,
    severity: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
pub(super) struct Check<'a> {
    code: &'a str,
    subject: &'a str,
    /// `note` is fine, `gap` could not be looked at.
    severity: &'static str,
    text: &'a str,
    help: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Rule<'a> {
    table: &'a str,
    column: &'a str,
    reason: &'a str,
    owner: &'a str,
    expires: &'a str,
}

#[derive(Serialize)]
pub(super) struct Sample<'a> {
    table: &'a str,
    key: &'a str,
    kind: &'static str,
    difference: &'static str,
    explained_by: Option<&'a str>,
    event: Option<Event<'a>>,
    columns: Vec<Column<'a>>,
}

/// `null` values: the row is absent, or for kind `row-projection` the fold was not taken.
#[derive(Serialize)]
struct Column<'a> {
    name: &'a str,
    legacy: Option<&'a str>,
    fold: Option<&'a str>,
    projection: Option<&'a str>,
    last_agreed: Option<Event<'a>>,
}

#[derive(Serialize)]
struct Event<'a> {
    at: String,
    topic: &'a str,
    partition: i32,
    offset: i64,
    r#type: &'a str,
    id: &'a str,
}

impl<'a> From<&'a diff::Outcome> for Report<'a> {
    fn from(outcome: &'a diff::Outcome) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            head: outcome.into(),
            facts: facts(outcome).collect(),
            totals: Counts::from(&total(&outcome.tables)),
            tables: outcome.tables.iter().map(Table::from).collect(),
            findings: outcome.findings.iter().map(Finding::from).collect(),
            checks: outcome.checks.iter().map(Check::from).collect(),
            ignore_rules: outcome.ignored.iter().map(Rule::from).collect(),
            samples: outcome.samples.iter().map(Sample::from).collect(),
            keys_file: outcome.keys_file.as_deref(),
            steps: &outcome.steps,
            next: outcome.next.as_deref(),
        }
    }
}

/// The facts by name, in their order.
pub(super) fn facts(outcome: &diff::Outcome) -> impl Iterator<Item = Fact<'_>> {
    outcome.facts.iter().map(|(name, value)| Fact { name, value })
}

impl<'a> From<&'a diff::Outcome> for Head<'a> {
    fn from(outcome: &'a diff::Outcome) -> Self {
        Self {
            title: &outcome.title,
            migration: &outcome.migration,
            verdict: outcome.verdict.word(),
            reason: &outcome.reason,
            taken_at: &outcome.taken_at,
            tool: &outcome.tool,
            mapping_hash: &outcome.mapping_hash,
        }
    }
}

impl From<&diff::TableCoverage> for Counts {
    fn from(table: &diff::TableCoverage) -> Self {
        Self {
            legacy_rows: table.legacy_rows,
            projected_rows: table.projected_rows,
            compared: table.compared,
            skipped: table.skipped,
            differing: table.differing(),
            missing: table.missing,
            extra: table.extra,
            changed: table.changed,
            shared: table.shared,
            explained: table.explained,
            mirrored: table.mirrored,
            redacted: table.redacted,
        }
    }
}

impl<'a> From<&'a diff::TableCoverage> for Table<'a> {
    fn from(table: &'a diff::TableCoverage) -> Self {
        Self { table: &table.table, state: &table.state, in_scope: !table.stands_outside(), counts: table.into() }
    }
}

impl<'a> From<&'a diff::Finding> for Finding<'a> {
    fn from(finding: &'a diff::Finding) -> Self {
        Self { code: finding.code, severity: severity(finding.severity), text: &finding.text }
    }
}

impl<'a> From<&'a diff::Checked> for Check<'a> {
    fn from(check: &'a diff::Checked) -> Self {
        let diff::Checked { code, subject, text, help, .. } = check;
        Self { code, subject, severity: severity(check.severity), text, help: help.as_deref() }
    }
}

impl<'a> From<&'a diff::Ignored> for Rule<'a> {
    fn from(rule: &'a diff::Ignored) -> Self {
        let diff::Ignored { table, column, reason, owner, expires } = rule;
        Self { table, column, reason, owner, expires }
    }
}

impl<'a> From<&'a diff::Sample> for Sample<'a> {
    fn from(sample: &'a diff::Sample) -> Self {
        Self {
            table: &sample.table,
            key: &sample.key,
            kind: kind_code(sample.kind),
            difference: difference(sample.difference),
            explained_by: sample.explained_by.as_deref(),
            event: sample.event.as_ref().map(Event::from),
            columns: sample.columns.iter().map(Column::from).collect(),
        }
    }
}

impl<'a> From<&'a diff::Column> for Column<'a> {
    fn from(column: &'a diff::Column) -> Self {
        Self {
            name: &column.name,
            legacy: column.legacy.as_deref(),
            fold: column.fold.as_deref(),
            projection: column.projection.as_deref(),
            last_agreed: column.last_agreed.as_ref().map(Event::from),
        }
    }
}

impl<'a> From<&'a diff::Event> for Event<'a> {
    fn from(event: &'a diff::Event) -> Self {
        let diff::Event { topic, partition, offset, event_type, id } = event;
        Self { at: place(event), topic, partition: *partition, offset: *offset, r#type: event_type, id }
    }
}
