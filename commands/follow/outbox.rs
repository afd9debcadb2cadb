//! `crossfade follow --install` and `--uninstall`: the outbox in the legacy's file.

use crossfade::base::words::counted;
use crossfade::base::{Error, Result};
use crossfade::port::boundary::boundary;
use crossfade::port::journal::{Journal, Stage};
use serde_json::{Value, json};

use crate::context::{Context, FOLLOW_STEP, now};
use crate::error::Exit;
use crate::ui::Output;

/// Nothing on the legacy's file is changed without its migration's name.
fn consent(context: &Context, confirm: Option<&str>, what: &str) -> Result<()> {
    let name = &context.config.migration;
    match confirm {
        Some(given) if given == name => Ok(()),
        Some(given) => Err(Error::refused(format!("this migration is '{name}', not '{given}'; nothing was changed"))
            .hint(format!("--confirm {name}"))),
        None => Err(Error::refused(format!("{what} changes the legacy's file; nothing was changed"))
            .hint(format!("read the statements above, then say so by name: --confirm {name}"))),
    }
}

pub(super) fn install(confirm: Option<&str>, context: &Context) -> Result<Exit> {
    context.sqlite_source(false)?.check()?;
    let outbox = context.outbox()?;
    let planned = outbox.plan()?;
    let ui = &context.ui;
    if planned.whole {
        return told(context, "the outbox is there, whole and as this mapping wants it: nothing to do", &[], None);
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
    consent(context, confirm, "an outbox")?;
    let steps: Vec<Value> = planned
        .remove
        .iter()
        .map(|sql| json!({"sql": sql, "back": "crossfade follow --install"}))
        .chain(planned.make.iter().map(|statement| json!({"sql": statement.sql, "back": statement.back})))
        .collect();
    let incarnation = uuid::Uuid::new_v4().to_string();
    let detail = json!({"store": context.legacy_name()?, "incarnation": incarnation});
    let held = context.act_here("follow install", &detail, || {
        let held = stepwise(context, &steps, || outbox.install(&planned, &incarnation))?;
        Ok((held, json!({ "held_ms": held.as_millis() as u64 })))
    })?;
    let text = format!(
        "outbox made by {} in one transaction of {:.1} ms",
        counted(planned.make.len() as u64, "statement"),
        held.as_secs_f64() * 1000.0
    );
    ui.note(format!("next: {}", context.command("replay")));
    told(context, &text, &statements, Some(held.as_secs_f64() * 1000.0))
}

pub(super) fn uninstall(confirm: Option<&str>, context: &Context) -> Result<Exit> {
    let outbox = context.outbox()?;
    let planned = outbox.planned_removal()?;
    if planned.is_empty() {
        return told(context, "there is no outbox of this migration: nothing to do", &[], None);
    }
    let statements: Vec<&str> = planned.iter().map(String::as_str).collect();
    show(context, &statements)?;
    consent(context, confirm, "taking the outbox away")?;
    let steps: Vec<Value> =
        planned.iter().map(|sql| json!({"sql": sql, "back": "crossfade follow --install"})).collect();
    context.act_here("follow uninstall", &json!({ "store": context.legacy_name()? }), || {
        stepwise(context, &steps, || outbox.remove())?;
        Ok(((), json!({ "statements": steps.len() })))
    })?;
    told(context, "the outbox is gone; what it held and the log had not is gone with it", &statements, None)
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
