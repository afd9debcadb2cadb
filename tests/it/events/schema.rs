//! The JSON Schemas: golden texts, every event is valid, and they agree with the rules compiled from the mapping.

use crossfade::event::Op;
use crossfade::event::schema::schema;
use crossfade::mapping::{Mapping, Rule, Table};
use jsonschema::Validator;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value as Json, json};

use super::given::{Cell, base, chunk, event, table_and_rows};
use super::golden::expect;
use crate::support::store::table;

fn validator(table: &Table) -> Validator {
    jsonschema::draft202012::new(&schema("acc", table)).unwrap()
}

fn json(bytes: &[u8]) -> Json {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn the_presets_schemas_are_as_published() {
    let tables = crossfade::acc::mapping().unwrap().tables;
    assert_eq!(tables.len(), 6);
    let schemas: serde_json::Map<String, Json> =
        tables.iter().map(|table| (table.name.clone(), schema("acc", table))).collect();
    expect("fixtures/events/schemas.json", &schemas.into());
}

#[test]
fn rules_become_keywords() {
    let text = "
version: 1
topics: {rows: {partitions: 1}}
tables:
  \"odd name\":
    topic: rows
    rowid: rowid
    columns: {state: TEXT, cost: REAL, ratio: REAL, note: TEXT}
    rules:
      state: {not_null: true, one_of: [open, closed]}
      cost: {min: 0}
      ratio: {min: -0.5, max: 1}
      note: {max_length: 40}
";
    let mapping = Mapping::parse("mapping.yaml", text).unwrap();
    let schema = schema("my-move", &mapping.tables[0]);
    assert!(jsonschema::draft202012::meta::is_valid(&schema));
    expect("fixtures/events/schema-with-rules.json", &schema);
}

#[test]
fn wrong_events_are_not_valid() {
    let table = table("t", &[("id", ""), ("a", "")], &[0]);
    let validator = validator(&table);
    let right = json(br#"{"v":1,"table":"t","op":"base","row":{"id":1,"a":null}}"#);
    assert!(validator.is_valid(&right));
    let with = |path: &str, member: &str, value: Json| {
        let mut event = right.clone();
        event.pointer_mut(path).unwrap()[member] = value;
        event
    };
    let without = |path: &str, member: &str| {
        let mut event = right.clone();
        event.pointer_mut(path).unwrap().as_object_mut().unwrap().remove(member);
        event
    };
    let wrong = [
        with("", "extra", json!(1)),
        with("/row", "extra", json!(1)),
        with("", "before", json!({"id": 1, "a": 2})),
        without("/row", "a"),
        without("/row", "id"),
        without("", "v"),
        without("", "row"),
        with("", "op", json!("copy")),
        with("", "op", Json::Null),
        with("", "op", json!("delete")),
        with("", "v", json!(2)),
        with("", "table", json!("other")),
        with("", "row", Json::Null),
        with("/row", "id", Json::Null),
        with("/row", "id", json!({"$blob": ""})),
        with("/row", "a", json!(true)),
        with("/row", "a", json!([])),
        with("/row", "a", json!({})),
        with("/row", "a", json!({"$blob": "?"})),
        with("/row", "a", json!({"$blob": "AA=="  , "$text": "AA=="})),
        with("/row", "a", json!({"$real": "1.0"})),
        Json::Null,
    ];
    for event in wrong {
        assert!(!validator.is_valid(&event), "{event}");
    }
}

proptest! {
    #[test]
    fn every_event_is_valid((table, row, before) in table_and_rows()) {
        let validator = validator(&table);
        let changes = [
            (Op::Base, None),
            (Op::Insert, None),
            (Op::Update, None),
            (Op::Update, Some(&before[..])),
            (Op::Delete, None),
            (Op::Delete, Some(&before[..])),
        ];
        for (op, before) in changes {
            let event = event(&table, op, &row, before);
            if let Err(error) = validator.validate(&json(&event.value)) {
                panic!("{error}\n{}", event.text());
            }
        }
        let mut extra = json(&base(&table, &row).value);
        extra["row"]["not a column of it"] = Json::Null;
        prop_assert!(!validator.is_valid(&extra));
    }

    #[test]
    fn rules_and_schema_agree((table, row) in table_with_rules()) {
        let broken = table.broken(chunk(&row).row(0));
        let event = base(&table, &row);
        prop_assert_eq!(broken.is_none(), validator(&table).is_valid(&json(&event.value)), "{:?}: {}", broken, event.text());
    }
}

const WORDS: [&str; 6] = ["", "a", "open", "zwölf", "\u{1f980}\u{1f980}", "e\u{301}"];

fn limit() -> impl Strategy<Value = f64> {
    let limits = [
        0.0,
        -0.0,
        1.0,
        0.5,
        -2.5,
        1e-320,
        9_007_199_254_740_992.0,
        9_007_199_254_740_994.0,
        -9_007_199_254_740_992.0,
        9_223_372_036_854_774_784.0,
        9_223_372_036_854_775_808.0,
        -9_223_372_036_854_775_808.0,
        -9_223_372_036_854_777_856.0,
        1e300,
        f64::MAX,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    prop_oneof![select(limits.to_vec()), any::<f64>(), (-5_i32..5).prop_map(f64::from)]
}

/// Rules whose bounds are mostly this one.
fn rule(bound: f64) -> impl Strategy<Value = Rule> {
    let words = proptest::collection::vec(select(WORDS.to_vec()).prop_map(str::to_owned), 0..4);
    let bound = prop_oneof![4 => Just(bound), 1 => limit()].boxed();
    prop_oneof![
        1 => Just(Rule::NotNull),
        1 => words.prop_map(Rule::OneOf),
        2 => bound.clone().prop_map(Rule::Min),
        2 => bound.prop_map(Rule::Max),
        1 => (0_usize..5).prop_map(Rule::MaxLength),
        1 => Just(Rule::MaxLength(usize::MAX)),
    ]
}

/// Values near what the rules speak of.
fn near(bound: f64) -> impl Strategy<Value = Cell> {
    let around = [bound, bound.next_up(), bound.next_down()].into_iter().filter(|number| !number.is_nan());
    let around: Vec<Cell> = around.map(Cell::real).chain([Cell::Null]).collect();
    prop_oneof![
        1 => super::given::cell(),
        2 => select(WORDS.to_vec()).prop_map(Cell::text),
        4 => (-2_i64..=2).prop_map(move |by| Cell::Integer((bound as i64).saturating_add(by))),
        2 => select(around),
        1 => "(?s).{0,6}".prop_map(|text| Cell::Text(text.into_bytes())),
    ]
}

fn table_with_rules() -> impl Strategy<Value = (Table, Vec<Cell>)> {
    let column = || limit().prop_flat_map(|bound| (proptest::collection::vec(rule(bound), 0..3), near(bound)));
    (column(), column()).prop_map(|((first, a), (second, b))| {
        let mut table = table("t", &[("id", ""), ("a", ""), ("$ref", "")], &[0]);
        table.columns[1].rules = first;
        table.columns[2].rules = second;
        (table, vec![Cell::Integer(1), a, b])
    })
}
