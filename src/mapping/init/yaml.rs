//! The mapping file `init` writes.

use std::fmt::Write;

use super::{PartitionKey, Planned, TableSchema, Types, Unreadable};

/// Words YAML readers may take for something else than text.
const RESERVED: [&str; 13] =
    ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity", "undefined"];

/// Keys up to this length may stand before a colon without a mark; YAML's own limit is 1,024 characters.
const LONGEST_SIMPLE_KEY: usize = 500;

/// Writes the file: comment, topic, tables.
pub(super) fn write(types: Types, tables: &[Planned<'_>], left_out: &[Unreadable], migration: &str) -> String {
    let topic = scalar(&format!("{migration}.rows"));
    let mut out = String::from(
        "# Which tables become events, and how. Written by `crossfade init` from the store's own schema.\n\
         # 'identity' tells rows apart, 'key' or 'through' decides which rows share a partition and so an order.\n\
         # Put a table under the top-level 'never', or a column under its table's 'never', to keep it from being read.\n",
    );
    for other in left_out {
        push(&mut out, format_args!("# Not mapped: {:?}: {}\n", other.table, other.why));
    }
    let types = if types == Types::Postgres { "types: postgres\n" } else { "" };
    push(&mut out, format_args!("version: 1\n{types}topics:\n  {topic}:\n    partitions: 6\n"));
    out.push_str("    configs:\n      retention.ms: \"-1\"\n");
    out.push_str(if tables.is_empty() { "tables: {}\n" } else { "tables:\n" });
    for planned in tables {
        table(&mut out, planned, &topic);
    }
    out
}

fn table(out: &mut String, planned: &Planned<'_>, topic: &str) {
    let table = planned.table;
    entry(out, 2, &table.name, None);
    push(out, format_args!("    topic: {topic}\n"));
    match (&table.rowid, table.key.is_empty()) {
        (Some(rowid), true) => push(out, format_args!("    rowid: {rowid}\n")),
        _ => push(out, format_args!("    identity: {}\n", list(table.key.iter().map(String::as_str)))),
    }
    match &planned.key {
        PartitionKey::Identity => {}
        PartitionKey::Columns(columns) => push(out, format_args!("    key: {}\n", list(columns.iter().copied()))),
        PartitionKey::Through(key) => {
            push(out, format_args!("    through:\n      columns: {}\n", list(key.columns.iter().map(String::as_str))));
            push(out, format_args!("      parent: {}\n", scalar(&key.parent)));
            push(out, format_args!("      referenced: {}\n", list(key.referenced.iter().map(String::as_str))));
        }
    }
    if !planned.parents.is_empty() {
        push(out, format_args!("    parents: {}\n", list(planned.parents.iter().copied())));
    }
    out.push_str("    columns:\n");
    for column in &table.columns {
        entry(out, 6, &column.name, Some(declared(table, &column.declared)));
    }
    let generated: Vec<&str> =
        table.columns.iter().filter(|column| column.generated).map(|column| column.name.as_str()).collect();
    if !generated.is_empty() {
        push(out, format_args!("    generated: {}\n", list(generated.into_iter())));
    }
}

/// A strict table's ANY keeps values as they are; elsewhere that word would convert them.
fn declared<'a>(table: &TableSchema, declared: &'a str) -> &'a str {
    if table.strict && declared.eq_ignore_ascii_case("ANY") { "BLOB" } else { declared }
}

fn entry(out: &mut String, indent: usize, key: &str, value: Option<&str>) {
    let (key, value) = (scalar(key), value.map(scalar));
    let space = " ".repeat(indent);
    let value = value.map_or_else(String::new, |value| format!(" {value}"));
    match key.len() > LONGEST_SIMPLE_KEY {
        true if value.is_empty() => push(out, format_args!("{space}? {key}\n{space}:\n")),
        true => push(out, format_args!("{space}? {key}\n{space}:{value}\n")),
        false => push(out, format_args!("{space}{key}:{value}\n")),
    }
}

fn list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", words.map(scalar).collect::<Vec<_>>().join(", "))
}

/// A text that reads back as itself: bare when no reader can take it for anything else, else in double quotes.
fn scalar(text: &str) -> String {
    let begins = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    let goes_on = text.chars().all(|each| each.is_ascii_alphanumeric() || matches!(each, '_' | '.' | '-'));
    if begins && goes_on && !RESERVED.contains(&text.to_ascii_lowercase().as_str()) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for each in text.chars() {
        match each {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(each);
            }
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            ' '..='~' => quoted.push(each),
            each if each.is_alphanumeric() => quoted.push(each),
            each => push(&mut quoted, format_args!("\\U{:08X}", u32::from(each))),
        }
    }
    quoted + "\""
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}
