//! Counting what was found, with a place to look at and never the find itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What one rule found in one column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    pub table: String,
    pub column: String,
    pub rule: String,
    /// Values, not places within them.
    pub values: u64,
    /// The identity of the first row.
    pub sample: String,
}

/// Everything found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub found: Vec<Found>,
    /// Rows with a find, by table.
    pub rows: BTreeMap<String, u64>,
}

impl Tally {
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn add(&mut self, table: &str, column: &str, rule: &str, sample: impl FnOnce() -> String) {
        let known = |found: &&mut Found| found.table == table && found.column == column && found.rule == rule;
        match self.found.iter_mut().find(known) {
            Some(found) => found.values += 1,
            None => self.found.push(Found {
                table: table.to_owned(),
                column: column.to_owned(),
                rule: rule.to_owned(),
                values: 1,
                sample: sample(),
            }),
        }
    }

    /// Adds another's counts; the older sample stays.
    pub fn merge(&mut self, other: Self) {
        merge(&mut self.found, other.found);
        for (table, rows) in other.rows {
            *self.rows.entry(table).or_default() += rows;
        }
    }
}

/// As [`Tally::merge`], of what a checkpoint keeps.
pub(crate) fn merge(into: &mut Vec<Found>, more: Vec<Found>) {
    for more in more {
        let same =
            |found: &&mut Found| (&found.table, &found.column, &found.rule) == (&more.table, &more.column, &more.rule);
        match into.iter_mut().find(same) {
            Some(found) => found.values += more.values,
            None => into.push(more),
        }
    }
    into.sort_by(|a, b| (&a.table, &a.column, &a.rule).cmp(&(&b.table, &b.column, &b.rule)));
}

impl Found {
    pub fn merge(into: &mut Vec<Self>, more: Vec<Self>) {
        merge(into, more);
    }

    /// One sentence for people.
    pub fn sentence(&self) -> String {
        let values = crate::base::words::counted(self.values, "value");
        format!("{}.{}: {values} by rule {}, first in row {}", self.table, self.column, self.rule, self.sample)
    }
}
