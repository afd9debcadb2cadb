//! `crossfade status`: what was done, how old the last verdict is, and the next command.

use clap::Args;
use crossfade::base::{Kind, Result, Verdict, rfc3339};
use crossfade::capture::{Phase, ReplayState};
use crossfade::control::{Lock, missing_topics};
use crossfade::journal::SqliteJournal;
use crossfade::port::event_log::EventLog;
use crossfade::port::journal::{Entry, Journal, Stage};
use crossfade::project::behind;
use crossfade::report::table::grid;
use serde_json::json;

use crate::context::{Context, now};
use crate::error::Exit;
use crate::ui::Output;

/// Show where the migration stands and the next command; changes nothing
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {}

/// A line of the answer: what, its state, and whether it is as far as it can be.
struct Line {
    what: &'static str,
    state: String,
}

/// A verdict older than this no longer says much about a live system.
const FRESH_SECONDS: i64 = 24 * 3600;

pub(crate) fn run(_args: &StatusArgs, context: &Context) -> Result<Exit> {
    let mut lines = Vec::new();
    let mut next = None;
    let log = match context.log(false) {
        Ok(log) => Some(log),
        Err(error) if error.kind() == Kind::Refused => {
            lines.push(Line { what: "log", state: error.to_string() });
            next = Some("crossfade provision apply");
            None
        }
        Err(error) => return Err(error),
    };
    if let Some(log) = &log {
        next = log_lines(context, log.as_ref(), &mut lines)?;
    }
    let entries = if context.journal_path().exists() {
        SqliteJournal::open_read_only(&context.journal_path())?.entries()?
    } else {
        Vec::new()
    };
    let verdict = verdict_line(&entries, &context.mapping.hash, &mut lines);
    if let Some(open) = unfinished(&entries) {
        let state =
            format!("'{}' announced {} was never ended: it was killed, or runs now", open.act, rfc3339(open.at));
        lines.push(Line { what: "unfinished act", state });
    }
    let next = next.unwrap_or(match verdict {
        Some(Verdict::Pass) => "the fold equals the legacy; run 'crossfade replay' again after the legacy has changed",
        _ => "crossfade diff",
    });
    let ui = &context.ui;
    if ui.output == Output::Table {
        let rows: Vec<Vec<String>> = lines.iter().map(|line| vec![line.what.to_owned(), line.state.clone()]).collect();
        ui.line(grid(&["what", "state"], &rows, ui.width()))?;
        ui.line(format!("next: {next}"))?;
    } else {
        let states: serde_json::Map<_, _> =
            lines.iter().map(|line| (line.what.replace(' ', "_"), json!(line.state))).collect();
        ui.json(&json!({"schema_version": 1, "migration": context.config.migration, "states": states, "verdict": verdict, "next": next}))?;
    }
    Ok(Exit::Good)
}

/// What the log tells; the next command when something is missing.
fn log_lines(context: &Context, log: &dyn EventLog, lines: &mut Vec<Line>) -> Result<Option<&'static str>> {
    let mut next = None;
    let migration = &context.config.migration;
    let missing = missing_topics(log, &context.mapping, migration)?;
    let topics = if missing.is_empty() {
        "all topics are there".to_owned()
    } else {
        format!("{} topics are missing", missing.len())
    };
    lines.push(Line { what: "log", state: format!("{}: {topics}", log.describe()) });
    if !missing.is_empty() {
        return Ok(Some("crossfade provision apply"));
    }
    if let Some(holder) = Lock::holder(log, migration, now())? {
        let state = format!("held by '{}', process {} on {}", holder.command, holder.process.pid, holder.process.host);
        lines.push(Line { what: "run lock", state });
    }
    let replay = ReplayState::read(log, migration)?;
    let state = match &replay {
        None => "not begun".to_owned(),
        Some((_, hash)) if *hash != context.mapping.hash => "made under another mapping".to_owned(),
        Some((state, _)) => {
            let rows: u64 = state.copied.values().sum();
            let phase = match state.phase {
                Phase::Base => format!("under way, in table '{}'", state.table),
                Phase::Reconcile => "copied, to be reconciled".to_owned(),
                Phase::Done => format!("done, equal to the legacy of {}", rfc3339(state.snapshot_at)),
            };
            format!("generation {}: {rows} rows, {} events, {phase}", state.generation, state.count)
        }
    };
    if replay.as_ref().is_none_or(|(state, _)| state.phase != Phase::Done) {
        next = Some("crossfade replay");
    }
    lines.push(Line { what: "replay", state });
    let projection = context.store()?.state()?;
    let state = match projection {
        None => "not made".to_owned(),
        Some(state) if state.rebuilding => "a rebuild is unfinished".to_owned(),
        Some(state) => {
            let late = behind(log, &context.mapping, &state.positions)?;
            let records: i64 = late.iter().map(|(_, _, at, end)| end - at).sum();
            if late.is_empty() {
                "at the log's end".to_owned()
            } else {
                format!("behind the log's end by up to {records} positions")
            }
        }
    };
    if state != "at the log's end" {
        next = next.or(Some("crossfade project"));
    }
    lines.push(Line { what: "projection", state });
    Ok(next)
}

fn verdict_line(entries: &[Entry], mapping_hash: &str, lines: &mut Vec<Line>) -> Option<Verdict> {
    let last = entries.iter().rev().find(|entry| entry.act == "diff" && entry.stage == Stage::Noted);
    let Some(entry) = last else {
        lines.push(Line { what: "verdict", state: "none yet".to_owned() });
        return None;
    };
    let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap_or_default();
    let word = detail["verdict"].as_str().unwrap_or("?").to_owned();
    let age = (now() - entry.at).max(0) / 1000;
    let acted = entries.iter().any(|later| later.seq > entry.seq && later.stage == Stage::Done);
    let foreign = detail["mapping"].as_str() != Some(mapping_hash);
    let stale = match (foreign, acted, age > FRESH_SECONDS) {
        (true, _, _) => ", of another mapping",
        (_, true, _) => ", stale: something was done since",
        (_, _, true) => ", stale: older than a day",
        _ => "",
    };
    let reason = detail["reason"].as_str().unwrap_or_default();
    lines.push(Line { what: "verdict", state: format!("{word}, {} ago{stale}: {reason}", duration(age)) });
    let verdict = serde_json::from_value(detail["verdict"].clone()).ok();
    verdict.filter(|_| stale.is_empty())
}

fn duration(seconds: i64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The newest announced act without an end.
fn unfinished(entries: &[Entry]) -> Option<&Entry> {
    let announced = entries.iter().rev().find(|entry| entry.stage == Stage::Announced)?;
    let ended = entries.iter().any(|entry| entry.of == announced.seq);
    (!ended).then_some(announced)
}
