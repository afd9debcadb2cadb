//! `crossfade project --reverse`: rows of sessions that events own, back into the legacy's own tables.

use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use crossfade::base::words::{counted, number};
use crossfade::base::{Error, Result};
use crossfade::capture::ReplayState;
use crossfade::control::{Place, SoleWriter, require_topics};
use crossfade::event::codec::Exact;
use crossfade::port::boundary::boundary;
use crossfade::port::event_log::EventLog;
use crossfade::port::journal::{Journal, Stage};
use crossfade::port::legacy_sink::SinkStep;
use crossfade::port::owners::{RowKey, Sessions};
use crossfade::project::{Reverse, Reversed, folded};
use serde_json::{Value, json};

use crate::context::{Context, REVERSE_STEP, now};
use crate::error::Exit;
use crate::ui::Output;

#[derive(Args, Debug)]
pub(crate) struct ReverseArgs {
    /// Write rows of sessions that events own back into the legacy's own tables
    #[arg(long, conflicts_with_all = ["rebuild", "snapshot", "restore", "shared", "metrics"])]
    pub(crate) reverse: bool,
    /// With --reverse: make the table beside the legacy's that keeps how far it came
    #[arg(long, requires = "reverse", conflicts_with_all = ["uninstall", "live", "adopt", "overwrite"])]
    install: bool,
    /// With --reverse: take that table away
    #[arg(long, requires = "reverse", conflicts_with_all = ["live", "adopt", "overwrite"])]
    uninstall: bool,
    /// With --reverse: the migration's name, as consent to change the legacy's schema, or a row others wrote
    #[arg(long, value_name = "NAME", requires = "reverse")]
    confirm: Option<String>,
    /// With --reverse on SQLite: how long to wait for a moment in which no program holds a snapshot; --live waits for ever
    #[arg(long, value_name = "SECONDS", requires = "reverse", default_value_t = 30)]
    wait: u64,
    /// With --reverse: write the rows the legacy's schema does not take into this file
    #[arg(long, value_name = "FILE", requires = "reverse")]
    refused: Option<PathBuf>,
    /// With --reverse: let a foreign write stand, as 'TABLE: KEY' or 'all': it becomes an event
    #[arg(long, value_name = "ROW", requires = "reverse", conflicts_with_all = ["live", "overwrite"])]
    adopt: Option<String>,
    /// With --reverse: write over a foreign write, as 'TABLE: KEY' or 'all'
    #[arg(long, value_name = "ROW", requires = "reverse", conflicts_with = "live")]
    overwrite: Option<String>,
}

pub(super) fn run(args: &ReverseArgs, live: bool, context: &Context) -> Result<Exit> {
    if args.install || args.uninstall {
        return install(args, context);
    }
    context.source(false)?.check()?;
    let log = context.log(false)?;
    require_topics(log.as_ref(), &context.mapping, &context.config.migration)?;
    if let Some(asked) = args.adopt.as_ref().or(args.overwrite.as_ref()) {
        return settle(args, context, log.as_ref(), asked);
    }
    let sink = context.sink_waiting(context.patience((!live).then_some(args.wait)))?;
    for note in sink.notes()? {
        context.ui.note(note);
    }
    let mut file = args.refused.as_ref().map(|path| context.create_output(path)).transpose()?;
    if live && context.ui.output == Output::Table {
        context.ui.note("writing events back as they come; Ctrl-C ends it");
    }
    let progress = context.progress();
    let reverse = Reverse {
        log: log.as_ref(),
        sink: sink.as_ref(),
        mapping: &context.mapping,
        migration: &context.config.migration,
        progress: &progress,
    };
    let began = Instant::now();
    let detail =
        json!({"log": log.describe(), "store": sink.describe(), "live": live, "mapping": context.mapping.hash});
    let done = context.act_here("project reverse", &detail, || {
        let done = if live { reverse.live()? } else { reverse.catch_up()? };
        let told = json!({"events": done.events, "written": done.written, "deleted": done.deleted,
            "refused": done.kept.len(), "foreign": done.foreign});
        Ok((done, told))
    })?;
    if let Some(file) = &mut file {
        for kept in done.kept.values() {
            let line = serde_json::to_string(kept)
                .map_err(|error| Error::failed("a refused row has no JSON form").because(error))?;
            writeln!(file, "{line}")
                .map_err(|error| Error::failed("the file of refused rows could not be written").because(error))?;
        }
    }
    tell(context, &done, &sink.describe(), began.elapsed().as_secs_f64())
}

/// Refused rows shown on the terminal; all of them are in the file.
const SHOWN: usize = 20;

fn tell(context: &Context, done: &Reversed, store: &str, seconds: f64) -> Result<Exit> {
    let ui = &context.ui;
    let clean = done.kept.is_empty() && done.foreign == 0;
    if ui.output == Output::Table {
        if done.owned == 0 && done.events == 0 {
            ui.line("events own no session: nothing to write back")?;
        } else {
            ui.line(format!(
                "{} written back into {store} in {seconds:.1} s: {} put, {} deleted; events own {}",
                counted(done.events, "event"),
                number(done.written),
                number(done.deleted),
                counted(done.owned, "session")
            ))?;
        }
        for kept in done.kept.values().take(SHOWN) {
            ui.line(format!(
                "refused: table '{}', row {}: {} ({}[{}]@{})",
                kept.table, kept.row, kept.reason, kept.topic, kept.partition, kept.offset
            ))?;
        }
        if !done.kept.is_empty() {
            let rows = counted(done.kept.len() as u64, "row");
            ui.line(format!("the legacy's schema does not take {rows}; the others are written"))?;
        }
        if done.foreign > 0 {
            let rows = counted(done.foreign, "row");
            ui.line(format!("{rows} stand still: somebody wrote them in the legacy, though events own them"))?;
            ui.note(format!("settle them: {}", context.command("project --reverse --adopt ROW, or --overwrite ROW")));
        }
        ui.note(format!("next: {}", context.command("diff")));
    } else {
        ui.json(&json!({
            "schema_version": 1,
            "store": store,
            "events": done.events,
            "written": done.written,
            "deleted": done.deleted,
            "owned_sessions": done.owned,
            "refused": done.kept.values().collect::<Vec<_>>(),
            "foreign": done.foreign,
            "seconds": seconds,
        }))?;
    }
    Ok(if clean { Exit::Good } else { Exit::Negative })
}

fn consent(args: &ReverseArgs, context: &Context, what: &str) -> Result<()> {
    let name = &context.config.migration;
    match args.confirm.as_ref() {
        Some(given) if given == name => Ok(()),
        Some(given) => Err(Error::refused(format!("this migration is '{name}', not '{given}'; nothing was changed"))
            .hint(format!("--confirm {name}"))),
        None => Err(Error::refused(format!("{what}; nothing was changed"))
            .hint(format!("read what is above, then say so by name: --confirm {name}"))),
    }
}

fn install(args: &ReverseArgs, context: &Context) -> Result<Exit> {
    context.source(false)?.check()?;
    let sink = context.sink_waiting(context.patience(Some(args.wait)))?;
    let steps = if args.install { sink.installation()? } else { sink.removal()? };
    let ui = &context.ui;
    if steps.is_empty() {
        let text = if args.install {
            "reverse's table is there: nothing to do"
        } else {
            "there is no table of reverse: nothing to do"
        };
        return said(context, text, &steps);
    }
    if ui.output == Output::Table {
        ui.line(steps.iter().map(|step| format!("{};\n", step.sql)).collect::<String>())?;
    }
    consent(args, context, "this changes the legacy's schema")?;
    let act = if args.install { "reverse install" } else { "reverse uninstall" };
    context.act_here(act, &json!({ "store": sink.describe() }), || {
        let journal = context.journal()?;
        let announced: Vec<_> = steps
            .iter()
            .map(|step| {
                let detail = json!({"sql": step.sql, "back": step.back});
                let entry = journal.append(now(), Stage::Announced, 0, REVERSE_STEP, &detail);
                boundary("journal.announced");
                entry
            })
            .collect::<Result<_>>()?;
        let done = if args.install { sink.install() } else { sink.remove() };
        boundary("reverse.installed");
        let stage = if done.is_ok() { Stage::Done } else { Stage::Failed };
        for (entry, step) in announced.iter().zip(&steps) {
            journal.append(now(), stage, entry.seq, REVERSE_STEP, &json!({ "sql": step.sql }))?;
            boundary("journal.done");
        }
        done?;
        Ok(((), json!({ "statements": steps.len() })))
    })?;
    let text =
        if args.install { "reverse's table is made" } else { "reverse's table is gone, and with it how far it came" };
    if args.install {
        ui.note(format!("next: {}", context.command("project --reverse")));
    }
    said(context, text, &steps)
}

fn said(context: &Context, text: &str, steps: &[SinkStep]) -> Result<Exit> {
    if context.ui.output == Output::Table {
        context.ui.line(text)?;
    } else {
        let statements: Vec<&String> = steps.iter().map(|step| &step.sql).collect();
        context.ui.json(&json!({"schema_version": 1, "told": text, "statements": statements}))?;
    }
    Ok(Exit::Good)
}

/// A row for people, as it is named on the command line.
pub(crate) fn row_text(context: &Context, key: &RowKey, sessions: &Sessions) -> String {
    let table = &context.mapping.tables[key.0];
    let row = sessions.foreign.get(key).map_or_else(String::new, |foreign| table.identity_text(foreign.row.row(0)));
    format!("{}: {row}", table.name)
}

fn settle(args: &ReverseArgs, context: &Context, log: &dyn EventLog, asked: &str) -> Result<Exit> {
    let migration = &context.config.migration;
    let open = Sessions::read(log, &context.mapping, migration, None)?;
    let wanted = |sessions: &Sessions| -> Vec<RowKey> {
        let keys = sessions.foreign.keys();
        keys.filter(|key| asked == "all" || row_text(context, key, sessions) == asked).cloned().collect()
    };
    let rows: Vec<String> = wanted(&open).iter().map(|key| row_text(context, key, &open)).collect();
    if rows.is_empty() {
        let known: Vec<String> = open.foreign.keys().map(|key| row_text(context, key, &open)).collect();
        let hint = if known.is_empty() {
            "there is no foreign write that is not settled".to_owned()
        } else {
            format!("these are open: {}", known.join("; "))
        };
        return Err(Error::refused(format!("no foreign write of '{asked}' is open")).hint(hint));
    }
    if context.ui.output == Output::Table {
        context.ui.line(rows.join("\n"))?;
    }
    let adopt = args.adopt.is_some();
    consent(args, context, if adopt { "these become events" } else { "these are written over in the legacy" })?;
    let from = ReplayState::read(log, migration)?.map(|(state, _)| state.begins_at()).unwrap_or_default();
    let act = if adopt { "reverse adopt" } else { "reverse overwrite" };
    context.act(log, act, &json!({ "rows": rows }), || {
        let place = Place {
            log,
            mapping: &context.mapping,
            codec: &Exact,
            migration,
            instance: &context.process.instance,
            now: &now,
        };
        let mut writer = SoleWriter::open(place)?;
        for key in wanted(writer.sessions()) {
            let foreign = writer.sessions().foreign[&key].clone();
            if adopt {
                writer.settle(&key, (!foreign.deleted).then(|| foreign.row.row(0)))?;
            } else {
                let image = folded(log, (&context.mapping, migration), &from, &key, &foreign.key)?;
                writer.settle(&key, image.as_ref().map(|rows| rows.row(0)))?;
            }
        }
        writer.commit()?;
        Ok(((), json!({ "rows": rows.len() })))
    })?;
    let text = format!("{} settled", counted(rows.len() as u64, "foreign write"));
    if context.ui.output == Output::Table {
        context.ui.line(text)?;
        context.ui.note(format!("next: {}", context.command("project --reverse")));
    } else {
        context.ui.json(&json!({"schema_version": 1, "told": text, "rows": rows.iter().map(|row| Value::from(row.as_str())).collect::<Vec<_>>()}))?;
    }
    Ok(Exit::Good)
}
