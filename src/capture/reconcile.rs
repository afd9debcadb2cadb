//! One pass that compares rows with the fold and emits what differs.

use super::emit::{Emitter, NO_KEY, Quarantined, Refusal, reject, twice};
use super::follow::fence;
use super::mass_delete::MassDelete;
use super::state::{Phase, ReplayState, WRITER_ROLE};
use crate::base::{Error, Kind, Millis, Result};
use crate::compare::{Pair, Sides};
use crate::diff::Kind as Side;
use crate::event::codec::Codec;
use crate::event::encode::RowChange;
use crate::event::id::{no_previous, reconcile_change};
use crate::event::{Op, Sequence, Stamp};
use crate::mapping::{KeyText, Mapping, Table};
use crate::port::boundary::{boundary, rows};
use crate::port::event_log::{EventLog, LogWriter};
use crate::port::identity::RowTopics;
use crate::port::legacy_source::{LegacySource, Snapshot};
use crate::port::owners::{GatewayState, Sessions};
use crate::port::progress::Progress;
use crate::port::row_store::{RowView, StoreState};
use crate::scan::mask;

/// A reconcile of one legacy store with a projection that stands at the log's end.
pub struct Reconcile<'a> {
    pub source: &'a dyn LegacySource,
    pub log: &'a dyn EventLog,
    pub mapping: &'a Mapping,
    pub codec: &'a dyn Codec,
    pub migration: &'a str,
    pub instance: &'a str,
    pub mass_delete: MassDelete,
    pub progress: &'a dyn Progress,
    pub now: &'a (dyn Fn() -> Millis + Sync),
}

/// Events a reconcile wrote, by what they tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reconciled {
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    /// Rows that differ, but whose sessions events own.
    pub left: u64,
}

impl Reconciled {
    pub fn events(&self) -> u64 {
        self.inserted + self.updated + self.deleted
    }
}

/// Events in one transaction.
const TRANSACTION_EVENTS: u64 = 20_000;

impl Reconcile<'_> {
    /// Compares one fresh snapshot with `view`, writes what differs, and ends the replay's phase as `Done`.
    ///
    /// Runs under the run lock. The view must stand at the read-committed end: otherwise events would be written twice,
    /// and the answer is [`Kind::Unknown`]. After an error of that kind bring the projection to the end and run it again.
    pub fn run(
        &self,
        view: &mut dyn RowView,
        mut quarantine: Option<&mut Quarantined<'_>>,
    ) -> Result<(ReplayState, Reconciled)> {
        // Before the log's end is asked for: no event of a follow may come between it and the view.
        let follow = fence(self.log, self.migration, self.instance)?;
        let mut writer = self.log.open_writer(&format!("{}/{WRITER_ROLE}", self.migration), self.instance)?;
        boundary("reconcile.writer-open");
        let checkpoint =
            writer.checkpoint().ok_or_else(|| Error::new(Kind::Refused, "there is no replay to reconcile"))?;
        let mut state = ReplayState::of(checkpoint)?;
        let found = RowTopics::look(self.log, self.mapping)?;
        state.require(&found)?;
        state.topics = found.ids;
        if let Some((_, follow)) = follow.as_ref().filter(|(_, follow)| follow.generation == state.generation) {
            state.count = state.count.max(follow.count);
        }
        let sessions = Sessions::read(self.log, self.mapping, self.migration, None)?;
        state.count = state.count.max(GatewayState::counted(self.log, self.migration, state.generation)?);
        self.require_whole(view.state())?;
        let mut snapshot = self.source.snapshot()?;
        state.snapshot_at = (self.now)();
        let captured = snapshot.position()?;
        let store = format!("{}/{}", self.migration, self.source.kind());
        let stamp = Stamp { source: format!("{store}#reconcile"), generation: state.generation };
        let mut emitter =
            Emitter::new(self.log, self.mapping, self.codec, (self.migration, &store), &stamp, self.source.screen())?;
        emitter.timestamp = (self.now)();
        let mut done = Reconciled::default();
        let mut quarantined = 0;
        let mut open = 0;
        let mut keys = (KeyText::default(), KeyText::default());
        let sides = Sides::digest(self.mapping, snapshot.as_mut(), view, self.progress)?;
        self.mass_delete.check(self.mapping, &sides, &sessions, (snapshot.as_mut(), &mut *view), self.progress)?;
        let counts = sides.differences(snapshot.as_mut(), view, self.progress, &mut |pairs| {
            for pair in pairs {
                if let Some(side) = pair.shared {
                    return Err(shared(pair, side));
                }
                // The legacy's row counts for nothing there: reverse has not written it yet, or somebody else did.
                let mut images = pair.legacy.into_iter().chain(pair.projected.map(|(row, _)| row));
                if images.any(|image| sessions.owned(pair.table, image, &mut keys.0)) {
                    done.left += 1;
                    continue;
                }
                for op in changes(pair, &mut keys).iter().copied() {
                    match self.emit(&mut emitter, writer.as_mut(), pair, op, &mut state)? {
                        Ok(()) => match op {
                            Op::Delete => done.deleted += 1,
                            Op::Update => done.updated += 1,
                            Op::Insert | Op::Base => done.inserted += 1,
                        },
                        Err(refusal) => {
                            if let Some(row) = pair.legacy {
                                reject(pair.table, row, refusal, quarantine.as_deref_mut())?;
                            }
                            quarantined += 1;
                        }
                    }
                    open += 1;
                }
            }
            if open >= rows(TRANSACTION_EVENTS) {
                self.commit(writer.as_mut(), &state)?;
                open = 0;
            }
            self.progress.check()
        })?;
        state.found = snapshot.found().found;
        for (table, counts) in self.mapping.tables.iter().zip(&counts).filter(|(_, counts)| counts.skipped > 0) {
            reject_unidentified(table, snapshot.as_mut(), quarantine.as_deref_mut())?;
            quarantined += counts.skipped;
        }
        state.quarantined = quarantined;
        state.captured = captured;
        state.reconciled += 1;
        state.phase = Phase::Done;
        self.commit(writer.as_mut(), &state)?;
        Ok((state, done))
    }

    /// Asked with the writer open: no commit of an older one is on its way any more. A log may answer a commit before
    /// readers see its records, so a projection that was brought to the end just before may yet lack some.
    fn require_whole(&self, stands: &StoreState) -> Result<()> {
        for table in &self.mapping.tables {
            for (partition, ends) in self.log.ends(&table.topic)? {
                let at = stands.positions.get(&(table.topic.clone(), partition)).copied().unwrap_or(0);
                if at < ends.committed {
                    let place = format!("{}[{partition}]@{at}", table.topic);
                    let message = format!("the projection stands at {place}, the log ends at {}", ends.committed);
                    return Err(Error::unknown(message));
                }
            }
        }
        Ok(())
    }

    fn emit(
        &self,
        emitter: &mut Emitter<'_>,
        writer: &mut dyn LogWriter,
        pair: &Pair<'_>,
        op: Op,
        state: &mut ReplayState,
    ) -> Result<std::result::Result<(), Refusal>> {
        let count = state.count + 1;
        let none = || no_previous(Sequence { generation: state.generation, count });
        let previous = pair.projected.map_or_else(none, |(_, last)| last.id);
        let old = pair.projected.map(|(row, _)| row);
        let Some(row) = (if op == Op::Delete { old } else { pair.legacy }) else { return Ok(Ok(())) };
        let change = reconcile_change(previous, (op != Op::Delete).then_some(row));
        let before = if op == Op::Update { old } else { None };
        let appended =
            emitter.append(writer, pair.table.index, RowChange { op, row, before, change: &change, count })?;
        if appended.is_ok() {
            state.count = count;
        }
        Ok(appended)
    }

    fn commit(&self, writer: &mut dyn LogWriter, state: &ReplayState) -> Result<()> {
        boundary("reconcile.before-commit");
        writer.commit(&self.mapping.hash, state.to_json()?)?;
        boundary("reconcile.after-commit");
        Ok(())
    }
}

/// Of rows that share an identity each event would undo the one before.
fn shared(pair: &Pair<'_>, side: Side) -> Error {
    let Some(row) = pair.legacy.or(pair.projected.map(|(row, _)| row)) else {
        return Error::failed("a pair without a row");
    };
    match side {
        Side::ProjectionFold => Error::corrupt(format!(
            "the projection holds two rows of table '{}' with the identity {}",
            pair.table.name,
            mask(&pair.table.identity_text(row))
        ))
        .hint("fold the log anew: crossfade project --rebuild"),
        _ => twice(pair.table, row),
    }
}

/// Rejects the rows of a table that no event can speak of, because their identity is null or a blob.
fn reject_unidentified(
    table: &Table,
    snapshot: &mut dyn Snapshot,
    mut quarantine: Option<&mut Quarantined<'_>>,
) -> Result<()> {
    snapshot.scan(table, &mut |rows, _| {
        for row in rows.iter() {
            if !table.identifies(row) {
                reject(table, row, NO_KEY.to_owned().into(), quarantine.as_deref_mut())?;
            }
        }
        Ok(())
    })
}

/// The events that bring the fold of one identity to the legacy's row. A changed record key is a delete under the old
/// key and an insert under the new one, because the two may lie in different partitions.
fn changes(pair: &Pair<'_>, keys: &mut (KeyText, KeyText)) -> &'static [Op] {
    match (pair.legacy, pair.projected) {
        (Some(_), None) => &[Op::Insert],
        (None, Some(_)) => &[Op::Delete],
        (None, None) => &[],
        (Some(new), Some((old, _))) if keys.0.write(pair.table, new) == keys.1.write(pair.table, old) => &[Op::Update],
        (Some(_), Some(_)) => &[Op::Delete, Op::Insert],
    }
}
