//! Reading a document as its writer would.

use serde_json::Value;

/// Parses what JavaScript wrote: a byte order mark is passed over, of a member given twice the last counts, and half of
/// a surrogate pair becomes U+FFFD, as it does in every store of text.
pub fn parse(bytes: &[u8]) -> serde_json::Result<Value> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match serde_json::from_slice(bytes) {
        Err(error) => match mended(bytes) {
            Some(mended) => serde_json::from_slice(&mended),
            None => Err(error),
        },
        parsed => parsed,
    }
}

/// The text with every lone surrogate replaced; `None` where there is none.
fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut mended = bytes.to_vec();
    let mut any = false;
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] != b'\\' {
            at += 1;
            continue;
        }
        match (unit(bytes, at), unit(bytes, at + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at += 12,
            (Some(0xd800..=0xdfff), _) => {
                mended[at + 2..at + 6].copy_from_slice(b"fffd");
                any = true;
                at += 6;
            }
            (Some(_), _) => at += 6,
            (None, _) => at += 2,
        }
    }
    any.then_some(mended)
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
            (r#"["\ud83d", "\ude00x", "\\ud83d"]"#, "[\"\u{fffd}\",\"\u{fffd}x\",\"\\\\ud83d\"]"),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap().to_string(), expected, "{text}");
        }
        for text in ["", "{\"a\": ", "{\"a\": 1} x", "[\"\\ud83\"]"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
