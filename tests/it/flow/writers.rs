//! The legacy goes on writing while it is replayed, and feels nothing.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use rusqlite::Connection;

use crate::support::cli::Log;
use crate::support::flow::{
    MIDDLE, assert_orderly, bring_over, events, generated, mapping, on_both_logs, open_log, started,
};

on_both_logs!(i09_writers_of_the_legacy_never_wait_for_a_replay);

const WRITE: &str = "INSERT INTO messages (id, session_id, agent_type, message_type, content)
     SELECT 'live ' || count(*), 'live', 'worker', 'response', 'written while the replay runs' FROM messages";

fn i09_writers_of_the_legacy_never_wait_for_a_replay(log: Log) {
    let migration = generated(log, MIDDLE, "replay: {transaction_rows: 100}\n");
    migration.expect(&["provision", "apply"], 0);
    let legacy = Connection::open(migration.legacy()).unwrap();
    legacy.busy_timeout(Duration::ZERO).unwrap();
    legacy.pragma_update(None, "foreign_keys", "OFF").unwrap();
    let mut replay = started(&migration, &["replay", "--throttle", "2000"], "throttled");
    let (ended, over) = channel::<()>();
    let writer = std::thread::spawn(move || {
        let mut written = 0;
        // Paced, so that the writer does not outrun the replay for ever.
        while over.recv_timeout(Duration::from_millis(2)) == Err(RecvTimeoutError::Timeout) {
            for sql in ["BEGIN IMMEDIATE", WRITE, "COMMIT"] {
                legacy.execute_batch(sql).unwrap_or_else(|error| panic!("write {written}, {sql}: {error}"));
            }
            written += 1;
        }
        written
    });
    let status = replay.wait().unwrap();
    drop(ended);
    let written: u64 = writer.join().unwrap();
    assert!(status.success(), "{status}");
    assert!(written >= 20, "only {written} writes while the replay ran");
    bring_over(&migration);
    let events = events(open_log(&migration).as_ref(), &mapping(&migration));
    assert_orderly(&events);
    let live = events.iter().filter(|event| event.key == "live").count() as u64;
    assert_eq!(live, written);
}
