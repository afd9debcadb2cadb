//! One PostgreSQL database under decoding, by the engines alone: what its programs do to it, and what the log makes of that.

use std::sync::Arc;

use crossfade::base::Result;
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
use crossfade::postgres::decoding::{Limits, PostgresDecoding};
use crossfade::postgres::store::PostgresStore;
use crossfade::postgres::{Login, PostgresSource, describe};
use crossfade::project::Projector;

use super::flow::{Seen, events, now};
use super::postgres::Database;

pub const MIGRATION: &str = "bench";

pub struct Bench {
    _folder: tempfile::TempDir,
    pub database: Database,
    pub mapping: Arc<Mapping>,
    pub log: EmbeddedLog,
    pub store: PostgresStore,
    pub reconciles: u32,
}

impl Bench {
    /// A database made by a script, with the mapping that init writes for it.
    pub fn of(script: &str) -> Self {
        let database = Database::with(script);
        let (text, _) = init(&describe(&database.login()).unwrap().schema, MIGRATION);
        Self::mapped(database, &text)
    }

    pub fn mapped(database: Database, mapping: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mapping = Arc::new(Mapping::parse("mapping.yaml", mapping).unwrap());
        let log = EmbeddedLog::open(&folder.path().join("log.db"), true).unwrap();
        log.create_topics(&missing_topics(&log, &mapping, MIGRATION).unwrap()).unwrap();
        let mut projected = database.login();
        projected.place.schema = "projected".to_owned();
        let store = PostgresStore::new(Login { statement_timeout_ms: 0, ..projected });
        Self { _folder: folder, database, mapping, log, store, reconciles: 0 }
    }

    #[track_caller]
    pub fn run(&self, sql: &str) {
        self.database.execute(sql);
    }

    pub fn capture(&self) -> PostgresDecoding {
        let limits = Limits { warn: 0, drop: 0 };
        PostgresDecoding::new(self.database.login(), MIGRATION, Arc::clone(&self.mapping), limits)
    }

    #[track_caller]
    pub fn install(&self) {
        let capture = self.capture();
        let planned = capture.plan().unwrap();
        capture.install(&planned, &uuid::Uuid::new_v4().to_string(), &Silent).unwrap();
        assert!(capture.plan().unwrap().whole);
    }

    fn source(&self) -> PostgresSource {
        PostgresSource::open(self.database.login(), Arc::clone(&self.mapping)).unwrap().followed(MIGRATION)
    }

    #[track_caller]
    pub fn replay(&self) {
        let source = self.source();
        let settings = Settings::new(MIGRATION, "replay");
        let (log, mapping) = (&self.log, &self.mapping);
        let replay =
            Replay { source: &source, log, mapping, codec: &Exact, settings: &settings, progress: &Silent, now: &now };
        assert_eq!(replay.copy(None).unwrap().state.phase, Phase::Done);
    }

    pub fn try_follow(&self) -> Result<Ended> {
        let capture = self.capture();
        let follow = Follow {
            source: &capture,
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
                    assert!(self.reconciles < 100, "{why}");
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

    /// Operation and identity (its first column) of the events of follow.
    pub fn ops(&self) -> Vec<String> {
        let told = self.told();
        let words = told.iter().map(|event| {
            let table = self.mapping.table(event.value["table"].as_str().unwrap()).unwrap();
            let identity = table.fields().nth(table.identity[0]).unwrap();
            format!("{} {}", event.op(), event.value["row"][identity].to_string().trim_matches('"'))
        });
        words.collect()
    }
}
