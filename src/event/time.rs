//! Legacy times as RFC 3339.

/// Reads a legacy time as RFC 3339 in UTC, or `None` when it cannot be read as one.
///
/// ISO forms with a zone are converted; the space form and forms without a zone are UTC (quirks 1 and 2).
pub fn rfc3339(stored: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(stored).ok()?;
    // A bare date or a number is no time of an event, though the parsers below might make one of it.
    if text.len() < 16 || !text.is_ascii() {
        return None;
    }
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Some(timestamp.to_string());
    }
    let local: jiff::civil::DateTime = text.parse().ok()?;
    Some(jiff::tz::TimeZone::UTC.to_timestamp(local).ok()?.to_string())
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
