//! Claims, fencing, crashes and views.

use std::sync::Arc;
use std::time::Duration;

use crossfade::base::Kind;
use crossfade::mapping::Mapping;
use crossfade::port::event_log::TopicIds;
use crossfade::port::row_store::{Change, Mode, RowStore};

use crate::support::store::{
    Cell, Kind as Store, chunk, claim, event, kind, mapping, on_both_stores, on_each_kind, positions, put, rows_of,
    table,
};

on_both_stores!(
    a_new_store_says_so_and_a_claimed_one_says_what_it_holds,
    i08_an_older_writer_changes_nothing,
    i13_the_ids_of_topics_are_kept_with_the_positions_that_lie_in_them,
    i08_a_rebuild_fences_the_live_writer_it_replaces,
    i08_a_claim_waits_for_an_open_transaction_and_then_fences_it,
    i08_a_crash_before_commit_leaves_the_old_rows_and_positions,
    i08_an_unfinished_rebuild_is_refused_by_views_and_can_go_on_or_start_again,
    another_mapping_is_stale_until_a_rebuild,
    a_view_stays_as_it_was_while_a_writer_commits,
    reserved_names_are_refused,
);

fn one_table() -> Arc<Mapping> {
    mapping(vec![table("t", &[("id", "TEXT"), ("body", "TEXT")], &[0])])
}

fn row(id: &str) -> Vec<Cell> {
    vec![Cell::text(id), Cell::text("body")]
}

/// A live store with the rows `a` at position 1.
fn with_one_row(store: &dyn RowStore, mapping: &Arc<Mapping>) {
    let mut writer = claim(store, mapping, Mode::Live);
    put(&mut *writer, 0, &row("a"), event(0, 0, 0));
    writer.commit(&positions(&[(0, 1)])).unwrap();
}

fn a_new_store_says_so_and_a_claimed_one_says_what_it_holds() {
    let mapping = one_table();
    on_each_kind(|store| {
        assert_eq!(store.state().unwrap(), None);
        let error = store.view(&mapping).err().unwrap();
        assert_eq!(error.kind(), Kind::Refused);
        assert_eq!(store.state().unwrap(), None, "looking makes nothing");
        with_one_row(&*store, &mapping);
        let state = store.state().unwrap().unwrap();
        assert_eq!((state.epoch, state.rebuilding), (1, false));
        assert_eq!((state.mapping_hash, state.positions), (mapping.hash.clone(), positions(&[(0, 1)])));
        let mut writer = claim(&*store, &mapping, Mode::Live);
        assert_eq!((writer.state().epoch, &writer.state().positions), (2, &positions(&[(0, 1)])));
        writer.commit(&positions(&[(1, 7)])).unwrap();
        assert_eq!(store.state().unwrap().unwrap().positions, positions(&[(0, 1), (1, 7)]));
    });
}

fn i13_the_ids_of_topics_are_kept_with_the_positions_that_lie_in_them() {
    let mapping = one_table();
    let ids = |id: &str| TopicIds::from([("topic".to_owned(), id.to_owned())]);
    on_each_kind(|store| {
        let topics = || store.state().unwrap().unwrap().topics;
        with_one_row(&*store, &mapping);
        assert_eq!(topics(), TopicIds::new(), "one from before there were ids");
        let mut writer = claim(&*store, &mapping, Mode::Live);
        writer.lies_in(&ids("a"));
        assert_eq!(topics(), TopicIds::new(), "not without a commit");
        writer.commit(&positions(&[(0, 2)])).unwrap();
        assert_eq!((topics(), &writer.state().topics), (ids("a"), &ids("a")));
        writer.commit(&positions(&[(0, 3)])).unwrap();
        assert_eq!(claim(&*store, &mapping, Mode::Live).state().topics, ids("a"));
        let mut writer = claim(&*store, &mapping, Mode::Rebuild);
        assert_eq!((topics(), &writer.state().topics), (TopicIds::new(), &TopicIds::new()));
        writer.lies_in(&ids("b"));
        writer.commit(&positions(&[(0, 1)])).unwrap();
        assert_eq!(topics(), ids("b"));
    });
}

fn i08_an_older_writer_changes_nothing() {
    let mapping = one_table();
    on_each_kind(|store| {
        with_one_row(&*store, &mapping);
        let mut older = claim(&*store, &mapping, Mode::Live);
        let mut newer = claim(&*store, &mapping, Mode::Live);
        let late = older.commit(&positions(&[(0, 9)])).unwrap_err();
        assert_eq!(late.kind(), Kind::Fenced);
        assert!(older.commit(&positions(&[(0, 9)])).is_err(), "a fenced writer stays fenced");

        let mut older = claim(&*store, &mapping, Mode::Live);
        let mut newest = claim(&*store, &mapping, Mode::Live);
        let rows = chunk(&row("late"));
        let applied = older.apply(0, Change::Put(rows.row(0)), event(0, 5, 5));
        let late = applied.and_then(|()| older.commit(&positions(&[(0, 9)]))).unwrap_err();
        assert_eq!(late.kind(), Kind::Fenced);
        assert_eq!(newer.commit(&positions(&[(0, 9)])).unwrap_err().kind(), Kind::Fenced);
        assert_eq!(rows_of(&*store, &mapping, 0), [(row("a"), event(0, 0, 0))]);
        assert_eq!(store.state().unwrap().unwrap().positions, positions(&[(0, 1)]));

        put(&mut *newest, 0, &row("b"), event(0, 1, 1));
        newest.commit(&positions(&[(0, 2)])).unwrap();
        assert_eq!(rows_of(&*store, &mapping, 0).len(), 2);
    });
}

fn i08_a_rebuild_fences_the_live_writer_it_replaces() {
    let mapping = one_table();
    on_each_kind(|store| {
        let mut live = claim(&*store, &mapping, Mode::Live);
        claim(&*store, &mapping, Mode::Rebuild).finish().unwrap();
        let rows = chunk(&row("late"));
        let applied = live.apply(0, Change::Put(rows.row(0)), event(0, 5, 5));
        assert_eq!(applied.and_then(|()| live.commit(&positions(&[(0, 6)]))).unwrap_err().kind(), Kind::Fenced);
        assert_eq!(rows_of(&*store, &mapping, 0), []);
    });
}

fn i08_a_claim_waits_for_an_open_transaction_and_then_fences_it() {
    let mapping = one_table();
    on_each_kind(|store| {
        with_one_row(&*store, &mapping);
        let mut older = claim(&*store, &mapping, Mode::Live);
        put(&mut *older, 0, &row("b"), event(0, 1, 1));
        let newer = std::thread::scope(|scope| {
            let newer = scope.spawn(|| claim(&*store, &mapping, Mode::Live));
            std::thread::sleep(Duration::from_millis(100));
            older.commit(&positions(&[(0, 2)])).unwrap();
            newer.join().unwrap()
        });
        assert_eq!(newer.state().positions, positions(&[(0, 2)]));
        assert_eq!(older.commit(&positions(&[(0, 3)])).unwrap_err().kind(), Kind::Fenced);
    });
}

fn i08_a_crash_before_commit_leaves_the_old_rows_and_positions() {
    let mapping = one_table();
    for mode in [Mode::Live, Mode::Rebuild] {
        on_each_kind(|store| {
            let mut writer = claim(&*store, &mapping, mode);
            put(&mut *writer, 0, &row("a"), event(0, 0, 0));
            writer.commit(&positions(&[(0, 1)])).unwrap();
            // More than a chunk, so that rows have really been written.
            for number in 1..5_000 {
                put(&mut *writer, 0, &row(&number.to_string()), event(0, number, number));
            }
            drop(writer);
            let mut writer = claim(&*store, &mapping, Mode::Live);
            assert_eq!(writer.state().positions, positions(&[(0, 1)]));
            writer.finish().unwrap();
            assert_eq!(rows_of(&*store, &mapping, 0), [(row("a"), event(0, 0, 0))]);
        });
    }
}

fn i08_an_unfinished_rebuild_is_refused_by_views_and_can_go_on_or_start_again() {
    let mapping = one_table();
    for again in [Mode::Live, Mode::Rebuild] {
        on_each_kind(|store| {
            with_one_row(&*store, &mapping);
            let mut writer = claim(&*store, &mapping, Mode::Rebuild);
            assert_eq!((writer.state().rebuilding, writer.state().positions.len()), (true, 0));
            put(&mut *writer, 0, &row("b"), event(0, 5, 5));
            put(&mut *writer, 0, &row("c"), event(0, 6, 6));
            writer.commit(&positions(&[(0, 7)])).unwrap();
            drop(writer);

            let error = store.view(&mapping).err().unwrap();
            assert_eq!(error.kind(), Kind::Refused);
            assert!(error.message().contains("unfinished"), "{error}");
            assert!(error.help().unwrap().contains("crossfade project"));
            assert!(store.state().unwrap().unwrap().rebuilding);

            let mut writer = claim(&*store, &mapping, again);
            assert!(writer.state().rebuilding);
            put(&mut *writer, 0, &row("c"), event(0, 8, 8));
            assert!(writer.finish().is_err(), "rows are not committed");
            writer.commit(&positions(&[(0, 9)])).unwrap();
            writer.finish().unwrap();
            writer.finish().unwrap();
            assert!(!writer.state().rebuilding);
            let kept = [(row("b"), event(0, 5, 5)), (row("c"), event(0, 8, 8))];
            let kept = if again == Mode::Live { &kept[..] } else { &kept[1..] };
            assert_eq!(rows_of(&*store, &mapping, 0), kept);

            // The same writer goes on live.
            put(&mut *writer, 0, &row("c"), event(0, 9, 9));
            writer.commit(&positions(&[(0, 10)])).unwrap();
            assert_eq!(rows_of(&*store, &mapping, 0).last(), Some(&(row("c"), event(0, 9, 9))));
        });
    }
}

fn another_mapping_is_stale_until_a_rebuild() {
    let old = one_table();
    let new = mapping(vec![table("other", &[("id", "")], &[0])]);
    on_each_kind(|store| {
        with_one_row(&*store, &old);
        for error in [store.claim(&new, Mode::Live).err().unwrap(), store.view(&new).err().unwrap()] {
            assert_eq!(error.kind(), Kind::Stale);
            assert!(error.help().unwrap().contains("crossfade project --rebuild"));
        }
        assert_eq!(rows_of(&*store, &old, 0).len(), 1, "nothing was changed");
        claim(&*store, &new, Mode::Rebuild).finish().unwrap();
        assert_eq!(rows_of(&*store, &new, 0), []);
        let state = store.state().unwrap().unwrap();
        assert_eq!((state.mapping_hash, state.positions.len(), state.epoch), (new.hash.clone(), 0, 2));
    });
}

fn a_view_stays_as_it_was_while_a_writer_commits() {
    let mapping = one_table();
    on_each_kind(|store| {
        with_one_row(&*store, &mapping);
        let mut view = store.view(&mapping).unwrap();
        let mut writer = claim(&*store, &mapping, Mode::Live);
        put(&mut *writer, 0, &row("b"), event(0, 1, 1));
        writer.commit(&positions(&[(0, 2)])).unwrap();
        let mut seen = 0;
        view.scan(&mapping.tables[0], &mut |rows, _| {
            seen += rows.len();
            Ok(())
        })
        .unwrap();
        assert_eq!((seen, view.count(0).unwrap()), (1, 1));
        assert_eq!(view.state().positions, positions(&[(0, 1)]));
        assert_eq!(rows_of(&*store, &mapping, 0).len(), 2);
    });
}

fn reserved_names_are_refused() {
    let tables = [
        table("_CF_meta", &[("id", "")], &[0]),
        table("sqlite_x", &[("id", "")], &[0]),
        table("t", &[("id", ""), ("_cf_offset", "")], &[0]),
    ];
    for table in tables {
        let mapping = mapping(vec![table]);
        on_each_kind(|store| {
            // A prefix of SQLite's own.
            if mapping.tables[0].name == "sqlite_x" && kind() == Store::Postgres {
                return;
            }
            assert_eq!(store.claim(&mapping, Mode::Live).err().unwrap().kind(), Kind::Refused);
            assert_eq!(store.state().unwrap(), None);
        });
    }
}
