//! How a column's values travel: the expression that selects it, the wire form it comes in, and the text it goes back as.

use std::io::Write;

use postgres::types::{FromSql, Type};

use super::time;
use crate::mapping::Value;

/// The bytes of one value as the server sent them, whatever its type.
pub(super) struct Raw<'a>(pub(super) Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// What a column holds, by the name of its base type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Int2,
    Int4,
    Int8,
    Oid,
    Bool,
    Float4,
    Float8,
    Bytes,
    /// Text that travels as it is stored.
    Text,
    Timestamp,
    TimestampTz,
    Uuid,
    Jsonb,
    /// Text made by the type's output function.
    Output,
    /// As `Output`; a cast would add the prefix length.
    Inet,
    /// As `Output`; a cast would keep the encoding a declaration names.
    Xml,
    /// A numeric column for SQLite's values: with a point it is a real, without one an integer.
    Number,
}

impl Form {
    /// The form of a type in `pg_catalog`; arrays, ranges, enums and what extensions bring are `Output`.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "int2" => Form::Int2,
            "int4" => Form::Int4,
            "int8" => Form::Int8,
            "oid" => Form::Oid,
            "bool" => Form::Bool,
            "float4" => Form::Float4,
            "float8" => Form::Float8,
            "bytea" => Form::Bytes,
            "text" | "varchar" | "bpchar" | "name" | "json" => Form::Text,
            "timestamp" => Form::Timestamp,
            "timestamptz" => Form::TimestampTz,
            "uuid" => Form::Uuid,
            "jsonb" => Form::Jsonb,
            "inet" => Form::Inet,
            "xml" => Form::Xml,
            _ => Form::Output,
        }
    }

    /// The expression that selects a column of this form.
    pub(super) fn select(self, column: &str) -> String {
        match self {
            Form::Output | Form::Number => format!("{column}::text"),
            Form::Inet => format!("textin(inet_out({column}))"),
            Form::Xml => format!("textin(xml_out({column}))"),
            _ => column.to_owned(),
        }
    }

    /// The value of what came; `None` when the bytes are none of this form. `scratch` holds what had to be made.
    pub(super) fn read<'a>(self, raw: &'a [u8], scratch: &'a mut Vec<u8>) -> Option<Value<'a>> {
        scratch.clear();
        Some(match self {
            Form::Int2 => Value::Integer(i16::from_be_bytes(raw.try_into().ok()?).into()),
            Form::Int4 => Value::Integer(i32::from_be_bytes(raw.try_into().ok()?).into()),
            Form::Int8 => Value::Integer(i64::from_be_bytes(raw.try_into().ok()?)),
            Form::Oid => Value::Integer(u32::from_be_bytes(raw.try_into().ok()?).into()),
            Form::Bool => Value::Integer(i64::from(*raw.first()? != 0)),
            Form::Float4 => Value::Real(shortest(f32::from_be_bytes(raw.try_into().ok()?))),
            Form::Float8 => Value::Real(one_nan(f64::from_be_bytes(raw.try_into().ok()?))),
            Form::Bytes => Value::Blob(raw),
            Form::Text | Form::Output | Form::Inet | Form::Xml => Value::Text(raw),
            Form::Jsonb => Value::Text(raw.strip_prefix(&[1])?),
            Form::Timestamp | Form::TimestampTz => {
                let zone = if self == Form::TimestampTz { "Z" } else { "" };
                time::write(i64::from_be_bytes(raw.try_into().ok()?), zone, scratch);
                Value::Text(scratch)
            }
            Form::Uuid => {
                let id = uuid::Uuid::from_slice(raw).ok()?;
                scratch.resize(uuid::fmt::Hyphenated::LENGTH, 0);
                id.as_hyphenated().encode_lower(scratch);
                Value::Text(scratch)
            }
            Form::Number => {
                let text = std::str::from_utf8(raw).ok()?;
                match text.parse::<i64>() {
                    Ok(number) => Value::Integer(number),
                    Err(_) => Value::Real(text.parse().ok()?),
                }
            }
        })
    }

    /// The value of a text made by the type's output function, which equals what [`Self::read`] makes of the same value.
    pub(super) fn read_text<'a>(self, text: &'a [u8], scratch: &'a mut Vec<u8>) -> Option<Value<'a>> {
        scratch.clear();
        let plain = || std::str::from_utf8(text).ok();
        Some(match self {
            Form::Int2 | Form::Int4 | Form::Int8 | Form::Oid => Value::Integer(plain()?.parse().ok()?),
            Form::Bool => Value::Integer(match text {
                b"t" => 1,
                b"f" => 0,
                _ => return None,
            }),
            Form::Float4 => Value::Real(shortest(plain()?.parse().ok()?)),
            Form::Float8 => Value::Real(one_nan(plain()?.parse().ok()?)),
            Form::Bytes => {
                let digits = text.strip_prefix(b"\\x").filter(|digits| digits.len() % 2 == 0)?;
                for pair in digits.chunks_exact(2) {
                    let nibble = |digit: u8| char::from(digit).to_digit(16);
                    scratch.push((nibble(pair[0])? * 16 + nibble(pair[1])?) as u8);
                }
                Value::Blob(scratch)
            }
            Form::Timestamp | Form::TimestampTz => {
                let zone = if self == Form::TimestampTz { "Z" } else { "" };
                time::read_text(text, zone, scratch)?;
                Value::Text(scratch)
            }
            Form::Text | Form::Output | Form::Inet | Form::Xml | Form::Jsonb | Form::Uuid => Value::Text(text),
            Form::Number => return self.read(text, scratch),
        })
    }

    /// Whether a column of this form gives the value back as it is. Of types whose text the server alone can read it is
    /// taken on trust: there the value comes from the same type.
    pub(super) fn keeps(self, value: Value<'_>) -> bool {
        match (self, value) {
            (_, Value::Null) => true,
            (Form::Int2, Value::Integer(number)) => i16::try_from(number).is_ok(),
            (Form::Int4, Value::Integer(number)) => i32::try_from(number).is_ok(),
            (Form::Int8 | Form::Number, Value::Integer(_)) => true,
            (Form::Oid, Value::Integer(number)) => u32::try_from(number).is_ok(),
            (Form::Bool, Value::Integer(number)) => number == 0 || number == 1,
            (Form::Float4, Value::Real(number)) => shortest(number as f32).to_bits() == number.to_bits(),
            (Form::Float8, Value::Real(number)) => one_nan(number).to_bits() == number.to_bits(),
            (Form::Number, Value::Real(number)) => number.to_bits() != (-0.0_f64).to_bits() && !number.is_nan(),
            (Form::Bytes, Value::Blob(_)) => true,
            (
                Form::Text
                | Form::Output
                | Form::Inet
                | Form::Xml
                | Form::Jsonb
                | Form::Timestamp
                | Form::TimestampTz
                | Form::Uuid,
                Value::Text(text),
            ) => !text.contains(&0) && std::str::from_utf8(text).is_ok(),
            _ => false,
        }
    }

    /// Appends the value as one field of COPY's text form.
    pub(super) fn copy(self, value: Value<'_>, out: &mut Vec<u8>) {
        // Writing to a vector cannot fail.
        match value {
            Value::Null => out.extend_from_slice(b"\\N"),
            Value::Integer(number) => {
                let _ = write!(out, "{number}");
            }
            Value::Real(number) => {
                let _ = out.write_all(real(number, self == Form::Number).as_bytes());
            }
            Value::Text(text) => escape(text, out),
            Value::Blob(bytes) => hex(bytes, out),
        }
    }
}

/// The double nearest to the shortest decimal that names this float: 0.1 stays 0.1.
fn shortest(number: f32) -> f64 {
    if !number.is_finite() || number == 0.0 {
        return one_nan(f64::from(number));
    }
    ryu::Buffer::new().format_finite(number).parse().unwrap_or(f64::from(number))
}

/// There are many NaNs; only one travels.
fn one_nan(number: f64) -> f64 {
    if number.is_nan() { f64::NAN } else { number }
}

/// A real as PostgreSQL reads it back; with `pointed`, as a numeric whose point says that it is a real.
fn real(number: f64, pointed: bool) -> String {
    let infinite = if number > 0.0 { "Infinity" } else { "-Infinity" };
    match number {
        number if number.is_nan() => "NaN".to_owned(),
        number if number.is_infinite() => infinite.to_owned(),
        number if pointed => {
            let text = format!("{number}");
            if text.contains('.') { text } else { text + ".0" }
        }
        number => ryu::Buffer::new().format_finite(number).to_owned(),
    }
}

pub(super) fn escape(text: &[u8], out: &mut Vec<u8>) {
    let mut from = 0;
    for (at, byte) in text.iter().enumerate() {
        let letter = match byte {
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            _ => continue,
        };
        out.extend_from_slice(&text[from..at]);
        out.extend_from_slice(&[b'\\', letter]);
        from = at + 1;
    }
    out.extend_from_slice(&text[from..]);
}

/// A bytea in COPY's text form.
pub(super) fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\\\x");
    for byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// A name in double quotes.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reals_travel_by_their_shortest_text() {
        assert_eq!(shortest(0.1), 0.1);
        assert_eq!(shortest(f32::MAX), 3.402_823_5e38);
        assert!(shortest(-0.0).is_sign_negative());
        for bits in (0..=u32::MAX).step_by(99_991) {
            let number = f32::from_bits(bits);
            if !number.is_nan() {
                assert_eq!((shortest(number) as f32).to_bits(), bits);
                assert!(Form::Float4.keeps(Value::Real(shortest(number))));
            }
        }
        assert_eq!(real(2.0, true), "2.0");
        assert_eq!(real(1e22, true), "10000000000000000000000.0");
        assert_eq!(real(f64::NEG_INFINITY, true), "-Infinity");
        assert_eq!(real(1e300, false), "1e300");
    }

    #[test]
    fn fields_are_escaped_for_copy() {
        let mut out = Vec::new();
        Form::Text.copy(Value::text("a\tb\\N\r\n"), &mut out);
        Form::Bytes.copy(Value::Blob(b"\x00\xff"), &mut out);
        assert_eq!(out, b"a\\tb\\\\N\\r\\n\\\\x00ff");
    }
}
