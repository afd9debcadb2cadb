//! A kill at every boundary of reverse, and the same rows afterwards.

use crossfade::event::Op;
use crossfade::port::boundary;

use super::sqlite::{change, message, ready, sessions};
use crate::support::acc::{TABLES, assert_same_rows};
use crate::support::cli::{Log, Migration};
use crate::support::crash::Child;
use crate::support::flow::{diff, events, execute, on_both_logs, run_all};
use crate::support::gateway::Gateway;

on_both_logs!(i08_a_kill_at_every_boundary_of_reverse_leaves_the_same_rows);

/// The commands that meet the boundaries, in an order in which each has work to do.
fn life(name: &str) -> [Vec<&str>; 3] {
    [
        vec!["project", "--reverse", "--install", "--confirm", name],
        vec!["project", "--reverse"],
        vec!["project", "--reverse", "--adopt", "all", "--confirm", name],
    ]
}

fn command(migration: &Migration, args: &[&str]) -> std::process::Command {
    let mut command = migration.command(args);
    command.env("CROSSFADE_TRANSACTION_ROWS", "40");
    command
}

fn i08_a_kill_at_every_boundary_of_reverse_leaves_the_same_rows(log: Log) {
    let migration = ready(log);
    let name = migration.name.clone();
    let gateway = Gateway::of(&migration);
    let owned = &sessions(&migration)[..20];
    let installed = ["project", "--reverse", "--uninstall", "--confirm", &name];
    migration.expect(&installed, 0);
    gateway.take("sessions", owned);
    let mut met = Vec::new();
    for (round, boundary) in boundary::REVERSE.iter().enumerate() {
        if boundary.ends_with("-part") {
            // More rows than one part.
            for number in 0..30 {
                let id = format!("part-{round}-{number}");
                gateway.once("messages", Op::Insert, &message(&owned[0], &id, number), &id);
            }
        }
        let id = format!("round-{round}");
        gateway.once("messages", Op::Insert, &message(&owned[0], &id, round as i64), &id);
        if round == 1 {
            change(&gateway, &migration, owned, 400);
        }
        let life = life(&name);
        let args: &[&str] = match *boundary {
            "reverse.installed" => &life[0],
            at if at.starts_with("ownership.") => {
                run_all(&migration, &[&["project", "--reverse"]]);
                execute(&migration.legacy(), &format!("UPDATE messages SET content = 'x' WHERE id = '{id}'"));
                migration.expect(&["follow", "--until-caught-up"], 0);
                &life[2]
            }
            _ => &life[1],
        };
        let mut command = command(&migration, args);
        command.env("CROSSFADE_STOP_AT", format!("{boundary}:1"));
        Child::at(command, boundary).kill();
        met.push(*boundary);
        // What was cut off is done by the next run, or was done.
        let again = migration.run(args);
        let settled = again.code == Some(3) && again.stderr.contains("no foreign write of 'all' is open");
        assert!(again.code == Some(0) || settled, "{boundary}: {}\n{}", again.stdout, again.stderr);
    }
    assert_eq!(met.len(), boundary::REVERSE.len());
    run_all(&migration, &[&["project", "--reverse"], &["follow", "--until-caught-up"], &["project"]]);
    assert_same_rows(&migration.legacy(), &migration.projection(), &TABLES);
    assert_eq!(diff(&migration, &[], 0)["verdict"], "PASS");
    let all = events(gateway.log.as_ref(), &gateway.mapping);
    assert_eq!(all.iter().filter(|event| event.source.ends_with("#follow")).count(), 0);
    let ids: std::collections::BTreeSet<&str> = all.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), all.len(), "an event id twice");
}
