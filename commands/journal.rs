//! `crossfade journal`: what was done, and whether the record of it is whole.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use crossfade::base::{Result, rfc3339};
use crossfade::control::Lock;
use crossfade::journal::SqliteJournal;
use crossfade::port::journal::{Entry, Journal, verify};
use crossfade::report::table::grid;
use serde_json::json;
use std::io::Write;

use crate::context::{Context, create_output};
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
    /// Write all entries as ndjson
    Export {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

pub(crate) fn run(args: &JournalArgs, context: &Context) -> Result<Exit> {
    let entries = SqliteJournal::open_read_only(&context.journal_path())?.entries()?;
    match &args.verb {
        Verb::Show { last } => {
            show(context, &entries[entries.len() - last.unwrap_or(entries.len()).min(entries.len())..])
        }
        Verb::Verify => check(context, &entries),
        Verb::Export { file } => {
            let mut out = create_output(file)?;
            for entry in &entries {
                let line = serde_json::to_string(entry)
                    .map_err(|error| crossfade::base::Error::failed("an entry has no JSON form").because(error))?;
                writeln!(out, "{line}").map_err(|error| {
                    crossfade::base::Error::failed("the export could not be written").because(error)
                })?;
            }
            context.ui.note(format!("{} entries written to {}", entries.len(), file.display()));
            Ok(Exit::Good)
        }
    }
}

fn show(context: &Context, entries: &[Entry]) -> Result<Exit> {
    let ui = &context.ui;
    if ui.output == Output::Table {
        let row = |entry: &Entry| {
            let stage = format!("{:?}", entry.stage).to_lowercase();
            let of = if entry.of == 0 { String::new() } else { entry.of.to_string() };
            vec![
                entry.seq.to_string(),
                rfc3339(entry.at),
                entry.act.clone(),
                stage,
                of,
                entry.detail.clone(),
                entry.hash[..12].to_owned(),
            ]
        };
        let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
        ui.line(grid(&["seq", "at", "act", "stage", "of", "detail", "hash"], &rows, ui.width()))?;
    } else {
        for entry in entries {
            ui.json(&json!({"schema_version": 1, "entry": entry}))?;
        }
    }
    Ok(Exit::Good)
}

fn check(context: &Context, entries: &[Entry]) -> Result<Exit> {
    let ui = &context.ui;
    if let Err(broken) = verify(entries) {
        ui.line(format!("BROKEN: {broken}"))?;
        return Ok(Exit::Negative);
    }
    let in_log = context.log(false).and_then(|log| Lock::journal_head(log.as_ref(), &context.config.migration));
    match in_log {
        Ok(Some(head)) if !entries.iter().any(|entry| entry.seq == head.seq && entry.hash == head.hash) => {
            ui.line(format!(
                "BROKEN: the log knows entry {} ({}…), which this journal lacks: its end was cut or replaced",
                head.seq,
                &head.hash[..12]
            ))?;
            Ok(Exit::Negative)
        }
        Ok(head) => {
            let anchored = head.map_or(0, |head| head.seq);
            ui.line(format!(
                "{} entries, each follows the one before; the log vouches for the first {anchored}",
                entries.len()
            ))?;
            Ok(Exit::Good)
        }
        Err(error) => {
            ui.note(format!("the log could not be asked for the journal's head: {error}"));
            ui.line(format!("{} entries, each follows the one before; the end is not vouched for", entries.len()))?;
            Ok(Exit::Inconclusive)
        }
    }
}
