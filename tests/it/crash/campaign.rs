//! Kills at random times, many seeds.

use std::time::Duration;

use crossfade::demo::Sizes;

use crate::support::cli::Log;
use crate::support::crash::{Child, Random, Trial};

/// What one seed came to.
#[derive(Default)]
struct Tally {
    kills: usize,
    passes: usize,
}

/// One migration with kills at random times, changes in between, and the proof at the end. A run takes about
/// `run_ms` when it is left alone.
fn one_seed(log: Log, seed: u64, run_ms: u64, tally: &mut Tally) {
    let mut random = Random::new(seed ^ u64::from(std::process::id()));
    let sizes = Sizes {
        sessions: 32 + random.below(40) as usize,
        messages: 160 + random.below(800) as usize,
        seed: random.below(1 << 20),
    };
    let rows = 5 + random.below(100);
    let trial = Trial::sized(log, sizes, rows);
    trial.expect(&["provision", "apply"], 0);
    let followed = random.below(2) == 0;
    if followed {
        trial.expect(&["follow", "--install", "--confirm", "MIGRATION"], 0);
    }
    let rounds = if std::env::var_os("CROSSFADE_CAMPAIGN").is_some() { 12 } else { 6 };
    let mut story = format!("seed {seed}: {sizes:?}, transactions of {rows} rows");
    for _ in 0..rounds {
        let args: &[&str] = match random.below(if followed { 12 } else { 8 }) {
            0..4 => &["replay"],
            4 => &["replay", "--recopy"],
            5 | 6 => &["project"],
            7 => &["project", "--rebuild"],
            _ => &["follow", "--until-caught-up"],
        };
        let delay = Duration::from_millis(random.below(run_ms));
        story += &format!("\n{args:?} for {delay:?}");
        let child = Child::start(trial.command(args, &[]));
        std::thread::sleep(delay);
        match child.kill_if_alive() {
            Ok(()) => tally.kills += 1,
            Err((status, said)) => {
                // A follow refuses to begin before its replay is done.
                let early = args[0] == "follow" && status.code() == Some(3) && said.contains("replay");
                assert!(status.success() || early, "{status}: {said}\n{story}");
            }
        }
        if random.below(3) > 0 {
            story += ", then changes";
            trial.change_legacy();
        }
    }
    let ran = trial.run(&["replay"]);
    assert_eq!(ran.code, Some(0), "{}\n{story}", ran.stderr);
    let _told = Told(&story);
    trial.assert_passes();
    tally.passes += 1;
}

/// Shows how a seed went when the proof fails.
struct Told<'a>(&'a str);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

fn campaign(name: &str, log: Log, run_ms: u64) {
    let seeds = std::env::var("CROSSFADE_SEEDS").map_or(3, |seeds| seeds.parse().expect("CROSSFADE_SEEDS, a number"));
    let mut tally = Tally::default();
    for seed in 1..=seeds {
        one_seed(log, seed, run_ms, &mut tally);
    }
    println!("campaign: {name} seeds={seeds} kills={} passes={}", tally.kills, tally.passes);
    assert!(tally.kills > 0, "no kill met a running process");
    assert_eq!(tally.passes as u64, seeds);
}

#[test]
fn campaign_random_kills_embedded() {
    campaign("campaign_random_kills_embedded", Log::Embedded, 400);
}

#[test]
#[ignore = "needs Kafka"]
fn campaign_random_kills_kafka() {
    campaign("campaign_random_kills_kafka", Log::Kafka, 4_000);
}
