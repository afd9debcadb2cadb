//! Reverse: rows of sessions that events own, written back into the legacy's own tables.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::reverse_batch::Pending;
use crate::base::Result;
use crate::event::partition::partition;
use crate::event::{Decoder, Op, Whose};
use crate::mapping::{Mapping, Rows};
use crate::ownership::Side;
use crate::port::boundary::{boundary, rows};
use crate::port::event_log::{Batch, EventLog, Positions, ends};
use crate::port::identity::{RECOPY, RowTopics, Watch};
use crate::port::legacy_sink::{Kept, LegacySink, SinkWriter};
use crate::port::owners::{GatewayState, RowKey, Sessions, row_key};
use crate::port::progress::Progress;

/// Records in one batch, whose rows are one transaction where that is short enough.
const BATCH_RECORDS: u64 = 500;
const READ_RECORDS: usize = 4_000;
const WAIT: Duration = Duration::from_millis(100);

const AFRESH: &str = "forget how far it came: crossfade project --reverse --uninstall, then --install";

/// Writes a log's rows back into a legacy store.
pub struct Reverse<'a> {
    pub log: &'a dyn EventLog,
    pub sink: &'a dyn LegacySink,
    pub mapping: &'a Mapping,
    pub migration: &'a str,
    pub progress: &'a dyn Progress,
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reversed {
    /// Events of sessions that events own.
    pub events: u64,
    /// Rows brought to their image, each as often as a batch had it.
    pub written: u64,
    pub deleted: u64,
    /// Rows the legacy's schema does not take, as they stand at the end.
    pub kept: BTreeMap<RowKey, Kept>,
    /// Rows that stand still behind a foreign write.
    pub foreign: u64,
    /// Sessions that events own.
    pub owned: u64,
    pub positions: Positions,
}

/// Where reverse would begin in a log whose sink has no position yet, and how far others may trust the sink.
pub fn start(log: &dyn EventLog, mapping: &Mapping, migration: &str, stands: &Positions) -> Result<Option<Positions>> {
    let Some(state) = GatewayState::read(log, migration)? else { return Ok(None) };
    let begins_at = state.begins_at();
    let at = |place: &(String, i32)| stands.get(place).or_else(|| begins_at.get(place)).copied().unwrap_or(0);
    Ok(Some(ends(log, mapping)?.into_keys().map(|place| (place.clone(), at(&place))).collect()))
}

/// The row the log folds to, by the events of its record key in the partition they lie in.
pub fn folded(
    log: &dyn EventLog,
    (mapping, migration): (&Mapping, &str),
    begin: &Positions,
    row: &RowKey,
    key: &[u8],
) -> Result<Option<Rows>> {
    let table = &mapping.tables[row.0];
    let ends = log.ends(&table.topic)?;
    let place = (table.topic.clone(), partition(key, ends.len() as i32));
    let Some(end) = ends.get(&place.1) else { return Ok(None) };
    let from = begin.get(&place).copied().unwrap_or(0).max(end.low);
    let mut batch = Batch::only(HashSet::from([key.to_vec()]));
    let mut reader = log.open_reader(&Positions::from([(place.clone(), from)]))?;
    let mut decoder = Decoder::new(mapping);
    let mut chunks = decoder.chunks();
    let mut image = None;
    while reader.positions()[&place] < end.committed {
        reader.read(&mut batch, READ_RECORDS, WAIT)?;
        for record in batch.iter() {
            if !matches!(record.whose(migration)?, Whose::Row(_)) {
                continue;
            }
            let event =
                decoder.decode(record.value, record.key, &mut chunks).map_err(|error| record.unreadable(error))?;
            let rows = &mut chunks[event.table];
            if row_key(&mapping.tables[event.table], rows.row(0)) == *row {
                image = (event.op != Op::Delete).then(|| rows.row(0).to_rows());
            }
            rows.reset(mapping.tables[event.table].width());
        }
    }
    Ok(image)
}

impl Reverse<'_> {
    /// Goes on from where the sink stands, up to the end found at the start.
    pub fn catch_up(&self) -> Result<Reversed> {
        self.run(false)
    }

    /// Goes on until the progress listener ends the run.
    pub fn live(&self) -> Result<Reversed> {
        self.run(true)
    }

    fn run(&self, live: bool) -> Result<Reversed> {
        let state = self.sink.state()?;
        let found = RowTopics::look(self.log, self.mapping)?;
        if let Some(state) = state
            && let Some(lost) = found.lost(&state.topics, &state.positions)
        {
            return Err(lost.refusal("reverse", AFRESH));
        }
        let mut writer = self.sink.claim()?;
        writer.lies_in(&found.ids);
        let mut watch = Watch::new(&found);
        boundary("reverse.claimed");
        let mut done = Reversed::default();
        let from = loop {
            match start(self.log, self.mapping, self.migration, &writer.state().positions)? {
                Some(from) => break from,
                None if live => {
                    std::thread::sleep(WAIT);
                    self.progress.check()?;
                }
                None => return Ok(done),
            }
        };
        let until = ends(self.log, self.mapping)?;
        let left: i64 = until.iter().map(|(place, end)| (end - from[place]).max(0)).sum();
        self.progress.begin("reverse", Some(left as u64));
        let mut sessions = Sessions::read(self.log, self.mapping, self.migration, Some(&from))?;
        let mut kept = writer.state().kept.clone();
        let mut stands = from.clone();
        stands.extend(writer.state().positions.clone());
        let mut reader = self.log.open_reader(&from)?;
        let mut batch = Batch::default();
        let mut decoder = Decoder::new(self.mapping);
        // What rows lack that were kept back may have come.
        let mut retry = true;
        let reached = |at: &Positions| until.iter().all(|(place, end)| at.get(place).is_some_and(|at| at >= end));
        while live || !reached(reader.positions()) {
            let read = reader.read(&mut batch, rows(BATCH_RECORDS) as usize, WAIT);
            read.map_err(|error| watch.explain(self.log, "reverse", error))?;
            watch.look(self.log, "reverse", RECOPY)?;
            let mut pending = Pending::new(self.mapping);
            self.gather(&batch, &mut decoder, &mut sessions, &mut pending, &mut done)?;
            let positions = reader.positions();
            let moved = positions.iter().any(|(place, at)| stands.get(place) != Some(at));
            let idle = batch.is_empty();
            if idle && retry && !kept.is_empty() {
                self.kept_back(&kept, &sessions)?.write(
                    self.mapping,
                    writer.as_mut(),
                    &stands,
                    &mut kept,
                    &mut done,
                )?;
            }
            retry = !idle && (retry || !pending.is_empty());
            if !pending.is_empty() || (moved && idle) {
                stands.extend(positions.iter().map(|(place, at)| (place.clone(), *at)));
                pending.write(self.mapping, writer.as_mut(), &stands, &mut kept, &mut done)?;
            }
            self.progress.advance(batch.len() as u64);
            self.progress.check()?;
        }
        // The last batch may have held nothing of sessions that events own.
        stands.extend(reader.positions().iter().map(|(place, at)| (place.clone(), *at)));
        if !kept.is_empty() {
            self.kept_back(&kept, &sessions)?.write(self.mapping, writer.as_mut(), &stands, &mut kept, &mut done)?;
        }
        if stands != writer.state().positions {
            Pending::new(self.mapping).write(self.mapping, writer.as_mut(), &stands, &mut kept, &mut done)?;
        }
        self.progress.end();
        done.foreign = sessions.foreign.len() as u64;
        done.owned = sessions.owners.owned();
        done.kept = kept;
        done.positions = stands;
        Ok(done)
    }

    /// Takes out of a batch what is to be written: rows of sessions that events own at that place of the stream.
    fn gather(
        &self,
        batch: &Batch,
        decoder: &mut Decoder<'_>,
        sessions: &mut Sessions,
        pending: &mut Pending,
        done: &mut Reversed,
    ) -> Result<()> {
        for record in batch.iter() {
            let place = |error| record.unreadable(error);
            match record.whose(self.migration)? {
                Whose::Row(_) if sessions.owners.owner(record.topic, record.key) == Side::Events => {}
                Whose::Own(envelope) => {
                    sessions.take(self.mapping, &record, &envelope).map_err(place)?;
                    continue;
                }
                Whose::Row(_) | Whose::Foreign => continue,
            }
            let event = decoder.decode(record.value, record.key, &mut pending.tables).map_err(place)?;
            let rows = &mut pending.tables[event.table];
            let key = row_key(&self.mapping.tables[event.table], rows.row(rows.len() - 1));
            done.events += 1;
            if sessions.foreign.contains_key(&key) {
                rows.pop_row();
                continue;
            }
            let at = (record.topic.to_owned(), record.partition, record.offset);
            pending.push(key, event.op, at);
        }
        Ok(())
    }

    /// The last events of rows that were kept back: what they lacked may have come since.
    fn kept_back(&self, kept: &BTreeMap<RowKey, Kept>, sessions: &Sessions) -> Result<Pending> {
        let mut pending = Pending::new(self.mapping);
        let mut decoder = Decoder::new(self.mapping);
        let mut wanted: HashMap<(String, i32), Vec<i64>> = HashMap::new();
        for (_, one) in kept.iter().filter(|(key, _)| !sessions.foreign.contains_key(*key)) {
            wanted.entry((one.topic.clone(), one.partition)).or_default().push(one.offset);
        }
        for (place, mut offsets) in wanted {
            offsets.sort_unstable();
            for offset in offsets {
                let mut reader = self.log.open_reader(&Positions::from([(place.clone(), offset)]))?;
                let mut batch = Batch::default();
                while reader.positions()[&place] <= offset {
                    reader.read(&mut batch, 1, WAIT)?;
                    for record in batch.iter().filter(|record| record.offset == offset) {
                        let event = decoder.decode(record.value, record.key, &mut pending.tables)?;
                        let rows = &pending.tables[event.table];
                        let key = row_key(&self.mapping.tables[event.table], rows.row(rows.len() - 1));
                        pending.push(key, event.op, (place.0.clone(), place.1, offset));
                    }
                }
            }
        }
        Ok(pending)
    }
}

/// Ends a transaction that moves the positions.
pub(super) fn commit(
    writer: &mut dyn SinkWriter,
    positions: &Positions,
    kept: &BTreeMap<RowKey, Kept>,
) -> Result<Option<String>> {
    boundary("reverse.before-commit");
    let rejected = writer.commit(Some((positions, kept)))?;
    boundary("reverse.after-commit");
    Ok(rejected)
}
