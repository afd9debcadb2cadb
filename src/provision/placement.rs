//! Whether keyed records lie where murmur2 puts them, and which client's rule put those that do not.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_128;

use crate::base::{Error, Result};
use crate::event::partition::partition;
use crate::event::partitioners::{Partitioner, Tally};
use crate::mapping::PROBE;
use crate::port::event_log::{Batch, Ends, EventLog, Fetched, LogReader, Offset, Positions};
use crate::port::progress::Progress;

/// How much is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Positions from each end of a partition.
    pub positions: u32,
    pub samples: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { positions: 2_000, samples: 5 }
    }
}

/// What was found in one topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    pub topic: String,
    pub partitions: i32,
    /// Positions between the topic's ends, and how many of them were looked through. Some hold no record.
    pub positions: u64,
    pub looked_through: u64,
    /// Committed records looked at, without probes.
    pub records: u64,
    /// How many of them each `ce_source` wrote.
    pub sources: BTreeMap<Option<String>, u64>,
    /// Records without a key or with an empty one, which are not told apart: they may lie anywhere.
    pub without_key: u64,
    /// Different keys. One that lies in two partitions is one key.
    pub keys: u64,
    /// Keys by the wrong partitions they were found in, and the records there.
    pub misplaced: u64,
    pub misplaced_records: u64,
    /// What explains nearly all that is misplaced.
    pub lie_as: Option<Partitioner>,
    /// Who wrote what is misplaced, most keys first.
    pub producers: Vec<Producer>,
    /// The first of each producer in turn.
    pub samples: Vec<Sample>,
}

/// The misplaced keys of one source.
#[derive(Clone, Debug, PartialEq)]
pub struct Producer {
    /// The records' `ce_source`.
    pub source: Option<String>,
    pub misplaced: u64,
    pub records: u64,
    pub lie_as: Option<Partitioner>,
}

/// A misplaced record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    pub key: Vec<u8>,
    pub partition: i32,
    pub expected: i32,
    pub offset: Offset,
    pub source: Option<String>,
}

impl Sample {
    /// The key for people: as text, without control characters, and cut when it is long.
    pub fn key_text(&self) -> String {
        const MOST: usize = 60;
        let text = String::from_utf8_lossy(&self.key);
        let shown: String = text.chars().take(MOST).flat_map(char::escape_debug).take(MOST).collect();
        if text.chars().nth(MOST).is_some() { format!("{shown}…") } else { shown }
    }
}

/// Sources told apart; those of further producers are taken together with what has no source.
const PRODUCERS: usize = 64;
const READ_RECORDS: usize = 2_000;
const WAIT: Duration = Duration::from_millis(100);
/// How long a partition may keep back what its ends promise.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks at the oldest and the newest committed records of every partition of `topics`, whose records must be placed by
/// key: those of the tool's own topics are not.
pub fn placements(
    log: &dyn EventLog,
    topics: &[&str],
    limits: Limits,
    progress: &dyn Progress,
) -> Result<Vec<Placement>> {
    let mut looks = BTreeMap::new();
    let (mut oldest, mut newest) = (Windows::default(), Windows::default());
    for topic in topics {
        let ends = log.ends(topic)?;
        for (number, ends) in &ends {
            let place = ((*topic).to_owned(), *number);
            let limit = Offset::from(limits.positions);
            let split = ends.committed.min(ends.low.saturating_add(limit));
            oldest.add(&place, ends.low, split);
            newest.add(&place, split.max(ends.committed - limit), ends.committed);
        }
        looks.insert((*topic).to_owned(), Look::new(topic, &ends, limits));
    }
    progress.begin("placement", Some(oldest.positions() + newest.positions()));
    for windows in [oldest, newest] {
        windows.read(log, limits, progress, &mut |record| {
            if let Some(look) = looks.get_mut(record.topic) {
                look.add(&record);
            }
        })?;
    }
    progress.end();
    Ok(topics.iter().filter_map(|topic| looks.remove(*topic)).map(Look::finish).collect())
}

/// Parts of partitions to be read: their first position and the one behind them.
#[derive(Default)]
struct Windows {
    from: Positions,
    until: Positions,
}

impl Windows {
    fn add(&mut self, place: &(String, i32), from: Offset, until: Offset) {
        if from < until {
            self.from.insert(place.clone(), from);
            self.until.insert(place.clone(), until);
        }
    }

    fn positions(&self) -> u64 {
        self.until.iter().map(|(place, until)| (until - self.from[place]).unsigned_abs()).sum()
    }

    fn read(
        mut self,
        log: &dyn EventLog,
        limits: Limits,
        progress: &dyn Progress,
        each: &mut dyn FnMut(Fetched<'_>),
    ) -> Result<()> {
        while !self.from.is_empty() {
            let mut reader = log.open_reader(&self.from)?;
            self.read_some(reader.as_mut(), limits, progress, each)?;
            self.from.clone_from(reader.positions());
            self.from.retain(|place, at| *at < self.until[place]);
        }
        Ok(())
    }

    /// Reads to the end of all windows, or until so much came from behind the finished ones that a new reader is cheaper.
    fn read_some(
        &self,
        reader: &mut dyn LogReader,
        limits: Limits,
        progress: &dyn Progress,
        each: &mut dyn FnMut(Fetched<'_>),
    ) -> Result<()> {
        let mut batch = Batch::default();
        let (mut behind, mut moved, mut stood) = (0, Instant::now(), self.from.clone());
        while let Some(place) =
            self.until.keys().find(|place| stood.get(place).is_some_and(|at| *at < self.until[*place]))
        {
            reader.read(&mut batch, READ_RECORDS, WAIT)?;
            for record in batch.iter() {
                if record.offset < self.until[&(record.topic.to_owned(), record.partition)] {
                    each(record);
                } else {
                    behind += 1;
                }
            }
            progress.advance(batch.len() as u64);
            progress.check()?;
            if *reader.positions() != stood {
                (moved, stood) = (Instant::now(), reader.positions().clone());
            } else if moved.elapsed() >= PATIENCE {
                let (topic, partition) = place;
                return Err(Error::connect(format!(
                    "{topic}[{partition}] gives no records at offset {}, though it ends at {}",
                    stood[place], self.until[place]
                )));
            }
            if behind > u64::from(limits.positions) * self.until.len() as u64 {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// What has been seen of one topic.
struct Look {
    found: Placement,
    limit: usize,
    keys: HashSet<u128>,
    misplaced: HashSet<(u128, i32)>,
    all: Tally,
    producers: HashMap<Option<String>, Group>,
}

struct Group {
    tally: Tally,
    misplaced: HashSet<(u128, i32)>,
    records: u64,
    samples: Vec<Sample>,
}

impl Look {
    fn new(topic: &str, ends: &BTreeMap<i32, Ends>, limits: Limits) -> Self {
        let partitions = ends.len() as i32;
        let lengths = || ends.values().map(|ends| (ends.committed - ends.low).max(0).unsigned_abs());
        let found = Placement {
            topic: topic.to_owned(),
            partitions,
            positions: lengths().sum(),
            looked_through: lengths().map(|length| length.min(2 * u64::from(limits.positions))).sum(),
            records: 0,
            sources: BTreeMap::new(),
            without_key: 0,
            keys: 0,
            misplaced: 0,
            misplaced_records: 0,
            lie_as: None,
            producers: Vec::new(),
            samples: Vec::new(),
        };
        Self {
            found,
            limit: limits.samples,
            keys: HashSet::new(),
            misplaced: HashSet::new(),
            all: Tally::new(partitions),
            producers: HashMap::new(),
        }
    }

    fn add(&mut self, record: &Fetched<'_>) {
        if record.header("ce_type") == Some(PROBE.as_bytes()) {
            return;
        }
        self.found.records += 1;
        let source = record.header("ce_source").map(|source| String::from_utf8_lossy(source).into_owned());
        let told_apart = self.found.sources.len() < PRODUCERS || self.found.sources.contains_key(&source);
        *self.found.sources.entry(source.clone().filter(|_| told_apart)).or_default() += 1;
        if record.key.is_empty() {
            self.found.without_key += 1;
            return;
        }
        let hash = xxh3_128(record.key);
        self.keys.insert(hash);
        let expected = partition(record.key, self.found.partitions);
        if record.partition == expected {
            return;
        }
        self.found.misplaced_records += 1;
        let known = self.producers.len() < PRODUCERS || self.producers.contains_key(&source);
        let source = source.filter(|_| known);
        let group = self.producers.entry(source.clone()).or_insert_with(|| Group {
            tally: Tally::new(self.found.partitions),
            misplaced: HashSet::new(),
            records: 0,
            samples: Vec::new(),
        });
        group.records += 1;
        if self.misplaced.insert((hash, record.partition)) {
            self.all.add(record.key, record.partition);
        }
        if !group.misplaced.insert((hash, record.partition)) {
            return;
        }
        group.tally.add(record.key, record.partition);
        if group.samples.len() < self.limit {
            let (key, partition, offset) = (record.key.to_vec(), record.partition, record.offset);
            group.samples.push(Sample { key, partition, expected, offset, source });
        }
    }

    fn finish(self) -> Placement {
        let mut groups: Vec<(Option<String>, Group)> = self.producers.into_iter().collect();
        groups.sort_by(|(one, a), (two, b)| b.tally.keys().cmp(&a.tally.keys()).then_with(|| one.cmp(two)));
        let turns =
            (0..self.limit).flat_map(|turn| groups.iter().filter_map(move |(_, group)| group.samples.get(turn)));
        let samples = turns.take(self.limit).cloned().collect();
        let producers = groups.into_iter().map(|(source, group)| Producer {
            source,
            misplaced: group.tally.keys(),
            records: group.records,
            lie_as: group.tally.rule(),
        });
        Placement {
            keys: self.keys.len() as u64,
            misplaced: self.all.keys(),
            lie_as: self.all.rule(),
            producers: producers.collect(),
            samples,
            ..self.found
        }
    }
}
