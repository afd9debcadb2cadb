//! Whether a position still counts: in the topic it was taken in, and between the first and the last record still there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::base::words::number;
use crate::base::{Error, Result};
use crate::mapping::Mapping;
use crate::port::event_log::{Ends, EventLog, Offset, Positions, TopicIds};

/// What makes a log good whose events are gone.
pub const RECOPY: &str = "copy everything anew: crossfade replay --recopy";
/// What makes a projection good whose log is whole.
pub const REBUILD: &str = "fold the log anew: crossfade project --rebuild";

/// The topics rows go to, as the log has them now.
#[derive(Clone, Debug, Default)]
pub struct RowTopics {
    names: BTreeSet<String>,
    pub ids: TopicIds,
    pub ends: BTreeMap<(String, i32), Ends>,
}

/// Why a position no longer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The topic was deleted.
    Gone,
    /// The topic was deleted, and another made under its name.
    OtherTopic,
    /// The topic ends before it: emptied, or an older copy.
    BeyondEnd,
    /// Records from it on were deleted or have expired.
    FirstGone,
    /// Fewer records can be there than were written.
    Fewer { counted: u64, room: u64 },
}

/// Judges one position: `expected` is the id of the topic it was taken in (none in formats from before there were ids, which
/// are believed where the position lies within the ends), `found` the id and the ends the topic has now.
///
/// | found id | position | |
/// | --- | --- | --- |
/// | none | any | gone |
/// | not the expected one | any | other topic |
/// | fits | above the high watermark | beyond the end |
/// | fits | below the low watermark | first gone |
pub fn judge(expected: Option<&str>, found: Option<(&str, Ends)>, at: Offset) -> Option<Lost> {
    match found {
        None => Some(Lost::Gone),
        Some((id, _)) if expected.is_some_and(|expected| expected != id) => Some(Lost::OtherTopic),
        Some((_, ends)) if at > ends.high => Some(Lost::BeyondEnd),
        Some((_, ends)) if at < ends.low => Some(Lost::FirstGone),
        Some(_) => None,
    }
}

/// A position that no longer counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostPlace {
    pub topic: String,
    pub partition: i32,
    pub at: Offset,
    pub ends: Option<Ends>,
    pub lost: Lost,
}

impl LostPlace {
    /// What happened, in a sentence about `who` relied on the position.
    pub fn text(&self, who: &str) -> String {
        let Self { topic, partition, at, .. } = self;
        let (low, high) = self.ends.map_or((0, 0), |ends| (ends.low, ends.high));
        match self.lost {
            Lost::Gone => format!("the topic '{topic}' is gone, and with it the events {who} relies on"),
            Lost::OtherTopic => {
                format!("the topic '{topic}' was deleted and made anew: the events {who} relies on are gone")
            }
            Lost::BeyondEnd => format!(
                "{who} stands at {topic}[{partition}]@{at}, but the topic ends at {high}: it was emptied, or is an older copy"
            ),
            Lost::FirstGone => format!(
                "{who} needs {topic}[{partition}] from {at} on, but its first record now is {low}: what lay before was deleted or has expired"
            ),
            Lost::Fewer { counted, room } => format!(
                "{who} wrote {} events, of which the log can hold {} at most: it was emptied, or is an older copy",
                number(counted),
                number(room)
            ),
        }
    }

    /// The same as a refusal; `way_on` is the command that makes it good.
    pub fn refusal(&self, who: &str, way_on: &str) -> Error {
        Error::refused(self.text(who)).hint(way_on)
    }
}

impl RowTopics {
    /// Looks at the log now. Whoever judges a position that others move on reads it first: it may pass an end seen before.
    pub fn look(log: &dyn EventLog, mapping: &Mapping) -> Result<Self> {
        let names: BTreeSet<String> = mapping.tables.iter().map(|table| table.topic.clone()).collect();
        let ids = log.topic_ids(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
        let mut ends = BTreeMap::new();
        for topic in ids.keys() {
            ends.extend(log.ends(topic)?.into_iter().map(|(partition, ends)| ((topic.clone(), partition), ends)));
        }
        Ok(Self { names, ids, ends })
    }

    /// The first of these that no longer counts, other identities before all else. Topics that rows do not go to any more
    /// are left out.
    pub fn lost(&self, topics: &TopicIds, positions: &Positions) -> Option<LostPlace> {
        let of_rows = |topic: &String| self.names.contains(topic);
        let id = |topic: &str| self.ids.get(topic).map(String::as_str);
        let other = topics.iter().find(|(topic, expected)| of_rows(topic) && id(topic) != Some(expected));
        if let Some((topic, _)) = other {
            let lost = if id(topic).is_some() { Lost::OtherTopic } else { Lost::Gone };
            return Some(LostPlace { topic: topic.clone(), partition: 0, at: 0, ends: None, lost });
        }
        positions.iter().filter(|((topic, _), _)| of_rows(topic)).find_map(|(place, at)| {
            let ends = self.ends.get(place).copied();
            let lost = judge(topics.get(&place.0).map(String::as_str), id(&place.0).zip(ends), *at)?;
            Some(LostPlace { topic: place.0.clone(), partition: place.1, at: *at, ends, lost })
        })
    }

    /// Whether fewer records can lie from `starts` on than were `counted` on writing them.
    pub fn fewer(&self, counted: u64, starts: &Positions) -> Option<LostPlace> {
        let room = |(place, ends): (&(String, i32), &Ends)| {
            u64::try_from(ends.high - starts.get(place).copied().unwrap_or(0).max(ends.low)).unwrap_or(0)
        };
        let room: u64 = self.ends.iter().map(room).sum();
        let topic = self.names.first().filter(|_| room < counted)?.clone();
        Some(LostPlace { topic, partition: 0, at: 0, ends: None, lost: Lost::Fewer { counted, room } })
    }

    /// Positions of all partitions: those of `from`, and the start where it names none.
    pub fn starts(&self, from: &Positions) -> Positions {
        self.ends.keys().map(|place| (place.clone(), from.get(place).copied().unwrap_or(0))).collect()
    }
}

/// Notices, once a second at most, that a topic in use was deleted or made anew, or got other partitions.
pub struct Watch {
    ids: TopicIds,
    partitions: BTreeMap<String, usize>,
    looked: Instant,
}

const EVERY: Duration = Duration::from_secs(1);

impl Watch {
    pub fn new(topics: &RowTopics) -> Self {
        let of = |topic: &String| topics.ends.keys().filter(|(name, _)| name == topic).count();
        let partitions = topics.ids.keys().map(|topic| (topic.clone(), of(topic))).collect();
        Self { ids: topics.ids.clone(), partitions, looked: Instant::now() }
    }

    pub fn ids(&self) -> &TopicIds {
        &self.ids
    }

    pub fn look(&mut self, log: &dyn EventLog, who: &str, way_on: &str) -> Result<()> {
        if self.looked.elapsed() < EVERY {
            return Ok(());
        }
        self.looked = Instant::now();
        if let Some(lost) = self.changed(log)? {
            return Err(lost.refusal(who, way_on));
        }
        for (topic, before) in &self.partitions {
            let now = log.ends(topic)?.len();
            if now != *before {
                return Err(Error::refused(format!(
                    "topic '{topic}' has {now} partitions now, it had {before}: a key's events would lie in two of them"
                ))
                .hint("write to a topic of another name, with the number of partitions wanted, and copy everything anew: crossfade replay --recopy"));
            }
        }
        Ok(())
    }

    /// The reason behind an error, if it is that.
    pub fn explain(&self, log: &dyn EventLog, who: &str, error: Error) -> Error {
        match self.changed(log) {
            Ok(Some(lost)) => lost.refusal(who, RECOPY).because(error),
            _ => error,
        }
    }

    fn changed(&self, log: &dyn EventLog) -> Result<Option<LostPlace>> {
        let names: Vec<&str> = self.ids.keys().map(String::as_str).collect();
        let found = log.topic_ids(&names)?;
        let changed = self.ids.iter().find(|(topic, id)| found.get(*topic) != Some(*id));
        Ok(changed.map(|(topic, _)| {
            let lost = if found.contains_key(topic) { Lost::OtherTopic } else { Lost::Gone };
            LostPlace { topic: topic.clone(), partition: 0, at: 0, ends: None, lost }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i13_positions_are_judged_by_identity_first_and_then_by_the_ends() {
        let ends = Ends { low: 10, committed: 20, high: 22 };
        let cases = [
            (Some("a"), None, 15, Some(Lost::Gone)),
            (None, None, 15, Some(Lost::Gone)),
            (Some("a"), Some("b"), 15, Some(Lost::OtherTopic)),
            (Some("a"), Some("b"), 99, Some(Lost::OtherTopic)),
            (Some("a"), Some("a"), 9, Some(Lost::FirstGone)),
            (Some("a"), Some("a"), 10, None),
            (Some("a"), Some("a"), 22, None),
            (Some("a"), Some("a"), 23, Some(Lost::BeyondEnd)),
            (None, Some("b"), 22, None),
            (None, Some("b"), 23, Some(Lost::BeyondEnd)),
            (None, Some("b"), 9, Some(Lost::FirstGone)),
        ];
        for (expected, found, at, lost) in cases {
            assert_eq!(judge(expected, found.map(|id| (id, ends)), at), lost, "{expected:?} {found:?} {at}");
        }
    }
}
