//! Projectors that share the partitions, killed and started at random while events flow.

use std::os::unix::process::ExitStatusExt;
use std::time::{Duration, Instant};

use crossfade::port::event_log::ends;
use crossfade::port::row_store::RowStore;
use crossfade::postgres::store::PostgresStore;
use crossfade::sqlite::store::SqliteStore;

use super::writer::Program;
use crate::support::cli::{Log, Migration};
use crate::support::crash::{Child, Random, signal};
use crate::support::flow::{confirmed_pass, diff, generated, mapping, on_both_logs, open_log};
use crate::support::postgres::{Database, password};

on_both_logs!(i08_three_sharers_under_kills_leave_what_one_would, a_sharer_gives_way_to_a_rebuild);

const SIZES: crossfade::demo::Sizes = crossfade::demo::Sizes { sessions: 60, messages: 1_500, seed: 11 };

fn sharer(migration: &Migration, number: usize) -> Child {
    let mut args = vec!["project", "--live", "--shared"];
    // One of them is a static member.
    if number == 0 {
        args.extend(["--member", "first"]);
    }
    Child::start(migration.command(&args))
}

/// Waits until the store stands at the log's ends, with the sharers alive.
#[track_caller]
fn await_ends(migration: &Migration, store: &dyn RowStore, sharers: &mut [Child]) {
    let (log, mapping) = (open_log(migration), mapping(migration));
    let ends = ends(log.as_ref(), &mapping).unwrap();
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        // None of them may have been let into the group so far.
        let positions = store.state().unwrap().unwrap_or_default().positions;
        let late: Vec<_> = ends.iter().filter(|(place, end)| positions.get(*place).unwrap_or(&0) < *end).collect();
        if late.is_empty() {
            return;
        }
        for (number, sharer) in sharers.iter_mut().enumerate() {
            assert!(sharer.alive(), "sharer {number} has ended");
        }
        assert!(Instant::now() < deadline, "the store is behind: {late:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Lets three sharers come and go while a program writes and follow tells of it; gives the kills.
fn churn(migration: &Migration, store: &dyn RowStore) -> u32 {
    migration.expect(&["provision", "apply"], 0);
    migration.expect(&["follow", "--install", "--confirm", &migration.name], 0);
    migration.expect(&["replay"], 0);
    let program = Program::start(migration, 5);
    let follow = Child::start(migration.command(&["follow"]));
    let mut random = Random::new(u64::from(std::process::id()));
    let mut slots: Vec<Option<Child>> = (0..3).map(|number| Some(sharer(migration, number))).collect();
    let (began, mut kills) = (Instant::now(), 0);
    // Which one is killed is drawn, so some of these seconds have few kills.
    let long = |kills| Duration::from_secs(if kills > 2 { 12 } else { 60 });
    while began.elapsed() < long(kills) {
        std::thread::sleep(Duration::from_millis(200 + random.below(900)));
        let number = random.below(3) as usize;
        slots[number] = match slots[number].take() {
            None => Some(sharer(migration, number)),
            Some(child) if random.below(3) == 0 => {
                signal("INT", child.id());
                let (status, said) = child.wait();
                // One that had just begun may not have been listening yet.
                assert!(status.code() == Some(130) || status.signal() == Some(2), "{status}: {said}");
                None
            }
            Some(child) => {
                if let Err((status, said)) = child.kill_if_alive() {
                    panic!("a sharer ended by itself: {status}\n{said}");
                }
                kills += 1;
                Some(sharer(migration, number))
            }
        };
    }
    program.end();
    signal("INT", follow.id());
    assert_eq!(follow.wait().0.code(), Some(130));
    migration.expect(&["follow", "--until-caught-up"], 0);
    let mut sharers: Vec<Child> =
        slots.into_iter().enumerate().map(|(number, slot)| slot.unwrap_or_else(|| sharer(migration, number))).collect();
    await_ends(migration, store, &mut sharers);
    for sharer in sharers {
        signal("INT", sharer.id());
        let (status, said) = sharer.wait();
        assert_eq!(status.code(), Some(130), "{said}");
    }
    kills
}

/// Rows with their last events, as a snapshot has them.
fn rows(migration: &Migration, file: &str) -> Vec<String> {
    migration.expect(&["project", "--snapshot", file], 0);
    let text = std::fs::read_to_string(migration.path(file)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut rows: Vec<String> = lines[1..lines.len() - 1].iter().map(|line| (*line).to_owned()).collect();
    rows.sort();
    rows
}

/// The rows that the sharers left are those of a fold by one, each with the same last event.
#[track_caller]
fn as_one_would(migration: &Migration) {
    let shared = rows(migration, "shared.snap");
    migration.expect(&["project", "--rebuild"], 0);
    assert_eq!(shared, rows(migration, "alone.snap"));
}

fn i08_three_sharers_under_kills_leave_what_one_would(log: Log) {
    let migration = generated(log, SIZES, "");
    let kills = churn(&migration, &SqliteStore::new(migration.projection()));
    assert!(kills > 2, "{kills} kills");
    confirmed_pass(&migration);
    as_one_would(&migration);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i08_three_sharers_under_kills_leave_in_postgresql_what_one_would() {
    let database = Database::new();
    let more = format!("projection: {}\nprojection_password_file: password\n", database.url());
    let migration = generated(Log::Embedded, SIZES, &more);
    std::fs::write(migration.path("password"), password()).unwrap();
    let kills = churn(&migration, &PostgresStore::new(database.login()));
    assert!(kills > 2, "{kills} kills");
    assert_eq!(diff(&migration, &[], 0)["verdict"], "PASS");
    as_one_would(&migration);
}

fn a_sharer_gives_way_to_a_rebuild(log: Log) {
    let migration = generated(log, SIZES, "");
    migration.expect(&["provision", "apply"], 0);
    migration.expect(&["replay"], 0);
    let mut sharers = [sharer(&migration, 1)];
    let store = SqliteStore::new(migration.projection());
    let deadline = Instant::now() + Duration::from_secs(30);
    while store.state().unwrap().is_none() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(20));
    }
    await_ends(&migration, &store, &mut sharers);
    migration.expect(&["project", "--rebuild"], 0);
    // It finds out with what it is to write next.
    crate::support::flow::execute(&migration.legacy(), "UPDATE sessions SET status = 'failed'");
    migration.expect(&["replay"], 0);
    for sharer in sharers {
        let (status, said) = sharer.wait();
        assert_eq!(status.code(), Some(4), "{said}");
        assert!(said.contains("was claimed by a newer run"), "{said}");
    }
    migration.expect(&["project"], 0);
    confirmed_pass(&migration);
}
