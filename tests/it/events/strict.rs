//! Events are read strictly: whatever is wrong with one is an error that names it, and nothing is left behind.

use std::error::Error as _;

use crossfade::base::{Error, Kind};
use crossfade::event::{Decoder, Op};
use crossfade::mapping::Mapping;
use proptest::prelude::*;
use proptest::sample::Index;

use super::given::{Cell, decoded, event, mapping, table_and_rows};
use crate::support::store::table;

fn two_columns() -> Mapping {
    mapping(table("t", &[("id", ""), ("a", "")], &[0]))
}

fn everything(error: &Error) -> String {
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    format!("{} {source} {}", error.message(), error.help().unwrap_or_default())
}

#[test]
fn what_is_wrong_is_named() {
    let mapping = two_columns();
    let event = |row: &str| format!(r#"{{"v":1,"table":"t","op":"base","row":{row}}}"#);
    let right = event(r#"{"id":1,"a":2}"#);
    assert!(decoded(&mapping, right.as_bytes(), b"").is_ok());
    let cases: &[(String, Kind, &[&str])] = &[
        (event(r#"{"id":1,"a":2,"a":2}"#), Kind::Corrupt, &["'t'", "'a' is given twice"]),
        (event(r#"{"id":1,"id":1,"a":2}"#), Kind::Corrupt, &["'t'", "'id' is given twice"]),
        (event(r#"{"id":1,"a":2,"b":3}"#), Kind::Corrupt, &["'t'", "'b' is not in the mapping"]),
        (event(r#"{"id":1}"#), Kind::Corrupt, &["'t'", "lacks the column 'a'"]),
        (event(r#"{}"#), Kind::Corrupt, &["lacks the column 'id'"]),
        (event("null"), Kind::Corrupt, &["a row"]),
        (event("[]"), Kind::Corrupt, &["a row"]),
        (event(r#"{"id":1,"a":9223372036854775808}"#), Kind::Corrupt, &["'a'", "9223372036854775808"]),
        (event(r#"{"id":1,"a":-9223372036854775809}"#), Kind::Corrupt, &["'a'", "-9223372036854775809"]),
        (event(r#"{"id":1,"a":18446744073709551616}"#), Kind::Corrupt, &["'a'", "18446744073709551616"]),
        (event(&format!(r#"{{"id":1,"a":1{}}}"#, "0".repeat(400))), Kind::Corrupt, &["'a'", "100000000"]),
        (event(r#"{"id":1,"a":1e400}"#), Kind::Corrupt, &["'a'", "1e400"]),
        (event(r#"{"id":1,"a":-0}"#), Kind::Corrupt, &["'a'", "-0"]),
        (event(r#"{"id":1,"a":{"$blob":"?"}}"#), Kind::Corrupt, &["'a'", "$blob"]),
        (event(r#"{"id":1,"a":{"$blob":"AA"}}"#), Kind::Corrupt, &["'a'", "$blob"]),
        (event(r#"{"id":1,"a":{"$blob":"AB=="}}"#), Kind::Corrupt, &["'a'", "$blob"]),
        (event(r#"{"id":1,"a":{"$blob":1}}"#), Kind::Corrupt, &["'a'", "integer `1`"]),
        (event(r#"{"id":1,"a":{"$blob":"","$text":""}}"#), Kind::Corrupt, &["'a'", "'$text' beside '$blob'"]),
        (event(r#"{"id":1,"a":{"$blob":"","x":1}}"#), Kind::Corrupt, &["'a'", "'x' beside '$blob'"]),
        (event(r#"{"id":{"$blob":"","x":1},"a":1}"#), Kind::Corrupt, &["'id'", "'x' beside '$blob'"]),
        (event(r#"{"id":1,"a":{"$real":"1.5"}}"#), Kind::Corrupt, &["'a'", "'$real' is no tagged form"]),
        (event(r#"{"id":1,"a":{"$date":"x"}}"#), Kind::Corrupt, &["'a'", "'$date' is no tagged form"]),
        (event(r#"{"id":1,"a":{}}"#), Kind::Corrupt, &["'a'", "an empty object"]),
        (event(r#"{"id":1,"a":true}"#), Kind::Corrupt, &["'a'", "boolean"]),
        (event(r#"{"id":1,"a":[1]}"#), Kind::Corrupt, &["'a'", "sequence"]),
        (event(r#"{"id":1,"a":"\ud800"}"#), Kind::Corrupt, &["'a'", "hex escape"]),
        (right.replace("\"v\":1", "\"v\":2"), Kind::Refused, &["version 2", "up to version 1", "newer"]),
        (right.replace("\"v\":1", "\"v\":99999999999"), Kind::Refused, &["version 99999999999"]),
        (r#"{"v":2,"new":"form"}"#.to_owned(), Kind::Refused, &["version 2"]),
        (right.replace("\"v\":1", "\"v\":-1"), Kind::Corrupt, &["-1"]),
        (right.replace("\"v\":1", "\"v\":\"1\""), Kind::Corrupt, &["string \"1\""]),
        (right.replace("\"v\":1,", ""), Kind::Corrupt, &["missing field `v`"]),
        (right.replace("\"v\":1,", "\"v\":1,\"v\":1,"), Kind::Corrupt, &["duplicate field `v`"]),
        (right.replace("\"op\":\"base\"", "\"op\":\"copy\""), Kind::Corrupt, &["operation 'copy'"]),
        (right.replace("\"op\":\"base\"", "\"op\":null"), Kind::Corrupt, &["null"]),
        (right.replace("\"table\":\"t\"", "\"table\":\"other\""), Kind::Stale, &["'other'"]),
        (right.replace("\"row\"", "\"rows\""), Kind::Corrupt, &["unknown field `rows`"]),
        (format!("{right}x"), Kind::Corrupt, &["trailing"]),
        (format!("{right}{right}"), Kind::Corrupt, &["trailing"]),
        (right[..right.len() - 1].to_owned(), Kind::Corrupt, &["EOF"]),
        ("not JSON".to_owned(), Kind::Corrupt, &["an event's value cannot be read"]),
        ("null".to_owned(), Kind::Corrupt, &["an event's value cannot be read"]),
        (String::new(), Kind::Corrupt, &["an event's value cannot be read"]),
        (event(&format!("{}1", "{\"id\":".repeat(1000))), Kind::Corrupt, &["an event's value cannot be read"]),
    ];
    for (value, kind, words) in cases {
        let error = decoded(&mapping, value.as_bytes(), b"").expect_err(value);
        let text = everything(&error);
        assert_eq!(error.kind(), *kind, "{value}: {text}");
        assert!(words.iter().all(|word| text.contains(word)), "{value}: {text}");
    }
    let invalid = [right.as_bytes(), b"\xff"].concat();
    assert_eq!(decoded(&mapping, &invalid, b"").unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn a_delete_may_have_no_more_than_it_may_name() {
    let mapping = two_columns();
    let delete =
        |row: &str| decoded(&mapping, format!(r#"{{"v":1,"table":"t","op":"delete","row":{row}}}"#).as_bytes(), b"");
    assert_eq!(delete(r#"{"id":1}"#).unwrap(), (Op::Delete, vec![Cell::Integer(1), Cell::Null]));
    assert!(everything(&delete("{}").unwrap_err()).contains("lacks the column 'id'"));
    assert!(everything(&delete(r#"{"id":1,"b":2}"#).unwrap_err()).contains("'b'"));
}

#[test]
fn rows_before_and_after_a_wrong_one_are_whole() {
    let mapping = two_columns();
    let mut decoder = Decoder::new(&mapping);
    let mut chunks = decoder.chunks();
    let mut read = |row: &str| {
        let value = format!(r#"{{"v":1,"table":"t","op":"base","row":{row}}}"#);
        decoder.decode(value.as_bytes(), b"", &mut chunks).is_ok()
    };
    assert!(read(r#"{"id":1,"a":"one"}"#));
    for wrong in
        [r#"{"id":2,"a":true}"#, r#"{"id":true,"a":2}"#, r#"{"id":2}"#, r#"{"id":2,"a":3,"b":4}"#, r#"{"id":2,"a":3}}"#]
    {
        assert!(!read(wrong), "{wrong}");
    }
    assert!(read(r#"{"id":2,"a":"two"}"#));
    let rows: Vec<Vec<Cell>> = chunks[0].iter().map(|row| row.values().map(Cell::of).collect()).collect();
    let row = |id, text| vec![Cell::Integer(id), Cell::text(text)];
    assert_eq!(rows, [row(1, "one"), row(2, "two")]);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(value in proptest::collection::vec(any::<u8>(), 0..200), key: Vec<u8>) {
        let _ = decoded(&two_columns(), &value, &key);
    }

    #[test]
    fn damaged_events_are_refused_or_whole(
        (table, row, before) in table_and_rows(),
        damage in proptest::collection::vec((any::<Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<Index>()),
    ) {
        let mapping = mapping(table.clone());
        for op in [Op::Base, Op::Update, Op::Delete] {
            let mut value = event(&table, op, &row, (op == Op::Update).then_some(&before[..])).value;
            for (at, byte) in &damage {
                let at = at.index(value.len());
                value[at] = *byte;
            }
            if let Some(cut) = cut {
                value.truncate(cut.index(value.len()));
            }
            let _ = decoded(&mapping, &value, b"key");
        }
    }

    #[test]
    fn what_is_read_can_be_written_and_read_again(json in "[-0-9.eE\"{}$a-z:+]{1,12}") {
        let mapping = two_columns();
        let value = format!(r#"{{"v":1,"table":"t","op":"base","row":{{"id":1,"a":{json}}}}}"#);
        if let Ok((op, row)) = decoded(&mapping, value.as_bytes(), b"1") {
            let again = event(&mapping.tables[0], op, &row, None);
            prop_assert_eq!(decoded(&mapping, &again.value, b"1").unwrap().1, row);
        }
    }
}
