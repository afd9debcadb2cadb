//! Markdown for the step summary of a CI run.

use super::evidence::COLUMNS_SHOWN;
use super::values::{Parts, parts, shorten, visible};
use super::wording::{Side, absent, counted, difference, event_role, headline, number, place, severity, word};
use super::{groups, total, wording};
use crate::base::Verdict;
use crate::diff::{Column, Outcome, Sample, TableCoverage};

/// Bytes of samples; a step summary that grows past 1 MiB is refused as a whole.
const SAMPLES_LIMIT: usize = 60_000;

/// Characters of one value.
const VALUE_LIMIT: usize = 160;

/// Renders `outcome` as GitHub markdown, verdict first.
pub(super) fn render(outcome: &Outcome) -> Vec<u8> {
    let mut out = head(outcome);
    out += &coverage(&outcome.tables);
    out += &checks(outcome);
    out += &findings(outcome);
    let mut room = SAMPLES_LIMIT;
    out += &differences(outcome, false, &mut room);
    out += &differences(outcome, true, &mut room);
    out += &ignore_rules(outcome);
    out += &steps(outcome);
    out += &facts(outcome);
    out.into_bytes()
}

fn head(outcome: &Outcome) -> String {
    let alert = match outcome.verdict {
        _ if !outcome.steps.is_empty() => "NOTE",
        Verdict::Pass => "TIP",
        Verdict::Fail => "CAUTION",
        Verdict::Inconclusive => "WARNING",
    };
    let sum = total(&outcome.tables);
    let out = outcome.tables.iter().filter(|table| table.stands_outside()).count() as u64;
    let mut text = format!("## {} of {}\n\n", escape(&outcome.title), escape(&outcome.migration));
    text += &format!("> [!{alert}]\n> **{}**: {}\n>\n", word(outcome), escape(&outcome.reason));
    text += &format!("> {}", wording::counts(outcome, sum.compared, sum.skipped));
    if out > 0 {
        text += &format!(", {} not compared", counted(out, "table"));
    }
    text.push('\n');
    if let Some(next) = &outcome.next {
        text += &format!("\nNext: {}\n", code(next));
    }
    text
}

fn coverage(tables: &[TableCoverage]) -> String {
    if tables.is_empty() {
        return String::new();
    }
    let mut text = "\n### Coverage\n\n| table | state | legacy | projected | compared | skipped | missing | extra \
                    | changed | explained |\n| :-- | :-- | --: | --: | --: | --: | --: | --: | --: | --: |\n"
        .to_owned();
    for table in tables {
        text += &format!("| {} | {} |", code(&table.table), escape(&table.state));
        let (seen, differing) =
            ([table.legacy_rows, table.projected_rows], [table.missing, table.extra, table.changed]);
        for count in seen.into_iter().chain([table.compared, table.skipped]).chain(differing).chain([table.explained]) {
            text += &format!(" {} |", number(count));
        }
        text.push('\n');
    }
    text
}

fn checks(outcome: &Outcome) -> String {
    if outcome.checks.is_empty() {
        return String::new();
    }
    let (told, fine) = wording::checks(outcome);
    let mut text = "\n### Checks\n\n| result | check | of | what |\n| :-- | :-- | :-- | :-- |\n".to_owned();
    let (mut room, mut left_out) = (SAMPLES_LIMIT, 0);
    for (check, subjects) in told {
        let help = check.help.as_ref().map_or(String::new(), |help| format!("<br>help: {}", escape(help)));
        let what = escape(&check.text) + &help;
        let row = format!("| {} | {} | {} | {what} |\n", severity(check.severity), code(check.code), code(&subjects));
        match room.checked_sub(row.len()) {
            Some(rest) => {
                room = rest;
                text += &row;
            }
            None => left_out += 1,
        }
    }
    for (name, count) in fine {
        text += &format!("| fine | {} | {} |  |\n", code(name), number(count));
    }
    if left_out > 0 {
        text += &format!("\n{} left out to keep this page short.\n", counted(left_out, "check"));
    }
    text
}

fn findings(outcome: &Outcome) -> String {
    if outcome.findings.is_empty() {
        return String::new();
    }
    let mut text = "\n### Findings\n\n| severity | code | what |\n| :-- | :-- | :-- |\n".to_owned();
    let mut sorted: Vec<_> = outcome.findings.iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    for finding in sorted {
        text += &format!("| {} | {} | {} |\n", severity(finding.severity), code(finding.code), escape(&finding.text));
    }
    text
}

fn differences(outcome: &Outcome, explained: bool, room: &mut usize) -> String {
    let groups = groups(outcome, explained);
    if groups.is_empty() {
        return String::new();
    }
    let title = if explained { "Explained differences" } else { "Differences" };
    let mut text = format!("\n### {title}\n");
    let mut left_out = 0u64;
    for group in groups {
        text += &format!("\n{}: {}\n", code(group.table), headline(&group, explained));
        let mut rows = String::new();
        for sample in group.samples {
            let sample = sample_rows(sample);
            match room.checked_sub(sample.len()) {
                Some(rest) => {
                    *room = rest;
                    rows += &sample;
                }
                None => left_out += 1,
            }
        }
        if !rows.is_empty() {
            text += "\n| key | column | legacy | fold | projection |\n| :-- | :-- | :-- | :-- | :-- |\n";
            text += &rows;
        }
    }
    if left_out > 0 {
        text += &format!("\n{} left out to keep this page short.\n", counted(left_out, "sample"));
    }
    if let Some(file) = outcome.keys_file.as_ref().filter(|_| !explained) {
        text += &format!("\nAll differing keys: {}\n", code(file));
    }
    text
}

fn sample_rows(sample: &Sample) -> String {
    let mut key = format!(
        "{}<br>{}, {}",
        code(&shorten(&sample.key, 80, 20)),
        difference(sample.difference),
        sample.kind.words()
    );
    if let Some(event) = &sample.event {
        key += &format!(
            "<br>{} {}<br>{}",
            event_role(sample.kind),
            code(&place(event)),
            code(&shorten(&event.event_type, 80, 20))
        );
    }
    if let Some(reason) = &sample.explained_by {
        key += &format!("<br>explained by: {}", escape(reason));
    }
    let mut rows = String::new();
    for column in sample.columns.iter().take(COLUMNS_SHOWN) {
        rows += &column_row(sample, &key, column);
        key.clear();
    }
    let more = sample.columns.len().saturating_sub(COLUMNS_SHOWN) as u64;
    if more > 0 || rows.is_empty() {
        let text = if more > 0 { format!("and {} more", counted(more, "column")) } else { String::new() };
        rows += &format!("| {key} | {text} |  |  |  |\n");
    }
    rows
}

fn column_row(sample: &Sample, key: &str, column: &Column) -> String {
    let mut name = code(&column.name);
    if let Some(event) = &column.last_agreed {
        name += &format!("<br>agreed until {}", code(&place(event)));
    }
    let mut row = format!("| {key} | {name} |");
    for (side, parts) in Side::ALL.into_iter().zip(parts(column, VALUE_LIMIT)) {
        let cell = parts.map_or_else(|| format!("*{}*", absent(sample.kind, side)), |parts| marked(&parts));
        row += &format!(" {cell} |");
    }
    row + "\n"
}

/// A value with its differing part in bold.
fn marked(parts: &Parts) -> String {
    let differing = match parts.differing.as_str() {
        "" => String::new(),
        text => format!("<b>{}</b>", escape(text)),
    };
    format!("<code>{}{differing}{}</code>", escape(&parts.before), escape(&parts.after))
}

fn ignore_rules(outcome: &Outcome) -> String {
    if outcome.ignored.is_empty() {
        return String::new();
    }
    let mut text =
        "\n### Ignore rules in force\n\n| column | reason | owner | expires |\n| :-- | :-- | :-- | :-- |\n".to_owned();
    for rule in &outcome.ignored {
        let column = code(&format!("{}.{}", rule.table, rule.column));
        let (reason, owner, expires) = (escape(&rule.reason), escape(&rule.owner), escape(&rule.expires));
        text += &format!("| {column} | {reason} | {owner} | {expires} |\n");
    }
    text
}

fn steps(outcome: &Outcome) -> String {
    if outcome.steps.is_empty() {
        return String::new();
    }
    let lines = outcome.steps.iter().enumerate().map(|(index, step)| format!("{}. {}\n", index + 1, escape(step)));
    "\n### Steps of this run, in order\n\n".to_owned() + &lines.collect::<String>()
}

fn facts(outcome: &Outcome) -> String {
    let mut text = format!("\n### {}\n\n", wording::facts_title(outcome)) + "| what | value |\n| :-- | :-- |\n";
    let own = [("mapping", &outcome.mapping_hash), ("tool", &outcome.tool), ("taken at", &outcome.taken_at)];
    let given = outcome.facts.iter().map(|(name, value)| (name.as_str(), value));
    for (name, value) in given.chain(own) {
        text += &format!("| {} | {} |\n", escape(name), code(value));
    }
    text
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

/// Writes every sign that markdown or HTML could read as markup as a numeric entity, which neither ever does.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in visible(text).chars() {
        match character {
            '|' | '`' | '<' | '>' | '&' | '*' | '_' | '[' | ']' | '~' | '\\' | '#' | '@' | '!' | '$' => {
                out += &format!("&#{};", u32::from(character));
            }
            // Only within `://`, where it would make a link.
            ':' if out.ends_with("http") || out.ends_with("https") => out += "&#58;",
            plain => out.push(plain),
        }
    }
    out
}
