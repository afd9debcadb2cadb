//! A look from outside at how far a follow is, while it goes on.

use crossfade::base::{Kind, Result};
use crossfade::capture::{FollowState, untold};
use crossfade::port::change_source::{ChangeReader, ChangeSource, Lag, Position};

use crate::support::follow::Bench;
use crate::support::followed::MIGRATION;

/// A capture that is asked only when a follow has gone on once more.
struct Late<'a> {
    capture: &'a dyn ChangeSource,
    go_on: &'a (dyn Fn() + Sync),
}

impl ChangeSource for Late<'_> {
    fn kind(&self) -> &'static str {
        self.capture.kind()
    }

    fn mode(&self) -> &'static str {
        self.capture.mode()
    }

    fn incarnation(&self) -> Result<String> {
        self.capture.incarnation()
    }

    fn blind(&self) -> Result<Vec<String>> {
        self.capture.blind()
    }

    fn open(&self, from: &Position) -> Result<Box<dyn ChangeReader>> {
        self.capture.open(from)
    }

    fn lag(&self, from: &Position) -> Result<Lag> {
        (self.go_on)();
        self.capture.lag(from)
    }
}

#[test]
fn i04_what_a_follow_tells_in_the_middle_of_a_look_is_no_older_backup() {
    let mut bench = Bench::of("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT);");
    bench.install();
    bench.replay();
    bench.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    bench.follow();
    let (capture, log) = (bench.capture(), &bench.log);
    let told = FollowState::read(log, MIGRATION).unwrap().unwrap().position;
    let once = std::sync::Once::new();
    let go_on = || {
        once.call_once(|| {
            bench.run("INSERT INTO t VALUES (3, 'c')");
            bench.try_follow().unwrap();
            bench.run("INSERT INTO t VALUES (4, 'd')");
        });
    };
    let late = Late { capture: &capture, go_on: &go_on };
    let lag = untold(&late, &told.incarnation, log, MIGRATION).unwrap().unwrap();
    assert_eq!(lag.changes, 2, "what the log lacked when it was asked");
    assert_eq!(untold(&capture, &told.incarnation, log, MIGRATION).unwrap().unwrap().changes, 1);
    // The numbers begin anew: those of before are another outbox's.
    bench.run("DELETE FROM _crossfade_bench_changes");
    assert_eq!(untold(&capture, &told.incarnation, log, MIGRATION).unwrap_err().kind(), Kind::Stale);
}
