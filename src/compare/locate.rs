//! The events of differing keys, read from the log in one pass and folded as they go by.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use super::Pair;
use crate::base::{Error, Result};
use crate::event::partition::partition;
use crate::event::{Decoder, Op, Sequence, Whose};
use crate::fold::{LastEvent, Span, Trace, Traced};
use crate::mapping::{KeyText, Mapping, Row, Rows, Table};
use crate::port::event_log::{Batch, EventLog, Positions};

/// The trace of each pair, in order. Reads only the partitions the pairs' keys lie in, up to the read-committed end, or to
/// where the projection stands when the legacy's snapshot has its place among the events.
pub(super) fn traces(
    log: &dyn EventLog,
    (mapping, migration): (&Mapping, &str),
    begin: &Positions,
    (span, stands): (Option<Span>, &Positions),
    pairs: &[Pair<'_>],
) -> Result<Vec<Trace>> {
    let trace = |pair: &Pair<'_>| Trace::new(pair.legacy.map(|row| row.to_rows()), span);
    let mut traces: Vec<Trace> = pairs.iter().map(trace).collect();
    let mut identities: HashMap<(usize, Vec<u8>), usize> = HashMap::new();
    let mut keys: HashSet<Vec<u8>> = HashSet::new();
    let mut places: BTreeSet<(String, i32)> = BTreeSet::new();
    let mut key = KeyText::default();
    let (mut from, mut until) = (Positions::new(), Positions::new());
    let mut ends = HashMap::new();
    for (number, pair) in pairs.iter().enumerate() {
        let topic = &pair.table.topic;
        if !ends.contains_key(topic) {
            ends.insert(topic.clone(), log.ends(topic)?);
        }
        let partitions = ends[topic].len() as i32;
        for row in pair.legacy.into_iter().chain(pair.projected.map(|(row, _)| row)) {
            identities.insert((pair.table.index, identity(pair.table, row)), number);
            if let Some(text) = key.write(pair.table, row) {
                places.insert((topic.clone(), partition(text, partitions)));
                keys.insert(text.to_vec());
            }
        }
        // A projected row names the partition of its last event, which a row whose key was changed behind it would not.
        if let Some((_, last)) = pair.projected {
            places.insert((topic.clone(), last.partition));
        }
    }
    for place in places {
        if let Some(found) = ends[&place.0].get(&place.1).filter(|found| found.committed > found.low) {
            from.insert(place.clone(), begin.get(&place).copied().unwrap_or(0).max(found.low));
            let stands = stands.get(&place).filter(|_| span.is_some());
            until.insert(place, stands.map_or(found.committed, |stands| found.committed.min(*stands)));
        }
    }
    let search = Search { log, mapping, migration, identities: &identities, keys: &keys };
    // Reading the log is most of the work, so two threads share its partitions.
    let (mut one, mut two) = (Positions::new(), Positions::new());
    for (number, (place, at)) in from.into_iter().enumerate() {
        if number % 2 == 0 {
            one.insert(place, at)
        } else {
            two.insert(place, at)
        };
    }
    let mut found = std::thread::scope(|scope| {
        let there = scope.spawn(|| search.read(&two, &until));
        let mut here = search.read(&one, &until)?;
        here.extend(there.join().map_err(|_| Error::failed("a thread reading the log panicked"))??);
        Ok::<_, Error>(here)
    })?;
    found.sort_by_key(|found| (found.event.last.sequence, found.event.last.partition, found.event.last.offset));
    for Found { number, image, event } in found {
        traces[number].apply(image.as_ref().map(|rows| rows.row(0)), event);
    }
    Ok(traces)
}

/// An event of a pair, by the pair's number.
struct Found {
    number: usize,
    image: Option<Rows>,
    event: Traced,
}

struct Search<'a> {
    log: &'a dyn EventLog,
    mapping: &'a Mapping,
    migration: &'a str,
    identities: &'a HashMap<(usize, Vec<u8>), usize>,
    keys: &'a HashSet<Vec<u8>>,
}

impl Search<'_> {
    /// The events of the pairs in these partitions.
    fn read(&self, from: &Positions, until: &Positions) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        if from.is_empty() {
            return Ok(found);
        }
        let mut reader = self.log.open_reader(from)?;
        let (mut batch, mut decoder) = (Batch::only(self.keys.clone()), Decoder::new(self.mapping));
        let mut chunks = decoder.chunks();
        while reader.positions().iter().any(|(place, at)| at < &until[place]) {
            reader.read(&mut batch, 4_000, Duration::from_millis(100))?;
            for record in batch.iter() {
                let Whose::Row(envelope) = record.whose(self.migration)? else { continue };
                let event =
                    decoder.decode(record.value, record.key, &mut chunks).map_err(|error| record.unreadable(error))?;
                let table = &self.mapping.tables[event.table];
                let rows = &mut chunks[event.table];
                let number = self.identities.get(&(event.table, identity(table, rows.row(0))));
                let end = || until.get(&(table.topic.clone(), record.partition)).copied().unwrap_or(0);
                if let Some(number) = number.filter(|_| record.offset < end()) {
                    let last = LastEvent {
                        partition: record.partition,
                        offset: record.offset,
                        id: envelope.id,
                        sequence: Sequence::number(envelope.sequence),
                    };
                    let image = (event.op != Op::Delete).then(|| rows.row(0).to_rows());
                    let event = Traced { last, event_type: envelope.event_type.to_owned() };
                    found.push(Found { number: *number, image, event });
                }
                rows.reset(table.width());
            }
        }
        Ok(found)
    }
}

fn identity(table: &Table, row: Row<'_>) -> Vec<u8> {
    let mut image = Vec::new();
    for cell in &table.identity {
        row.get(*cell).write_image(&mut image);
    }
    image
}
