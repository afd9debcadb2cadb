//! Credentials known by what stands before them: a name, a scheme, an address.

use std::ops::Range;

use super::rules::encoded;
use super::text::{entropy, run, run_within, url_safe, wordy};

/// The password of `scheme://user:password@host`, at most this far from the scheme.
const USERINFO: usize = 512;

pub(super) fn url_password(text: &[u8], at: usize, anchor: &str) -> Option<Range<usize>> {
    if at == 0 || !text[at - 1].is_ascii_alphanumeric() {
        return None;
    }
    let from = at + anchor.len();
    let near = &text[from..text.len().min(from + USERINFO)];
    let stop = |byte: &u8| {
        byte.is_ascii_whitespace() || matches!(byte, b'/' | b'"' | b'\'' | b'<' | b'>' | b'\\' | b'`' | b'?' | b'#')
    };
    let end = near.iter().position(stop).unwrap_or(near.len());
    // A password may hold an '@' itself.
    let host = near[..end].iter().rposition(|byte| *byte == b'@')?;
    let colon = near[..host].iter().position(|byte| *byte == b':')?;
    let password = &near[colon + 1..host];
    let named = ["password", "passwd", "pass", "pwd", "secret", "xxx", "xxxx"];
    let placeholder = named.iter().any(|name| password.eq_ignore_ascii_case(name.as_bytes()));
    (password.len() >= 3 && !placeholder && !stands_for_another(password)).then_some(from + colon + 1..from + host)
}

/// `Bearer …`, and `Authorization: Basic …` in any of its spellings.
pub(super) fn bearer(text: &[u8], at: usize, anchor: &str) -> Option<Range<usize>> {
    let mut from = at + anchor.len();
    if anchor.eq_ignore_ascii_case("earer ") {
        if at == 0 || !text[at - 1].eq_ignore_ascii_case(&b'b') {
            return None;
        }
    } else {
        let between = |byte: u8| matches!(byte, b'"' | b'\'' | b'\\' | b':' | b'=' | b' ' | b',' | b'[');
        from = run(text, from, between);
        let scheme = run(text, from, |byte| byte.is_ascii_alphabetic());
        if !["basic", "bearer", "token", "apikey"]
            .iter()
            .any(|known| text[from..scheme].eq_ignore_ascii_case(known.as_bytes()))
        {
            return None;
        }
        from = run(text, scheme, |byte| byte == b' ');
        if from == scheme {
            return None;
        }
    }
    let end = run(text, from, |byte| encoded(byte) || matches!(byte, b'.' | b'~'));
    let least = if anchor.eq_ignore_ascii_case("earer ") { 16 } else { 8 };
    (end - from >= least && !wordy(&text[from..end])).then_some(from..end)
}

/// What a key must be of to be a secret.
const KEYS: [&str; 15] = [
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "encryptionkey",
    "signingkey",
    "authkey",
    "accountkey",
    "masterkey",
    "storagekey",
    "sharedkey",
    "sessionkey",
    "servicekey",
    "clientkey",
    "sshkey",
];

/// Of a name, only the end is looked at.
const NAME: usize = 40;
/// A longer value is no password and no token.
const VALUE: usize = 512;

/// The value behind `name:` or `name=`, in quotes or not.
pub(super) fn assigned(text: &[u8], at: usize, anchor: &str) -> Option<Range<usize>> {
    let behind = at + anchor.len();
    let (end, password) = match anchor.to_ascii_lowercase().as_str() {
        "assw" => (behind + ["ord", "d"].iter().find(|end| starts(text, behind, end))?.len(), true),
        "assphrase" | "pwd" => (behind, true),
        "key" => (behind, false).only(of_a_secret(text, behind))?,
        _ => (behind, false),
    };
    let from = value(text, end)?;
    let (value, quoted) = from;
    let run = &text[value.clone()];
    if run.len() < 8 || run.len() > VALUE || stands_for_another(run) {
        return None;
    }
    // A call or an index is code, not a value.
    if !quoted && matches!(text.get(value.end), Some(b'(' | b'[' | b'{')) {
        return None;
    }
    let random = if password { like_a_password(run) } else { like_a_token(run) };
    random.then_some(value)
}

trait Only: Sized {
    fn only(self, wanted: bool) -> Option<Self> {
        wanted.then_some(self)
    }
}

impl Only for (usize, bool) {}

fn starts(text: &[u8], at: usize, word: &str) -> bool {
    text.get(at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether the name that ends at `end` is that of a key that opens something.
fn of_a_secret(text: &[u8], end: usize) -> bool {
    let near = &text[end.saturating_sub(NAME)..end];
    let name = near.iter().rev().take_while(|byte| url_safe(**byte)).collect::<Vec<_>>();
    let name: Vec<u8> =
        name.into_iter().rev().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect();
    KEYS.iter().any(|key| name.ends_with(key.as_bytes()))
}

/// The value of the name that ends at `end`, and whether it stands in quotes; in JSON within JSON those are escaped.
fn value(text: &[u8], end: usize) -> Option<(Range<usize>, bool)> {
    let mut at = end;
    let quote = |at: usize| match text.get(at) {
        Some(b'"' | b'\'' | b'`') => 1,
        Some(b'\\') if matches!(text.get(at + 1), Some(b'"' | b'\'')) => 2,
        _ => 0,
    };
    at += quote(at);
    at = run(text, at, |byte| byte == b' ');
    at = match (text.get(at)?, text.get(at + 1)) {
        (b'=', Some(b'>')) | (b':', Some(b'=')) => at + 2,
        (b'=', Some(b'=')) => return None,
        (b'=' | b':', _) => at + 1,
        _ => return None,
    };
    at = run(text, at, |byte| byte == b' ');
    let open = quote(at);
    at += open;
    let plain = |byte: u8| byte > b' ' && byte < 0x7f && !matches!(byte, b'"' | b'\'' | b'`' | b'\\' | b'<' | b'>');
    let bare =
        |byte: u8| plain(byte) && !matches!(byte, b',' | b';' | b'(' | b')' | b'{' | b'}' | b'[' | b']' | b'&' | b'|');
    let to = if open > 0 { run_within(text, at, VALUE + 1, plain) } else { run_within(text, at, VALUE + 1, bare) };
    if open > 0 && quote(to) == 0 {
        return None;
    }
    Some((at..to, open > 0))
}

/// A value that only says where the real one is, or that it was taken away.
fn stands_for_another(value: &[u8]) -> bool {
    let begins = |with: &[&str]| with.iter().any(|with| starts(value, 0, with));
    let same = value.iter().all(|byte| *byte == value[0]);
    same || begins(&[
        "$",
        "{",
        "<",
        "%",
        "[",
        "*",
        "process.env",
        "os.environ",
        "env.",
        "your",
        "example",
        "placeholder",
        "http:",
        "https:",
        "./",
        "../",
        "~/",
    ]) || (value.first() == Some(&b'/') && value[1..].contains(&b'/'))
        || memchr::memmem::find(value, b"...").is_some()
}

/// Characters of two classes and more, one of them no letter.
fn like_a_password(value: &[u8]) -> bool {
    let letters = value.iter().any(u8::is_ascii_alphabetic);
    let other = value.iter().any(|byte| byte.is_ascii_digit() || b"!@#$%^&*+=?~".contains(byte));
    letters && other && entropy(value) >= 2.5 && !value.contains(&b'(')
}

/// Letters and digits at random, as machines make them.
fn like_a_token(value: &[u8]) -> bool {
    let of = |byte: &u8| {
        encoded(*byte) || matches!(byte, b'.' | b'~' | b'!' | b'@' | b'#' | b'$' | b'%' | b'^' | b'*' | b':')
    };
    value.len() >= 16
        && value.iter().all(of)
        && value.iter().any(u8::is_ascii_digit)
        && value.iter().any(u8::is_ascii_alphabetic)
        && entropy(value) >= 3.0
        && !wordy(value)
}
