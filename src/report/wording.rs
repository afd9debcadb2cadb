//! Words and numbers that every renderer says the same way.

use super::Group;
use super::values::visible;
use crate::diff::{Difference, Event, Kind, Severity, TableCoverage};

/// Digits in groups of three: `1,250,000`.
pub(super) fn number(number: u64) -> String {
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
pub(super) fn counted(count: u64, one: &str) -> String {
    format!("{} {one}{}", number(count), if count == 1 { "" } else { "s" })
}

/// `1 missing, 2 changed`: the kinds that occur.
pub(super) fn breakdown(table: &TableCoverage) -> String {
    [(table.missing, "missing"), (table.extra, "extra"), (table.changed, "changed")]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{} {word}", number(count)))
        .collect::<Vec<_>>()
        .join(", ")
}

/// How many keys of a group differ, how, and how many of them are shown.
pub(super) fn headline(group: &Group<'_>, explained: bool) -> String {
    let shown = group.samples.len() as u64;
    let Some(table) = group.coverage else { return format!("{} shown", number(shown)) };
    let (all, text) = if explained {
        (table.explained, format!("{} explained", counted(table.explained, "difference")))
    } else {
        let differing = table.differing();
        let verb = if differing == 1 { "differs" } else { "differ" };
        let of = counted(table.compared, "row");
        (differing, format!("{} of {of} {verb}: {}", number(differing), breakdown(table)))
    };
    match shown {
        0 => format!("{text}; none shown"),
        _ if shown < all => format!("{text}; first {} shown", number(shown)),
        _ => text,
    }
}

/// Where an event lies: `topic[partition]@offset`.
pub(super) fn place(event: &Event) -> String {
    format!("{}[{}]@{}", visible(&event.topic), event.partition, event.offset)
}

/// What the event of a sample is to its kind of difference.
pub(super) fn event_role(kind: Kind) -> &'static str {
    match kind {
        Kind::ProjectionFold => "last applied event",
        Kind::RowFold | Kind::Both | Kind::RowProjection => "first diverging event",
    }
}

/// What stands for a value that is not there.
pub(super) fn absent(kind: Kind, side: Side) -> &'static str {
    match (kind, side) {
        (Kind::RowProjection, Side::Fold) => "log not read",
        _ => "no row",
    }
}

/// Stable code of a kind of difference.
pub(super) fn kind_code(kind: Kind) -> &'static str {
    match kind {
        Kind::RowFold => "row-fold",
        Kind::ProjectionFold => "projection-fold",
        Kind::Both => "both",
        Kind::RowProjection => "row-projection",
    }
}

/// Stable code of a difference, also its word for people.
pub(super) fn difference(difference: Difference) -> &'static str {
    match difference {
        Difference::Missing => "missing",
        Difference::Extra => "extra",
        Difference::Changed => "changed",
    }
}

/// Stable code of a severity, also its word for people.
pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Gap => "gap",
        Severity::Failure => "failure",
    }
}

/// One of the three images of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Legacy,
    Fold,
    Projection,
}

impl Side {
    pub(super) const ALL: [Self; 3] = [Self::Legacy, Self::Fold, Self::Projection];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Fold => "fold",
            Self::Projection => "projection",
        }
    }
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
}
