//! Rows come back from events, and from snapshots, as they went in.

use crossfade::event::{Decoder, Op};
use crossfade::fold::LastEvent;
use crossfade::fold::snapshot::{read_row, write_row};
use proptest::prelude::*;
use serde_json::value::RawValue;

use super::given::{Cell, chunk, decoded, event, mapping, table_and_rows};

/// The same event as another writer might put it: members and columns in reverse, and blanks.
fn reordered(value: &[u8]) -> Vec<u8> {
    type Members = indexmap::IndexMap<String, Box<RawValue>>;
    let members: Members = serde_json::from_slice(value).unwrap();
    let name = |name: &String| serde_json::to_string(name).unwrap();
    let reverse = |members: &Members, inner: &dyn Fn(&str, &str) -> String| {
        let members: Vec<_> = members
            .iter()
            .rev()
            .map(|(key, value)| format!("\t{} : {}\n", name(key), inner(key, value.get())))
            .collect();
        format!(" {{{}}} ", members.join(","))
    };
    let text = reverse(&members, &|key, value| match key {
        "row" => reverse(&serde_json::from_str(value).unwrap(), &|_, value| value.to_owned()),
        _ => value.to_owned(),
    });
    text.into_bytes()
}

proptest! {
    #[test]
    fn rows_come_back_bit_for_bit((table, row, before) in table_and_rows()) {
        let mapping = mapping(table.clone());
        for (op, before) in [(Op::Base, None), (Op::Insert, None), (Op::Update, None), (Op::Update, Some(&before[..]))] {
            let event = event(&table, op, &row, before);
            prop_assert_eq!(decoded(&mapping, &event.value, &event.key).unwrap(), (op, row.clone()));
            prop_assert_eq!(decoded(&mapping, &reordered(&event.value), &event.key).unwrap(), (op, row.clone()));
        }
    }

    #[test]
    fn a_delete_has_its_identity((table, row, before) in table_and_rows()) {
        let mapping = mapping(table.clone());
        let keeps = |cell: usize| table.identity.contains(&cell) || table.key_cell() == Some(cell);
        let identity: Vec<Cell> =
            row.iter().enumerate().map(|(cell, value)| if keeps(cell) { value.clone() } else { Cell::Null }).collect();
        for before in [None, Some(&before[..])] {
            let event = event(&table, Op::Delete, &row, before);
            prop_assert_eq!(decoded(&mapping, &event.value, &event.key).unwrap(), (Op::Delete, identity.clone()));
        }
    }

    #[test]
    fn snapshot_lines_come_back(
        (table, row, _) in table_and_rows(),
        partition in any::<i32>(),
        offset in any::<i64>(),
        id in any::<[u8; 16]>(),
        sequence in any::<i64>(),
    ) {
        let last = LastEvent { partition, offset, id, sequence };
        let mapping = mapping(table.clone());
        let mut line = Vec::new();
        write_row(&table, chunk(&row).row(0), &last, &mut line);
        prop_assert!(!line.contains(&b'\n'));
        let mut decoder = Decoder::new(&mapping);
        let mut chunks = decoder.chunks();
        let read = read_row(&mapping.tables, &mut decoder, &line, &mut chunks).unwrap();
        prop_assert_eq!(read, (0, last));
        prop_assert_eq!(chunks[0].row(0).values().map(Cell::of).collect::<Vec<_>>(), row);
    }
}

#[test]
fn a_text_that_looks_like_a_tagged_form_stays_a_text() {
    let table = crate::support::store::table("t", &[("id", "TEXT"), ("$blob", "")], &[0]);
    let row = [Cell::text("{\"$text\":\"AA==\"}"), Cell::text("{\"$blob\":\"AA==\"}")];
    let event = super::given::base(&table, &row);
    assert_eq!(decoded(&mapping(table), &event.value, &event.key).unwrap().1, row);
}
