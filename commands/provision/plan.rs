//! `crossfade provision plan`: what `apply` would do.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use crossfade::base::{Error, Result};
use crossfade::plan::Risk;
use crossfade::provision::{Claimant, Places};
use crossfade::report::plan::view;

use super::look;
use crate::context::{Context, now};
use crate::error::Exit;
use crate::ui::Output;

/// Show what would be added, changed and removed; changes nothing
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  crossfade provision plan                    the plan as a view
  crossfade provision plan -o plan.json       and as a file, for `provision apply plan.json`
  crossfade provision plan --exit-code        1 when changes are pending, for CI")]
pub(crate) struct PlanArgs {
    /// Also write the plan as a file that `apply` takes
    #[arg(long = "out", short, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Exit with 1 when changes are pending
    #[arg(long)]
    exit_code: bool,
}

pub(super) fn run(args: &PlanArgs, context: &Context) -> Result<Exit> {
    let mut file = match &args.out {
        Some(path) => Some((path, context.create_output(path)?)),
        None => None,
    };
    let (admin, registry) = (context.admin(false)?, context.registry()?);
    let log = context.log_if_made()?;
    let claimant = Some(Claimant { log: log.as_deref(), instance: &context.process.instance, now: &now });
    let places = Places { admin: admin.as_ref(), registry: registry.as_ref(), claimant };
    let plan = look(context, places)?.plan(places.admin, context.mechanism(), now())?;
    let value =
        serde_json::to_value(&plan).map_err(|error| Error::failed("the plan has no JSON form").because(error))?;
    if let Some((path, file)) = &mut file {
        file.write_all(format!("{value:#}\n").as_bytes())
            .map_err(|error| Error::failed(format!("{} could not be written", path.display())).because(error))?;
    }
    let ui = &context.ui;
    match ui.output {
        Output::Table => ui.result(view(&plan).as_bytes())?,
        Output::Json | Output::Ndjson => ui.json(&value)?,
    }
    let worst = plan.changes().map(|change| change.risk).max();
    ui.note(match (worst, &args.out) {
        (None, _) => format!("next: {}", context.command("replay")),
        (Some(Risk::Impossible), _) => "next: mend crossfade.yaml or the cluster, and plan again".to_owned(),
        (Some(_), None) => format!("next: {}", context.command("provision apply")),
        (Some(_), Some(path)) => format!("next: {}", context.command(&format!("provision apply {}", path.display()))),
    });
    Ok(if args.exit_code && worst.is_some() { Exit::Negative } else { Exit::Good })
}
