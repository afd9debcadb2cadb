//! One page for a reviewer: no script, no outside reference, every stored value escaped.

mod differences;

use std::cmp::Reverse;
use std::fmt::Display;

use super::values::visible;
use super::wording::{counted, number, severity, word};
use super::{total, wording};
use crate::base::Verdict;
use crate::diff::{Outcome, Severity, TableCoverage};

const STYLE: &str = include_str!("page.css");

/// Renders `outcome` as one HTML file.
pub(super) fn render(outcome: &Outcome) -> Vec<u8> {
    let title = format!("{}: {} of {}", word(outcome), escape(&outcome.title), escape(&outcome.migration));
    // The policy holds even if a value ever slipped through the escaping: nothing may run or be fetched.
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n<main class=\"{}\">\n",
        class(outcome)
    );
    page += &head(outcome);
    page += &figures(outcome);
    page += &facts(outcome);
    page += &checks(outcome);
    page += &findings(outcome);
    page += &steps(outcome);
    if outcome.checks.is_empty() {
        page += &coverage(&outcome.tables);
    }
    page += &differences::section(outcome, false);
    page += &differences::section(outcome, true);
    page += &ignore_rules(outcome);
    page += &foot(outcome);
    page += "</main>\n</body>\n</html>\n";
    page.into_bytes()
}

fn class(outcome: &Outcome) -> &'static str {
    match outcome.verdict {
        _ if !outcome.steps.is_empty() => "unsure",
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Inconclusive => "unsure",
    }
}

fn head(outcome: &Outcome) -> String {
    let sign = match outcome.verdict {
        _ if !outcome.steps.is_empty() => '…',
        Verdict::Pass => '✓',
        Verdict::Fail => '✕',
        Verdict::Inconclusive => '?',
    };
    let mut text = format!(
        "<header>\n<p class=\"title\"><b>{}</b> of <b>{}</b><time>{}</time></p>\n\
         <div class=\"banner\">\n<span class=\"sign\" aria-hidden=\"true\">{sign}</span>\n\
         <div>\n<h1>{}</h1>\n<p class=\"reason\">{}</p>\n</div>\n</div>\n",
        escape(&outcome.title),
        escape(&outcome.migration),
        escape(&outcome.taken_at),
        word(outcome),
        escape(&outcome.reason),
    );
    if let Some(next) = &outcome.next {
        text += &format!("<p class=\"next\"><span>Next</span><code>{}</code></p>\n", escape(next));
    }
    text + "</header>\n"
}

/// The numbers a verdict rests on; what was left out stands beside what was compared.
fn figures(outcome: &Outcome) -> String {
    if !outcome.checks.is_empty() {
        return check_figures(outcome);
    }
    let sum = total(&outcome.tables);
    let outside = outcome.tables.iter().filter(|table| table.stands_outside()).count();
    let figures = [
        ("rows compared", sum.compared, if sum.compared == 0 { "warn" } else { "" }),
        ("rows differing", sum.differing(), if sum.differing() > 0 { "bad" } else { "" }),
        ("rows skipped", sum.skipped, if sum.skipped > 0 { "warn" } else { "" }),
        ("rows explained", sum.explained, ""),
        ("tables compared", (outcome.tables.len() - outside) as u64, ""),
        ("tables left out", outside as u64, ""),
    ];
    drawn(&figures)
}

fn check_figures(outcome: &Outcome) -> String {
    let of = |severity| outcome.checks.iter().filter(|check| check.severity == severity).count() as u64;
    drawn(&[
        ("checks", outcome.checks.len() as u64, ""),
        ("fine", of(Severity::Note), ""),
        ("warnings", of(Severity::Warning), "warn"),
        ("not known", of(Severity::Gap), "warn"),
        ("failed", of(Severity::Failure), "bad"),
    ])
}

fn drawn(figures: &[(&str, u64, &str)]) -> String {
    let mut text = "<dl class=\"figures\">\n".to_owned();
    for (name, count, class) in figures {
        let (count, class) = (*count, *class);
        let class = if count == 0 && (class.is_empty() || !name.starts_with("rows")) { "none" } else { class };
        text += &format!("<div class=\"{class}\"><dt>{name}</dt><dd>{}</dd></div>\n", number(count));
    }
    text + "</dl>\n"
}

fn facts(outcome: &Outcome) -> String {
    if outcome.facts.is_empty() {
        return String::new();
    }
    let mut text = "<section>\n<h2>".to_owned();
    text += &format!("{}</h2>\n<dl class=\"facts\">\n", wording::facts_title(outcome));
    for (name, value) in &outcome.facts {
        text += &format!("<div><dt>{}</dt><dd>{}</dd></div>\n", escape(name), escape(value));
    }
    text + "</dl>\n</section>\n"
}

fn findings(outcome: &Outcome) -> String {
    if outcome.findings.is_empty() {
        return String::new();
    }
    let mut sorted: Vec<_> = outcome.findings.iter().collect();
    sorted.sort_by_key(|finding| Reverse(finding.severity));
    let mut text = "<section>\n<h2>Findings</h2>\n<ul class=\"findings\">\n".to_owned();
    for finding in sorted {
        let word = severity(finding.severity);
        text += &format!(
            "<li class=\"{word}\"><span class=\"chip\">{word}</span><div><p>{}</p><code>{}</code></div></li>\n",
            escape(&finding.text),
            escape(finding.code)
        );
    }
    text + "</ul>\n</section>\n"
}

fn checks(outcome: &Outcome) -> String {
    if outcome.checks.is_empty() {
        return String::new();
    }
    let (told, fine) = wording::checks(outcome);
    let mut text = "<section>\n<h2>Checks</h2>\n<ul class=\"findings\">\n".to_owned();
    for (check, subjects) in told {
        let word = severity(check.severity);
        let help = check.help.as_ref().map_or(String::new(), |help| format!("<p>help: {}</p>", escape(help)));
        text += &format!(
            "<li class=\"{word}\"><span class=\"chip\">{word}</span><div><p>{}</p>{help}<code>{}</code> <code>{}</code></div></li>\n",
            escape(&check.text),
            escape(check.code),
            escape(&subjects)
        );
    }
    text += "</ul>\n";
    if !fine.is_empty() {
        let fine =
            fine.iter().map(|(code, count)| format!("<li><code>{}</code> {}</li>\n", escape(code), number(*count)));
        text += &format!("<h3>Fine</h3>\n<ul class=\"outside\">\n{}</ul>\n", fine.collect::<String>());
    }
    text + "</section>\n"
}

fn steps(outcome: &Outcome) -> String {
    if outcome.steps.is_empty() {
        return String::new();
    }
    let steps: String = outcome.steps.iter().map(|step| format!("<li>{}</li>\n", escape(step))).collect();
    format!("<section>\n<h2>Steps of this run, in order</h2>\n<ol class=\"steps\">\n{steps}</ol>\n</section>\n")
}

fn coverage(tables: &[TableCoverage]) -> String {
    let (outside, inside): (Vec<_>, Vec<_>) = tables.iter().partition(|table| table.stands_outside());
    let mut text = "<section>\n<h2>Coverage</h2>\n".to_owned();
    if inside.is_empty() {
        text += "<p class=\"empty\">No table was compared.</p>\n";
    } else {
        text += "<div class=\"scroll\"><table class=\"coverage\">\n<thead><tr><th>table</th><th class=\"bar\"></th>";
        for name in ["legacy", "projected", "compared", "skipped", "missing", "extra", "changed", "explained"] {
            text += &format!("<th>{name}</th>");
        }
        text += "</tr></thead>\n<tbody>\n";
        for table in &inside {
            text += &coverage_row(table);
        }
        text += "</tbody>\n";
        if inside.len() > 1 {
            text += &format!("<tfoot>\n{}</tfoot>\n", coverage_row(&total(tables)));
        }
        text += "</table></div>\n<p class=\"legend\"><i class=\"equal\"></i>equal <i class=\"explained\"></i>explained \
                 <i class=\"differing\"></i>differing <i class=\"skipped\"></i>skipped</p>\n";
    }
    if !outside.is_empty() {
        text += "<h3>Left out</h3>\n<ul class=\"outside\">\n";
        for table in outside {
            let rows = table.legacy_rows;
            let rows = if rows == 0 { String::new() } else { format!(", {}", counted(rows, "row")) };
            text += &format!("<li><code>{}</code> {}{rows}</li>\n", escape(&table.table), escape(&table.state));
        }
        text += "</ul>\n";
    }
    text + "</section>\n"
}

fn coverage_row(table: &TableCoverage) -> String {
    let cell = |name: &str, count: u64, class: &str| {
        let class = if count == 0 { "zero" } else { class };
        format!("<td class=\"{class}\" data-name=\"{name}\">{}</td>", number(count))
    };
    let state = if table.state.is_empty() || table.state.eq_ignore_ascii_case("mapped") {
        String::new()
    } else {
        format!(" <small>{}</small>", escape(&table.state))
    };
    let mut row =
        format!("<tr><th scope=\"row\">{}{state}</th><td class=\"bar\">{}</td>", escape(&table.table), bar(table));
    row += &cell("legacy", table.legacy_rows, "");
    row += &cell("projected", table.projected_rows, "");
    row += &cell("compared", table.compared, "");
    row += &cell("skipped", table.skipped, "warn");
    row += &cell("missing", table.missing, "bad");
    row += &cell("extra", table.extra, "bad");
    row += &cell("changed", table.changed, "bad");
    row += &cell("explained", table.explained, "");
    row + "</tr>\n"
}

/// Shares of all identities; the style sheet keeps the smallest share visible.
fn bar(table: &TableCoverage) -> String {
    let differing = table.differing();
    let equal = table.compared.saturating_sub(differing + table.explained);
    let shares =
        [("equal", equal), ("explained", table.explained), ("differing", differing), ("skipped", table.skipped)];
    let mut text = "<span class=\"track\">".to_owned();
    for (name, count) in shares.into_iter().filter(|(_, count)| *count > 0) {
        text += &format!("<i class=\"{name}\" style=\"flex-grow:{count}\" title=\"{} {name}\"></i>", number(count));
    }
    text + "</span>"
}

fn ignore_rules(outcome: &Outcome) -> String {
    if outcome.ignored.is_empty() {
        return String::new();
    }
    let mut text =
        "<section>\n<h2>Ignore rules in force</h2>\n<div class=\"scroll\"><table class=\"plain\">\n<thead><tr>\
                    <th>column</th><th>reason</th><th>owner</th><th>expires</th></tr></thead>\n<tbody>\n"
            .to_owned();
    for rule in &outcome.ignored {
        let column = format!("{}.{}", rule.table, rule.column);
        let cells =
            [&rule.reason, &rule.owner, &rule.expires].map(|cell| format!("<td>{}</td>", escape(cell))).concat();
        text += &format!("<tr><td><code>{}</code></td>{cells}</tr>\n", escape(&column));
    }
    text + "</tbody></table></div>\n</section>\n"
}

fn foot(outcome: &Outcome) -> String {
    format!(
        "<footer>\n<span>{}</span><span>mapping <code>{}</code></span><span>taken {}</span>\n</footer>\n",
        escape(&outcome.tool),
        escape(&outcome.mapping_hash),
        escape(&outcome.taken_at)
    )
}

/// `text` visible and safe between tags and in quoted attributes.
fn escape(text: impl AsRef<str>) -> impl Display {
    let mut out = String::with_capacity(text.as_ref().len());
    for character in visible(text.as_ref()).chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            plain => out.push(plain),
        }
    }
    out
}
