//! Migrations that are killed on the way, and the proof that the kill left no trace in the rows.

mod audit;
mod child;
mod cluster;
mod disk;
mod legacy;

use std::sync::Mutex;

use crossfade::demo::Sizes;
use crossfade::embedded::EmbeddedLog;
use crossfade::journal::SqliteJournal;
use crossfade::kafka::{KafkaLog, KafkaSettings};
use crossfade::mapping::Mapping;
use crossfade::port::event_log::EventLog;
use crossfade::port::journal::{Entry, Journal, Stage, verify};

use super::acc::{TABLES, assert_same_rows, build_store};
use super::cli::{Log, Migration, Ran, brokers};
pub use audit::audit;
pub use child::{Child, signal};
pub use cluster::{Cluster, Victim};
pub use disk::fill_up;
pub use legacy::{Random, bring_back, change, take_away};

/// A generated ACC store and its migration, in small transactions.
pub struct Trial {
    pub migration: Migration,
    pub random: Mutex<Random>,
    rows: u64,
    /// Other brokers than those of the other tests.
    brokers: Option<String>,
}

impl Trial {
    /// 40 sessions and 600 messages, in at least ten transactions.
    pub fn new(log: Log, seed: u64) -> Self {
        Self::sized(log, Sizes { sessions: 40, messages: 600, seed }, 60)
    }

    pub fn sized(log: Log, sizes: Sizes, rows: u64) -> Self {
        // No transaction ends by its age, so that the boundaries are met equally often on any machine.
        let more = format!("replay:\n  transaction_rows: {rows}\n  transaction_ms: 600000\n");
        let migration = Migration::acc(log, &more);
        build_store(&migration.legacy(), sizes);
        Self::of(migration, sizes.seed, rows)
    }

    /// Any migration, in transactions of so many rows.
    pub fn of(migration: Migration, seed: u64, rows: u64) -> Self {
        Self { migration, random: Mutex::new(Random::new(seed)), rows, brokers: None }
    }

    /// The migration as it stands, in a folder of its own; its log must lie there, too.
    pub fn copy(&self, seed: u64) -> Self {
        assert_eq!(self.migration.log, Log::Embedded);
        let folder = tempfile::tempdir().unwrap();
        let from = self.migration.path(".");
        let copied = std::process::Command::new("cp").arg("-a").args([&from, folder.path()]).status().unwrap();
        assert!(copied.success(), "cp -a of {}", from.display());
        Self::of(Migration { folder, name: self.migration.name.clone(), log: Log::Embedded }, seed, self.rows)
    }

    /// Moves the migration to brokers of its own.
    pub fn on(self, brokers: &str) -> Self {
        Self { brokers: Some(brokers.to_owned()), ..self }
    }

    /// The command, not yet started, with the variables given; `MIGRATION` stands for the migration's name.
    pub fn command(&self, args: &[&str], variables: &[(&str, &str)]) -> std::process::Command {
        let named = |arg: &&str| if *arg == "MIGRATION" { self.migration.name.clone() } else { (*arg).to_owned() };
        let args: Vec<String> = args.iter().map(named).collect();
        let mut args: Vec<&str> = args.iter().map(String::as_str).collect();
        // Its program deletes what it likes, and no operator is there to be asked.
        if args.first() == Some(&"replay") || args == ["follow"] || args.contains(&"--until-caught-up") {
            args.extend(["--allow", "mass-delete"]);
        }
        let mut command = self.migration.command(&args);
        command.env("CROSSFADE_TRANSACTION_ROWS", self.rows.to_string()).envs(variables.iter().copied());
        if let Some(brokers) = &self.brokers {
            command.env("CROSSFADE_LOG_KAFKA_BOOTSTRAP", brokers);
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args, &[]).output().unwrap())
    }

    /// Runs and asserts the exit code; gives what it said.
    #[track_caller]
    pub fn expect(&self, args: &[&str], code: i32) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(code), "crossfade {}\n{}\n{}", args.join(" "), ran.stdout, ran.stderr);
        ran
    }

    /// Starts the command and waits until it stands at the n-th meeting of a boundary.
    #[track_caller]
    pub fn stop_at(&self, args: &[&str], boundary: &str, nth: usize) -> Child {
        Child::at(self.stopping(args, boundary, nth), boundary)
    }

    fn stopping(&self, args: &[&str], boundary: &str, nth: usize) -> std::process::Command {
        let place = format!("{boundary}:{nth}");
        self.command(args, &[("CROSSFADE_STOP_AT", &place)])
    }

    /// Kills the command at the n-th meeting of a boundary, unless it ends well before that; gives the acts and steps
    /// that it announced in the journal and did not end.
    #[track_caller]
    pub fn kill_if_met(&self, args: &[&str], boundary: &str, nth: usize) -> Option<usize> {
        let mut command = self.stopping(args, boundary, nth);
        command.env("CROSSFADE_TRACE_BOUNDARIES", "1");
        let child = Child::met(command, boundary).ok()?;
        let unfinished = child.count("met journal.announced") - child.count("met journal.done");
        child.kill();
        Some(unfinished)
    }

    /// Kills the command at the n-th meeting of a boundary.
    #[track_caller]
    pub fn kill_at(&self, args: &[&str], boundary: &str, nth: usize) {
        self.stop_at(args, boundary, nth).kill();
    }

    /// Updates, inserts and deletes rows all over the legacy's key ranges.
    pub fn change_legacy(&self) {
        change(&self.migration.legacy(), &mut self.random.lock().unwrap());
    }

    pub fn log(&self) -> Box<dyn EventLog> {
        match self.migration.log {
            Log::Embedded => Box::new(EmbeddedLog::open(&self.migration.path(".crossfade/log.db"), false).unwrap()),
            Log::Kafka => {
                let brokers = self.brokers.clone().unwrap_or_else(brokers);
                let bootstrap = brokers.split(',').map(str::to_owned).collect();
                Box::new(KafkaLog::open(&KafkaSettings { bootstrap, ..KafkaSettings::default() }).unwrap())
            }
        }
    }

    pub fn mapping(&self) -> Mapping {
        let path = self.migration.path("mapping.yaml");
        Mapping::parse("mapping.yaml", &std::fs::read_to_string(path).unwrap()).unwrap()
    }

    pub fn journal(&self) -> Vec<Entry> {
        let path = self.migration.path(".crossfade/journal.db");
        if !path.exists() {
            return Vec::new();
        }
        let entries = SqliteJournal::open_read_only(path).unwrap().entries().unwrap();
        assert_eq!(verify(&entries), Ok(()));
        entries
    }

    /// Acts announced in the journal that have no end there.
    pub fn unfinished_acts(&self) -> usize {
        let entries = self.journal();
        let ended = |entry: &&Entry| entries.iter().any(|end| end.of == entry.seq);
        entries.iter().filter(|entry| entry.stage == Stage::Announced).filter(|entry| !ended(entry)).count()
    }

    /// Whatever happened before: the tables equal the legacy's, and the log holds each change once.
    #[track_caller]
    pub fn assert_passes(&self) {
        self.expect(&["project"], 0);
        self.expect(&["diff"], 0);
        assert_same_rows(&self.migration.legacy(), &self.migration.projection(), &TABLES);
        audit(self);
        self.expect(&["journal", "verify"], 0);
    }
}
