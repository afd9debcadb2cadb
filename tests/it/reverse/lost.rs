//! Transfers, and the place of reverse, in a topic that is gone.

use crossfade::event::Op;

use super::sqlite::{message, ready, sessions};
use crate::support::cli::Log;
use crate::support::flow::{column, on_both_logs, run_all};
use crate::support::gateway::Gateway;
use crate::support::provision::delete_topic;

on_both_logs!(i13_transfers_that_are_gone_leave_every_session_to_the_legacy_and_reverse_begins_again);

fn i13_transfers_that_are_gone_leave_every_session_to_the_legacy_and_reverse_begins_again(log: Log) {
    let migration = ready(log);
    let refused = |args: &[&str], says: &[&str]| {
        let ran = migration.run(args);
        assert_eq!(ran.code, Some(3), "crossfade {}\n{}\n{}", args.join(" "), ran.stdout, ran.stderr);
        for text in says {
            assert!(ran.stderr.contains(text), "no {text:?} in\n{}", ran.stderr);
        }
    };
    {
        let gateway = Gateway::of(&migration);
        let owned = sessions(&migration)[0].clone();
        gateway.take("sessions", std::slice::from_ref(&owned));
        gateway.once("messages", Op::Insert, &message(&owned, "m", 1), "1");
    }
    migration.expect(&["project", "--reverse"], 0);
    delete_topic(&migration, &format!("{}.session.events", migration.name));
    migration.expect(&["provision", "apply"], 0);
    refused(&["project", "--reverse"], &["was deleted and made anew", "crossfade project --reverse --uninstall"]);
    refused(&["diff"], &["who owns which session", "crossfade replay --recopy"]);
    refused(&["replay"], &["was deleted and made anew", "crossfade replay --recopy"]);
    assert!(migration.expect(&["status"], 0).contains("who owns which session"));

    let ran = migration.run(&["replay", "--recopy"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("every session is the legacy's again"), "{}", ran.stderr);
    run_all(&migration, &[&["follow", "--until-caught-up"], &["project"], &["diff"]]);
    let written = "SELECT id FROM messages WHERE id = 'm'";
    assert_eq!(column(&migration.projection(), written), ["m"], "what reverse wrote is the legacy's row");
    refused(&["project", "--reverse"], &["crossfade project --reverse --uninstall"]);
    for step in ["--uninstall", "--install"] {
        migration.expect(&["project", "--reverse", step, "--confirm", &migration.name], 0);
    }
    assert!(migration.expect(&["project", "--reverse"], 0).contains("events own no session"));
}
