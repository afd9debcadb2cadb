//! One legacy under follow, by the engines alone: what its own program does to it, and what the log makes of that.

use std::ops::Deref;
use std::path::Path;
use std::sync::Arc;

use crossfade::base::{Millis, Result};
use crossfade::capture::{Ended, Follow, FollowState, MassDelete, Phase, Reconcile, Replay, Settings};
use crossfade::compare::differences;
use crossfade::control::missing_topics;
use crossfade::embedded::EmbeddedLog;
use crossfade::event::codec::Exact;
use crossfade::mapping::Mapping;
use crossfade::port::change_source::Capture;
use crossfade::port::event_log::{EventLog, Positions};
use crossfade::port::legacy_source::LegacySource;
use crossfade::port::progress::{Progress, Silent};
use crossfade::port::row_store::RowStore;
use crossfade::project::Projector;

use super::flow::{Seen, events, now};

pub const MIGRATION: &str = "bench";

/// A legacy of one kind.
pub trait Legacy {
    type Capture: Capture;

    fn capture(&self, mapping: &Arc<Mapping>) -> Self::Capture;

    fn source(&self, mapping: &Arc<Mapping>) -> Box<dyn LegacySource>;

    /// Where its projection lies; `folder` is the log's.
    fn projection(&self, folder: &Path) -> Box<dyn RowStore>;
}

/// A legacy with its log and projection.
pub struct Bench<L> {
    legacy: L,
    _folder: tempfile::TempDir,
    pub mapping: Arc<Mapping>,
    pub log: EmbeddedLog,
    pub store: Box<dyn RowStore>,
    pub reconciles: u32,
}

impl<L> Deref for Bench<L> {
    type Target = L;

    fn deref(&self) -> &L {
        &self.legacy
    }
}

impl<L: Legacy> Bench<L> {
    pub fn mapped(legacy: L, mapping: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mapping = Arc::new(Mapping::parse("mapping.yaml", mapping).unwrap());
        let log = EmbeddedLog::open(&folder.path().join("log.db"), true).unwrap();
        log.create_topics(&missing_topics(&log, &mapping, MIGRATION).unwrap()).unwrap();
        let store = legacy.projection(folder.path());
        Self { legacy, _folder: folder, mapping, log, store, reconciles: 0 }
    }

    pub fn capture(&self) -> L::Capture {
        self.legacy.capture(&self.mapping)
    }

    #[track_caller]
    pub fn install(&self) {
        let capture = self.capture();
        let planned = capture.plan().unwrap();
        capture.install(&planned, &uuid::Uuid::new_v4().to_string(), &Silent).unwrap();
        assert!(capture.plan().unwrap().whole);
    }

    pub fn source(&self) -> Box<dyn LegacySource> {
        self.legacy.source(&self.mapping)
    }

    #[track_caller]
    pub fn replay(&self) {
        let source = self.source();
        let settings = Settings::new(MIGRATION, "replay");
        let replay = Replay {
            source: source.as_ref(),
            log: &self.log,
            mapping: &self.mapping,
            codec: &Exact,
            settings: &settings,
            progress: &Silent,
            now: &now,
        };
        assert_eq!(replay.copy(None).unwrap().state.phase, Phase::Done);
    }

    pub fn try_follow(&self) -> Result<Ended> {
        self.follow_by(&Silent, &now)
    }

    /// One run of follow with a listener and a clock.
    pub fn follow_by(&self, progress: &dyn Progress, now: &(dyn Fn() -> Millis + Sync)) -> Result<Ended> {
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
            progress,
            now,
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
        let reconcile = Reconcile {
            source: source.as_ref(),
            log: &self.log,
            mapping: &self.mapping,
            codec: &Exact,
            migration: MIGRATION,
            instance: "reconcile",
            mass_delete: MassDelete { allowed: true, ..MassDelete::default() },
            progress: &Silent,
            now: &now,
        };
        reconcile.run(self.store.view(&self.mapping).unwrap().as_mut(), None).unwrap();
    }

    pub fn project(&self) {
        let projector = Projector {
            log: &self.log,
            store: self.store.as_ref(),
            mapping: &self.mapping,
            migration: MIGRATION,
            from: &Positions::new(),
            progress: &Silent,
        };
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

    /// Operation and identity (its first column) of the events of follow from a number on.
    pub fn ops(&self, from: usize) -> Vec<String> {
        self.told().iter().skip(from).map(|event| event.change(&self.mapping)).collect()
    }
}
