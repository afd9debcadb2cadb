//! What one member does with its group's roster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::{Entry, Roster};
use crate::base::{Error, Result};
use crate::port::event_log::Positions;
use crate::port::group::{Join, Place, Turn};

/// What a member knows of its group.
#[derive(Clone)]
pub(super) struct Member {
    name: String,
    fixed: bool,
    instance: String,
    session: Duration,
    joined: bool,
    beaten: Instant,
    /// The last beat of each other member, and when it was first seen.
    watched: BTreeMap<String, (String, u64, Instant)>,
    /// Told as given.
    pub(super) mine: BTreeSet<Place>,
    /// Told as taken, not let go yet.
    pub(super) leaving: BTreeSet<Place>,
    pub(super) noted: Positions,
}

impl Member {
    pub(super) fn new(join: &Join<'_>, now: Instant) -> Self {
        let instance = uuid::Uuid::new_v4().to_string();
        Self {
            name: join.name.map_or_else(|| format!("member-{instance}"), str::to_owned),
            fixed: join.name.is_some(),
            instance,
            session: join.session,
            joined: false,
            beaten: now,
            watched: BTreeMap::new(),
            mine: BTreeSet::new(),
            leaving: BTreeSet::new(),
            noted: Positions::new(),
        }
    }

    /// One look at the roster: enters, tells that it lives, strikes off who does not, and takes or gives up partitions.
    pub(super) fn step(
        &mut self,
        roster: &mut Roster,
        partitions: &BTreeSet<Place>,
        now: Instant,
    ) -> Result<Option<Turn>> {
        if let Some(lost) = self.enter(roster, now)? {
            return Ok(Some(lost));
        }
        self.beat(roster, now);
        self.watch(roster, now);
        let members: BTreeSet<String> = roster.members.keys().cloned().collect();
        roster.free(|place, holder| !partitions.contains(place) || !members.contains(holder));
        let held: BTreeSet<Place> = roster.held_by(&self.name).collect();
        let gone: Vec<Place> = self.mine.difference(&held).cloned().collect();
        if !gone.is_empty() {
            self.mine.retain(|place| held.contains(place));
            return Ok(Some(Turn::Lost(gone)));
        }
        self.leaving.retain(|place| held.contains(place));
        let share = roster.share(&self.name, partitions.len());
        let staying: Vec<Place> = held.difference(&self.leaving).cloned().collect();
        if staying.len() > share {
            let taken = staying[share..].to_vec();
            self.mine.retain(|place| !taken.contains(place));
            self.leaving.extend(taken.iter().cloned());
            return Ok(Some(Turn::Taken(taken)));
        }
        let room = share.saturating_sub(held.len());
        let free: Vec<Place> =
            partitions.iter().filter(|place| roster.holder(place).is_none()).take(room).cloned().collect();
        for place in &free {
            roster.hand(place, &self.name);
        }
        let given: Vec<Place> = staying.into_iter().filter(|place| !self.mine.contains(place)).chain(free).collect();
        self.mine.extend(given.iter().cloned());
        Ok((!given.is_empty()).then_some(Turn::Given(given)))
    }

    fn enter(&mut self, roster: &mut Roster, now: Instant) -> Result<Option<Turn>> {
        let there = roster.members.get(&self.name).map(|entry| entry.instance == self.instance);
        match (there, self.joined) {
            (Some(true), _) => return Ok(None),
            (Some(false), true) => {
                let text = format!("another process has joined as '{}'; this one stops", self.name);
                return Err(Error::fenced(text).hint("give each member a name of its own"));
            }
            (None, true) => {
                self.joined = false;
                // Others may still know the last beat of the one that was struck off.
                self.instance = uuid::Uuid::new_v4().to_string();
                self.leaving.clear();
                let lost = std::mem::take(&mut self.mine);
                if !lost.is_empty() {
                    return Ok(Some(Turn::Lost(lost.into_iter().collect())));
                }
            }
            (Some(false) | None, false) => {}
        }
        let session_ms = self.session.as_millis() as u64;
        let entry = Entry { instance: self.instance.clone(), beat: 0, session_ms };
        if roster.members.insert(self.name.clone(), entry).is_none() {
            roster.generation += 1;
        }
        (self.joined, self.beaten) = (true, now);
        Ok(None)
    }

    fn beat(&mut self, roster: &mut Roster, now: Instant) {
        if now.saturating_duration_since(self.beaten) < self.session / 4 {
            return;
        }
        self.beaten = now;
        if let Some(entry) = roster.members.get_mut(&self.name) {
            entry.beat += 1;
        }
        for ((topic, number), at) in std::mem::take(&mut self.noted) {
            roster.noted.entry(topic).or_default().insert(number, at);
        }
    }

    fn watch(&mut self, roster: &mut Roster, now: Instant) {
        self.watched.retain(|name, _| roster.members.contains_key(name));
        let mut dead = Vec::new();
        for (name, entry) in roster.members.iter().filter(|(name, _)| **name != self.name) {
            match self.watched.get(name) {
                Some((instance, beat, since)) if *instance == entry.instance && *beat == entry.beat => {
                    if now.saturating_duration_since(*since) >= Duration::from_millis(entry.session_ms) {
                        dead.push(name.clone());
                    }
                }
                _ => {
                    self.watched.insert(name.clone(), (entry.instance.clone(), entry.beat, now));
                }
            }
        }
        dead.iter().for_each(|name| roster.strike(name));
    }

    pub(super) fn let_go(&mut self, roster: &mut Roster) {
        if self.is_in(roster) {
            roster.free(|place, holder| holder == self.name && self.leaving.contains(place));
        }
        self.leaving.clear();
    }

    fn is_in(&self, roster: &Roster) -> bool {
        roster.members.get(&self.name).is_some_and(|entry| entry.instance == self.instance)
    }

    pub(super) fn leave(&self, roster: &mut Roster) {
        if !self.fixed && self.is_in(roster) {
            roster.strike(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: Duration = Duration::from_secs(10);

    struct Group {
        roster: Roster,
        partitions: BTreeSet<Place>,
        began: Instant,
    }

    impl Group {
        fn of(partitions: i32) -> Self {
            let partitions = (0..partitions).map(|number| ("t".to_owned(), number)).collect();
            Self { roster: Roster::default(), partitions, began: Instant::now() }
        }

        fn member(&self, name: &str) -> Member {
            Member::new(&Join { group: "g", name: Some(name), topics: &[], session: SESSION }, self.began)
        }

        fn step(&mut self, member: &mut Member, seconds: u64) -> Option<Turn> {
            let now = self.began + Duration::from_secs(seconds);
            member.step(&mut self.roster, &self.partitions, now).unwrap()
        }

        /// Steps all until nothing changes any more; gives how many partitions each has, and how many moved.
        fn settle(&mut self, members: &mut [Member], seconds: u64) -> (Vec<usize>, usize) {
            let mut moved = 0;
            for _ in 0..50 {
                let before = self.roster.clone();
                let mut quiet = true;
                for member in members.iter_mut() {
                    match self.step(member, seconds) {
                        None => continue,
                        Some(Turn::Taken(places)) => {
                            moved += places.len();
                            member.let_go(&mut self.roster);
                        }
                        Some(_) => {}
                    }
                    quiet = false;
                }
                let all: usize = members.iter().map(|member| member.mine.len()).sum();
                let apart: BTreeSet<&Place> = members.iter().flat_map(|member| &member.mine).collect();
                assert_eq!(all, apart.len(), "held by two");
                if quiet && self.roster == before {
                    return (members.iter().map(|member| member.mine.len()).collect(), moved);
                }
            }
            panic!("it never settles");
        }
    }

    #[test]
    fn partitions_are_shared_evenly_and_as_few_move_as_can() {
        for partitions in 0..9 {
            let mut group = Group::of(partitions);
            let mut members = Vec::new();
            for count in 1..6_usize {
                let before: usize = partitions as usize;
                members.push(group.member(&format!("m{}", 9 - count)));
                let (shares, moved) = group.settle(&mut members, 0);
                let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
                assert!(most - least <= 1, "{shares:?}");
                assert_eq!(shares.iter().sum::<usize>(), before);
                assert!(count == 1 || moved == shares[count - 1], "{shares:?}, {moved} moved");
            }
        }
    }

    #[test]
    fn who_is_not_heard_of_is_struck_off_and_finds_out() {
        let mut group = Group::of(4);
        let (mut one, mut two) = (group.member("one"), group.member("two"));
        group.settle(std::slice::from_mut(&mut one), 0);
        assert_eq!(group.step(&mut two, 1), None);
        assert_eq!(group.step(&mut one, 1), Some(Turn::Taken(vec![("t".into(), 2), ("t".into(), 3)])));
        one.let_go(&mut group.roster);
        assert!(matches!(group.step(&mut two, 1), Some(Turn::Given(places)) if places.len() == 2));
        // One is silent from here on; two beats.
        for second in 2..=10 {
            assert_eq!(group.step(&mut two, second), None, "at {second} s");
        }
        assert!(matches!(group.step(&mut two, 11), Some(Turn::Given(places)) if places.len() == 2));
        assert!(matches!(group.step(&mut one, 12), Some(Turn::Lost(places)) if places.len() == 2));
        assert_eq!(group.step(&mut one, 12), None);
        assert_eq!(group.settle(&mut [one, two], 13).0, [2, 2]);
    }

    #[test]
    fn a_static_member_started_again_has_its_partitions_back_and_the_older_one_stops() {
        let mut group = Group::of(4);
        let mut members = vec![group.member("one"), group.member("two")];
        group.settle(&mut members, 0);
        let generation = group.roster.generation;
        let mut again = group.member("one");
        assert_eq!(group.step(&mut again, 5), Some(Turn::Given(members[0].mine.iter().cloned().collect())));
        assert_eq!(group.step(&mut members[1], 5), None);
        assert_eq!(group.roster.generation, generation);
        let now = group.began;
        let error = members[0].step(&mut group.roster, &group.partitions, now).unwrap_err();
        assert_eq!(error.kind(), crate::base::Kind::Fenced);
    }
}
