//! Stored values made fit for people: control characters visible, long values shortened around what differs.

use std::borrow::Cow;
use std::fmt::Write;

use super::wording::number;
use crate::diff::Column;

/// Shows what a terminal or page would hide: control characters as their signs (`␀`, `␊`), characters without width,
/// of a direction, or illegal in XML as `\u{…}`. The result has no line break and
/// is itself left as it is: what was made visible once may come by again.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '\0'..='\x1f' => shown.push(char::from_u32(0x2400 + u32::from(character)).unwrap_or('␦')),
            '\x7f' => shown.push('␡'),
            hidden if is_hidden(hidden) => {
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(hidden));
            }
            plain => shown.push(plain),
        }
    }
    Cow::Owned(shown)
}

fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{a0}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
        || u32::from(character) & 0xfffe == 0xfffe
}

/// A value in three parts, each visible and perhaps shortened; `differing` is what its other sides do not share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Parts {
    pub(super) before: String,
    pub(super) differing: String,
    pub(super) after: String,
    pub(super) shortened: bool,
}

/// The legacy, folded and projected value of a column, shortened to about `limit` characters each.
pub(super) fn parts(column: &Column, limit: usize) -> [Option<Parts>; 3] {
    let values = [&column.legacy, &column.fold, &column.projection].map(|value| value.as_deref().map(visible));
    let shared = shared_ends(&values);
    values.map(|value| {
        let value = value?;
        let long = value.chars().count() > limit;
        let cut = |text: &str, head, tail| if long { shorten_visible(text, head, tail) } else { text.to_owned() };
        let Some((prefix, suffix)) = shared else {
            let before = cut(&value, limit / 2, limit / 4);
            return Some(Parts { before, shortened: long, ..Parts::default() });
        };
        let (before, rest) = value.split_at(prefix);
        let (differing, after) = rest.split_at(rest.len() - suffix);
        Some(Parts {
            before: cut(before, limit / 16, limit / 8),
            differing: cut(differing, limit / 3, limit / 6),
            after: cut(after, limit / 8, limit / 16),
            shortened: long,
        })
    })
}

/// Lengths of the beginning and end that all present values share; `None` where nothing is there to differ.
fn shared_ends(values: &[Option<Cow<'_, str>>; 3]) -> Option<(usize, usize)> {
    let mut present = values.iter().flatten();
    let first = present.next()?;
    let (mut prefix, mut suffix, mut shortest, mut alike) = (first.len(), first.len(), first.len(), true);
    for other in present {
        alike &= first == other;
        shortest = shortest.min(other.len());
        prefix = prefix.min(shared(first.bytes(), other.bytes()));
        suffix = suffix.min(shared(first.bytes().rev(), other.bytes().rev()));
    }
    if alike {
        return None;
    }
    // Digits two numbers share mean nothing: 41 and 40.0 differ as a whole.
    if values.iter().flatten().all(|value| value.parse::<f64>().is_ok()) {
        return Some((0, 0));
    }
    while !first.is_char_boundary(prefix) {
        prefix -= 1;
    }
    suffix = suffix.min(shortest - prefix);
    while !first.is_char_boundary(first.len() - suffix) {
        suffix -= 1;
    }
    Some((prefix, suffix))
}

fn shared(one: impl Iterator<Item = u8>, other: impl Iterator<Item = u8>) -> usize {
    one.zip(other).take_while(|(a, b)| a == b).count()
}

/// Makes `text` visible, keeps `head` characters of the beginning and `tail` of the end and, where there is room, says
/// how many are left out between them.
pub(super) fn shorten(text: &str, head: usize, tail: usize) -> String {
    shorten_visible(&visible(text), head, tail)
}

fn shorten_visible(text: &str, head: usize, tail: usize) -> String {
    let count = text.chars().count();
    let left_out = count.saturating_sub(head + tail);
    let note =
        if head + tail < 60 { "…".to_owned() } else { format!("… {} characters …", number(left_out as u64)) };
    if left_out <= note.chars().count() {
        return text.to_owned();
    }
    let from_char = |at: usize| text.char_indices().nth(at).map_or(text.len(), |(byte, _)| byte);
    let (begin, end) = (&text[..from_char(head)], &text[from_char(count - tail)..]);
    format!("{begin}{note}{end}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column(legacy: Option<&str>, fold: Option<&str>, projection: Option<&str>) -> Column {
        let owned = |value: Option<&str>| value.map(str::to_owned);
        let (legacy, fold, projection) = (owned(legacy), owned(fold), owned(projection));
        Column { name: "c".into(), legacy, fold, projection, last_agreed: None }
    }

    fn joined(parts: &Parts) -> String {
        format!("{}{}{}", parts.before, parts.differing, parts.after)
    }

    #[test]
    fn hidden_characters_become_signs() {
        let cases = [
            ("plain ü 漢", "plain ü 漢"),
            ("a\0b\n\t\x1b[31m\x7f", "a␀b␊␉␛[31m␡"),
            ("\u{202e}\u{feff}\u{ffff}\u{85}", "\\u{202e}\\u{feff}\\u{ffff}\\u{85}"),
        ];
        for (input, expected) in cases {
            assert_eq!(visible(input), expected);
            assert_eq!(visible(expected), expected);
        }
    }

    #[test]
    fn what_differs_is_set_apart() {
        let found = parts(&column(Some("\"active\""), Some("\"acrid\""), Some("\"acrid\"")), 100);
        let [legacy, fold, _] = found.map(Option::unwrap_or_default);
        assert_eq!((legacy.before.as_str(), legacy.differing.as_str(), legacy.after.as_str()), ("\"ac", "tive", "\""));
        assert_eq!((fold.before.as_str(), fold.differing.as_str(), fold.after.as_str()), ("\"ac", "rid", "\""));
    }

    #[test]
    fn a_difference_deep_in_a_long_value_stays_in_sight() {
        let (left, right) = ("x".repeat(50_000), "y".repeat(50_000));
        let (legacy, fold) = (format!("{left}OLD{right}"), format!("{left}NEW{right}"));
        let [Some(legacy), Some(fold), None] = parts(&column(Some(&legacy), Some(&fold), None), 160) else {
            panic!("two values are there");
        };
        assert_eq!((legacy.differing.as_str(), fold.differing.as_str()), ("OLD", "NEW"));
        assert!(legacy.shortened && joined(&legacy).chars().count() < 160, "{}", joined(&legacy));
    }

    proptest! {
        #[test]
        fn parts_of_a_short_value_join_to_the_value(a in "\\PC{0,20}", b in "\\PC{0,20}", c in "[aä漢]{0,6}") {
            for (one, two, three) in [(&a, &b, &c), (&c, &a, &b)] {
                let column = column(Some(one), Some(two), Some(three));
                let shown = parts(&column, 1000).map(|part| joined(&part.unwrap_or_default()));
                prop_assert_eq!(shown, [one, two, three].map(|value| visible(value).into_owned()));
            }
        }

        #[test]
        fn shortening_never_breaks_a_character(text in any::<String>(), head in 0usize..9, tail in 0usize..9) {
            shorten(&text, head, tail);
        }
    }
}
