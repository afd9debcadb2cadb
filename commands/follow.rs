//! `crossfade follow`: the legacy's changes into events as they are committed; and the capture that records them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use crossfade::base::words::{counted, number};
use crossfade::base::{Error, Result};
use crossfade::capture::{Ended, FOLLOW_ROLE, Follow, FollowState, Quarantined, Rejected, ReplayState};
use crossfade::control::{Lock, require_topics};
use crossfade::event::codec::Exact;
use crossfade::port::change_source::Capture;
use crossfade::port::event_log::EventLog;
use crossfade::port::progress::Progress;
use serde_json::json;

use crate::context::{Capturing, Context, now};
use crate::error::Exit;
use crate::metrics::Metered;
use crate::ui::Output;

mod install;
mod watch;

const EXAMPLES: &str = "\
Examples:
  crossfade follow --install                  shows the statements, changes nothing
  crossfade follow --install --confirm acc    makes the capture of the migration 'acc'
  crossfade follow                            until Ctrl-C; run again it goes on
  crossfade follow --until-caught-up          in CI, before a diff
  crossfade follow --mode reconcile           where nothing may be installed
  crossfade follow --uninstall --confirm acc

Install before the replay: then there is no gap to be reconciled.";

/// Turn the legacy's changes into events as they are committed
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct FollowArgs {
    /// Make what records changes in the legacy store: an outbox, or a slot and a publication
    #[arg(long, conflicts_with_all = ["uninstall", "until_caught_up", "quarantine"])]
    install: bool,
    /// Take away whatever there is of it; needs no journal
    #[arg(long, conflicts_with_all = ["until_caught_up", "quarantine", "mode"])]
    uninstall: bool,
    /// The migration's name, as consent to change the legacy store
    #[arg(long, value_name = "NAME")]
    confirm: Option<String>,
    /// With --install or --uninstall on SQLite: how long to wait for a moment in which no program holds a snapshot
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
    /// How changes are noticed; unless said, as --install has made it
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// With --mode reconcile: seconds between two passes at least
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    every: u64,
    /// End as soon as the log has every change
    #[arg(long)]
    until_caught_up: bool,
    /// The missing rows are meant to be gone; holds for the first reconcile
    #[arg(long, value_enum, value_name = "WHAT", conflicts_with_all = ["install", "uninstall"])]
    allow: Option<crate::replay::Allowed>,
    /// Serve figures for Prometheus at this address
    #[arg(long, value_name = "ADDR:PORT", conflicts_with_all = ["install", "uninstall"])]
    metrics: Option<std::net::SocketAddr>,
    /// Put rows that may not become events into this file and go on without them
    #[arg(long, value_name = "FILE")]
    quarantine: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// From an outbox: a table that triggers fill
    Outbox,
    /// From the server's own log, by a slot and a publication (PostgreSQL)
    Decoding,
    /// By comparing rows with the fold whenever the store may have changed
    Reconcile,
}

/// The mode of a capture; `None` where nothing is recorded.
fn capturing(mode: Option<Mode>) -> Option<Option<Capturing>> {
    match mode {
        None => Some(None),
        Some(Mode::Outbox) => Some(Some(Capturing::Outbox)),
        Some(Mode::Decoding) => Some(Some(Capturing::Decoding)),
        Some(Mode::Reconcile) => None,
    }
}

pub(crate) fn run(args: &FollowArgs, context: &Context) -> Result<Exit> {
    if args.install {
        let Some(mode) = capturing(args.mode) else {
            return Err(
                Error::config("--mode reconcile needs nothing installed").hint("crossfade follow --mode reconcile")
            );
        };
        return install::install(mode, args.confirm.as_deref(), args.wait, context);
    }
    if args.uninstall {
        return install::uninstall(args.confirm.as_deref(), args.wait, context);
    }
    if args.metrics.is_some() && args.mode == Some(Mode::Reconcile) {
        return Err(Error::config("--metrics is for modes that record: comparing does not know how far it is behind"));
    }
    let progress = Metered::new(context.progress(), "follow", args.metrics, now)?;
    context.source(false)?.check()?;
    let log = context.log(false)?;
    require_topics(log.as_ref(), &context.mapping, &context.config.migration)?;
    let mut file = args.quarantine.as_ref().map(|path| context.create_output(path)).transpose()?;
    let mut write = file.as_mut().map(|file| move |rejected: &Rejected<'_>| crate::replay::quarantine(file, rejected));
    let mut quarantine = write.as_mut().map(|write| write as &mut Quarantined<'_>);
    let mut told = Told::default();
    match capturing(args.mode) {
        Some(mode) => {
            let capture = context.capture(mode)?;
            let mut allow = args.allow;
            for blind in capture.blind()? {
                context.ui.note(format!("not seen: {blind}"));
            }
            if let Some(dated) = capture.dated()? {
                context.ui.note(format!("warning: {dated}"));
            }
            loop {
                match follow(args, context, log.as_ref(), capture.as_ref(), &progress, quarantine.as_deref_mut())? {
                    Ended::CaughtUp(state) => {
                        told.state = Some(*state);
                        break;
                    }
                    Ended::Reconcile(why) => {
                        context.ui.note(format!("reconciling first: {why}"));
                        let reconciled = reconcile(context, log.as_ref(), allow.take(), quarantine.as_deref_mut())?;
                        told.reconciled += reconciled;
                    }
                }
            }
        }
        None => told = passes(args, context, log.as_ref(), quarantine)?,
    }
    tell(context, &told)
}

#[derive(Default)]
struct Told {
    state: Option<FollowState>,
    reconciled: u64,
}

fn follow(
    args: &FollowArgs,
    context: &Context,
    log: &dyn EventLog,
    source: &dyn Capture,
    progress: &dyn Progress,
    quarantine: Option<&mut Quarantined<'_>>,
) -> Result<Ended> {
    let screened = context.screened(source);
    let follow = Follow {
        source: &screened,
        log,
        mapping: &context.mapping,
        codec: &Exact,
        migration: &context.config.migration,
        instance: &context.process.instance,
        until_caught_up: args.until_caught_up,
        alone: &|| alone(context, log),
        progress,
        now: &now,
    };
    let detail =
        json!({"source": source.kind(), "log": log.describe(), "mode": source.mode(), "mapping": context.mapping.hash});
    context.act_here("follow", &detail, || {
        let ended = watch::beside(source, progress, || follow.run(quarantine))?;
        let told = match &ended {
            Ended::CaughtUp(state) => json!({"at": state.position.at, "events": state.events}),
            Ended::Reconcile(why) => json!({ "reconcile": why }),
        };
        Ok((ended, told))
    })
}

/// A replay that began meanwhile has taken the follow's name away, or is seen here.
fn alone(context: &Context, log: &dyn EventLog) -> Result<()> {
    match Lock::holder(log, &context.config.migration, now())? {
        Some(holder) if holder.process != context.process && context.may_run(&holder) => {
            Err(Error::fenced(format!("'{}', process {}, is at work", holder.command, holder.process.pid))
                .hint("run the same command again when it has ended"))
        }
        _ => Ok(()),
    }
}

/// One pass under the run lock; gives how many events it wrote.
fn reconcile(
    context: &Context,
    log: &dyn EventLog,
    allow: Option<crate::replay::Allowed>,
    quarantine: Option<&mut Quarantined<'_>>,
) -> Result<u64> {
    let source = context.source(false)?;
    let detail = json!({"log": log.describe(), "mapping": context.mapping.hash});
    context.act(log, "follow reconcile", &detail, || {
        let (state, done) = crate::replay::reconcile(context, source.as_ref(), log, allow, quarantine, false)?;
        let told = json!({"reconciled": done.events(), "quarantined": state.quarantined});
        Ok((done.events(), told))
    })
}

/// What comparing sees less than recording.
const BLIND: [&str; 3] = [
    "changes of one row between two passes, but for their sum",
    "the order in which rows of different keys changed",
    "rows that came and went between two passes",
];

/// Compares whenever the store may have changed, until stopped.
fn passes(
    args: &FollowArgs,
    context: &Context,
    log: &dyn EventLog,
    mut quarantine: Option<&mut Quarantined<'_>>,
) -> Result<Told> {
    let source = context.source(false)?;
    let Some(mut wake) = source.wake()? else {
        return Err(Error::refused(format!("{} does not tell of changes", source.describe()))
            .hint("bring its later changes over with: crossfade replay"));
    };
    let blind: Vec<String> = BLIND.map(str::to_owned).into_iter().chain(source.blind()).collect();
    for blind in &blind {
        context.ui.note(format!("not seen: {blind}"));
    }
    announce(context, log, blind)?;
    let progress = context.progress();
    let (mut told, mut allow) = (Told::default(), args.allow);
    loop {
        progress.check()?;
        require_newest(context, log)?;
        let done = reconcile(context, log, allow.take(), quarantine.as_deref_mut())?;
        told.reconciled += done;
        context.ui.note(format!("compared: {}", counted(done, "event")));
        if args.until_caught_up {
            return Ok(told);
        }
        let begun = std::time::Instant::now();
        let mut changed = false;
        while !changed || begun.elapsed() < Duration::from_secs(args.every) {
            progress.check()?;
            changed |= wake.wait(Duration::from_millis(100))?;
        }
    }
}

/// Keeps the mode in the log, for verdicts, and stops an older follow.
fn announce(context: &Context, log: &dyn EventLog, blind: Vec<String>) -> Result<()> {
    let migration = &context.config.migration;
    let Some((replay, _)) = ReplayState::read(log, migration)? else {
        return Err(
            Error::refused("there was no replay yet: its rows come before their changes").hint("crossfade replay")
        );
    };
    let mut writer = log.open_writer(&format!("{migration}/{FOLLOW_ROLE}"), &context.process.instance)?;
    let own = writer.checkpoint().map(FollowState::of).transpose()?;
    let own = own.filter(|own| own.generation == replay.generation).unwrap_or_default();
    let state = FollowState {
        mode: "reconcile".to_owned(),
        blind,
        generation: replay.generation,
        count: own.count.max(replay.count),
        events: own.events,
        reconciled: replay.reconciled,
        taken_at: now(),
        ..FollowState::default()
    };
    writer.commit(&context.mapping.hash, state.to_json()?)?;
    alone(context, log)
}

fn require_newest(context: &Context, log: &dyn EventLog) -> Result<()> {
    let checkpoint = log.checkpoint(&format!("{}/{FOLLOW_ROLE}", context.config.migration))?;
    match checkpoint {
        Some(checkpoint) if checkpoint.instance != context.process.instance => {
            Err(Error::fenced("another follow has taken over; this one stops").hint("see it: crossfade status"))
        }
        _ => Ok(()),
    }
}

fn tell(context: &Context, told: &Told) -> Result<Exit> {
    let ui = &context.ui;
    if ui.output == Output::Table {
        match &told.state {
            Some(state) => ui.line(format!(
                "caught up: {} of changes in the log, at change {}",
                counted(state.events, "event"),
                number(state.position.at)
            ))?,
            None => ui.line("caught up")?,
        }
        if told.reconciled > 0 {
            ui.line(format!("reconciled: {}", counted(told.reconciled, "event")))?;
        }
        if let Some(state) = &told.state {
            crate::scan::tell(context, &state.found)?;
        }
        ui.note(format!("next: {}", context.command("project")));
    } else {
        ui.json(&json!({
            "schema_version": 1,
            "mode": told.state.as_ref().map_or("reconcile", |state| &state.mode),
            "events": told.state.as_ref().map(|state| state.events),
            "at": told.state.as_ref().map(|state| state.position.at),
            "quarantined": told.state.as_ref().map(|state| state.quarantined),
            "reconciled": told.reconciled,
            "credentials": told.state.as_ref().map(|state| crate::scan::json(context, &state.found)),
        }))?;
    }
    Ok(Exit::Good)
}
