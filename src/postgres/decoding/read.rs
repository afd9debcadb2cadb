//! Reading the server's log from a position on: whole transactions, in the order of their commits.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use postgres::Client;

use super::super::capture::{Content, ContentWatch, Mark, Seen, WHOLE, lsn, widen};
use super::super::catalog::Catalog;
use super::super::fault::fault;
use super::lookup::Lookup;
use super::pgoutput::{Message, parse};
use super::shape::{Kinds, Shape};
use super::transaction::{Transaction, millis};
use super::wire::{Came, Wire};
use super::{ANEW, PostgresDecoding};
use crate::base::{Error, Result};
use crate::port::change_source::{ChangeReader, Changes, Lag, Position};

/// A batch ends with the change that brings its images to this many bytes.
pub(super) const BATCH_BYTES: usize = 4 << 20;
/// A batch ends this long after its first transaction: what is committed all the time would fill it for seconds.
const GATHER: Duration = Duration::from_millis(12);
/// A transaction that is not visible yet is looked at again after this time.
const NAP: Duration = Duration::from_millis(1);
/// How often the server is told that somebody is here.
const ALIVE: Duration = Duration::from_secs(5);
/// Where nothing is to be told, a position is given after this time, so that the server need not keep its log, and a diff
/// sees that everything was told.
const MOVE: Duration = Duration::from_secs(1);
/// The log's end may lie behind what is ever sent, by the head of a page.
const SETTLED: Duration = Duration::from_secs(1);

/// The prefix of the message that reverse begins its transactions with.
const OWN: &str = "crossfade";

pub(super) struct DecodingReader {
    pub(super) source: PostgresDecoding,
    pub(super) client: Client,
    pub(super) wire: Wire,
    /// What was read before: its transactions are not told.
    seen: Option<Seen>,
    /// What is visible now, as far as is known.
    now: Seen,
    /// A number near those to come.
    near: u64,
    pub(super) end: Position,
    mark: Mark,
    /// The transaction at `end` has not come yet, and must.
    awaited: bool,
    shapes: HashMap<u32, std::result::Result<Shape, String>>,
    kinds: Kinds,
    pub(super) lookup: Lookup,
    /// Tables whose identity is checked late.
    pub(super) late: Vec<bool>,
    content: ContentWatch,
    pub(super) transaction: Option<Transaction>,
    /// Up to here all was sent, and told or left out.
    sent: u64,
    confirmed: u64,
    moved: Instant,
    alive: Instant,
    /// The end of the log, when nothing more came.
    aim: Option<(u64, Instant)>,
    looked: Instant,
    pub(super) scratch: Vec<u8>,
}

impl DecodingReader {
    pub(super) fn open(source: PostgresDecoding, from: &Position) -> Result<Self> {
        let store = source.store();
        let mut client = source.login.reader()?;
        let (installed, slot) = source.require(&mut client)?;
        let failed = fault(&store, "opening its log");
        if installed.incarnation != from.incarnation {
            return Err(Error::stale(format!("{store}: the slot was made anew since"))
                .hint("crossfade follow reconciles first"));
        }
        let mut mark = Mark::of(from)?;
        same_server(&mut client, &store, &mark)?;
        if slot.confirmed > mark.flushed {
            return Err(Error::refused(format!(
                "{store}: somebody has moved the slot {} on to {}, and the log has only what lies before {}",
                slot.name,
                lsn(slot.confirmed),
                lsn(mark.flushed)
            ))
            .hint(ANEW));
        }
        if from.at == 0 {
            // A snapshot's mark lies behind commits that it does not see.
            mark.flushed = slot.confirmed;
        }
        slot.free(&mut client, &source.names, &store)?;
        let now = Seen::read(&mut client).map_err(&failed)?;
        let catalog = Catalog::read(&mut client, &source.login.place.schema).map_err(&failed)?;
        let mut lookup = Lookup::new(catalog);
        lookup.find_orphans(&mut client, &source.login, &source.mapping)?;
        let content = Content::read(&mut client, &source.login, &source.names, &source.mapping)?;
        let late = content.late(&source.mapping);
        let wire = slot.stream(&mut client, &source.login, &source.names)?;
        let past = Instant::now().checked_sub(ALIVE).unwrap_or_else(Instant::now);
        Ok(Self {
            seen: from.seen.parse().ok(),
            near: now.xmax,
            now,
            end: from.clone(),
            mark,
            awaited: from.count > 0 && slot.confirmed <= from.at,
            shapes: HashMap::new(),
            kinds: Kinds::default(),
            lookup,
            late,
            content: ContentWatch::default(),
            transaction: None,
            sent: slot.confirmed,
            confirmed: slot.confirmed,
            moved: past,
            alive: past,
            aim: None,
            looked: Instant::now(),
            scratch: Vec::new(),
            source,
            client,
            wire,
        })
    }

    /// Whether the transaction can be seen by whoever reads rows from now on.
    fn visible(&mut self, xid: u64) -> Result<bool> {
        if !self.now.sees(xid) {
            let store = self.source.store();
            self.now = Seen::read(&mut self.client).map_err(fault(&store, "asking what is visible"))?;
            self.near = self.near.max(self.now.xmax);
        }
        Ok(self.now.sees(xid))
    }

    /// Takes one message, if one comes in time.
    fn receive(&mut self, wait: Duration) -> Result<bool> {
        let Came::Data(data) = self.wire.next(wait)? else {
            if self.alive.elapsed() >= ALIVE {
                self.answer(false)?;
            }
            return Ok(false);
        };
        let long = |at: usize| data.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
        match (data.first(), long(1)) {
            (Some(b'w'), Some(_)) if data.len() >= 25 => self.take(&data[25..])?,
            (Some(b'k'), Some(end)) if data.len() == 18 => {
                if self.transaction.is_none() {
                    self.sent = self.sent.max(end);
                }
                if data[17] == 1 {
                    self.answer(false)?;
                }
            }
            _ => return Err(self.odd()),
        }
        if self.alive.elapsed() >= ALIVE {
            self.answer(false)?;
        }
        Ok(true)
    }

    fn odd(&self) -> Error {
        Error::corrupt(format!("{}: the server sent what is no change", self.source.store()))
    }

    /// Tells the server what it need not keep, and asks for a word where that is wanted.
    fn answer(&mut self, asks: bool) -> Result<()> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let micros = now.as_micros() as i64 - 946_684_800_000_000;
        let mut data = vec![b'r'];
        for number in [self.confirmed, self.confirmed, self.confirmed, micros as u64] {
            data.extend_from_slice(&number.to_be_bytes());
        }
        data.push(u8::from(asks));
        self.alive = Instant::now();
        self.wire.answer(&data)
    }

    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        let message = parse(bytes).ok_or_else(|| self.odd())?;
        match message {
            Message::Begin { commit, at, xid } => self.begin(commit, at, xid),
            Message::Commit { end, .. } => {
                let transaction = self.transaction.as_mut();
                transaction.ok_or_else(|| Error::corrupt("a commit came without its transaction"))?.end = Some(end);
                Ok(())
            }
            Message::Relation { id, schema, name, columns } => {
                let store = self.source.store();
                let shape = if schema == self.source.login.place.schema {
                    Shape::of(&mut self.client, &mut self.kinds, &self.source.mapping, name, &columns)
                        .map_err(fault(&store, "looking at the types of a table"))?
                } else {
                    Err(format!("table '{name}' of schema '{schema}' is in the publication (moved, or put there)"))
                };
                self.shapes.insert(id, shape);
                Ok(())
            }
            Message::Logical { transactional: true, prefix: OWN } => {
                if let Some(transaction) = self.transaction.as_mut() {
                    transaction.skip = true;
                }
                Ok(())
            }
            Message::Logical { .. } | Message::Origin | Message::Type => Ok(()),
            Message::Insert { .. } | Message::Update { .. } | Message::Delete { .. } | Message::Truncate { .. } => {
                self.change(message)
            }
        }
    }

    fn begin(&mut self, commit: u64, at: i64, xid: u32) -> Result<()> {
        let xid = widen(xid, self.near);
        self.near = self.near.max(xid);
        let mut transaction = Transaction::begin(&self.source.mapping, commit, xid, millis(at));
        let told = commit == self.end.at && self.end.count > 0;
        if (told && xid != self.mark.xid) || (self.awaited && commit > self.end.at) {
            let why = format!("at {} lies transaction {xid}, not {}", lsn(commit), self.mark.xid);
            return Err(older(&self.source.store(), why));
        }
        if told {
            transaction.told = self.end.count;
            transaction.passing.begun = true;
            self.awaited = false;
        }
        transaction.skip = commit < self.end.at || self.seen.as_ref().is_some_and(|seen| seen.sees(xid));
        self.transaction = Some(transaction);
        Ok(())
    }

    /// The table a change is of; an error where it is no longer what the mapping says.
    pub(super) fn shape(&self, relation: u32) -> Result<&Shape> {
        match self.shapes.get(&relation) {
            Some(Ok(shape)) => Ok(shape),
            Some(Err(why)) => Err(Error::refused(format!("{}: {why}", self.source.store())).hint(
                "mend the mapping, then: crossfade follow --install, and replay --recopy; or put the table back, then: crossfade replay",
            )),
            None => Err(self.odd()),
        }
    }

    /// Puts the transaction in hand into the batch, or what has come of it.
    fn tell(&mut self, changes: &mut Changes) -> Result<()> {
        let Some(mut transaction) = self.transaction.take() else { return Ok(()) };
        if !transaction.is_empty() {
            self.settle(&transaction, changes)?;
        }
        let empty = transaction.count <= transaction.told || transaction.skip;
        if let Some(end) = transaction.end {
            self.sent = self.sent.max(end);
            if empty {
                return Ok(());
            }
            self.mark.flushed = end;
        }
        self.mark.xid = transaction.xid;
        self.end.at = transaction.commit;
        self.end.count = transaction.count;
        self.end.mark = self.mark.to_string();
        self.moved = Instant::now();
        if transaction.end.is_none() {
            transaction.clear();
            transaction.told = transaction.count;
            transaction.cut = true;
            self.transaction = Some(transaction);
        }
        Ok(())
    }

    /// Whether everything has been sent that was in the server's log when nothing more came at once.
    fn caught_up(&mut self, idle: bool) -> Result<bool> {
        let store = self.source.store();
        let failed = fault(&store, "asking where its log ends");
        let mut ask = |what: &str| -> Result<u64> {
            let sql = format!("SELECT ({what} - '0/0'::pg_lsn)::bigint");
            Ok(self.client.query_one(&sql, &[]).map_err(&failed)?.get::<_, i64>(0).unsigned_abs())
        };
        let (aim, since) = match self.aim {
            Some(aim) => aim,
            None => *self.aim.insert((ask("pg_current_wal_insert_lsn()")?, Instant::now())),
        };
        let there = self.sent >= aim || (since.elapsed() >= SETTLED && self.sent >= ask("pg_current_wal_flush_lsn()")?);
        if there {
            self.aim = None;
        } else if idle {
            self.answer(true)?;
        }
        Ok(there)
    }

    /// Gives a position where nothing was told for long, so that the slot can move on.
    fn move_on(&mut self) {
        let far = self.sent.saturating_sub(self.mark.flushed);
        if self.awaited || far == 0 || self.moved.elapsed() < MOVE {
            return;
        }
        self.mark.flushed = self.sent;
        (self.end.at, self.end.count) = (self.sent, 0);
        self.end.mark = self.mark.to_string();
        self.moved = Instant::now();
    }

    /// Looks whether rows may have changed without an event; gives why.
    fn regard(&mut self, due: bool) -> Result<Option<String>> {
        let (source, client) = (&self.source, &mut self.client);
        let place = (self.end.content.as_str(), due);
        let Some(news) = self.content.look(client, &source.login, &source.names, &source.mapping, place)? else {
            return Ok(None);
        };
        self.end.content = news.note;
        self.late = news.late;
        Ok(news.reason)
    }

    /// What nobody says: a table that was dropped or taken out, a slot that was made anew.
    fn look(&mut self) -> Result<()> {
        if self.looked.elapsed() >= Duration::from_secs(1) {
            self.source.require(&mut self.client)?;
            self.looked = Instant::now();
        }
        Ok(())
    }
}

impl ChangeReader for DecodingReader {
    fn read(&mut self, changes: &mut Changes, max: usize, wait: Duration) -> Result<()> {
        changes.reset(&self.source.mapping);
        let (until, mut full) = (Instant::now() + wait, None);
        self.look()?;
        loop {
            if let Some(transaction) = &self.transaction {
                let whole = transaction.end.is_some();
                if whole && transaction.is_empty() {
                    self.tell(changes)?;
                    continue;
                }
                let (most, bytes) = if transaction.passing.any() { WHOLE } else { (max, BATCH_BYTES) };
                if whole || transaction.entries.len() >= most.max(max) || transaction.bytes() >= bytes {
                    let fits = whole && changes.len() + transaction.entries.len() <= max;
                    if !changes.is_empty() && !fits {
                        break;
                    }
                    let xid = transaction.xid;
                    if self.visible(xid)? {
                        self.tell(changes)?;
                        let full = *full.get_or_insert_with(|| Instant::now() + GATHER);
                        if changes.reconcile.is_some() || Instant::now() >= full {
                            break;
                        }
                    } else if !changes.is_empty() || Instant::now() >= until {
                        break;
                    } else {
                        std::thread::sleep(NAP);
                    }
                    continue;
                }
            }
            let left =
                if changes.is_empty() { until.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            if !self.receive(left)? && (!changes.is_empty() || Instant::now() >= until) {
                break;
            }
            // A log in which only others write never falls silent.
            if changes.is_empty() && Instant::now() >= until && self.transaction.is_none() {
                break;
            }
        }
        if changes.reconcile.is_none() && changes.len() < max {
            changes.caught_up = self.caught_up(changes.is_empty())?;
        }
        if changes.is_empty() && changes.reconcile.is_none() && self.transaction.is_none() {
            self.move_on();
        }
        // After the read: what was committed before the last of these changes is seen now.
        if let Some(reason) = self.regard(!changes.is_empty())? {
            changes.reconcile.get_or_insert(reason);
        }
        changes.end.clone_from(&self.end);
        Ok(())
    }

    fn release(&mut self, until: &Position) -> Result<()> {
        let flushed = until.mark.parse::<Mark>().map_or(0, |mark| mark.flushed);
        if until.at > 0 && until.incarnation == self.end.incarnation && flushed > self.confirmed {
            self.confirmed = flushed;
            self.answer(false)?;
        }
        Ok(())
    }

    fn lag(&mut self) -> Result<Lag> {
        let store = self.source.store();
        let end = Mark::read(&mut self.client).map_err(fault(&store, "asking where its log ends"))?.flushed;
        let pending = self.transaction.as_ref().filter(|transaction| !transaction.is_empty());
        Ok(Lag {
            changes: pending.map_or(0, |transaction| transaction.entries.len() as u64),
            bytes: end.saturating_sub(self.sent),
            since: pending.map(|transaction| transaction.made_at),
        })
    }
}

/// Refuses a server that was put back to an older state.
fn same_server(client: &mut Client, store: &str, mark: &Mark) -> Result<()> {
    let failed = fault(store, "asking whether it is the same server");
    let now = Mark::read(client).map_err(&failed)?;
    if now.timeline != mark.timeline {
        return Err(older(store, format!("its timeline is {}, not {}", now.timeline, mark.timeline)));
    }
    if now.flushed < mark.flushed {
        return Err(older(store, format!("its log ends at {}, before {}", lsn(now.flushed), lsn(mark.flushed))));
    }
    if mark.xid == 0 {
        return Ok(());
    }
    let next = Seen::read(client).map_err(&failed)?.xmax;
    let status = (mark.xid < next)
        .then(|| client.query_one("SELECT pg_xact_status($1::text::xid8)", &[&mark.xid.to_string()]))
        .transpose()
        .map_err(&failed)?;
    // Of very old ones the server does not know any more.
    match status.map(|row| row.get::<_, Option<String>>(0)) {
        Some(None) => Ok(()),
        Some(Some(status)) if status == "committed" => Ok(()),
        _ => Err(older(store, format!("transaction {} was never committed", mark.xid))),
    }
}

fn older(store: &str, why: String) -> Error {
    let message = format!(
        "{store} does not have what the log was told of: it was put back to an older state, or is another server"
    );
    Error::refused(message).hint(format!("if that is what it should be: {ANEW}")).because(why)
}
