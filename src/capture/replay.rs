//! The base copy: all rows once, in dependency order, by key ranges, in transactions that carry the checkpoint.

use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use super::emit::{Emitter, Quarantined, reject, twice};
use super::follow::fence;
use super::state::{Phase, ReplayState, WRITER_ROLE};
use crate::base::{Error, Kind, Millis, Result};
use crate::event::codec::Codec;
use crate::event::encode::RowChange;
use crate::event::id::base_change;
use crate::event::{Op, Stamp};
use crate::mapping::{Mapping, Rows};
use crate::port::boundary::boundary;
use crate::port::event_log::{EventLog, LogWriter, ends};
use crate::port::identity::{LostPlace, RowTopics};
use crate::port::legacy_source::{Cursor, LegacySource, Snapshot};
use crate::port::owners::{GATEWAY_ROLE, GatewayState, OWNERS, Sessions};
use crate::port::progress::Progress;
use crate::scan::Found;

/// How a replay works; the defaults are those of the design.
#[derive(Clone, Debug)]
pub struct Settings {
    pub migration: String,
    /// Names this process in checkpoints.
    pub instance: String,
    pub chunk_rows: usize,
    /// A transaction ends by rows or by age.
    pub transaction_rows: u64,
    pub transaction_age: Duration,
    /// At most this many rows a second, if set.
    pub rows_per_second: Option<u64>,
    /// The snapshot is given up and taken anew when the legacy must retain more than this for it.
    pub retained_limit: u64,
    /// Start a new generation even though the last one is done.
    pub recopy: bool,
}

impl Settings {
    pub fn new(migration: &str, instance: &str) -> Self {
        Self {
            migration: migration.to_owned(),
            instance: instance.to_owned(),
            chunk_rows: 2_000,
            transaction_rows: 50_000,
            transaction_age: Duration::from_secs(1),
            rows_per_second: None,
            retained_limit: 512 << 20,
            recopy: false,
        }
    }
}

/// A base copy from a legacy store into a log.
pub struct Replay<'a> {
    pub source: &'a dyn LegacySource,
    pub log: &'a dyn EventLog,
    pub mapping: &'a Mapping,
    pub codec: &'a dyn Codec,
    pub settings: &'a Settings,
    pub progress: &'a dyn Progress,
    pub now: &'a (dyn Fn() -> Millis + Sync),
}

/// How far a base copy came.
#[derive(Clone, Debug, PartialEq)]
pub struct Copied {
    pub state: ReplayState,
    /// Rows copied by this run.
    pub rows: u64,
    /// The run went on from an earlier one's checkpoint.
    pub resumed: bool,
}

/// Attempts after a commit whose outcome was not known.
const PROBES: u32 = 5;

/// What the first attempt of a run found. An attempt after an unknown outcome goes by it too: the checkpoint may be
/// this run's own by then.
#[derive(Clone, Copy)]
struct Begun {
    /// The generation to be copied.
    generation: u32,
    /// Rows copied by earlier runs.
    rows: u64,
}

/// A chunk on its way from the reading to the writing thread.
struct Chunk {
    table: usize,
    rows: Rows,
    cursor: Cursor,
    found: Vec<Found>,
    /// The snapshot was taken anew before this chunk was read.
    reopened: bool,
}

impl Replay<'_> {
    /// Copies what is not copied yet. Ends in phase `Done` when one snapshot served for everything, else in `Reconcile`:
    /// then a reconcile must follow before the fold can be said to equal any state of the legacy.
    ///
    /// Safe to run again after any kill. A commit with an unknown outcome is settled by opening the writer again and
    /// reading its checkpoint; rows never commit twice in a generation.
    pub fn copy(&self, mut quarantine: Option<&mut Quarantined<'_>>) -> Result<Copied> {
        let _follow = fence(self.log, &self.settings.migration, &self.settings.instance)?;
        let mut probes = 0;
        let mut begun = None;
        loop {
            let attempt = self.attempt(&mut begun, quarantine.as_deref_mut());
            match attempt {
                Err(error) if error.kind() == Kind::Unknown && probes < PROBES => {
                    probes += 1;
                    self.progress.note(&format!("{error}; asking the log what it has"));
                    // Opening the writer again would fence a run that has taken the lock over.
                    self.progress.check()?;
                }
                other => return other,
            }
        }
    }

    fn attempt(&self, begun: &mut Option<Begun>, quarantine: Option<&mut Quarantined<'_>>) -> Result<Copied> {
        let mut writer =
            self.log.open_writer(&format!("{}/{WRITER_ROLE}", self.settings.migration), &self.settings.instance)?;
        boundary("replay.writer-open");
        let found = RowTopics::look(self.log, self.mapping)?;
        let (mut state, resumed) = self.resume(writer.as_ref(), begun, &found)?;
        let copied = |state: ReplayState| {
            let before = begun.map_or(0, |begun| begun.rows);
            let rows = state.copied.values().sum::<u64>().saturating_sub(before);
            Copied { state, rows, resumed }
        };
        if state.phase != Phase::Base {
            return Ok(copied(state));
        }
        let lost = Sessions::lost(self.log, self.mapping, &self.settings.migration)?;
        let owned = match lost.filter(|_| self.settings.recopy && !resumed) {
            Some(lost) => {
                self.forget_owners(&state, &lost)?;
                0
            }
            None => Sessions::read(self.log, self.mapping, &self.settings.migration, None)?.owners.owned(),
        };
        if owned > 0 {
            return Err(Error::refused(format!("events own {owned} sessions, whose rows in the legacy are copies"))
                .hint("give them back to the legacy first; without --recopy a replay leaves them alone"));
        }
        let expected = self.expected(&state)?;
        self.progress.begin("replay", Some(expected));
        let mut snapshot = self.source.snapshot()?;
        state.captured = snapshot.position()?;
        for table in &self.mapping.tables {
            if let Some(found) = snapshot.shared(table)? {
                return Err(twice(table, found.row(0)));
            }
        }
        std::thread::scope(|scope| {
            let (full, filled) = sync_channel(1);
            let (empty, emptied) = channel();
            let (first, cursor) = (self.start_table(&state), state.cursor.clone());
            let reader = scope.spawn(move || self.read(snapshot, first, cursor, &full, &emptied));
            let written = self.write(writer.as_mut(), &mut state, filled, empty, quarantine);
            let read = reader.join().map_err(|_| Error::failed("the reading thread of replay panicked"))?;
            written?;
            read
        })?;
        let whole = !state.resumed && state.generation == 1;
        state.phase = if whole { Phase::Done } else { Phase::Reconcile };
        boundary("replay.before-done");
        writer.commit(&self.mapping.hash, state.to_json()?)?;
        boundary("replay.after-done");
        self.progress.end();
        Ok(copied(state))
    }

    /// Transfers that are gone leave every session to the legacy, whose rows become events anew.
    fn forget_owners(&self, state: &ReplayState, lost: &LostPlace) -> Result<()> {
        self.progress.note(&format!("{}: every session is the legacy's again", lost.text(OWNERS)));
        let writer = format!("{}/{GATEWAY_ROLE}", self.settings.migration);
        let begins_at = self.log_ends()?;
        let owners = GatewayState { generation: state.generation, count: 0, begins_at, topics: state.topics.clone() };
        self.log.open_writer(&writer, &self.settings.instance)?.commit(&self.mapping.hash, owners.to_json()?)
    }

    /// The state to go on from, and whether it is an earlier run's.
    fn resume(
        &self,
        writer: &dyn LogWriter,
        begun: &mut Option<Begun>,
        found: &RowTopics,
    ) -> Result<(ReplayState, bool)> {
        let now = (self.now)();
        let Some(checkpoint) = writer.checkpoint() else {
            begun.get_or_insert(Begun { generation: 1, rows: 0 });
            // The fold begins with what is there now: records before it may have gone.
            let later = found.ends.iter().filter(|(_, ends)| ends.low > 0);
            let begins_at = later.map(|((topic, partition), ends)| (topic.clone(), *partition, ends.low)).collect();
            return Ok((ReplayState { begins_at, topics: found.ids.clone(), ..ReplayState::first(now) }, false));
        };
        let mut state = ReplayState::of(checkpoint)?;
        let begun = begun.get_or_insert_with(|| match self.settings.recopy {
            true => Begun { generation: state.generation + 1, rows: 0 },
            false => Begun { generation: state.generation, rows: state.copied.values().sum() },
        });
        if state.generation < begun.generation {
            let generation = begun.generation;
            // Under the same mapping the old events stay part of the fold, so that it is told of rows that have gone.
            let same = checkpoint.plan_hash == self.mapping.hash && state.lost(found).is_none();
            let begins_at = if same { state.begins_at } else { self.log_ends()? };
            let topics = found.ids.clone();
            return Ok((ReplayState { generation, begins_at, topics, ..ReplayState::first(now) }, false));
        }
        if checkpoint.plan_hash != self.mapping.hash {
            let message =
                "the mapping has changed since this replay began; its checkpoint belongs to another mapping hash";
            return Err(Error::stale(message)
                .hint("put the mapping (or scan.mode) back, or copy everything anew: crossfade replay --recopy"));
        }
        state.require(found)?;
        state.topics.clone_from(&found.ids);
        if state.phase == Phase::Base {
            state.resumed = true;
            state.snapshot_at = now;
        }
        Ok((state, true))
    }

    fn log_ends(&self) -> Result<Vec<(String, i32, i64)>> {
        let ends = ends(self.log, self.mapping)?;
        Ok(ends.into_iter().map(|((topic, partition), end)| (topic, partition, end)).collect())
    }

    fn start_table(&self, state: &ReplayState) -> usize {
        self.mapping.tables.iter().position(|table| table.name == state.table).unwrap_or(0)
    }

    fn expected(&self, state: &ReplayState) -> Result<u64> {
        let mut snapshot = self.source.snapshot()?;
        let mut rows = 0_u64;
        for table in &self.mapping.tables[self.start_table(state)..] {
            let done = state.copied.get(&table.name).copied().unwrap_or(0);
            rows += snapshot.count(table)?.saturating_sub(done);
        }
        Ok(rows)
    }

    /// Reads chunks from one snapshot until every table is through; takes a new one when the old costs the legacy too much.
    fn read(
        &self,
        mut snapshot: Box<dyn Snapshot>,
        first: usize,
        mut cursor: Cursor,
        full: &SyncSender<Chunk>,
        emptied: &Receiver<Rows>,
    ) -> Result<()> {
        let retained = self.source.retained_bytes();
        let mut reopened = false;
        for table in &self.mapping.tables[first..] {
            loop {
                let mut rows = emptied.try_recv().unwrap_or_default();
                snapshot.read(table, &mut cursor, self.settings.chunk_rows, &mut rows)?;
                if rows.is_empty() {
                    break;
                }
                let found = snapshot.found().found;
                if full.send(Chunk { table: table.index, rows, cursor: cursor.clone(), found, reopened }).is_err() {
                    return Ok(());
                }
                reopened = false;
                if self.source.retained_bytes().saturating_sub(retained) > self.settings.retained_limit {
                    self.progress.note("the legacy's write-ahead log has grown past the limit: taking a new snapshot");
                    drop(snapshot);
                    snapshot = self.source.snapshot()?;
                    reopened = true;
                }
            }
            cursor = Cursor::default();
        }
        Ok(())
    }

    fn write(
        &self,
        writer: &mut dyn LogWriter,
        state: &mut ReplayState,
        filled: Receiver<Chunk>,
        empty: Sender<Rows>,
        mut quarantine: Option<&mut Quarantined<'_>>,
    ) -> Result<()> {
        let store = format!("{}/{}", self.settings.migration, self.source.kind());
        let stamp = Stamp { source: format!("{store}#replay"), generation: state.generation };
        let mut emitter = Emitter::new(
            self.log,
            self.mapping,
            self.codec,
            (&self.settings.migration, &store),
            &stamp,
            self.source.screen(),
        )?;
        let change = base_change(state.generation);
        let mut throttle = Throttle::new(self.settings.rows_per_second);
        let (mut open, mut opened) = (0, Instant::now());
        for chunk in filled {
            emitter.timestamp = (self.now)();
            let table = &self.mapping.tables[chunk.table];
            for row in chunk.rows.iter() {
                let change = RowChange { op: Op::Base, row, before: None, change: &change, count: state.count + 1 };
                match emitter.append(writer, chunk.table, change)? {
                    Ok(()) => state.count += 1,
                    Err(reason) => {
                        reject(table, row, reason, quarantine.as_deref_mut())?;
                        state.quarantined += 1;
                    }
                }
            }
            let rows = chunk.rows.len() as u64;
            state.table.clone_from(&table.name);
            state.cursor = chunk.cursor;
            Found::merge(&mut state.found, chunk.found);
            state.resumed |= chunk.reopened;
            *state.copied.entry(table.name.clone()).or_default() += rows;
            open += rows;
            self.progress.advance(rows);
            let _ = empty.send(chunk.rows);
            boundary("replay.records-appended");
            throttle.pace(rows, self.progress);
            let asked = self.progress.check();
            let interrupted = asked.as_ref().is_err_and(|error| error.kind() == Kind::Interrupted);
            if interrupted
                || open >= self.settings.transaction_rows
                || opened.elapsed() >= self.settings.transaction_age
            {
                boundary("replay.before-commit");
                writer.commit(&self.mapping.hash, state.to_json()?)?;
                boundary("replay.after-commit");
                (open, opened) = (0, Instant::now());
            }
            asked?;
        }
        Ok(())
    }
}

/// Keeps a run below a rate, and says so.
struct Throttle {
    rate: Option<u64>,
    rows: u64,
    began: Instant,
    told: bool,
}

/// The longest sleep without asking whether the run should stop.
const NAP: Duration = Duration::from_millis(100);

impl Throttle {
    fn new(rate: Option<u64>) -> Self {
        Self { rate, rows: 0, began: Instant::now(), told: false }
    }

    /// Sleeps until `rows` more are due, or the run is asked to stop.
    fn pace(&mut self, rows: u64, progress: &dyn Progress) {
        let Some(rate) = self.rate else { return };
        self.rows += rows;
        let due = Duration::from_secs_f64(self.rows as f64 / rate.max(1) as f64);
        loop {
            let early = due.saturating_sub(self.began.elapsed());
            if early.is_zero() || progress.check().is_err() {
                return;
            }
            if !self.told {
                progress.throttled(Some(&format!("--throttle {rate} rows/s")));
                self.told = true;
            }
            std::thread::sleep(early.min(NAP));
        }
    }
}
