//! CloudEvents attributes: names, values, the legacy's time, and sequences that sort as text.

use crossfade::event::time::rfc3339;
use crossfade::event::{Envelope, Op, Sequence, Whose};
use crossfade::mapping::OWN_TYPES;
use proptest::prelude::*;

use super::given::{Cell, base, event, table_and_rows};
use crate::support::store::table;

#[test]
fn legacy_times_are_rfc_3339_in_utc_or_left_out() {
    let cases = [
        ("2026-11-23T10:44:59.326Z", Some("2026-11-23T10:44:59.326Z")),
        ("2026-11-23T10:44:59.320Z", Some("2026-11-23T10:44:59.32Z")),
        ("2026-11-23T10:44:59.000Z", Some("2026-11-23T10:44:59Z")),
        ("2026-11-23T10:44:59Z", Some("2026-11-23T10:44:59Z")),
        ("2026-11-23 10:44:59", Some("2026-11-23T10:44:59Z")),
        ("2026-11-23 10:44:59.5", Some("2026-11-23T10:44:59.5Z")),
        ("2026-11-23T10:44:59", Some("2026-11-23T10:44:59Z")),
        ("2026-11-23 10:44:59Z", Some("2026-11-23T10:44:59Z")),
        ("2026-11-23 10:44", Some("2026-11-23T10:44:00Z")),
        ("2025-09-01 01:24:36.171235+00", Some("2025-09-01T01:24:36.171235Z")),
        ("2025-09-01 03:24:36.171+02", Some("2025-09-01T01:24:36.171Z")),
        ("2025-09-01T03:24:36+02:00", Some("2025-09-01T01:24:36Z")),
        ("2025-12-31T23:24:36-02:30", Some("2026-01-01T01:54:36Z")),
        ("2024-02-29 00:00:00", Some("2024-02-29T00:00:00Z")),
        ("2000-02-29 00:00:00", Some("2000-02-29T00:00:00Z")),
        ("0001-01-01 00:00:00", Some("0001-01-01T00:00:00Z")),
        ("9999-12-31 23:59:59", Some("9999-12-31T23:59:59Z")),
        ("1900-02-29 00:00:00", None),
        ("2025-02-29 00:00:00", None),
        ("2025-04-31 00:00:00", None),
        ("2025-00-10 00:00:00", None),
        ("2025-10-00 00:00:00", None),
        ("2026-13-40 10:44:59", None),
        ("2026-11-23 24:00:00", None),
        ("2026-11-23 10:60:00", None),
        ("2026-11-23 10:44:59.", None),
        ("2026-11-23T10:44:59.1234567890Z", None),
        ("-000044-03-15T10:00:00Z", None),
        ("+012026-03-15T10:00:00Z", None),
        ("9999-12-31T23:59:59-10:00", None),
        ("2026-11-23", None),
        ("1763894699326", None),
        ("1763894699326.000", None),
        ("2026-11-23 10:44:59 and more", None),
        (" 2026-11-23 10:44:59", None),
        ("2026-11-23\u{2003}10:44:59", None),
        ("yesterday at five o'clock", None),
        ("", None),
    ];
    for (stored, expected) in cases {
        assert_eq!(rfc3339(stored.as_bytes()).as_deref(), expected, "{stored}");
    }
    assert_eq!(rfc3339(b"2026-11-23 10:44:59\xff"), None);
}

#[test]
fn a_time_is_a_text_of_the_row() {
    let mut table = table("t", &[("id", ""), ("at", "")], &[0]);
    table.time = Some(1);
    let time = |at: Cell| base(&table, &[Cell::Integer(1), at]).header("ce_time").map(str::to_owned);
    assert_eq!(time(Cell::text("2026-11-23 10:44:59")).as_deref(), Some("2026-11-23T10:44:59Z"));
    for none in [Cell::Null, Cell::Integer(1_763_894_699), Cell::Blob(b"2026-11-23 10:44:59".into())] {
        assert_eq!(time(none), None);
    }
}

#[test]
fn an_update_is_named_by_what_it_changed() {
    let mapping = crossfade::acc::mapping().unwrap();
    let table = mapping.table("sessions").unwrap();
    let row = |status: &str, folder: &str, updated: &str| {
        let mut row = vec![Cell::Null; table.width()];
        for (column, value) in [("id", "s"), ("status", status), ("work_dir", folder), ("updated_at", updated)] {
            row[table.column(column).unwrap()] = Cell::text(value);
        }
        row
    };
    let old = row("running", "/a", "1");
    let named = |op, new: &[Cell], before| event(table, op, new, before).header("ce_type").map(str::to_owned).unwrap();
    assert_eq!(named(Op::Update, &row("failed", "/a", "2"), Some(&old)), "SessionStatusChanged");
    assert_eq!(named(Op::Update, &row("failed", "/b", "2"), Some(&old)), "SessionRowCorrected");
    assert_eq!(named(Op::Update, &row("failed", "/a", "2"), None), "SessionRowCorrected");
    assert_eq!(named(Op::Base, &old, None), "SessionCreated");
    assert_eq!(named(Op::Delete, &old, None), "SessionDeleted");
}

const ID: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";

/// Whose a record of these headers is to the migration `acc`; an error as its text.
fn whose<'a>(headers: &'a [(&'a str, &'a [u8])]) -> Result<Whose<'a>, String> {
    let headers = headers.iter().map(|(name, value)| (name.as_bytes(), *value));
    Whose::of("acc", headers).map_err(|error| error.to_string())
}

#[test]
fn i14_whose_a_record_is_is_known_by_its_source_and_then_by_its_type() {
    let sorted = |source: &str, event_type: &str| {
        let headers: [(&str, &[u8]); 5] = [
            ("ce_specversion", b"1.0"),
            ("ce_id", ID.as_bytes()),
            ("ce_source", source.as_bytes()),
            ("ce_type", event_type.as_bytes()),
            ("ce_sequence", b"0001-00000000000001"),
        ];
        match whose(&headers) {
            Ok(Whose::Row(_)) => "row".to_owned(),
            Ok(Whose::Own(_)) => "own".to_owned(),
            Ok(Whose::Foreign) => "foreign".to_owned(),
            Err(error) => error,
        }
    };
    // The kind of store may change within a migration.
    for store in ["sqlite", "postgres", "files", "http"] {
        for capture in ["replay", "follow", "reconcile", "gateway"] {
            assert_eq!(sorted(&format!("acc/{store}#{capture}"), "SessionCreated"), "row", "{store} {capture}");
            for own in OWN_TYPES {
                assert_eq!(sorted(&format!("acc/{store}#{capture}"), own), "own", "{store} {capture} {own}");
            }
        }
    }
    for source in ["acc/log#probe", "acc/gateway#derived", "acc/gateway#agent", "acc/sqlite#derived"] {
        assert_eq!(sorted(source, "SessionCreated"), "own", "{source}");
    }
    let others = ["acc2/sqlite#replay", "ac/sqlite#replay", "acc/sqlite", "acc", "", "/orders", "acc/orders#created"];
    for source in others.into_iter().chain(["acc/sqlite/x#replay", "ACC/sqlite#replay", "x/acc/sqlite#replay"]) {
        for event_type in ["SessionCreated", OWN_TYPES[0]] {
            assert_eq!(sorted(source, event_type), "foreign", "{source}");
        }
    }
    assert!(sorted("acc/sqlite#mirror", "SessionCreated").contains("the capture 'mirror'"));
}

#[test]
fn i14_what_others_write_is_never_an_error_and_what_is_ours_and_broken_always() {
    let ours: [(&str, &[u8]); 5] = [
        ("ce_specversion", b"1.0"),
        ("ce_id", ID.as_bytes()),
        ("ce_source", b"acc/sqlite#replay"),
        ("ce_type", b"SessionCreated"),
        ("ce_sequence", b"0001-00000000000001"),
    ];
    for broken in 0..ours.len() {
        let mut theirs = ours;
        theirs[2].1 = b"shop/sqlite#replay";
        for value in [&b""[..], b"\xff\xfe", b"order-17"] {
            let mut found = theirs;
            found[broken].1 = value;
            assert_eq!(whose(&found), Ok(Whose::Foreign), "{} {value:?}", found[broken].0);
            let mut found = ours;
            found[broken].1 = value;
            let plain_type = broken == 3 && value != b"\xff\xfe";
            let sorted = whose(&found);
            match ours[broken].0 {
                // What a version is called is nobody's business here, and a type may be any text.
                "ce_specversion" => assert!(matches!(sorted, Ok(Whose::Row(_))), "{sorted:?}"),
                "ce_source" => assert_eq!(sorted, Ok(Whose::Foreign)),
                _ => assert_eq!(sorted.is_ok(), plain_type, "{} {value:?}: {sorted:?}", ours[broken].0),
            }
        }
        let without: Vec<_> = ours.iter().copied().filter(|(name, _)| *name != ours[broken].0).collect();
        assert_eq!(whose(&without).is_ok(), ours[broken].0 == "ce_source", "without {}", ours[broken].0);
        let without: Vec<_> = theirs.iter().copied().filter(|(name, _)| *name != ours[broken].0).collect();
        assert_eq!(whose(&without), Ok(Whose::Foreign));
    }
    assert_eq!(whose(&[]), Ok(Whose::Foreign));
    assert_eq!(whose(&[("ce_source", b"shop/orders"), ("content-type", b"application/json")]), Ok(Whose::Foreign));
}

fn is_rfc3339(text: &str) -> bool {
    let (whole, fraction) = text.split_at(19);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    whole.replace(|c: char| c.is_ascii_digit(), "0") == "0000-00-00T00:00:00"
        && (fraction == "Z" || fraction.strip_prefix('.').and_then(|rest| rest.strip_suffix('Z')).is_some_and(digits))
        && text.parse::<jiff::civil::DateTime>().is_err()
}

proptest! {
    #[test]
    fn headers_are_those_of_cloudevents((mut table, row, _) in table_and_rows()) {
        table.time = Some(0);
        let event = base(&table, &row);
        let names: Vec<&str> = event.headers.iter().map(|(name, _)| name.as_str()).collect();
        prop_assert_eq!(&names[..5], &["ce_specversion", "ce_id", "ce_source", "ce_type", "ce_sequence"]);
        prop_assert!(names[5..].is_empty() || names[5..] == ["ce_time"]);
        // Names of attributes are lower-case letters and digits.
        prop_assert!(names.iter().all(|name| name[3..].bytes().all(|byte| byte.is_ascii_lowercase())));
        prop_assert_eq!(event.header("ce_specversion"), Some("1.0"));
        prop_assert!(event.headers.iter().all(|(_, value)| !value.is_empty()));
        let id = event.header("ce_id").unwrap();
        let parsed = uuid::Uuid::parse_str(id).unwrap();
        prop_assert_eq!(parsed.get_version_num(), 5);
        prop_assert_eq!(parsed.to_string(), id);
        prop_assert!(event.header("ce_time").is_none_or(is_rfc3339));
        let headers = event.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let envelope = Envelope::read(headers).unwrap().unwrap();
        prop_assert_eq!(envelope.id, parsed.into_bytes());
        prop_assert_eq!(envelope.sequence, Sequence { generation: 1, count: 7 });
    }

    #[test]
    fn sequences_sort_as_text(a in (0_u32..10_000, 0_u64..100_000_000_000_000), b in (0_u32..10_000, 0_u64..100)) {
        let [a, b] = [a, (b.0, a.1.saturating_sub(b.1))].map(|(generation, count)| Sequence { generation, count });
        prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        prop_assert_eq!(a.cmp(&b), a.number().cmp(&b.number()));
        prop_assert_eq!(Sequence::parse(a.to_string().as_bytes()), Some(a));
    }

    #[test]
    fn times_are_read_as_a_general_parser_reads_them(
        text in "(20|19|00)[0-9]{2}-[0-1][0-9]-[0-3][0-9][ T][0-2][0-9]:[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?",
        zone in any::<bool>(),
    ) {
        let general = text
            .parse::<jiff::civil::DateTime>()
            .ok()
            .and_then(|time| jiff::tz::TimeZone::UTC.to_timestamp(time).ok())
            .map(|time| time.to_string());
        let stored = if zone { format!("{text}Z") } else { text };
        prop_assert_eq!(rfc3339(stored.as_bytes()), general);
    }

    #[test]
    fn any_text_is_a_time_or_none(text in super::given::text()) {
        prop_assert!(rfc3339(&text).is_none_or(|time| is_rfc3339(&time)));
    }
}
