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

    /// Reads `GGGG-CCCCCCCCCCCCCC`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (generation, count) = text.split_once('-')?;
        if generation.len() != 4 || count.len() != COUNT_DIGITS as usize {
            return None;
        }
        Some(Self { generation: generation.parse().ok()?, count: count.parse().ok()? })
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:014}", self.generation, self.count)
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
        assert_eq!(Sequence::parse(b"1-2"), None);
    }
}
