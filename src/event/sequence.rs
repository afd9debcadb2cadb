//! `ce_sequence`: the position of an event at its source, sortable as text.

use std::fmt;

/// A replay generation (raised by a deliberate re-copy) and the running count of events in it. Compares only within
/// one source, capture and generation; across generations the higher generation is newer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sequence {
    pub generation: u32,
    pub count: u64,
}

const COUNT_DIGITS: u32 = 14;

impl Sequence {
    /// One number with the same order, as projections store it.
    pub fn number(self) -> i64 {
        i64::from(self.generation) * 10_i64.pow(COUNT_DIGITS) + self.count as i64
    }

    /// The sequence of such a number.
    pub fn of_number(number: i64) -> Self {
        let number = number.unsigned_abs();
        let unit = 10_u64.pow(COUNT_DIGITS);
        Self { generation: u32::try_from(number / unit).unwrap_or(u32::MAX), count: number % unit }
    }

    /// Reads `GGGG-CCCCCCCCCCCCCC`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (generation, count) = text.split_once('-')?;
        if generation.len() != 4 || count.len() != COUNT_DIGITS as usize {
            return None;
        }
        // A sign would be parsed as part of a number.
        if !generation.bytes().chain(count.bytes()).all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self { generation: generation.parse().ok()?, count: count.parse().ok()? })
    }

    /// Puts the text form into `out`; once per event, so not by the formatter.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        out.clear();
        digits(u64::from(self.generation), 4, out);
        out.push(b'-');
        digits(self.count, COUNT_DIGITS, out);
    }
}

/// Appends `number` with at least `width` digits.
fn digits(mut number: u64, width: u32, out: &mut Vec<u8>) {
    let mut buffer = [b'0'; 20];
    let mut at = buffer.len();
    let least = buffer.len() - width as usize;
    while number > 0 {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&buffer[at.min(least)..]);
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write(&mut text);
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_number_sort_alike() {
        let sequences = [(1, 1), (1, 99), (1, 10_000_000_000), (2, 1), (10, 5)];
        let all: Vec<Sequence> = sequences.iter().map(|&(generation, count)| Sequence { generation, count }).collect();
        assert!(
            all.windows(2).all(|pair| pair[0].to_string() < pair[1].to_string() && pair[0].number() < pair[1].number())
        );
        assert!(all.iter().all(|sequence| Sequence::parse(sequence.to_string().as_bytes()) == Some(*sequence)));
        assert_eq!(all[2].to_string(), "0001-00010000000000");
        assert_eq!(Sequence { generation: 12_345, count: u64::MAX }.to_string(), "12345-18446744073709551615");
        assert_eq!(Sequence::parse(b"1-2"), None);
        assert_eq!(Sequence::parse(b"+001-00000000000001"), None);
    }
}
