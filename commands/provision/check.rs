//! `crossfade provision check`: the cluster held against its plan.

use clap::Args;
use crossfade::base::{Result, rfc3339};
use crossfade::diff::{Outcome, checked_verdict};
use crossfade::plan::{self, Seen};
use crossfade::provision;

use crate::context::{Context, now};
use crate::error::Exit;
use crate::report::ReportArgs;

/// Hold the cluster against the plan: drift, copies, retention, access, schemas; changes nothing
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  crossfade provision check                                   a verdict, with what was looked at
  crossfade provision check --report junit=check.xml          and a report for CI")]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    report: ReportArgs,
}

pub(super) fn run(args: &CheckArgs, context: &Context) -> Result<Exit> {
    let reports = args.report.open(context)?;
    let admin = context.admin(false)?;
    let desired = context.desired()?;
    let observed = provision::look_closely(admin.as_ref(), &desired)?;
    let plan = provision::plan(admin.as_ref(), &desired, &observed, context.mechanism(), now())?;
    let planned = context.config.wishes.planned;
    let mut checks = plan::check(&desired, &observed, &plan, planned.days);
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
    let next = match plan.steps.is_empty() {
        true => context.command("replay"),
        false => context.command("provision plan"),
    };
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
    Ok(Exit::of_verdict(verdict))
}
