//! SQL functions of our own connections.

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Result, ToSql};

use crate::mapping::{KeyText, Value};

/// A value as SQLite lends it.
pub(super) fn value(raw: ValueRef<'_>) -> Value<'_> {
    match raw {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(bytes) => Value::Text(bytes),
        ValueRef::Blob(bytes) => Value::Blob(bytes),
    }
}

/// A value as SQLite takes it.
pub(super) fn bind(value: Value<'_>) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(match value {
        Value::Null => ValueRef::Null,
        Value::Integer(number) => ValueRef::Integer(number),
        Value::Real(number) => ValueRef::Real(number),
        Value::Text(bytes) => ValueRef::Text(bytes),
        Value::Blob(bytes) => ValueRef::Blob(bytes),
    })
}

/// The result of `cf_key`: text of any bytes, or the blob that may be no key.
enum Key {
    Null,
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl ToSql for Key {
    fn to_sql(&self) -> Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Key::Null => ValueRef::Null,
            Key::Text(bytes) => ValueRef::Text(bytes),
            Key::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Adds `cf_key(value, …)`: the record key of these values as [`KeyText`] writes it. Null when one of them is null, so
/// that `COALESCE` falls back as a row's own key does; a blob stays a blob, so that the row fails.
pub(super) fn register(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    connection.create_scalar_function("cf_key", -1, flags, |context| Ok(key(context)))
}

fn key(context: &Context<'_>) -> Key {
    let mut parts = Vec::with_capacity(context.len());
    let mut blob = None;
    for index in 0..context.len() {
        let part = value(context.get_raw(index));
        match part {
            Value::Null => return Key::Null,
            Value::Blob(bytes) => blob = Some(bytes),
            _ => {}
        }
        parts.push(part);
    }
    if let Some(bytes) = blob {
        return Key::Blob(bytes.to_vec());
    }
    let mut text = KeyText::default();
    text.text(parts.iter().copied()).map_or(Key::Null, |text| Key::Text(text.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_in_sql_are_the_keys_of_rows() {
        let connection = Connection::open_in_memory().unwrap();
        register(&connection).unwrap();
        let quote = |list: &str| {
            let sql = format!("SELECT typeof(cf_key({list})) || ':' || hex(cf_key({list}))");
            connection.query_row(&sql, [], |row| row.get::<_, Option<String>>(0)).unwrap().unwrap()
        };
        let hex = |text: &str| format!("text:{}", crate::base::hex(text.as_bytes()).to_uppercase());
        assert_eq!(quote("'a'"), hex("a"));
        assert_eq!(quote("2.0"), hex("2"));
        assert_eq!(quote("'a', 1"), hex(r#"["a","1"]"#));
        assert_eq!(quote("CAST(x'ff00' AS TEXT)"), "text:FF00");
        assert_eq!(quote("x'61', NULL"), "null:");
        assert_eq!(quote("1, x'61'"), "blob:61");
    }
}
