//! `crossfade diff`: legacy rows against the fold of their events.

mod dry_run;
mod findings;

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use crossfade::base::words::{counted, number};
use crossfade::base::{Error, Result, rfc3339};
use crossfade::capture::{FollowState, Met, Phase, ReplayState, await_store, meet};
use crossfade::compare::{Evidence, Job, Looks, Mirrored, compare};
use crossfade::control::require_topics;
use crossfade::diff::{
    Difference as Differs, Finding, Kind as Difference, Outcome, Sample, Severity, TableCoverage, verdict,
};
use crossfade::port::change_source::ChangeSource;
use crossfade::port::event_log::{EventLog, Positions, ends};
use crossfade::port::journal::{Journal, Stage};
use crossfade::port::owners::Sessions;
use crossfade::port::progress::Progress;
use crossfade::port::row_store::RowStore;
use crossfade::port::settled::unsettled;
use crossfade::project::{Projected, Projector};
use crossfade::scan::Mode;
use serde_json::json;

use crate::context::{Context, Unmapped, now, today};
use crate::error::Exit;
use crate::report::ReportArgs;

pub(crate) use self::dry_run::dry_run;
use self::findings::{
    COMPACTED, GONE, MISSING, coverage_findings, finding, follow_findings, keeping_findings, missing_finding,
    projection_view, replay_findings, reverse_findings,
};
pub(crate) use self::findings::{behind_changes, name_of};

const EXAMPLES: &str = "\
Examples:
  crossfade diff --report html=diff.html --report junit=diff.xml
  crossfade diff --from-log --keys differing.ndjson

Exits with 0 for PASS, 1 for FAIL, 5 for INCONCLUSIVE.";

/// Compare legacy rows with the fold of their events
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DiffArgs {
    /// Fold the whole log anew in a scratch store and compare with that, not with the projection
    #[arg(long)]
    from_log: bool,
    /// Write every differing key into this file, one JSON document a line; without it they go to
    /// .crossfade/differing-keys.ndjson
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Differing keys shown
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    samples: usize,
    /// The legacy is stopped: read a store whose journal mode would make its writers fail
    #[arg(long)]
    legacy_stopped: bool,
    #[command(flatten)]
    reports: ReportArgs,
}

/// Looks at rows that differ while nothing but a follow by passes moves the events on, before a difference counts.
const LOOKS: u32 = 4;
/// How long a transaction that is open in the log is waited for.
const SETTLES: Duration = Duration::from_secs(5);
/// How long the next pass is waited for; one is made every ten seconds while the legacy changes.
const NEXT_PASS: Duration = Duration::from_secs(15);

pub(crate) fn run(args: &DiffArgs, context: &Context) -> Result<Exit> {
    let reports = args.reports.open(context)?;
    let mut keys = Keys::new(context, args.keys.as_deref())?;
    let source = context.source(args.legacy_stopped)?;
    let unmapped = source.check()?;
    let log = context.log(false)?;
    let (mapping, migration) = (&context.mapping, &context.config.migration);
    require_topics(log.as_ref(), mapping, migration)?;
    let limits = limits(context, log.as_ref())?;
    let scratch = args.from_log.then(|| context.scratch_store()).transpose()?;
    let projection;
    let store: &dyn RowStore = if let Some(scratch) = &scratch {
        scratch.store.as_ref()
    } else {
        projection = context.store()?;
        projection.as_ref()
    };
    let capture = context.capture(None).ok();
    let progress = context.progress();
    let mut looks = Looks::default();
    let mut look = 1;
    let (mut outcome, state) = loop {
        let mut findings = coverage_findings(context, &unmapped);
        let unseen = source.blind().into_iter().map(|blind| format!("what is read does not show {blind}"));
        findings.extend(unseen.map(|text| finding("not-seen", Severity::Note, text)));
        let mut facts = vec![("legacy".to_owned(), source.describe()), ("log".to_owned(), log.describe())];
        let state = replay_findings(context, log.as_ref(), &mut findings, &mut facts)?;
        if !args.from_log {
            findings.extend(keeping_findings(log.as_ref(), mapping)?);
        }
        let gone = findings.iter().any(|finding| finding.code == GONE);
        let from = state.as_ref().map(ReplayState::begins_at).unwrap_or_default();
        let open = unsettled(log.as_ref(), mapping, SETTLES)?;
        if let Some(first) = open.first() {
            let text = format!(
                "a transaction is open at {first}, and in {} in all: what was committed behind it cannot be read yet; \
                 wait for its writer, or for its time to run out",
                counted(open.len() as u64, "partition")
            );
            findings.push(finding("open-transaction", Severity::Gap, text));
        }
        let seen = if open.is_empty() { None } else { Some(ends(log.as_ref(), mapping)?) };
        let sessions = Sessions::read(log.as_ref(), mapping, migration, seen.as_ref())?;
        // Read before the snapshot, which has all that this says.
        let sink = if sessions.is_empty() { None } else { context.sink()?.state()? };
        let Met { mut snapshot, span, position, ends: met } = meet(
            source.as_ref(),
            capture.as_ref().map(|capture| capture.as_ref() as &dyn ChangeSource),
            log.as_ref(),
            mapping,
            migration,
            now(),
            &progress,
        )?;
        if let (Some(position), Some(_)) = (&position, span) {
            let at = match position.seen.as_str() {
                "" => format!("change {} of the legacy", number(position.at)),
                seen => format!("snapshot {seen} of the legacy"),
            };
            facts.push(("compared at".to_owned(), at));
        }
        let follow = FollowState::read(log.as_ref(), migration)?;
        if args.from_log && gone {
            facts.push(("compared with".to_owned(), "nothing: the log is not whole".to_owned()));
        } else if args.from_log {
            let folded = fold(context, log.as_ref(), &from, store)?;
            if folded.foreign > 0 {
                let text = format!("{} of others in the topics passed over", counted(folded.foreign, "record"));
                findings.push(finding("foreign-records", Severity::Warning, text));
            }
            findings.extend(missing_finding(&folded, state.as_ref(), &sessions));
            facts.push(("compared with".to_owned(), "the whole log, folded anew".to_owned()));
        } else {
            facts.push(("projection".to_owned(), store.describe()));
            if follow.is_some() && !gone {
                await_store(store, &met, &progress)?;
            }
        }
        // What an open transaction hides would show as differences.
        let view = match open.first() {
            Some(_) => None,
            None => projection_view(context, (log.as_ref(), &met), store, &mut findings)?,
        };
        let stands = view.as_ref().map(|view| &view.state().positions);
        reverse_findings(context, log.as_ref(), (&sessions, sink.as_ref()), stands, &mut findings, &mut facts)?;
        let triggers_run = sink.is_some_and(|sink| sink.triggers_run);
        let told = span.is_some();
        let kept_back =
            follow_findings(context, log.as_ref(), follow.as_ref(), state.as_ref(), told, &mut findings, &mut facts)?;
        // Without recorded changes only a second look tells what is on its way from what differs.
        let passes = !told && follow.is_some_and(|follow| follow.position.incarnation.is_empty());
        let rejected = |table: &crossfade::mapping::Table, row: crossfade::mapping::Row<'_>| {
            table.broken(row).is_some()
                || context.screen.refusal(table, row).is_some()
                || crossfade::event::encode::size(table, row) > limits[table.index]
        };
        let evidence = match view {
            Some(mut view) => compare(
                Job {
                    mapping,
                    migration,
                    snapshot: snapshot.as_mut(),
                    view: view.as_mut(),
                    log: Some(log.as_ref()),
                    span,
                    looks: passes.then_some(&mut looks),
                    from: &from,
                    ignore: &context.config.ignore,
                    today: &today(),
                    rejected: &rejected,
                    redacts: context.screen.mode() == Mode::Redact,
                    max_samples: args.samples,
                    mirrored: Some(Mirrored { sessions: &sessions, triggers_run }),
                    progress: &progress,
                },
                &mut |sample| keys.write(sample),
            )?,
            None => uncompared(context, snapshot.as_mut())?,
        };
        drop(snapshot);
        let differing: u64 = evidence.tables.iter().map(TableCoverage::differing).sum();
        if evidence.moving > 0 && differing == 0 && look < LOOKS {
            let rows = counted(evidence.moving, "row");
            progress.note(&format!("{rows} differ and may be on their way: looking again ({look} of {LOOKS})"));
            next_pass(log.as_ref(), migration, state.as_ref(), &progress)?;
            looks.again();
            look += 1;
            continue;
        }
        if evidence.healed > 0 {
            let text = format!(
                "{} changed since the snapshot was taken, and equal their events up to it",
                counted(evidence.healed, "row")
            );
            findings.push(finding("healed", Severity::Note, text));
        }
        if evidence.moving > 0 {
            let text = format!("{} differed in another way at each look", counted(evidence.moving, "row"));
            findings.push(finding("moving", Severity::Gap, text));
        }
        findings.extend(crate::scan::findings(context, &evidence.found));
        let quarantined = kept_back + state.as_ref().map_or(0, |state| state.quarantined);
        if quarantined > 0 {
            let text = format!("{quarantined} rows are in quarantine and were never replayed");
            findings.push(finding("quarantined", Severity::Gap, text));
        }
        break (outcome(context, "diff", evidence, findings, facts, unmapped), state);
    };
    outcome.keys_file = keys.finish()?;
    outcome.next = Some(next(context, &outcome, state.as_ref()));
    journal_verdict(context, &outcome)?;
    reports.write(&outcome, &context.ui)?;
    Ok(Exit::of_verdict(outcome.verdict))
}

/// Waits until a follow by passes has made another one.
fn next_pass(log: &dyn EventLog, migration: &str, before: Option<&ReplayState>, progress: &dyn Progress) -> Result<()> {
    let began = Instant::now();
    while began.elapsed() < NEXT_PASS {
        progress.check()?;
        std::thread::sleep(Duration::from_millis(250));
        let now = ReplayState::read(log, migration)?.map(|(state, _)| state.reconciled);
        if now != before.map(|state| state.reconciled) {
            break;
        }
    }
    Ok(())
}

fn fold(context: &Context, log: &dyn EventLog, from: &Positions, store: &dyn RowStore) -> Result<Projected> {
    let (mapping, migration) = (&context.mapping, &context.config.migration);
    Projector { log, store, mapping, migration, from, progress: &context.progress() }.rebuild()
}

fn limits(context: &Context, log: &dyn EventLog) -> Result<Vec<usize>> {
    context.mapping.tables.iter().map(|table| log.max_record_bytes(&table.topic)).collect()
}

/// Coverage when there is nothing to compare with.
fn uncompared(context: &Context, snapshot: &mut dyn crossfade::port::legacy_source::Snapshot) -> Result<Evidence> {
    let mut evidence = Evidence::default();
    for table in &context.mapping.tables {
        let legacy_rows = snapshot.count(table)?;
        evidence.tables.push(TableCoverage {
            table: table.name.clone(),
            state: "mapped".into(),
            legacy_rows,
            skipped: legacy_rows,
            ..TableCoverage::default()
        });
    }
    Ok(evidence)
}

/// The file of all differing keys: the one asked for, or one in the state folder as soon as there is a key.
struct Keys<'a> {
    context: &'a Context,
    path: PathBuf,
    file: Option<BufWriter<std::fs::File>>,
}

impl<'a> Keys<'a> {
    fn new(context: &'a Context, asked: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| Ok(BufWriter::new(context.create_output(path)?));
        let path = asked.map_or_else(|| context.config.state_folder().join("differing-keys.ndjson"), Path::to_owned);
        Ok(Self { context, file: asked.map(open).transpose()?, path })
    }

    fn write(&mut self, sample: &Sample) -> Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(self.context.create_output(&self.path)?)),
        };
        let line = json!({"table": sample.table, "key": sample.key, "kind": sample.kind, "difference": sample.difference,
            "event": sample.event, "explained_by": sample.explained_by});
        writeln!(file, "{line}").map_err(|error| Error::failed("the file of keys could not be written").because(error))
    }

    /// The file's name, if one was written.
    fn finish(self) -> Result<Option<String>> {
        let Some(mut file) = self.file else { return Ok(None) };
        file.flush().map_err(|error| Error::failed("the file of keys could not be written").because(error))?;
        Ok(Some(self.path.display().to_string()))
    }
}

fn outcome(
    context: &Context,
    title: &str,
    evidence: Evidence,
    mut findings: Vec<Finding>,
    facts: Vec<(String, String)>,
    unmapped: Vec<Unmapped>,
) -> Outcome {
    let Evidence { mut tables, samples, findings: of_counts, .. } = evidence;
    findings.extend(of_counts);
    let (verdict, reason) = verdict(&tables, &findings);
    let left_out = |table: &String, state: &str| TableCoverage {
        table: table.clone(),
        state: state.to_owned(),
        ..TableCoverage::default()
    };
    tables.extend(unmapped.iter().map(|unmapped| left_out(&unmapped.table, "unmapped")));
    tables.extend(context.mapping.never.iter().map(|table| left_out(table, "never read")));
    Outcome {
        title: title.to_owned(),
        migration: context.config.migration.clone(),
        verdict,
        reason,
        taken_at: rfc3339(now()),
        tool: format!("crossfade {}", env!("CARGO_PKG_VERSION")),
        mapping_hash: context.mapping.hash.clone(),
        facts,
        tables,
        findings,
        ignored: context.config.ignore.clone(),
        samples,
        checks: Vec::new(),
        keys_file: None,
        steps: Vec::new(),
        next: None,
    }
}

fn next(context: &Context, outcome: &Outcome, state: Option<&ReplayState>) -> String {
    let has = |code: &str| outcome.findings.iter().any(|finding| finding.code == code);
    let projection = outcome.samples.iter().any(|sample| sample.kind != Difference::RowFold);
    let legacy = outcome.samples.iter().any(|sample| sample.kind != Difference::ProjectionFold);
    let compared = outcome.tables.iter().any(|table| table.compared + table.skipped > 0);
    let command = |command: &str| context.command(command);
    let shared = |sample: &Sample| sample.difference == Differs::Shared && sample.kind != Difference::ProjectionFold;
    match state.map(|state| state.phase) {
        _ if outcome.samples.iter().any(shared) => {
            format!("name an 'identity' that no two rows share, then {}", command("replay --recopy"))
        }
        None | Some(Phase::Base | Phase::Reconcile) => command("replay"),
        _ if has(GONE) => command("replay --recopy"),
        _ if has("projection-astray") => command("project --rebuild"),
        _ if has(MISSING) => command("replay --recopy"),
        _ if has(COMPACTED) => format!("{}, then {}", command("provision apply"), command("diff --from-log")),
        _ if has("follow-behind") => command("follow"),
        _ if has("foreign-write") => command("project --reverse --adopt ROW, or --overwrite ROW"),
        _ if has("reverse-behind") => command("project --reverse"),
        _ if has("no-projection") || has("projection-behind") => command("project"),
        _ if outcome.verdict == crossfade::base::Verdict::Pass => command("status"),
        _ if projection && legacy => format!("{}, then {}", command("replay"), command("project --rebuild")),
        _ if projection => command("project --rebuild"),
        _ if has("quarantined") => {
            format!("mend the rows in quarantine, or their rules, then {}", command("replay --recopy"))
        }
        _ if !compared => format!("{} once the legacy has rows", command("replay")),
        _ => format!("{} (brings the legacy's changes over), then {}", command("replay"), command("project")),
    }
}

fn journal_verdict(context: &Context, outcome: &Outcome) -> Result<()> {
    let detail = json!({"verdict": outcome.verdict, "reason": outcome.reason, "mapping": outcome.mapping_hash});
    context.journal()?.append(now(), Stage::Noted, 0, "diff", &detail)?;
    Ok(())
}
