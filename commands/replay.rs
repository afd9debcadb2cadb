//! `crossfade replay`: legacy rows into events, resumable; afterwards a reconcile.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use crossfade::base::words::{counted, number};
use crossfade::base::{Error, Kind, Result};
use crossfade::capture::{
    MassDelete, Phase, Quarantined, Reconcile, Reconciled, Rejected, Replay, ReplayState, Settings,
};
use crossfade::control::require_topics;
use crossfade::event::codec::{Codec, Exact};
use crossfade::mapping::Value;
use crossfade::port::event_log::EventLog;
use crossfade::port::identity::RowTopics;
use crossfade::port::legacy_source::LegacySource;
use crossfade::port::settled::require_settled;
use crossfade::project::Projector;
use crossfade::scan::masked;
use serde_json::json;

use crate::context::{Context, now};
use crate::error::Exit;
use crate::report::ReportArgs;
use crate::ui::Output;

const EXAMPLES: &str = "\
Examples:
  crossfade replay --dry-run                     what would be written, with samples
  crossfade replay --throttle 2000               at most 2000 rows a second
  crossfade replay --quarantine rejected.ndjson  go on without rows that break a rule

Ctrl-C ends it after the current transaction; the same command goes on from there.";

/// Copy legacy rows into events; run again to go on, or to bring later changes over
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ReplayArgs {
    /// Copy everything anew under a raised generation
    #[arg(long)]
    recopy: bool,
    /// Change nothing: say what would be done, and report what would be added, changed and removed
    #[arg(long)]
    dry_run: bool,
    /// Put rows that may not become events into this file and go on without them
    #[arg(long, value_name = "FILE")]
    quarantine: Option<PathBuf>,
    /// At most this many rows a second
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..))]
    throttle: Option<u64>,
    /// The missing rows are meant to be gone
    #[arg(long, value_enum, value_name = "WHAT")]
    allow: Option<Allowed>,
    /// The legacy is stopped: read a store whose journal mode would make its writers fail
    #[arg(long)]
    legacy_stopped: bool,
    #[command(flatten)]
    reports: ReportArgs,
}

/// What a reconcile asks for before it does it: deletes for many of a table's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Allowed {
    MassDelete,
}

/// Attempts to settle a reconcile whose commit had no known outcome.
const PROBES: u32 = 3;

pub(crate) fn run(args: &ReplayArgs, context: &Context) -> Result<Exit> {
    let source = context.source(args.legacy_stopped)?;
    let unmapped = source.check()?;
    if args.dry_run {
        return crate::diff::dry_run(context, source.as_ref(), unmapped, args.reports.open(context)?, args.recopy);
    }
    let log = context.log(false)?;
    require_topics(log.as_ref(), &context.mapping, &context.config.migration)?;
    for table in &unmapped {
        context.ui.note(format!("table {} is not mapped and is not copied", crate::diff::name_of(table)));
    }
    let mut file = args.quarantine.as_ref().map(|path| context.create_output(path)).transpose()?;
    let mut write = file.as_mut().map(|file| move |rejected: &Rejected<'_>| quarantine(file, rejected));
    let quarantine = write.as_mut().map(|write| write as &mut Quarantined<'_>);
    let began = Instant::now();
    let detail = json!({"source": source.describe(), "log": log.describe(), "recopy": args.recopy, "mapping": context.mapping.hash});
    let done = context.act(log.as_ref(), "replay", &detail, || {
        let done = copy(args, context, source.as_ref(), log.as_ref(), quarantine)?;
        let told = json!({"generation": done.state.generation, "count": done.state.count, "rows": done.rows,
            "reconciled": done.reconciled.map(|reconciled| reconciled.events()), "quarantined": done.state.quarantined});
        Ok((done, told))
    })?;
    tell(context, &done, began.elapsed().as_secs_f64())
}

struct Done {
    state: ReplayState,
    rows: u64,
    resumed: bool,
    reconciled: Option<Reconciled>,
}

fn copy(
    args: &ReplayArgs,
    context: &Context,
    source: &dyn LegacySource,
    log: &dyn EventLog,
    mut quarantine: Option<&mut Quarantined<'_>>,
) -> Result<Done> {
    let limits = context.config.replay;
    let mut settings = Settings::new(&context.config.migration, &context.process.instance);
    settings.transaction_rows = limits.transaction_rows;
    settings.chunk_rows = settings.chunk_rows.min(usize::try_from(limits.transaction_rows).unwrap_or(usize::MAX));
    if let Some(rate) = args.throttle {
        // Small chunks, so that the rate is even and a stop is heard at once.
        settings.chunk_rows = settings.chunk_rows.min(usize::try_from(rate / 4).unwrap_or(usize::MAX)).max(1);
    }
    settings.transaction_age = Duration::from_millis(limits.transaction_ms);
    settings.retained_limit = limits.retained_mb << 20;
    settings.rows_per_second = args.throttle;
    settings.recopy = args.recopy;
    let progress = context.progress();
    let replay = Replay {
        source,
        log,
        mapping: &context.mapping,
        codec: &Exact,
        settings: &settings,
        progress: &progress,
        now: &now,
    };
    let copied = replay.copy(quarantine.as_deref_mut())?;
    let (state, rows, resumed) = (copied.state, copied.rows, copied.resumed);
    if state.phase == Phase::Done && !resumed {
        return Ok(Done { state, rows, resumed, reconciled: None });
    }
    let (state, reconciled) = reconcile(context, source, log, args.allow, quarantine, args.recopy)?;
    Ok(Done { state, rows, resumed, reconciled: Some(reconciled) })
}

/// Ranges copied before a resume may have changed since, and a finished replay is asked for later changes: the fold is
/// brought to the log's end, and what differs becomes events.
pub(crate) fn reconcile(
    context: &Context,
    source: &dyn LegacySource,
    log: &dyn EventLog,
    allow: Option<Allowed>,
    mut quarantine: Option<&mut Quarantined<'_>>,
    recopied: bool,
) -> Result<(ReplayState, Reconciled)> {
    let Some((state, _)) = ReplayState::read(log, &context.config.migration)? else {
        return Err(Error::refused("there was no replay yet").hint("crossfade replay"));
    };
    let progress = context.progress();
    let store = context.make_store()?;
    let reconcile = Reconcile {
        source,
        log,
        mapping: &context.mapping,
        codec: &Exact,
        migration: &context.config.migration,
        instance: &context.process.instance,
        mass_delete: MassDelete {
            percent: context.config.replay.mass_delete_percent,
            rows: context.config.replay.mass_delete_rows,
            allowed: allow == Some(Allowed::MassDelete),
        },
        progress: &progress,
        now: &now,
    };
    let from = state.begins_at();
    let projector = Projector {
        log,
        store: store.as_ref(),
        mapping: &context.mapping,
        migration: &context.config.migration,
        from: &from,
        progress: &progress,
    };
    // What an open transaction hides would be taken for missing, and written once more.
    require_settled(log, &context.mapping)?;
    let folded = store.state()?;
    let found = RowTopics::look(log, &context.mapping)?;
    state.require(&found)?;
    if folded.as_ref().is_some_and(|state| state.mapping_hash != context.mapping.hash) {
        // The replay's own checkpoint is this mapping's by now, so the other one has been given up.
        context.ui.note("the projection was made under another mapping: it is folded anew");
        projector.rebuild()?;
    } else if recopied && folded.is_some_and(|state| found.lost(&state.topics, &state.positions).is_some()) {
        // All rows are events anew, so nothing of what it was folded from is needed.
        context.ui.note("the projection was made from events that are gone: it is folded anew");
        projector.rebuild()?;
    }
    for probe in 0.. {
        projector.catch_up_beside()?;
        let mut view = store.view(&context.mapping)?;
        match reconcile.run(view.as_mut(), quarantine.as_deref_mut()) {
            Err(error) if error.kind() == Kind::Unknown && probe < PROBES => {
                context.ui.note(format!("{error}; asking the log what it has"));
                require_settled(log, &context.mapping)?;
            }
            Err(error) => return Err(error),
            Ok(done) => return Ok(done),
        }
    }
    Err(Error::failed("the reconcile did not end"))
}

pub(crate) fn quarantine(file: &mut std::fs::File, rejected: &Rejected<'_>) -> Result<()> {
    let mut row = serde_json::Map::new();
    for (cell, field) in rejected.table.fields().enumerate() {
        let mut value = Vec::new();
        let stored = rejected.row.get(cell);
        // A file for people: whatever the scan's mode, no credential goes into it.
        Exact.write(masked(stored).as_deref().map_or(stored, Value::Text), &mut value);
        let value =
            serde_json::from_slice(&value).map_err(|error| Error::failed("a row has no JSON form").because(error))?;
        row.insert(field.to_owned(), value);
    }
    let line = json!({"table": rejected.table.name, "row": row, "reason": rejected.reason});
    writeln!(file, "{line}").map_err(|error| Error::failed("the quarantine file could not be written").because(error))
}

fn tell(context: &Context, done: &Done, seconds: f64) -> Result<Exit> {
    let ui = &context.ui;
    let state = &done.state;
    if ui.output != Output::Table {
        ui.json(&json!({
            "schema_version": 1,
            "rows": done.rows,
            "resumed": done.resumed,
            "generation": state.generation,
            "events": state.count,
            "quarantined": state.quarantined,
            "reconciled": done.reconciled.map(|r| json!({"inserted": r.inserted, "updated": r.updated, "deleted": r.deleted})),
            "credentials": crate::scan::json(context, &state.found),
            "seconds": seconds,
        }))?;
        return Ok(Exit::Good);
    }
    if done.rows > 0 || done.reconciled.is_none() {
        let rate = done.rows as f64 / seconds.max(0.001);
        let resumed = if done.resumed { ", going on from an earlier run" } else { "" };
        ui.line(format!(
            "{} copied in {seconds:.1} s ({} rows/s), generation {}{resumed}",
            counted(done.rows, "row"),
            number(rate as u64),
            state.generation
        ))?;
    }
    if let Some(reconciled) = done.reconciled
        && reconciled.events() == 0
    {
        ui.line("reconciled with the legacy: nothing had changed")?;
    } else if let Some(reconciled) = done.reconciled {
        ui.line(format!(
            "reconciled with the legacy: {} inserted, {} updated, {} deleted",
            number(reconciled.inserted),
            number(reconciled.updated),
            number(reconciled.deleted)
        ))?;
    }
    if state.quarantined > 0 {
        ui.line(format!("in quarantine: {}; a diff will be INCONCLUSIVE", counted(state.quarantined, "row")))?;
    }
    crate::scan::tell(context, &state.found)?;
    ui.note(format!("next: {}", context.command("project")));
    Ok(Exit::Good)
}
