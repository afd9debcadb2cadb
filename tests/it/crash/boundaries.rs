//! A kill at every durable boundary the binary lists.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossfade::port::boundary;

use crate::support::cli::Log;
use crate::support::crash::Trial;

/// A migration's life: every command that makes something durable, in an order in which each has work to do.
const LIFE: &[&[&str]] = &[
    &["provision", "apply"],
    &["follow", "--install", "--confirm", "MIGRATION"],
    &["replay"],
    &["project"],
    &["replay"],
    &["follow", "--until-caught-up"],
    &["project", "--snapshot", "fold.snapshot"],
    &["project", "--restore", "fold.snapshot"],
    &["project", "--rebuild"],
    &["follow", "--uninstall", "--confirm", "MIGRATION"],
];

/// The steps before which the legacy changes, so that they have something to reconcile or to follow.
const CHANGED_BEFORE: [usize; 2] = [4, 5];

/// The first replay.
const REPLAY: usize = 2;

/// Boundaries met by each step of a life without kills.
fn survey(log: Log) -> Vec<Vec<String>> {
    let trial = Trial::new(log, 1);
    let trace = |(step, args): (usize, &&[&str])| {
        if CHANGED_BEFORE.contains(&step) {
            trial.change_legacy();
        }
        let output = trial.command(args, &[("CROSSFADE_TRACE_BOUNDARIES", "1")]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{args:?}: {said}");
        said.lines().filter_map(|line| line.strip_prefix("met ")).map(str::to_owned).collect()
    };
    let met = LIFE.iter().enumerate().map(trace).collect();
    trial.assert_passes();
    met
}

fn times(boundary: &str, met: &[String]) -> usize {
    met.iter().filter(|name| *name == boundary).count()
}

/// One kill: at the n-th meeting of a boundary in a step.
struct Kill {
    boundary: String,
    step: usize,
    nth: usize,
    /// Acts and steps announced in the journal at each meeting, whose end is not.
    unfinished: Vec<usize>,
}

impl Kill {
    /// In the step that meets the boundary most often, half way; among equals in the command it is named after, else in
    /// the first replay.
    fn plan(boundary: &str, met: &[Vec<String>]) -> Option<Self> {
        let preferred = |step: &usize| {
            let named_after = boundary.starts_with(LIFE[*step][0]);
            (times(boundary, &met[*step]), named_after, LIFE[*step][0] == "replay", *step == REPLAY)
        };
        let step = (0..met.len()).max_by_key(preferred)?;
        let count = times(boundary, &met[step]);
        (count > 0).then(|| Self::at(boundary, met, step, count.div_ceil(2)))
    }

    /// At the first, a middle and the last meeting of every boundary in every step.
    fn plan_all(met: &[Vec<String>]) -> Vec<Self> {
        let mut all = Vec::new();
        for (step, names) in met.iter().enumerate() {
            for boundary in names.iter().collect::<BTreeSet<_>>() {
                let count = times(boundary, names);
                let nths = BTreeSet::from([1, count.div_ceil(2), count]);
                all.extend(nths.into_iter().map(|nth| Self::at(boundary, met, step, nth)));
            }
        }
        all
    }

    fn at(boundary: &str, met: &[Vec<String>], step: usize, nth: usize) -> Self {
        let names = &met[step];
        let unfinished = |here: usize| {
            let reached = |name: &str| times(name, &names[..=here]);
            reached("journal.announced") - reached("journal.done")
        };
        let places = (0..names.len()).filter(|place| names[*place] == boundary);
        let unfinished = places.map(unfinished).collect();
        Self { boundary: boundary.to_owned(), step, nth, unfinished }
    }

    fn run(&self, log: Log, seed: u64, kills: &AtomicUsize) {
        // How often a boundary is met may depend on time. Met less often than in the survey, it is an earlier meeting.
        let mut nth = self.nth;
        while !self.at_meeting(nth, log, seed) {
            assert!(nth > 1, "{} was not met", self.boundary);
            nth /= 2;
        }
        kills.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the boundary was met so often; then there was a kill, and all went on well.
    fn at_meeting(&self, nth: usize, log: Log, seed: u64) -> bool {
        let trial = Trial::new(log, seed);
        for (step, args) in LIFE[..self.step].iter().enumerate() {
            if CHANGED_BEFORE.contains(&step) {
                trial.change_legacy();
            }
            trial.expect(args, 0);
        }
        if CHANGED_BEFORE.contains(&self.step) {
            trial.change_legacy();
        }
        if !trial.kill_if_met(LIFE[self.step], &self.boundary, nth) {
            return false;
        }
        let unfinished = self.unfinished[nth - 1];
        assert_eq!(trial.unfinished_acts(), unfinished, "announced acts without an end");
        trial.change_legacy();
        trial.expect(LIFE[self.step], 0);
        if LIFE[self.step] != ["replay"] {
            trial.expect(&["replay"], 0);
        }
        trial.assert_passes();
        assert_eq!(trial.unfinished_acts(), unfinished, "the journal forgot the act that was cut off");
        true
    }
}

fn kill_at_every_boundary(log: Log) {
    let trial = Trial::new(Log::Embedded, 1);
    let listed: Vec<String> = trial.expect(&["boundaries"], 0).stdout.lines().map(str::to_owned).collect();
    assert!(listed.len() > 10, "{listed:?}");
    let met = survey(log);
    let transactions = met[REPLAY].iter().filter(|name| *name == "replay.after-commit").count();
    assert!(transactions >= 10, "a replay of {transactions} transactions");
    let plans: Vec<Kill> = listed
        .iter()
        .map(|name| Kill::plan(name, &met).unwrap_or_else(|| panic!("no command meets {name}: {met:?}")))
        .collect();
    let strangers: Vec<&String> = met.iter().flatten().filter(|name| !listed.contains(name)).collect();
    assert!(strangers.is_empty(), "met, but not listed: {strangers:?}");

    assert_eq!(run_all(&plans, log), listed.len(), "kills and boundaries");
}

/// Runs all kills, two at a time; gives how many met a living process.
fn run_all(plans: &[Kill], log: Log) -> usize {
    let (next, kills, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(kill) = plans.get(number) else { return };
                    let run = || kill.run(log, 100 + number as u64, &kills);
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
                        let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        let place = format!("{}:{} of {:?}: {text}", kill.boundary, kill.nth, LIFE[kill.step]);
                        failed.lock().unwrap().push(place);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} of {} kills: {failed:#?}", failed.len(), plans.len());
    kills.into_inner()
}

#[test]
fn i08_a_kill_at_every_boundary_on_the_embedded_log_leaves_the_same_rows_and_ids() {
    kill_at_every_boundary(Log::Embedded);
}

#[test]
#[ignore = "needs Kafka"]
fn i08_a_kill_at_every_boundary_on_kafka_leaves_the_same_rows_and_ids() {
    kill_at_every_boundary(Log::Kafka);
}

#[test]
fn campaign_kill_at_every_boundary_of_every_command_embedded() {
    let plans = Kill::plan_all(&survey(Log::Embedded));
    let kills = run_all(&plans, Log::Embedded);
    println!(
        "campaign: campaign_kill_at_every_boundary_of_every_command_embedded seeds=1 kills={kills} passes={kills}"
    );
    assert_eq!(kills, plans.len());
}

#[test]
fn i08_every_boundary_in_the_sources_is_listed_and_every_listed_one_is_there() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("commands")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.extend(text.split("boundary(\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
            }
        }
    }
    found.sort();
    found.dedup();
    let mut listed: Vec<String> =
        boundary::ALL.iter().chain(boundary::REVERSE).map(|name| (*name).to_owned()).collect();
    listed.sort();
    assert_eq!(found, listed);
}
