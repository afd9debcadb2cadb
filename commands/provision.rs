//! `crossfade provision`: the topics of the plan.

use clap::{Args, Subcommand};
use crossfade::base::Result;
use crossfade::base::words::counted;
use crossfade::control::missing_topics;
use crossfade::port::boundary::boundary;
use crossfade::port::event_log::own_topics;
use serde_json::json;

use crate::context::Context;
use crate::error::Exit;
use crate::ui::Output;

/// Create what the log lacks
#[derive(Args, Debug)]
pub(crate) struct ProvisionArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create the topics that are missing; those that exist are left as they are
    Apply,
}

pub(crate) fn run(args: &ProvisionArgs, context: &Context) -> Result<Exit> {
    match args.verb {
        Verb::Apply => apply(context),
    }
}

fn apply(context: &Context) -> Result<Exit> {
    let log = context.log(true)?;
    let migration = &context.config.migration;
    let missing = missing_topics(log.as_ref(), &context.mapping, migration)?;
    let names: Vec<&str> = missing.iter().map(|topic| topic.name.as_str()).collect();
    if !missing.is_empty() {
        // The run lock lives in the tool's own topics, so these come first; creating them twice does no harm.
        log.create_topics(&own_topics(migration))?;
        boundary("provision.own-topics-created");
        let detail = json!({ "log": log.describe(), "create": names });
        context.act(log.as_ref(), "provision apply", &detail, || {
            let rest = missing_topics(log.as_ref(), &context.mapping, migration)?;
            log.create_topics(&rest)?;
            Ok(((), json!({ "created": names })))
        })?;
    }
    let ui = &context.ui;
    if ui.output == Output::Table {
        for topic in &missing {
            ui.line(format!(
                "+ {} ({})",
                topic.name,
                counted(u64::from(topic.partitions.unsigned_abs()), "partition")
            ))?;
        }
        let rest = if missing.is_empty() { "nothing to do: every topic is there" } else { "topics created" };
        ui.line(format!("{rest} ({})", log.describe()))?;
        ui.note(format!("next: {}", context.command("replay")));
    } else {
        ui.json(&json!({"schema_version": 1, "log": log.describe(), "created": names}))?;
    }
    Ok(Exit::Good)
}
