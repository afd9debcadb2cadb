//! `crossfade status`: what was done, how old the last verdict is, and the next command.

use std::time::Duration;

use clap::Args;
use crossfade::base::words::counted;
use crossfade::base::{Kind, Result, Verdict, rfc3339};
use crossfade::capture::{FollowState, Phase, ReplayState};
use crossfade::control::{Lock, missing_row_topics};
use crossfade::mapping::Use;
use crossfade::port::claims;
use crossfade::port::event_log::{EventLog, ends};
use crossfade::port::identity::RowTopics;
use crossfade::port::journal::{Entry, Stage};
use crossfade::port::owners::{OWNERS, Sessions};
use crossfade::port::settled::unsettled;
use crossfade::project::behind;
use crossfade::report::table::grid;
use crossfade::scan::Found;
use serde_json::json;

use crate::context::{Context, FOLLOW_STEP, STEP, now};
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
/// How long a transaction that is open in the log is waited for.
const SETTLES: Duration = Duration::from_secs(1);

pub(crate) fn run(_args: &StatusArgs, context: &Context) -> Result<Exit> {
    let mut lines = Vec::new();
    let mut next = None;
    let mut running = None;
    let log = match context.log_missing() {
        Some(missing) => {
            lines.push(Line { what: "log", state: missing });
            next = Some("provision apply");
            None
        }
        None => Some(context.log(false)?),
    };
    if let Some(log) = &log {
        (next, running) = log_lines(context, log.as_ref(), &mut lines)?;
    }
    let entries = if context.journal_path().exists() { context.journal_entries()? } else { Vec::new() };
    let verdict = verdict_line(&entries, &context.mapping.hash, &mut lines);
    if let Some(open) = unfinished(&entries) {
        let why = match &running {
            Some(command) if *command == open.act => "it runs now",
            _ if open.act == "project" || open.act == "project reverse" || open.act == "follow" => {
                "it was killed, or runs now"
            }
            _ => "it was killed; run it again to go on",
        };
        let state = format!("'{}', announced {}, was not ended: {why}", open.act, rfc3339(open.at));
        lines.push(Line { what: "unfinished act", state });
    }
    let next = match (running, next, verdict) {
        (Some(command), _, _) => format!("wait for '{command}' to end"),
        (None, Some(next), _) => context.command(next),
        (None, None, Some(Verdict::Pass)) => {
            format!("nothing to do; {} once the legacy has changed", context.command("replay"))
        }
        (None, None, _) => context.command("diff"),
    };
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

/// What the log tells: the next command when something is missing, and the command that holds the lock.
fn log_lines(
    context: &Context,
    log: &dyn EventLog,
    lines: &mut Vec<Line>,
) -> Result<(Option<&'static str>, Option<String>)> {
    let mut next = None;
    let mut running = None;
    let migration = &context.config.migration;
    let missing = missing_row_topics(log, &context.mapping, migration)?;
    let topics = if missing.is_empty() {
        "all topics are there".to_owned()
    } else {
        format!("missing: {}", counted(missing.len() as u64, "topic"))
    };
    lines.push(Line { what: "log", state: format!("{}: {topics}", log.describe()) });
    if !missing.is_empty() {
        return Ok((Some("provision apply"), None));
    }
    let rows: Vec<&str> = context.mapping.topics_for(Use::Rows).collect();
    let state = match claims::owners(log, &rows) {
        Err(error) if error.kind() == Kind::Refused => Some(format!("whose they are cannot be read: {error}")),
        owners => {
            let owners = owners?;
            let other = owners.iter().find(|(_, owner)| *owner != migration);
            let other = other.map(|(topic, owner)| format!("'{topic}' belongs to the migration '{owner}'"));
            let unclaimed = || format!("not claimed yet: {}", context.command("provision apply"));
            other.or_else(|| (owners.len() < rows.len()).then(unclaimed))
        }
    };
    lines.extend(state.map(|state| Line { what: "topics", state }));
    if let Some(holder) = Lock::holder(log, migration, now())? {
        let age = (now() - holder.renewed_at).max(0) / 1000;
        let by = format!("'{}', process {} on {}", holder.command, holder.process.pid, holder.process.host);
        let state = if context.may_run(&holder) {
            running = Some(holder.command);
            format!("held by {by}, renewed {age} s ago")
        } else {
            format!("left by {by}, which has ended: the next run takes it over")
        };
        lines.push(Line { what: "run lock", state });
    }
    let replay = ReplayState::read(log, migration)?;
    let state = match &replay {
        None => "not begun".to_owned(),
        Some((_, hash)) if *hash != context.mapping.hash => {
            next = Some("replay --recopy");
            "made under another mapping".to_owned()
        }
        Some((state, _)) => {
            let rows: u64 = state.copied.values().sum();
            let phase = match state.phase {
                Phase::Base => format!("under way, in table '{}'", state.table),
                Phase::Reconcile => "copied, to be reconciled".to_owned(),
                Phase::Done => {
                    let age = (now() - state.snapshot_at).max(0) / 1000;
                    format!("done, equal to the legacy of {} ago", duration(age))
                }
            };
            {
                let (rows, events) = (counted(rows, "row"), counted(state.count, "event"));
                format!("generation {}: {rows}, {events}, {phase}", state.generation)
            }
        }
    };
    let topics = RowTopics::look(log, &context.mapping)?;
    let lost = replay.as_ref().and_then(|(state, _)| state.lost(&topics));
    if let Some(lost) = &lost {
        next = Some("replay --recopy");
        lines.push(Line { what: "events", state: lost.text("the replay") });
    }
    if replay.as_ref().is_none_or(|(state, _)| state.phase != Phase::Done) {
        next = next.or(Some("replay"));
    }
    lines.push(Line { what: "replay", state });
    let follow = FollowState::read(log, migration)?;
    let mut found = replay.as_ref().map(|(state, _)| state.found.clone()).unwrap_or_default();
    Found::merge(&mut found, follow.map(|state| state.found).unwrap_or_default());
    if !found.is_empty() {
        lines.push(Line { what: "credentials", state: crate::scan::summary(context, &found) });
    }
    if let Some(state) = follow_line(context, log)? {
        lines.push(Line { what: "follow", state });
    }
    let gone = Sessions::lost(log, &context.mapping, migration)?;
    let sessions = match &gone {
        Some(_) => Sessions::default(),
        None => Sessions::read(log, &context.mapping, migration, None)?,
    };
    if let Some(gone) = gone {
        lines.push(Line { what: "owners", state: gone.text(OWNERS) });
    } else if !sessions.is_empty() {
        let mut state = format!("events own {}", counted(sessions.owners.owned(), "session"));
        if !sessions.foreign.is_empty() {
            let rows = counted(sessions.foreign.len() as u64, "row");
            state += &format!("; {rows} written by others, which stand still");
        }
        lines.push(Line { what: "owners", state });
    }
    let projection = context.store()?.state()?;
    let topics = RowTopics::look(log, &context.mapping)?;
    let state = match projection {
        None => "not made".to_owned(),
        Some(state) if state.mapping_hash != context.mapping.hash => {
            next = next.or(Some("project --rebuild"));
            "made under another mapping".to_owned()
        }
        Some(state) if let Some(lost) = topics.lost(&state.topics, &state.positions) => {
            next = next.or(Some("project --rebuild"));
            lost.text("it")
        }
        Some(state) if state.rebuilding => "a rebuild is unfinished".to_owned(),
        Some(state) => {
            let late = behind(&ends(log, &context.mapping)?, &state.positions);
            let records: i64 = late.iter().map(|(_, _, at, end)| end - at).sum();
            if late.is_empty() {
                match unsettled(log, &context.mapping, SETTLES)?.first() {
                    None => "at the log's end".to_owned(),
                    Some(open) => format!("where a transaction that is open hides the rest of the log: {open}"),
                }
            } else {
                format!("behind the log's end by up to {}", counted(records.unsigned_abs(), "position"))
            }
        }
    };
    if state != "at the log's end" {
        next = next.or(Some("project"));
    }
    lines.push(Line { what: "projection", state });
    Ok((next, running))
}

/// How far the events are behind the legacy's changes, where those are recorded or were followed.
fn follow_line(context: &Context, log: &dyn EventLog) -> Result<Option<String>> {
    let follow = FollowState::read(log, &context.config.migration)?;
    if let Some(state) = follow.as_ref().filter(|state| state.mode == "reconcile") {
        let age = (now() - state.taken_at).max(0) / 1000;
        return Ok(Some(format!("by {}, begun {} ago", state.mode, duration(age))));
    }
    let recorded = crate::diff::behind_changes(context, log)?;
    let kept = if recorded.is_some() { context.capture(None)?.keeps()? } else { None };
    let line = match (recorded, follow) {
        (Some(lag), _) if !lag.any() => Some("the log has every change recorded".to_owned()),
        (Some(lag), _) if lag.changes == 0 => {
            Some(format!("a follow reads on, {} of the legacy's own log behind", counted(lag.bytes, "byte")))
        }
        (Some(lag), _) => {
            let age = lag.since.map_or(0, |since| (now() - since).max(0) / 1000);
            Some(format!("{} not in the log yet, the oldest {} old", counted(lag.changes, "change"), duration(age)))
        }
        (None, Some(_)) => {
            Some("what recorded changes is gone, or not what the log's events were made from".to_owned())
        }
        (None, None) => None,
    };
    Ok(line.map(|line| kept.map_or(line.clone(), |kept| format!("{line}; {kept}"))))
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
    let acted = entries.iter().any(|later| later.seq > entry.seq && later.stage == Stage::Done && changed(later));
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

/// Whether a finished act changed anything a verdict rests on.
fn changed(entry: &Entry) -> bool {
    let detail: serde_json::Value = serde_json::from_str(&entry.detail).unwrap_or_default();
    let idle = match entry.act.as_str() {
        "project" => detail["applied"] == 0,
        "follow reconcile" => detail["reconciled"] == 0,
        FOLLOW_STEP | "follow install" | "follow uninstall" => true,
        _ => false,
    };
    !idle
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
    let act = |entry: &&Entry| entry.stage == Stage::Announced && entry.act != STEP && entry.act != FOLLOW_STEP;
    let announced = entries.iter().rev().find(act)?;
    let ended = entries.iter().any(|entry| entry.of == announced.seq);
    (!ended).then_some(announced)
}
