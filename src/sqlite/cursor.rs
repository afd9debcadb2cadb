//! The exact form of a range key in a checkpoint.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use rusqlite::types::Value as Sql;
use serde_json::{Value as Json, json};

use crate::mapping::Value;

/// Writes a key value with its storage class; reals by their bits.
pub(super) fn encode(value: Value<'_>) -> Json {
    match value {
        Value::Null => json!(["n"]),
        Value::Integer(number) => json!(["i", number]),
        Value::Real(number) => json!(["r", format!("{:016x}", number.to_bits())]),
        Value::Text(bytes) => json!(["t", BASE64.encode(bytes)]),
        Value::Blob(bytes) => json!(["b", BASE64.encode(bytes)]),
    }
}

/// Reads what [`encode`] wrote. Text comes back as bytes, to be bound with its class.
pub(super) fn decode(json: &Json) -> Option<Bound> {
    let parts = json.as_array()?;
    let bytes = || BASE64.decode(parts.get(1)?.as_str()?).ok();
    Some(match parts.first()?.as_str()? {
        "i" => Bound::Plain(Sql::Integer(parts.get(1)?.as_i64()?)),
        "r" => Bound::Plain(Sql::Real(f64::from_bits(u64::from_str_radix(parts.get(1)?.as_str()?, 16).ok()?))),
        "t" => Bound::Text(bytes()?),
        "b" => Bound::Plain(Sql::Blob(bytes()?)),
        _ => return None,
    })
}

/// A value to bind; text may be any bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bound {
    Plain(Sql),
    Text(Vec<u8>),
}

impl rusqlite::ToSql for Bound {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        match self {
            Bound::Plain(value) => value.to_sql(),
            Bound::Text(bytes) => Ok(rusqlite::types::ToSqlOutput::Borrowed(rusqlite::types::ValueRef::Text(bytes))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_keys_come_back_exactly() {
        for number in [i64::MIN, -1, 0, i64::MAX] {
            assert_eq!(decode(&encode(Value::Integer(number))), Some(Bound::Plain(Sql::Integer(number))));
        }
        for number in [0.1, -0.0, f64::INFINITY, f64::MIN_POSITIVE, 9_007_199_254_740_993.0] {
            let Some(Bound::Plain(Sql::Real(back))) = decode(&encode(Value::Real(number))) else { panic!("no real") };
            assert_eq!(back.to_bits(), number.to_bits());
        }
        assert_eq!(decode(&encode(Value::Text(b"a\0\xff"))), Some(Bound::Text(b"a\0\xff".to_vec())));
        assert_eq!(decode(&encode(Value::Blob(b"\0"))), Some(Bound::Plain(Sql::Blob(vec![0]))));
        assert_eq!(decode(&encode(Value::Null)), None);
        assert_eq!(decode(&json!(["x", 1])), None);
    }
}
