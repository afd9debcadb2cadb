//! The fold of the log into a projection store: reading and decoding on one thread, applying on another.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use super::lag::Standing;
use crate::base::{Error, Kind, Millis, Result};
use crate::event::{Decoder, Op, Sequence, Whose};
use crate::fold::LastEvent;
use crate::mapping::{Mapping, Rows};
use crate::port::boundary::{boundary, rows};
use crate::port::event_log::{Batch, EventLog, Fetched, Positions, TopicIds, ends};
use crate::port::identity::{Lost, LostPlace, REBUILD, RECOPY, RowTopics, Watch};
use crate::port::progress::Progress;
use crate::port::row_store::{Change, Mode, RowStore, RowWriter, StoreState};

/// Rows in one transaction of a rebuild: each dirties most index leaves once, so large ones are cheap.
const REBUILD_ROWS: u64 = 50_000;
/// Rows in one transaction while live, at most.
pub(super) const LIVE_ROWS: u64 = 2_000;
pub(super) const READ_RECORDS: usize = 2_000;
pub(super) const WAIT: Duration = Duration::from_millis(100);
/// Before the first attempt after a log or a store went away; longer before each further one.
const PAUSE: Duration = Duration::from_secs(1);

/// Folds a log into a store.
pub struct Projector<'a> {
    pub log: &'a dyn EventLog,
    pub store: &'a dyn RowStore,
    pub mapping: &'a Arc<Mapping>,
    /// Whose events are folded.
    pub migration: &'a str,
    /// Where a rebuild begins; partitions that are not named begin at their start.
    pub from: &'a Positions,
    pub progress: &'a dyn Progress,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projected {
    /// Row events applied, repeats among them.
    pub applied: u64,
    /// Records of the migration that speak for no row.
    pub passed_over: u64,
    /// Records that are not of the migration.
    pub foreign: u64,
    /// Of the newest generation met: events applied, and the count of the last.
    pub newest: Counted,
    pub positions: Positions,
}

/// Events of one generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub generation: u32,
    pub events: u64,
    pub last: u64,
}

impl Counted {
    fn add(&mut self, sequence: Sequence) {
        if sequence.generation > self.generation {
            *self = Self { generation: sequence.generation, ..Self::default() };
        }
        if sequence.generation == self.generation {
            self.events += 1;
            self.last = self.last.max(sequence.count);
        }
    }
}

/// An event decoded: table, row in its chunk, operation, event.
pub(super) type Decoded = (usize, usize, Op, LastEvent);

/// Records passed over: the migration's own that speak for no row, and those of others.
#[derive(Clone, Copy, Default)]
pub(super) struct Passed {
    pub(super) own: u64,
    pub(super) foreign: u64,
}

/// Decodes a record into the chunks; `None` for one that is no row event of the migration, which is counted.
pub(super) fn decode(
    decoder: &mut Decoder<'_>,
    migration: &str,
    record: Fetched<'_>,
    tables: &mut [Rows],
    passed: &mut Passed,
) -> Result<Option<Decoded>> {
    let envelope = match record.whose(migration)? {
        Whose::Row(envelope) => envelope,
        Whose::Own(_) => {
            passed.own += 1;
            return Ok(None);
        }
        Whose::Foreign => {
            passed.foreign += 1;
            return Ok(None);
        }
    };
    let event = decoder.decode(record.value, record.key, tables).map_err(|error| record.unreadable(error))?;
    let last = LastEvent {
        partition: record.partition,
        offset: record.offset,
        id: envelope.id,
        sequence: Sequence::number(envelope.sequence),
    };
    Ok(Some((event.table, tables[event.table].len() - 1, event.op, last)))
}

/// Applies a decoded event.
pub(super) fn apply(writer: &mut dyn RowWriter, (table, row, op, last): &Decoded, tables: &[Rows]) -> Result<()> {
    let row = tables[*table].row(*row);
    let change = if *op == Op::Delete { Change::Delete(row) } else { Change::Put(row) };
    writer.apply(*table, change, *last)
}

/// Decoded records on their way from the reading to the applying thread.
struct Chunk {
    tables: Vec<Rows>,
    /// In log order.
    changes: Vec<Decoded>,
    positions: Positions,
    passed: Passed,
    /// When the last record of the chunk was captured.
    newest: Millis,
}

/// The partitions whose position lies before their end, with both.
pub fn behind(ends: &Positions, positions: &Positions) -> Vec<(String, i32, i64, i64)> {
    let late = ends.iter().map(|((topic, partition), end)| {
        let at = positions.get(&(topic.clone(), *partition)).copied().unwrap_or(0);
        (topic.clone(), *partition, at, *end)
    });
    late.filter(|(_, _, at, end)| at < end).collect()
}

/// Whether a store can be gone on with: it has been filled, and no rebuild was cut short.
fn whole(state: &StoreState) -> bool {
    !state.rebuilding && !state.positions.is_empty()
}

/// Whether an error goes away by itself. An unknown outcome is settled by the positions, which are read anew.
pub(super) fn passing(error: &Error) -> bool {
    matches!(error.kind(), Kind::Connect | Kind::Unknown)
}

impl Projector<'_> {
    /// Drops what the store holds and folds the whole log anew, up to the end found at the start.
    pub fn rebuild(&self) -> Result<Projected> {
        let found = RowTopics::look(self.log, self.mapping)?;
        if let Some(lost) = self.first_lost(&found) {
            return Err(lost.refusal("a fold of the whole log", RECOPY));
        }
        let writer = self.store.claim(self.mapping, Mode::Rebuild)?;
        self.run(writer, rows(REBUILD_ROWS), None)
    }

    /// Goes on from where the store stands, up to the end found at the start. A store that is new, or whose rebuild was
    /// cut short, is rebuilt.
    pub fn catch_up(&self) -> Result<Projected> {
        match self.store.state()? {
            Some(state) if whole(&state) => {
                self.require(&RowTopics::look(self.log, self.mapping)?, &state)?;
                self.in_turn(Mode::Live)
            }
            _ => self.rebuild(),
        }
    }

    /// As [`Projector::catch_up`], but leaves the store to whoever has claimed it: under that claim, in turn with them.
    pub fn catch_up_beside(&self) -> Result<Projected> {
        loop {
            let Some(state) = self.store.state()?.filter(whole) else { return self.rebuild() };
            self.require(&RowTopics::look(self.log, self.mapping)?, &state)?;
            match self.in_turn(Mode::Again { epoch: state.epoch }) {
                Err(error) if error.kind() == Kind::Fenced => {
                    if self.store.state()?.is_none_or(|now| now.epoch == state.epoch) {
                        return Err(error);
                    }
                    self.progress.check()?;
                }
                projected => return projected,
            }
        }
    }

    /// Up to the end, also where another run moves the store on under the same claim.
    fn in_turn(&self, mut mode: Mode) -> Result<Projected> {
        loop {
            let writer = self.store.claim(self.mapping, mode)?;
            mode = Mode::Again { epoch: writer.state().epoch };
            let before = writer.state().positions.clone();
            match self.run(writer, rows(LIVE_ROWS), None) {
                Err(error) if self.overtook(&error, &before) => self.progress.check()?,
                projected => return projected,
            }
        }
    }

    /// Whether a commit failed because another run has moved the store on: then nothing is wrong.
    fn overtook(&self, error: &Error, before: &Positions) -> bool {
        error.kind() == Kind::Stale && self.moved(before)
    }

    fn moved(&self, before: &Positions) -> bool {
        self.store.state().is_ok_and(|state| state.is_some_and(|state| state.positions != *before))
    }

    /// Goes on for ever, in short transactions, until the progress listener ends the run.
    ///
    /// A log or a store that goes away is waited for, once the store's end was met.
    pub fn live(&self) -> Result<Projected> {
        self.catch_up()?;
        let mut mode = Mode::Live;
        let mut failures = 0;
        loop {
            let lost = match self.store.claim(self.mapping, mode) {
                Err(error) => error,
                Ok(writer) => {
                    mode = Mode::Again { epoch: writer.state().epoch };
                    let before = writer.state().positions.clone();
                    match self.telling(|standing| self.run(writer, rows(LIVE_ROWS), Some(standing))) {
                        Err(error) if self.overtook(&error, &before) => {
                            self.progress.check()?;
                            continue;
                        }
                        Err(error) => {
                            failures = if self.moved(&before) { 0 } else { failures };
                            error
                        }
                        projected => return projected,
                    }
                }
            };
            if mode == Mode::Live || !passing(&lost) {
                return Err(lost);
            }
            failures += 1;
            self.wait(&lost, failures)?;
        }
    }

    fn first_lost(&self, found: &RowTopics) -> Option<LostPlace> {
        found.lost(&TopicIds::new(), &found.starts(self.from))
    }

    /// Refuses to go on from where a store stands that was folded from events which are gone.
    pub(super) fn require(&self, found: &RowTopics, state: &StoreState) -> Result<()> {
        let Some(lost) = found.lost(&state.topics, &state.positions) else { return Ok(()) };
        let rebuild = lost.lost != Lost::FirstGone || self.first_lost(found).is_none();
        Err(lost.refusal(&self.name(), if rebuild { REBUILD } else { RECOPY }))
    }

    /// A log that cannot be read on from here may have been deleted, or cut.
    pub(super) fn explained(&self, error: Error) -> Error {
        if passing(&error) || matches!(error.kind(), Kind::Interrupted | Kind::Fenced) {
            return error;
        }
        let Ok(Some(state)) = self.store.state() else { return error };
        let Ok(found) = RowTopics::look(self.log, self.mapping) else { return error };
        match found.lost(&state.topics, &state.positions) {
            Some(lost) => lost.refusal(&self.name(), RECOPY).because(error),
            None => error,
        }
    }

    pub(super) fn name(&self) -> String {
        format!("the projection {}", self.store.describe())
    }

    /// Waits before a further attempt, longer each time.
    pub(super) fn wait(&self, lost: &Error, failures: u32) -> Result<()> {
        self.progress.reconnecting();
        self.progress.note(&format!("{lost}; going on as soon as it is back"));
        let (began, long) = (Instant::now(), PAUSE * failures.min(10));
        while began.elapsed() < long {
            self.progress.check()?;
            std::thread::sleep(WAIT);
        }
        Ok(())
    }

    fn run(
        &self,
        mut writer: Box<dyn RowWriter>,
        transaction_rows: u64,
        standing: Option<&Standing>,
    ) -> Result<Projected> {
        boundary("project.claimed");
        let found = RowTopics::look(self.log, self.mapping)?;
        self.require(&found, writer.state())?;
        writer.lies_in(&found.ids);
        let ends = ends(self.log, self.mapping)?;
        let stands = &writer.state().positions;
        let start = |place| stands.get(place).or_else(|| self.from.get(place)).copied().unwrap_or(0);
        let from: Positions = ends.keys().map(|place| (place.clone(), start(place))).collect();
        let left: i64 = ends.iter().map(|(place, end)| (end - from[place]).max(0)).sum();
        self.progress.begin("project", Some(left as u64));
        let rebuilding = writer.state().rebuilding;
        let result = std::thread::scope(|scope| {
            let (full, filled) = sync_channel(2);
            let (empty, emptied) = sync_channel(4);
            let until = standing.is_none().then_some(&ends);
            let reader = scope.spawn(move || self.read(&from, until, &full, &emptied));
            let applied = self.apply(writer.as_mut(), transaction_rows, (standing, Watch::new(&found)), filled, &empty);
            drop(empty);
            // The reader's own error explains why its channel closed, so it goes first.
            reader.join().map_err(|_| Error::failed("the reading thread of project panicked"))??;
            applied
        });
        let projected = result.map_err(|error| self.explained(error))?;
        if rebuilding {
            self.progress.note("building the indexes");
            writer.finish()?;
            boundary("project.indexes-built");
        }
        self.progress.end();
        Ok(projected)
    }

    /// Reads and decodes until `until` is reached or the applying side has gone.
    fn read(
        &self,
        from: &Positions,
        until: Option<&Positions>,
        full: &SyncSender<Chunk>,
        emptied: &Receiver<Chunk>,
    ) -> Result<()> {
        let mut reader = self.log.open_reader(from)?;
        let mut decoder = Decoder::new(self.mapping);
        let mut batch = Batch::default();
        let records = rows(READ_RECORDS as u64) as usize;
        let reached = |positions: &Positions| {
            until.is_some_and(|until| until.iter().all(|(place, end)| positions.get(place).is_some_and(|at| at >= end)))
        };
        loop {
            let through = reached(reader.positions());
            if !through {
                reader.read(&mut batch, records, WAIT)?;
            } else {
                batch.clear();
            }
            let mut chunk = emptied.try_recv().unwrap_or_else(|_| Chunk {
                tables: decoder.chunks(),
                changes: Vec::new(),
                positions: Positions::new(),
                passed: Passed::default(),
                newest: 0,
            });
            for (rows, table) in chunk.tables.iter_mut().zip(&self.mapping.tables) {
                rows.reset(table.width());
            }
            chunk.changes.clear();
            chunk.passed = Passed::default();
            for record in batch.iter() {
                let change = decode(&mut decoder, self.migration, record, &mut chunk.tables, &mut chunk.passed)?;
                chunk.changes.extend(change);
                chunk.newest = record.timestamp;
            }
            chunk.positions.clone_from(reader.positions());
            let idle = batch.is_empty() && !through;
            if full.send(chunk).is_err() || through {
                return Ok(());
            }
            if idle {
                self.progress.check()?;
            }
        }
    }

    fn apply(
        &self,
        writer: &mut dyn RowWriter,
        transaction_rows: u64,
        (standing, mut watch): (Option<&Standing>, Watch),
        filled: Receiver<Chunk>,
        empty: &SyncSender<Chunk>,
    ) -> Result<Projected> {
        let mut projected = Projected::default();
        let mut open = 0;
        let mut opened = Instant::now();
        let mut stands = writer.state().positions.clone();
        let mut newest = 0;
        let mut waiting = None;
        while let Some(chunk) = waiting.take().or_else(|| filled.recv().ok()) {
            if open == 0 {
                opened = Instant::now();
            }
            for change in &chunk.changes {
                apply(writer, change, &chunk.tables)?;
                projected.newest.add(Sequence::of_number(change.3.sequence));
            }
            if standing.is_some() {
                watch.look(self.log, &self.name(), RECOPY)?;
            }
            newest = newest.max(chunk.newest);
            let count = chunk.changes.len() as u64;
            open += count;
            projected.applied += count;
            let Passed { own, foreign } = chunk.passed;
            projected.passed_over += own;
            projected.foreign += foreign;
            self.progress.advance(count + own + foreign);
            stands.extend(chunk.positions.iter().map(|(place, at)| (place.clone(), *at)));
            let _ = empty.try_send(chunk);
            waiting = filled.try_recv().ok();
            // An open transaction holds up whoever else writes to the store.
            let old = standing.is_some() && (waiting.is_none() || opened.elapsed() > Duration::from_millis(50));
            if open >= transaction_rows || (old && stands != writer.state().positions) {
                self.commit(writer, &stands)?;
                open = 0;
                self.progress.check()?;
            }
            if let Some(standing) = standing.filter(|_| open == 0) {
                standing.set(&stands, newest);
            }
        }
        if stands != writer.state().positions {
            self.commit(writer, &stands)?;
        }
        projected.positions = stands;
        Ok(projected)
    }

    pub(super) fn commit(&self, writer: &mut dyn RowWriter, positions: &Positions) -> Result<()> {
        boundary("project.before-commit");
        writer.commit(positions)?;
        boundary("project.after-commit");
        self.progress.committed();
        Ok(())
    }
}
