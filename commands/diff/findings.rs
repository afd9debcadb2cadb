//! What stands beside the rows compared: coverage, how far each engine came, and what nobody can see.

use std::collections::BTreeSet;

use crossfade::base::words::{counted, number};
use crossfade::base::{Error, Result, rfc3339};
use crossfade::capture::{FollowState, Phase, ReplayState, untold};
use crossfade::diff::{Finding, Severity};
use crossfade::mapping::Mapping;
use crossfade::port::change_source::Lag;
use crossfade::port::event_log::{EventLog, Positions};
use crossfade::port::identity::RowTopics;
use crossfade::port::legacy_sink::SinkState;
use crossfade::port::owners::Sessions;
use crossfade::port::row_store::{RowStore, RowView};
use crossfade::project::{Projected, behind, reverse_start};

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
    if let Some(lost) = state.lost(&RowTopics::look(log, &context.mapping)?) {
        findings.push(finding(
            GONE,
            Severity::Gap,
            format!("{}: run 'crossfade replay --recopy'", lost.text("the replay")),
        ));
    }
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
    let generation = replay.map(|replay| replay.generation);
    if let Some(gaps) = Some(&state.gaps).filter(|gaps| gaps.count > 0 && generation == Some(state.generation)) {
        let text = format!(
            "follow met {}, after which rows were compared: what they were in between is in no event; the last: {}",
            counted(gaps.count, "gap"),
            gaps.last
        );
        findings.push(finding("follow-gap", Severity::Note, text));
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

/// Events that the replay wrote are not in the log any more.
pub(super) const GONE: &str = "events-gone";

/// Events may have been compacted away.
pub(super) const COMPACTED: &str = "events-compacted";

/// A whole fold has seen fewer events than were written.
pub(super) const MISSING: &str = "events-missing";

/// Topics of rows that keep only the newest event of each key. What was taken away does not show in a projection made before.
pub(super) fn keeping_findings(log: &dyn EventLog, mapping: &Mapping) -> Result<Vec<Finding>> {
    let topics: BTreeSet<&str> = mapping.tables.iter().map(|table| table.topic.as_str()).collect();
    let mut findings = Vec::new();
    for topic in topics {
        let policy = log.topic_config(topic, "cleanup.policy")?.unwrap_or_default();
        if policy.split(',').any(|word| word.trim() == "compact") {
            let text = format!(
                "cleanup.policy={policy} of '{topic}' keeps only the newest event of each key: the projection may hold what the log no longer says; 'crossfade diff --from-log' looks"
            );
            findings.push(finding(COMPACTED, Severity::Gap, text));
        }
    }
    Ok(findings)
}

/// Events of one generation are numbered without a gap; those of other types have numbers, too, where anything was ever
/// transferred.
pub(super) fn missing_finding(folded: &Projected, state: Option<&ReplayState>, sessions: &Sessions) -> Option<Finding> {
    let state = state.filter(|_| sessions.is_empty())?;
    let seen = folded.newest;
    let written = if seen.generation == state.generation { seen.last.max(state.count) } else { state.count };
    let there = if seen.generation == state.generation { seen.events } else { 0 };
    (there < written).then(|| {
        let text = format!(
            "of {} of generation {} the log has {}: others were compacted away or have expired",
            counted(written, "event"),
            state.generation,
            number(there)
        );
        finding(MISSING, Severity::Gap, text)
    })
}

/// A view of the projection, or why there is none.
pub(super) fn projection_view(
    context: &Context,
    (log, ends): (&dyn EventLog, &Positions),
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
    let found = RowTopics::look(log, &context.mapping)?;
    if let Some(lost) = found.lost(&state.topics, &state.positions) {
        let text = format!("{}: run 'crossfade project --rebuild'", lost.text("the projection"));
        findings.push(finding("projection-astray", Severity::Gap, text));
        return Ok(None);
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
