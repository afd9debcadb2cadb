//! The AsyncAPI document: what it says, and that AsyncAPI's own parser finds nothing wrong with it.

use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

use crate::support::cli::{Log, Migration};

const ACC: &str = "  preset: acc\n  store: sqlite:legacy.db\n";

const KAFKA: &str = "\
log:
  kafka:
    bootstrap: [\"b1:9092\", \"b2:9092\"]
    security: {protocol: SASL_SSL, mechanism: SCRAM-SHA-512, username: ada, password_file: secret}
registry: {url: \"http://127.0.0.1:8081\", username: bob, password_file: secret}
";

/// A mapping with everything that has to be written otherwise in a document.
const ODD: &str = "
version: 1
topics: {\"odd.rows\": {partitions: 2, configs: {cleanup.policy: \"compact,delete\", retention.ms: \"-1\", min.insync.replicas: \"2\"}}, empty: {partitions: 1}}
tables:
  \"odd name/é\":
    topic: odd.rows
    rowid: rowid
    columns: {\"allOf\": TEXT, properties: REAL, state: TEXT, \"enum\": INTEGER}
    rules:
      state: {not_null: true, one_of: [open, closed]}
      properties: {min: 0, max: 9.5}
    events: {insert: changed, update: changed, delete: \"gone ~ away\"}
  second:
    topic: odd.rows
    identity: [id]
    columns: {id: INTEGER}
    events: {insert: changed, update: amended, delete: gone}
";

fn export(legacy: &str, more: &str) -> Json {
    let migration = Migration::new(Log::Embedded, legacy, more);
    std::fs::write(migration.path("mapping.yaml"), ODD).unwrap();
    let ran = migration.run(&["contract", "export"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    serde_json::from_str(&ran.stdout).unwrap()
}

fn odd() -> Json {
    export("  mapping: mapping.yaml\n  store: sqlite:legacy.db\n", "")
}

/// Every document a test below looks at.
fn all() -> [Json; 3] {
    [export(ACC, ""), export(ACC, KAFKA), odd()]
}

#[test]
#[ignore = "needs Node"]
fn asyncapi_s_parser_finds_nothing_wrong() {
    let modules = std::env::var("CROSSFADE_TEST_NODE").expect("CROSSFADE_TEST_NODE names no folder of node modules");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node/asyncapi.cjs");
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, document: &Json| {
        let file = folder.path().join(format!("{name}.json"));
        std::fs::write(&file, document.to_string()).unwrap();
        let out = Command::new("node").arg(&script).arg(&file).env("NODE_PATH", &modules).output().unwrap();
        (
            out.status.success(),
            String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr),
        )
    };
    for (number, document) in all().iter().enumerate() {
        let (sound, told) = check(&number.to_string(), document);
        assert!(sound, "{told}");
        let messages = document["components"]["messages"].as_object().unwrap().len();
        assert!(told.contains(&format!("{messages} messages")), "{told}");
    }
    let mut broken = odd();
    broken["channels"]["empty"]["bindings"]["kafka"]["partitions"] = 0.into();
    assert!(!check("broken", &broken).0, "the parser takes anything");
    let mut dangling = odd();
    dangling["operations"]["send-odd.rows"]["channel"]["$ref"] = "#/channels/other".into();
    assert!(!check("dangling", &dangling).0, "the parser follows no references");
}

/// Every reference leads somewhere within the document, and stands alone.
fn references(root: &Json, at: &Json, count: &mut usize) {
    match at {
        Json::Object(members) => {
            if let Some(Json::String(reference)) = members.get("$ref") {
                assert!(reference.starts_with("#/"), "{reference}");
                assert!(root.pointer(&reference[1..]).is_some(), "{reference} leads nowhere");
                assert_eq!(members.len(), 1, "{at}");
                *count += 1;
            }
            members.values().for_each(|member| references(root, member, count));
        }
        Json::Array(items) => items.iter().for_each(|item| references(root, item, count)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    for document in all() {
        let mut count = 0;
        references(&document, &document, &mut count);
        assert!(count > 20, "{count}");
    }
}

#[test]
fn topics_messages_and_settings_are_those_of_the_mapping() {
    let document = export(ACC, KAFKA);
    assert_eq!(document["channels"].as_object().unwrap().len(), 6);
    let channel = &document["channels"]["session.events"];
    assert_eq!(channel["bindings"]["kafka"]["partitions"], 6);
    assert_eq!(channel["bindings"]["kafka"]["topicConfiguration"]["retention.ms"], -1);
    assert!(channel["messages"]["SessionCreated"].is_object());
    let message = &document["components"]["messages"]["SessionCreated"];
    assert_eq!(message["payload"]["$ref"], "#/components/schemas/sessions.written");
    assert_eq!(message["x-subject"], "session.events-sessions");
    assert_eq!(message["headers"]["allOf"][1]["properties"]["ce_type"]["const"], "SessionCreated");
    let server = &document["servers"]["broker-2"];
    assert_eq!((&server["host"], &server["protocol"]), (&Json::from("b2:9092"), &Json::from("kafka-secure")));
    assert_eq!(document["components"]["securitySchemes"]["login"]["type"], "scramSha512");
    assert_eq!(document["operations"].as_object().unwrap().len(), 2);
    assert!(export(ACC, "").get("servers").is_none());
}

#[test]
fn odd_names_are_told_apart() {
    let document = odd();
    let messages: Vec<&String> = document["components"]["messages"].as_object().unwrap().keys().collect();
    assert_eq!(messages, ["changed", "gone_20__7e__20_away", "second.changed", "amended", "gone"]);
    assert_eq!(document["components"]["messages"]["changed"]["payload"]["oneOf"].as_array().unwrap().len(), 2);
    assert_eq!(document["components"]["messages"]["second.changed"]["name"], "changed");
    let topic = &document["channels"]["odd.rows"]["bindings"]["kafka"]["topicConfiguration"];
    assert_eq!(topic["cleanup.policy"], serde_json::json!(["compact", "delete"]));
}

/// The schemas of the document say the same of an event as the tables' own.
#[test]
fn payloads_take_the_events_that_the_table_s_schema_takes() {
    let document = export("  mapping: mapping.yaml\n  store: sqlite:legacy.db\n", "");
    let mut root = serde_json::json!({"allOf": [document["components"]["messages"]["changed"]["payload"]]});
    root["components"] = document["components"].clone();
    let validator = jsonschema::draft7::new(&root).unwrap();
    let event = |row: Json| serde_json::json!({"v": 1, "table": "odd name/é", "op": "insert", "row": row});
    let row = |state: &str, number: f64| serde_json::json!({"allOf": null, "properties": number, "state": state, "enum": 1, "rowid": 1});
    assert!(validator.is_valid(&event(row("open", 1.0))));
    assert!(!validator.is_valid(&event(row("ajar", 1.0))));
    assert!(!validator.is_valid(&event(row("open", -1.0))));
    assert!(!validator.is_valid(&event(serde_json::json!({"state": "open"}))));
}

#[test]
fn no_secret_and_no_user_is_in_it() {
    let migration = Migration::new(Log::Embedded, ACC, KAFKA);
    std::fs::write(migration.path("secret"), "tell-nobody").unwrap();
    let text = migration.expect(&["contract", "export"], 0);
    for word in ["tell-nobody", "\"ada\"", "\"bob\"", "secret\""] {
        assert!(!text.contains(word), "{word}");
    }
}

#[test]
fn a_file_is_written_whole_or_refused() {
    let migration = Migration::new(Log::Embedded, ACC, "");
    let told = migration.expect(&["contract", "export", "-o", "events.json"], 0);
    assert_eq!(told, "events.json: 6 channels, 18 messages\n");
    let written = std::fs::read_to_string(migration.path("events.json")).unwrap();
    assert_eq!(written, migration.expect(&["contract", "export"], 0));
    let ran = migration.run(&["contract", "export", "-o", "crossfade.yaml"]);
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
    assert_eq!(migration.run(&["contract", "export", "-o", "no/such/folder.json"]).code, Some(2));
}
