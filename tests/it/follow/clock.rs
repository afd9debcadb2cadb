//! A clock that steps back under a follow.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use crossfade::base::Millis;
use crossfade::capture::Ended;
use crossfade::port::change_source::Lag;
use crossfade::port::progress::Progress;

use crate::support::flow::now;
use crate::support::follow::Bench;

#[derive(Default)]
struct Heard(Mutex<Vec<(u64, Millis)>>);

impl Progress for Heard {
    fn lag(&self, lag: Lag, age: Millis) {
        self.0.lock().unwrap().push((lag.changes, age));
    }
}

#[test]
fn i03_a_clock_that_steps_back_changes_neither_ids_nor_order_nor_lag() {
    let mut bench = Bench::of("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT);");
    bench.install();
    bench.replay();
    for round in 0..6 {
        bench.run(&format!(
            "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
             INSERT INTO t SELECT i, '{round}' FROM n WHERE true
                 ON CONFLICT (id) DO UPDATE SET body = excluded.body"
        ));
    }
    // Each look at it finds it a minute earlier than the one before, from an hour ago on.
    let clock = AtomicI64::new(now() - 3_600_000);
    let heard = Heard::default();
    let ended = bench.follow_by(&heard, &|| clock.fetch_sub(60_000, Ordering::SeqCst)).unwrap();
    assert!(matches!(ended, Ended::CaughtUp(state) if state.events == 6_000));
    let heard = heard.0.into_inner().unwrap();
    assert!(heard.iter().any(|(changes, _)| *changes >= 2_000), "{heard:?}");
    assert!(heard.iter().all(|(_, age)| *age == 0), "a change of the future has no age: {heard:?}");
    let told = bench.told();
    let ids: std::collections::BTreeSet<&str> = told.iter().map(|event| event.id.as_str()).collect();
    assert_eq!((ids.len(), told.len()), (6_000, 6_000));
    let bodies: Vec<&str> = told
        .iter()
        .filter(|event| event.value["row"]["id"] == 7)
        .map(|event| event.value["row"]["body"].as_str().unwrap())
        .collect();
    assert_eq!(bodies, ["0", "1", "2", "3", "4", "5"]);
    bench.assert_followed();
}
