//! Commits whose outcome is unknown, writers that are fenced, records that are not taken: replay asks the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossfade::base::{Kind, Result};
use crossfade::capture::{Copied, MassDelete, Phase, Reconcile, Reconciled, Replay, Settings};
use crossfade::demo::Sizes;
use crossfade::event::codec::Exact;
use crossfade::mapping::Mapping;
use crossfade::port::event_log::{EventLog, Positions, Topic};
use crossfade::port::progress::Silent;
use crossfade::port::row_store::RowStore;
use crossfade::project::Projector;
use crossfade::sqlite::source::SqliteSource;
use crossfade::sqlite::store::SqliteStore;

use crate::support::cli::{Log, Migration};
use crate::support::flow::{
    assert_orderly, bring_over, confirmed_pass, events, execute, generated, mapping, now, on_both_logs, open_log,
    projected,
};
use crate::support::flow_faults::{Fault, FaultyLog};

on_both_logs!(
    i12_a_lost_reply_is_settled_by_asking_the_log,
    i12_a_lost_commit_is_settled_by_asking_the_log,
    i12_an_unknown_outcome_of_a_recopy_starts_no_further_generation,
    i12_an_unknown_outcome_of_a_reconcile_writes_nothing_twice,
    i12_a_reconcile_with_a_projection_behind_the_log_writes_nothing,
    i08_a_fenced_replay_stops_and_another_goes_on,
    i08_a_record_that_is_not_taken_stops_the_replay_and_the_next_goes_on,
);

/// A provisioned migration with its engines' parts.
struct Scene {
    migration: Migration,
    mapping: Arc<Mapping>,
    source: SqliteSource,
    log: Arc<dyn EventLog>,
}

impl Scene {
    fn new(log: Log) -> Self {
        let migration = generated(log, Sizes { messages: 400, ..Sizes::LEAST }, "");
        migration.expect(&["provision", "apply"], 0);
        Self::of(migration)
    }

    fn of(migration: Migration) -> Self {
        let mapping = mapping(&migration);
        let source = SqliteSource::open(migration.legacy(), mapping.clone(), false).unwrap();
        let log = Arc::from(open_log(&migration));
        Self { migration, mapping, source, log }
    }

    fn faulty(&self, fault: Fault, nth: u64) -> FaultyLog {
        FaultyLog::new(Arc::clone(&self.log), fault, nth)
    }

    /// Copies in about a dozen transactions.
    fn copy(&self, log: &dyn EventLog, recopy: bool) -> Result<Copied> {
        let settings =
            Settings { chunk_rows: 20, transaction_rows: 30, recopy, ..Settings::new(&self.migration.name, "one") };
        Replay {
            source: &self.source,
            log,
            mapping: &self.mapping,
            codec: &Exact,
            settings: &settings,
            progress: &Silent,
            now: &now,
        }
        .copy(None)
    }

    fn reconciler<'s>(&'s self, log: &'s dyn EventLog) -> Reconcile<'s> {
        Reconcile {
            source: &self.source,
            log,
            mapping: &self.mapping,
            codec: &Exact,
            migration: &self.migration.name,
            instance: "one",
            mass_delete: MassDelete { allowed: true, ..MassDelete::default() },
            progress: &Silent,
            now: &now,
        }
    }

    /// Brings the projection to the log's end and reconciles, as the command does.
    fn reconcile(&self, log: &dyn EventLog) -> Result<Reconciled> {
        let store = SqliteStore::new(self.migration.projection());
        let projector = Projector {
            log: self.log.as_ref(),
            store: &store,
            mapping: &self.mapping,
            migration: &self.migration.name,
            from: &Positions::new(),
            progress: &Silent,
        };
        loop {
            projector.catch_up().unwrap();
            match self.reconciler(log).run(store.view(&self.mapping).unwrap().as_mut(), None) {
                Err(error) if error.message().starts_with("the projection stands") => {}
                other => return other.map(|(_, reconciled)| reconciled),
            }
        }
    }

    /// Commits of an undisturbed copy.
    fn commits(&self) -> u64 {
        let memory: Arc<dyn EventLog> = Arc::new(crossfade::port::memory_log::MemoryLog::new());
        let topics = self.log.topics().unwrap().into_iter();
        let topic = |(name, partitions)| Topic { name, partitions, configs: BTreeMap::new() };
        memory.create_topics(&topics.map(topic).collect::<Vec<_>>()).unwrap();
        let log = FaultyLog::new(memory, Fault::LostReply, u64::MAX);
        assert_eq!(self.copy(&log, false).unwrap().state.phase, Phase::Done);
        log.calls()
    }

    /// The rest is done by the binary; every row is there as the legacy has it, by exactly one event.
    fn settle(&self) {
        let written = events(self.log.as_ref(), &self.mapping).len();
        bring_over(&self.migration);
        let events = events(self.log.as_ref(), &self.mapping);
        assert_orderly(&events);
        let rows = confirmed_pass(&self.migration)["totals"]["compared"].as_u64().unwrap();
        assert_eq!(events.len() as u64, rows, "{written} were written before");
    }
}

fn unknown_outcomes(log: Log, fault: Fault) {
    let commits = Scene::new(log).commits();
    assert!(commits >= 10, "{commits}");
    for nth in [1, commits / 2, commits] {
        let scene = Scene::new(log);
        let faulty = scene.faulty(fault, nth);
        let copied = scene.copy(&faulty, false).unwrap();
        assert!(faulty.calls() >= nth, "the fault was not met");
        let rows: u64 = copied.state.copied.values().sum();
        assert_eq!(copied.state.count, rows);
        let events = events(scene.log.as_ref(), &scene.mapping);
        assert_eq!((events.len() as u64, copied.rows), (rows, rows), "{fault:?} at commit {nth}");
        scene.settle();
    }
}

fn i12_a_lost_reply_is_settled_by_asking_the_log(log: Log) {
    unknown_outcomes(log, Fault::LostReply);
}

fn i12_a_lost_commit_is_settled_by_asking_the_log(log: Log) {
    unknown_outcomes(log, Fault::LostCommit);
}

fn i12_an_unknown_outcome_of_a_recopy_starts_no_further_generation(log: Log) {
    for (fault, nth, empty) in [
        (Fault::LostCommit, 1, false),
        (Fault::LostReply, 1, false),
        (Fault::LostReply, 3, false),
        (Fault::LostReply, 1, true),
        (Fault::LostCommit, 1, true),
    ] {
        let scene = Scene::of(projected(log, Sizes::LEAST));
        if empty {
            for table in &scene.mapping.tables {
                execute(&scene.migration.legacy(), &format!("DELETE FROM {}", table.name));
            }
        }
        let copied = scene.copy(&scene.faulty(fault, nth), true).unwrap();
        assert_eq!(copied.state.generation, 2, "{fault:?} at commit {nth}, empty: {empty}");
        let events = events(scene.log.as_ref(), &scene.mapping);
        assert_orderly(&events);
        let copied: u64 = copied.state.copied.values().sum();
        let again = events.iter().filter(|event| event.sequence.generation == 2).count() as u64;
        assert_eq!(again, copied, "{fault:?} at commit {nth}, empty: {empty}");
        assert_eq!(copied == 0, empty);
    }
}

fn i12_an_unknown_outcome_of_a_reconcile_writes_nothing_twice(log: Log) {
    for (fault, written_by_the_second) in [(Fault::LostReply, 0), (Fault::LostCommit, 3)] {
        let scene = Scene::of(projected(log, Sizes::LEAST));
        let legacy = scene.migration.legacy();
        let before = events(scene.log.as_ref(), &scene.mapping).len();
        execute(&legacy, "UPDATE messages SET content = 'later' WHERE id = (SELECT min(id) FROM messages)");
        execute(&legacy, "DELETE FROM messages WHERE id = (SELECT max(id) FROM messages)");
        execute(&legacy, "INSERT INTO sessions (id, initial_task, work_dir) VALUES ('new', 't', '/w')");
        let error = scene.reconcile(&scene.faulty(fault, 1)).unwrap_err();
        assert_eq!(error.kind(), Kind::Unknown);
        let second = scene.reconcile(scene.log.as_ref()).unwrap();
        assert_eq!(second.events(), written_by_the_second, "{fault:?}");
        let after = events(scene.log.as_ref(), &scene.mapping);
        assert_eq!(after.len(), before + 3);
        assert_orderly(&after);
        bring_over(&scene.migration);
    }
}

fn i12_a_reconcile_with_a_projection_behind_the_log_writes_nothing(log: Log) {
    let scene = Scene::of(projected(log, Sizes::LEAST));
    let store = SqliteStore::new(scene.migration.projection());
    let mut before = store.view(&scene.mapping).unwrap();
    execute(
        &scene.migration.legacy(),
        "UPDATE messages SET content = 'later' WHERE id = (SELECT min(id) FROM messages)",
    );
    assert_eq!(scene.reconcile(scene.log.as_ref()).unwrap().updated, 1);
    let written = events(scene.log.as_ref(), &scene.mapping).len();
    let error = scene.reconciler(scene.log.as_ref()).run(before.as_mut(), None).unwrap_err();
    assert_eq!(error.kind(), Kind::Unknown, "{error}");
    assert_eq!(events(scene.log.as_ref(), &scene.mapping).len(), written);
    drop(before);
    bring_over(&scene.migration);
}

fn i08_a_fenced_replay_stops_and_another_goes_on(log: Log) {
    let scene = Scene::new(log);
    let error = scene.copy(&scene.faulty(Fault::Fenced, 4), false).unwrap_err();
    assert_eq!(error.kind(), Kind::Fenced, "{error}");
    let written = events(scene.log.as_ref(), &scene.mapping).len();
    assert!((90..200).contains(&written), "{written}");
    scene.settle();
}

fn i08_a_record_that_is_not_taken_stops_the_replay_and_the_next_goes_on(log: Log) {
    let scene = Scene::new(log);
    let error = scene.copy(&scene.faulty(Fault::Append, 200), false).unwrap_err();
    assert_eq!(error.kind(), Kind::Failed, "{error}");
    let written = events(scene.log.as_ref(), &scene.mapping).len();
    assert!(written < 200, "{written}");
    scene.settle();
}
