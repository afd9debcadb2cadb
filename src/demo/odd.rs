//! Cells no ordinary run of the application would write, but real stores hold.

use crate::mapping::Value;
use crate::mapping::Value::{Blob, Integer, Real};

/// A session that another tool deleted with foreign keys off; its rows stayed.
pub(super) const DELETED_SESSION: &str = "00000000-0000-4000-8000-0000deadbeef";

const SESSION: usize = 1;
const CONTENT: usize = 4;
const TIME: usize = 5;
const TOOLS: usize = 7;
const FILES: usize = 8;
const COMMANDS: usize = 9;
const COST: usize = 10;
const DURATION: usize = 11;
const EXIT: usize = 12;

const fn text(text: &'static str) -> Value<'static> {
    Value::Text(text.as_bytes())
}

/// Cells of a message that take the place of ordinary ones.
pub(super) type Odd = &'static [(usize, Value<'static>)];

pub(super) const MESSAGES: &[Odd] = &[
    // Inserted by hand: the default's time format, and zeros the application would have lost.
    &[(TIME, text("2026-06-01 08:00:00"))],
    &[(TIME, text("2026-06-01 08:00:00")), (COST, Real(0.0)), (DURATION, Integer(0)), (EXIT, Integer(0))],
    &[(TIME, text("2026-06-01 23:59:59.5")), (TOOLS, text("[]")), (FILES, text("[]")), (COMMANDS, text("[]"))],
    &[(TIME, Integer(1_780_300_800_000))],
    &[(TIME, Real(2_461_192.833_333_333))],
    // Off-type numbers the columns' affinity lets through.
    &[(DURATION, Real(12.5)), (EXIT, Real(2.5))],
    &[(DURATION, Integer(3_000_000_000))],
    &[(DURATION, text("n/a")), (EXIT, Blob(b"\x01\x00"))],
    &[(COST, text("abc"))],
    &[(COST, Blob(b""))],
    &[(TOOLS, text("\"Read\""))],
    // Text.
    &[(CONTENT, text("cut\0here"))],
    &[(CONTENT, text("ends with\0"))],
    &[(CONTENT, text("\0"))],
    &[(CONTENT, text("lone surrogate \u{fffd} replaced"))],
    &[(CONTENT, text("[object Object]"))],
    &[(CONTENT, text(""))],
    &[(CONTENT, text("\u{feff}tab\tquote\" it's \\ \r\n\u{1}\u{1b}[31m\u{7f}\u{2028} \u{1f680} e\u{301} \u{e9}"))],
    &[(CONTENT, Value::Text(b"latin-1 caf\xe9 \xff\xfe"))],
    &[(CONTENT, Value::Text(b"half a surrogate \xed\xa0\x80 and a cut sequence \xe2\x82"))],
    &[(CONTENT, Blob(b"\x89PNG\r\n\x1a\n\x00\xff"))],
    &[(CONTENT, Blob(b""))],
    &[(CONTENT, text("{\"$blob\":\"AAE=\"}")), (TOOLS, text("{\"$text\":\"/w==\"}"))],
    // JSON as text keeps spacing, order and doubled keys.
    &[(TOOLS, text("[ \"Read\" ,\t\"Edit\"]\n"))],
    &[(FILES, text("{\"b\": 1, \"a\": 2, \"b\": 3}"))],
    &[(COMMANDS, text("[\"npm test\", 1.0, 1e2, null]"))],
    // Orphans.
    &[(SESSION, text(DELETED_SESSION))],
    &[(SESSION, text(DELETED_SESSION)), (CONTENT, text("second message of a deleted session"))],
    // Numbers at the edge of what one representation or another can hold.
    &[(DURATION, Integer(9_007_199_254_740_993))],
    &[(DURATION, Integer(i64::MAX)), (EXIT, Integer(i64::MIN))],
    &[(DURATION, Real(9_223_372_036_854_775_808.0))],
    &[(DURATION, Real(1e300)), (EXIT, Integer(-1))],
    &[(COST, Real(f64::INFINITY))],
    &[(COST, Real(f64::NEG_INFINITY))],
    &[(COST, Real(1e-320))],
    &[(COST, Real(f64::MAX)), (EXIT, Real(5e-324))],
    &[(COST, Real(-0.0))],
    &[(COST, Real(0.1 + 0.2))],
    &[(COST, Real(299.999_999_999_999_98))],
    &[(COST, Real(9_007_199_254_740_993.0))],
    &[(COST, Real(1e23))],
    &[(COST, Real(4e-5))],
];

/// Which message, if any, is the `index`-th of `messages`.
pub(super) fn message(index: usize, messages: usize) -> Option<Odd> {
    let stride = messages / MESSAGES.len();
    if index % stride == stride / 2 { MESSAGES.get(index / stride).copied() } else { None }
}

/// Response time and stamp of the first metrics: a client may give any time.
pub(super) const METRICS: &[(Value<'static>, Option<&str>)] = &[
    (Real(99.5), None),
    (Integer(120), Some("1999-12-31T23:59:59.999Z")),
    (Integer(80), Some("2038-01-19T03:14:08.000Z")),
    (text("fast"), Some("2026-06-01 08:00:00")),
];
