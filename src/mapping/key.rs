//! The text of a record key.

use super::{Row, Table, Value};

/// The first real beyond all integers.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;

/// A reusable buffer for key texts.
#[derive(Debug, Default)]
pub struct KeyText(Vec<u8>);

impl KeyText {
    /// Writes the record key of `row`: the key cells as text, or the identity's when a key cell is null.
    ///
    /// One value is its plain text; several are a JSON array of texts, so that no two lists share a key. A real without
    /// fraction prints as the integer it compares equal to, because a foreign key may hold either. `None` when the
    /// value left is null or a blob, which no key may be.
    pub fn write(&mut self, table: &Table, row: Row<'_>) -> Option<&[u8]> {
        let cells = match (&table.key, table.key_cell()) {
            (super::Key::Cells(cells), _) => cells.as_slice(),
            (_, Some(cell)) => &[cell],
            (_, None) => &[],
        };
        let null = cells.is_empty() || cells.iter().any(|cell| row.get(*cell) == Value::Null);
        let cells = if null { table.identity.as_slice() } else { cells };
        self.text(cells.iter().map(|cell| row.get(*cell)))
    }

    /// Writes the key text of these values, by the same rule.
    pub fn text<'a>(&mut self, values: impl ExactSizeIterator<Item = Value<'a>>) -> Option<&[u8]> {
        self.0.clear();
        if values.len() == 1 {
            for value in values {
                self.plain(value)?;
            }
            return Some(&self.0);
        }
        let mut parts = Vec::with_capacity(values.len());
        for value in values {
            self.0.clear();
            self.plain(value)?;
            parts.push(String::from_utf8_lossy(&self.0).into_owned());
        }
        self.0 = serde_json::to_vec(&parts).ok()?;
        Some(&self.0)
    }

    fn plain(&mut self, value: Value<'_>) -> Option<()> {
        use std::io::Write;
        match value {
            Value::Null | Value::Blob(_) => return None,
            Value::Integer(number) => write!(self.0, "{number}").ok()?,
            Value::Real(number) if number.fract() == 0.0 && (-TWO_TO_63..TWO_TO_63).contains(&number) => {
                write!(self.0, "{}", number as i64).ok()?
            }
            Value::Real(number) => write!(self.0, "{number:?}").ok()?,
            Value::Text(text) => self.0.extend_from_slice(text),
        }
        Some(())
    }
}

impl Table {
    /// Whether a row's identity is one that an event can have: neither a null nor a blob is in it.
    pub fn identifies(&self, row: Row<'_>) -> bool {
        !self.identity.iter().any(|cell| matches!(row.get(*cell), Value::Null | Value::Blob(_)))
    }

    /// A row's identity for people: `id=…`, several separated by commas.
    pub fn identity_text(&self, row: Row<'_>) -> String {
        let mut text = KeyText::default();
        let mut part = |cell: &usize| {
            let name = self.fields().nth(*cell).unwrap_or_default();
            let value = match row.get(*cell) {
                Value::Null => "NULL".to_owned(),
                Value::Blob(bytes) => format!("blob of {} bytes", bytes.len()),
                value => text
                    .text([value].into_iter())
                    .map_or_else(String::new, |text| String::from_utf8_lossy(text).into_owned()),
            };
            format!("{name}={value}")
        };
        self.identity.iter().map(&mut part).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_texts_are_unambiguous() {
        let mut key = KeyText::default();
        let mut text = |values: &[Value<'_>]| key.text(values.iter().copied()).map(<[u8]>::to_vec);
        assert_eq!(text(&[Value::text("a|b")]).as_deref(), Some(&b"a|b"[..]));
        assert_eq!(text(&[Value::Real(2.0)]), text(&[Value::Integer(2)]));
        assert_eq!(text(&[Value::Real(i64::MIN as f64)]), text(&[Value::Integer(i64::MIN)]));
        assert_eq!(text(&[Value::Real(2.5)]).as_deref(), Some(&b"2.5"[..]));
        assert_ne!(
            text(&[Value::text("a\",\"b"), Value::text("c")]),
            text(&[Value::text("a"), Value::text("b\",\"c")])
        );
        assert_eq!(text(&[Value::Null]), None);
        assert_eq!(text(&[Value::Integer(1), Value::Blob(b"x")]), None);
    }
}
