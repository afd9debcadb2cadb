//! Programs that hold a snapshot when they write: whatever commits beside them, they see no error.

use std::time::{Duration, Instant};

use crossfade::event::Op;

use crate::reverse::sqlite::{message, sessions};
use crate::support::cli::{Log, Migration};
use crate::support::crash::Child;
use crate::support::flow::{confirmed_pass, generated};
use crate::support::gateway::Gateway;
use crate::support::habits::{HABITS, Programs};

const SIZES: crossfade::demo::Sizes = crossfade::demo::Sizes { sessions: 32, messages: 300, seed: 5 };

/// How long a stretch of it takes.
fn stretch() -> Duration {
    Duration::from_secs(if std::env::var_os("CROSSFADE_CAMPAIGN").is_some() { 60 } else { 4 })
}

fn migration() -> Migration {
    let migration = generated(Log::Embedded, SIZES, "");
    migration.expect(&["provision", "apply"], 0);
    migration.expect(&["replay"], 0);
    migration
}

/// Installs capture and takes it away again.
fn install_and_uninstall(migration: &Migration) {
    migration.expect(&["follow", "--install", "--confirm", &migration.name], 0);
    migration.expect(&["follow", "--uninstall", "--confirm", &migration.name], 0);
}

fn beside(habits: &[&str]) {
    let migration = migration();
    let programs = Programs::start(&migration.legacy(), habits);
    let began = Instant::now();
    let mut rounds = 0;
    while rounds == 0 || began.elapsed() < stretch() {
        install_and_uninstall(&migration);
        rounds += 1;
    }
    println!("{rounds} rounds of install and uninstall");
    programs.end_unharmed();
}

#[test]
fn i09_a_program_whose_reads_stay_open_sees_no_error_beside_install_and_uninstall() {
    beside(&["open-read"]);
}

#[test]
fn i09_a_program_whose_transactions_begin_with_a_read_sees_no_error_beside_install_and_uninstall() {
    beside(&["deferred"]);
}

#[test]
fn i09_a_program_that_keeps_a_statement_for_seconds_sees_no_error_beside_install_and_uninstall() {
    beside(&["kept"]);
}

#[test]
fn i09_programs_that_read_before_they_write_see_no_error_beside_reverse() {
    let migration = migration();
    migration.expect(&["project", "--reverse", "--install", "--confirm", &migration.name], 0);
    let gateway = Gateway::of(&migration);
    let all = sessions(&migration);
    gateway.take("sessions", &all);
    let programs = Programs::start(&migration.legacy(), &HABITS);
    let (began, mut round) = (Instant::now(), 0);
    while round == 0 || began.elapsed() < stretch() {
        for number in 0..200 {
            let row = message(&all[number % all.len()], &format!("made-{round}-{number}"), number as i64);
            gateway.once("messages", Op::Insert, &row, &format!("change {round} {number}"));
        }
        migration.expect(&["project", "--reverse"], 0);
        round += 1;
    }
    println!("{round} rounds of reverse");
    programs.end_unharmed();
}

#[test]
fn i09_programs_that_read_before_they_write_see_no_error_beside_readers() {
    let migration = migration();
    let programs = Programs::start(&migration.legacy(), &HABITS);
    let began = Instant::now();
    while began.elapsed() < stretch() {
        migration.expect(&["replay"], 0);
        migration.expect(&["project"], 0);
        migration.run(&["diff"]);
        migration.run(&["status"]);
    }
    programs.end_unharmed();
    migration.expect(&["replay"], 0);
    migration.expect(&["project"], 0);
    confirmed_pass(&migration);
}

#[test]
fn i09_a_program_that_always_holds_a_snapshot_is_named_and_nothing_is_installed() {
    let migration = migration();
    let programs = Programs::start(&migration.legacy(), &["endless"]);
    let ran = migration.run(&["follow", "--install", "--confirm", &migration.name, "--wait", "2"]);
    assert_eq!(ran.code, Some(3), "{}{}", ran.stdout, ran.stderr);
    let named = format!("process {} (python3)", programs.ids()[0]);
    assert!(ran.stderr.contains(&named), "{}", ran.stderr);
    programs.end_unharmed();
    assert!(migration.expect(&["follow", "--uninstall"], 0).contains("nothing to do"));
    install_and_uninstall(&migration);
}

#[test]
fn i09_a_kill_while_the_gate_is_closed_harms_nobody_and_leaves_nothing_behind() {
    let migration = migration();
    let programs = Programs::start(&migration.legacy(), &HABITS);
    for _ in 0..3 {
        let mut command = migration.command(&["follow", "--install", "--confirm", &migration.name]);
        command.env("CROSSFADE_STOP_AT", "gate.closed");
        Child::at(command, "gate.closed").kill();
        assert!(migration.expect(&["follow", "--uninstall"], 0).contains("nothing to do"));
    }
    programs.end_unharmed();
    install_and_uninstall(&migration);
}
