//! The scan of one migration's rows: which cells, which rules, and what is done with a find.

use serde::{Deserialize, Serialize};

use super::find::{Sign, hits, marker, redacted, replace, signs};
use super::rules::RULES;
use super::{Tally, mask};
use crate::mapping::{Column, Declared, Key, Mapping, Row, Rows, Rule as ValueRule, Table, Types, Value};

/// What is done with a credential.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Counted, and copied as it is.
    #[default]
    Report,
    /// Its row becomes no event.
    Refuse,
    /// It is taken out before its row becomes an event.
    Redact,
}

impl Mode {
    pub const WORDS: [&'static str; 3] = ["report", "refuse", "redact"];

    pub fn word(self) -> &'static str {
        match self {
            Mode::Report => "report",
            Mode::Refuse => "refuse",
            Mode::Redact => "redact",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        [Mode::Report, Mode::Refuse, Mode::Redact].into_iter().find(|mode| mode.word() == word)
    }
}

/// A rule somebody answers for in one column, until a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub rule: String,
    pub table: String,
    pub column: String,
    pub reason: String,
    pub owner: String,
    /// Last day in force, `YYYY-MM-DD`.
    pub expires: String,
}

impl Accepted {
    pub fn expired(&self, today: &str) -> bool {
        self.expires.as_str() < today
    }
}

/// The scan of a mapping's rows.
#[derive(Debug)]
pub struct Screen {
    mode: Mode,
    tables: Vec<Vec<Option<Cell>>>,
}

/// A cell that is scanned.
#[derive(Debug)]
struct Cell {
    column: String,
    /// By a rule's place: not looked for here.
    accepted: Vec<bool>,
    /// Part of what names the row or decides its partition: nothing can be taken out of it.
    key: bool,
    json: bool,
    /// Characters a value may have at most.
    limit: Option<usize>,
    /// Characters a value is filled up to with blanks.
    filled: Option<usize>,
}

impl Screen {
    /// `today` is `YYYY-MM-DD`.
    pub fn new(mapping: &Mapping, mode: Mode, accepted: &[Accepted], today: &str) -> Self {
        let cells = |table: &Table| {
            let names = table.fields().chain(table.key_cell().map(|_| "(record key)")).enumerate();
            let cell = |(cell, name): (usize, &str)| {
                let column = table.columns.get(cell);
                column.is_none_or(|column| textual(mapping.types, column)).then(|| {
                    let fits = |rule: &str| {
                        let same = |one: &&Accepted| one.rule == rule && one.table == table.name && one.column == name;
                        accepted.iter().find(same).is_some_and(|one| !one.expired(today))
                    };
                    Cell::new(table, cell, name, mapping.types, RULES.iter().map(|rule| fits(rule.name)).collect())
                })
            };
            names.map(cell).collect()
        };
        Self { mode, tables: mapping.tables.iter().map(cells).collect() }
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Scans these rows of one table: counts the finds in rows that are `counted`, and unless they are only reported,
    /// takes them out.
    pub fn scan(
        &self,
        table: &Table,
        rows: &mut Rows,
        counted: impl Fn(usize) -> bool,
        scratch: &mut Scratch,
    ) -> Tally {
        let mut tally = Tally::default();
        signs(rows.bytes(), &mut scratch.0);
        if scratch.0.is_empty() {
            return tally;
        }
        // Texts mostly lie in the order of their cells, and so do signs.
        let (mut first, mut last) = (0, 0);
        for number in 0..rows.len() {
            let mut any = false;
            for (cell, scanned) in self.tables[table.index].iter().enumerate() {
                let (Some(scanned), Some(at)) = (scanned, rows.text_at(number, cell)) else { continue };
                if at.start < last {
                    first = scratch.0.partition_point(|sign| sign.at < at.start);
                }
                last = at.start;
                first += scratch.0[first..].iter().take_while(|sign| sign.at < at.start).count();
                let length = scratch.0[first..].iter().take_while(|sign| sign.at < at.end).count();
                if length == 0 {
                    continue;
                }
                let near = &scratch.0[first..first + length];
                let text = &rows.bytes()[at.clone()];
                let hits = hits(text, near, at.start, |rule| !scanned.accepted[rule]);
                if hits.is_empty() {
                    continue;
                }
                any = true;
                if counted(number) {
                    let mut rules: Vec<usize> = hits.iter().map(|hit| hit.rule).collect();
                    rules.sort_unstable();
                    rules.dedup();
                    for rule in rules {
                        let sample = || mask(&table.identity_text(rows.row(number))).into_owned();
                        tally.add(&table.name, &scanned.column, RULES[rule].name, sample);
                    }
                }
                if self.mode != Mode::Report {
                    let clean = scanned.clean(replace(text, &hits), hits[0].rule);
                    rows.replace(number, cell, Value::Text(&clean));
                }
            }
            if any && counted(number) {
                *tally.rows.entry(table.name.clone()).or_default() += 1;
            }
        }
        tally
    }

    /// The same for one value of a table, for keys that are looked up.
    pub fn clean<'v>(&self, table: &Table, cell: usize, value: Value<'v>, out: &'v mut Vec<u8>) -> Value<'v> {
        let (Value::Text(text), Some(scanned)) = (value, &self.tables[table.index][cell]) else { return value };
        if self.mode == Mode::Report {
            return value;
        }
        let mut found = Vec::new();
        signs(text, &mut found);
        let hits = hits(text, &found, 0, |rule| !scanned.accepted[rule]);
        if hits.is_empty() {
            return value;
        }
        *out = scanned.clean(replace(text, &hits), hits[0].rule);
        Value::Text(out)
    }

    /// Why a row that was scanned may not become an event.
    pub fn refusal(&self, table: &Table, row: Row<'_>) -> Option<String> {
        if self.mode == Mode::Report {
            return None;
        }
        let all = self.mode == Mode::Refuse;
        for (number, cell) in self.tables[table.index].iter().enumerate() {
            let Some(cell) = cell.as_ref().filter(|cell| all || cell.key) else { continue };
            if let Some(rule) = redacted(row.get(number)) {
                let column = &cell.column;
                return Some(if cell.key {
                    format!(
                        "column '{column}', which its events would be found by, holds what looks like a credential ({rule})"
                    )
                } else {
                    format!("column '{column}' holds what looks like a credential ({rule}), and scan.mode is refuse")
                });
            }
        }
        None
    }

    /// Names of the columns of a scanned row that something was taken out of.
    pub fn redacted_columns<'s>(&'s self, table: &Table, row: Row<'_>) -> Vec<&'s str> {
        if self.mode != Mode::Redact {
            return Vec::new();
        }
        let cells = self.tables[table.index].iter().enumerate();
        cells
            .filter_map(|(number, cell)| redacted(row.get(number)).and(cell.as_ref()))
            .map(|cell| cell.column.as_str())
            .collect()
    }
}

/// Memory of a scan, kept between chunks.
#[derive(Debug, Default)]
pub struct Scratch(Vec<Sign>);

/// Whether a column may hold text that people wrote.
fn textual(types: Types, column: &Column) -> bool {
    let Types::Postgres = types else { return true };
    const BASES: [&str; 7] = ["text", "character varying", "character", "name", "json", "jsonb", "xml"];
    Declared::parse(&column.declared).is_some_and(|declared| BASES.contains(&declared.base))
}

impl Cell {
    fn new(table: &Table, cell: usize, name: &str, types: Types, accepted: Vec<bool>) -> Self {
        let column = table.columns.get(cell);
        let of_key = matches!(&table.key, Key::Cells(cells) if cells.contains(&cell)) || table.key_cell() == Some(cell);
        let declared = column.filter(|_| types == Types::Postgres).map(|column| column.declared.as_str());
        let base = declared.and_then(Declared::parse).filter(|declared| !declared.array);
        let size = declared.filter(|_| base.is_some()).and_then(size);
        let by_rule = column.into_iter().flat_map(|column| &column.rules).filter_map(|rule| match rule {
            ValueRule::MaxLength(most) => Some(*most),
            _ => None,
        });
        let is = |name: &str| base.as_ref().is_some_and(|declared| declared.base == name);
        Self {
            column: name.to_owned(),
            accepted,
            key: table.identity.contains(&cell) || of_key,
            json: is("json") || is("jsonb"),
            limit: by_rule.chain(size).min(),
            filled: size.filter(|_| is("character")),
        }
    }

    /// The text in a form its column takes: what no longer fits is replaced as a whole.
    fn clean(&self, text: Vec<u8>, rule: usize) -> Vec<u8> {
        let mut text = text;
        if self.json && !still_json(&text) {
            text = format!("\"{}\"", marker(rule)).into_bytes();
        }
        let Some(limit) = self.limit else { return text };
        let characters = |text: &[u8]| String::from_utf8_lossy(text).chars().count();
        if self.filled.is_some() {
            text.truncate(text.trim_ascii_end().len());
        }
        if characters(&text) > limit {
            text = marker(rule).into_bytes();
        }
        if characters(&text) > limit {
            text = b"[redacted]".to_vec();
        }
        if let Some(filled) = self.filled {
            text.resize(text.len() + filled.saturating_sub(characters(&text)), b' ');
        }
        text
    }
}

/// The number in a declared type's brackets.
fn size(declared: &str) -> Option<usize> {
    declared.split_once('(')?.1.split_once(')')?.0.trim().parse().ok()
}

/// Whether it can still be read, with no marker in a member's name, which would order the members anew.
fn still_json(text: &[u8]) -> bool {
    fn named(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::Array(values) => values.iter().any(named),
            serde_json::Value::Object(members) => {
                members.iter().any(|(name, value)| redacted(Value::text(name)).is_some() || named(value))
            }
            _ => false,
        }
    }
    serde_json::from_slice::<serde_json::Value>(text).is_ok_and(|value| !named(&value))
}
