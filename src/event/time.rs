//! Legacy times as RFC 3339.

/// Reads a legacy time as RFC 3339 in UTC, or `None` when it cannot be read as one.
///
/// ISO forms with a zone are converted; the space form and forms without a zone are UTC (quirks 1 and 2).
pub fn rfc3339(stored: &[u8]) -> Option<String> {
    let mut time = Vec::new();
    if write(stored, &mut time) { String::from_utf8(time).ok() } else { None }
}

/// Puts the RFC 3339 form of a legacy time into `out`; whether there is one.
pub(super) fn write(stored: &[u8], out: &mut Vec<u8>) -> bool {
    out.clear();
    if usual(stored, out) {
        return true;
    }
    out.clear();
    // A bare date or a number is no time of an event, though the parsers below might make one of it.
    let Some(text) = std::str::from_utf8(stored).ok().filter(|text| text.len() >= 16 && text.is_ascii()) else {
        return false;
    };
    let time = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        // With a zone it should have been a timestamp: the zone must not be dropped.
        let zoned = text.ends_with(']') || text[10..].contains(['+', '-', 'Z', 'z']);
        let local: jiff::civil::DateTime = if zoned { None } else { text.parse().ok() }?;
        jiff::tz::TimeZone::UTC.to_timestamp(local).ok()
    });
    // RFC 3339 has no years of other than four digits.
    match time.map(|time| time.to_string()).filter(|time| time.as_bytes()[4] == b'-') {
        Some(time) => {
            out.extend_from_slice(time.as_bytes());
            true
        }
        None => false,
    }
}

/// The forms both legacy writers use, `2026-11-23T10:44:59.326Z` and `2026-11-23 10:44:59`, without a general parser.
fn usual(stored: &[u8], out: &mut Vec<u8>) -> bool {
    let Some((whole, rest)) = stored.split_first_chunk::<19>() else { return false };
    for (byte, form) in whole.iter().zip(b"0000-00-00 00:00:00") {
        let fits = match form {
            b'0' => byte.is_ascii_digit(),
            b' ' => matches!(byte, b' ' | b'T'),
            other => byte == other,
        };
        if !fits {
            return false;
        }
    }
    let two = |at: usize| (whole[at] - b'0') * 10 + (whole[at + 1] - b'0');
    let year = u16::from(two(0)) * 100 + u16::from(two(2));
    let days = match two(5) {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        1..=12 => 31,
        _ => return false,
    };
    if !(1..=days).contains(&two(8)) || two(11) > 23 || two(14) > 59 || two(17) > 59 {
        return false;
    }
    let fraction = match rest.strip_suffix(b"Z").unwrap_or(rest) {
        [] => &[],
        [b'.', digits @ ..] if (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit) => {
            &digits[..digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1)]
        }
        _ => return false,
    };
    out.extend_from_slice(whole);
    out[10] = b'T';
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
    out.push(b'Z');
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_legacy_forms_are_utc_and_nonsense_is_left_out() {
        let cases: [(&[u8], Option<&str>); 8] = [
            (b"2026-11-23T10:44:59.326Z", Some("2026-11-23T10:44:59.326Z")),
            (b"2026-11-23 10:44:59", Some("2026-11-23T10:44:59Z")),
            (b"2025-09-01 01:24:36.171+00", Some("2025-09-01T01:24:36.171Z")),
            (b"2025-09-01T03:24:36+02:00", Some("2025-09-01T01:24:36Z")),
            (b"2026-13-40 10:44:59", None),
            (b"2026-11-23", None),
            (b"yesterday at five o'clock", None),
            (b"\xff\xfe6-11-23 10:44:59", None),
        ];
        for (stored, expected) in cases {
            assert_eq!(rfc3339(stored).as_deref(), expected);
        }
    }
}
