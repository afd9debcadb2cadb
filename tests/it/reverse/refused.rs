//! Rows the legacy's schema does not take, in SQLite's own words.

use crossfade::base::Kind;
use crossfade::event::Op;
use crossfade::port::progress::Silent;
use crossfade::project::Reverse;
use crossfade::sqlite::sink::SqliteSink;

use super::sqlite::{message, ready, sessions};
use crate::support::acc::{TABLES, assert_same_rows};
use crate::support::cli::{Log, Migration};
use crate::support::flow::{column, json};
use crate::support::gateway::{Gateway, Values, values};
use crate::support::store::Cell;

fn reversed(migration: &Migration, code: i32) -> serde_json::Value {
    json(&migration.expect(&["project", "--reverse", "--output", "json"], code))
}

fn with(row: Values, of: &[(&str, Cell)]) -> Values {
    row.into_iter().chain(values(of)).collect()
}

#[test]
fn rows_the_schema_does_not_take_are_named_and_hold_up_no_other() {
    let migration = ready(Log::Embedded);
    let gateway = Gateway::of(&migration);
    let owned = &sessions(&migration)[..3];
    gateway.take("sessions", owned);
    let good = |number: i64| message(&owned[0], &format!("good-{number}"), number);
    let bad = |number: i64| message(&owned[0], &format!("bad-{number}"), number);
    let mut writer = gateway.open();
    let rows = [
        good(1),
        with(bad(1), &[("message_type", Cell::text("coordination_event"))]),
        good(2),
        with(bad(2), &[("content", Cell::Null)]),
        with(bad(3), &[("parent_message_id", Cell::text("nowhere"))]),
        // Its parent comes behind it.
        with(good(3), &[("parent_message_id", Cell::text("good-4"))]),
        good(4),
    ];
    for (number, row) in rows.iter().enumerate() {
        gateway.write(&mut writer, "messages", Op::Insert, row, &number.to_string());
    }
    // Two that reference one another, as no order of single rows would have it.
    gateway.write(&mut writer, "messages", Op::Insert, &good(5), "5a");
    let six = with(good(6), &[("parent_message_id", Cell::text("good-5"))]);
    gateway.write(&mut writer, "messages", Op::Insert, &six, "6");
    let five = with(good(5), &[("parent_message_id", Cell::text("good-6"))]);
    gateway.write(&mut writer, "messages", Op::Update, &five, "5b");
    writer.commit().unwrap();
    drop(writer);

    let report =
        json(&migration.expect(&["project", "--reverse", "--output", "json", "--refused", "refused.ndjson"], 1));
    let refused: Vec<&str> =
        report["refused"].as_array().unwrap().iter().map(|kept| kept["row"].as_str().unwrap()).collect();
    assert_eq!(refused, ["id=bad-1", "id=bad-2", "id=bad-3"], "{report:#}");
    let reasons: Vec<&str> =
        report["refused"].as_array().unwrap().iter().map(|kept| kept["reason"].as_str().unwrap()).collect();
    assert!(reasons[0].starts_with("CHECK constraint failed"), "{reasons:?}");
    assert_eq!(reasons[1..], ["NOT NULL constraint failed: messages.content", "FOREIGN KEY constraint failed"]);
    let file = std::fs::read_to_string(migration.path("refused.ndjson")).unwrap();
    assert_eq!(file.lines().count(), 3);
    assert!(!file.contains("answer"), "a value of the row in {file}");
    let found =
        column(&migration.legacy(), "SELECT id FROM messages WHERE id LIKE 'good-%' OR id LIKE 'bad-%' ORDER BY id");
    assert_eq!(found, ["good-1", "good-2", "good-3", "good-4", "good-5", "good-6"]);

    // They are kept by name until they fit, or go.
    assert_eq!(reversed(&migration, 1)["refused"].as_array().unwrap().len(), 3);
    gateway.once("messages", Op::Insert, &message(&owned[0], "nowhere", 9), "parent");
    gateway.once("messages", Op::Update, &bad(2), "mended");
    assert_eq!(reversed(&migration, 1)["refused"].as_array().unwrap().len(), 1, "bad-1 is left");
    gateway.once("messages", Op::Delete, &bad(1), "gone");
    assert_eq!(reversed(&migration, 0)["refused"].as_array().unwrap().len(), 0);
    migration.expect(&["project"], 0);
    assert_same_rows(&migration.legacy(), &migration.projection(), &TABLES);
}

#[test]
fn i01_a_session_with_a_row_the_schema_does_not_take_does_not_return() {
    let migration = ready(Log::Embedded);
    let gateway = Gateway::of(&migration);
    let owned = &sessions(&migration)[..2];
    gateway.take("sessions", owned);
    let refused = with(message(&owned[0], "bad", 1), &[("content", Cell::Null)]);
    gateway.once("messages", Op::Insert, &refused, "1");
    gateway.once("messages", Op::Insert, &message(&owned[1], "good", 2), "2");

    let sink = SqliteSink::new(migration.legacy(), &migration.name, gateway.mapping.clone());
    let drain = &mut || {
        let reverse = Reverse {
            log: gateway.log.as_ref(),
            sink: &sink,
            mapping: &gateway.mapping,
            migration: &gateway.name,
            progress: &Silent,
        };
        Ok(reverse.catch_up()?.kept)
    };
    let stays = gateway.give_back("sessions", &owned[0], drain).unwrap_err();
    assert_eq!(stays.kind(), Kind::Refused, "{stays}");
    assert!(stays.to_string().contains(&owned[0]) && stays.to_string().contains("id=bad"), "{stays}");
    assert_eq!(gateway.open().sessions().owners.owned(), 2);
    assert_eq!(gateway.give_back("sessions", &owned[1], drain).unwrap(), 1, "the other goes");

    gateway.once("messages", Op::Update, &message(&owned[0], "bad", 1), "mended");
    assert_eq!(gateway.give_back("sessions", &owned[0], drain).unwrap(), 1);
    for command in [&["follow", "--until-caught-up"][..], &["project"], &["diff"]] {
        migration.expect(command, 0);
    }
}

#[test]
fn a_value_passed_from_row_to_row_goes_back_in_the_order_it_was_passed() {
    let migration = Migration::new(Log::Embedded, "  mapping: mapping.yaml\n  store: sqlite:legacy.db\n", "");
    let schema = "CREATE TABLE seats (id INTEGER PRIMARY KEY AUTOINCREMENT, guest TEXT UNIQUE, note TEXT DEFAULT 'x');
        INSERT INTO seats (id, guest) VALUES (1, 'ann'), (2, 'bob');";
    let connection = rusqlite::Connection::open(migration.legacy()).unwrap();
    connection.execute_batch(&format!("PRAGMA journal_mode = WAL; {schema}")).unwrap();
    let described = crossfade::sqlite::introspect::describe(&migration.legacy()).unwrap();
    let (text, _) = crossfade::mapping::init::init(&described, &migration.name);
    std::fs::write(migration.path("mapping.yaml"), text).unwrap();
    let name = migration.name.clone();
    for command in
        [&["provision", "apply"][..], &["replay"], &["project", "--reverse", "--install", "--confirm", &name]]
    {
        migration.expect(command, 0);
    }
    let gateway = Gateway::of(&migration);
    let keys: Vec<String> = ["1", "2", "3", "9"].map(str::to_owned).to_vec();
    gateway.take("seats", &keys);
    let seat = |id: i64, guest: Cell| values(&[("id", Cell::Integer(id)), ("guest", guest), ("note", Cell::text("y"))]);
    // The final images alone cannot be written in any order: each stands in the other's way.
    for (number, (id, guest)) in [(1, "-"), (2, "ann"), (1, "bob"), (3, "cyd")].into_iter().enumerate() {
        let op = if id == 3 { Op::Insert } else { Op::Update };
        gateway.once("seats", op, &seat(id, Cell::text(guest)), &number.to_string());
    }
    // A number that was given and taken back is not given again.
    gateway.once("seats", Op::Insert, &seat(9, Cell::Null), "nine");
    gateway.once("seats", Op::Delete, &seat(9, Cell::Null), "nine gone");
    // Four partitions are read in any order: what stands in the way at first may be tried again.
    for _ in 0..3 {
        migration.run(&["project", "--reverse"]);
    }
    migration.expect(&["project", "--reverse"], 0);
    let found = column(&migration.legacy(), "SELECT id || guest || note FROM seats ORDER BY id");
    assert_eq!(found, ["1boby", "2anny", "3cydy"]);
    connection.execute_batch("INSERT INTO seats (guest) VALUES ('dan')").unwrap();
    assert_eq!(column(&migration.legacy(), "SELECT id || '' FROM seats WHERE guest = 'dan'"), ["10"]);
}

#[test]
fn values_that_rows_pass_to_each_other_go_back_without_the_steps_between() {
    let migration = Migration::new(Log::Embedded, "  mapping: mapping.yaml\n  store: sqlite:legacy.db\n", "");
    let schema = "CREATE TABLE seats (id INTEGER PRIMARY KEY, guest TEXT NOT NULL UNIQUE, note TEXT, UNIQUE (note, guest));
        INSERT INTO seats VALUES (1, 'a', 'x'), (2, 'b', 'x'), (3, 'c', 'x'), (4, 'd', 'x'), (5, 'e', 'x'), (6, 'f', 'x');";
    let connection = rusqlite::Connection::open(migration.legacy()).unwrap();
    connection.execute_batch(&format!("PRAGMA journal_mode = WAL; {schema}")).unwrap();
    let described = crossfade::sqlite::introspect::describe(&migration.legacy()).unwrap();
    let (text, _) = crossfade::mapping::init::init(&described, &migration.name);
    std::fs::write(migration.path("mapping.yaml"), text).unwrap();
    let name = migration.name.clone();
    for command in
        [&["provision", "apply"][..], &["replay"], &["project", "--reverse", "--install", "--confirm", &name]]
    {
        migration.expect(command, 0);
    }
    let gateway = Gateway::of(&migration);
    let keys: Vec<String> = (1..=6).map(|id| id.to_string()).collect();
    gateway.take("seats", &keys);
    // A swap, a rotation, both at once, and all of them reversed.
    for (round, guests) in ["bacdef", "bcadef", "badcfe", "efcdab"].iter().enumerate() {
        for (id, guest) in guests.chars().enumerate() {
            let row = [
                ("id", Cell::Integer(id as i64 + 1)),
                ("guest", Cell::text(&guest.to_string())),
                ("note", Cell::text("y")),
            ];
            gateway.once("seats", Op::Update, &values(&row), &format!("{round} {id}"));
        }
        migration.expect(&["project", "--reverse"], 0);
        let found =
            column(&migration.legacy(), "SELECT group_concat(guest, '') FROM (SELECT guest FROM seats ORDER BY id)");
        assert_eq!(found, [*guests]);
    }
}

#[test]
fn i11_a_redacted_column_is_never_written_back() {
    let migration = ready(Log::Embedded);
    let gateway = Gateway::of(&migration);
    let owned = sessions(&migration)[0].clone();
    gateway.take("sessions", std::slice::from_ref(&owned));
    let row = message(&owned, "m", 1);
    gateway.once("messages", Op::Insert, &row, "1");
    reversed(&migration, 0);
    let before = column(&migration.legacy(), "SELECT content FROM messages WHERE id = 'm'");
    let changed =
        with(row, &[("content", Cell::text("the token [redacted] was here")), ("exit_code", Cell::Integer(3))]);
    gateway.once("messages", Op::Update, &changed, "2");
    reversed(&migration, 0);
    assert_eq!(column(&migration.legacy(), "SELECT content FROM messages WHERE id = 'm'"), before);
    assert_eq!(column(&migration.legacy(), "SELECT exit_code || '' FROM messages WHERE id = 'm'"), ["3"]);
}
