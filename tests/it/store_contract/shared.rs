//! A store that several projectors write, each its own partitions.

use std::sync::Arc;

use crossfade::base::Kind;
use crossfade::mapping::Mapping;
use crossfade::port::row_store::{Mode, RowStore};

use crate::support::crash::Random;
use crate::support::store::{
    Cell, claim, delete, event, mapping, on_both_stores, on_each_kind, positions, put, rows_of, table,
};

on_both_stores!(
    sharers_write_beside_each_other,
    i08_a_partition_moved_on_by_another_is_refused_and_read_anew,
    i08_a_claim_for_oneself_and_a_rebuild_stop_all_sharers,
    a_sharer_is_refused_by_a_rebuild_and_another_mapping,
    i08_a_broken_connection_goes_on_unless_there_was_a_newer_claim,
    i03_rows_that_move_between_two_writers_end_as_one_would_leave_them,
);

fn one_table() -> Arc<Mapping> {
    mapping(vec![table("t", &[("id", "TEXT"), ("body", "TEXT")], &[0])])
}

fn row(id: &str) -> Vec<Cell> {
    vec![Cell::text(id), Cell::text("body")]
}

fn sharers_write_beside_each_other() {
    let mapping = one_table();
    on_each_kind(|store| {
        let mut one = claim(&*store, &mapping, Mode::Shared);
        let mut two = claim(&*store, &mapping, Mode::Shared);
        assert_eq!((one.state().epoch, two.state().epoch), (1, 1));
        // Neither holds the other up before it commits.
        put(&mut *one, 0, &row("a"), event(0, 0, 1));
        put(&mut *two, 0, &row("b"), event(1, 0, 2));
        two.commit(&positions(&[(1, 1)])).unwrap();
        one.commit(&positions(&[(0, 1)])).unwrap();
        put(&mut *two, 0, &row("c"), event(1, 1, 3));
        two.commit(&positions(&[(1, 2)])).unwrap();
        let state = store.state().unwrap().unwrap();
        assert_eq!((state.epoch, state.positions), (1, positions(&[(0, 1), (1, 2)])));
        assert_eq!(rows_of(&*store, &mapping, 0).len(), 3);
    });
}

fn i08_a_partition_moved_on_by_another_is_refused_and_read_anew() {
    let mapping = one_table();
    on_each_kind(|store| {
        let mut late = claim(&*store, &mapping, Mode::Shared);
        let mut heir = claim(&*store, &mapping, Mode::Shared);
        put(&mut *late, 0, &row("a"), event(0, 0, 1));
        put(&mut *late, 0, &row("late"), event(1, 0, 1));
        put(&mut *heir, 0, &row("a"), event(0, 0, 1));
        heir.commit(&positions(&[(0, 1)])).unwrap();
        let error = late.commit(&positions(&[(0, 1), (1, 1)])).unwrap_err();
        assert_eq!(error.kind(), Kind::Stale, "{error}");
        assert_eq!(store.state().unwrap().unwrap().positions, positions(&[(0, 1)]));
        assert_eq!(rows_of(&*store, &mapping, 0), [(row("a"), event(0, 0, 1))]);
        assert!(late.commit(&positions(&[(1, 1)])).is_err(), "what was lost is not claimed");
        assert_eq!(*late.refresh().unwrap(), positions(&[(0, 1)]));
        put(&mut *late, 0, &row("b"), event(0, 1, 2));
        late.commit(&positions(&[(0, 2)])).unwrap();
        // What was applied and not committed is dropped.
        put(&mut *heir, 0, &row("never"), event(1, 0, 9));
        assert_eq!(*heir.refresh().unwrap(), positions(&[(0, 2)]));
        heir.commit(&positions(&[(1, 1)])).unwrap();
        assert_eq!(rows_of(&*store, &mapping, 0).len(), 2);
    });
}

fn i08_a_claim_for_oneself_and_a_rebuild_stop_all_sharers() {
    let mapping = one_table();
    for mode in [Mode::Live, Mode::Rebuild] {
        on_each_kind(|store| {
            let mut sharers = [claim(&*store, &mapping, Mode::Shared), claim(&*store, &mapping, Mode::Shared)];
            let mut alone = claim(&*store, &mapping, mode);
            for sharer in &mut sharers {
                put(&mut **sharer, 0, &row("late"), event(0, 0, 1));
                assert_eq!(sharer.commit(&positions(&[(0, 1)])).unwrap_err().kind(), Kind::Fenced);
                assert_eq!(sharer.refresh().unwrap_err().kind(), Kind::Fenced);
            }
            alone.finish().unwrap();
            // The next sharer takes it over from the one alone.
            let mut sharer = claim(&*store, &mapping, Mode::Shared);
            assert_eq!(alone.commit(&positions(&[(0, 3)])).unwrap_err().kind(), Kind::Fenced);
            sharer.commit(&positions(&[(0, 1)])).unwrap();
            assert_eq!(rows_of(&*store, &mapping, 0), []);
        });
    }
}

fn a_sharer_is_refused_by_a_rebuild_and_another_mapping() {
    let mapping = one_table();
    let other = self::mapping(vec![table("t2", &[("id", "TEXT")], &[0])]);
    on_each_kind(|store| {
        let mut rebuild = claim(&*store, &mapping, Mode::Rebuild);
        let refused = store.claim(&mapping, Mode::Shared).err().unwrap();
        assert_eq!(refused.kind(), Kind::Refused, "{refused}");
        rebuild.commit(&positions(&[(0, 1)])).unwrap();
        rebuild.finish().unwrap();
        assert_eq!(store.claim(&other, Mode::Shared).err().unwrap().kind(), Kind::Stale);
        assert_eq!(claim(&*store, &mapping, Mode::Shared).state().positions, positions(&[(0, 1)]));
    });
}

fn i08_a_broken_connection_goes_on_unless_there_was_a_newer_claim() {
    let mapping = one_table();
    for mode in [Mode::Live, Mode::Shared] {
        on_each_kind(|store| {
            let epoch = claim(&*store, &mapping, mode).state().epoch;
            let mut again = claim(&*store, &mapping, Mode::Again { epoch });
            again.commit(&positions(&[(0, 1)])).unwrap();
            claim(&*store, &mapping, Mode::Live);
            assert_eq!(store.claim(&mapping, Mode::Again { epoch }).err().unwrap().kind(), Kind::Fenced);
            assert_eq!(again.commit(&positions(&[(0, 2)])).unwrap_err().kind(), Kind::Fenced);
        });
    }
}

/// What happens to a row in one partition: a put, or a delete because it went to the other.
#[derive(Clone)]
struct Step {
    id: String,
    body: Option<String>,
    sequence: i64,
}

/// Rows that go to and fro between two partitions, as a changed record key makes them.
fn moves(seed: u64) -> [Vec<Step>; 2] {
    let mut random = Random::new(seed);
    let mut at = [None::<usize>; 6];
    let mut streams = [Vec::new(), Vec::new()];
    for sequence in (0..300).map(|number| number * 2 + 1) {
        let number = random.below(6) as usize;
        let id = format!("row {number}");
        let body = Some(format!("{sequence}"));
        let gone = |sequence| Step { id: id.clone(), body: None, sequence };
        match (at[number], random.below(5)) {
            (Some(old), 0) => {
                streams[old].push(gone(sequence));
                at[number] = None;
            }
            (Some(old), 1 | 2) => {
                streams[old].push(gone(sequence));
                streams[1 - old].push(Step { id, body, sequence: sequence + 1 });
                at[number] = Some(1 - old);
            }
            (old, choice) => {
                let place = old.unwrap_or(choice as usize % 2);
                streams[place].push(Step { id, body, sequence });
                at[number] = Some(place);
            }
        }
    }
    streams
}

fn write(store: &dyn RowStore, mapping: &Arc<Mapping>, partition: i32, steps: &[Step], mode: Mode, seed: u64) {
    let mut random = Random::new(seed);
    let mut writer = claim(store, mapping, mode);
    for (offset, step) in (0..).zip(steps) {
        let last = event(partition, offset, step.sequence);
        match &step.body {
            Some(body) => put(&mut *writer, 0, &[Cell::text(&step.id), Cell::text(body)], last),
            None => delete(&mut *writer, &mapping.tables[0], &[Cell::text(&step.id), Cell::Null], last),
        }
        if random.below(4) == 0 {
            writer.commit(&positions(&[(partition, offset + 1)])).unwrap();
        }
    }
    writer.commit(&positions(&[(partition, steps.len() as i64)])).unwrap();
}

fn i03_rows_that_move_between_two_writers_end_as_one_would_leave_them() {
    let mapping = one_table();
    for seed in 0..6 {
        let streams = moves(seed);
        let folder = tempfile::tempdir().unwrap();
        let alone = crossfade::sqlite::store::SqliteStore::new(folder.path().join("alone.db"));
        for (partition, steps) in (0..).zip(&streams) {
            write(&alone, &mapping, partition, steps, Mode::Live, seed);
        }
        let left = rows_of(&alone, &mapping, 0);
        on_each_kind(|store| {
            // Made first, so that both join.
            drop(claim(&*store, &mapping, Mode::Shared));
            std::thread::scope(|scope| {
                for (partition, steps) in (0..).zip(&streams) {
                    let (store, mapping) = (&*store, &mapping);
                    scope.spawn(move || write(store, mapping, partition, steps, Mode::Shared, seed ^ partition as u64));
                }
            });
            assert_eq!(rows_of(&*store, &mapping, 0), left, "seed {seed}");
        });
    }
}
