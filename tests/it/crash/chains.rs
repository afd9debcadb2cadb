//! The log alone, as JSON: each row's events lead from one of its states to the next, in the order of the program.

use std::collections::{BTreeMap, HashMap, HashSet};

use crossfade::mapping::Mapping;
use serde_json::Value;

use crate::support::flow::{Seen, assert_orderly};

/// Table and identity of a row.
type Key = (String, String);

/// Fails unless no event is missing, doubled or out of order: sequences without a gap, each id once, each row made before
/// it is changed and gone when it is deleted, each image the one its successor names as that before it, and the program's
/// inserts in the order in which each of its writers made them. Reconciled is what lay between the snapshots of a replay
/// that was resumed, and nothing once follow has begun. Gives the number of rows that are left.
#[track_caller]
pub fn assert_chained(told: &[Seen], mapping: &Mapping) -> usize {
    assert_orderly(told);
    let mut standing: BTreeMap<Key, &Value> = BTreeMap::new();
    let (mut known, mut last) = (HashSet::new(), HashMap::new());
    let mut followed = false;
    for (before, event) in told.iter().enumerate() {
        assert_eq!(event.sequence.count, before as u64 + 1, "an event before {} is missing", event.sequence);
        let capture = event.source.rsplit_once('#').unwrap().1;
        followed |= capture == "follow";
        assert!(!followed || capture == "follow", "{} by {capture}, though there was a follow", event.sequence);
        let (table, row) = (event.value["table"].as_str().unwrap(), &event.value["row"]);
        let table = mapping.table(table).unwrap();
        let fields: Vec<&str> = table.fields().collect();
        let identity: Vec<&Value> = table.identity.iter().map(|cell| &row[fields[*cell]]).collect();
        let key = (table.name.clone(), format!("{identity:?}"));
        let stood = match event.op() {
            "delete" => standing.remove(&key),
            _ => standing.insert(key.clone(), row),
        };
        let fits = match event.op() {
            "base" | "insert" => stood.is_none(),
            "update" => stood == Some(&event.value["before"]),
            _ => stood.is_some(),
        };
        assert!(
            fits,
            "{key:?}: {} of {} by {capture}\n{}\nbefore it {stood:?}",
            event.op(),
            event.sequence,
            event.value
        );
        if let Some((writer, number)) = serial(row).filter(|_| table.name == "messages" && event.op() != "delete")
            && known.insert(key)
            && followed
        {
            let before = last.insert(writer, number);
            assert!(before < Some(number), "{writer}: {number} after {before:?}");
        }
    }
    standing.len()
}

/// Which writer of the program made this row of messages, as its how manieth.
fn serial(row: &Value) -> Option<(&str, u64)> {
    let texts = ["id", "content"].map(|column| row[column].as_str().unwrap_or_default());
    let made = texts.into_iter().find(|text| text.starts_with("live-"))?;
    let (writer, number) = made.split(' ').next()?.rsplit_once('-')?;
    Some((writer, number.parse().ok()?))
}
