//! Credentials that are known by more than their beginning.

use std::ops::Range;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use memchr::memmem;

use super::text::{base64, begins, run, run_within, url_safe};

/// How far behind an access key its secret may stand.
const NEAR: usize = 200;

pub(super) fn aws_secret(text: &[u8], at: usize, _: &str) -> Option<Range<usize>> {
    let id = run(text, at, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    if !begins(text, at) || id - at != 20 {
        return None;
    }
    let end = text.len().min(id + NEAR);
    let mut from = id;
    while from < end {
        let to = run(text, from, |byte| base64(byte) && byte != b'=');
        if to - from == 40 && mixed(&text[from..to]) {
            return Some(from..to);
        }
        // An '=' is no part of it, and a label may be glued to it by one.
        from = to.max(from) + 1;
    }
    None
}

/// Letters of both cases and digits: no hash in hexadecimal, no word.
fn mixed(run: &[u8]) -> bool {
    run.iter().any(u8::is_ascii_uppercase)
        && run.iter().any(u8::is_ascii_lowercase)
        && run.iter().any(u8::is_ascii_digit)
}

pub(super) fn slack_webhook(text: &[u8], at: usize, anchor: &str) -> Option<Range<usize>> {
    let from = at + anchor.len();
    let path = run(text, from, |byte| url_safe(byte) || byte == b'/');
    let secret = text[from..path].rsplit(|byte| *byte == b'/').next()?;
    let known =
        ["services/", "workflows/", "triggers/"].iter().any(|kind| text[from..path].starts_with(kind.as_bytes()));
    (known && secret.len() >= 16).then_some(at..path)
}

/// How far a key block may reach.
const BLOCK: usize = 64 << 10;

/// From the dashes before BEGIN to those behind END; of a block that is cut, to the end of what could be its body.
pub(super) fn private_key(text: &[u8], at: usize, anchor: &str) -> Option<Range<usize>> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    let near = at.saturating_sub(40);
    let from = near + memmem::rfind(&text[near..at], BEGIN)?;
    if !text[from + BEGIN.len()..at].iter().all(|byte| byte.is_ascii_uppercase() || matches!(byte, b' ' | b'0'..=b'9'))
    {
        return None;
    }
    let behind = at + anchor.len();
    let body = ["-----", " BLOCK-----"].iter().find(|end| text[behind..].starts_with(end.as_bytes()))?;
    let body = behind + body.len();
    let until = text.len().min(body + BLOCK);
    let block = &text[body..until];
    if let Some(end) = memmem::find(block, b"-----END ") {
        let dashes = memmem::find(&block[end + 9..], b"-----").filter(|length| *length <= 40);
        return Some(from..body + end + 9 + dashes.map_or(0, |length| length + 5));
    }
    let part = |byte: &u8| base64(*byte) || byte.is_ascii_whitespace() || matches!(byte, b'\\' | b'-' | b':' | b',');
    let length = block.iter().position(|byte| !part(byte)).unwrap_or(block.len());
    // A trailing backslash may belong to what follows.
    let length = block[..length].iter().rposition(|byte| base64(*byte)).map_or(0, |last| last + 1);
    (length >= 16).then_some(from..body + length)
}

pub(super) fn jwt(text: &[u8], at: usize, _: &str) -> Option<Range<usize>> {
    if !begins(text, at) || (at > 0 && matches!(text[at - 1], b'-' | b'.')) {
        return None;
    }
    let header = run(text, at, url_safe);
    let decoded = URL_SAFE_NO_PAD.decode(&text[at..header]).ok()?;
    let json: serde_json::Value = serde_json::from_slice(&decoded).ok()?;
    if !json["alg"].is_string() && !json["enc"].is_string() {
        return None;
    }
    let mut parts = 1;
    let mut end = header;
    while parts < 5 && text.get(end) == Some(&b'.') {
        let next = run(text, end + 1, url_safe);
        // The second part is never empty; the signature of an unsigned one is, and then its point may end a sentence.
        if next == end + 1 && parts == 1 {
            return None;
        }
        if next == end + 1 && json["enc"].is_null() {
            parts += 1;
            break;
        }
        (end, parts) = (next, parts + 1);
    }
    (parts >= 3).then_some(at..end)
}

/// The longest hash with all that stands before it.
const HASH: usize = 512;

pub(super) fn password_hash(text: &[u8], at: usize, anchor: &str) -> Option<Range<usize>> {
    let own = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'$' | b'+' | b'=' | b',' | b'_' | b'-')
    };
    if anchor == "pbkdf2" {
        // Django's `pbkdf2_sha256$…` and passlib's `$pbkdf2-sha256$…`.
        let from = if at > 0 && text[at - 1] == b'$' { at - 1 } else { at };
        let end = run_within(text, at, HASH, own);
        let parts: Vec<&[u8]> = text[at..end].split(|byte| *byte == b'$').collect();
        return (parts.len() >= 4 && parts[3].len() >= 16).then_some(from..end);
    }
    if at > 0 && (text[at - 1] == b'$' || text[at - 1].is_ascii_alphanumeric()) && !begins(text, at) {
        return None;
    }
    let end = run_within(text, at, HASH, own);
    let parts: Vec<&[u8]> = text[at + 1..end].split(|byte| *byte == b'$').collect();
    let fits = match anchor {
        // Cost of two digits, then salt and hash of 53.
        "$2a$" | "$2b$" | "$2y$" => {
            let exact = at + 60;
            let cost = parts.get(1).is_some_and(|cost| cost.len() == 2 && cost.iter().all(u8::is_ascii_digit));
            let whole = parts.get(2).is_some_and(|rest| rest.len() >= 53);
            return (cost && whole).then_some(at..exact.min(end));
        }
        "$argon2" | "$scrypt$" => parts.len() >= 4 && parts.last().is_some_and(|hash| hash.len() >= 16),
        _ => parts.len() >= 3 && parts.last().is_some_and(|hash| hash.len() >= 40),
    };
    fits.then_some(at..end)
}
