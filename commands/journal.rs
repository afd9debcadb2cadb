//! `crossfade journal`: what was done, and whether the record of it is whole.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use crossfade::base::words::counted;
use crossfade::base::{Error, Result, Verdict, rfc3339};
use crossfade::control::Lock;
use crossfade::port::journal::{Entry, Head, verify};
use crossfade::report::table::grid;
use serde_json::json;
use std::io::Write;

use crate::context::{Context, LACKS};
use crate::error::Exit;
use crate::ui::Output;

/// Show, verify or export the record of everything the tool did
#[derive(Args, Debug)]
pub(crate) struct JournalArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the entries
    Show {
        /// Only the newest entries
        #[arg(long, value_name = "COUNT")]
        last: Option<usize>,
    },
    /// Check the hash chain, and that its end is the one the log knows
    Verify,
    /// Write all entries as ndjson, as they were hashed
    Export {
        /// Where to; stdout when left out
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

pub(crate) fn run(args: &JournalArgs, context: &Context) -> Result<Exit> {
    match &args.verb {
        Verb::Show { last } => {
            let entries = context.journal_entries()?;
            show(context, &entries[entries.len() - last.unwrap_or(entries.len()).min(entries.len())..])
        }
        Verb::Verify => check(context, &context.journal_entries()?),
        Verb::Export { file } => export(context, &context.journal_entries()?, file.as_deref()),
    }
}

fn export(context: &Context, entries: &[Entry], file: Option<&Path>) -> Result<Exit> {
    let mut text = Vec::new();
    for entry in entries {
        serde_json::to_writer(&mut text, entry)
            .map_err(|error| Error::failed("an entry has no JSON form").because(error))?;
        text.push(b'\n');
    }
    let Some(file) = file else {
        context.ui.result(&text)?;
        return Ok(Exit::Good);
    };
    context.create_output(file)?.write_all(&text).map_err(|error| {
        Error::failed(format!("the export to {} could not be written", file.display())).because(error)
    })?;
    context.ui.note(format!("{} written to {}", counted_entries(entries.len()), file.display()));
    Ok(Exit::Good)
}

fn counted_entries(count: usize) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

fn show(context: &Context, entries: &[Entry]) -> Result<Exit> {
    let ui = &context.ui;
    match ui.output {
        Output::Table => {
            let row = |entry: &Entry| {
                let stage = format!("{:?}", entry.stage).to_lowercase();
                let of = if entry.of == 0 { String::new() } else { entry.of.to_string() };
                let hash = entry.hash.chars().take(12).collect();
                vec![entry.seq.to_string(), rfc3339(entry.at), entry.act.clone(), stage, of, brief(entry), hash]
            };
            let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
            ui.line(grid(&["seq", "at", "act", "stage", "of", "detail", "hash"], &rows, ui.width()))?;
        }
        Output::Json => ui.json(&json!({"schema_version": 1, "entries": entries}))?,
        Output::Ndjson => {
            for entry in entries {
                ui.json(&json!({"schema_version": 1, "entry": entry}))?;
            }
        }
    }
    Ok(Exit::Good)
}

/// Longest detail in a table; `--output json` has all of it.
const BRIEF: usize = 72;

/// An entry's detail in a few words.
fn brief(entry: &Entry) -> String {
    let Ok(serde_json::Value::Object(detail)) = serde_json::from_str(&entry.detail) else {
        return entry.detail.clone();
    };
    let word = |(name, value): (&String, &serde_json::Value)| match value {
        serde_json::Value::Null | serde_json::Value::Bool(false) => None,
        serde_json::Value::Bool(true) => Some(name.clone()),
        serde_json::Value::String(text) if name == "mapping" || name == "hash" => {
            Some(format!("{name} {}", text.chars().take(12).collect::<String>()))
        }
        serde_json::Value::String(text) if matches!(name.as_str(), "error" | "verdict" | "reason") => {
            Some(text.clone())
        }
        serde_json::Value::String(text) => Some(format!("{name} {text}")),
        serde_json::Value::Array(items) => Some(format!("{name} {}", counted(items.len() as u64, "topic"))),
        other => Some(format!("{name} {other}")),
    };
    let text = detail.iter().filter_map(word).collect::<Vec<_>>().join(", ");
    match text.char_indices().nth(BRIEF) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// What `verify` found.
struct Checked {
    verdict: Verdict,
    text: String,
    /// Entries up to the one the log knows.
    vouched: u64,
}

fn check(context: &Context, entries: &[Entry]) -> Result<Exit> {
    let checked = match verify(entries) {
        Err(broken) => Checked { verdict: Verdict::Fail, text: format!("BROKEN: {broken}"), vouched: 0 },
        Ok(()) => against_log(context, entries),
    };
    let lacks: Vec<String> = entries.iter().filter(|entry| entry.act == LACKS).map(lacked).collect();
    let ui = &context.ui;
    if ui.output == Output::Table {
        ui.line(&checked.text)?;
        for text in &lacks {
            ui.line(format!("warning: {text}"))?;
        }
    } else {
        ui.json(&json!({"schema_version": 1, "verdict": checked.verdict, "reason": checked.text,
            "entries": entries.len(), "vouched": checked.vouched, "warnings": lacks}))?;
    }
    Ok(Exit::of_verdict(checked.verdict))
}

fn against_log(context: &Context, entries: &[Entry]) -> Checked {
    let whole = format!("{}, each follows the one before", counted_entries(entries.len()));
    match context.log(false).and_then(|log| Lock::journal_head(log.as_ref(), &context.config.migration)) {
        Ok(Some(Head { seq, hash })) if !entries.iter().any(|entry| entry.seq == seq && entry.hash == hash) => {
            let hash: String = hash.chars().take(12).collect();
            let text = format!(
                "BROKEN: the log knows entry {seq} ({hash}…), which this journal lacks: its end was cut or replaced, \
                 or another machine keeps the newer journal"
            );
            Checked { verdict: Verdict::Fail, text, vouched: 0 }
        }
        Ok(head) => {
            let vouched = head.map_or(0, |head| head.seq);
            Checked {
                verdict: Verdict::Pass,
                text: format!("{whole}; the log vouches for the first {vouched}"),
                vouched,
            }
        }
        Err(error) => {
            context.ui.note(format!("the log could not be asked for the journal's head: {error}"));
            Checked { verdict: Verdict::Inconclusive, text: format!("{whole}; the end is not vouched for"), vouched: 0 }
        }
    }
}

fn lacked(entry: &Entry) -> String {
    let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap_or_default();
    format!(
        "at entry {} the log knew an entry {} that this journal lacked: it was cut, begun anew, or another machine's",
        entry.seq, detail["lacks"]
    )
}
