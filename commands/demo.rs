//! `crossfade demo`: the main job on generated legacy data, with a kill and two planted faults.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use crossfade::base::{Error, Result};
use crossfade::capture::ReplayState;
use crossfade::demo::Sizes;

use crate::context::{env, execute, make_demo_store, open_embedded, write_text};
use crate::error::Exit;
use crate::ui::{Stop, Ui};

const EXAMPLES: &str = "\
Example:
  crossfade demo --dir /tmp/demo --sessions 500 --messages 50000";

/// Run the main job once on generated legacy data in a scratch folder, with a kill and planted faults
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DemoArgs {
    /// Where to make the folder; it must not exist yet
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Sessions in the generated store
    #[arg(long, default_value_t = Sizes::default().sessions)]
    sessions: usize,
    /// Messages in the generated store
    #[arg(long, default_value_t = Sizes::default().messages)]
    messages: usize,
    /// Another seed makes another store
    #[arg(long, default_value_t = Sizes::default().seed)]
    seed: u64,
}

struct Demo<'a> {
    ui: &'a Ui,
    stop: &'a Stop,
    folder: PathBuf,
    failed: Vec<String>,
}

pub(crate) fn run(args: &DemoArgs, ui: &Ui, stop: &Stop) -> Result<Exit> {
    let began = Instant::now();
    let folder = folder(args.dir.as_deref())?;
    let mut demo = Demo { ui, stop, folder, failed: Vec::new() };
    let sizes = Sizes { sessions: args.sessions, messages: args.messages, seed: args.seed };
    demo.story(sizes)?;
    let report = demo.folder.join("diff.html");
    ui.line("")?;
    if demo.failed.is_empty() {
        ui.line(format!("demo passed in {:.1} s", began.elapsed().as_secs_f64()))?;
        ui.line(format!("look at {} and at the folder {}", report.display(), demo.folder.display()))?;
        ui.line(format!("next: crossfade --config {} status", demo.folder.join("crossfade.yaml").display()))?;
        return Ok(Exit::Good);
    }
    for failed in &demo.failed {
        ui.line(format!("NOT AS IT SHOULD BE: {failed}"))?;
    }
    Ok(Exit::Negative)
}

/// A folder that does not exist yet.
fn folder(asked: Option<&Path>) -> Result<PathBuf> {
    if let Some(folder) = asked {
        if folder.exists() {
            return Err(
                Error::refused(format!("{} exists already", folder.display())).hint("name a folder that does not")
            );
        }
        return Ok(folder.to_owned());
    }
    let first = PathBuf::from("crossfade-demo");
    let mut numbered = (2..1000).map(|number| PathBuf::from(format!("crossfade-demo-{number}")));
    if !first.exists() {
        return Ok(first);
    }
    numbered
        .find(|folder| !folder.exists())
        .ok_or_else(|| Error::refused("there are too many demo folders here already"))
}

impl Demo<'_> {
    fn story(&mut self, sizes: Sizes) -> Result<()> {
        self.say(&format!(
            "a legacy store of ACC's shape: {} sessions, {} messages, seed {}",
            sizes.sessions, sizes.messages, sizes.seed
        ))?;
        // At least ten transactions whatever the size, so that the kill falls between some.
        let transaction = (sizes.messages as u64 / 20).max(1);
        let yaml = format!(
            "version: 1\nmigration: demo\nlegacy:\n  preset: acc\n  store: sqlite:legacy.db\nreplay:\n  transaction_rows: {transaction}\n"
        );
        let legacy = self.folder.join("legacy.db");
        write_text(&self.folder.join("crossfade.yaml"), &yaml)?;
        make_demo_store(&legacy, sizes)?;

        self.step("create the six topics and the tool's own", &["provision", "apply"], 0)?;
        self.kill_half_way(sizes)?;
        self.step(
            "run it again: it goes on from its checkpoint, then compares what it copied before the kill",
            &["replay"],
            0,
        )?;
        self.step("fold the events into tables", &["project"], 0)?;
        self.step("compare every legacy row with the fold of its events", &["diff"], 0)?;

        self.say("change a legacy row behind capture's back, and corrupt another one in the projection")?;
        let pick = |status: &str, order: &str| {
            format!("(SELECT id FROM sessions WHERE status = '{status}' ORDER BY id {order} LIMIT 1)")
        };
        let changed = execute(
            &legacy,
            &format!("UPDATE sessions SET work_dir = '/moved' WHERE id = {}", pick("completed", "ASC")),
        )?;
        let projection = self.folder.join(".crossfade/projection.db");
        let corrupted = execute(
            &projection,
            &format!("UPDATE sessions SET initial_task = 'corrupt' WHERE id = {}", pick("completed", "DESC")),
        )?;
        if (changed, corrupted) != (1, 1) {
            self.failed.push("the planted faults could not be planted".into());
        }
        let report = format!("html={}", self.folder.join("diff.html").display());
        let told = self.step("the diff finds both and tells them apart", &["diff", "--report", &report], 1)?;
        for needed in ["row ≠ fold", "projection ≠ fold"] {
            if !told.contains(needed) {
                self.failed.push(format!("the diff did not say '{needed}'"));
            }
        }
        self.step("and the journal of it all is whole", &["journal", "verify"], 0)?;
        Ok(())
    }

    fn say(&self, text: &str) -> Result<()> {
        self.stop.check()?;
        self.ui.line(format!("\n## {text}"))
    }

    fn command(&self, args: &[&str]) -> Result<Command> {
        let program = std::env::current_exe()
            .map_err(|error| Error::failed("the demo cannot find its own program").because(error))?;
        let mut command = Command::new(program);
        command.args(args).arg("--config").arg(self.folder.join("crossfade.yaml")).arg("--quiet").stdin(Stdio::null());
        // Settings of a real migration have no place in the demo.
        for name in [
            "CROSSFADE_LEGACY_STORE",
            "CROSSFADE_PROJECTION",
            "CROSSFADE_LOG_EMBEDDED",
            "CROSSFADE_LOG_KAFKA_BOOTSTRAP",
        ] {
            if env(name).is_some() {
                command.env_remove(name);
            }
        }
        Ok(command)
    }

    /// Runs a command to its end, shows what it said, and notes when it ended otherwise than expected.
    fn step(&mut self, why: &str, args: &[&str], expected: i32) -> Result<String> {
        self.say(why)?;
        self.ui.line(format!("$ crossfade {}", args.join(" ")))?;
        let failed = |error: std::io::Error| Error::failed("the demo cannot run its own program").because(error);
        let output = self.command(args)?.output().map_err(failed)?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        self.ui.result(told.as_bytes())?;
        let errors = String::from_utf8_lossy(&output.stderr);
        if !errors.is_empty() {
            self.ui.error(errors.trim_end());
        }
        if output.status.code() != Some(expected) {
            self.failed.push(format!(
                "'crossfade {}' ended with {}, expected was exit {expected}",
                args.join(" "),
                output.status
            ));
        }
        Ok(told)
    }

    /// Starts a replay and kills it once half of the rows are committed.
    fn kill_half_way(&mut self, sizes: Sizes) -> Result<()> {
        self.say("replay, killed (SIGKILL) half way")?;
        // Slow enough that the kill falls inside the run on any machine, whatever the size.
        let rate = (sizes.messages).to_string();
        let args = ["replay", "--throttle", &rate];
        self.ui.line(format!("$ crossfade {}", args.join(" ")))?;
        let log = open_embedded(&self.folder.join(".crossfade/log.db"))?;
        let failed = |error: std::io::Error| Error::failed("the demo cannot run its own program").because(error);
        let mut child = self.command(&args)?.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(failed)?;
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut committed = 0;
        while Instant::now() < deadline && child.try_wait().map_err(failed)?.is_none() {
            committed = ReplayState::read(log.as_ref(), "demo")?.map_or(0, |(state, _)| state.count);
            if committed >= sizes.messages as u64 / 2 {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let alive = child.try_wait().map_err(failed)?.is_none();
        child.kill().map_err(failed)?;
        child.wait().map_err(failed)?;
        self.ui.line(format!("killed after {committed} committed events"))?;
        if !alive || committed == 0 {
            self.failed.push("the replay ended before it could be killed".into());
        }
        Ok(())
    }
}
