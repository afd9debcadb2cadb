//! Numbers as people read them.

/// Digits in groups of three: `1,250,000`.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2 rows`.
pub fn counted(count: u64, one: &str) -> String {
    format!("{} {one}{}", number(count), if count == 1 { "" } else { "s" })
}

/// Bytes with one decimal: `1.5 GB`, a kilobyte being 1000 of them.
pub fn bytes(bytes: u64) -> String {
    let mut unit = (1, "bytes");
    for next in [(1_000, "kB"), (1_000_000, "MB"), (1_000_000_000, "GB"), (1_000_000_000_000, "TB")] {
        if bytes >= next.0 {
            unit = next;
        }
    }
    let tenths = bytes % unit.0 * 10 / unit.0;
    if unit.0 == 1 { format!("{bytes} bytes") } else { format!("{}.{tenths} {}", number(bytes / unit.0), unit.1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_stand_in_groups_of_three() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_250_000, "1,250,000")];
        for (input, expected) in cases {
            assert_eq!(number(input), expected);
        }
        assert_eq!(counted(1, "row"), "1 row");
        assert_eq!(counted(1200, "row"), "1,200 rows");
    }

    #[test]
    fn bytes_have_the_largest_unit_that_fits() {
        let cases =
            [(999, "999 bytes"), (1_000, "1.0 kB"), (1_590_000, "1.5 MB"), (999_999_999, "999.9 MB"), (0, "0 bytes")];
        for (input, expected) in cases {
            assert_eq!(bytes(input), expected);
        }
        assert_eq!(bytes(2_500_000_000_000_000), "2,500.0 TB");
    }
}
