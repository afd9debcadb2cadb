//! Whole events of odd rows, and files that must not change.

use crossfade::event::Op;
use crossfade::mapping::Mapping;
use serde_json::{Value as Json, json};

use super::given::{Cell, decoded, event};

/// Compares with a file of the repository; `CROSSFADE_UPDATE_FIXTURES=1` writes it.
#[track_caller]
pub(super) fn expect(file: &str, found: &Json) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let found = format!("{found:#}\n");
    if std::env::var_os("CROSSFADE_UPDATE_FIXTURES").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let line = expected.lines().zip(found.lines()).position(|(expected, found)| expected != found);
    assert!(expected == found, "{file} is another from line {:?}; found:\n{found}", line.map(|line| line + 1));
}

/// A row of an ACC table: null but for these.
fn row(mapping: &Mapping, table: &str, given: &[(&str, Cell)]) -> Vec<Cell> {
    let table = mapping.table(table).unwrap();
    let mut row = vec![Cell::Null; table.width()];
    for (column, value) in given {
        row[table.column(column).unwrap()] = value.clone();
    }
    row
}

#[test]
fn odd_rows_have_these_events() {
    let mapping = crossfade::acc::mapping().unwrap();
    let id = || ("id", Cell::text("0b7f1f9e-6a58-4a5c-9a57-3f0e6a1c2d34"));
    let message = |more: &[(&'static str, Cell)]| {
        let mut given = vec![
            id(),
            ("session_id", Cell::text("5d1f4a52-8f7e-4f6b-9d8e-1a2b3c4d5e6f")),
            ("agent_type", Cell::text("worker")),
            ("timestamp", Cell::text("2026-11-23T10:44:59.326Z")),
        ];
        given.extend_from_slice(more);
        row(&mapping, "messages", &given)
    };
    let session = |status: &str, end: Cell| {
        let (start, updated) = ("2026-11-23T10:44:59.326Z", "2026-11-23 10:44:59");
        let given = [
            id(),
            ("start_time", Cell::text(start)),
            ("end_time", end),
            ("status", Cell::text(status)),
            ("updated_at", Cell::text(updated)),
        ];
        row(&mapping, "sessions", &given)
    };
    let summary = |updated: Cell| {
        row(&mapping, "session_summaries", &[("session_id", Cell::text("s1")), ("updated_at", updated)])
    };
    let running = session("running", Cell::Null);
    let events = [
        ("quirk 1: the form of the application", "sessions", Op::Base, running.clone(), None),
        (
            "quirk 1: the form of a default",
            "session_summaries",
            Op::Base,
            summary(Cell::text("2026-11-23 10:44:59")),
            None,
        ),
        ("quirk 7: no time at all", "session_summaries", Op::Base, summary(Cell::text("yesterday")), None),
        (
            "quirk 10: zero is not null",
            "messages",
            Op::Base,
            message(&[("cost", Cell::real(0.0)), ("duration", Cell::Integer(0))]),
            None,
        ),
        ("quirk 10: null is not zero", "messages", Op::Base, message(&[]), None),
        ("quirk 13: text in a REAL column", "messages", Op::Base, message(&[("cost", Cell::text("abc"))]), None),
        (
            "quirk 13: reals in INTEGER columns",
            "messages",
            Op::Base,
            message(&[("duration", Cell::real(12.5)), ("exit_code", Cell::real(2.5))]),
            None,
        ),
        (
            "quirk 13: a large integer",
            "messages",
            Op::Base,
            message(&[("duration", Cell::Integer(3_000_000_000))]),
            None,
        ),
        (
            "an integer above 2^53",
            "messages",
            Op::Base,
            message(&[("duration", Cell::Integer(9_007_199_254_740_993))]),
            None,
        ),
        (
            "the least and the largest integer",
            "messages",
            Op::Base,
            message(&[("duration", Cell::Integer(i64::MIN)), ("exit_code", Cell::Integer(i64::MAX))]),
            None,
        ),
        (
            "reals of the edges",
            "messages",
            Op::Base,
            message(&[
                ("cost", Cell::real(-0.0)),
                ("duration", Cell::real(f64::INFINITY)),
                ("exit_code", Cell::real(1e-320)),
            ]),
            None,
        ),
        (
            "quirk 16: a NUL byte, quotes and control characters",
            "messages",
            Op::Base,
            message(&[("content", Cell::text("a\0b \"c\" \\ \n\u{1f} é \u{1f980}"))]),
            None,
        ),
        (
            "invalid UTF-8 and a blob",
            "messages",
            Op::Base,
            message(&[("content", Cell::Text(b"a\xffb".into())), ("tools_used", Cell::Blob(vec![0, 255]))]),
            None,
        ),
        (
            "a text like a tagged form",
            "messages",
            Op::Base,
            message(&[("content", Cell::text("{\"$blob\":\"AA==\"}"))]),
            None,
        ),
        (
            "an update with the image before",
            "sessions",
            Op::Update,
            session("completed", Cell::text("2026-11-23T11:00:00.000Z")),
            Some(&running),
        ),
        ("a delete", "sessions", Op::Delete, running.clone(), None),
    ];
    let golden: Vec<Json> = events
        .into_iter()
        .map(|(what, table, op, row, before)| {
            let event = event(mapping.table(table).unwrap(), op, &row, before.map(Vec::as_slice));
            if op != Op::Delete {
                assert_eq!(decoded(&mapping, &event.value, &event.key).unwrap(), (op, row), "{what}");
            }
            let headers: serde_json::Map<String, Json> =
                event.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
            json!({"what": what, "key": String::from_utf8_lossy(&event.key), "headers": headers, "value": event.text()})
        })
        .collect();
    expect("fixtures/events/rows.json", &golden.into());
}

#[test]
fn an_event_of_the_first_drafts_is_the_same_row() {
    let mapping = crossfade::acc::mapping().unwrap();
    let old = include_bytes!("../../../fixtures/upcast/v0.json");
    let given = [
        ("id", Cell::text("m-1")),
        ("session_id", Cell::text("s-1")),
        ("content", Cell::text("a\0b")),
        ("timestamp", Cell::text("2026-11-23 10:44:59")),
        ("tools_used", Cell::Blob(vec![0, 255])),
        ("cost", Cell::real(-0.0)),
        ("duration", Cell::Integer(i64::MAX)),
        ("exit_code", Cell::real(1e300)),
    ];
    let row = row(&mapping, "messages", &given);
    let today = event(mapping.table("messages").unwrap(), Op::Base, &row, None);
    let expected = decoded(&mapping, &today.value, &today.key).unwrap();
    assert_eq!(decoded(&mapping, old, b"s-1").unwrap(), expected);
    assert_eq!(expected, (Op::Base, row));
}

#[test]
fn an_old_event_is_read_as_strictly_as_a_new_one() {
    let mapping = crossfade::acc::mapping().unwrap();
    for (row, column) in [
        (r#"{"id":"m","id":"m"}"#, "'id' is given twice"),
        (r#"{"duration":9223372036854775808}"#, "'duration' has a number of no 64 bits"),
        (r#"{"duration":18446744073709551616}"#, "'duration' has a number of no 64 bits"),
    ] {
        let old = format!(r#"{{"v":0,"table":"messages","op":"copy","image":{row}}}"#);
        let error = decoded(&mapping, old.as_bytes(), b"s").unwrap_err();
        let why = std::error::Error::source(&error).unwrap().to_string();
        assert!(why.contains(column), "{why}");
    }
}
