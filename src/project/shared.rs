//! The fold by several projectors at once: a group shares the partitions, and each member moves its own on.

use std::time::{Duration, Instant};

use super::fold_log::{LIVE_ROWS, Passed, Projected, Projector, READ_RECORDS, WAIT, apply, decode, passing};
use super::lag::Standing;
use crate::base::{Kind, Millis, Result};
use crate::event::Decoder;
use crate::mapping::Rows;
use crate::port::boundary::{boundary, rows};
use crate::port::event_log::{Batch, Positions};
use crate::port::group::{GroupReader, Join, Place, Turn};
use crate::port::identity::{RECOPY, RowTopics, Watch};
use crate::port::row_store::{Mode, RowWriter};

/// A transaction ends after this, however few rows it has.
const AGE: Duration = Duration::from_millis(50);

/// One member at work.
struct Share<'p, 'a> {
    projector: &'p Projector<'a>,
    writer: Box<dyn RowWriter>,
    group: Box<dyn GroupReader>,
    decoder: Decoder<'a>,
    tables: Vec<Rows>,
    /// The partitions held, and where the rows applied so far leave them.
    stands: Positions,
    /// Another member has moved one of them on: what was applied is worth nothing.
    stale: bool,
    /// Rows of the open transaction.
    open: u64,
    opened: Instant,
    newest: Millis,
    projected: Projected,
    watch: Watch,
}

impl Projector<'_> {
    /// Folds what the group gives to this member, for ever, until the progress listener ends the run. Every member leaves
    /// the rows that one projector alone would.
    ///
    /// A log or a store that goes away is waited for.
    pub fn shared(&self, join: &Join<'_>) -> Result<Projected> {
        let mut group = self.log.join(join)?;
        let mut batch = Batch::default();
        self.progress.begin("project", None);
        // Whoever may not join, or has nothing to do yet, leaves the store alone.
        let first = loop {
            match group.read(&mut batch, 1, WAIT)? {
                Turn::Records => self.progress.check()?,
                turn => break turn,
            }
        };
        let state = self.store.state()?;
        let found = RowTopics::look(self.log, self.mapping)?;
        if let Some(state) = state {
            self.require(&found, &state)?;
        }
        let mut writer = self.store.claim(self.mapping, Mode::Shared)?;
        writer.lies_in(&found.ids);
        boundary("project.claimed");
        let decoder = Decoder::new(self.mapping);
        let tables = decoder.chunks();
        let mut share = Share {
            projector: self,
            writer,
            group,
            decoder,
            tables,
            stands: Positions::new(),
            stale: false,
            open: 0,
            opened: Instant::now(),
            newest: 0,
            projected: Projected::default(),
            watch: Watch::new(&found),
        };
        share.take(first, &batch)?;
        self.telling(|standing| self.go_on(&mut share, standing))
    }

    fn go_on(&self, share: &mut Share<'_, '_>, standing: &Standing) -> Result<Projected> {
        let (mut batch, mut failures) = (Batch::default(), 0);
        loop {
            let watched = share.watch.look(self.log, &self.name(), RECOPY);
            match watched.and_then(|()| share.turn(&mut batch)) {
                Ok(moved) => failures = if moved { 0 } else { failures },
                Err(error) if passing(&error) => {
                    failures += 1;
                    self.wait(&error, failures)?;
                    share.claim_again()?;
                }
                Err(error) => return Err(self.explained(error)),
            }
            if share.open == 0 {
                standing.set(&share.stands, share.newest);
            }
            self.progress.check()?;
        }
    }
}

impl Share<'_, '_> {
    /// One turn of the group; true when the fold moved on.
    fn turn(&mut self, batch: &mut Batch) -> Result<bool> {
        let turn = self.group.read(batch, rows(READ_RECORDS as u64) as usize, WAIT)?;
        self.take(turn, batch)
    }

    fn take(&mut self, turn: Turn, batch: &Batch) -> Result<bool> {
        match turn {
            Turn::Records => {
                self.fold(batch)?;
                let due = self.open >= rows(LIVE_ROWS) || batch.is_empty() || self.opened.elapsed() >= AGE;
                let moved = due && self.commit()?;
                if self.stale {
                    self.anew()?;
                }
                return Ok(moved);
            }
            Turn::Given(places) => {
                let committed = self.commit();
                self.stands.extend(places.iter().map(|place| (place.clone(), 0)));
                committed?;
                let anew = if self.stale { self.stands.keys().cloned().collect() } else { places };
                self.begin(&anew)?;
            }
            Turn::Taken(places) => {
                let committed = self.commit();
                self.stands.retain(|place, _| !places.contains(place));
                // What could not be committed is dropped; should it come late, the store refuses it by the positions.
                self.group.let_go()?;
                committed?;
                if self.stale {
                    self.anew()?;
                }
            }
            Turn::Lost(places) => {
                self.stands.retain(|place, _| !places.contains(place));
                self.anew()?;
            }
        }
        Ok(true)
    }

    fn fold(&mut self, batch: &Batch) -> Result<()> {
        if batch.is_empty() {
            self.stands.clone_from(self.group.positions());
            return Ok(());
        }
        if self.open == 0 {
            self.opened = Instant::now();
        }
        for (rows, table) in self.tables.iter_mut().zip(&self.projector.mapping.tables) {
            rows.reset(table.width());
        }
        let mut applied = 0;
        let mut passed = Passed::default();
        for record in batch.iter() {
            let migration = self.projector.migration;
            if let Some(change) = decode(&mut self.decoder, migration, record, &mut self.tables, &mut passed)? {
                apply(self.writer.as_mut(), &change, &self.tables)?;
                applied += 1;
            }
            self.newest = self.newest.max(record.timestamp);
        }
        self.stands.clone_from(self.group.positions());
        self.open += applied;
        self.projected.applied += applied;
        self.projected.passed_over += passed.own;
        self.projected.foreign += passed.foreign;
        self.projector.progress.advance(batch.len() as u64);
        Ok(())
    }

    /// Commits where the partitions held were moved; true when they were. Where another member has moved one on, because
    /// this one held it too long, all are stale.
    fn commit(&mut self) -> Result<bool> {
        let known = &self.writer.state().positions;
        if self.stands.iter().all(|(place, at)| known.get(place) == Some(at)) {
            return Ok(false);
        }
        match self.projector.commit(self.writer.as_mut(), &self.stands) {
            Err(error) if error.kind() == Kind::Stale => {
                self.stale = true;
                return Ok(false);
            }
            committed => committed?,
        }
        self.open = 0;
        self.group.note(&self.stands)?;
        Ok(true)
    }

    /// Drops what is not committed and reads the partitions held from where the store stands.
    fn anew(&mut self) -> Result<()> {
        self.begin(&self.stands.keys().cloned().collect::<Vec<_>>())
    }

    /// Reads these from where the store stands; nothing is to be uncommitted but of these.
    fn begin(&mut self, places: &[Place]) -> Result<()> {
        (self.open, self.stale) = (0, false);
        let known = self.writer.refresh()?;
        let start = |place| known.get(place).or_else(|| self.projector.from.get(place)).copied().unwrap_or(0);
        let from: Positions = places.iter().map(|place| (place.clone(), start(place))).collect();
        self.stands.extend(from.iter().map(|(place, at)| (place.clone(), *at)));
        self.group.start(&from)
    }

    /// After something went away: the store is claimed by the same right as before, unless it was claimed anew.
    fn claim_again(&mut self) -> Result<()> {
        let epoch = self.writer.state().epoch;
        loop {
            let claimed = self.projector.store.claim(self.projector.mapping, Mode::Again { epoch });
            match claimed {
                Ok(writer) => {
                    self.writer = writer;
                    self.writer.lies_in(self.watch.ids());
                    return self.anew();
                }
                Err(error) if passing(&error) => self.projector.wait(&error, 2)?,
                Err(error) => return Err(error),
            }
        }
    }
}

/// The name of the group whose members fold one migration's events into one store.
pub fn group(migration: &str) -> String {
    format!("{}projector", crate::plan::group_prefix(migration))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Error;

    #[test]
    fn errors_that_pass_are_those_of_connections() {
        assert!(passing(&Error::connect("")) && passing(&Error::unknown("")));
        assert!(!passing(&Error::fenced("")) && !passing(&Error::stale("")));
    }
}
