//! Text for a terminal: readable without colour and in 80 columns.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::evidence;
use super::values::visible;
use super::wording::{counted, headline, number, severity, uncounted, word};
use super::{groups, total, wording};
use crate::base::Verdict;
use crate::diff::{Finding, Outcome, Severity, TableCoverage};

/// What the terminal can do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    pub color: bool,
    /// Columns of the terminal; without it nothing is wrapped.
    pub width: Option<u16>,
}

/// Width for values where the terminal's is not known.
const WIDE: u16 = 160;

/// Renders `outcome` for a terminal; the verdict and the next command come last, where the eye is after a long run.
pub fn render(outcome: &Outcome, style: Style) -> Vec<u8> {
    let mut out = String::new();
    let mut part = |text: String| {
        if !text.is_empty() {
            out.push_str(text.trim_end());
            out.push_str("\n\n");
        }
    };
    part(format!("{} of {}, {}", visible(&outcome.title), visible(&outcome.migration), visible(&outcome.taken_at)));
    part(coverage(&outcome.tables, style));
    part(checks(outcome, style));
    part(findings(&outcome.findings, style));
    part(differences(outcome, false, style));
    part(differences(outcome, true, style));
    part(ignore_rules(outcome, style));
    part(steps(outcome, style));
    part(facts(outcome, style));
    out.push_str(&closing(outcome, style));
    out.into_bytes()
}

/// Lays `rows` out under `headers`, columns of numbers to the right, within `width` if given. Control characters become
/// visible signs; lines carry no trailing blanks.
pub fn grid(headers: &[&str], rows: &[Vec<String>], width: Option<u16>) -> String {
    let mut table = bare(width);
    table.load_style(TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─')));
    table.set_header(headers);
    for row in rows {
        table.add_row(row.iter().map(|cell| visible(cell).into_owned()));
    }
    for (index, column) in table.column_iter_mut().enumerate() {
        if rows.iter().all(|row| row.get(index).is_some_and(|cell| is_number(cell))) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    finish(&table)
}

fn is_number(cell: &str) -> bool {
    let digits = cell.trim_end_matches(['%', ' ']);
    digits == "-" || (!digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, ',' | '.')))
}

/// A table without lines or header, wrapped to `width`.
fn bare(width: Option<u16>) -> Table {
    let mut table = Table::new();
    // Without this the library asks the terminal for its width.
    table.force_no_tty();
    table.load_style(TableStyle::new());
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    table
}

fn finish(table: &Table) -> String {
    table.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

fn coverage(tables: &[TableCoverage], style: Style) -> String {
    let (outside, inside): (Vec<_>, Vec<_>) = tables.iter().partition(|table| table.stands_outside());
    let mut rows: Vec<_> = inside.iter().map(|table| coverage_row(table)).collect();
    if rows.len() > 1 {
        rows.push(coverage_row(&total(tables)));
    }
    let headers = ["table", "legacy", "projected", "compared", "skipped", "differing", "explained"];
    let mut text = if rows.is_empty() { String::new() } else { grid(&headers, &rows, style.width) };
    if !outside.is_empty() {
        let names = |table: &&TableCoverage| {
            vec![visible(&table.table).into_owned(), visible(&table.state).into_owned(), uncounted(table)]
        };
        let rows: Vec<_> = outside.iter().map(names).collect();
        text = text + "\n" + &grid(&["table not compared", "state", "legacy"], &rows, style.width);
    }
    text
}

fn coverage_row(table: &TableCoverage) -> Vec<String> {
    let counts = [table.legacy_rows, table.projected_rows, table.compared, table.skipped, table.differing()];
    let mut row = vec![table.table.clone()];
    row.extend(counts.map(number));
    row.push(number(table.explained));
    row
}

fn checks(outcome: &Outcome, style: Style) -> String {
    if outcome.checks.is_empty() {
        return String::new();
    }
    let (told, fine) = wording::checks(outcome);
    let mut text = style.paint(BOLD, "Checks") + "\n";
    for (check, subjects) in told {
        let word = style.paint(severity_ink(check.severity), severity(check.severity));
        text += &format!(" {word}: {}\n", check.code);
        text += &indented(&visible(&subjects), 3, style);
        text += &indented(&visible(&check.text), 3, style);
        if let Some(help) = &check.help {
            text += &indented(&format!("help: {}", visible(help)), 3, style);
        }
    }
    if !fine.is_empty() {
        let fine: Vec<String> = fine.iter().map(|(code, count)| format!("{code} {}", number(*count))).collect();
        text += &indented(&format!("fine: {}", fine.join(", ")), 1, style);
    }
    text
}

fn findings(findings: &[Finding], style: Style) -> String {
    if findings.is_empty() {
        return String::new();
    }
    let mut sorted: Vec<_> = findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let mut text = style.paint(BOLD, "Findings") + "\n";
    for finding in sorted {
        let word = style.paint(severity_ink(finding.severity), severity(finding.severity));
        text += &format!(" {word}: {}\n", finding.code);
        text += &indented(&visible(&finding.text), 3, style);
    }
    text
}

fn differences(outcome: &Outcome, explained: bool, style: Style) -> String {
    let groups = groups(outcome, explained);
    if groups.is_empty() {
        return String::new();
    }
    let title = if explained { "Explained differences" } else { "Differences" };
    let mut text = style.paint(BOLD, title) + "\n";
    // What stands left of a value, and some air.
    let limit = usize::from(style.width.unwrap_or(WIDE)).saturating_sub(24).max(32);
    for group in groups {
        text += &indented(&format!("{}: {}", visible(group.table), headline(&group, explained)), 1, style);
        for sample in group.samples {
            for line in evidence::lines(sample, limit) {
                let indent = " ".repeat(line.indent + 3);
                text += &format!("{indent}{}{}{}\n", line.before, style.paint(MARK, &line.differing), line.after);
            }
        }
    }
    if let Some(file) = outcome.keys_file.as_ref().filter(|_| !explained) {
        text += &format!(" all differing keys: {}\n", visible(file));
    }
    text
}

fn ignore_rules(outcome: &Outcome, style: Style) -> String {
    if outcome.ignored.is_empty() {
        return String::new();
    }
    let row = |rule: &crate::diff::Ignored| {
        vec![format!("{}.{}", rule.table, rule.column), rule.reason.clone(), rule.owner.clone(), rule.expires.clone()]
    };
    let rows: Vec<_> = outcome.ignored.iter().map(row).collect();
    style.paint(BOLD, "Ignore rules in force")
        + "\n"
        + &grid(&["column", "reason", "owner", "expires"], &rows, style.width)
}

fn steps(outcome: &Outcome, style: Style) -> String {
    if outcome.steps.is_empty() {
        return String::new();
    }
    let mut table = bare(style.width);
    for (index, step) in outcome.steps.iter().enumerate() {
        table.add_row([format!("{}.", index + 1), visible(step).into_owned()]);
    }
    style.paint(BOLD, "Steps of this run, in order") + "\n" + &finish(&table)
}

fn facts(outcome: &Outcome, style: Style) -> String {
    let mut table = bare(style.width);
    for (name, value) in &outcome.facts {
        table.add_row([visible(name), visible(value)]);
    }
    table.add_row(["mapping", &visible(&outcome.mapping_hash)]).add_row(["tool", &visible(&outcome.tool)]);
    style.paint(BOLD, wording::facts_title(outcome)) + "\n" + &finish(&table)
}

fn closing(outcome: &Outcome, style: Style) -> String {
    let sum = total(&outcome.tables);
    let word = word(outcome);
    let counts = wording::counts(outcome, sum.compared, sum.skipped);
    let out = outcome.tables.iter().filter(|table| table.stands_outside()).count() as u64;
    let rest = if out > 0 { format!(", {} not compared", counted(out, "table")) } else { String::new() };
    let mut text = indented(&format!("{word}: {}", visible(&outcome.reason)), 0, style);
    // Painted after wrapping: the library would count the escape sequence as text.
    text = text.replacen(word, &style.paint(verdict_ink(outcome), word), 1);
    text += &indented(&format!("{counts}{rest}"), 0, style);
    if let Some(next) = &outcome.next {
        text += &format!("\nnext: {}\n", style.paint(BOLD, &visible(next)));
    }
    text
}

/// Wraps `text` behind an indent; a column of its own keeps the following lines below the first.
fn indented(text: &str, indent: usize, style: Style) -> String {
    let mut table = bare(style.width.map(|width| width.saturating_sub(indent as u16)));
    table.add_row([text]);
    finish(&table).lines().fold(String::new(), |out, line| format!("{out}{:indent$}{}\n", "", line.trim_start()))
}

const BOLD: &str = "1";
const MARK: &str = "1;33";

fn verdict_ink(outcome: &Outcome) -> &'static str {
    match outcome.verdict {
        _ if !outcome.steps.is_empty() => BOLD,
        Verdict::Pass => "1;32",
        Verdict::Fail => "1;31",
        Verdict::Inconclusive => "1;33",
    }
}

fn severity_ink(severity: Severity) -> &'static str {
    match severity {
        Severity::Failure => "1;31",
        Severity::Gap => "1;33",
        Severity::Warning => "33",
        Severity::Note => "2",
    }
}

impl Style {
    fn paint(self, ink: &str, text: &str) -> String {
        if self.color && !text.is_empty() { format!("\x1b[{ink}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
