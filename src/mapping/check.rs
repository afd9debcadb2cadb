//! The rules of a mapping, run per row.

use std::cmp::Ordering;

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
            (Rule::Min(least), Value::Integer(number)) => compare(number, *least).is_some_and(Ordering::is_ge),
            (Rule::Min(least), Value::Real(number)) => number >= *least,
            (Rule::Max(most), Value::Integer(number)) => compare(number, *most).is_some_and(Ordering::is_le),
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

/// How an integer stands to a limit; not by making it a float, which above 2^53 rounds it to another number.
fn compare(number: i64, limit: f64) -> Option<Ordering> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if limit.is_nan() {
        None
    } else if limit >= BEYOND {
        Some(Ordering::Less)
    } else if limit < -BEYOND {
        Some(Ordering::Greater)
    } else {
        let whole = limit.trunc();
        Some(number.cmp(&(whole as i64)).then_with(|| whole.total_cmp(&limit)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_compared_with_limits_exactly() {
        let above = 9_007_199_254_740_993;
        for (number, limit, expected) in [
            (above, 9_007_199_254_740_992.0, Ordering::Greater),
            (i64::MAX, 9_223_372_036_854_775_808.0, Ordering::Less),
            (i64::MIN, -9_223_372_036_854_775_808.0, Ordering::Equal),
            (i64::MIN, f64::NEG_INFINITY, Ordering::Greater),
            (2, 2.5, Ordering::Less),
            (3, 2.5, Ordering::Greater),
            (-2, -2.5, Ordering::Greater),
            (-3, -2.5, Ordering::Less),
            (0, -0.0, Ordering::Equal),
            (0, -0.5, Ordering::Greater),
            (0, 1e-320, Ordering::Less),
        ] {
            assert_eq!(compare(number, limit), Some(expected), "{number} and {limit}");
        }
        assert!(!Rule::Max(9_007_199_254_740_992.0).keeps(Value::Integer(above)));
        assert!(!Rule::Min(f64::NAN).keeps(Value::Integer(0)));
    }
}
