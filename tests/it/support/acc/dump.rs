//! `pg_dump --inserts` text in a SQLite file.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Value;

/// Columns the application writes itself, as ISO-8601 in milliseconds; the others hold the database's own text.
const APPLICATION_TIMES: [(&str, &[usize]); 2] = [("sessions", &[1, 2]), ("messages", &[5])];

/// Loads the `INSERT INTO public.<table> VALUES (…)` statements of a dump into a new ACC store at `path`; says how many.
pub fn load_dump(dump: &str, path: &Path) -> usize {
    let mut store = Connection::open(path).unwrap();
    store.pragma_update(None, "journal_mode", "WAL").unwrap();
    store.execute_batch(crossfade::demo::schema()).unwrap();
    let transaction = store.transaction().unwrap();
    let (mut rest, mut loaded) = (dump, 0);
    while let Some((_, statement)) = rest.split_once("INSERT INTO public.") {
        let (table, values) = statement.split_once(" VALUES (").unwrap();
        let (mut row, after) = parse_row(values);
        for (_, columns) in APPLICATION_TIMES.iter().filter(|(name, _)| *name == table) {
            columns.iter().for_each(|column| to_iso(&mut row[*column]));
        }
        let marks = vec!["?"; row.len()].join(", ");
        let sql = format!("INSERT INTO {table} VALUES ({marks})");
        transaction.prepare(&sql).unwrap().execute(rusqlite::params_from_iter(row)).unwrap();
        (rest, loaded) = (after, loaded + 1);
    }
    transaction.commit().unwrap();
    loaded
}

/// Reads values up to the closing parenthesis; gives them and what follows.
fn parse_row(mut text: &str) -> (Vec<Value>, &str) {
    let mut row = Vec::new();
    loop {
        let value;
        (value, text) = parse_value(text);
        row.push(value);
        if let Some(after) = text.strip_prefix(");") {
            return (row, after);
        }
        text = text.strip_prefix(", ").unwrap_or_else(|| panic!("neither ', ' nor ');' at {:.40}", text));
    }
}

fn parse_value(text: &str) -> (Value, &str) {
    let Some(mut rest) = text.strip_prefix('\'') else {
        let end = text.find([',', ')']).unwrap();
        let value = match &text[..end] {
            "NULL" => Value::Null,
            word => word.parse().map(Value::Integer).unwrap_or_else(|_| Value::Real(word.parse().expect("a number"))),
        };
        return (value, &text[end..]);
    };
    let mut string = String::new();
    loop {
        let end = rest.find('\'').expect("an unclosed string");
        string.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('\'') {
            Some(after) => {
                string.push('\'');
                rest = after;
            }
            None => return (Value::Text(string), rest),
        }
    }
}

/// `2025-09-01 01:24:36.17+00` becomes `2025-09-01T01:24:36.170Z`.
fn to_iso(value: &mut Value) {
    let Value::Text(text) = value else { return };
    let time = text.strip_suffix("+00").expect("a time in UTC");
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, ""));
    assert!(fraction.len() <= 3, "{text} is finer than the application's clock");
    *text = format!("{}.{fraction:0<3}Z", seconds.replacen(' ', "T", 1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_postgresql_prints_them() {
        let (row, rest) = parse_row("'it''s (1), ''2''', NULL, -3, 0.5000, '', '[\"a\"]');\nINSERT");
        assert_eq!(rest, "\nINSERT");
        let texts = |text: &str| Value::Text(text.into());
        assert_eq!(
            row,
            [texts("it's (1), '2'"), Value::Null, Value::Integer(-3), Value::Real(0.5), texts(""), texts("[\"a\"]")]
        );
        for (stored, wanted) in [("36.17", "36.170"), ("36", "36.000"), ("36.171", "36.171")] {
            let mut value = texts(&format!("2025-09-01 01:24:{stored}+00"));
            to_iso(&mut value);
            assert_eq!(value, texts(&format!("2025-09-01T01:24:{wanted}Z")));
        }
    }
}
