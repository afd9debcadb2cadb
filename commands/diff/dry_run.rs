//! The dry run of `replay`: a diff to come.

use crossfade::base::Result;
use crossfade::base::words::counted;
use crossfade::capture::{DryRunLog, Phase, Rejected, Replay, ReplayState, Settings};
use crossfade::compare::{Job, compare};
use crossfade::control::{missing_row_topics, missing_topics};
use crossfade::diff::{Severity, TableCoverage};
use crossfade::event::codec::Exact;
use crossfade::port::event_log::{EventLog, Positions, ends};
use crossfade::port::identity::RowTopics;
use crossfade::port::legacy_source::LegacySource;
use crossfade::port::memory_log::MemoryLog;
use crossfade::scan::{Mode, mask};

use crate::context::{Context, Unmapped, now, today};
use crate::error::Exit;
use crate::report::Reports;

use super::findings::{coverage_findings, finding};
use super::{fold, outcome};

/// What `replay` would do, as a diff between the legacy and what the log already holds; nothing is changed.
pub(crate) fn dry_run(
    context: &Context,
    source: &dyn LegacySource,
    unmapped: Vec<Unmapped>,
    reports: Reports,
    recopy: bool,
) -> Result<Exit> {
    // Without a log all its topics are missing.
    let (log, place): (Box<dyn EventLog>, String) = match context.log_missing() {
        Some(missing) => (Box::new(MemoryLog::default()), missing),
        None => {
            let log = context.log(false)?;
            let place = log.describe();
            (log, place)
        }
    };
    let (mapping, migration) = (&context.mapping, &context.config.migration);
    let missing = match missing_row_topics(log.as_ref(), mapping, migration)? {
        none if none.is_empty() => none,
        // Whoever makes these makes the others, too.
        _ => missing_topics(log.as_ref(), mapping, migration)?,
    };
    let mut steps: Vec<String> = missing
        .iter()
        .map(|topic| {
            format!(
                "create topic {} ({})",
                topic.name,
                counted(u64::from(topic.partitions.unsigned_abs()), "partition")
            )
        })
        .collect();
    let stand_in = context.empty_log()?;
    let log: &dyn EventLog = if missing.is_empty() { log.as_ref() } else { &stand_in };
    let state = ReplayState::read(log, &context.config.migration)?.map(|(state, _)| state);
    steps.push(format!("take the run lock of '{}' and open the writer {0}/replay", context.config.migration));
    let mut rejected_rows = Vec::new();
    let dry = DryRunLog::new(log);
    if recopy || state.as_ref().is_none_or(|state| state.phase == Phase::Base) {
        let mut settings = Settings::new(&context.config.migration, &context.process.instance);
        settings.recopy = recopy;
        let (progress, mapping) = (context.progress(), &context.mapping);
        let replay =
            Replay { source, log: &dry, mapping, codec: &Exact, settings: &settings, progress: &progress, now: &now };
        let copied = replay.copy(Some(&mut |rejected: &Rejected<'_>| {
            rejected_rows.push(format!(
                "table '{}', row {}: {}",
                rejected.table.name,
                mask(&rejected.table.identity_text(rejected.row)),
                rejected.reason
            ));
            Ok(())
        }))?;
        for table in &context.mapping.tables {
            let rows = copied.state.copied.get(&table.name).copied().unwrap_or(0);
            steps.push(format!("copy table {} to {} ({})", table.name, table.topic, counted(rows, "row")));
        }
        steps.push(format!(
            "commit {} in transactions of {}",
            counted(dry.records() as u64, "event"),
            counted(context.config.replay.transaction_rows, "row")
        ));
    }
    if recopy || state.is_some() {
        steps.push("fold the log to its end and write an event for every row that differs (reconcile)".to_owned());
    }
    let scratch = context.scratch_store()?;
    let from = match &state {
        Some(state) => {
            let found = RowTopics::look(log, mapping)?;
            if recopy && state.lost(&found).is_some() {
                ends(log, mapping)?
            } else {
                state.require(&found)?;
                state.begins_at()
            }
        }
        None => Positions::new(),
    };
    fold(context, log, &from, scratch.store.as_ref())?;
    let mut view = scratch.store.view(&context.mapping)?;
    let mut snapshot = source.snapshot()?;
    let evidence = compare(
        Job {
            mapping: &context.mapping,
            migration: &context.config.migration,
            snapshot: snapshot.as_mut(),
            view: view.as_mut(),
            log: None,
            span: None,
            looks: None,
            from: &Positions::new(),
            ignore: &[],
            today: &today(),
            rejected: &|table, row| table.broken(row).is_some() || context.screen.refusal(table, row).is_some(),
            redacts: context.screen.mode() == Mode::Redact,
            max_samples: 20,
            mirrored: None,
            progress: &context.progress(),
        },
        &mut |_| Ok(()),
    )?;
    let mut findings = coverage_findings(context, &unmapped);
    findings.extend(crate::scan::findings(context, &evidence.found));
    findings.extend(rejected_rows.iter().take(20).map(|text| finding("row-rejected", Severity::Failure, text.clone())));
    let facts = vec![("legacy".to_owned(), source.describe()), ("log".to_owned(), place)];
    let mut outcome = outcome(context, "replay --dry-run", evidence, findings, facts, unmapped);
    let differing: u64 = outcome.tables.iter().map(TableCoverage::differing).sum();
    if rejected_rows.is_empty() {
        // A dry run judges nothing: rows to be written are what it was asked for.
        outcome.reason = format!("{} would be written as events; nothing was changed", counted(differing, "row"));
    }
    outcome.steps = steps;
    outcome.next = Some(context.command(if missing.is_empty() { "replay" } else { "provision apply" }));
    reports.write(&outcome, &context.ui)?;
    Ok(if rejected_rows.is_empty() { Exit::Good } else { Exit::Negative })
}
