//! The outcome of a comparison, from which every report is rendered.

use serde::Serialize;

use crate::base::Verdict;
use crate::base::words::{counted, number};

/// One comparison of a legacy store with the fold of its events.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Title for people: `diff`, or `replay --dry-run`.
    pub title: String,
    pub migration: String,
    pub verdict: Verdict,
    /// One sentence that gives the verdict's reason.
    pub reason: String,
    /// When it was taken, RFC 3339.
    pub taken_at: String,
    pub tool: String,
    pub mapping_hash: String,
    /// Name and value of what was compared: stores, log, positions, the replay's age.
    pub facts: Vec<(String, String)>,
    pub tables: Vec<TableCoverage>,
    pub findings: Vec<Finding>,
    /// What was looked at one by one, where that is what the command does.
    pub checks: Vec<Checked>,
    /// The ignore rules in force.
    pub ignored: Vec<Ignored>,
    /// The first differing keys only; `differing` of the tables count all of them.
    pub samples: Vec<Sample>,
    /// File with every differing key, if one was written.
    pub keys_file: Option<String>,
    /// The steps a dry run would take, in order.
    pub steps: Vec<String>,
    /// The command that should follow.
    pub next: Option<String>,
}

/// What was compared of one table.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TableCoverage {
    pub table: String,
    /// Mapped, unmapped or never to be read.
    pub state: String,
    pub legacy_rows: u64,
    pub projected_rows: u64,
    /// Distinct identities seen on both sides together, without skipped ones.
    pub compared: u64,
    pub skipped: u64,
    /// Differing keys by kind, ignored ones not among them.
    pub missing: u64,
    pub extra: u64,
    pub changed: u64,
    /// Identities that several rows of one side have.
    pub shared: u64,
    /// Differing keys whose every difference an ignore rule or a quirk explains.
    pub explained: u64,
    /// Rows that events wrote and reverse brought to the legacy: equal, they are no evidence of their own.
    pub mirrored: u64,
    /// Legacy rows compared without the credentials that were taken out of them.
    pub redacted: u64,
    /// By how many rows the legacy is ahead through rows that differ only by events after the snapshot.
    pub moved: i64,
}

impl TableCoverage {
    pub fn differing(&self) -> u64 {
        self.missing + self.extra + self.changed + self.shared
    }

    /// Whether the table takes no part by declaration: unmapped or never to be read. Anything that was counted takes part,
    /// whatever its state says.
    pub fn stands_outside(&self) -> bool {
        let declared_in = self.state.is_empty() || self.state.eq_ignore_ascii_case("mapped");
        !declared_in && self.compared + self.skipped + self.differing() + self.explained == 0
    }

    /// Whether the rows counted on both sides add up with those that are on one side only.
    pub fn adds_up(&self) -> bool {
        if self.stands_outside() {
            return true;
        }
        let ahead = i128::from(self.legacy_rows) - i128::from(self.projected_rows);
        ahead == i128::from(self.missing) - i128::from(self.extra) + i128::from(self.moved)
    }
}

/// Which of the three disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The legacy row is not what its events fold to.
    RowFold,
    /// The projected row is not what its events fold to.
    ProjectionFold,
    /// Both.
    Both,
    /// Legacy and projection differ; the log was not read for this key.
    RowProjection,
}

impl Kind {
    pub fn words(self) -> &'static str {
        match self {
            Kind::RowFold => "row ≠ fold",
            Kind::ProjectionFold => "projection ≠ fold",
            Kind::Both => "row ≠ fold and projection ≠ fold",
            Kind::RowProjection => "row ≠ projection",
        }
    }
}

/// How the row differs between the two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// In the legacy store, not on the events side.
    Missing,
    /// On the events side, not in the legacy store.
    Extra,
    Changed,
    /// Another row of its side has the same identity.
    Shared,
}

/// A differing key with its evidence.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    pub table: String,
    /// Identity as text, column by column.
    pub key: String,
    pub kind: Kind,
    pub difference: Difference,
    pub columns: Vec<Column>,
    /// The first event where the fold leaves the row, or for a corrupt projection the last one applied.
    pub event: Option<Event>,
    /// Reason of the rule or quirk that explains the whole difference.
    pub explained_by: Option<String>,
}

/// One differing column; values in their exact event form, `None` where the row is absent.
#[derive(Clone, Debug, Serialize)]
pub struct Column {
    pub name: String,
    pub legacy: Option<String>,
    pub fold: Option<String>,
    pub projection: Option<String>,
    /// The last event whose image agreed with the legacy value.
    pub last_agreed: Option<Event>,
}

/// A place in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    #[serde(rename = "type")]
    pub event_type: String,
    pub id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Note,
    Warning,
    /// Takes the verdict to INCONCLUSIVE.
    Gap,
    /// Takes the verdict to FAIL.
    Failure,
}

/// A statement about the comparison with a stable kebab-case code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub code: &'static str,
    pub severity: Severity,
    pub text: String,
}

/// One thing that was looked at, and how it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Checked {
    /// Stable kebab-case code of the check.
    pub code: &'static str,
    /// The topic, role or whatever else it is about.
    pub subject: String,
    /// A note is fine, a gap could not be looked at.
    pub severity: Severity,
    pub text: String,
    pub help: Option<String>,
}

/// An ignore rule in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ignored {
    pub table: String,
    pub column: String,
    pub reason: String,
    pub owner: String,
    /// Last day in force, `YYYY-MM-DD`.
    pub expires: String,
}

/// Codes of findings under which the two sides do not stand at one position: what differs then says nothing yet.
const UNFIT: [&str; 6] =
    ["no-replay", "replay-unfinished", "no-projection", "projection-behind", "follow-behind", "reverse-behind"];

/// The verdict and its reason. Order of precedence: a failure finding, then sides that do not stand at one position, then
/// a difference, then another gap, a skipped row, counts that do not add up or nothing compared at all, then PASS.
pub fn verdict(tables: &[TableCoverage], findings: &[Finding]) -> (Verdict, String) {
    let differing: u64 = tables.iter().map(TableCoverage::differing).sum();
    let compared: u64 = tables.iter().map(|table| table.compared).sum();
    let skipped: u64 = tables.iter().map(|table| table.skipped).sum();
    let worst = |severity| findings.iter().find(|finding| finding.severity == severity);
    if let Some(failure) = worst(Severity::Failure) {
        return (Verdict::Fail, failure.text.clone());
    }
    if let Some(unfit) = findings.iter().find(|finding| UNFIT.contains(&finding.code)) {
        return (Verdict::Inconclusive, unfit.text.clone());
    }
    if differing > 0 {
        let verb = if differing == 1 { "differs" } else { "differ" };
        return (Verdict::Fail, format!("{} of {} {verb}", number(differing), counted(compared, "row")));
    }
    if let Some(gap) = worst(Severity::Gap) {
        return (Verdict::Inconclusive, gap.text.clone());
    }
    if skipped > 0 {
        return (Verdict::Inconclusive, format!("{} skipped", counted(skipped, "row")));
    }
    if let Some(table) = tables.iter().find(|table| !table.adds_up()) {
        let (one, two) = (number(table.legacy_rows), number(table.projected_rows));
        let text =
            format!("the counts of table '{}' differ, legacy {one} and projected {two}: no row says why", table.table);
        return (Verdict::Fail, text);
    }
    if compared == 0 {
        return (Verdict::Inconclusive, "nothing was compared: both sides are empty".to_owned());
    }
    let mirrored: u64 = tables.iter().map(|table| table.mirrored).sum();
    if mirrored >= compared {
        let text =
            format!("all {} compared were written by reverse: no evidence of their own", counted(compared, "row"));
        return (Verdict::Inconclusive, text);
    }
    let explained: u64 = tables.iter().map(|table| table.explained).sum();
    let mut rest = if explained > 0 {
        format!(", {} explained by rules", counted(explained, "difference"))
    } else {
        String::new()
    };
    if mirrored > 0 {
        rest += &format!(", {} of them written by reverse", number(mirrored));
    }
    let redacted: u64 = tables.iter().map(|table| table.redacted).sum();
    if redacted > 0 {
        rest += &format!(", {} in redacted form", number(redacted));
    }
    (Verdict::Pass, format!("{} compared, all equal{rest}", counted(compared, "row")))
}

/// The verdict of checks and its reason: a failure, then what could not be looked at, then PASS; warnings change nothing.
pub fn checked_verdict(checks: &[Checked]) -> (Verdict, String) {
    let of = |severity| checks.iter().filter(move |check| check.severity == severity);
    let first =
        |severity| of(severity).next().map_or(String::new(), |check| format!("{}: {}", check.subject, check.text));
    let count = |severity| of(severity).count() as u64;
    let (failed, unknown, warned) = (count(Severity::Failure), count(Severity::Gap), count(Severity::Warning));
    let more = |count: u64| if count > 1 { format!(" (and {} more)", number(count - 1)) } else { String::new() };
    if failed > 0 {
        return (Verdict::Fail, first(Severity::Failure) + &more(failed));
    }
    if unknown > 0 {
        return (Verdict::Inconclusive, first(Severity::Gap) + &more(unknown));
    }
    if checks.is_empty() {
        return (Verdict::Inconclusive, "nothing was checked".to_owned());
    }
    let warnings = if warned > 0 { format!(", {}", counted(warned, "warning")) } else { String::new() };
    (Verdict::Pass, format!("{}, none failed{warnings}", counted(checks.len() as u64, "check")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i05_no_empty_green_for_checks_either() {
        let check = |severity| Checked { code: "x", subject: "s".into(), severity, text: "t".into(), help: None };
        use Severity::{Failure, Gap, Note, Warning};
        for (severities, expected) in [
            (vec![], Verdict::Inconclusive),
            (vec![Note], Verdict::Pass),
            (vec![Note, Warning], Verdict::Pass),
            (vec![Note, Gap], Verdict::Inconclusive),
            (vec![Gap, Failure], Verdict::Fail),
        ] {
            let checks: Vec<_> = severities.into_iter().map(check).collect();
            assert_eq!(checked_verdict(&checks).0, expected, "{checks:?}");
        }
    }

    fn table(compared: u64, skipped: u64, changed: u64) -> TableCoverage {
        TableCoverage { table: "t".into(), compared, skipped, changed, ..TableCoverage::default() }
    }

    fn mirrored(compared: u64, mirrored: u64) -> TableCoverage {
        TableCoverage { mirrored, ..table(compared, 0, 0) }
    }

    #[test]
    fn i05_no_empty_green_the_truth_table() {
        let gap = Finding { code: "projection-behind", severity: Severity::Gap, text: "behind".into() };
        let quarantined = Finding { code: "quarantined", severity: Severity::Gap, text: "kept back".into() };
        let failure = Finding { code: "ignore-rule-expired", severity: Severity::Failure, text: "expired".into() };
        let note = Finding { code: "unmapped-table", severity: Severity::Note, text: "note".into() };
        let cases = [
            (vec![table(3, 0, 0)], vec![], Verdict::Pass),
            (vec![table(3, 0, 0), table(0, 0, 0)], vec![note], Verdict::Pass),
            (vec![], vec![], Verdict::Inconclusive),
            (vec![table(0, 0, 0)], vec![], Verdict::Inconclusive),
            (vec![table(3, 1, 0)], vec![], Verdict::Inconclusive),
            (vec![table(3, 0, 0)], vec![gap.clone()], Verdict::Inconclusive),
            (vec![table(3, 0, 0)], vec![gap.clone(), failure], Verdict::Fail),
            (vec![table(3, 1, 1)], vec![gap], Verdict::Inconclusive),
            (vec![table(3, 1, 1)], vec![quarantined], Verdict::Fail),
            (vec![mirrored(3, 3), table(0, 0, 0)], vec![], Verdict::Inconclusive),
            (vec![mirrored(3, 2)], vec![], Verdict::Pass),
            (vec![mirrored(3, 3), table(1, 0, 0)], vec![], Verdict::Pass),
        ];
        let unequal = TableCoverage { legacy_rows: 5, projected_rows: 2, ..table(5, 0, 0) };
        assert_eq!(verdict(&[unequal], &[]).0, Verdict::Fail, "counts that do not add up");
        let moved = TableCoverage { legacy_rows: 5, projected_rows: 6, moved: -1, ..table(6, 0, 0) };
        assert_eq!(verdict(&[moved], &[]).0, Verdict::Pass, "a row that came after the snapshot");
        for (tables, findings, expected) in cases {
            assert_eq!(verdict(&tables, &findings).0, expected, "{tables:?} {findings:?}");
        }
    }
}
