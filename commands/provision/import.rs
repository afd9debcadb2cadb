//! `crossfade provision import`: a cluster's topics as YAML.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use crossfade::base::words::counted;
use crossfade::base::{Error, Result};
use crossfade::plan;
use crossfade::port::claims::claims_topic;
use crossfade::port::event_log::own_topics;
use crossfade::port::topic_admin::{Scope, Topics};

use crate::context::Context;
use crate::error::Exit;

/// Write the topics of a live cluster as a `topics` block for crossfade.yaml, which plans to no change
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  crossfade provision import                          all topics, on stdout
  crossfade provision import --prefix shop. -o topics.yaml")]
pub(crate) struct ImportArgs {
    /// Only topics whose name begins so
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    prefix: String,
    /// Write to a file instead of stdout
    #[arg(long = "out", short, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: &ImportArgs, context: &Context) -> Result<Exit> {
    let file = args.out.as_ref().map(|path| context.create_output(path)).transpose()?;
    let scope = Scope { configs: Topics::Prefixed(args.prefix.clone()), ..Scope::default() };
    let observed = context.admin(false)?.observe(&scope)?;
    let own = own_topics(&context.config.migration).into_iter().chain([claims_topic()]).map(|topic| topic.name);
    let own = own.collect();
    let (yaml, count) = plan::import(&observed, &args.prefix, &context.config.wishes.prefix, &own);
    match file {
        Some(mut file) => file
            .write_all(yaml.as_bytes())
            .map_err(|error| Error::failed("the YAML could not be written").because(error))?,
        None => context.ui.result(yaml.as_bytes())?,
    }
    context.ui.note(format!("{} of {}", counted(count as u64, "topic"), observed.home));
    context.ui.note(format!(
        "next: put the block into {}, then {}",
        context.config.file.display(),
        context.command("provision plan")
    ));
    Ok(Exit::Good)
}
