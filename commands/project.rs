//! `crossfade project`: events into tables, and fold snapshots.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use crossfade::base::words::{counted, number};
use crossfade::base::{Error, Result, rfc3339};
use crossfade::capture::ReplayState;
use crossfade::control::require_topics;
use crossfade::port::boundary::boundary;
use crossfade::port::event_log::Positions;
use crossfade::port::group::{Join, SESSION};
use crossfade::port::identity::RowTopics;
use crossfade::port::settled::require_settled;
use crossfade::project::{Projected, Projector, group, snapshot};
use serde_json::json;

use crate::context::{Context, now};
use crate::error::Exit;
use crate::metrics::Metered;
use crate::ui::Output;

pub(crate) mod reverse;

const EXAMPLES: &str = "\
Examples:
  crossfade project                        up to the log's end
  crossfade project --live                 and go on as events come, until Ctrl-C
  crossfade project --live --shared        the same beside others that do so: they share the partitions
  crossfade project --snapshot fold.snap   and keep what the projection holds as a file
  crossfade project --reverse --install    shows the table reverse needs in the legacy, changes nothing
  crossfade project --reverse --live       rows of sessions that events own, back into the legacy's tables";

/// Fold events into tables, up to the log's end
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ProjectArgs {
    /// Drop what the projection holds and fold the whole log anew
    #[arg(long, conflicts_with_all = ["restore", "live"])]
    rebuild: bool,
    /// Go on folding new events until stopped
    #[arg(long)]
    live: bool,
    /// Share the partitions with every other process that does so
    #[arg(long, requires = "live", conflicts_with = "restore")]
    shared: bool,
    /// A name of this process's own: started again under it soon, it has its partitions back
    #[arg(long, value_name = "NAME", requires = "shared")]
    member: Option<String>,
    /// Serve figures for Prometheus at this address
    #[arg(long, value_name = "ADDR:PORT", requires = "live")]
    metrics: Option<std::net::SocketAddr>,
    /// Afterwards write what the projection holds as one file
    #[arg(long, value_name = "FILE", conflicts_with = "live")]
    snapshot: Option<PathBuf>,
    /// First put a snapshot's rows in place of what the projection holds, then fold the rest of the log
    #[arg(long, value_name = "FILE")]
    restore: Option<PathBuf>,
    #[command(flatten)]
    reverse: reverse::ReverseArgs,
}

pub(crate) fn run(args: &ProjectArgs, context: &Context) -> Result<Exit> {
    if args.reverse.reverse {
        return reverse::run(&args.reverse, args.live, context);
    }
    let log = context.log(false)?;
    require_topics(log.as_ref(), &context.mapping, &context.config.migration)?;
    let store = context.make_store()?;
    let progress = Metered::new(context.progress(), "project", args.metrics, now)?;
    for line in context.across_kinds() {
        context.ui.note(line);
    }
    if args.live && context.ui.output == Output::Table {
        context.ui.note("folding events as they come; Ctrl-C ends it");
    }
    if !args.live {
        require_settled(log.as_ref(), &context.mapping)?;
    }
    let replay = ReplayState::read(log.as_ref(), &context.config.migration)?;
    let found = RowTopics::look(log.as_ref(), &context.mapping)?;
    let from = generation_start(replay.map(|(state, _)| state), &found)?;
    let group = group(&context.config.migration);
    let topics: BTreeSet<&str> = context.mapping.tables.iter().map(|table| table.topic.as_str()).collect();
    let topics: Vec<String> = topics.into_iter().map(str::to_owned).collect();
    let projector = Projector {
        log: log.as_ref(),
        store: store.as_ref(),
        mapping: &context.mapping,
        migration: &context.config.migration,
        from: &from,
        progress: &progress,
    };
    let restored = args.restore.as_deref().map(|file| Ok((file, check_snapshot(file)?))).transpose()?;
    if let Some(file) = &args.snapshot {
        // Taken and given back at once: a path that cannot be written fails before the work.
        drop(context.create_output(&part_of(file))?);
    }
    let began = Instant::now();
    let detail = json!({"log": log.describe(), "store": store.describe(), "rebuild": args.rebuild, "live": args.live, "shared": args.shared, "member": args.member,
        "restore": args.restore, "mapping": context.mapping.hash});
    let (projected, trailer) = context.act_here("project", &detail, || {
        if let Some((file, taken_at)) = restored {
            let name = file.display().to_string();
            let mut input = BufReader::new(open_snapshot(file)?);
            let cluster = log.cluster_id()?;
            let place = (context.config.migration.as_str(), cluster.as_str(), &found);
            snapshot::restore(&name, &mut input, store.as_ref(), &context.mapping, place)?;
            context.ui.note(format!("restored the snapshot of {taken_at}"));
        }
        let projected = match (args.rebuild, args.live) {
            (true, _) => projector.rebuild()?,
            (_, true) if args.shared => projector.shared(&join(args, &group, &topics))?,
            (_, true) => projector.live()?,
            _ => projector.catch_up()?,
        };
        let trailer = match &args.snapshot {
            Some(file) => Some(write_snapshot(context, store.as_ref(), file, &log.cluster_id()?)?),
            None => None,
        };
        let told =
            json!({"applied": projected.applied, "passed_over": projected.passed_over, "foreign": projected.foreign});
        Ok(((projected, trailer), told))
    })?;
    tell(context, &projected, began.elapsed().as_secs_f64(), &store.describe(), args.snapshot.as_deref().zip(trailer))
}

fn join<'a>(args: &'a ProjectArgs, group: &'a str, topics: &'a [String]) -> Join<'a> {
    Join { group, name: args.member.as_deref(), topics, session: SESSION }
}

/// Where the events of the replay's generation begin; refused where they are gone.
fn generation_start(state: Option<ReplayState>, found: &RowTopics) -> Result<Positions> {
    let Some(state) = state else { return Ok(Positions::new()) };
    state.require(found)?;
    Ok(state.begins_at())
}

fn open_snapshot(file: &Path) -> Result<File> {
    File::open(file).map_err(|error| {
        Error::config(format!("{} cannot be read", file.display()))
            .hint("name a file that 'crossfade project --snapshot' wrote")
            .because(error)
    })
}

/// Reads a snapshot through before anything is replaced by it; gives when it was taken.
fn check_snapshot(file: &Path) -> Result<String> {
    let (header, _) = snapshot::check(&file.display().to_string(), &mut BufReader::new(open_snapshot(file)?))?;
    Ok(header.taken_at)
}

fn part_of(file: &Path) -> PathBuf {
    file.with_added_extension("part")
}

/// Writes beside the target and renames, so that a snapshot is whole or not there.
fn write_snapshot(
    context: &Context,
    store: &dyn crossfade::port::row_store::RowStore,
    file: &Path,
    cluster: &str,
) -> Result<crossfade::fold::snapshot::Trailer> {
    let temporary = part_of(file);
    let write = || {
        let mut out = BufWriter::new(File::create(&temporary).map_err(snapshot::io)?);
        let place = (context.config.migration.as_str(), cluster);
        let trailer = snapshot::write(store, &context.mapping, place, rfc3339(now()), &mut out)?;
        out.flush().map_err(snapshot::io)?;
        out.get_ref().sync_all().map_err(snapshot::io)?;
        boundary("snapshot.temporary-written");
        std::fs::rename(&temporary, file).map_err(snapshot::io)?;
        boundary("snapshot.renamed");
        Ok(trailer)
    };
    write().map_err(|error: Error| {
        // Half a snapshot helps nobody, and its room may.
        let _ = std::fs::remove_file(&temporary);
        let told = Error::new(error.kind(), format!("{}: {error}", file.display()));
        let hint = error.help().map(str::to_owned);
        let told = told.because(error);
        match hint {
            Some(hint) => told.hint(hint),
            None => told,
        }
    })
}

fn tell(
    context: &Context,
    projected: &Projected,
    seconds: f64,
    store: &str,
    snapshot: Option<(&Path, crossfade::fold::snapshot::Trailer)>,
) -> Result<Exit> {
    let ui = &context.ui;
    let rate = projected.applied as f64 / seconds.max(0.001);
    if ui.output == Output::Table {
        if projected.applied + projected.passed_over + projected.foreign > 0 {
            let applied = counted(projected.applied, "event");
            ui.line(format!("{applied} folded into {store} in {seconds:.1} s ({}/s)", number(rate as u64)))?;
        } else {
            ui.line(format!("nothing to fold: {store} stands at the log's end"))?;
        }
        if projected.foreign > 0 {
            ui.note(format!("{} of others in the topics passed over", counted(projected.foreign, "record")));
        }
        if let Some((file, trailer)) = &snapshot {
            ui.line(format!(
                "snapshot of {} written to {} (digest {})",
                counted(trailer.rows, "row"),
                file.display(),
                &trailer.digest[..16]
            ))?;
        }
        ui.note(format!("next: {}", context.command("diff")));
    } else {
        let snapshot =
            snapshot.map(|(file, trailer)| json!({"file": file, "rows": trailer.rows, "digest": trailer.digest}));
        ui.json(&json!({
            "schema_version": 1,
            "applied": projected.applied,
            "passed_over": projected.passed_over,
            "foreign": projected.foreign,
            "seconds": seconds,
            "store": store,
            "snapshot": snapshot,
        }))?;
    }
    Ok(Exit::Good)
}
