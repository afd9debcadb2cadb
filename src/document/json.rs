//! Reading a document as its writer would.

use std::borrow::Cow;

use serde_json::Value;

/// Text that Rust cannot hold is kept in a written form: this character, which is never one of a text, before the four
/// digits of half of a surrogate pair; and before `=` for itself.
const MARK: char = '\u{10fffe}';

/// Parses what JavaScript wrote: a byte order mark is passed over, and of a member given twice the last counts. Half of a
/// surrogate pair, which JavaScript allows, is kept: `exact` gives the text as it was.
pub fn parse(bytes: &[u8]) -> serde_json::Result<Value> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match marked(bytes) {
        Some(marked) => serde_json::from_slice(&marked),
        None => serde_json::from_slice(bytes),
    }
}

/// The bytes of a text of a parsed document; half of a surrogate pair is encoded as if it were a character (WTF-8).
pub(super) fn exact(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(MARK) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    each_part(text, &mut |part| match part {
        Part::Text(text) => bytes.extend_from_slice(text.as_bytes()),
        Part::Half(unit) => {
            bytes.extend([0xe0 | (unit >> 12) as u8, 0x80 | (unit >> 6 & 0x3f) as u8, 0x80 | (unit & 0x3f) as u8]);
        }
    });
    Cow::Owned(bytes)
}

/// The text of a part of a document, with half of a surrogate pair escaped as JavaScript does.
pub(super) fn written(part: &Value) -> String {
    let text = part.to_string();
    if !text.contains(MARK) {
        return text;
    }
    let mut out = String::with_capacity(text.len());
    each_part(&text, &mut |part| match part {
        Part::Text(text) => out.push_str(text),
        Part::Half(unit) => out += &format!("\\u{unit:04x}"),
    });
    out
}

enum Part<'t> {
    Text(&'t str),
    Half(u16),
}

fn each_part(text: &str, each: &mut dyn FnMut(Part<'_>)) {
    let mut parts = text.split(MARK);
    each(Part::Text(parts.next().unwrap_or_default()));
    for part in parts {
        if let Some(rest) = part.strip_prefix('=') {
            each(Part::Text(MARK.encode_utf8(&mut [0; 4])));
            each(Part::Text(rest));
        } else if let Some(unit) = part.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
            each(Part::Half(unit));
            each(Part::Text(&part[4..]));
        }
    }
}

/// The document with every half of a surrogate pair, and every mark, in its written form; `None` where there is neither.
fn marked(bytes: &[u8]) -> Option<Vec<u8>> {
    let mark = MARK.to_string();
    let mark = mark.as_bytes();
    let mut out = Vec::new();
    let (mut from, mut at) = (0, 0);
    while at < bytes.len() {
        let (taken, form) = match bytes[at] {
            b'\\' => match (unit(bytes, at), unit(bytes, at + 6)) {
                (Some(0xdbff), Some(0xdffe)) => (12, Some("=".to_owned())),
                (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, None),
                (Some(half @ 0xd800..=0xdfff), _) => (6, Some(format!("{half:04x}"))),
                (Some(_), _) => (6, None),
                (None, _) => (2, None),
            },
            0xf4 if bytes[at..].starts_with(mark) => (mark.len(), Some("=".to_owned())),
            _ => (1, None),
        };
        if let Some(form) = form {
            out.extend_from_slice(&bytes[from..at]);
            out.extend_from_slice(mark);
            out.extend_from_slice(form.as_bytes());
            from = at + taken;
        }
        at += taken;
    }
    if from == 0 {
        return None;
    }
    out.extend_from_slice(&bytes[from..]);
    Some(out)
}

/// The code unit of an escape `\uXXXX` at this place.
fn unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_javascript_writes_is_read() {
        for (text, expected) in [
            ("\u{feff}{\"a\": 1}", r#"{"a":1}"#),
            (r#"{"a": 1, "a": 2}"#, r#"{"a":2}"#),
            (r#"["\ud83d\ude00"]"#, "[\"\u{1f600}\"]"),
            (r#"["\ud83d", "\ude00x", "\\ud83d"]"#, r#"["\ud83d","\ude00x","\\ud83d"]"#),
            (r#"["\uDE00\uD83D", "\ud83d\ud83d\ude00"]"#, "[\"\\ude00\\ud83d\",\"\\ud83d\u{1f600}\"]"),
            (r#"["\udbff\udffe"]"#, "[\"\u{10fffe}\"]"),
            ("[\"\u{10fffe}d800\u{10fffe}=\"]", "[\"\u{10fffe}d800\u{10fffe}=\"]"),
            (r#"{"\ud800": 1}"#, r#"{"\ud800":1}"#),
        ] {
            assert_eq!(written(&parse(text.as_bytes()).unwrap()), expected, "{text}");
        }
        for text in ["", "{\"a\": ", "{\"a\": 1} x", "[\"\\ud83\"]", "[1e400]"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn halves_of_surrogate_pairs_are_told_from_each_other_and_from_what_stands_for_them() {
        for (text, expected) in [
            (r#""a\ud800b""#, &b"a\xed\xa0\x80b"[..]),
            (r#""\udfff""#, b"\xed\xbf\xbf"),
            (r#""\ufffd""#, b"\xef\xbf\xbd"),
            (r#""\u0000\udbff\udffe=""#, b"\0\xf4\x8f\xbf\xbe="),
            (r#""plain""#, b"plain"),
        ] {
            let parsed = parse(text.as_bytes()).unwrap();
            assert_eq!(exact(parsed.as_str().unwrap()), expected, "{text}");
        }
    }
}
