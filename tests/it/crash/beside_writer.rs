//! The legacy's program at work for a minute and more while every command runs beside it and is killed at random, as are
//! brokers and the database's server.

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossfade::demo::Sizes;

use super::chains::assert_chained;
use crate::follow::writer;
use crate::support::cli::Log;
use crate::support::crash::{Child, Cluster, Random, Trial};
use crate::support::flow::{events, json};
use crate::support::postgres::{Database, Server, acc, projection, same_rows};
use crate::support::program;

/// Where the legacy's rows are, and how its changes are recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Legacy {
    Sqlite,
    Decoding,
    Outbox,
}

enum Program {
    Sqlite(writer::Program),
    Postgres(program::Program),
}

/// A broker or server that is back may be felt for so long.
const GRACE: Duration = Duration::from_secs(20);
/// A command that goes on for ever has begun by then, and waits for whatever goes away.
const BEGUN: Duration = Duration::from_secs(10);
/// Rows a second of a replay, so that there is a middle to be killed in.
const THROTTLE: &str = "1000";

/// One seed's run. All that is random about it comes from its seed.
struct Stage<'a> {
    trial: &'a Trial,
    over: AtomicBool,
    /// From when and until when a broker or the server was down, or is felt to have been.
    felt: Mutex<Vec<(Instant, Instant)>>,
    tally: &'a Mutex<BTreeMap<String, u64>>,
}

/// Ends a stage's threads, also when the test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Stage<'_> {
    /// Sleeps for less than so many milliseconds; `false` once the stage is over.
    fn pause(&self, least: u64, more: u64, random: &mut Random) -> bool {
        let until = Instant::now() + Duration::from_millis(least + random.below(more));
        while Instant::now() < until && !self.over.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        !self.over.load(Ordering::Relaxed)
    }

    fn count(&self, what: &str) {
        *self.tally.lock().unwrap().entry(what.to_owned()).or_default() += 1;
    }

    /// What came of a command that was killed or ended: it ends by itself only when it is through, or when a broker or the
    /// server was down, and then says so.
    fn judge(&self, args: &[&str], began: Instant, ended: Result<(), (ExitStatus, String)>) -> Option<i32> {
        let Err((status, said)) = ended else {
            self.count("kills");
            return None;
        };
        let waits = args == ["follow"] || args.contains(&"--live");
        let felt =
            self.felt.lock().unwrap().iter().any(|(from, until)| *until >= began && (!waits || *from < began + BEGUN));
        let clear = said.contains("error: ") && said.contains("help: ") && !said.contains("panicked");
        match status.code() {
            Some(code @ 0) => Some(code),
            Some(code @ 2) if felt && clear => {
                eprintln!("{args:?} ended after {:?}: {said}", began.elapsed());
                self.count("excused");
                Some(code)
            }
            Some(code @ 5) if args[0] == "diff" => Some(code),
            _ => panic!(
                "{args:?} ended after {:?} (a broker or server was down: {felt}): {status}\n{said}",
                began.elapsed()
            ),
        }
    }

    /// Starts a command again and again, and kills it.
    fn kill_again_and_again(&self, args: &[&str], longest: u64, mut random: Random) {
        while !self.over.load(Ordering::Relaxed) {
            let (began, child) = (Instant::now(), Child::start(self.trial.command(args, &[])));
            let longest = if random.below(4) == 0 { 5 * longest } else { longest };
            self.pause(50, longest, &mut random);
            let ended = self.judge(args, began, child.kill_if_alive());
            assert_ne!(ended, Some(0), "{args:?} ended by itself");
        }
    }

    /// Compares again and again; some comparisons are killed.
    fn compare_again_and_again(&self, mut random: Random) {
        while self.pause(100, 2_000, &mut random) {
            let args = ["diff", "--report", "md=diff.md"];
            let (began, mut child) = (Instant::now(), Child::start(self.trial.command(&args, &[])));
            if random.below(4) == 0 {
                self.pause(50, 1_500, &mut random);
            } else {
                while child.alive() && began.elapsed() < Duration::from_secs(100) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                assert!(!child.alive(), "a diff without an end");
            }
            let ended = child.kill_if_alive();
            if matches!(&ended, Err((status, _)) if status.code() == Some(1)) {
                panic!("false alarm:\n{}", std::fs::read_to_string(self.trial.migration.path("diff.md")).unwrap());
            }
            match self.judge(&args, began, ended) {
                Some(0) => self.count("diffs_passed"),
                Some(5) => self.count("diffs_inconclusive"),
                _ => {}
            }
        }
    }

    /// Kills a broker or the server and starts it again; never two at once, as a broker's copies have to catch up first.
    fn break_again_and_again(&self, cluster: Option<&Cluster>, server: Option<&Server>, mut random: Random) {
        while (cluster.is_some() || server.is_some())
            && self.pause(if cluster.is_some() { 9_000 } else { 3_000 }, 9_000, &mut random)
        {
            let (broker, which) = (1 + random.below(3) as u32, random.below(2) == 0);
            let from = Instant::now();
            self.felt.lock().unwrap().push((from, from + Duration::from_secs(3_600)));
            match (cluster, server) {
                (Some(cluster), server) if which || server.is_none() => {
                    let down = cluster.kill(broker);
                    self.pause(200, 6_000, &mut random);
                    drop(down);
                    self.count("brokers_killed");
                }
                (_, Some(server)) => {
                    server.does("kill");
                    self.pause(200, 4_000, &mut random);
                    server.does("restart");
                    self.count("servers_killed");
                }
                _ => {}
            }
            self.felt.lock().unwrap().last_mut().unwrap().1 = Instant::now() + GRACE;
        }
    }

    /// Runs a command until it is through; only what was down excuses another attempt.
    #[track_caller]
    fn through(&self, args: &[&str]) {
        for _ in 0..10 {
            let (began, child) = (Instant::now(), Child::start(self.trial.command(args, &[])));
            if self.judge(args, began, Err(child.wait())) == Some(0) {
                return;
            }
            std::thread::sleep(Duration::from_secs(2));
        }
        panic!("{args:?} does not end well");
    }

    /// A replay that is killed in most of its runs, while rows it has copied change.
    fn replay(&self, random: &mut Random) {
        let longest = if self.trial.migration.log == Log::Kafka { 4_000 } else { 1_500 };
        let args = ["replay", "--throttle", THROTTLE];
        for _ in 0..3 + random.below(4) {
            let (began, child) = (Instant::now(), Child::start(self.trial.command(&args, &[])));
            self.pause(100, longest, random);
            self.judge(&args, began, child.kill_if_alive());
            if self.trial.migration.legacy().exists() {
                self.trial.change_legacy();
            }
        }
        self.through(&["replay"]);
    }

    fn run(&self, seconds: u64, (cluster, server): (Option<&Cluster>, Option<&Server>), mut random: Random) {
        let mut next = || Random::new(random.below(1 << 40));
        std::thread::scope(|scope| {
            let _over = Over(&self.over);
            let of = next();
            scope.spawn(|| self.break_again_and_again(cluster, server, of));
            self.replay(&mut next());
            let of = [next(), next(), next()];
            let [follow, live, diff] = of;
            let threads = [
                scope.spawn(|| self.kill_again_and_again(&["follow"], 4_000, follow)),
                scope.spawn(|| self.kill_again_and_again(&["project", "--live"], 6_000, live)),
                scope.spawn(|| self.compare_again_and_again(diff)),
            ];
            let began = Instant::now();
            while began.elapsed() < Duration::from_secs(seconds) && !threads.iter().any(|thread| thread.is_finished()) {
                std::thread::sleep(Duration::from_millis(50));
            }
        });
    }
}

/// One migration under a program at work.
fn one_seed(legacy: Legacy, log: Log, cluster: Option<&Cluster>, seed: u64, tally: &Mutex<BTreeMap<String, u64>>) {
    let mut random = Random::new(seed);
    let seconds = 60 + random.below(30);
    let breaks = seed.is_multiple_of(2);
    eprintln!("{legacy:?} on {log:?}, seed {seed}: {seconds} s, the database's server is killed: {breaks}");
    let server = (legacy != Legacy::Sqlite).then(Server::start);
    let database = server.as_ref().map(Database::on);
    let rows = 100 + random.below(1_000);
    let mut trial = match &database {
        None => Trial::sized(log, Sizes { sessions: 60, messages: 3_000, seed }, rows),
        Some(database) => {
            database.execute(&program::store());
            let more = format!("replay:\n  transaction_rows: {rows}\n{}", projection(database, true));
            Trial::of(acc(log, database, &more), seed, rows)
        }
    };
    if let Some(cluster) = cluster {
        trial = trial.on(&cluster.brokers);
    }
    let program = match &database {
        None => Program::Sqlite(writer::Program::start(&trial.migration, seed)),
        Some(database) => Program::Postgres(program::Program::start(database, seed, breaks)),
    };
    trial.expect(&["provision", "apply"], 0);
    let mode = if legacy == Legacy::Decoding { "decoding" } else { "outbox" };
    trial.expect(&["follow", "--install", "--mode", mode, "--confirm", "MIGRATION"], 0);
    let stage = Stage { trial: &trial, over: AtomicBool::new(false), felt: Mutex::default(), tally };
    stage.run(seconds, (cluster, server.as_ref().filter(|_| breaks)), random);
    let (transactions, errors) = match program {
        Program::Sqlite(program) => (program.end().transactions, 0),
        Program::Postgres(program) => {
            let written = program.end();
            (written.transactions, written.errors)
        }
    };
    stage.through(&["follow", "--until-caught-up"]);
    stage.through(&["project"]);
    let report = match &database {
        None => {
            trial.assert_passes();
            diff_of(&trial)
        }
        Some(database) => {
            let report = diff_of(&trial);
            for table in &trial.mapping().tables {
                same_rows(database, &table.name, &table.fields().collect::<Vec<_>>());
            }
            trial.expect(&["journal", "verify"], 0);
            report
        }
    };
    let told = events(trial.log().as_ref(), &trial.mapping());
    let rows = assert_chained(&told, &trial.mapping());
    assert_eq!(report["totals"]["compared"], rows, "{report:#}");
    let followed = told.iter().filter(|event| event.source.ends_with("#follow")).count() as u64;
    assert!(followed > transactions / 2, "{followed} events of {transactions} transactions");
    let mut tally = tally.lock().unwrap();
    for (what, more) in
        [("transactions", transactions), ("errors", errors), ("events", told.len() as u64), ("passes", 1)]
    {
        *tally.entry(what.to_owned()).or_default() += more;
    }
    eprintln!("{legacy:?} on {log:?}, seed {seed}: {transactions} transactions, {rows} rows, {tally:?} so far");
}

/// A PASS with every row compared.
#[track_caller]
fn diff_of(trial: &Trial) -> serde_json::Value {
    let ran = trial.expect(&["diff", "--output", "json"], 0);
    let report = json(&ran.stdout);
    assert_eq!((&report["verdict"], &report["totals"]["skipped"]), (&"PASS".into(), &0.into()), "{report:#}");
    report
}

/// Every tenth of the seeds asked for, because each takes minutes; or the one that `CROSSFADE_SEED` names, to see it again.
fn campaign(name: &str, legacy: Legacy, log: Log) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seeds =
        number("CROSSFADE_SEED").map_or(1..=number("CROSSFADE_SEEDS").unwrap_or(10).div_ceil(10), |one| one..=one);
    let cluster = (log == Log::Kafka).then(Cluster::start);
    let tally = Mutex::new(BTreeMap::new());
    for seed in seeds.clone() {
        one_seed(legacy, log, cluster.as_ref(), seed, &tally);
    }
    let counts: String = tally.into_inner().unwrap().iter().map(|(what, count)| format!(" {what}={count}")).collect();
    println!("campaign: {name} seeds={}{counts}", seeds.count());
}

#[test]
fn campaign_writer_under_kills_sqlite_embedded() {
    campaign("campaign_writer_under_kills_sqlite_embedded", Legacy::Sqlite, Log::Embedded);
}

#[test]
#[ignore = "needs Kafka"]
fn campaign_writer_under_kills_sqlite_kafka() {
    campaign("campaign_writer_under_kills_sqlite_kafka", Legacy::Sqlite, Log::Kafka);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn campaign_writer_under_kills_decoding_embedded() {
    campaign("campaign_writer_under_kills_decoding_embedded", Legacy::Decoding, Log::Embedded);
}

#[test]
#[ignore = "needs PostgreSQL and Kafka"]
fn campaign_writer_under_kills_decoding_kafka() {
    campaign("campaign_writer_under_kills_decoding_kafka", Legacy::Decoding, Log::Kafka);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn campaign_writer_under_kills_outbox_embedded() {
    campaign("campaign_writer_under_kills_outbox_embedded", Legacy::Outbox, Log::Embedded);
}

#[test]
#[ignore = "needs PostgreSQL and Kafka"]
fn campaign_writer_under_kills_outbox_kafka() {
    campaign("campaign_writer_under_kills_outbox_kafka", Legacy::Outbox, Log::Kafka);
}
