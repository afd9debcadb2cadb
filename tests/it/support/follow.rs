//! One store under follow, by the engines alone: what its own program does to it, and what the log makes of that.

use std::path::PathBuf;
use std::sync::Arc;

use crossfade::capture::{Ended, Follow, FollowState, Phase, Reconcile, Replay, Settings};
use crossfade::compare::differences;
use crossfade::control::missing_topics;
use crossfade::embedded::EmbeddedLog;
use crossfade::event::codec::Exact;
use crossfade::mapping::Mapping;
use crossfade::mapping::init::init;
use crossfade::port::change_source::Capture;
use crossfade::port::event_log::{EventLog, Positions};
use crossfade::port::legacy_source::LegacySource;
use crossfade::port::progress::Silent;
use crossfade::port::row_store::RowStore;
use crossfade::project::Projector;
use crossfade::sqlite::introspect::describe;
use crossfade::sqlite::outbox::SqliteOutbox;
use crossfade::sqlite::source::SqliteSource;
use crossfade::sqlite::store::SqliteStore;
use rusqlite::Connection;

use super::flow::{Seen, events, now};

pub const MIGRATION: &str = "bench";

/// A legacy store with its log and projection.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub mapping: Arc<Mapping>,
    pub log: EmbeddedLog,
    pub store: SqliteStore,
    pub reconciles: u32,
}

impl Bench {
    /// A store made by `make`, which is handed its path, with the mapping that init writes for it.
    pub fn new(make: impl FnOnce(&std::path::Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let legacy = folder.path().join("legacy.db");
        make(&legacy);
        let (text, _) = init(&describe(&legacy).unwrap(), MIGRATION);
        Self::mapped(folder, Mapping::parse("mapping.yaml", &text).unwrap())
    }

    pub fn mapped(folder: tempfile::TempDir, mapping: Mapping) -> Self {
        let mapping = Arc::new(mapping);
        let log = EmbeddedLog::open(&folder.path().join("log.db"), true).unwrap();
        log.create_topics(&missing_topics(&log, &mapping, MIGRATION).unwrap()).unwrap();
        let store = SqliteStore::new(folder.path().join("projection.db"));
        Self { folder, mapping, log, store, reconciles: 0 }
    }

    /// A store made by one script.
    pub fn of(script: &str) -> Self {
        Self::new(|path| {
            let connection = Connection::open(path).unwrap();
            connection.execute_batch(&format!("PRAGMA journal_mode = WAL; {script}")).unwrap();
        })
    }

    pub fn legacy(&self) -> PathBuf {
        self.folder.path().join("legacy.db")
    }

    /// The program that owns the store.
    pub fn app(&self) -> Connection {
        let connection = Connection::open(self.legacy()).unwrap();
        connection.execute_batch("PRAGMA foreign_keys = ON; PRAGMA synchronous = OFF").unwrap();
        connection
    }

    #[track_caller]
    pub fn run(&self, sql: &str) {
        self.app().execute_batch(sql).unwrap_or_else(|error| panic!("{error} in {sql}"));
    }

    pub fn outbox(&self) -> SqliteOutbox {
        SqliteOutbox::new(self.legacy(), MIGRATION, Arc::clone(&self.mapping))
    }

    pub fn install(&self) {
        let outbox = self.outbox();
        outbox.install(&outbox.plan().unwrap(), &uuid::Uuid::new_v4().to_string(), &Silent).unwrap();
        assert!(outbox.plan().unwrap().whole);
    }

    fn source(&self) -> SqliteSource {
        SqliteSource::open(self.legacy(), Arc::clone(&self.mapping), false).unwrap().followed(MIGRATION)
    }

    pub fn replay(&self) {
        let source = self.source();
        let settings = Settings::new(MIGRATION, "replay");
        let (log, mapping) = (&self.log, &self.mapping);
        let replay =
            Replay { source: &source, log, mapping, codec: &Exact, settings: &settings, progress: &Silent, now: &now };
        assert_eq!(replay.copy(None).unwrap().state.phase, Phase::Done);
    }

    pub fn try_follow(&self) -> crossfade::base::Result<Ended> {
        let outbox = self.outbox();
        let follow = Follow {
            source: &outbox,
            log: &self.log,
            mapping: &self.mapping,
            codec: &Exact,
            migration: MIGRATION,
            instance: "follow",
            until_caught_up: true,
            alone: &|| Ok(()),
            progress: &Silent,
            now: &now,
        };
        follow.run(None)
    }

    /// Follows to the end, with a reconcile where one is asked for.
    #[track_caller]
    pub fn follow(&mut self) -> FollowState {
        loop {
            match self.try_follow().unwrap() {
                Ended::CaughtUp(state) => return *state,
                Ended::Reconcile(why) => {
                    self.reconciles += 1;
                    assert!(self.reconciles < 1000, "{why}");
                    self.reconcile();
                }
            }
        }
    }

    pub fn reconcile(&self) {
        let source = self.source();
        self.project();
        let (log, mapping) = (&self.log, &self.mapping);
        let reconcile = Reconcile {
            source: &source,
            log,
            mapping,
            codec: &Exact,
            migration: MIGRATION,
            instance: "reconcile",
            progress: &Silent,
            now: &now,
        };
        reconcile.run(self.store.view(&self.mapping).unwrap().as_mut(), None).unwrap();
    }

    pub fn project(&self) {
        let from = Positions::new();
        let projector =
            Projector { log: &self.log, store: &self.store, mapping: &self.mapping, from: &from, progress: &Silent };
        projector.catch_up().unwrap();
    }

    /// The rows in which the projection differs from the legacy, in words.
    pub fn differing(&self) -> Vec<String> {
        self.project();
        let mut snapshot = self.source().snapshot().unwrap();
        let mut view = self.store.view(&self.mapping).unwrap();
        let mut found = Vec::new();
        differences(&self.mapping, snapshot.as_mut(), view.as_mut(), &Silent, &mut |pairs| {
            for pair in pairs {
                let row = |row: crossfade::mapping::Row<'_>| format!("{:?}", row.values().collect::<Vec<_>>());
                let sides = (pair.legacy.map(row), pair.projected.map(|(projected, _)| row(projected)));
                found.push(format!("{}: {sides:?}", pair.table.name));
            }
            Ok(())
        })
        .unwrap();
        found
    }

    /// Follows, folds and finds no difference.
    #[track_caller]
    pub fn assert_followed(&mut self) {
        self.follow();
        let differing = self.differing();
        assert!(differing.is_empty(), "{differing:#?}");
    }

    /// The events of follow, in order.
    pub fn told(&self) -> Vec<Seen> {
        events(&self.log, &self.mapping).into_iter().filter(|event| event.source.ends_with("#follow")).collect()
    }

    /// Operation and identity (its first column) of the events since the last call with the same `from`.
    pub fn ops(&self, from: usize) -> Vec<String> {
        let told = self.told();
        let words = told.iter().skip(from).map(|event| {
            let table = self.mapping.table(event.value["table"].as_str().unwrap()).unwrap();
            let identity = table.fields().nth(table.identity[0]).unwrap();
            format!("{} {}", event.op(), event.value["row"][identity].to_string().trim_matches('"'))
        });
        words.collect()
    }
}
