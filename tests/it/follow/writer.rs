//! The legacy's program at work beside everything: it sees no error, and at the end the rows are equal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::support::cli::{Log, Migration};
use crate::support::crash::{Child, Random, signal};
use crate::support::ends::Ends;
use crate::support::flow::{confirmed_pass, events, generated, mapping, on_both_logs, open_log};

on_both_logs!(i02_a_program_at_work_is_followed_under_kills_and_sees_no_error);

/// What one stretch of writing came to.
#[derive(Debug)]
pub struct Worked {
    pub transactions: u64,
    worst: Duration,
    p99: Duration,
}

/// A program that behaves as ACC does: about 300 transactions a second on one connection that waits a second for a lock.
/// Any error ends the test.
pub struct Program {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Worked>,
}

impl Program {
    pub fn start(migration: &Migration, seed: u64) -> Self {
        let (stop, path) = (Arc::new(AtomicBool::new(false)), migration.legacy());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let connection = Connection::open(path).unwrap();
            let pragmas = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;
                PRAGMA busy_timeout = 1000";
            connection.execute_batch(pragmas).unwrap();
            let mut random = Random::new(seed);
            let mut waits = Vec::new();
            let began = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                let number = waits.len() as u64;
                let script = write(&mut random, number, seed);
                let at = Instant::now();
                connection.execute_batch(&script).unwrap_or_else(|error| panic!("write {number}: {error} in {script}"));
                waits.push(at.elapsed());
                let due = Duration::from_micros(3_333) * (number as u32 + 1);
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
            waits.sort();
            Worked {
                transactions: waits.len() as u64,
                worst: *waits.last().unwrap(),
                p99: waits[waits.len() * 99 / 100],
            }
        });
        Self { stop, thread }
    }

    pub fn end(self) -> Worked {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the program saw an error")
    }
}

/// One transaction of the program.
fn write(random: &mut Random, number: u64, seed: u64) -> String {
    let session = format!("(SELECT id FROM sessions LIMIT 1 OFFSET {})", random.below(40));
    let id = format!("'live-{seed}-{number}'");
    let message = format!(
        "INSERT INTO messages (id, session_id, agent_type, message_type, content, cost, tools_used)
         VALUES ({id}, {session}, 'worker', 'response', 'text ' || hex(randomblob({})), {}, '[\"a\"]');",
        random.below(400),
        random.below(100) as f64 / 7.0
    );
    match random.below(12) {
        0..=5 => message,
        6 | 7 => format!(
            "BEGIN; {message} INSERT OR REPLACE INTO session_summaries (session_id, total_messages, success_rate)
             SELECT session_id, count(*), 0.5 FROM messages WHERE session_id = {session} GROUP BY 1; COMMIT;"
        ),
        8 => format!("UPDATE sessions SET status = 'completed', end_time = '{number}' WHERE id = {session};"),
        9 => format!("DELETE FROM messages WHERE id = (SELECT id FROM messages LIMIT 1 OFFSET {});", random.below(50)),
        10 => format!(
            "BEGIN; {message} SAVEPOINT s; DELETE FROM messages WHERE session_id = {session}; ROLLBACK TO s;
             UPDATE messages SET content = 'again', exit_code = NULL WHERE id = {id}; COMMIT;"
        ),
        _ => format!(
            "INSERT OR REPLACE INTO sessions (id, initial_task, work_dir) VALUES ('s-{seed}-{}', 'task', '/');
             INSERT INTO sessions (id, initial_task, work_dir) VALUES ('s-{seed}-1', 'again', '/')
                 ON CONFLICT (id) DO UPDATE SET initial_task = excluded.initial_task || {number};",
            random.below(20)
        ),
    }
}

/// What the program feels of two processors at work on something else.
fn beside_load(migration: &Migration) -> Worked {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::black_box(crossfade::base::hex(&[7; 64]));
                }
            });
        }
        let _ended = Ends(&stop);
        let program = Program::start(migration, 3);
        std::thread::sleep(seconds(2));
        program.end()
    })
}

fn seconds(default: u64) -> Duration {
    Duration::from_secs(if std::env::var_os("CROSSFADE_CAMPAIGN").is_some() { 10 * default } else { default })
}

fn i02_a_program_at_work_is_followed_under_kills_and_sees_no_error(log: Log) {
    let sizes = crossfade::demo::Sizes { sessions: 60, messages: 1_500, seed: 11 };
    let migration = generated(log, sizes, "");
    let alone = {
        let program = Program::start(&migration, 1);
        std::thread::sleep(seconds(2));
        program.end()
    };
    let loaded = beside_load(&migration);
    let program = Program::start(&migration, 2);
    migration.expect(&["provision", "apply"], 0);
    migration.expect(&["follow", "--install", "--confirm", &migration.name], 0);
    migration.expect(&["replay"], 0);
    let live = Child::start(migration.command(&["project", "--live"]));
    let mut random = Random::new(u64::from(std::process::id()));
    let (began, mut kills) = (Instant::now(), 0);
    // Some of them come before the command has begun.
    while began.elapsed() < seconds(6) || (kills <= 3 && began.elapsed() < seconds(30)) {
        let child = Child::start(migration.command(&["follow"]));
        std::thread::sleep(Duration::from_millis(50 + random.below(1_200)));
        match child.kill_if_alive() {
            Ok(()) => kills += 1,
            Err((status, said)) => panic!("follow ended by itself: {status}\n{said}"),
        }
    }
    let beside = program.end();
    migration.expect(&["follow", "--until-caught-up"], 0);
    signal("INT", live.id());
    let (status, said) = live.wait();
    assert_eq!(status.code(), Some(130), "{said}");
    migration.expect(&["project"], 0);
    confirmed_pass(&migration);
    let told = events(open_log(&migration).as_ref(), &mapping(&migration));
    let ids: std::collections::BTreeSet<&str> = told.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), told.len(), "an id is there twice");
    let followed = told.iter().filter(|event| event.source.ends_with("#follow")).count() as u64;
    assert!(told.iter().all(|event| !event.source.ends_with("#reconcile")), "nothing was left to be reconciled");
    assert!(kills > 3 && followed > beside.transactions / 2, "{kills} kills, {followed} events, {beside:?}");
    for (name, worked) in [("alone", &alone), ("beside an equal load", &loaded), ("beside crossfade", &beside)] {
        println!("writer {name}: worst {:?}, p99 {:?} of {}", worked.worst, worked.p99, worked.transactions);
    }
    assert!(beside.worst < Duration::from_millis(900), "{beside:?}");
}
