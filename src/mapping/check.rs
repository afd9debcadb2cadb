//! The rules of a mapping, run per row.

use super::{Row, Rule, Table, Value};

/// A rule a row breaks.
#[derive(Clone, Debug, PartialEq)]
pub struct Broken {
    pub column: String,
    pub rule: String,
    /// The storage class found; never the value itself, which may be secret.
    pub found: &'static str,
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "column '{}' breaks the rule {} (found {})", self.column, self.rule, self.found)
    }
}

impl Rule {
    /// Whether a value keeps the rule.
    pub fn keeps(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Rule::NotNull, value) => value != Value::Null,
            (Rule::OneOf(words), Value::Text(text)) => words.iter().any(|word| word.as_bytes() == text),
            (Rule::OneOf(_), value) => value == Value::Null,
            (Rule::Min(least), Value::Integer(number)) => number as f64 >= *least,
            (Rule::Min(least), Value::Real(number)) => number >= *least,
            (Rule::Max(most), Value::Integer(number)) => number as f64 <= *most,
            (Rule::Max(most), Value::Real(number)) => number <= *most,
            (Rule::MaxLength(most), Value::Text(text)) => match std::str::from_utf8(text) {
                Ok(text) => text.len() <= *most || text.chars().count() <= *most,
                Err(_) => true,
            },
            _ => true,
        }
    }

    fn words(&self) -> String {
        match self {
            Rule::NotNull => "not_null".into(),
            Rule::OneOf(words) => format!("one_of [{}]", words.join(", ")),
            Rule::Min(least) => format!("min {least}"),
            Rule::Max(most) => format!("max {most}"),
            Rule::MaxLength(most) => format!("max_length {most}"),
        }
    }
}

impl Table {
    /// The first rule this row breaks, if any.
    pub fn broken(&self, row: Row<'_>) -> Option<Broken> {
        for (cell, column) in self.columns.iter().enumerate() {
            for rule in &column.rules {
                let value = row.get(cell);
                if !rule.keeps(value) {
                    return Some(Broken { column: column.name.clone(), rule: rule.words(), found: value.class() });
                }
            }
        }
        None
    }
}
