//! Groups of the homes that have no brokers: one roster, which every member looks at and carries on.
//!
//! No clock stands in it, so none can mislead: a member raises its beat, and whoever sees the same beat for as long as that
//! member's session strikes it off.

mod member;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::member::Member;
use super::event_log::{Batch, LogReader, Offset, Positions};
use super::group::{GroupReader, Join, Place, Turn};
use crate::base::Result;

/// Between two looks at the roster.
const LOOK: Duration = Duration::from_millis(50);

/// Who is in a group, and who holds what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// Raised whenever a member comes or goes.
    pub generation: u64,
    members: BTreeMap<String, Entry>,
    /// Member by topic and partition.
    held: BTreeMap<String, BTreeMap<i32, String>>,
    /// How far each partition's effects are committed.
    noted: BTreeMap<String, BTreeMap<i32, Offset>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// The process that has the name.
    instance: String,
    beat: u64,
    session_ms: u64,
}

impl Roster {
    pub fn members(&self) -> usize {
        self.members.len()
    }

    pub fn noted(&self) -> Positions {
        let noted = self.noted.iter();
        noted.flat_map(|(topic, of)| of.iter().map(|(number, at)| ((topic.clone(), *number), *at))).collect()
    }

    fn holder(&self, place: &Place) -> Option<&str> {
        self.held.get(&place.0)?.get(&place.1).map(String::as_str)
    }

    fn held_by<'r>(&'r self, name: &'r str) -> impl Iterator<Item = Place> + 'r {
        let held =
            self.held.iter().flat_map(|(topic, of)| of.iter().map(move |(number, holder)| (topic, number, holder)));
        held.filter(move |(.., holder)| *holder == name).map(|(topic, number, _)| (topic.clone(), *number))
    }

    fn hand(&mut self, place: &Place, to: &str) {
        self.held.entry(place.0.clone()).or_default().insert(place.1, to.to_owned());
    }

    fn free(&mut self, free: impl Fn(&Place, &str) -> bool) {
        for (topic, of) in &mut self.held {
            of.retain(|number, holder| !free(&(topic.clone(), *number), holder));
        }
        self.held.retain(|_, of| !of.is_empty());
    }

    fn strike(&mut self, name: &str) {
        if self.members.remove(name).is_some() {
            self.generation += 1;
            self.free(|_, holder| holder == name);
        }
    }

    /// How many partitions `name` is to have: as many as the others, and one more where they do not come out even, which
    /// goes to those who hold most, so that as few as possible move.
    fn share(&self, name: &str, partitions: usize) -> usize {
        let mut order: Vec<(usize, &str)> =
            self.members.keys().map(|name| (self.held_by(name).count(), name.as_str())).collect();
        order.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        let at = order.iter().position(|(_, other)| *other == name).unwrap_or(usize::MAX);
        let members = order.len().max(1);
        partitions / members + usize::from(at < partitions % members)
    }
}

/// Where a roster is kept.
pub trait Board: Send {
    /// The roster as it is, and the partitions of the topics. May be called often.
    fn look(&mut self) -> Result<(Roster, BTreeSet<Place>)>;

    /// Changes the roster; nobody else does so meanwhile. Nothing is kept when `change` fails.
    fn change(&mut self, change: &mut dyn FnMut(&mut Roster, &BTreeSet<Place>) -> Result<()>) -> Result<()>;
}

/// A reader whose partitions may change.
pub trait Lanes: LogReader {
    fn add(&mut self, from: &Positions) -> Result<()>;

    fn remove(&mut self, places: &[Place]);
}

/// A member by way of a roster.
pub struct RosterReader<B: Board, L: Lanes> {
    board: B,
    lanes: L,
    member: Member,
    looked: Option<Instant>,
}

impl<B: Board, L: Lanes> RosterReader<B, L> {
    pub fn join(board: B, lanes: L, join: &Join<'_>) -> Self {
        Self { board, lanes, member: Member::new(join, Instant::now()), looked: None }
    }

    fn step(&mut self, now: Instant) -> Result<Option<Turn>> {
        if self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < LOOK) {
            return Ok(None);
        }
        self.looked = Some(now);
        // Mostly nothing changes, and then nothing is to be written.
        let (found, partitions) = self.board.look()?;
        let (mut roster, mut member) = (found.clone(), self.member.clone());
        let mut turn = member.step(&mut roster, &partitions, now)?;
        if roster != found {
            let before = &self.member;
            self.board.change(&mut |roster, partitions| {
                member = before.clone();
                turn = member.step(roster, partitions, now)?;
                Ok(())
            })?;
        }
        self.member = member;
        if let Some(Turn::Taken(places) | Turn::Lost(places)) = &turn {
            self.lanes.remove(places);
        }
        Ok(turn)
    }
}

impl<B: Board, L: Lanes> GroupReader for RosterReader<B, L> {
    fn read(&mut self, batch: &mut Batch, max: usize, wait: Duration) -> Result<Turn> {
        let began = Instant::now();
        loop {
            batch.clear();
            if let Some(turn) = self.step(Instant::now())? {
                return Ok(turn);
            }
            let left = wait.saturating_sub(began.elapsed());
            self.lanes.read(batch, max, left.min(LOOK))?;
            if !batch.is_empty() || began.elapsed() >= wait {
                return Ok(Turn::Records);
            }
        }
    }

    fn start(&mut self, from: &Positions) -> Result<()> {
        let own: Positions = from
            .iter()
            .filter(|(place, _)| self.member.mine.contains(*place))
            .map(|(place, at)| (place.clone(), *at))
            .collect();
        self.lanes.remove(&own.keys().cloned().collect::<Vec<_>>());
        self.lanes.add(&own)
    }

    fn let_go(&mut self) -> Result<()> {
        let member = &mut self.member;
        if !member.leaving.is_empty() {
            self.board.change(&mut |roster, _| {
                member.clone().let_go(roster);
                Ok(())
            })?;
            member.leaving.clear();
        }
        Ok(())
    }

    fn positions(&self) -> &Positions {
        self.lanes.positions()
    }

    fn note(&mut self, committed: &Positions) -> Result<()> {
        self.member.noted.extend(committed.iter().map(|(place, at)| (place.clone(), *at)));
        Ok(())
    }
}

impl<B: Board, L: Lanes> Drop for RosterReader<B, L> {
    fn drop(&mut self) {
        // What cannot be said now is found out when the session ends.
        let _ = self.board.change(&mut |roster, _| {
            self.member.leave(roster);
            Ok(())
        });
    }
}
