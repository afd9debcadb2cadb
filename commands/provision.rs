//! `crossfade provision`: the cluster, brought to its plan and held against it.

mod apply;
mod check;
mod import;
mod plan;

use clap::{Args, Subcommand};
use crossfade::base::Result;
use crossfade::provision::{Look, Places};

use crate::context::Context;
use crate::error::Exit;

/// Bring topics, configs, access rules and schemas to the plan, and hold them against it
#[derive(Args, Debug)]
pub(crate) struct ProvisionArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Plan(plan::PlanArgs),
    Apply(apply::ApplyArgs),
    Import(import::ImportArgs),
    Check(check::CheckArgs),
}

pub(crate) fn run(args: &ProvisionArgs, context: &Context) -> Result<Exit> {
    match &args.verb {
        Verb::Plan(args) => plan::run(args, context),
        Verb::Apply(args) => apply::run(args, context),
        Verb::Import(args) => import::run(args, context),
        Verb::Check(args) => check::run(args, context),
    }
}

/// The wishes and one look at what there is of them.
fn look(context: &Context, places: Places<'_>) -> Result<Look> {
    Look::at(places, context.desired()?, context.desired_schemas())
}
