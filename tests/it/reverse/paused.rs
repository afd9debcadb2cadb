//! One writer of the legacy's rows at a time, whoever sleeps.

use std::path::Path;

use crossfade::event::Op;
use crossfade::port::legacy_sink::LegacySink;
use crossfade::project::Reverse;
use crossfade::sqlite::sink::SqliteSink;

use super::sqlite::{message, ready, sessions};
use crate::support::cli::{Log, Migration};
use crate::support::crash::{Child, signal};
use crate::support::flow::{column, on_both_logs};
use crate::support::gateway::Gateway;

on_both_logs!(
    i01_a_paused_reverse_writer_that_wakes_up_after_the_transfer_changes_nothing,
    i01_a_paused_reverse_writer_that_wakes_up_after_another_took_over_changes_nothing,
);

/// Starts reverse and waits until it has stopped itself at a boundary.
fn paused(migration: &Migration, boundary: &str) -> Child {
    let mut command = migration.command(&["project", "--reverse"]);
    command.env("CROSSFADE_TRANSACTION_ROWS", "20").env("CROSSFADE_PAUSE_AT", format!("{boundary}:1"));
    let mut child = Child::at(command, boundary);
    child.await_stopped();
    child
}

/// Lets it go on; it must end refused, with nothing changed.
#[track_caller]
fn wakes_up_refused(child: Child) {
    signal("CONT", child.id());
    let (status, said) = child.wait();
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(said.contains("was claimed by a newer writer"), "{said}");
}

fn content(path: &Path, id: &str) -> Vec<String> {
    column(path, &format!("SELECT content FROM messages WHERE id = '{id}'"))
}

fn i01_a_paused_reverse_writer_that_wakes_up_after_the_transfer_changes_nothing(log: Log) {
    let migration = ready(log);
    let gateway = Gateway::of(&migration);
    let owned = sessions(&migration)[0].clone();
    gateway.take("sessions", std::slice::from_ref(&owned));
    gateway.once("messages", Op::Insert, &message(&owned, "m", 1), "1");
    let child = paused(&migration, "reverse.claimed");

    let sink = SqliteSink::new(migration.legacy(), &migration.name, gateway.mapping.clone());
    let drain = &mut || {
        let reverse = Reverse {
            log: gateway.log.as_ref(),
            sink: &sink,
            mapping: &gateway.mapping,
            migration: &gateway.name,
            progress: &crossfade::port::progress::Silent,
        };
        let done = reverse.catch_up()?;
        assert_eq!((done.written, done.kept.len()), (1, 0));
        Ok(done.kept)
    };
    assert_eq!(gateway.give_back("sessions", &owned, drain).unwrap(), 1);
    // The old owner writes again.
    crate::support::flow::execute(&migration.legacy(), "UPDATE messages SET content = 'by the legacy' WHERE id = 'm'");
    let before = sink.state().unwrap();
    wakes_up_refused(child);
    assert_eq!(content(&migration.legacy(), "m"), ["by the legacy"]);
    assert_eq!(sink.state().unwrap(), before);

    // And a reverse begun after the transfer has nothing to write there.
    migration.expect(&["project", "--reverse"], 0);
    assert_eq!(content(&migration.legacy(), "m"), ["by the legacy"]);
    for command in [&["follow", "--until-caught-up"][..], &["project"], &["diff"]] {
        migration.expect(command, 0);
    }
}

fn i01_a_paused_reverse_writer_that_wakes_up_after_another_took_over_changes_nothing(log: Log) {
    let migration = ready(log);
    let gateway = Gateway::of(&migration);
    let owned = sessions(&migration)[0].clone();
    gateway.take("sessions", std::slice::from_ref(&owned));
    gateway.once("messages", Op::Insert, &message(&owned, "m", 1), "1");
    let child = paused(&migration, "reverse.claimed");
    gateway.once("messages", Op::Update, &message(&owned, "m", 2), "2");
    migration.expect(&["project", "--reverse"], 0);
    let newest = content(&migration.legacy(), "m");
    wakes_up_refused(child);
    assert_eq!(content(&migration.legacy(), "m"), newest);
    migration.expect(&["project"], 0);
    migration.expect(&["diff"], 0);
}
