//! The built binary, run as its users do: own folder, cleared environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Which log a migration uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Log {
    Embedded,
    Kafka,
}

/// A migration in a temporary folder: crossfade.yaml, the legacy store, and what the tool keeps.
pub struct Migration {
    pub folder: tempfile::TempDir,
    pub name: String,
    pub log: Log,
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// The brokers of the test cluster; a test that asks for them is `#[ignore = "needs Kafka"]`.
pub fn brokers() -> String {
    std::env::var("CROSSFADE_TEST_KAFKA").expect("CROSSFADE_TEST_KAFKA names no brokers: run tests/run")
}

impl Drop for Migration {
    fn drop(&mut self) {
        if self.log == Log::Kafka && !std::thread::panicking() {
            super::ended::ended(&self.name);
        }
    }
}

impl Migration {
    /// Writes crossfade.yaml with `legacy` (two lines under `legacy:`) and what else is given; nothing is run. The
    /// migration's name is unique, so that runs on one cluster do not meet.
    pub fn new(log: Log, legacy: &str, more: &str) -> Self {
        let name = format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let migration = Self { folder: tempfile::tempdir().unwrap(), name, log };
        let home = match log {
            Log::Embedded => String::new(),
            Log::Kafka => {
                let brokers: Vec<String> = brokers().split(',').map(|broker| format!("\"{broker}\"")).collect();
                format!("log:\n  kafka: {{bootstrap: [{}]}}\n", brokers.join(", "))
            }
        };
        let text = format!("version: 1\nmigration: {}\nlegacy:\n{legacy}{home}{more}", migration.name);
        std::fs::write(migration.path("crossfade.yaml"), text).unwrap();
        migration
    }

    /// One with the ACC preset on `legacy.db`, which the caller makes.
    ///
    /// The preset's topic names are fixed, and a shared cluster would mix tests: on Kafka the mapping is a copy of the
    /// preset with topics of this migration's own. Those of them that hold no rows have one partition there: brokers with
    /// thousands of empty ones are slow.
    pub fn acc(log: Log, more: &str) -> Self {
        let migration = Self::acc_whole(log, more);
        if log == Log::Kafka {
            let path = migration.path("mapping.yaml");
            let mut mapping = std::fs::read_to_string(&path).unwrap();
            for topic in rowless() {
                let head = format!("{}.{}:\n    partitions: ", migration.name, topic.name);
                let wide = format!("{head}{}\n", topic.partitions);
                assert!(mapping.contains(&wide), "no {wide:?} in {mapping}");
                mapping = mapping.replace(&wide, &format!("{head}1\n"));
            }
            std::fs::write(path, mapping).unwrap();
        }
        migration
    }

    /// The same with every partition of the preset.
    pub fn acc_whole(log: Log, more: &str) -> Self {
        let migration = Self::new(log, "  mapping: mapping.yaml\n  store: sqlite:legacy.db\n", more);
        let mut mapping = crossfade::acc::MAPPING.to_owned();
        for topic in crossfade::acc::mapping().unwrap().topics {
            mapping = mapping.replace(&topic.name, &format!("{}.{}", migration.name, topic.name));
        }
        std::fs::write(migration.path("mapping.yaml"), mapping).unwrap();
        migration
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub fn legacy(&self) -> PathBuf {
        self.path("legacy.db")
    }

    pub fn projection(&self) -> PathBuf {
        self.path(".crossfade/projection.db")
    }

    /// The command, not yet started.
    pub fn command(&self, args: &[&str]) -> Command {
        command(self.folder.path(), args)
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// Runs and asserts the exit code; gives stdout.
    #[track_caller]
    pub fn expect(&self, args: &[&str], code: i32) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(code), "crossfade {}\n{}\n{}", args.join(" "), ran.stdout, ran.stderr);
        ran.stdout
    }
}

/// Topics of the ACC preset that no table goes to.
pub fn rowless() -> Vec<crossfade::mapping::Topic> {
    let mapping = crossfade::acc::mapping().unwrap();
    let holds_rows = |topic: &crossfade::mapping::Topic| mapping.tables.iter().any(|table| table.topic == topic.name);
    mapping.topics.iter().filter(|topic| !holds_rows(topic)).cloned().collect()
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// The built binary in `folder`, with nothing of this process's environment but the path.
pub fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossfade"));
    command.args(args).current_dir(folder).env_clear().stdin(Stdio::null());
    if let Some(path) = std::env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}
