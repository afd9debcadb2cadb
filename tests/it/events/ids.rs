//! Event ids: golden vectors, and the format computed once more without our code.

use std::collections::BTreeMap;

use crossfade::event::id::{Ids, NAMESPACE, base_change, reconcile_change, text};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value as Json;
use uuid::Uuid;

use super::given::{Cell, chunk, table_and_rows};
use crate::support::store::table;

#[derive(Deserialize)]
struct Vector {
    name: String,
    migration: String,
    source: String,
    table: String,
    /// Numbers with a point are reals.
    identity: Vec<Json>,
    op: String,
    change: Change,
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Change {
    Generation(u32),
    Reconcile { previous: String, image: Option<Vec<Json>> },
    Bytes(String),
}

fn cells(values: &[Json]) -> Vec<Cell> {
    let cell = |value: &Json| match value {
        Json::Null => Cell::Null,
        Json::Number(number) => number.as_i64().map_or_else(|| Cell::real(number.as_f64().unwrap()), Cell::Integer),
        Json::String(text) => Cell::text(text),
        other => panic!("{other} is no value"),
    };
    values.iter().map(cell).collect()
}

/// The bytes of values, as `Value::write_image` is documented to write them.
fn image(cells: &[Cell]) -> Vec<u8> {
    let long = |class: u8, bytes: &[u8]| [&[class], &(bytes.len() as u64).to_be_bytes()[..], bytes].concat();
    let image = |cell: &Cell| match cell {
        Cell::Null => vec![0],
        Cell::Integer(number) => [&[1], &number.to_be_bytes()[..]].concat(),
        Cell::Real(bits) => [&[2], &bits.to_be_bytes()[..]].concat(),
        Cell::Text(bytes) => long(3, bytes),
        Cell::Blob(bytes) => long(4, bytes),
    };
    cells.iter().flat_map(image).collect()
}

/// UUIDv5 of the parts, each as big-endian u32 length and bytes.
fn independent(parts: [&[u8]; 6]) -> Uuid {
    let name: Vec<u8> = parts.iter().flat_map(|part| [&(part.len() as u32).to_be_bytes()[..], part].concat()).collect();
    Uuid::new_v5(&Uuid::from_bytes(NAMESPACE), &name)
}

impl Change {
    fn bytes(&self) -> (Vec<u8>, Vec<u8>) {
        match self {
            Self::Generation(number) => (base_change(*number), format!("generation {number}").into_bytes()),
            Self::Reconcile { previous, image: values } => {
                let cells = values.as_deref().map(cells);
                let rows = cells.as_deref().map(chunk);
                let ours = reconcile_change(
                    previous.parse::<Uuid>().unwrap().into_bytes(),
                    rows.as_ref().map(|rows| rows.row(0)),
                );
                let hash = blake3::hash(&image(cells.as_deref().unwrap_or_default()));
                (ours, [&previous.parse::<Uuid>().unwrap().as_bytes()[..], hash.as_bytes()].concat())
            }
            Self::Bytes(text) => (text.clone().into_bytes(), text.clone().into_bytes()),
        }
    }
}

fn vectors() -> BTreeMap<String, Vector> {
    let vectors: Vec<Vector> = serde_json::from_str(include_str!("../../../fixtures/events/ids.json")).unwrap();
    vectors.into_iter().map(|vector| (vector.name.clone(), vector)).collect()
}

#[test]
fn ids_are_those_of_the_golden_vectors() {
    assert_eq!(Uuid::from_bytes(NAMESPACE).to_string(), "63726f73-7366-6164-6520-6576656e7400");
    let vectors = vectors();
    assert_eq!(vectors.len(), 18);
    for (name, vector) in &vectors {
        let identity = cells(&vector.identity);
        let columns: Vec<String> = (0..identity.len()).map(|column| format!("c{column}")).collect();
        let columns: Vec<(&str, &str)> = columns.iter().map(|column| (column.as_str(), "")).collect();
        let table = table(&vector.table, &columns, &(0..identity.len()).collect::<Vec<_>>());
        let (ours, change) = vector.change.bytes();
        assert_eq!(ours, change, "{name}");
        let mut ids = Ids::new(&vector.migration, &vector.source, &vector.table);
        let id = ids.id(&table, chunk(&identity).row(0), &vector.op, &change);
        let parts = [vector.migration.as_bytes(), vector.source.as_bytes(), vector.table.as_bytes()];
        let again = independent([parts[0], parts[1], parts[2], &image(&identity), vector.op.as_bytes(), &change]);
        assert_eq!(again.to_string(), text(id), "{name}");
        assert_eq!(vector.id, again.to_string(), "{name}");
    }
}

#[test]
fn different_changes_have_different_ids() {
    let vectors = vectors();
    let mut ids: Vec<&str> = vectors.values().map(|vector| vector.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    // "the same copy, resumed" is the one that repeats another's id.
    assert_eq!(ids.len(), vectors.len() - 1);
    let id = |name: &str| vectors[name].id.clone();
    assert_eq!(id("integer 1"), id("the same copy, resumed"));
    assert_ne!(id("integer 1"), id("the re-copy"));
    let previous = |name: &str| match &vectors[name].change {
        Change::Reconcile { previous, .. } => previous.clone(),
        _ => panic!("'{name}' is no reconcile"),
    };
    assert_eq!(previous("A becomes B"), id("A is copied"));
    assert_eq!(previous("B becomes A again"), id("A becomes B"));
    assert_eq!(previous("A becomes B once more"), id("B becomes A again"));
}

proptest! {
    #[test]
    fn the_format_is_the_documented_one((table, row, _) in table_and_rows(), change: Vec<u8>, migration: String) {
        let rows = chunk(&row);
        let id = Ids::new(&migration, "acc/sqlite", &table.name).id(&table, rows.row(0), "update", &change);
        let identity: Vec<Cell> = table.identity.iter().map(|cell| row[*cell].clone()).collect();
        let (migration, name) = (migration.as_bytes(), table.name.as_bytes());
        let expected = independent([migration, b"acc/sqlite", name, &image(&identity), b"update", &change]);
        prop_assert_eq!(id, expected.into_bytes());
        let previous = [7; 16];
        let expected = [&previous[..], blake3::hash(&image(&row)).as_bytes()].concat();
        prop_assert_eq!(reconcile_change(previous, Some(rows.row(0))), expected);
    }
}
