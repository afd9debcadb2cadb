//! `crossfade provision check`: the cluster held against its plan.

use std::time::Duration;

use clap::Args;
use crossfade::base::{Kind, Result, Verdict, rfc3339};
use crossfade::capture::ReplayState;
use crossfade::control::missing_row_topics;
use crossfade::diff::{Checked, Outcome, Severity, checked_verdict};
use crossfade::plan::{self, Schemas, Seen};
use crossfade::port::event_log::EventLog;
use crossfade::port::identity::RowTopics;
use crossfade::provision::{self, Look, Probe, RoundTrips};
use serde_json::json;

use crate::context::{Context, now};
use crate::error::Exit;
use crate::report::ReportArgs;

/// Hold the cluster against the plan: drift, copies, retention, disks, access, schemas; changes nothing
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  crossfade provision check                                   a verdict, with what was looked at
  crossfade provision check --report junit=check.xml          and a report for CI
  crossfade provision check --probe                           and a round trip through every topic")]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    report: ReportArgs,
    /// Also try each topic by round trips; this writes small records that every reader drops
    #[arg(long)]
    probe: bool,
    /// Round trips through each topic
    #[arg(long, value_name = "N", default_value_t = 20, requires = "probe", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
}

/// The schemas as they stand, or why nobody knows.
fn schemas(context: &Context) -> Result<(Schemas, Option<Checked>)> {
    let desired = context.desired_schemas();
    match context.registry().and_then(|registry| provision::observe_schemas(registry.as_ref(), &desired)) {
        Ok(found) => Ok((Schemas { desired, found }, None)),
        Err(error) if error.kind() == Kind::Connect => {
            let unknown = Checked {
                code: "schema",
                subject: "registry".to_owned(),
                severity: Severity::Gap,
                text: error.to_string(),
                help: error.help().map(str::to_owned),
            };
            Ok((Schemas::none(), Some(unknown)))
        }
        Err(error) => Err(error),
    }
}

/// Whether what was replayed is still there.
fn event_store(context: &Context, log: &dyn EventLog) -> Result<Option<Checked>> {
    let (mapping, migration) = (&context.mapping, &context.config.migration);
    if !missing_row_topics(log, mapping, migration)?.is_empty() {
        return Ok(None);
    }
    let Some((state, _)) = ReplayState::read(log, migration)? else { return Ok(None) };
    let lost = state.lost(&RowTopics::look(log, mapping)?);
    let (severity, text, help) = match lost {
        Some(lost) => (Severity::Failure, lost.text("the replay"), Some(context.command("replay --recopy"))),
        None => (Severity::Note, format!("the events of generation {} are there", state.generation), None),
    };
    Ok(Some(Checked { code: "event-store", subject: migration.clone(), severity, text, help }))
}

fn probe(context: &Context, log: &dyn EventLog, rounds: u32, topics: &[&str]) -> Result<Vec<RoundTrips>> {
    let detail = json!({ "log": log.describe(), "topics": topics, "rounds": rounds });
    context.act_here("provision check --probe", &detail, || {
        let probe = Probe {
            log,
            migration: &context.config.migration,
            instance: &context.process.instance,
            rounds,
            patience: Duration::from_secs(30),
            progress: &context.progress(),
            now: &now,
        };
        let trips = probe.run(topics)?;
        let failed = trips.iter().filter(|trips| trips.failed.is_some()).count();
        Ok((trips, json!({ "failed": failed })))
    })
}

pub(super) fn run(args: &CheckArgs, context: &Context) -> Result<Exit> {
    let reports = args.report.open(context)?;
    let admin = context.admin(false)?;
    let desired = context.desired()?;
    let log = context.log_if_made()?;
    let observed = provision::look_closely(admin.as_ref(), log.as_deref(), &desired)?;
    let (schemas, unknown) = schemas(context)?;
    let look = Look { desired, observed, schemas };
    let plan = look.plan(admin.as_ref(), context.mechanism(), now())?;
    let Look { desired, observed, schemas } = &look;
    let planned = context.config.wishes.planned;
    let mut checks = plan::check(desired, observed, schemas, &plan, planned.days);
    checks.extend(unknown);
    checks.extend(plan::headroom(desired, observed, planned.days, planned.mb_per_day));
    let there = desired.topics.iter().filter(|topic| !topic.absent && observed.topics.contains_key(&topic.name));
    let there: Vec<&str> = there.map(|topic| topic.name.as_str()).collect();
    if let Some(log) = log.filter(|_| !there.is_empty()) {
        checks.extend(event_store(context, log.as_ref()).or_else(|error| match error.kind() {
            Kind::Refused => {
                let (subject, text) = (context.config.migration.clone(), error.to_string());
                Ok(Some(Checked { code: "event-store", subject, severity: Severity::Gap, text, help: None }))
            }
            _ => Err(error),
        })?);
        checks.extend(provision::keys(log.as_ref(), desired, observed, &context.progress())?);
        if args.probe {
            checks.extend(provision::round_trips(&probe(context, log.as_ref(), args.rounds, &there)?));
        }
    }
    checks.sort_by(|a, b| (a.code, &a.subject).cmp(&(b.code, &b.subject)));
    let (verdict, reason) = checked_verdict(&checks);
    let brokers = match &observed.brokers {
        Seen::Known(brokers) => brokers.len().to_string(),
        Seen::Hidden(why) | Seen::NotHere(why) => why.clone(),
    };
    let facts = [
        ("log", observed.home.clone()),
        ("cluster", observed.cluster_id.clone()),
        ("brokers", brokers),
        ("topics planned", desired.topics.len().to_string()),
        ("days planned", planned.days.to_string()),
    ];
    let next = context.command(match (verdict, plan.steps.is_empty()) {
        (_, false) => "provision plan",
        (Verdict::Pass, true) => "replay",
        (_, true) => "provision check",
    });
    let outcome = Outcome {
        title: "provision check".to_owned(),
        migration: desired.migration.clone(),
        verdict,
        reason,
        taken_at: rfc3339(now()),
        tool: plan.tool.clone(),
        mapping_hash: context.mapping.hash.clone(),
        facts: facts.map(|(name, value)| (name.to_owned(), value)).into(),
        tables: Vec::new(),
        findings: Vec::new(),
        checks,
        ignored: Vec::new(),
        samples: Vec::new(),
        keys_file: None,
        steps: Vec::new(),
        next: Some(next),
    };
    reports.write(&outcome, &context.ui)?;
    if args.probe {
        context.ui.note(format!("a projection stands behind the probes until the next {}", context.command("project")));
    }
    Ok(Exit::of_verdict(verdict))
}
