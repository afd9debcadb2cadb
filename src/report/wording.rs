//! Words and numbers that every renderer says the same way.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Group;
use super::values::visible;
pub(super) use crate::base::words::{counted, number};
use crate::diff::{Checked, Difference, Event, Kind, Outcome, Severity, TableCoverage};

/// `1 missing, 2 changed`: the kinds that occur.
pub(super) fn breakdown(table: &TableCoverage) -> String {
    [
        (table.missing, "missing"),
        (table.extra, "extra"),
        (table.changed, "changed"),
        (table.shared, "shared by several rows"),
    ]
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

/// What the verdict rests on, in numbers.
pub(super) fn counts(outcome: &Outcome, compared: u64, skipped: u64) -> String {
    if outcome.checks.is_empty() {
        return format!("{} compared, {} skipped", counted(compared, "row"), number(skipped));
    }
    let of = |severity| outcome.checks.iter().filter(|check| check.severity == severity).count() as u64;
    format!(
        "{}: {} fine, {} warned of, {} not known, {} failed",
        counted(outcome.checks.len() as u64, "check"),
        number(of(Severity::Note)),
        number(of(Severity::Warning)),
        number(of(Severity::Gap)),
        number(of(Severity::Failure)),
    )
}

/// Checks that are not just fine, the worst first, those that say the same of several subjects as one with all of them;
/// and how often each check is fine.
pub(super) fn checks(outcome: &Outcome) -> (Vec<(&Checked, String)>, BTreeMap<&'static str, u64>) {
    let mut told: Vec<(&Checked, String)> = Vec::new();
    for check in outcome.checks.iter().filter(|check| check.severity > Severity::Note) {
        let same = |(other, _): &&mut (&Checked, String)| {
            (other.code, &other.text, &other.help) == (check.code, &check.text, &check.help)
        };
        match told.iter_mut().find(same) {
            Some((_, subjects)) => *subjects += &format!(", {}", check.subject),
            None => told.push((check, check.subject.clone())),
        }
    }
    told.sort_by_key(|(check, _)| Reverse(check.severity));
    let mut fine = BTreeMap::new();
    for check in outcome.checks.iter().filter(|check| check.severity == Severity::Note) {
        *fine.entry(check.code).or_default() += 1;
    }
    (told, fine)
}

/// Heading of the facts.
pub(super) fn facts_title(outcome: &Outcome) -> &'static str {
    if outcome.checks.is_empty() { "What was compared" } else { "What was looked at" }
}

/// What stands before the reason: the verdict, or that nothing was judged.
pub(super) fn word(outcome: &Outcome) -> &'static str {
    if outcome.steps.is_empty() { outcome.verdict.word() } else { "DRY RUN" }
}

/// Rows of a table that takes no part; nobody has to have counted them.
pub(super) fn uncounted(table: &TableCoverage) -> String {
    if table.legacy_rows == 0 { "-".to_owned() } else { number(table.legacy_rows) }
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
        Difference::Shared => "shared",
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
