//! What tells a random run of characters from words.

/// How far a run may reach; nothing longer is looked at as one credential but a key block.
pub(super) const LONGEST: usize = 8_192;

pub(super) fn word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

pub(super) fn url_safe(byte: u8) -> bool {
    word(byte) || byte == b'-'
}

pub(super) fn dotted(byte: u8) -> bool {
    url_safe(byte) || byte == b'.'
}

pub(super) fn base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
}

/// Where the run that begins at `from` ends.
pub(super) fn run(text: &[u8], from: usize, of: impl Fn(u8) -> bool) -> usize {
    run_within(text, from, LONGEST, of)
}

/// As `run`, looking at so many bytes and no more: a bound for what may be asked of every few bytes of a hostile text.
pub(super) fn run_within(text: &[u8], from: usize, bound: usize, of: impl Fn(u8) -> bool) -> usize {
    let most = text.len().min(from.saturating_add(bound));
    text[from..most].iter().position(|byte| !of(*byte)).map_or(most, |length| from + length)
}

/// Whether a word may begin at `at`: behind nothing, no word, or the letter of an escape like `\n`.
pub(super) fn begins(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1) else { return true };
    !word(text[before]) || (before > 0 && text[before - 1] == b'\\' && matches!(text[before], b'n' | b'r' | b't'))
}

/// Shannon's entropy of the bytes, in bits a byte.
pub(super) fn entropy(run: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    run.iter().for_each(|byte| counts[*byte as usize] += 1);
    let all = run.len().max(1) as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| f64::from(*count) / all)
        .map(|share| -share * share.log2())
        .sum()
}

/// The longest piece of a name; what is longer is no word.
const LONGEST_WORD: usize = 24;

/// Whether a run reads as a name: pieces that are words, camel-cased words, or short numbers.
pub(super) fn wordy(run: &[u8]) -> bool {
    run.split(|byte| matches!(byte, b'-' | b'_' | b'.' | b'/' | b':' | b'+' | b'=')).all(|piece| {
        let digits = piece.iter().filter(|byte| byte.is_ascii_digit()).count();
        let capitals = piece.iter().filter(|byte| byte.is_ascii_uppercase()).count();
        if digits == piece.len() {
            return digits <= 8;
        }
        // A letter or two before or behind a number, as in `v2` or `sha256`.
        let trailing = piece.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let letters = piece.len() - digits;
        (digits == 0 || (digits == trailing && digits <= 4))
            && piece.len() <= LONGEST_WORD
            && (capitals == letters || capitals * 3 <= piece.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_wordy_and_random_runs_are_not() {
        for name in ["my-service-token-v2-prod", "someCamelCaseName", "MAX_TOKENS", "2026-11-26", "sha256", "a.b.c"] {
            assert!(wordy(name.as_bytes()), "{name}");
        }
        for random in ["q8Zr2Lw9", "550e8400-e29b-41d4", "Xy9aB3kQ77", "aBcDeFgHiJk", "deadbeef0123cafe"] {
            assert!(!wordy(random.as_bytes()), "{random}");
        }
    }

    #[test]
    fn a_word_begins_behind_an_escape_too() {
        assert!(begins(b"ghp_", 0) && begins(b" ghp_", 1) && begins(br"\nghp_", 2));
        assert!(!begins(b"nghp_", 1) && !begins(b"_ghp_", 1));
    }
}
