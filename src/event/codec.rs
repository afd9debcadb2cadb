//! How one value looks in an event's row image.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::mapping::Value;

/// Writes values into row images. Tests swap in lossy ones, which the diff must catch.
pub trait Codec: Send + Sync {
    /// Appends `value` as JSON.
    fn write(&self, value: Value<'_>, out: &mut Vec<u8>);
}

/// The exact form: integers bare, reals always with point or exponent, valid UTF-8 as a string, and single-key objects
/// `{"$blob":base64}`, `{"$text":base64}`, `{"$real":"Infinity"}` for what JSON cannot say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exact;

impl Codec for Exact {
    fn write(&self, value: Value<'_>, out: &mut Vec<u8>) {
        match value {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Integer(number) => integer(number, out),
            Value::Real(number) if number.is_finite() => {
                out.extend_from_slice(ryu::Buffer::new().format_finite(number).as_bytes());
            }
            Value::Real(number) => {
                let word = if number.is_nan() {
                    "NaN"
                } else if number > 0.0 {
                    "Infinity"
                } else {
                    "-Infinity"
                };
                tagged("$real", word, out);
            }
            Value::Text(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => string(text, out),
                Err(_) => tagged("$text", &BASE64.encode(bytes), out),
            },
            Value::Blob(bytes) => tagged("$blob", &BASE64.encode(bytes), out),
        }
    }
}

fn tagged(tag: &str, text: &str, out: &mut Vec<u8>) {
    for part in ["{\"", tag, "\":\"", text, "\"}"] {
        out.extend_from_slice(part.as_bytes());
    }
}

fn integer(number: i64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// What follows the backslash for each byte that JSON escapes; `u` for a numeric escape, 0 for none.
const ESCAPE: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = b'u';
        byte += 1;
    }
    table[b'"' as usize] = b'"';
    table[b'\\' as usize] = b'\\';
    table[0x08] = b'b';
    table[0x09] = b't';
    table[0x0a] = b'n';
    table[0x0c] = b'f';
    table[0x0d] = b'r';
    table
};

/// Appends a JSON string.
pub fn string(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let (blocks, rest) = text.as_bytes().as_chunks::<16>();
    for block in blocks {
        // Without a branch per byte, so that the compiler may look at all of them at once.
        let special = |byte: &u8| (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\');
        if block.iter().fold(false, |any, byte| any | special(byte)) {
            escaped(block, out);
        } else {
            out.extend_from_slice(block);
        }
    }
    escaped(rest, out);
    out.push(b'"');
}

fn escaped(bytes: &[u8], out: &mut Vec<u8>) {
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape = ESCAPE[*byte as usize];
        if escape == 0 {
            continue;
        }
        out.extend_from_slice(&bytes[from..at]);
        from = at + 1;
        out.extend_from_slice(&[b'\\', escape]);
        if escape == b'u' {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            out.extend_from_slice(&[b'0', b'0', HEX[(byte >> 4) as usize], HEX[(byte & 15) as usize]]);
        }
    }
    out.extend_from_slice(&bytes[from..]);
}
