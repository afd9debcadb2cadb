//! A sample as lines of text: for terminals, and for CI tools that show plain text.

use super::values::{Parts, parts, shorten, visible};
use super::wording::{Side, absent, counted, difference, event_role, place};
use crate::diff::{Column, Sample};

/// Columns of one sample a text report shows; the machine formats and the page show all.
pub(super) const COLUMNS_SHOWN: usize = 12;

/// One line of evidence, its depth and its part that differs.
pub(super) struct Line {
    pub(super) indent: usize,
    pub(super) before: String,
    pub(super) differing: String,
    pub(super) after: String,
}

impl Line {
    fn plain(indent: usize, text: impl Into<String>) -> Self {
        Self { indent, before: text.into(), differing: String::new(), after: String::new() }
    }

    pub(super) fn text(&self) -> String {
        format!("{:indent$}{}{}{}", "", self.before, self.differing, self.after, indent = self.indent)
    }
}

/// The lines of `sample`, values shortened to about `limit` characters.
pub(super) fn lines(sample: &Sample, limit: usize) -> Vec<Line> {
    let title = format!("{}  {}, {}", short(&sample.key, limit), difference(sample.difference), sample.kind.words());
    let mut lines = vec![Line::plain(0, title)];
    if let Some(reason) = &sample.explained_by {
        lines.push(Line::plain(2, format!("explained by: {}", visible(reason))));
    }
    if let Some(event) = &sample.event {
        lines.push(Line::plain(2, format!("{}: {}", event_role(sample.kind), place(event))));
        lines.push(Line::plain(4, format!("{} {}", short(&event.event_type, limit), short(&event.id, limit))));
    }
    for column in sample.columns.iter().take(COLUMNS_SHOWN) {
        column_lines(sample, column, limit, &mut lines);
    }
    if let Some(more) = sample.columns.len().checked_sub(COLUMNS_SHOWN).filter(|more| *more > 0) {
        lines.push(Line::plain(2, format!("and {} more", counted(more as u64, "column"))));
    }
    lines
}

fn column_lines(sample: &Sample, column: &Column, limit: usize, lines: &mut Vec<Line>) {
    let values = [column.legacy.as_deref(), column.fold.as_deref(), column.projection.as_deref()];
    let mut images: Vec<(String, Result<&str, &str>, Option<Parts>)> = Vec::new();
    for ((side, value), parts) in Side::ALL.into_iter().zip(values).zip(parts(column, limit)) {
        let image = value.ok_or(absent(sample.kind, side));
        match images.iter_mut().find(|(_, other, _)| *other == image) {
            Some((sides, ..)) => *sides = format!("{sides}, {}", side.word()),
            None => images.push((side.word().to_owned(), image, parts)),
        }
    }
    lines.push(Line::plain(2, visible(&column.name)));
    let width = images.iter().map(|(sides, ..)| sides.len()).max().unwrap_or(0);
    for (sides, image, parts) in images {
        let mut line = Line::plain(4, format!("{sides:width$}  "));
        match (image, parts) {
            (Ok(_), Some(parts)) => {
                line.before += &parts.before;
                line.differing = parts.differing;
                line.after = parts.after;
            }
            (Ok(value), None) => line.before += &visible(value),
            (Err(absent), _) => line.before += &format!("({absent})"),
        }
        lines.push(line);
    }
    if let Some(event) = &column.last_agreed {
        lines.push(Line::plain(4, format!("agreed until {}", place(event))));
    }
}

/// `text` visible and at most about `limit` characters long.
fn short(text: &str, limit: usize) -> String {
    shorten(text, limit / 2, limit / 4)
}
