//! Arbitrary tables and rows, and events made of them.

use crossfade::event::codec::Exact;
use crossfade::event::encode::{Encoder, RowChange};
use crossfade::event::id::base_change;
use crossfade::event::{Decoder, Op, Stamp};
use crossfade::mapping::{Mapping, Row, Table};
use proptest::prelude::*;
use proptest::sample::{Index, select};

pub(super) use crate::support::store::{Cell, chunk};
use crate::support::store::{table, through_parent};

/// An event with all it consists of, owned.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
    pub(super) headers: Vec<(String, String)>,
}

impl Event {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.value).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.as_str())
    }
}

/// The event of one change, of generation 1.
pub(super) fn event(table: &Table, op: Op, row: &[Cell], before: Option<&[Cell]>) -> Event {
    let (row, before) = (chunk(row), before.map(chunk));
    let stamp = Stamp { source: "acc/sqlite#replay".into(), generation: 1 };
    let mut encoder = Encoder::new(table, &Exact, "acc", "acc/sqlite", stamp);
    let before: Option<Row<'_>> = before.as_ref().map(|rows| rows.row(0));
    let change = RowChange { op, row: row.row(0), before, change: &base_change(1), count: 7 };
    let event = encoder.encode(change, &[]).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Event {
        key: event.key.to_vec(),
        value: event.value.to_vec(),
        headers: event.headers().iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect(),
    }
}

pub(super) fn base(table: &Table, row: &[Cell]) -> Event {
    event(table, Op::Base, row, None)
}

/// The row read back.
pub(super) fn decoded(mapping: &Mapping, value: &[u8], key: &[u8]) -> crossfade::base::Result<(Op, Vec<Cell>)> {
    let mut decoder = Decoder::new(mapping);
    let mut chunks = decoder.chunks();
    let read = decoder.decode(value, key, &mut chunks);
    let rows: usize = chunks.iter().map(crossfade::mapping::Rows::len).sum();
    assert_eq!(rows, usize::from(read.is_ok()), "an error leaves nothing behind");
    read.map(|event| (event.op, chunks[event.table].row(0).values().map(Cell::of).collect()))
}

pub(super) fn mapping(table: Table) -> Mapping {
    Mapping {
        types: crossfade::mapping::Types::Sqlite,
        topics: Vec::new(),
        tables: vec![table],
        never: Vec::new(),
        uses: std::collections::BTreeMap::new(),
        hash: String::new(),
    }
}

/// Values of every storage class, the odd ones often.
pub(super) fn cell() -> impl Strategy<Value = Cell> {
    prop_oneof![1 => Just(Cell::Null), 5 => key_cell(), 1 => bytes().prop_map(Cell::Blob)]
}

/// Values an identity may have.
pub(super) fn key_cell() -> impl Strategy<Value = Cell> {
    let integers = [0, -1, i64::MAX, i64::MIN, (1 << 53) + 1, -(1 << 53) - 1];
    let reals = [
        0.0,
        -0.0,
        1.0,
        0.1,
        1e-320,
        5e-324,
        1e300,
        9e18,
        -9_223_372_036_854_775_808.0,
        18_446_744_073_709_551_616.0,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];
    prop_oneof![
        any::<i64>().prop_map(Cell::Integer),
        select(integers.to_vec()).prop_map(Cell::Integer),
        any::<f64>().prop_filter("SQLite has no NaN", |number| !number.is_nan()).prop_map(Cell::real),
        select(reals.to_vec()).prop_map(Cell::real),
        text().prop_map(Cell::Text),
    ]
}

/// Texts: any, odd ones, and bytes that are no UTF-8.
pub(super) fn text() -> impl Strategy<Value = Vec<u8>> {
    let odd = [
        "",
        "null",
        "1",
        "1.0",
        "a\0b",
        "{\"$blob\":\"AA==\"}",
        "{\"$real\":\"Infinity\"}",
        "$blob",
        "\u{1}\u{1f}\u{7f}\u{80}\u{2028}\u{feff}",
        "\"\\/\u{8}\u{c}\n\r\t",
        "2026-11-23 10:44:59",
        "0123456789abcde\"0123456789abcdef0123456789abcdef\\",
    ];
    prop_oneof![
        any::<String>().prop_map(String::into_bytes),
        "(?s).{0,60}".prop_map(String::into_bytes),
        select(odd.to_vec()).prop_map(|text| text.as_bytes().to_vec()),
        bytes(),
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..40)
}

/// Names SQLite would take: nearly any.
pub(super) fn name() -> impl Strategy<Value = String> {
    let odd = [
        "$blob",
        "$text",
        "$real",
        "$ref",
        "$id",
        "$defs",
        "$schema",
        "row",
        "v",
        "",
        " ",
        "a\"b",
        "back\\slash",
        "\u{1}",
        "zwölf",
        "名前",
        "\u{1f980}",
        "%",
        "a.b/c#d",
        "'",
        "__proto__",
    ];
    prop_oneof![any::<String>(), select(odd.to_vec()).prop_map(str::to_owned), "[a-z]{1,8}"]
}

/// A table with a row of it, and another of the same identity.
pub(super) fn table_and_rows() -> impl Strategy<Value = (Table, Vec<Cell>, Vec<Cell>)> {
    let names = proptest::collection::hash_set(name(), 1..7)
        .prop_map(|names| names.into_iter().filter(|name| name != "rowid").collect::<Vec<_>>())
        .prop_filter("all were taken", |names| !names.is_empty());
    let shape = (name(), names, proptest::collection::vec(any::<Index>(), 0..3), any::<bool>());
    shape.prop_flat_map(|(name, names, identity, through)| {
        let mut identity: Vec<usize> = identity.iter().map(|index| index.index(names.len())).collect();
        identity.sort_unstable();
        identity.dedup();
        let columns: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "ANY")).collect();
        let plain = table(&name, &columns, &identity);
        let table = if through { through_parent(plain) } else { plain };
        let keys = |cell: usize| table.identity.contains(&cell);
        let fields = 0..table.field_count();
        let row: Vec<_> =
            fields.clone().map(|cell| if keys(cell) { key_cell().boxed() } else { self::cell().boxed() }).collect();
        let other: Vec<_> = fields.map(|_| cell()).collect();
        (Just(table), row, other, text()).prop_map(|(table, mut row, mut other, key)| {
            for cell in &table.identity {
                other[*cell] = row[*cell].clone();
            }
            if table.key_cell().is_some() {
                row.push(Cell::Text(key.clone()));
                other.push(Cell::Text(key));
            }
            (table, row, other)
        })
    })
}
