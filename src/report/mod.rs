//! One document and its renderers: an outcome in, bytes out.

mod evidence;
mod html;
mod json;
mod junit;
mod md;
mod ndjson;
pub mod plan;
pub mod table;
mod values;
mod wording;

use std::fmt;
use std::str::FromStr;

use crate::base::{Error, yaml};
use crate::diff::{Outcome, Sample, TableCoverage};

/// A form a report can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Text for a terminal; [`table::render`] takes colour and width.
    Table,
    Json,
    /// One JSON document per line, the verdict last.
    Ndjson,
    Junit,
    /// Markdown for a step summary, bounded in size.
    Md,
    /// One file without outside references.
    Html,
}

impl Format {
    pub const ALL: [Self; 6] = [Self::Table, Self::Json, Self::Ndjson, Self::Junit, Self::Md, Self::Html];

    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Junit => "junit",
            Self::Md => "md",
            Self::Html => "html",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        if let Some(format) = Self::ALL.into_iter().find(|format| format.name() == name) {
            return Ok(format);
        }
        let names = Self::ALL.map(Self::name);
        let refusal =
            Error::config(format!("unknown report format '{}', expected {}", values::visible(name), names.join(", ")));
        Err(match yaml::nearest(name, names) {
            Some(word) => refusal.hint(format!("did you mean '{word}'?")),
            None => refusal,
        })
    }
}

/// Renders `outcome` as a file or stream of `format`.
pub fn render(outcome: &Outcome, format: Format) -> Vec<u8> {
    match format {
        Format::Table => table::render(outcome, table::Style::default()),
        Format::Json => json::render(outcome),
        Format::Ndjson => ndjson::render(outcome),
        Format::Junit => junit::render(outcome),
        Format::Md => md::render(outcome),
        Format::Html => html::render(outcome),
    }
}

/// The coverage of all tables that take part, together.
fn total(tables: &[TableCoverage]) -> TableCoverage {
    let mut sum = TableCoverage { table: "all tables".to_owned(), ..TableCoverage::default() };
    for table in tables.iter().filter(|table| !table.stands_outside()) {
        sum.legacy_rows += table.legacy_rows;
        sum.projected_rows += table.projected_rows;
        sum.compared += table.compared;
        sum.skipped += table.skipped;
        sum.missing += table.missing;
        sum.extra += table.extra;
        sum.changed += table.changed;
        sum.shared += table.shared;
        sum.moved += table.moved;
        sum.explained += table.explained;
        sum.mirrored += table.mirrored;
        sum.redacted += table.redacted;
    }
    sum
}

/// Samples of one table.
struct Group<'a> {
    table: &'a str,
    coverage: Option<&'a TableCoverage>,
    samples: Vec<&'a Sample>,
}

/// Groups the explained or the other samples by table, in the order of the coverage. A table that differs has a group
/// even when none of its keys is among the samples.
fn groups(outcome: &Outcome, explained: bool) -> Vec<Group<'_>> {
    let counted = |table: &TableCoverage| if explained { table.explained } else { table.differing() };
    let mut groups: Vec<Group<'_>> = outcome
        .tables
        .iter()
        .map(|table| Group { table: &table.table, coverage: Some(table), samples: Vec::new() })
        .collect();
    for sample in outcome.samples.iter().filter(|sample| sample.explained_by.is_some() == explained) {
        match groups.iter_mut().find(|group| group.table == sample.table) {
            Some(group) => group.samples.push(sample),
            None => groups.push(Group { table: &sample.table, coverage: None, samples: vec![sample] }),
        }
    }
    groups.retain(|group| !group.samples.is_empty() || group.coverage.is_some_and(|table| counted(table) > 0));
    groups
}
