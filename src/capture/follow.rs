//! Follow: the legacy's changes into events as they are committed, from where the replay's snapshot ended.

use std::time::Duration;

use super::emit::{Emitter, Quarantined, Refusal, reject};
use super::state::{FOLLOW_ROLE, FollowState, Phase, ReplayState};
use crate::base::{Error, Kind, Millis, Result};
use crate::event::codec::Codec;
use crate::event::encode::RowChange;
use crate::event::{Op, Stamp};
use crate::mapping::{FOREIGN_WRITE, KeyText, Mapping, Row, Table, Value};
use crate::port::boundary::{boundary, rows};
use crate::port::change_source::{ChangeReader, ChangeSource, Changes, Position};
use crate::port::event_log::{EventLog, LogWriter};
use crate::port::identity::{RECOPY, RowTopics, Watch};
use crate::port::owners::{GatewayState, Sessions};
use crate::port::progress::Progress;
use crate::scan::Found;

/// Makes events of a legacy store's changes.
pub struct Follow<'a> {
    pub source: &'a dyn ChangeSource,
    pub log: &'a dyn EventLog,
    pub mapping: &'a Mapping,
    pub codec: &'a dyn Codec,
    pub migration: &'a str,
    pub instance: &'a str,
    /// End as soon as the legacy has no more changes.
    pub until_caught_up: bool,
    /// Asked once the writer is open: an error where another run is at work that must not be met half way.
    pub alone: &'a dyn Fn() -> Result<()>,
    pub progress: &'a dyn Progress,
    pub now: &'a (dyn Fn() -> Millis + Sync),
}

/// How a follow ended, other than by an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    CaughtUp(Box<FollowState>),
    /// Changes alone cannot keep the fold equal: a reconcile must come first, and why.
    Reconcile(String),
}

/// Changes in one transaction of the log.
const TRANSACTION_CHANGES: u64 = 2_000;
/// How long a read waits for changes before the run looks around.
const WAIT: Duration = Duration::from_millis(200);
/// Between two looks at how much is left.
const LAG_EVERY: Duration = Duration::from_secs(1);
/// Attempts in a row after a commit whose outcome was not known, or a fence that nobody has put up.
const PROBES: u32 = 5;
/// Before the first attempt after a log went away; longer before each further one.
const PAUSE: Duration = Duration::from_secs(1);

/// How far an attempt came.
#[derive(Default)]
struct Came {
    /// Its name is in the log's checkpoint.
    begun: bool,
    /// Changes were committed.
    worked: bool,
}

/// Where a follow may begin.
enum Start {
    At(Box<FollowState>),
    Reconcile(String),
}

impl Follow<'_> {
    /// Follows until the progress listener ends the run, or as [`Follow::until_caught_up`] says. Safe to run again after
    /// any kill: the log's checkpoint says which changes it has.
    ///
    /// A log that goes away is waited for, once anything was followed. A commit of no known outcome, and a writer fenced
    /// though nobody has taken its name (a transaction that outlived its time), are settled by opening it again.
    pub fn run(&self, mut quarantine: Option<&mut Quarantined<'_>>) -> Result<Ended> {
        let (mut failures, mut begun) = (0, false);
        loop {
            let mut came = Came::default();
            let error = match self.attempt(&mut came, quarantine.as_deref_mut()) {
                Err(error) => error,
                ended => return ended,
            };
            failures = if came.worked { 1 } else { failures + 1 };
            begun |= came.begun;
            let again = match error.kind() {
                Kind::Unknown => failures <= PROBES,
                Kind::Fenced => came.begun && failures <= PROBES,
                Kind::Connect => !self.until_caught_up && (begun || failures > 1),
                _ => false,
            };
            if !again {
                return Err(error);
            }
            self.progress.reconnecting();
            if error.kind() != Kind::Unknown {
                self.pause(PAUSE * failures.min(10))?;
            }
            // Whoever has taken over is let be: its checkpoint, or the run lock, names it. A log that cannot tell is asked
            // until it can, because opening the writer would fence.
            while let Err(other) = if begun { self.require_newest() } else { Ok(()) }.and_then(|()| (self.alone)()) {
                if other.kind() != Kind::Connect || self.until_caught_up {
                    return Err(other);
                }
                self.progress.reconnecting();
                self.pause(PAUSE * failures.min(10))?;
            }
            self.progress.note(&format!("{error}; asking the log what it has"));
        }
    }

    fn pause(&self, long: Duration) -> Result<()> {
        let began = std::time::Instant::now();
        while began.elapsed() < long {
            self.progress.check()?;
            std::thread::sleep(WAIT.min(long));
        }
        Ok(())
    }

    fn name(&self) -> String {
        format!("{}/{FOLLOW_ROLE}", self.migration)
    }

    /// An error when the newest checkpoint is another process's.
    fn require_newest(&self) -> Result<()> {
        match self.log.checkpoint(&self.name())? {
            Some(checkpoint) if checkpoint.instance != self.instance => {
                Err(Error::fenced("another follow has taken over; this one stops").hint("see it: crossfade status"))
            }
            _ => Ok(()),
        }
    }

    fn attempt(&self, came: &mut Came, mut quarantine: Option<&mut Quarantined<'_>>) -> Result<Ended> {
        let mut writer = self.log.open_writer(&self.name(), self.instance)?;
        boundary("follow.writer-open");
        (self.alone)()?;
        let mut watch = Watch::new(&RowTopics::look(self.log, self.mapping)?);
        let mut state = match self.start(writer.as_ref())? {
            Start::At(state) => state,
            Start::Reconcile(why) => return Ok(Ended::Reconcile(why)),
        };
        // Says that there is a follow, so that a replay from here on knows of one to stop.
        writer.commit(&self.mapping.hash, state.to_json()?)?;
        boundary("follow.begun");
        (self.alone)()?;
        came.begun = true;
        // A transfer takes this writer's name away first: as long as it is ours, nobody owns anything else.
        let sessions = Sessions::read(self.log, self.mapping, self.migration, None)?;
        let mut reader = self.source.open(&state.position)?;
        let store = format!("{}/{}", self.migration, self.source.kind());
        let stamp = Stamp { source: format!("{store}#follow"), generation: state.generation };
        let mut emitter =
            Emitter::new(self.log, self.mapping, self.codec, (self.migration, &store), &stamp, self.source.screen())?;
        let mut changes = Changes::default();
        let mut keys = (KeyText::default(), KeyText::default());
        self.progress.begin("follow", None);
        let mut told: Option<std::time::Instant> = None;
        loop {
            reader.read(&mut changes, rows(TRANSACTION_CHANGES) as usize, WAIT)?;
            watch.look(self.log, "the follow", RECOPY)?;
            emitter.timestamp = (self.now)();
            let mut emit = Emit { emitter: &mut emitter, keys: &mut keys, state: &mut state, sessions: &sessions };
            for (change, row, before) in changes.iter() {
                let id = Position {
                    incarnation: changes.end.incarnation.clone(),
                    at: change.at,
                    count: change.count,
                    ..Position::default()
                };
                let table = &self.mapping.tables[change.table];
                emit.change(writer.as_mut(), table, (change.op, row, before), &id.change(), quarantine.as_deref_mut())?;
            }
            if let (Some(needs), Some(why)) = (changes.gap, &changes.reconcile) {
                state.gaps.count += 1;
                state.gaps.running += u64::from(needs > 0);
                state.gaps.last.clone_from(why);
            }
            let recovered = changes.caught_up && state.gaps.running > 0;
            if recovered {
                state.gaps.running = 0;
            }
            let moved = changes.end != state.position;
            if moved || recovered || changes.reconcile.is_some() {
                state.position.clone_from(&changes.end);
                state.dirty.clone_from(&changes.reconcile);
                state.taken_at = emitter.timestamp;
                Found::merge(&mut state.found, reader.found().found);
                boundary("follow.before-commit");
                writer.commit(&self.mapping.hash, state.to_json()?)?;
                boundary("follow.after-commit");
                came.worked = true;
                self.progress.committed();
                self.progress.advance(changes.len() as u64);
            }
            if let Some(why) = changes.reconcile.take() {
                self.progress.end();
                if let Some(needs) = changes.gap.filter(|needs| *needs > 0 && state.gaps.running > 1) {
                    return Err(too_small(&why, needs));
                }
                return Ok(Ended::Reconcile(why));
            }
            reader.release(&state.position)?;
            boundary("follow.released");
            if told.is_none_or(|told| told.elapsed() >= LAG_EVERY) {
                self.tell(reader.as_mut())?;
                told = Some(std::time::Instant::now());
            }
            self.progress.check()?;
            if self.until_caught_up && changes.caught_up {
                self.progress.end();
                return Ok(Ended::CaughtUp(state));
            }
        }
    }

    fn tell(&self, reader: &mut dyn ChangeReader) -> Result<()> {
        let lag = reader.lag()?;
        let age = lag.since.map_or(0, |since| ((self.now)() - since).max(0));
        self.progress.lag(lag, age);
        Ok(())
    }

    /// Where to begin: at the replay's snapshot, or behind what an earlier follow has told since.
    fn start(&self, writer: &dyn LogWriter) -> Result<Start> {
        let refused = |message: &str| Err(Error::refused(message).hint("crossfade replay"));
        let Some((replay, hash)) = ReplayState::read(self.log, self.migration)? else {
            return refused("there was no replay yet: its rows come before their changes");
        };
        if hash != self.mapping.hash {
            return Err(Error::stale("the replay was made under another mapping than the one in force")
                .hint("put the mapping (or scan.mode) back, or copy everything anew: crossfade replay --recopy"));
        }
        if replay.phase != Phase::Done {
            return refused("the replay is unfinished: its rows come before their changes");
        }
        replay.require(&RowTopics::look(self.log, self.mapping)?)?;
        let incarnation = self.source.incarnation()?;
        let mut state = FollowState {
            mode: self.source.mode().to_owned(),
            generation: replay.generation,
            count: replay.count,
            blind: self.source.blind()?,
            taken_at: (self.now)(),
            ..FollowState::default()
        };
        state.count = state.count.max(GatewayState::counted(self.log, self.migration, replay.generation)?);
        let read = replay.captured.clone().filter(|position| position.incarnation == incarnation);
        let own =
            writer.checkpoint().map(FollowState::of).transpose()?.filter(|own| own.generation == replay.generation);
        if let Some(own) = &own {
            state.count = state.count.max(own.count);
            state.events = own.events;
            state.found.clone_from(&own.found);
            state.gaps.clone_from(&own.gaps);
            state.quarantined = if own.reconciled == replay.reconciled { own.quarantined } else { 0 };
            if let Some(why) = own.dirty.as_ref().filter(|_| own.reconciled >= replay.reconciled) {
                return Ok(Start::Reconcile(why.clone()));
            }
        }
        state.reconciled = replay.reconciled;
        let followed = own.map(|own| own.position).filter(|position| position.incarnation == incarnation);
        // A change the snapshot was read behind is in its rows.
        let Some(position) = Position::resume(read, followed) else {
            let why = "nothing recorded the legacy's changes when its rows were read";
            return Ok(Start::Reconcile(why.to_owned()));
        };
        state.position = position;
        Ok(Start::At(Box::new(state)))
    }
}

/// A reconcile alone does not help where the next one would begin as soon as it ended.
fn too_small(why: &str, needs: u64) -> Error {
    // What passed once may pass again a little faster.
    let enough = (2 * needs).next_multiple_of(1_000);
    Error::refused(format!("{why}: again, before follow had caught up; the outbox is too small for what is written"))
        .hint(format!(
            "'follow: {{keep_changes: {enough}}}' in crossfade.yaml, then: crossfade follow --install, and crossfade follow, \
             which reconciles first"
        ))
}

/// Takes the follow's name away from whoever has it, where there is a follow at all: what a replay is about to write may
/// not meet its events. Held as long as that may not be; gives how many events that follow had counted.
pub fn fence(log: &dyn EventLog, migration: &str, instance: &str) -> Result<Option<(Box<dyn LogWriter>, FollowState)>> {
    let name = format!("{migration}/{FOLLOW_ROLE}");
    if log.checkpoint(&name)?.is_none() {
        return Ok(None);
    }
    let writer = log.open_writer(&name, instance)?;
    let Some(checkpoint) = writer.checkpoint() else { return Ok(None) };
    let state = FollowState::of(checkpoint)?;
    Ok(Some((writer, state)))
}

struct Emit<'e, 'a> {
    emitter: &'e mut Emitter<'a>,
    keys: &'e mut (KeyText, KeyText),
    state: &'e mut FollowState,
    sessions: &'e Sessions,
}

impl Emit<'_, '_> {
    /// Appends the events of one change. Where its identity or record key changed, it is a delete under the old one and
    /// an insert under the new, because the two may lie in different partitions.
    fn change(
        &mut self,
        writer: &mut dyn LogWriter,
        table: &Table,
        (op, row, before): (Op, Row<'_>, Option<Row<'_>>),
        id: &[u8],
        quarantine: Option<&mut Quarantined<'_>>,
    ) -> Result<()> {
        if [Some(row), before].into_iter().flatten().any(|image| self.sessions.owned(table, image, &mut self.keys.0)) {
            return self.foreign(writer, table, (op, row, before), id, quarantine);
        }
        if op == Op::Delete {
            return self.delete(writer, table, row, id);
        }
        // The store may not know what the row was, only that it is the same one.
        let unknown = op == Op::Update && before.is_none();
        // An image without an identity was never an event.
        let before = before.filter(|before| identified(table, *before));
        let moved = before.is_some_and(|before| {
            table.identity.iter().any(|cell| before.get(*cell) != row.get(*cell))
                || self.keys.0.write(table, before) != self.keys.1.write(table, row)
        });
        if let Some(old) = before.filter(|_| moved) {
            self.delete(writer, table, old, id)?;
        }
        let (op, before) = match before {
            Some(before) if !moved => (Op::Update, Some(before)),
            None if unknown => (Op::Update, None),
            _ => (Op::Insert, None),
        };
        let count = self.state.count + 1;
        let change = RowChange { op, row, before, change: id, count };
        let appended = self.emitter.append(writer, table.index, change)?;
        self.settle(table, row, appended, quarantine)
    }

    /// Records a change to a session that events own, which reverse did not make: with both images, and never folded.
    fn foreign(
        &mut self,
        writer: &mut dyn LogWriter,
        table: &Table,
        (op, row, before): (Op, Row<'_>, Option<Row<'_>>),
        id: &[u8],
        quarantine: Option<&mut Quarantined<'_>>,
    ) -> Result<()> {
        let change = RowChange { op, row, before, change: id, count: self.state.count + 1 };
        let appended = self.emitter.append_as(writer, table.index, change, (Some(FOREIGN_WRITE), None))?;
        self.settle(table, row, appended, quarantine)
    }

    /// Counts an event, or rejects the row that may not become one.
    fn settle(
        &mut self,
        table: &Table,
        row: Row<'_>,
        appended: std::result::Result<(), Refusal>,
        quarantine: Option<&mut Quarantined<'_>>,
    ) -> Result<()> {
        match appended {
            Ok(()) => self.told(),
            Err(reason) => {
                reject(table, row, reason, quarantine)?;
                self.state.quarantined += 1;
            }
        }
        Ok(())
    }

    fn delete(&mut self, writer: &mut dyn LogWriter, table: &Table, row: Row<'_>, id: &[u8]) -> Result<()> {
        if !identified(table, row) {
            return Ok(());
        }
        let count = self.state.count + 1;
        let change = RowChange { op: Op::Delete, row, before: None, change: id, count };
        if self.emitter.append(writer, table.index, change)?.is_ok() {
            self.told();
        }
        Ok(())
    }

    fn told(&mut self) {
        self.state.count += 1;
        self.state.events += 1;
    }
}

fn identified(table: &Table, row: Row<'_>) -> bool {
    !table.identity.iter().any(|cell| matches!(row.get(*cell), Value::Null | Value::Blob(_)))
}
