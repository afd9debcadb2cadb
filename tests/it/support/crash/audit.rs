//! The whole log, read with the library and held against what must be in it.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use crossfade::event::id::{Ids, base_change, no_previous, reconcile_change};
use crossfade::event::{Decoder, Envelope, Op, Sequence, id};
use crossfade::mapping::{Mapping, Rows};
use crossfade::port::event_log::{Batch, EventLog, Positions};
use rusqlite::Connection;

use super::Trial;
use crate::support::flow::speaks_for_a_row;

struct Event {
    sequence: Sequence,
    table: usize,
    row: usize,
    op: Op,
    /// Told by follow, whose changes are named by the outbox.
    followed: bool,
    id: [u8; 16],
    /// The record's.
    key: Vec<u8>,
}

/// Everything committed, in the order of capture, with the rows by table.
struct Captured {
    events: Vec<Event>,
    rows: Vec<Rows>,
}

/// Fails unless every committed event has an id of its own and the one it must have, the sequence has no gap, offsets
/// rise, and each projected row carries the last event of its row. Gives the number of events.
#[track_caller]
pub fn audit(trial: &Trial) -> usize {
    let mapping = trial.mapping();
    let captured = read(trial.log().as_ref(), &mapping);
    let mut seen = HashMap::new();
    let mut last: BTreeMap<u32, u64> = BTreeMap::new();
    for event in &captured.events {
        let Sequence { generation, count } = event.sequence;
        let before = last.insert(generation, count).unwrap_or(0);
        assert_eq!(count, before + 1, "events of generation {generation} are missing or doubled");
        if let Some(other) = seen.insert(event.id, event.sequence) {
            panic!("the id {} is committed twice: at {other} and {}", id::text(event.id), event.sequence);
        }
    }
    let standing = fold(&captured, &mapping, &trial.migration.name);
    assert_eq!(projected(trial, &mapping), standing, "the projection's rows carry other events than the fold's");
    captured.events.len()
}

fn read(log: &dyn EventLog, mapping: &Mapping) -> Captured {
    let mut topics: Vec<&str> = mapping.tables.iter().map(|table| table.topic.as_str()).collect();
    topics.dedup();
    let ends: Positions = topics
        .iter()
        .flat_map(|topic| {
            log.ends(topic).unwrap().into_iter().map(|(at, end)| ((topic.to_string(), at), end.committed))
        })
        .collect();
    let mut reader = log.open_reader(&ends.keys().map(|place| (place.clone(), 0)).collect()).unwrap();
    let mut decoder = Decoder::new(mapping);
    let mut captured = Captured { events: Vec::new(), rows: decoder.chunks() };
    let (mut batch, mut offsets) = (Batch::default(), HashMap::new());
    let deadline = Instant::now() + Duration::from_secs(60);
    while ends.iter().any(|(place, end)| reader.positions()[place] < *end) {
        assert!(Instant::now() < deadline, "the log cannot be read to {ends:?}: {:?}", reader.positions());
        reader.read(&mut batch, 10_000, Duration::from_millis(200)).unwrap();
        for record in batch.iter() {
            let before = offsets.insert((record.topic.to_owned(), record.partition), record.offset);
            assert!(before < Some(record.offset), "offsets fall in {}[{}]", record.topic, record.partition);
            let envelope = Envelope::read(record.headers()).unwrap().expect("an event");
            if !speaks_for_a_row(&envelope) {
                continue;
            }
            let event = decoder.decode(record.value, record.key, &mut captured.rows).unwrap();
            captured.events.push(Event {
                sequence: envelope.sequence,
                table: event.table,
                row: captured.rows[event.table].len() - 1,
                op: event.op,
                followed: envelope.source.ends_with("#follow"),
                id: envelope.id,
                key: record.key.to_vec(),
            });
        }
    }
    captured.events.sort_by_key(|event| event.sequence);
    captured
}

type Standing = BTreeMap<(usize, Vec<u8>), [u8; 16]>;

/// The last event of every row that is left, on the way holding each id against the one computed from the change.
fn fold(captured: &Captured, mapping: &Mapping, migration: &str) -> Standing {
    let store = format!("{migration}/sqlite");
    let mut ids: Vec<Ids> = mapping.tables.iter().map(|table| Ids::new(migration, &store, &table.name)).collect();
    let mut standing = Standing::new();
    let mut moved = None;
    for event in &captured.events {
        let table = &mapping.tables[event.table];
        let row = captured.rows[event.table].row(event.row);
        let [cell] = table.identity[..] else { panic!("the tables of ACC have one identity column") };
        let mut image = Vec::new();
        row.get(cell).write_image(&mut image);
        let key = (event.table, image);
        let before = standing.get(&key).copied();
        let previous = match (before, &moved) {
            // The second half of a changed record key follows the row's event before the first half.
            (None, Some((deleted, under, previous)))
                if event.op == Op::Insert && *deleted == key && *under != &event.key =>
            {
                *previous
            }
            _ => before.unwrap_or(no_previous(event.sequence)),
        };
        let change = match event.op {
            Op::Base => base_change(event.sequence.generation),
            op => reconcile_change(previous, (op != Op::Delete).then_some(row)),
        };
        let expected = ids[event.table].id(table, row, event.op.word(), &change);
        if !event.followed {
            assert_eq!(id::text(event.id), id::text(expected), "{:?} of {}", event.op, event.sequence);
        }
        moved = None;
        if event.op == Op::Delete {
            let deleted = standing.remove(&key).expect("a deleted row stood before");
            moved = Some((key, &event.key, deleted));
        } else {
            standing.insert(key, event.id);
        }
    }
    standing
}

fn projected(trial: &Trial, mapping: &Mapping) -> Standing {
    let store = Connection::open(trial.migration.projection()).unwrap();
    let mut standing = Standing::new();
    for table in &mapping.tables {
        let identity = &table.columns[table.identity[0]].name;
        let sql = format!("SELECT CAST({identity} AS BLOB), _cf_event FROM {}", table.name);
        let mut rows = store.prepare(&sql).unwrap();
        let mut rows = rows.query([]).unwrap();
        while let Some(row) = rows.next().unwrap() {
            let (text, event): (Vec<u8>, [u8; 16]) = (row.get(0).unwrap(), row.get(1).unwrap());
            let mut image = Vec::new();
            crossfade::mapping::Value::Text(&text).write_image(&mut image);
            standing.insert((table.index, image), event);
        }
    }
    standing
}
