//! The ground: errors, verdicts, findings and time, known to every floor.

pub mod error;
pub mod verdict;
pub mod words;
pub mod yaml;

pub use error::{Error, Kind, Result};
pub use verdict::Verdict;

/// Milliseconds since the Unix epoch, UTC. Passed as an argument wherever a rule needs the time.
pub type Millis = i64;

/// Writes `bytes` as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes `at` as RFC 3339 with milliseconds; a time outside the calendar becomes its number.
pub fn rfc3339(at: Millis) -> String {
    match jiff::Timestamp::from_millisecond(at) {
        Ok(timestamp) => format!("{timestamp:.3}"),
        Err(_) => at.to_string(),
    }
}
