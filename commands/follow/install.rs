//! `crossfade follow --install` and `--uninstall`: what records changes in the legacy store.

use crossfade::base::words::counted;
use crossfade::base::{Error, Result};
use crossfade::port::boundary::boundary;
use crossfade::port::journal::{Journal, Stage};
use serde_json::{Value, json};

use crate::context::{Capturing, Context, FOLLOW_STEP, now};
use crate::error::Exit;
use crate::ui::Output;

/// Nothing in the legacy store is changed without its migration's name.
fn consent(context: &Context, confirm: Option<&str>, what: &str) -> Result<()> {
    let name = &context.config.migration;
    match confirm {
        Some(given) if given == name => Ok(()),
        Some(given) => Err(Error::refused(format!("this migration is '{name}', not '{given}'; nothing was changed"))
            .hint(format!("--confirm {name}"))),
        None => Err(Error::refused(format!("{what} changes the legacy store; nothing was changed"))
            .hint(format!("read the statements above, then say so by name: --confirm {name}"))),
    }
}

pub(super) fn install(mode: Option<Capturing>, confirm: Option<&str>, wait: u64, context: &Context) -> Result<Exit> {
    context.source(false)?.check()?;
    let capture = context.capture_waiting(mode, context.patience(Some(wait)))?;
    let planned = capture.plan()?;
    let noun = noun(capture.mode());
    let ui = &context.ui;
    if planned.whole {
        let text = format!("the {noun} is there, whole and as this mapping wants it: nothing to do");
        return told(context, &text, &[], None);
    }
    let statements: Vec<&str> = planned
        .remove
        .iter()
        .map(String::as_str)
        .chain(planned.make.iter().map(|statement| statement.sql.as_str()))
        .collect();
    show(context, &statements)?;
    for note in &planned.notes {
        ui.note(note);
    }
    consent(context, confirm, &format!("the {noun}"))?;
    let steps: Vec<Value> = planned
        .remove
        .iter()
        .map(|sql| json!({"sql": sql, "back": "crossfade follow --install"}))
        .chain(planned.make.iter().map(|statement| json!({"sql": statement.sql, "back": statement.back})))
        .collect();
    let incarnation = uuid::Uuid::new_v4().to_string();
    let detail = json!({"store": context.legacy_name(), "mode": capture.mode(), "incarnation": incarnation});
    let held = context.act_here("follow install", &detail, || {
        let held = stepwise(context, &steps, || capture.install(&planned, &incarnation, &context.progress()))?;
        Ok((held, json!({ "held_ms": held.as_millis() as u64 })))
    })?;
    let text = format!(
        "{noun} made by {}; writers waited {:.1} ms at most",
        counted(planned.make.len() as u64, "statement"),
        held.as_secs_f64() * 1000.0
    );
    ui.note(format!("next: {}", context.command("replay")));
    told(context, &text, &statements, Some(held.as_secs_f64() * 1000.0))
}

pub(super) fn uninstall(confirm: Option<&str>, wait: u64, context: &Context) -> Result<Exit> {
    let capture = context.capture_waiting(None, context.patience(Some(wait)))?;
    let planned = capture.planned_removal()?;
    let noun = noun(capture.mode());
    if planned.is_empty() {
        return told(context, &format!("there is no {noun} of this migration: nothing to do"), &[], None);
    }
    let statements: Vec<&str> = planned.iter().map(String::as_str).collect();
    show(context, &statements)?;
    consent(context, confirm, &format!("taking the {noun} away"))?;
    let steps: Vec<Value> =
        planned.iter().map(|sql| json!({"sql": sql, "back": "crossfade follow --install"})).collect();
    context.act_here("follow uninstall", &json!({ "store": context.legacy_name() }), || {
        stepwise(context, &steps, || capture.remove())?;
        Ok(((), json!({ "statements": steps.len() })))
    })?;
    let text = format!("the {noun} is gone; what it held and the log had not is gone with it");
    told(context, &text, &statements, None)
}

/// What a mode installs.
fn noun(mode: &str) -> &'static str {
    if mode == "outbox" { "outbox" } else { "slot" }
}

/// Announces every step with its way back, acts, and tells how they ended: the act is one transaction, which the
/// journal's writes must not make longer.
fn stepwise<T>(context: &Context, steps: &[Value], act: impl FnOnce() -> Result<T>) -> Result<T> {
    let journal = context.journal()?;
    let mut announced = Vec::with_capacity(steps.len());
    for step in steps {
        announced.push(journal.append(now(), Stage::Announced, 0, FOLLOW_STEP, step)?);
        boundary("journal.announced");
    }
    let done = act();
    let stage = if done.is_ok() { Stage::Done } else { Stage::Failed };
    for (entry, step) in announced.iter().zip(steps) {
        journal.append(now(), stage, entry.seq, FOLLOW_STEP, &json!({ "sql": step["sql"] }))?;
        boundary("journal.done");
    }
    done
}

fn show(context: &Context, statements: &[&str]) -> Result<()> {
    if context.ui.output == Output::Table {
        context.ui.line(statements.iter().map(|sql| format!("{sql};\n")).collect::<String>())?;
    }
    Ok(())
}

fn told(context: &Context, text: &str, statements: &[&str], held_ms: Option<f64>) -> Result<Exit> {
    if context.ui.output == Output::Table {
        context.ui.line(text)?;
    } else {
        context.ui.json(&json!({"schema_version": 1, "told": text, "statements": statements, "held_ms": held_ms}))?;
    }
    Ok(Exit::Good)
}
