//! The one writer of sessions that events own, and the transfer of sessions to it and back.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Lock;
use crate::base::{Error, Millis, Result};
use crate::capture::{Emitter, FollowState, Phase, ReplayState, covered, fence};
use crate::event::codec::Codec;
use crate::event::encode::RowChange;
use crate::event::{Op, Sequence, Stamp, id};
use crate::mapping::{FOREIGN_SETTLED, KeyText, Mapping, OWNERSHIP, Row, Table, Types};
use crate::ownership::{Side, Transfer};
use crate::port::boundary::boundary;
use crate::port::change_source::ChangeSource;
use crate::port::event_log::{Batch, EventLog, LogWriter, Positions, Record, ends};
use crate::port::identity::RowTopics;
use crate::port::legacy_sink::Kept;
use crate::port::legacy_source::LegacySource;
use crate::port::owners::{ForeignWrite, GATEWAY_ROLE, GatewayState, RowKey, Sessions};
use crate::scan::mask;

/// Where a sole writer works.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub log: &'a dyn EventLog,
    pub mapping: &'a Mapping,
    pub codec: &'a dyn Codec,
    pub migration: &'a str,
    /// Names this process in checkpoints.
    pub instance: &'a str,
    pub now: &'a (dyn Fn() -> Millis + Sync),
}

/// One session: a record key in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session<'a> {
    pub topic: &'a str,
    pub key: &'a [u8],
    /// The epoch the asker knows; a transfer from another one is stale.
    pub seen: Option<u64>,
}

/// How it is known that the log has every change the legacy made to a session.
pub enum Captured<'a> {
    /// A follow tells them: waited for, at most this long, and before that as long for transactions at work.
    Followed { rows: &'a dyn LegacySource, changes: &'a dyn ChangeSource, patience: Duration },
    /// The caller has stopped the legacy, and reconciled it since.
    Stopped,
}

/// The writer `<migration>/gateway`. Opening it fences the one before, so there is one.
pub struct SoleWriter<'a> {
    place: Place<'a>,
    writer: Box<dyn LogWriter>,
    emitter: Emitter<'a>,
    source: String,
    state: GatewayState,
    sessions: Sessions,
    key: KeyText,
}

const NAP: Duration = Duration::from_millis(20);

impl<'a> SoleWriter<'a> {
    /// Opens the writer and reads who owns what, to the log's end.
    pub fn open(place: Place<'a>) -> Result<Self> {
        let Place { log, mapping, migration, .. } = place;
        let Some((replay, hash)) = ReplayState::read(log, migration)? else {
            return Err(Error::refused("there was no replay yet: events can own no session").hint("crossfade replay"));
        };
        if hash != mapping.hash {
            return Err(Error::stale("the replay was made under another mapping than the one in force")
                .hint("put the mapping back, or copy everything anew: crossfade replay --recopy"));
        }
        if replay.phase != Phase::Done {
            return Err(Error::refused("the replay is unfinished: events can own no session").hint("crossfade replay"));
        }
        let writer = log.open_writer(&format!("{migration}/{GATEWAY_ROLE}"), place.instance)?;
        let own = writer.checkpoint().map(GatewayState::of).transpose()?;
        let begins_at = match &own {
            Some(own) => own.begins_at.clone(),
            None => ends(log, mapping)?.into_iter().map(|((topic, partition), end)| (topic, partition, end)).collect(),
        };
        let followed = FollowState::read(log, migration)?.filter(|follow| follow.generation == replay.generation);
        let mut count = replay.count.max(followed.map_or(0, |follow| follow.count));
        if let Some(own) = own.filter(|own| own.generation == replay.generation) {
            count = count.max(own.count);
        }
        let found = RowTopics::look(log, mapping)?;
        replay.require(&found)?;
        let state = GatewayState { generation: replay.generation, count, begins_at, topics: found.ids };
        let store = match mapping.types {
            Types::Sqlite => format!("{migration}/sqlite"),
            Types::Postgres => format!("{migration}/postgres"),
        };
        let source = format!("{store}#gateway");
        let stamp = Stamp { source: source.clone(), generation: state.generation };
        let emitter = Emitter::new(log, mapping, place.codec, (migration, &store), &stamp, None)?;
        let sessions = Sessions::read(log, mapping, migration, None)?;
        Ok(Self { place, writer, emitter, source, state, sessions, key: KeyText::default() })
    }

    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Appends one change of a row; refused unless events own its session. `Ok(Err(reason))` where the row may not become
    /// an event. `change` names it for ever: a change written again has the same id.
    pub fn append(
        &mut self,
        table: &Table,
        (op, row, before): (Op, Row<'_>, Option<Row<'_>>),
        change: &[u8],
    ) -> Result<std::result::Result<(), String>> {
        for image in before.into_iter().chain([row]) {
            let key = self.key.write(table, image).unwrap_or_default();
            if self.sessions.owners.owner(&table.topic, key) != Side::Events {
                let key = String::from_utf8_lossy(key).into_owned();
                return Err(Error::refused(format!("events do not own session '{key}' of '{}'", table.topic))
                    .hint("transfer it first; the legacy's writes count until then"));
            }
        }
        self.write(table, RowChange { op, row, before, change, count: self.state.count + 1 }, (None, None))
    }

    fn write(
        &mut self,
        table: &Table,
        change: RowChange<'_>,
        own: (Option<&'static str>, Option<&[u8]>),
    ) -> Result<std::result::Result<(), String>> {
        self.emitter.timestamp = (self.place.now)();
        let appended = self.emitter.append_as(self.writer.as_mut(), table.index, change, own)?;
        if appended.is_ok() {
            self.state.count += 1;
        }
        Ok(appended.map_err(|refusal| refusal.reason))
    }

    /// Makes what was appended durable, all or none.
    pub fn commit(&mut self) -> Result<()> {
        boundary("ownership.before-commit");
        self.writer.commit(&self.place.mapping.hash, self.state.to_json()?)?;
        boundary("ownership.after-commit");
        Ok(())
    }

    /// Gives sessions to the events side; those it has stay. The caller holds their writes back, waits for what the legacy
    /// is still at, and has the run lock, so that no reconcile meets them half way.
    pub fn to_events(&mut self, sessions: &[Session<'_>], captured: &Captured<'_>, lock: &Lock) -> Result<u64> {
        let planned = self.plan(sessions, Side::Events)?;
        if planned.is_empty() {
            return Ok(0);
        }
        let _follow = self.catch(captured)?;
        self.transfer(&planned, lock)
    }

    /// Gives sessions back. `drain` brings the legacy's tables past the last event and raises their epoch, so that an older
    /// writer of theirs changes nothing any more, and gives the rows that the legacy's schema refused: none of their
    /// sessions returns. The caller holds their writes back, and has the run lock.
    pub fn to_legacy(
        &mut self,
        sessions: &[Session<'_>],
        captured: &Captured<'_>,
        lock: &Lock,
        drain: &mut dyn FnMut() -> Result<BTreeMap<RowKey, Kept>>,
    ) -> Result<u64> {
        let planned = self.plan(sessions, Side::Legacy)?;
        if planned.is_empty() {
            return Ok(0);
        }
        // What others wrote there meanwhile is known by now, and no change of theirs is taken for the new owner's.
        let _follow = self.catch(captured)?;
        self.sessions = Sessions::read(self.place.log, self.place.mapping, self.place.migration, None)?;
        let held = |foreign: &&ForeignWrite| {
            planned.iter().any(|(session, _)| session.topic == foreign.place.0 && session.key == foreign.key)
        };
        if let Some(foreign) = self.sessions.foreign.values().find(held) {
            let (topic, partition, offset) = &foreign.place;
            return Err(Error::refused(format!("a foreign write is not settled: {topic}[{partition}]@{offset}"))
                .hint("take it over or write over it: crossfade project --reverse --adopt ROW, --overwrite ROW"));
        }
        for kept in drain()?.values().filter(|kept| planned.iter().any(|(session, _)| session.topic == kept.topic)) {
            let key = self.key_at(&kept.topic, kept.partition, kept.offset)?;
            if planned.iter().any(|(session, _)| session.topic == kept.topic && session.key == key) {
                let message = format!(
                    "session '{}' of '{}' cannot return: the legacy's schema refused its row {} of table '{}' ({})",
                    mask(&String::from_utf8_lossy(&key)),
                    kept.topic,
                    kept.row,
                    kept.table,
                    kept.reason
                );
                return Err(Error::refused(message)
                    .hint("correct the row where events are written, then: crossfade project --reverse"));
            }
        }
        self.transfer(&planned, lock)
    }

    /// The record key at a place of the log.
    fn key_at(&self, topic: &str, partition: i32, offset: i64) -> Result<Vec<u8>> {
        let place = (topic.to_owned(), partition);
        let mut reader = self.place.log.open_reader(&Positions::from([(place.clone(), offset)]))?;
        let mut batch = Batch::default();
        while reader.positions()[&place] <= offset {
            reader.read(&mut batch, 1, NAP)?;
            if let Some(record) = batch.iter().find(|record| record.offset == offset) {
                return Ok(record.key.to_vec());
            }
        }
        Err(Error::corrupt(format!("{topic}[{partition}]@{offset} is not in the log any more")))
    }

    fn plan<'s>(&self, sessions: &[Session<'s>], to: Side) -> Result<Vec<(Session<'s>, Transfer)>> {
        let mut planned = Vec::new();
        for session in sessions {
            if !self.place.mapping.tables.iter().any(|table| table.topic == session.topic) {
                return Err(Error::refused(format!("no table's rows go to topic '{}'", session.topic)));
            }
            let transfer = self.sessions.owners.transfer(session.topic, session.key, to, session.seen)?;
            planned.extend(transfer.map(|transfer| (*session, transfer)));
        }
        Ok(planned)
    }

    fn transfer(&mut self, planned: &[(Session<'_>, Transfer)], lock: &Lock) -> Result<u64> {
        for (session, transfer) in planned {
            self.own(session.topic, session.key, OWNERSHIP, &transfer.write()?, &transfer.epoch.to_be_bytes())?;
        }
        lock.check()?;
        self.commit()?;
        self.sessions = Sessions::read(self.place.log, self.place.mapping, self.place.migration, None)?;
        Ok(planned.len() as u64)
    }

    /// Takes the follow's name away once it has told every change made until now: none of its commits can come behind the
    /// transfer. It goes on by itself and asks anew who owns what.
    fn catch(&self, captured: &Captured<'_>) -> Result<Option<Box<dyn LogWriter>>> {
        let Place { log, migration, instance, .. } = self.place;
        let Captured::Followed { rows, changes, patience } = captured else {
            return Ok(fence(log, migration, instance)?.map(|(writer, _)| writer));
        };
        changes.settled(*patience)?;
        let Some(end) = rows.snapshot()?.position()? else {
            return Err(Error::refused(
                "nothing records the legacy's changes, so it is not known that the log has them",
            )
            .hint("crossfade follow --install, then crossfade follow"));
        };
        let begun = Instant::now();
        loop {
            if covered(*changes, &end, log, migration)? {
                return Ok(fence(log, migration, instance)?.map(|(writer, _)| writer));
            }
            if begun.elapsed() >= *patience {
                return Err(Error::unknown(
                    "the log does not have every change of the legacy yet; nothing was transferred",
                )
                .hint("let a follow run and catch up: crossfade follow"));
            }
            std::thread::sleep(NAP);
        }
    }

    fn own(&mut self, topic: &str, key: &[u8], event_type: &str, value: &[u8], change: &[u8]) -> Result<()> {
        let id = id::text(id::own(self.place.migration, event_type, key, &[topic.as_bytes(), b"\0", change].concat()));
        let sequence = Sequence { generation: self.state.generation, count: self.state.count + 1 }.to_string();
        self.writer.append(&Record {
            topic,
            partition: None,
            key,
            value,
            headers: &[
                ("ce_specversion", b"1.0"),
                ("ce_id", id.as_bytes()),
                ("ce_source", self.source.as_bytes()),
                ("ce_type", event_type.as_bytes()),
                ("ce_sequence", sequence.as_bytes()),
            ],
            timestamp: (self.place.now)(),
        })?;
        self.state.count += 1;
        Ok(())
    }

    /// Settles a foreign write: from now on the row is `row`, or gone. Both events are appended; commit them.
    pub fn settle(&mut self, key: &RowKey, row: Option<Row<'_>>) -> Result<()> {
        let Some(foreign) = self.sessions.foreign.remove(key) else { return Ok(()) };
        let table = &self.place.mapping.tables[key.0];
        let (topic, partition, offset) = &foreign.place;
        let change = format!("settles {topic} {partition} {offset}").into_bytes();
        let count = self.state.count + 1;
        let told = RowChange { op: Op::Delete, row: foreign.row.row(0), before: None, change: &change, count };
        let key = Some(foreign.key.as_slice());
        self.write(table, told, (Some(FOREIGN_SETTLED), key))?.map_err(Error::row)?;
        let (op, row) = row.map_or((Op::Delete, foreign.row.row(0)), |row| (Op::Update, row));
        let change = RowChange { op, row, before: None, change: &change, count: self.state.count + 1 };
        self.write(table, change, (None, key))?.map_err(Error::row)
    }
}
