//! The judge of schemas against the `jsonschema` crate: what it calls compatible or incompatible is so.

use std::collections::BTreeMap;

use crossfade::event::schema::schema;
use crossfade::mapping::Mapping;
use crossfade::plan::{DesiredSchemas, Judgement, Level, judge};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use serde_json::{Map, Value as Json, json};

fn is_valid(schema: &Json, instance: &Json) -> bool {
    jsonschema::draft202012::is_valid(schema, instance)
}

/// The instance an incompatible judgement tells of.
fn example(reasons: &[String]) -> Json {
    let told = reasons.iter().find_map(|reason| reason.split_once(" refuses: ")).expect("no example");
    serde_json::from_str(told.1).unwrap()
}

/// What the schema of a table says, with these rules of its column `state` and further columns.
fn table(rules: &str, more: &str) -> Json {
    let text = format!(
        "version: 1\ntopics: {{rows: {{partitions: 1}}}}\ntables:\n  t:\n    topic: rows\n    identity: [id]\n    \
         columns: {{id: INTEGER, state: TEXT{more}}}\n    rules: {{state: {{{rules}}}}}\n"
    );
    schema("m", &Mapping::parse("mapping.yaml", &text).unwrap().tables[0])
}

#[test]
fn changes_of_a_mapping_are_judged_as_they_are() {
    let cases = [
        ("max_length: 40", "", "max_length: 50", "", Some(true)),
        ("max_length: 50", "", "max_length: 40", "", Some(false)),
        ("not_null: true", "", "max_length: 5", "", Some(false)),
        ("not_null: true, max_length: 5", "", "max_length: 5", "", Some(true)),
        ("max_length: 5", "", "not_null: true, max_length: 5", "", Some(false)),
        ("one_of: [a, b]", "", "one_of: [a, b, c]", "", Some(true)),
        ("one_of: [a, b]", "", "one_of: [a]", "", Some(false)),
        ("one_of: [a, b]", "", "max_length: 1", "", Some(true)),
        ("one_of: [a, bcd]", "", "max_length: 1", "", Some(false)),
        ("min: 0, max: 9", "", "min: -1", "", Some(true)),
        ("min: 0", "", "min: 0.5", "", Some(false)),
        ("min: 1", "", "min: 1", ", note: TEXT", Some(false)),
        ("min: 1", ", note: TEXT", "min: 1", "", Some(false)),
    ];
    for (old, old_more, new, new_more, expected) in cases {
        let (old, new) = (table(old, old_more), table(new, new_more));
        let told = match judge(Level::Backward, &new, &[&old]) {
            Judgement::Compatible => Some(true),
            Judgement::Incompatible(reasons) => {
                let example = example(&reasons);
                assert!(is_valid(&old, &example) && !is_valid(&new, &example), "{example}");
                Some(false)
            }
            Judgement::Unknown(reasons) => panic!("{reasons:?}"),
        };
        assert_eq!(told, expected, "{old} -> {new}");
    }
}

#[test]
fn reasons_name_the_place_and_the_column() {
    let Judgement::Incompatible(reasons) =
        judge(Level::Full, &table("min: 1", ", note: TEXT"), &[&table("min: 1", "")])
    else {
        panic!("a new column is compatible")
    };
    assert!(
        reasons.contains(&"at /row: 'note' may be absent, and the new schema requires it".to_owned()),
        "{reasons:?}"
    );
    assert!(reasons.contains(&"at /row: 'note' is not taken by the old schema".to_owned()), "{reasons:?}");
}

#[test]
fn each_level_looks_its_own_way() {
    let of = |most: u32| table(&format!("max_length: {most}"), "");
    let (small, middle, large) = (of(1), of(5), of(9));
    let cases = [
        (Level::None, &small, vec![&large], true),
        (Level::Backward, &large, vec![&small], true),
        (Level::Backward, &small, vec![&large], false),
        (Level::Forward, &small, vec![&large], true),
        (Level::Forward, &large, vec![&small], false),
        (Level::Full, &large, vec![&small], false),
        (Level::Full, &large, vec![&large], true),
        (Level::Backward, &middle, vec![&large, &small], true),
        (Level::BackwardTransitive, &middle, vec![&large, &small], false),
        (Level::ForwardTransitive, &middle, vec![&small, &large], false),
        (Level::FullTransitive, &middle, vec![&small, &middle], false),
        (Level::Full, &middle, vec![&small, &middle], true),
        (Level::FullTransitive, &middle, vec![], true),
    ];
    for (level, new, older, compatible) in cases {
        assert_eq!(judge(level, new, &older) == Judgement::Compatible, compatible, "{level:?} {older:?}");
    }
}

#[test]
fn shapes_that_are_not_understood_are_unknown() {
    let closed =
        |property: Json| json!({"type": "object", "properties": {"a": property}, "additionalProperties": false});
    let cases = [
        (json!({"type": "string", "pattern": "^a$"}), json!({"type": "string", "pattern": "^[a]$"})),
        (json!({"type": "array", "items": {"type": "string"}}), json!({"type": "array", "items": true, "minItems": 0})),
        (
            json!({"type": "number"}),
            json!({"anyOf": [{"type": "number", "minimum": 0}, {"type": "number", "maximum": 0}]}),
        ),
        (closed(json!({"$ref": "#"})), json!({"$ref": "http://elsewhere/schema"})),
        (json!({"$ref": "#"}), json!({"type": "null"})),
    ];
    for (old, new) in cases {
        let judgement = judge(Level::Backward, &new, &[&old]);
        assert!(matches!(judgement, Judgement::Unknown(_)), "{old} -> {new}: {judgement:?}");
    }
}

#[test]
fn the_preset_s_schemas_follow_themselves_and_nothing_else() {
    let mapping = crossfade::acc::mapping().unwrap();
    let schemas: Vec<Json> = mapping.tables.iter().map(|table| schema("acc", table)).collect();
    for (at, old) in schemas.iter().enumerate() {
        for (other, new) in schemas.iter().enumerate() {
            // Another text of the same, so that equality alone does not decide.
            let mut new = new.clone();
            new["title"] = "another".into();
            let judgement = judge(Level::Full, &new, &[old]);
            assert_eq!(judgement == Judgement::Compatible, at == other, "{judgement:?}");
            assert_eq!(matches!(judgement, Judgement::Incompatible(_)), at != other, "{judgement:?}");
        }
    }
}

#[test]
fn every_table_of_the_preset_has_the_subject_that_its_title_gives() {
    let desired = DesiredSchemas::of("acc", &crossfade::acc::mapping().unwrap(), None);
    assert_eq!(desired.schemas.len(), 6);
    for schema in &desired.schemas {
        assert_eq!(schema.subject, format!("{}-{}", schema.topic, schema.schema["title"].as_str().unwrap()));
    }
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn scalar() -> impl Strategy<Value = Json> {
    prop_oneof![
        select(vec![json!(null), json!(true), json!(0), json!(1), json!(1.0), json!(0.5), json!(-3), json!(7)]),
        select(vec![json!(""), json!("x"), json!("xy"), json!("xyzxyz")]),
    ]
}

fn leaf() -> impl Strategy<Value = Json> {
    prop_oneof![
        select(vec![json!(true), json!(false), json!({})]),
        select(vec!["null", "boolean", "integer", "number", "string"]).prop_map(|kind| json!({"type": kind})),
        Just(json!({"type": ["null", "string"]})),
        scalar().prop_map(|value| json!({"const": value})),
        proptest::collection::vec(scalar(), 1..4).prop_map(|values| json!({"enum": values})),
        (0..4_i64).prop_map(|most| json!({"type": "string", "maxLength": most})),
        (-1..2_i64).prop_map(|least| json!({"type": "number", "minimum": least})),
        (-1..2_i64).prop_map(|most| json!({"type": "integer", "maximum": most})),
        (0..2_i64).prop_map(|most| json!({"maxLength": most, "maximum": most})),
    ]
}

/// Schemas of the shapes events have: closed and open objects, references, alternatives, exclusions.
fn schemas() -> impl Strategy<Value = Json> {
    let defs = (leaf(), leaf());
    let node = leaf().prop_recursive(3, 12, 3, |inner| {
        let list = || proptest::collection::vec(inner.clone(), 1..3);
        let properties = proptest::collection::btree_map(select(NAMES.to_vec()), inner.clone(), 0..3);
        prop_oneof![
            3 => (properties, subsequence(NAMES.to_vec(), 0..3), any::<bool>()).prop_map(object),
            1 => list().prop_map(|choices| json!({"anyOf": choices})),
            1 => list().prop_map(|choices| json!({"oneOf": choices})),
            1 => list().prop_map(|parts| json!({"allOf": parts})),
            1 => inner.clone().prop_map(|inner| json!({"not": inner})),
            1 => (inner.clone(), leaf()).prop_map(|(inner, not)| json!({"allOf": [inner], "not": not})),
            1 => select(vec!["x", "y"]).prop_map(|name| json!({"$ref": format!("#/$defs/{name}")})),
        ]
    });
    (node, defs).prop_map(|(node, (x, y))| json!({"allOf": [node], "$defs": {"x": x, "y": y}}))
}

fn object((properties, required, closed): (BTreeMap<&'static str, Json>, Vec<&'static str>, bool)) -> Json {
    let mut object = json!({"type": "object", "properties": properties, "required": required});
    if closed {
        object["additionalProperties"] = false.into();
    }
    object
}

fn instances() -> impl Strategy<Value = Vec<Json>> {
    let instance = scalar().prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            1 => Just(json!([])),
            4 => proptest::collection::btree_map(select(vec!["a", "b", "c", "d"]), inner, 0..4)
                .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>().into()),
        ]
    });
    proptest::collection::vec(instance, 12)
}

/// A schema and another that is often near it.
fn pairs() -> impl Strategy<Value = (Json, Json)> {
    (schemas(), schemas(), 0..4).prop_map(|(one, other, how)| match how {
        0 => (one, other),
        1 => (one.clone(), json!({"anyOf": [other["allOf"][0], one["allOf"][0]], "$defs": one["$defs"]})),
        2 => (json!({"allOf": [one["allOf"][0], other["allOf"][0]], "$defs": one["$defs"]}), one),
        _ => {
            let mut new = one.clone();
            new["$defs"]["x"] = other["$defs"]["x"].clone();
            (one, new)
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn a_verdict_is_what_instances_show((old, new) in pairs(), instances in instances()) {
        match judge(Level::Backward, &new, &[&old]) {
            Judgement::Compatible => {
                let (old_of, new_of) = (jsonschema::draft202012::new(&old).unwrap(), jsonschema::draft202012::new(&new).unwrap());
                for instance in instances.iter().filter(|instance| old_of.is_valid(instance)) {
                    prop_assert!(new_of.is_valid(instance), "{instance} is lost from {old} to {new}");
                }
            }
            Judgement::Incompatible(reasons) => {
                let example = example(&reasons);
                prop_assert!(is_valid(&old, &example), "{example} is none of {old}");
                prop_assert!(!is_valid(&new, &example), "{example} is one of {new}");
            }
            Judgement::Unknown(reasons) => prop_assert!(!reasons.is_empty()),
        }
    }
}
