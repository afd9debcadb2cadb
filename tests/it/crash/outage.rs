//! Brokers that go away under the commands that go on, on a cluster for that.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crossfade::port::event_log::ends;
use crossfade::port::row_store::RowStore;
use crossfade::sqlite::store::SqliteStore;

use crate::follow::writer::Program;
use crate::support::cli::Log;
use crate::support::crash::{Child, Cluster, Trial, Victim, signal};
use crate::support::scrape::{free_address, scrape};

/// Waits until a figure is what is wanted.
#[track_caller]
fn until(address: SocketAddr, figure: &str, fits: impl Fn(f64) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut last = None;
    while Instant::now() < deadline {
        last = scrape(address).map(|figures| figures[figure]);
        if last.is_some_and(&fits) {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("{figure} is {last:?} at last");
}

/// All brokers down for so long, and up again.
fn all_down(cluster: &Cluster, long: Duration) {
    let down: Vec<_> = (1..=3).map(|broker| cluster.kill(broker)).collect();
    std::thread::sleep(long);
    std::thread::scope(|scope| down.into_iter().for_each(|down| drop(scope.spawn(move || drop(down)))));
}

#[test]
#[ignore = "needs Kafka"]
fn i02_follow_and_project_go_on_by_themselves_when_brokers_come_back() {
    brokers_come_and_go(&[3], &[8]);
}

#[test]
#[ignore = "needs Kafka"]
fn campaign_brokers_come_and_go() {
    // Shorter than a reader's patience, and longer.
    let transactions = brokers_come_and_go(&[1, 3], &[8, 45]);
    println!("campaign: campaign_brokers_come_and_go seeds=1 transactions={transactions}");
}

/// Single brokers go down one after the other, then all of them for so many seconds; gives what the program did meanwhile.
fn brokers_come_and_go(single: &[u32], all: &[u64]) -> u64 {
    let cluster = Victim::take();
    let trial = Trial::new(Log::Kafka, 23).on(&cluster.brokers);
    let migration = &trial.migration;
    trial.expect(&["provision", "apply"], 0);
    trial.expect(&["follow", "--install", "--confirm", "MIGRATION"], 0);
    trial.expect(&["replay"], 0);
    let at = [free_address(), free_address(), free_address()];
    let metrics = at.map(|address| address.to_string());
    let commands: [&[&str]; 3] = [
        &["follow", "--metrics", &metrics[0]],
        &["project", "--live", "--shared", "--metrics", &metrics[1]],
        &["project", "--live", "--shared", "--metrics", &metrics[2]],
    ];
    let mut children: Vec<Child> = commands.iter().map(|args| Child::start(trial.command(args, &[]))).collect();
    until(at[0], "crossfade_follow_commits_total", |_| true);
    let program = Program::start(migration, 4);
    until(at[0], "crossfade_follow_events_total", |events| events > 0.0);
    for broker in single {
        let down = cluster.kill(*broker);
        std::thread::sleep(Duration::from_secs(5));
        drop(down);
        std::thread::sleep(Duration::from_secs(3));
    }
    for long in all {
        all_down(&cluster, Duration::from_secs(*long));
        std::thread::sleep(Duration::from_secs(3));
        if let Some(at) = children.iter_mut().position(|child| !child.alive()) {
            panic!("{:?} ended: {:?}", commands[at], children.swap_remove(at).wait());
        }
    }
    let worked = program.end();
    until(at[0], "crossfade_follow_reconnects_total", |count| count >= 1.0);
    until(at[0], "crossfade_follow_lag_changes", |lag| lag == 0.0);
    let store = SqliteStore::new(migration.projection());
    let (log, mapping) = (trial.log(), trial.mapping());
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let ends = ends(log.as_ref(), &mapping).unwrap();
        let positions = store.state().unwrap().unwrap().positions;
        if ends.iter().all(|(place, end)| positions.get(place).is_some_and(|at| at >= end)) {
            break;
        }
        assert!(Instant::now() < deadline, "{positions:?} of {ends:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
    for child in children {
        signal("INT", child.id());
        let (status, said) = child.wait();
        eprintln!("{said}");
        assert_eq!(status.code(), Some(130), "{said}");
    }
    trial.expect(&["follow", "--until-caught-up"], 0);
    trial.assert_passes();
    worked.transactions
}
