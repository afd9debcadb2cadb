//! crossfade: moves a running system from tables and direct calls to Kafka events, with a way back at every step.

mod config;
mod context;
mod contract;
mod demo;
mod diff;
mod error;
mod follow;
mod init;
mod journal;
mod metrics;
mod project;
mod provision;
mod replay;
mod report;
mod scan;
mod status;
mod ui;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use crossfade::base::Result;

use crate::context::Context;
use crate::error::{Exit, words};
use crate::ui::{Output, Ui};

const HELP: &str = "\
First steps:
  crossfade demo                      the whole job on generated data, in a folder of its own
  crossfade init --from sqlite:FILE   look at your store, write crossfade.yaml
  crossfade status                    where it stands, and the next command

Exit codes:
  0  good, or nothing to do
  1  the honest negative: differs, or a check failed
  2  could not run: usage, config, connection
  3  refused: unsafe or impossible, nothing changed
  4  plan stale, or another run holds the lock
  5  INCONCLUSIVE: nothing, too little or stale compared
  130, 143  interrupted, terminated; state saved";

const COMMON: &str = "Common options";
const DEFAULT_CONFIG: &str = "crossfade.yaml";

/// Moves a running system from tables and direct calls to Kafka events, side by side, with a way back at every step
#[derive(Debug, Parser)]
#[command(name = "crossfade", version, after_help = HELP, propagate_version = false, arg_required_else_help = true)]
struct Cli {
    /// The migration's settings
    #[arg(long, short, global = true, value_name = "FILE", env = "CROSSFADE_CONFIG", hide_env_values = true,
        default_value = DEFAULT_CONFIG, help_heading = COMMON)]
    config: PathBuf,
    /// How the result is written to stdout: table, json or ndjson
    #[arg(long, global = true, value_enum, default_value_t, hide_possible_values = true, help_heading = COMMON)]
    output: Output,
    /// Only the result and errors
    #[arg(long, short, global = true, help_heading = COMMON)]
    quiet: bool,
    /// No colour; so does the environment's NO_COLOR
    #[arg(long, global = true, help_heading = COMMON)]
    no_color: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Init(init::InitArgs),
    Config(config::ConfigArgs),
    Status(status::StatusArgs),
    Provision(provision::ProvisionArgs),
    Replay(replay::ReplayArgs),
    Follow(follow::FollowArgs),
    Project(project::ProjectArgs),
    Diff(diff::DiffArgs),
    Contract(contract::ContractArgs),
    Journal(journal::JournalArgs),
    /// The durable boundaries of this build, for the crash suite
    #[cfg(feature = "boundaries")]
    #[command(hide = true)]
    Boundaries,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let color = !cli.no_color && context::env("NO_COLOR").is_none() && context::env("TERM").as_deref() != Some("dumb");
    let columns = context::env("COLUMNS").and_then(|columns| columns.parse().ok());
    let ui = Ui { output: cli.output, quiet: cli.quiet, color: color && std::io::stdout().is_terminal(), columns };
    let stop = match context::catch_signals() {
        Ok(stop) => stop,
        Err(error) => {
            ui.error(&words(&error));
            return ExitCode::from(Exit::CouldNot as u8);
        }
    };
    #[cfg(feature = "boundaries")]
    boundaries::install(&ui);
    let exit = run(&cli, &ui, &stop).unwrap_or_else(|error| {
        ui.error(&words(&error));
        Exit::of_error(&error, context::terminated(&stop.signal))
    });
    ExitCode::from(exit as u8)
}

fn run(cli: &Cli, ui: &Ui, stop: &ui::Stop) -> Result<Exit> {
    let context = || Context::load(&cli.config, ui.clone(), stop.clone());
    match &cli.command {
        Command::Demo(args) => demo::run(args, ui, stop),
        Command::Init(args) => init::run(args, &cli.config, ui),
        Command::Config(args) => config::run(args, &cli.config, ui),
        Command::Status(args) => status::run(args, &context()?),
        Command::Provision(args) => provision::run(args, &context()?),
        Command::Replay(args) => replay::run(args, &context()?),
        Command::Follow(args) => follow::run(args, &context()?),
        Command::Project(args) => project::run(args, &context()?),
        Command::Diff(args) => diff::run(args, &context()?),
        Command::Contract(args) => contract::run(args, &context()?),
        Command::Journal(args) => journal::run(args, &context()?),
        #[cfg(feature = "boundaries")]
        Command::Boundaries => boundaries::list(ui),
    }
}

/// Stops the process at a named boundary, so that the crash suite can kill it there alive.
#[cfg(feature = "boundaries")]
mod boundaries {
    use std::sync::atomic::{AtomicU64, Ordering};

    use crossfade::base::Result;
    use crossfade::port::boundary;

    use crate::context::env;
    use crate::error::Exit;
    use crate::ui::Ui;

    /// The n-th meeting of a boundary, written `name:n`.
    struct Place {
        name: String,
        nth: u64,
        met: AtomicU64,
    }

    impl Place {
        fn of(variable: &str) -> Option<Self> {
            let at = env(variable)?;
            let (name, nth) = at.split_once(':').unwrap_or((&at, "1"));
            Some(Self { name: name.to_owned(), nth: nth.parse().unwrap_or(1), met: AtomicU64::new(0) })
        }

        fn reached(&self, here: &str) -> bool {
            here == self.name && self.met.fetch_add(1, Ordering::Relaxed) + 1 == self.nth
        }
    }

    /// `CROSSFADE_STOP_AT=name:n` waits there for ever, `CROSSFADE_PAUSE_AT=name:n` until SIGCONT, both after saying so
    /// on stderr; `CROSSFADE_TRACE_BOUNDARIES` names each one met; `CROSSFADE_TRANSACTION_ROWS` makes transactions small.
    pub(crate) fn install(ui: &Ui) {
        if let Some(rows) = env("CROSSFADE_TRANSACTION_ROWS").and_then(|rows| rows.parse().ok()) {
            boundary::limit_rows(rows);
        }
        let (stop, pause) = (Place::of("CROSSFADE_STOP_AT"), Place::of("CROSSFADE_PAUSE_AT"));
        let trace = env("CROSSFADE_TRACE_BOUNDARIES").is_some();
        if stop.is_none() && pause.is_none() && !trace {
            return;
        }
        let ui = ui.clone();
        boundary::install(Box::new(move |here| {
            if trace {
                ui.error(&format!("met {here}"));
            }
            if stop.as_ref().is_some_and(|stop| stop.reached(here)) {
                ui.error(&format!("boundary {here}"));
                loop {
                    std::thread::park();
                }
            }
            if pause.as_ref().is_some_and(|pause| pause.reached(here)) {
                ui.error(&format!("boundary {here}"));
                let _ = signal_hook::low_level::raise(signal_hook::consts::SIGSTOP);
            }
        }));
    }

    pub(crate) fn list(ui: &Ui) -> Result<Exit> {
        ui.line(boundary::ALL.join("\n"))?;
        Ok(Exit::Good)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_tree_is_sound() {
        super::Cli::command().debug_assert();
    }
}
