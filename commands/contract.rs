//! `crossfade contract`: what the events are, for those who read them.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use crossfade::base::words::counted;
use crossfade::base::{Error, Result};
use crossfade::config::Home;
use crossfade::contract::Contract;
use crossfade::plan::COPIES;
use serde_json::json;

use crate::context::Context;
use crate::error::Exit;
use crate::ui::Output;

const EXAMPLES: &str = "\
Examples:
  crossfade contract export > events.asyncapi.json
  crossfade contract export -o events.asyncapi.json";

/// The events as a document for those who read them
#[derive(Args, Debug)]
pub(crate) struct ContractArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Export(ExportArgs),
}

/// Write the AsyncAPI 3 document of the events, made from mapping and schemas
///
/// The document is JSON, which is YAML too. It holds no secrets.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
struct ExportArgs {
    /// Write it into this file, not to stdout
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) fn run(args: &ContractArgs, context: &Context) -> Result<Exit> {
    match &args.verb {
        Verb::Export(args) => export(args, context),
    }
}

/// Copies of each topic, where the log keeps copies.
fn replicas(context: &Context) -> Result<BTreeMap<String, i32>> {
    if matches!(context.config.log, Home::Embedded(_)) {
        return Ok(BTreeMap::new());
    }
    let topics = context.desired()?.topics.into_iter();
    Ok(topics.map(|topic| (topic.name, topic.replication.unwrap_or(COPIES))).collect())
}

fn export(args: &ExportArgs, context: &Context) -> Result<Exit> {
    let config = &context.config;
    let (brokers, security) = match &config.log {
        Home::Embedded(_) => (&[][..], None),
        Home::Kafka(home) => (&home.bootstrap[..], home.security.as_ref()),
    };
    let contract = Contract {
        migration: &config.migration,
        mapping: &context.mapping,
        brokers,
        protocol: security.map_or("PLAINTEXT", |security| security.protocol.as_str()),
        mechanism: security.and_then(|security| security.mechanism.as_deref()),
        registry: config.registry.url.as_deref(),
        replicas: replicas(context)?,
    };
    let document = contract.document();
    let Some(path) = &args.out else {
        context.ui.json(&document)?;
        return Ok(Exit::Good);
    };
    let mut file = context.create_output(path)?;
    file.write_all(format!("{document:#}\n").as_bytes())
        .map_err(|error| Error::failed(format!("{} could not be written", path.display())).because(error))?;
    let count = |place: &str| document.pointer(place).and_then(|part| part.as_object()).map_or(0, |part| part.len());
    let (channels, messages) = (count("/channels") as u64, count("/components/messages") as u64);
    if context.ui.output == Output::Table {
        let told = format!("{}, {}", counted(channels, "channel"), counted(messages, "message"));
        context.ui.line(format!("{}: {told}", path.display()))?;
    } else {
        let file = path.display().to_string();
        context.ui.json(&json!({"schema_version": 1, "file": file, "channels": channels, "messages": messages}))?;
    }
    Ok(Exit::Good)
}
