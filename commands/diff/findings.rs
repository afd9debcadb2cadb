//! What stands beside the rows compared: coverage, how far each engine came, and what nobody can see.

use crossfade::base::words::counted;
use crossfade::base::{Error, Result, rfc3339};
use crossfade::capture::{FollowState, Phase, ReplayState, untold};
use crossfade::diff::{Finding, Severity};
use crossfade::port::change_source::Lag;
use crossfade::port::event_log::{EventLog, Positions};
use crossfade::port::legacy_sink::SinkState;
use crossfade::port::owners::Sessions;
use crossfade::port::row_store::{RowStore, RowView};
use crossfade::project::{behind, reverse_start};

use crate::context::{Context, Unmapped, now, today};

pub(super) fn finding(code: &'static str, severity: Severity, text: impl Into<String>) -> Finding {
    Finding { code, severity, text: text.into() }
}

/// What the mapping leaves out, and the ignore rules in force.
pub(super) fn coverage_findings(context: &Context, unmapped: &[Unmapped]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for table in unmapped {
        findings.push(finding(
            "unmapped-table",
            Severity::Warning,
            format!("table {} is not mapped: nothing of it was compared", name_of(table)),
        ));
    }
    let today = today();
    for rule in &context.config.ignore {
        let (name, until) = (format!("{}.{}", rule.table, rule.column), &rule.expires);
        findings.push(if rule.expired(&today) {
            let text = format!(
                "the ignore rule for {name} expired on {until} (owner {}): renew it or mend the difference",
                rule.owner
            );
            finding("ignore-rule-expired", Severity::Failure, text)
        } else {
            finding(
                "ignore-rule",
                Severity::Note,
                format!("{name} is ignored until {until}: {} (owner {})", rule.reason, rule.owner),
            )
        });
    }
    findings
}

/// An unmapped table, with the reason where it cannot be mapped.
pub(crate) fn name_of(unmapped: &Unmapped) -> String {
    let why = unmapped.why.as_ref().map_or(String::new(), |why| format!(" ({why})"));
    format!("'{}'{why}", unmapped.table)
}

pub(super) fn replay_findings(
    context: &Context,
    log: &dyn EventLog,
    findings: &mut Vec<Finding>,
    facts: &mut Vec<(String, String)>,
) -> Result<Option<ReplayState>> {
    let Some((state, hash)) = ReplayState::read(log, &context.config.migration)? else {
        findings.push(finding("no-replay", Severity::Gap, "there was no replay yet"));
        return Ok(None);
    };
    if hash != context.mapping.hash {
        let message = "the replay was made under another mapping than the one in force";
        return Err(Error::stale(message)
            .hint("put the mapping (or scan.mode) back, or copy everything anew: crossfade replay --recopy"));
    }
    let age = (now() - state.snapshot_at).max(0) / 1000;
    facts.push((
        "replay".to_owned(),
        format!("generation {}, taken {} ({age} s ago)", state.generation, rfc3339(state.snapshot_at)),
    ));
    if state.phase != Phase::Done {
        findings.push(finding(
            "replay-unfinished",
            Severity::Gap,
            "the replay is unfinished: run 'crossfade replay' again",
        ));
    }
    Ok(Some(state))
}

/// What a follow cannot see and, unless it has `told` of the whole snapshot, has not told yet; gives the rows it put in
/// quarantine.
pub(super) fn follow_findings(
    context: &Context,
    log: &dyn EventLog,
    follow: Option<&FollowState>,
    replay: Option<&ReplayState>,
    told: bool,
    findings: &mut Vec<Finding>,
    facts: &mut Vec<(String, String)>,
) -> Result<u64> {
    let lag = if told { None } else { behind_changes(context, log)? };
    if let Some(lag) = lag.filter(Lag::any) {
        let lacks = match lag.changes {
            0 => format!("what lies in {} of the legacy's own log", counted(lag.bytes, "byte")),
            changes => format!("{} of the legacy", counted(changes, "change")),
        };
        let text = format!("the log lacks {lacks}: run 'crossfade follow'");
        findings.push(finding("follow-behind", Severity::Gap, text));
    }
    let Some(state) = follow else { return Ok(0) };
    facts.push(("follow".to_owned(), format!("by {}, last event taken {}", state.mode, rfc3339(state.taken_at))));
    for blind in &state.blind {
        findings.push(finding(
            "follow-blind",
            Severity::Note,
            format!("follow by {} does not see {blind}", state.mode),
        ));
    }
    let current =
        replay.is_some_and(|replay| replay.reconciled == state.reconciled && replay.generation == state.generation);
    Ok(if current { state.quarantined } else { 0 })
}

/// How far reverse came, and what stands against it.
pub(super) fn reverse_findings(
    context: &Context,
    log: &dyn EventLog,
    (sessions, sink): (&Sessions, Option<&SinkState>),
    projected: Option<&Positions>,
    findings: &mut Vec<Finding>,
    facts: &mut Vec<(String, String)>,
) -> Result<()> {
    if sessions.is_empty() {
        return Ok(());
    }
    facts.push(("owned by events".to_owned(), counted(sessions.owners.owned(), "session")));
    for (key, foreign) in &sessions.foreign {
        let row = crate::project::reverse::row_text(context, key, sessions);
        let (topic, partition, offset) = &foreign.place;
        let text = format!("somebody wrote a row that events own in the legacy: {row} ({topic}[{partition}]@{offset})");
        findings.push(finding("foreign-write", Severity::Failure, text));
    }
    if let Some((sink, first)) = sink.and_then(|sink| Some((sink, sink.kept.values().next()?))) {
        let rows = counted(sink.kept.len() as u64, "row");
        let text = format!(
            "the legacy's schema does not take {rows} of reverse; the first: table '{}', row {}: {}",
            first.table, first.row, first.reason
        );
        findings.push(finding("reverse-refused", Severity::Failure, text));
    }
    let stands = sink.map(|sink| sink.positions.clone()).unwrap_or_default();
    let start = reverse_start(log, &context.mapping, &context.config.migration, &stands)?.unwrap_or_default();
    let behind = |(place, at): &(&(String, i32), &i64)| {
        projected.is_some_and(|positions| positions.get(*place).is_some_and(|projected| projected > *at))
    };
    let late = start.iter().find(behind).filter(|_| sessions.owners.owned() > 0);
    if let Some(((topic, partition), at)) = late {
        let text = format!("reverse stands at {topic}[{partition}]@{at}: run 'crossfade project --reverse'");
        findings.push(finding("reverse-behind", Severity::Gap, text));
    }
    Ok(())
}

/// Changes recorded in the legacy that the log does not have; `None` where none are recorded since what the log has.
pub(crate) fn behind_changes(context: &Context, log: &dyn EventLog) -> Result<Option<Lag>> {
    let Ok(capture) = context.capture(None) else { return Ok(None) };
    let Ok(incarnation) = capture.incarnation() else { return Ok(None) };
    untold(capture.as_ref(), &incarnation, log, &context.config.migration)
}

/// A view of the projection, or why there is none.
pub(super) fn projection_view(
    context: &Context,
    ends: &Positions,
    store: &dyn RowStore,
    findings: &mut Vec<Finding>,
) -> Result<Option<Box<dyn RowView>>> {
    let whole = store.state()?.filter(|state| !state.rebuilding);
    let Some(state) = whole else {
        findings.push(finding("no-projection", Severity::Gap, "there is no whole projection: run 'crossfade project'"));
        return Ok(None);
    };
    if state.mapping_hash != context.mapping.hash {
        return Err(Error::stale("the projection was made under another mapping").hint("crossfade project --rebuild"));
    }
    let view = store.view(&context.mapping)?;
    for (topic, partition, at, end) in behind(ends, &view.state().positions) {
        let text = format!(
            "the projection stands at {topic}[{partition}]@{at}, the log ends at {end}: run 'crossfade project'"
        );
        findings.push(finding("projection-behind", Severity::Gap, text));
    }
    Ok(Some(view))
}
