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

/// The step after which a chain of kills is proven first: before it there is no projection to hold against the rows.
const PROJECT: usize = 3;

/// A life without kills.
struct Survey {
    log: Log,
    /// Boundaries met by each step.
    met: Vec<Vec<String>>,
    /// The migration as it stood before each step, where it lies in one folder: on the embedded log.
    before: Vec<Trial>,
}

impl Survey {
    fn of(log: Log) -> Self {
        let trial = Trial::new(log, 1);
        let mut survey = Self { log, met: Vec::new(), before: Vec::new() };
        for (step, args) in LIFE.iter().enumerate() {
            if CHANGED_BEFORE.contains(&step) {
                trial.change_legacy();
            }
            if log == Log::Embedded {
                survey.before.push(trial.copy(1));
            }
            let output = trial.command(args, &[("CROSSFADE_TRACE_BOUNDARIES", "1")]).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{args:?}: {said}");
            survey.met.push(said.lines().filter_map(|line| line.strip_prefix("met ")).map(str::to_owned).collect());
        }
        trial.assert_passes();
        survey
    }

    /// A migration that stands before the step.
    fn stand_before(&self, step: usize, seed: u64) -> Trial {
        if let Some(trial) = self.before.get(step) {
            return trial.copy(seed);
        }
        let trial = Trial::new(self.log, seed);
        for (before, args) in LIFE[..step].iter().enumerate() {
            if CHANGED_BEFORE.contains(&before) {
                trial.change_legacy();
            }
            trial.expect(args, 0);
        }
        if CHANGED_BEFORE.contains(&step) {
            trial.change_legacy();
        }
        trial
    }
}

fn times(boundary: &str, met: &[String]) -> usize {
    met.iter().filter(|name| *name == boundary).count()
}

/// One kill: at the n-th meeting of a boundary in a step.
struct Kill {
    boundary: String,
    step: usize,
    nth: usize,
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
        (count > 0).then(|| Self { boundary: boundary.to_owned(), step, nth: count.div_ceil(2) })
    }

    /// At the first, a middle and the last meeting of every boundary in every step.
    fn plan_all(met: &[Vec<String>]) -> Vec<Self> {
        let mut all = Vec::new();
        for (step, names) in met.iter().enumerate() {
            for boundary in names.iter().collect::<BTreeSet<_>>() {
                let count = times(boundary, names);
                let nths = BTreeSet::from([1, count.div_ceil(2), count]);
                all.extend(nths.into_iter().map(|nth| Self { boundary: boundary.clone(), step, nth }));
            }
        }
        all
    }

    /// In a life of its own.
    fn run(&self, survey: &Survey, seed: u64, kills: &AtomicUsize) {
        // How often a boundary is met may depend on time. Met less often than in the survey, it is an earlier meeting.
        let mut nth = self.nth;
        while !self.at_meeting(nth, survey, seed) {
            assert!(nth > 1, "{} was not met", self.boundary);
            nth /= 2;
        }
        kills.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the boundary was met so often; then there was a kill, and all went on well.
    fn at_meeting(&self, nth: usize, survey: &Survey, seed: u64) -> bool {
        let trial = survey.stand_before(self.step, seed);
        let Some(unfinished) = trial.kill_if_met(LIFE[self.step], &self.boundary, nth) else { return false };
        assert_eq!(trial.unfinished_acts(), unfinished, "announced acts without an end");
        trial.change_legacy();
        finish(&trial, self.step);
        assert_eq!(trial.unfinished_acts(), unfinished, "the journal forgot the act that was cut off");
        true
    }
}

/// Runs the step to its end, and proves that nothing is missing or doubled.
fn finish(trial: &Trial, step: usize) {
    trial.expect(LIFE[step], 0);
    if LIFE[step] != ["replay"] {
        trial.expect(&["replay"], 0);
    }
    trial.assert_passes();
}

/// One life with all kills: in each step one after the other, in the order in which it meets their boundaries, and the
/// proof behind the last. Gives those whose boundary was not met again in what was left of the step.
fn kill_along_a_life<'k>(plans: &'k [Kill], survey: &Survey) -> Vec<&'k Kill> {
    let trial = Trial::new(survey.log, 100);
    let (mut unfinished, mut unmet, mut unproven) = (0, Vec::new(), false);
    for (step, args) in LIFE.iter().enumerate() {
        if CHANGED_BEFORE.contains(&step) {
            trial.change_legacy();
        }
        let mut kills: Vec<&Kill> = plans.iter().filter(|kill| kill.step == step).collect();
        kills.sort_by_key(|kill| survey.met[step].iter().position(|name| *name == kill.boundary));
        for kill in kills {
            // The second meeting at most, so that those to come find something left.
            let Some(cut_off) = trial.kill_if_met(args, &kill.boundary, kill.nth.min(2)) else {
                unmet.push(kill);
                continue;
            };
            unfinished += cut_off;
            unproven = true;
            assert_eq!(trial.unfinished_acts(), unfinished, "acts without an end behind {}", kill.boundary);
            trial.change_legacy();
        }
        if unproven && step >= PROJECT {
            finish(&trial, step);
            assert_eq!(trial.unfinished_acts(), unfinished, "the journal forgot an act that was cut off");
            unproven = false;
        } else {
            trial.expect(args, 0);
        }
    }
    unmet
}

fn plan_every_boundary(survey: &Survey) -> Vec<Kill> {
    let met = &survey.met;
    let trial = Trial::new(Log::Embedded, 1);
    let listed: Vec<String> = trial.expect(&["boundaries"], 0).stdout.lines().map(str::to_owned).collect();
    assert!(listed.len() > 10, "{listed:?}");
    let transactions = met[REPLAY].iter().filter(|name| *name == "replay.after-commit").count();
    assert!(transactions >= 10, "a replay of {transactions} transactions");
    let strangers: Vec<&String> = met.iter().flatten().filter(|name| !listed.contains(name)).collect();
    assert!(strangers.is_empty(), "met, but not listed: {strangers:?}");
    let planned = |name: &String| Kill::plan(name, met).unwrap_or_else(|| panic!("no command meets {name}: {met:?}"));
    listed.iter().map(planned).collect()
}

/// Runs each kill in a life of its own, two at a time; gives how many met a living process.
fn run_all<'k>(plans: impl IntoIterator<Item = &'k Kill>, survey: &Survey) -> usize {
    let plans: Vec<&Kill> = plans.into_iter().collect();
    let (next, kills, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(kill) = plans.get(number) else { return };
                    let run = || kill.run(survey, 100 + number as u64, &kills);
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
    let survey = Survey::of(Log::Embedded);
    let plans = plan_every_boundary(&survey);
    assert_eq!(run_all(&plans, &survey), plans.len(), "kills and boundaries");
}

#[test]
#[ignore = "needs Kafka"]
fn i08_a_kill_at_every_boundary_on_kafka_leaves_the_same_rows_and_ids() {
    let survey = Survey::of(Log::Kafka);
    let plans = plan_every_boundary(&survey);
    let unmet = kill_along_a_life(&plans, &survey);
    let (count, names) = (unmet.len(), unmet.iter().map(|kill| &kill.boundary).collect::<Vec<_>>());
    assert!(count < plans.len() / 3, "most of {names:?} can be met in one life");
    assert_eq!(run_all(unmet, &survey), count, "kills and boundaries");
}

/// Each in a life of its own, proven alone.
#[test]
#[ignore = "needs Kafka"]
fn campaign_a_kill_at_every_boundary_on_kafka() {
    let survey = Survey::of(Log::Kafka);
    let plans = plan_every_boundary(&survey);
    let kills = run_all(&plans, &survey);
    println!("campaign: campaign_a_kill_at_every_boundary_on_kafka seeds=1 kills={kills} passes={kills}");
    assert_eq!(kills, plans.len());
}

#[test]
fn campaign_kill_at_every_boundary_of_every_command_embedded() {
    let survey = Survey::of(Log::Embedded);
    let plans = Kill::plan_all(&survey.met);
    let kills = run_all(&plans, &survey);
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
