//! The differing rows of the page, grouped by table, the three sides beside each other.

use super::super::groups;
use super::super::values::{Parts, parts};
use super::super::wording::{Side, absent, difference, event_role, headline, number, place};
use super::escape;
use crate::diff::{Column, Event, Outcome, Sample};

/// Characters of a value before its full text moves behind a click.
const VALUE_LIMIT: usize = 320;

/// Characters of a full text; a page with more of them no longer opens well.
const FULL_LIMIT: usize = 100_000;

/// The samples no rule explains, or those that one does.
pub(super) fn section(outcome: &Outcome, explained: bool) -> String {
    let groups = groups(outcome, explained);
    if groups.is_empty() {
        return String::new();
    }
    let title = if explained { "Explained differences" } else { "Differences" };
    let mut text = format!("<section>\n<h2>{title}</h2>\n");
    for group in groups {
        text += &format!(
            "<details class=\"group\"{}>\n<summary><code>{}</code> <span>{}</span></summary>\n",
            if explained { "" } else { " open" },
            escape(group.table),
            headline(&group, explained)
        );
        for sample in group.samples {
            text += &article(sample);
        }
        text += "</details>\n";
    }
    if let Some(file) = outcome.keys_file.as_ref().filter(|_| !explained) {
        text += &format!("<p class=\"keys\">All differing keys: <code>{}</code></p>\n", escape(file));
    }
    text + "</section>\n"
}

fn article(sample: &Sample) -> String {
    let word = difference(sample.difference);
    let mut text = format!(
        "<article>\n<header><h3><code>{}</code></h3><span class=\"chip {word}\">{word}</span>\
         <span class=\"kind\">{}</span></header>\n",
        escape(&sample.key),
        sample.kind.words()
    );
    if let Some(reason) = &sample.explained_by {
        text += &format!("<p class=\"why\">Explained by: {}</p>\n", escape(reason));
    }
    if let Some(event) = &sample.event {
        text += &event_line(event_role(sample.kind), event);
    }
    let (shown, gone): (Vec<Side>, Vec<Side>) =
        Side::ALL.into_iter().partition(|side| sample.columns.iter().any(|column| value(column, *side).is_some()));
    if !shown.is_empty() {
        let gone: String =
            gone.iter().map(|side| format!("<span>{}: {}</span>", side.word(), absent(sample.kind, *side))).collect();
        if !gone.is_empty() {
            text += &format!("<p class=\"gone\">{gone}</p>\n");
        }
        let names: String = shown.iter().map(|side| format!("<th>{}</th>", side.word())).collect();
        text += &format!("<table class=\"sides\">\n<thead><tr><th>column</th>{names}</tr></thead>\n<tbody>\n");
        for column in &sample.columns {
            text += &column_row(sample, column, &shown);
        }
        text += "</tbody></table>\n";
    }
    text + "</article>\n"
}

fn value(column: &Column, side: Side) -> Option<&str> {
    match side {
        Side::Legacy => column.legacy.as_deref(),
        Side::Fold => column.fold.as_deref(),
        Side::Projection => column.projection.as_deref(),
    }
}

fn event_line(role: &str, event: &Event) -> String {
    format!(
        "<p class=\"event\"><span>{role}</span> <code class=\"place\">{}</code> <code>{}</code> <code>{}</code></p>\n",
        escape(place(event)),
        escape(&event.event_type),
        escape(&event.id)
    )
}

fn column_row(sample: &Sample, column: &Column, sides: &[Side]) -> String {
    let mut row = format!("<tr><th scope=\"row\"><code>{}</code>", escape(&column.name));
    if let Some(event) = &column.last_agreed {
        row += &format!("<small>agreed until <code>{}</code></small>", escape(place(event)));
    }
    row += "</th>";
    let parts = Side::ALL.into_iter().zip(parts(column, VALUE_LIMIT));
    for (side, parts) in parts.filter(|(side, _)| sides.contains(side)) {
        let cell = match (value(column, side), parts) {
            (Some(value), Some(parts)) => shown(value, &parts),
            _ => format!("<em>{}</em>", absent(sample.kind, side)),
        };
        row += &format!("<td data-side=\"{}\">{cell}</td>", side.word());
    }
    row + "</tr>\n"
}

fn shown(value: &str, parts: &Parts) -> String {
    let differing = match parts.differing.as_str() {
        "" => String::new(),
        text => format!("<mark>{}</mark>", escape(text)),
    };
    let mut text = format!("<span class=\"value\">{}{differing}{}</span>", escape(&parts.before), escape(&parts.after));
    if parts.shortened {
        let count = value.chars().count();
        let (full, note) = match value.char_indices().nth(FULL_LIMIT) {
            None => (value, String::new()),
            Some((end, _)) => (&value[..end], format!("; first {} shown", number(FULL_LIMIT as u64))),
        };
        text += &format!(
            "<details class=\"full\"><summary>full text, {} characters{note}</summary><pre>{}</pre></details>",
            number(count as u64),
            escape(full)
        );
    }
    text
}
