//! JUnit XML for CI tools, which know no INCONCLUSIVE: the test case `verdict` is green for PASS only.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::evidence;
use super::values::visible;
use super::wording::{breakdown, counted, counts, headline, severity};
use super::{Group, groups, total};
use crate::base::Verdict;
use crate::diff::{Checked, Finding, Outcome, Severity, TableCoverage};

/// Characters of one value in the evidence.
const VALUE_LIMIT: usize = 400;

/// Stands for a report that could not be written: red, never empty.
const BROKEN: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"crossfade\" tests=\"1\" errors=\"1\" \
    failures=\"0\"><testsuite name=\"crossfade\" tests=\"1\" errors=\"1\" failures=\"0\"><testcase name=\"verdict\">\
    <error message=\"the report could not be written\"/></testcase></testsuite></testsuites>\n";

/// Renders `outcome` as one suite with a case per table, per failure or gap, and for the verdict.
pub(super) fn render(outcome: &Outcome) -> Vec<u8> {
    let class = format!("crossfade.{}", visible(&outcome.migration));
    let mut suite = TestSuite::new(class.clone());
    suite.timestamp = outcome.taken_at.parse().ok();
    let own = [("mapping", &outcome.mapping_hash), ("tool", &outcome.tool)];
    for (name, value) in outcome.facts.iter().map(|(name, value)| (name.as_str(), value)).chain(own) {
        suite.add_property((visible(name), visible(value)));
    }
    let mut add = |name: &str, status: TestCaseStatus| {
        let mut case = TestCase::new(visible(name), status);
        case.set_classname(&class);
        suite.add_test_case(case);
    };
    let groups = groups(outcome, false);
    for table in &outcome.tables {
        add(&table.table, table_status(table, groups.iter().find(|group| group.table == table.table)));
    }
    for finding in outcome.findings.iter().filter(|finding| finding.severity >= Severity::Gap) {
        add(&format!("finding: {}", finding.code), finding_status(finding));
    }
    add("verdict", verdict_status(outcome));
    for check in &outcome.checks {
        let mut case = TestCase::new(visible(&format!("{}: {}", check.code, check.subject)), check_status(check));
        case.set_classname(format!("{class}.{}", visible(&check.subject)));
        if check.severity == Severity::Warning {
            case.set_system_out(visible(&check.text));
        }
        suite.add_test_case(case);
    }

    let mut report = Report::new(visible(&outcome.title));
    report.add_test_suite(suite);
    report.to_string().map_or_else(|_| BROKEN.into(), String::into_bytes)
}

/// Differing is a failure, skipped or one-sided an error; a table with nothing on both sides, or outside the mapping,
/// is skipped.
fn table_status(table: &TableCoverage, group: Option<&Group<'_>>) -> TestCaseStatus {
    if table.differing() > 0 {
        let message =
            format!("{} of {} differ: {}", table.differing(), counted(table.compared, "row"), breakdown(table));
        let mut status = bad(NonSuccessKind::Failure, "difference", &message);
        if let Some(group) = group {
            status.set_description(evidence_text(group));
        }
        return status;
    }
    if table.stands_outside() {
        return skipped(&format!("{}: not compared", visible(&table.state)));
    }
    if table.skipped > 0 {
        return bad(NonSuccessKind::Error, "skipped-rows", &format!("{} skipped", counted(table.skipped, "row")));
    }
    if !table.adds_up() {
        let (one, two) = (table.legacy_rows, table.projected_rows);
        return bad(NonSuccessKind::Failure, "counts", &format!("legacy {one}, projected {two}: no row says why"));
    }
    if table.compared == 0 {
        return match table.legacy_rows.max(table.projected_rows) {
            0 => skipped("no rows on either side"),
            rows => bad(NonSuccessKind::Error, "not-compared", &format!("0 of {} compared", counted(rows, "row"))),
        };
    }
    TestCaseStatus::success()
}

fn check_status(check: &Checked) -> TestCaseStatus {
    let kind = match check.severity {
        Severity::Note | Severity::Warning => return TestCaseStatus::success(),
        Severity::Gap => NonSuccessKind::Error,
        Severity::Failure => NonSuccessKind::Failure,
    };
    let mut status = bad(kind, check.code, &check.text);
    if let Some(help) = &check.help {
        status.set_description(visible(help));
    }
    status
}

fn finding_status(finding: &Finding) -> TestCaseStatus {
    let kind = match finding.severity {
        Severity::Failure => NonSuccessKind::Failure,
        Severity::Gap | Severity::Warning | Severity::Note => NonSuccessKind::Error,
    };
    let mut status = bad(kind, finding.code, &finding.text);
    status.set_description(format!("{}: {}", severity(finding.severity), visible(&finding.text)));
    status
}

fn verdict_status(outcome: &Outcome) -> TestCaseStatus {
    let kind = match outcome.verdict {
        Verdict::Pass => return TestCaseStatus::success(),
        Verdict::Fail => NonSuccessKind::Failure,
        Verdict::Inconclusive => NonSuccessKind::Error,
    };
    let sum = total(&outcome.tables);
    let mut status = bad(kind, outcome.verdict.word(), &format!("{}: {}", outcome.verdict.word(), outcome.reason));
    let mut text = counts(outcome, sum.compared, sum.skipped);
    for (index, step) in outcome.steps.iter().enumerate() {
        text += &format!("\nstep {}: {}", index + 1, visible(step));
    }
    if let Some(next) = &outcome.next {
        text += &format!("\nnext: {}", visible(next));
    }
    status.set_description(text);
    status
}

fn evidence_text(group: &Group<'_>) -> String {
    let mut text = headline(group, false);
    for line in group.samples.iter().flat_map(|sample| evidence::lines(sample, VALUE_LIMIT)) {
        text += &format!("\n{}", line.text());
    }
    text
}

fn bad(kind: NonSuccessKind, code: &str, message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(visible(code)).set_message(visible(message));
    status
}

fn skipped(message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(message);
    status
}
