//! One logical position for a comparison while the legacy is written to: a snapshot of it, and log and projection past it.

use std::time::{Duration, Instant};

use super::state::{FollowState, ReplayState};
use crate::base::{Kind, Millis, Result};
use crate::event::Sequence;
use crate::fold::Span;
use crate::mapping::Mapping;
use crate::port::change_source::{ChangeSource, Lag, Position};
use crate::port::event_log::{EventLog, Positions, ends};
use crate::port::legacy_source::{LegacySource, Snapshot};
use crate::port::owners::GatewayState;
use crate::port::progress::Progress;
use crate::port::row_store::RowStore;

/// What stands still for so long is not waited for.
const STANDSTILL: Duration = Duration::from_secs(2);
/// The same of a follow that has committed in the last seconds: it moves on every second, also with nothing to tell, but on a
/// busy machine it misses some.
const AT_WORK: (Millis, Duration) = (15_000, Duration::from_secs(5));
/// What moves is waited for so long.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

/// The snapshot, and what the log says of it.
pub struct Met {
    pub snapshot: Box<dyn Snapshot>,
    /// Where it lies among the events; `None` where no recorded change says so, or the log has not come so far.
    pub span: Option<Span>,
    /// Where it stands among the legacy's changes.
    pub position: Option<Position>,
    /// Where the log ended once it had all that the snapshot has.
    pub ends: Positions,
}

/// How far the log's events have told of the legacy.
struct Told {
    read: Option<Position>,
    followed: Option<Position>,
    /// When the follow committed last.
    at: Option<Millis>,
    sequence: i64,
}

impl Told {
    fn read(log: &dyn EventLog, migration: &str) -> Result<Self> {
        let replay = ReplayState::read(log, migration)?.map(|(state, _)| state).unwrap_or_default();
        let follow = FollowState::read(log, migration)?.filter(|follow| follow.generation == replay.generation);
        let gateway = GatewayState::counted(log, migration, replay.generation)?;
        let count = follow.as_ref().map_or(0, |follow| follow.count).max(replay.count).max(gateway);
        let sequence = Sequence { generation: replay.generation, count }.number();
        let at = follow.as_ref().map(|follow| follow.taken_at);
        Ok(Self { read: replay.captured, followed: follow.map(|follow| follow.position), at, sequence })
    }

    /// Where the follow of one capture stands.
    fn stands(&self, incarnation: &str) -> Option<Position> {
        let of = |position: &Option<Position>| position.clone().filter(|found| found.incarnation == incarnation);
        Position::resume(of(&self.read), of(&self.followed))
    }
}

/// Takes a snapshot of the legacy and waits until the log has told of all that is in it, as long as a follow moves on.
pub fn meet(
    source: &dyn LegacySource,
    capture: Option<&dyn ChangeSource>,
    log: &dyn EventLog,
    mapping: &Mapping,
    migration: &str,
    now: Millis,
    progress: &dyn Progress,
) -> Result<Met> {
    // Read first: what these events tell was committed before the snapshot is taken.
    let mut told = Told::read(log, migration)?;
    let from = told.sequence;
    let mut snapshot = source.snapshot()?;
    let position = snapshot.position()?;
    let mut span = None;
    if let (Some(position), Some(capture)) = (&position, capture) {
        let at_work = told.at.is_some_and(|at| now - at < AT_WORK.0);
        let mut standstill = Standstill::new(if at_work { AT_WORK.1 } else { STANDSTILL });
        while let Some(at) = told.stands(&position.incarnation) {
            let covered = capture.covers(&at, position)?;
            if covered && !position.seen.is_empty() {
                // The store was asked after the log.
                told = Told::read(log, migration)?;
            }
            if covered {
                span = Some(Span { from, until: told.sequence });
                break;
            }
            if !standstill.wait(&told.followed, progress)? {
                break;
            }
            told = Told::read(log, migration)?;
        }
    }
    Ok(Met { snapshot, span, position, ends: ends(log, mapping)? })
}

/// Whether the log's events have told all that is in the rows of a snapshot.
pub fn covered(capture: &dyn ChangeSource, snapshot: &Position, log: &dyn EventLog, migration: &str) -> Result<bool> {
    match Told::read(log, migration)?.stands(&snapshot.incarnation) {
        Some(at) => capture.covers(&at, snapshot),
        None => Ok(false),
    }
}

/// What the legacy has recorded by an incarnation and the log lacks; `None` where the log has nothing of that.
pub fn untold(
    capture: &dyn ChangeSource,
    incarnation: &str,
    log: &dyn EventLog,
    migration: &str,
) -> Result<Option<Lag>> {
    let told = || Ok(Told::read(log, migration)?.stands(incarnation));
    let mut last = told()?;
    while let Some(at) = &last {
        match capture.lag(at) {
            // A follow at work has what it told taken away, also what was the last of it a moment ago.
            Err(error) if error.kind() == Kind::Refused => {
                let now = told()?;
                if now == last {
                    return Err(error);
                }
                last = now;
            }
            lag => return lag.map(Some),
        }
    }
    Ok(None)
}

/// Waits until the store stands at these positions or past them, as long as a projector moves it on.
pub fn await_store(store: &dyn RowStore, ends: &Positions, progress: &dyn Progress) -> Result<()> {
    let mut standstill = Standstill::new(STANDSTILL);
    while let Some(state) = store.state()?.filter(|state| !state.rebuilding) {
        let there = |(place, end): (&(String, i32), &i64)| state.positions.get(place).copied().unwrap_or(0) >= *end;
        if ends.iter().all(there) || !standstill.wait(&state.positions, progress)? {
            break;
        }
    }
    Ok(())
}

/// Tells what moves on from what stands still.
struct Standstill<T> {
    at_most: Duration,
    began: Instant,
    moved: Instant,
    last: Option<T>,
}

impl<T: Clone + PartialEq> Standstill<T> {
    fn new(at_most: Duration) -> Self {
        Self { at_most, began: Instant::now(), moved: Instant::now(), last: None }
    }

    /// Sleeps a little; `false` when it is no use to wait any longer.
    fn wait(&mut self, seen: &T, progress: &dyn Progress) -> Result<bool> {
        progress.check()?;
        if self.last.as_ref() != Some(seen) {
            (self.moved, self.last) = (Instant::now(), Some(seen.clone()));
        }
        std::thread::sleep(PAUSE);
        Ok(self.moved.elapsed() < self.at_most && self.began.elapsed() < PATIENCE)
    }
}
