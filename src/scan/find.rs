//! Finding credentials: signs first, in one pass over all text, then the rules at each sign.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind, packed};
use memchr::memmem::Finder;

use super::rules::RULES;
use crate::mapping::Value;

/// A place in a text, and the rule it fits by its place in [`RULES`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hit {
    pub(super) at: Range<usize>,
    pub(super) rule: usize,
}

/// A sign that a credential may be near.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sign {
    pub(super) at: usize,
    /// Place in [`SIGNS`].
    anchor: usize,
}

struct Signs {
    searches: Vec<(Search, usize)>,
    /// By length, the short ones first.
    anchors: Vec<(&'static str, Vec<usize>)>,
}

/// So many at once are searched for with vector instructions, on any processor that has some.
const AT_ONCE: usize = 32;

enum Search {
    Vectors(packed::Searcher),
    Plain(AhoCorasick),
}

static SIGNS: LazyLock<Signs> = LazyLock::new(|| {
    let mut anchors: Vec<(&'static str, Vec<usize>)> = Vec::new();
    for (number, rule) in RULES.iter().enumerate() {
        for anchor in rule.anchors {
            match anchors.iter_mut().find(|(known, _)| known == anchor) {
                Some((_, rules)) => rules.push(number),
                None => anchors.push((anchor, vec![number])),
            }
        }
    }
    anchors.sort_by_key(|(anchor, _)| anchor.len());
    let search = |(number, group): (usize, &[(&'static str, Vec<usize>)])| {
        let words = || group.iter().map(|(anchor, _)| anchor);
        let vectors =
            packed::Config::new().match_kind(packed::MatchKind::LeftmostLongest).builder().extend(words()).build();
        #[expect(clippy::expect_used, reason = "the anchors are a table of this room")]
        let plain = || AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(words()).expect("anchors");
        (vectors.map_or_else(|| Search::Plain(plain()), Search::Vectors), number * AT_ONCE)
    };
    let searches = anchors.chunks(AT_ONCE).enumerate().map(search).collect();
    Signs { searches, anchors }
});

/// All signs in `text`, in order; `into` is emptied first.
pub(super) fn signs(text: &[u8], into: &mut Vec<Sign>) {
    into.clear();
    for (search, first) in &SIGNS.searches {
        match search {
            Search::Vectors(search) => into.extend(
                search
                    .find_iter(text)
                    .map(|found| Sign { at: found.start(), anchor: first + found.pattern().as_usize() }),
            ),
            Search::Plain(search) => into.extend(
                search
                    .find_iter(text)
                    .map(|found| Sign { at: found.start(), anchor: first + found.pattern().as_usize() }),
            ),
        }
    }
    into.sort_unstable_by_key(|sign| (sign.at, sign.anchor));
}

/// What the rules say at these signs of `text`, which lies `offset` bytes into what they were found in. In order, none
/// within another.
pub(super) fn hits(text: &[u8], signs: &[Sign], offset: usize, wanted: impl Fn(usize) -> bool) -> Vec<Hit> {
    let mut hits: Vec<Hit> = Vec::new();
    for sign in signs {
        let at = sign.at - offset;
        let (anchor, rules) = &SIGNS.anchors[sign.anchor];
        if at + anchor.len() > text.len() || hits.last().is_some_and(|last| at < last.at.end && at > last.at.start) {
            continue;
        }
        for rule in rules.iter().filter(|rule| wanted(**rule)) {
            if let Some(at) = RULES[*rule].fits(text, at, anchor) {
                add(&mut hits, Hit { at, rule: *rule });
            }
        }
    }
    hits
}

/// What overlaps becomes one, named by the earlier rule. `hits` stay in order.
fn add(hits: &mut Vec<Hit>, mut hit: Hit) {
    let mut place = hits.len();
    while let Some(other) = place.checked_sub(1).map(|before| &hits[before]).filter(|other| other.at.end > hit.at.start)
    {
        place -= 1;
        if other.at.start < hit.at.end {
            let at = hit.at.start.min(other.at.start)..hit.at.end.max(other.at.end);
            hit = Hit { at, rule: hit.rule.min(other.rule) };
            hits.remove(place);
        }
    }
    hits.insert(place, hit);
}

/// What stands in a credential's place; it says the rule and nothing of the credential.
pub(super) fn marker(rule: usize) -> String {
    format!("{MARK}:{}]", RULES[rule].name)
}

/// Every marker begins so, and the shortest is this and a bracket.
const MARK: &str = "[redacted";

pub(super) fn replace(text: &[u8], hits: &[Hit]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    for hit in hits {
        out.extend_from_slice(&text[from..hit.at.start]);
        out.extend_from_slice(marker(hit.rule).as_bytes());
        from = hit.at.end;
    }
    out.extend_from_slice(&text[from..]);
    out
}

static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARK));

/// Whether a credential was taken out of this value, and by which rule first: then it is not what the legacy has, and
/// must never be written there.
pub fn redacted(value: Value<'_>) -> Option<&'static str> {
    let Value::Text(text) = value else { return None };
    FINDER.find_iter(text).find_map(|at| {
        let rest = &text[at + MARK.len()..];
        if rest.starts_with(b"]") {
            return Some("redacted");
        }
        let name = rest.strip_prefix(b":")?;
        RULES
            .iter()
            .map(|rule| rule.name)
            .find(|rule| name.strip_prefix(rule.as_bytes()).is_some_and(|end| end.starts_with(b"]")))
    })
}

/// A text for people without the credentials in it, whatever was agreed on them.
pub fn mask(text: &str) -> Cow<'_, str> {
    match masked(Value::text(text)) {
        Some(masked) => Cow::Owned(String::from_utf8_lossy(&masked).into_owned()),
        None => Cow::Borrowed(text),
    }
}

/// A value's text without the credentials in it; `None` where there are none.
pub fn masked(value: Value<'_>) -> Option<Vec<u8>> {
    let Value::Text(text) = value else { return None };
    let mut found = Vec::new();
    signs(text, &mut found);
    let hits = hits(text, &found, 0, |_| true);
    (!hits.is_empty()).then(|| replace(text, &hits))
}
