//! One mutating run per migration.

use std::sync::Arc;

use crossfade::base::Kind;
use crossfade::control::{Lock, Process};
use crossfade::demo::Sizes;

use crate::support::cli::Log;
use crate::support::flow::{assert_orderly, bring_over, events, generated, mapping, on_both_logs, open_log, started};

on_both_logs!(
    i08_of_two_replays_at_once_the_second_names_the_first_and_ends,
    i08_a_lock_is_taken_over_when_stale_or_when_its_process_is_dead,
);

fn i08_of_two_replays_at_once_the_second_names_the_first_and_ends(log: Log) {
    let migration = generated(log, Sizes::LEAST, "replay: {transaction_rows: 20}\n");
    migration.expect(&["provision", "apply"], 0);
    let mut first = started(&migration, &["replay", "--throttle", "1"], "throttled");
    for args in [&["replay"][..], &["replay", "--recopy"]] {
        let second = migration.run(args);
        assert_eq!(second.code, Some(4), "{}{}", second.stdout, second.stderr);
        assert!(second.stderr.contains(&format!("process {} on ", first.id())), "{}", second.stderr);
        assert!(second.stderr.contains("'replay' holds the run lock"), "{}", second.stderr);
    }
    let status = migration.expect(&["status"], 0);
    assert!(status.contains(&format!("process {} on ", first.id())), "{status}");
    assert!(first.try_wait().unwrap().is_none(), "the first replay ended");
    first.kill().unwrap();
    first.wait().unwrap();
    bring_over(&migration);
    assert_orderly(&events(open_log(&migration).as_ref(), &mapping(&migration)));
}

fn i08_a_lock_is_taken_over_when_stale_or_when_its_process_is_dead(log: Log) {
    let migration = generated(log, Sizes::LEAST, "");
    migration.expect(&["provision", "apply"], 0);
    let log = open_log(&migration);
    let process = |name: &str, host: &str, pid| Process { instance: name.into(), host: host.into(), pid };
    let acquire = |process: &Process, at: i64, alive: bool| {
        Lock::acquire(log.as_ref(), &migration.name, "plan", process, "replay", Arc::new(move || at), &|_| alive)
    };
    let (one, two, three) = (process("one", "here", 11), process("two", "there", 22), process("three", "there", 33));
    let began = 1_000_000;
    let held = acquire(&one, began, true).unwrap();
    let refused = acquire(&two, began + 14_999, true).map(drop).unwrap_err();
    assert_eq!(refused.kind(), Kind::Fenced);
    assert!(refused.message().contains("process 11 on here, renewed 14 s ago"), "{refused}");
    let elsewhere = acquire(&two, began + 14_999, false).map(drop).unwrap_err();
    assert_eq!(elsewhere.kind(), Kind::Fenced, "a process of another host was taken for dead");

    let taken = acquire(&two, began + 15_000, true).unwrap();
    assert_eq!(held.release(None).unwrap_err().kind(), Kind::Fenced);
    let holder = Lock::holder(log.as_ref(), &migration.name, began + 15_000).unwrap().unwrap();
    assert_eq!((holder.process.clone(), holder.command.as_str()), (two, "replay"));

    let refused = acquire(&three, began + 15_001, true).map(drop).unwrap_err();
    assert!(refused.message().contains("process 22 on there"), "{refused}");
    let at_once = acquire(&three, began + 15_001, false).unwrap();
    assert_eq!(taken.release(None).unwrap_err().kind(), Kind::Fenced);
    at_once.release(None).unwrap();
    assert_eq!(Lock::holder(log.as_ref(), &migration.name, began + 15_002).unwrap(), None);
    acquire(&one, began + 15_002, true).unwrap().release(None).unwrap();
}
