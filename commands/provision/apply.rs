//! `crossfade provision apply`: the plan, made true.

use std::path::PathBuf;

use clap::Args;
use crossfade::base::{Error, Result};
use crossfade::plan::{self, Action, Consent, Plan, Step};
use crossfade::port::claims;
use crossfade::port::event_log::own_topics;
use crossfade::port::journal::{Entry, Stage};
use crossfade::provision::{self, Applied, Claimant, Look, Places};
use crossfade::report::plan::summary;
use crossfade::report::table::grid;
use serde_json::json;

use super::look;
use crate::context::{Context, now, read_text};
use crate::error::{Exit, words};
use crate::ui::Output;

/// Make the plan true, or what is left of it; nothing that was not declared is touched
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  crossfade provision apply                   plan and apply in one
  crossfade provision apply plan.json         exactly that plan; refused when the cluster has changed since
  crossfade provision apply --allow topic-delete --confirm old.events
Run it again after a kill: it goes on where it stopped.")]
pub(crate) struct ApplyArgs {
    /// A plan written by `provision plan -o`
    plan: Option<PathBuf>,
    /// Agree to changes that need a flag, by their reason code; repeatable
    #[arg(long, value_name = "REASON")]
    allow: Vec<String>,
    /// Name what will be changed for ever; repeatable
    #[arg(long, value_name = "NAME")]
    confirm: Vec<String>,
    /// Only give up this topic for another migration to claim; repeatable
    #[arg(long, value_name = "TOPIC", conflicts_with_all = ["plan", "allow", "confirm"])]
    release: Vec<String>,
}

/// The act's name in the journal.
const ACT: &str = "provision apply";

pub(super) fn run(args: &ApplyArgs, context: &Context) -> Result<Exit> {
    if !args.release.is_empty() {
        return release(&args.release, context);
    }
    let given =
        args.plan.as_ref().map(|path| Plan::parse(&path.display().to_string(), &read_text(path)?)).transpose()?;
    let new = context.log_missing().is_some();
    let (admin, registry) = (context.admin(true)?, context.registry()?);
    let log = context.log(false)?;
    let claimant = Some(Claimant { log: Some(log.as_ref()), instance: &context.process.instance, now: &now });
    let places = Places { admin: admin.as_ref(), registry: registry.as_ref(), claimant };
    let look = look(context, places)?;
    let (plan, hash) = match given {
        Some(plan) => {
            let hash = plan.hash()?;
            let mut steps = remaining(context, &look, &plan, &hash, new)?;
            // The brokers may think otherwise by now.
            provision::ask(places.admin, &mut steps)?;
            (Plan { steps, ..plan }, hash)
        }
        None => {
            let plan = look.plan(places.admin, context.mechanism(), now())?;
            let hash = plan.hash()?;
            (plan, hash)
        }
    };
    plan.judge(&Consent {
        allow: args.allow.iter().cloned().collect(),
        confirm: args.confirm.iter().cloned().collect(),
    })?;
    context.ui.note(format!("plan: {}", summary(&plan)));
    for manual in &plan.manual {
        context.ui.note(format!("by hand, {} {}: {}\n    {}", manual.kind, manual.name, manual.reason, manual.command));
    }
    // The run lock lives in the tool's own topics, so these come before it; making them twice does no harm.
    let own: Vec<String> = own_topics(&context.config.migration).into_iter().map(|topic| topic.name).collect();
    let (first, rest): (Vec<Step>, Vec<Step>) = plan
        .steps
        .iter()
        .cloned()
        .partition(|step| matches!(step.action(), Some(Action::CreateTopic { name, .. }) if own.contains(name)));
    let mut applied = Vec::new();
    let mut ended = Ok(());
    if !first.is_empty() {
        let detail = json!({ "plan": hash, "log": plan.home, "steps": items(&first) });
        ended = context.act_here(ACT, &detail, || take(context, places, &first, &mut applied));
    }
    if !rest.is_empty() && ended.is_ok() {
        let detail = json!({ "plan": hash, "log": plan.home, "steps": items(&rest) });
        ended = context.act(log.as_ref(), ACT, &detail, || take(context, places, &rest, &mut applied));
    }
    // Taken in this order, so what is left is what follows; one item may have several steps.
    let left: Vec<&Step> = first.iter().chain(&rest).skip(applied.len()).collect();
    show(context, &plan, &applied, &left, ended.as_ref().err())?;
    ended.map(|()| Exit::Good)
}

/// Gives topics up, so that another migration may have them.
fn release(topics: &[String], context: &Context) -> Result<Exit> {
    let log = context.log(false)?;
    let migration = &context.config.migration;
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    context.act(log.as_ref(), "provision apply --release", &json!({ "topics": topics }), || {
        claims::release(log.as_ref(), (migration, &context.process.instance), &names, now())?;
        Ok(((), json!({ "topics": topics })))
    })?;
    let text = format!("given up: {}", topics.join(", "));
    match context.ui.output {
        Output::Table => context.ui.line(text)?,
        _ => context.ui.json(&json!({ "schema_version": 1, "released": topics }))?,
    }
    context.ui.note(format!("next: {} claims it again", context.command("provision apply")));
    Ok(Exit::Good)
}

/// What is left of a plan made earlier, or why it may no longer be applied.
fn remaining(context: &Context, look: &Look, plan: &Plan, hash: &str, new: bool) -> Result<Vec<Step>> {
    let Look { desired, observed, schemas } = look;
    let stale = |what: &str| {
        Err(Error::stale(format!("{what}; nothing was done")).hint("make it anew: crossfade provision plan -o FILE"))
    };
    if plan.migration != desired.migration {
        let (made, here) = (&plan.migration, &desired.migration);
        return stale(&format!("the plan is for the migration '{made}', this one is '{here}'"));
    }
    if plan.desired != plan::wishes_hash(desired, &schemas.desired)? {
        return stale("crossfade.yaml or the mapping has changed since the plan was made");
    }
    let entries = if context.journal_path().exists() { context.journal_entries()? } else { Vec::new() };
    let begun = |entry: &Entry| {
        entry.act == ACT
            && entry.stage == Stage::Announced
            && serde_json::from_str::<serde_json::Value>(&entry.detail).is_ok_and(|detail| detail["plan"] == hash)
    };
    let begun = entries.iter().any(begun);
    // A log that was not there when the plan was made had no id.
    let same = plan.cluster_id == observed.cluster_id || (plan.cluster_id.is_empty() && (new || begun));
    if !same {
        let both = format!("made for the cluster '{}', this one is '{}'", plan.cluster_id, observed.cluster_id);
        return stale(&format!("the plan was {both}"));
    }
    let now = plan::fingerprints(desired, observed, &schemas.found);
    plan.remaining(&now, begun, &plan::steps(desired, observed, schemas))
}

fn items(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.item.as_str()).collect()
}

fn take(
    context: &Context,
    places: Places<'_>,
    steps: &[Step],
    applied: &mut Vec<Applied>,
) -> Result<((), serde_json::Value)> {
    let (taken, error) = provision::apply(places, steps, &context.recorder()?, &context.progress());
    let told = json!({ "taken": taken.len(), "of": steps.len() });
    applied.extend(taken);
    match error {
        None => Ok(((), told)),
        Some(error) => Err(error),
    }
}

fn show(context: &Context, plan: &Plan, applied: &[Applied], left: &[&Step], error: Option<&Error>) -> Result<()> {
    let ui = &context.ui;
    if ui.output == Output::Table {
        let mut rows: Vec<Vec<String>> = applied
            .iter()
            .map(|done| {
                vec![
                    done.item.clone(),
                    "done".into(),
                    done.changes.to_string(),
                    format!("{} ms", done.took.as_millis()),
                ]
            })
            .collect();
        if error.is_some() {
            rows.extend(
                left.iter().map(|step| {
                    vec![step.item.clone(), "not done".into(), step.changes.len().to_string(), String::new()]
                }),
            );
        }
        if rows.is_empty() {
            ui.line(format!("nothing to do: everything is as planned ({})", plan.home))?;
        } else {
            ui.line(grid(&["item", "result", "changes", "took"], &rows, ui.width()))?;
        }
        if error.is_none() {
            ui.note(format!("next: {}", context.command("replay")));
        }
        return Ok(());
    }
    let done = applied.iter().map(|done| {
        json!({"item": done.item, "result": "done", "changes": done.changes, "ms": done.took.as_millis() as u64})
    });
    let not_done = left.iter().filter(|_| error.is_some());
    let not_done = not_done.map(|step| json!({"item": step.item, "result": "not-done", "changes": step.changes.len()}));
    let items: Vec<_> = done.chain(not_done).collect();
    ui.json(&json!({
        "schema_version": 1,
        "log": plan.home,
        "items": items,
        "manual": plan.manual,
        "error": error.map(words),
    }))
}
