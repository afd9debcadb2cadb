//! A legacy in PostgreSQL: with its triggers silenced where the role may, and where it may not.

use crossfade::event::Op;
use crossfade::port::legacy_sink::LegacySink;
use crossfade::postgres::sink::PostgresSink;
use crossfade::project::Reverse;

use crate::support::cli::{Log, Migration};
use crate::support::crash::{Child, signal};
use crate::support::flow::{diff, json, run_all, table};
use crate::support::gateway::{Gateway, Values, values};
use crate::support::postgres::{Database, migration, password, projection, same_rows};
use crate::support::store::Cell;

const SCHEMA: &str = "
    CREATE TABLE sessions (id uuid PRIMARY KEY, status varchar(20) NOT NULL CHECK (status IN ('running', 'completed')),
        updated_at timestamptz NOT NULL DEFAULT now(), tags jsonb);
    CREATE TABLE messages (id bigserial PRIMARY KEY, session_id uuid NOT NULL REFERENCES sessions ON DELETE CASCADE,
        parent_id bigint REFERENCES messages ON DELETE SET NULL, body text NOT NULL, cost numeric(10,4),
        size double precision, raw bytea, done boolean, slot integer UNIQUE, twice integer GENERATED ALWAYS AS (slot * 2) STORED);
    CREATE TABLE audit (n bigserial PRIMARY KEY, what text);
    CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := now(); RETURN NEW; END $$;
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO audit (what) VALUES (TG_OP); RETURN NULL; END $$;
    CREATE TRIGGER touch BEFORE UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION touch();
    CREATE TRIGGER note AFTER UPDATE ON sessions FOR EACH ROW EXECUTE FUNCTION note();
    CREATE VIEW overview AS SELECT s.id, count(m.id) AS messages FROM sessions s LEFT JOIN messages m ON m.session_id = s.id GROUP BY s.id;
    INSERT INTO sessions SELECT gen_random_uuid(), 'running', '2026-01-01', '[1, 2]' FROM generate_series(1, 12);
    INSERT INTO messages (session_id, body) SELECT id, 'first' FROM sessions;";

const TABLES: &str = "never: [audit]
tables:
  sessions:
    topic: TOPIC
    identity: [id]
    key: [id]
    columns: {id: uuid, status: character varying(20), updated_at: timestamptz, tags: jsonb}
    set_by_trigger: [updated_at]
  messages:
    topic: TOPIC
    identity: [id]
    key: [session_id]
    parents: [sessions]
    columns: {id: bigint, session_id: uuid, parent_id: bigint, body: text, cost: \"numeric(10,4)\", size: double precision,
      raw: bytea, done: boolean, slot: integer, twice: integer}
    generated: [twice]
";

const COLUMNS: [(&str, &[&str]); 2] = [
    ("sessions", &["id", "status", "updated_at", "tags"]),
    ("messages", &["id", "session_id", "parent_id", "body", "cost", "size", "raw", "done", "slot", "twice"]),
];

/// Replayed and projected, with reverse ready.
fn ready(log: Log, database: &Database) -> Migration {
    let migration = migration(log, database, "  mapping: mapping.yaml\n", &projection(database, true));
    let topic = format!("{}.rows", migration.name);
    let text = format!(
        "version: 1\ntypes: postgres\ntopics: {{{topic}: {{partitions: 3}}}}\n{}",
        TABLES.replace("TOPIC", &topic)
    );
    std::fs::write(migration.path("mapping.yaml"), text).unwrap();
    let name = migration.name.clone();
    run_all(
        &migration,
        &[
            &["provision", "apply"],
            &["replay"],
            &["project"],
            &["project", "--reverse", "--install", "--confirm", &name],
        ],
    );
    migration
}

fn sessions(database: &Database) -> Vec<String> {
    database.column("SELECT id::text FROM sessions ORDER BY id")
}

fn session(id: &str, status: &str) -> Values {
    values(&[
        ("id", Cell::text(id)),
        ("status", Cell::text(status)),
        ("updated_at", Cell::text("2026-11-26T03:00:00.123456Z")),
        ("tags", Cell::text("[1, 2]")),
    ])
}

fn message(session: &str, id: i64) -> Values {
    values(&[
        ("id", Cell::Integer(id)),
        ("session_id", Cell::text(session)),
        ("body", Cell::text(&format!("answer {id} \u{1f980}\n\\N\t"))),
        ("cost", Cell::text("0.1235")),
        ("size", Cell::real(if id % 3 == 0 { f64::NAN } else { id as f64 / 7.0 })),
        ("raw", Cell::Blob(id.to_be_bytes().to_vec())),
        ("done", Cell::Integer(id % 2)),
        ("slot", Cell::Integer(id)),
        ("twice", Cell::Integer(id * 2)),
    ])
}

fn reversed(migration: &Migration, code: i32) -> serde_json::Value {
    json(&migration.expect(&["project", "--reverse", "--output", "json"], code))
}

/// Ten thousand changes of every kind.
fn change(gateway: &Gateway, owned: &[String]) {
    let mut writer = gateway.open();
    let mut made: Vec<Values> = Vec::new();
    for number in 0..10_000_i64 {
        let named = number.to_string();
        let id = &owned[number as usize % owned.len()];
        match number % 8 {
            0 => gateway.write(&mut writer, "sessions", Op::Update, &session(id, "completed"), &named),
            1 if made.len() > 20 => {
                let last = made.len() - 1;
                made[last].insert("body".into(), Cell::text("changed"));
                gateway.write(&mut writer, "messages", Op::Update, &made[last].clone(), &named);
            }
            2 if made.len() > 20 => {
                let row = made.pop().unwrap();
                gateway.write(&mut writer, "messages", Op::Delete, &row, &named);
            }
            _ => {
                let mut row = message(id, 1_000 + number);
                let same = |other: &&Values| other["session_id"] == row["session_id"];
                if let Some(parent) = made.first().filter(same) {
                    row.insert("parent_id".into(), parent["id"].clone());
                }
                gateway.write(&mut writer, "messages", Op::Insert, &row, &named);
                made.push(row);
            }
        }
        if number % 900 == 899 {
            writer.commit().unwrap();
        }
    }
    writer.commit().unwrap();
}

fn ten_thousand_changes(log: Log) {
    let database = Database::with(SCHEMA);
    let migration = ready(log, &database);
    let gateway = Gateway::of(&migration);
    let owned = &sessions(&database)[..9];
    gateway.take("sessions", owned);
    change(&gateway, owned);
    let told = reversed(&migration, 0);
    println!("reverse: {} events in {} s", told["events"], told["seconds"]);
    assert_eq!((&told["events"], &told["owned_sessions"]), (&10_000.into(), &9.into()), "{told}");
    migration.expect(&["project"], 0);
    let rows: u64 = COLUMNS.iter().map(|(table, columns)| same_rows(&database, table, columns)).sum();
    assert!(rows > 5_000, "{rows}");
    let report = diff(&migration, &[], 0);
    assert_eq!(report["verdict"], "PASS");
    assert_eq!(table(&report, "sessions")["mirrored"], 9, "{report:#}");

    // What the legacy's own program would find: no trigger ran, every key leads somewhere, the next number is free.
    assert_eq!(database.column("SELECT count(*)::text FROM audit"), ["0"]);
    let orphans = "SELECT count(*)::text FROM messages m LEFT JOIN messages p ON p.id = m.parent_id \
        LEFT JOIN sessions s ON s.id = m.session_id WHERE s.id IS NULL OR (m.parent_id IS NOT NULL AND p.id IS NULL)";
    assert_eq!(database.column(orphans), ["0"]);
    assert_eq!(database.column("SELECT count(*)::text FROM overview"), ["12"]);
    database.execute("INSERT INTO messages (session_id, body) SELECT id, 'next' FROM sessions LIMIT 1");
    let next = database.column("SELECT max(id)::text FROM messages");
    assert!(next[0].parse::<i64>().unwrap() >= 10_999, "{next:?}");
    database.execute("DELETE FROM messages WHERE body = 'next'");
    assert!(migration.expect(&["project", "--reverse"], 0).contains("0 events written back"));

    // The table of its own goes without a trace.
    let name = migration.name.clone();
    migration.expect(&["project", "--reverse", "--uninstall", "--confirm", &name], 0);
    let left = format!("SELECT count(*)::text FROM pg_namespace WHERE nspname = 'crossfade_{name}'");
    assert_eq!(database.column(&left), ["0"]);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn ten_thousand_changes_of_the_events_side_are_in_the_legacy_from_the_embedded_log() {
    ten_thousand_changes(Log::Embedded);
}

#[test]
#[ignore = "needs PostgreSQL and Kafka"]
fn ten_thousand_changes_of_the_events_side_are_in_the_legacy_from_kafka() {
    ten_thousand_changes(Log::Kafka);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn rows_the_schema_does_not_take_are_named_and_hold_up_no_other() {
    let database = Database::with(SCHEMA);
    let migration = ready(Log::Embedded, &database);
    let gateway = Gateway::of(&migration);
    let all = sessions(&database);
    gateway.take("sessions", &all[..2]);
    let with =
        |id: i64, of: &[(&str, Cell)]| -> Values { message(&all[0], id).into_iter().chain(values(of)).collect() };
    let mut writer = gateway.open();
    let rows = [
        with(101, &[]),
        with(102, &[("body", Cell::Null)]),
        with(103, &[("cost", Cell::text("1000000"))]),
        with(104, &[("body", Cell::Text(b"a\0b".to_vec()))]),
        with(105, &[("parent_id", Cell::Integer(77))]),
        with(106, &[("slot", Cell::Integer(101)), ("twice", Cell::Integer(202))]),
        with(107, &[("slot", Cell::real(12.5))]),
        with(108, &[("parent_id", Cell::Integer(109))]),
        with(109, &[]),
    ];
    for (number, row) in rows.iter().enumerate() {
        gateway.write(&mut writer, "messages", Op::Insert, row, &number.to_string());
    }
    gateway.write(&mut writer, "sessions", Op::Update, &session(&all[0], "coordination"), "check");
    // Its message stays, which no event took away.
    gateway.write(&mut writer, "sessions", Op::Delete, &session(&all[1], "running"), "delete");
    writer.commit().unwrap();
    drop(writer);
    let report = reversed(&migration, 1);
    let mut refused: Vec<(String, String)> = report["refused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kept| (kept["row"].as_str().unwrap().to_owned(), kept["reason"].as_str().unwrap().to_owned()))
        .collect();
    refused.sort();
    let of = |row: &str| refused.iter().find(|(name, _)| name == row).map_or("-", |(_, reason)| reason.as_str());
    assert!(of("id=102").contains("not-null"), "{refused:#?}");
    assert_eq!(of("id=103"), "a value does not fit its column's type (22003)");
    assert!(of("id=104").contains("column 'body' (text) does not take this text"), "{refused:#?}");
    assert!(of("id=105").contains("the row it references is not there"), "{refused:#?}");
    assert!(of("id=106").contains("messages_slot_key"), "{refused:#?}");
    assert!(of("id=107").contains("column 'slot' (integer) does not take this real"), "{refused:#?}");
    assert!(of(&format!("id={}", all[0])).contains("sessions_status_check"), "{refused:#?}");
    assert!(of(&format!("id={}", all[1])).contains("rows still reference it"), "{refused:#?}");
    assert_eq!(refused.len(), 8, "{refused:#?}");
    assert_eq!(database.column("SELECT id::text FROM messages WHERE id > 100 ORDER BY id"), ["101", "108", "109"]);
    let report = diff(&migration, &[], 1);
    assert!(report["findings"].as_array().unwrap().iter().any(|finding| finding["code"] == "reverse-refused"));
}

#[test]
#[ignore = "needs PostgreSQL"]
fn where_triggers_may_not_be_silenced_the_columns_they_set_are_explained() {
    let database = Database::with(SCHEMA);
    let role = database.name.clone();
    database.execute(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD '{}'; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
         GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO {role}; GRANT CREATE ON DATABASE {role} TO {role}",
        password()
    ));
    let migration = ready(Log::Embedded, &database);
    let config = std::fs::read_to_string(migration.path("crossfade.yaml")).unwrap();
    let (name, before) = (migration.name.clone(), config.clone());
    migration.expect(&["project", "--reverse", "--uninstall", "--confirm", &name], 0);
    std::fs::write(migration.path("crossfade.yaml"), config.replacen(&database.url(), &database.url_of(&role), 1))
        .unwrap();
    migration.expect(&["project", "--reverse", "--install", "--confirm", &name], 0);
    let gateway = Gateway::of(&migration);
    let all = sessions(&database);
    gateway.take("sessions", &all[..2]);
    gateway.once("sessions", Op::Update, &session(&all[0], "completed"), "1");
    gateway.once("messages", Op::Insert, &message(&all[0], 200), "2");
    let ran = migration.run(&["project", "--reverse"]);
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stderr.contains("triggers of sessions run for what is written back"), "{}", ran.stderr);
    assert_eq!(database.column("SELECT count(*)::text FROM audit"), ["1"], "the legacy's trigger ran");
    migration.expect(&["project"], 0);
    let report = diff(&migration, &[], 0);
    assert_eq!(table(&report, "sessions")["explained"], 1, "{report:#}");
    assert!(report.to_string().contains("set by a trigger of the legacy's"), "{report:#}");
    std::fs::write(migration.path("crossfade.yaml"), before).unwrap();
    database.execute(&format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}"));
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i01_a_paused_reverse_writer_that_wakes_up_after_the_transfer_changes_nothing() {
    let database = Database::with(SCHEMA);
    let migration = ready(Log::Embedded, &database);
    let gateway = Gateway::of(&migration);
    let owned = sessions(&database)[0].clone();
    gateway.take("sessions", std::slice::from_ref(&owned));
    gateway.once("messages", Op::Insert, &message(&owned, 300), "1");
    let mut command = migration.command(&["project", "--reverse"]);
    command.env("CROSSFADE_PAUSE_AT", "reverse.claimed:1");
    let mut child = Child::at(command, "reverse.claimed");
    child.await_stopped();
    let sink = PostgresSink::new(database.login(), &migration.name, gateway.mapping.clone());
    let drain = &mut || {
        let reverse = Reverse {
            log: gateway.log.as_ref(),
            sink: &sink,
            mapping: &gateway.mapping,
            migration: &gateway.name,
            progress: &crossfade::port::progress::Silent,
        };
        let done = reverse.catch_up()?;
        assert_eq!(done.written, 1);
        Ok(done.kept)
    };
    assert_eq!(gateway.give_back("sessions", &owned, drain).unwrap(), 1);
    database.execute("UPDATE messages SET body = 'by the legacy' WHERE id = 300");
    let before = sink.state().unwrap();
    signal("CONT", child.id());
    let (status, said) = child.wait();
    assert_eq!(status.code(), Some(4), "{said}");
    assert!(said.contains("was claimed by a newer writer"), "{said}");
    assert_eq!(database.column("SELECT body FROM messages WHERE id = 300"), ["by the legacy"]);
    assert_eq!(sink.state().unwrap(), before);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_transaction_of_reverse_carries_both_marks() {
    use crossfade::postgres::mark::{MESSAGE, REVERSE, SETTING};
    let database = Database::with(SCHEMA);
    database.execute(&format!(
        "CREATE TABLE seen (origin text);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO public.seen VALUES (current_setting('{SETTING}', true)); RETURN NULL; END $$;
         CREATE TRIGGER see AFTER INSERT ON messages FOR EACH ROW EXECUTE FUNCTION see();
         ALTER TABLE messages ENABLE ALWAYS TRIGGER see;"
    ));
    let migration = ready_without(&database, "seen");
    let slot = format!("s{}", migration.name);
    database.execute(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')"));
    let gateway = Gateway::of(&migration);
    let owned = sessions(&database)[0].clone();
    gateway.take("sessions", std::slice::from_ref(&owned));
    gateway.once("messages", Op::Insert, &message(&owned, 400), "1");
    migration.expect(&["project", "--reverse"], 0);
    let decoded = database.column(&format!("SELECT data FROM pg_logical_slot_get_changes('{slot}', NULL, NULL)"));
    database.execute(&format!("SELECT pg_drop_replication_slot('{slot}')"));
    let at = decoded.iter().position(|line| line.contains("table public.messages: INSERT")).unwrap();
    let begin = decoded[..at].iter().rposition(|line| line.starts_with("BEGIN")).unwrap();
    assert!(decoded[begin + 1].contains(&format!("prefix: {MESSAGE}")), "{:?}", &decoded[begin..=at]);
    assert_eq!(database.column("SELECT origin FROM seen"), [REVERSE]);
}

fn ready_without(database: &Database, never: &str) -> Migration {
    let migration = migration(Log::Embedded, database, "  mapping: mapping.yaml\n", &projection(database, true));
    let topic = format!("{}.rows", migration.name);
    let tables = TABLES.replace("TOPIC", &topic).replace("[audit]", &format!("[audit, {never}]"));
    let text = format!("version: 1\ntypes: postgres\ntopics: {{{topic}: {{partitions: 3}}}}\n{tables}");
    std::fs::write(migration.path("mapping.yaml"), text).unwrap();
    let name = migration.name.clone();
    run_all(
        &migration,
        &[&["provision", "apply"], &["replay"], &["project", "--reverse", "--install", "--confirm", &name]],
    );
    migration
}

const SMALL: &str = "
    CREATE TABLE sessions (id text PRIMARY KEY, status text);
    CREATE TABLE messages (id bigserial PRIMARY KEY, session_id text NOT NULL REFERENCES sessions ON DELETE CASCADE, body text);
    INSERT INTO sessions VALUES ('a', 'running'), ('b', 'running');
    INSERT INTO messages (session_id, body) SELECT id, 'first' FROM sessions;";

/// What reverse writes is no change of the legacy's; what others write to such a session is a foreign one. Both keep what
/// is theirs in one schema, and go in any order.
fn captured(mode: &str) {
    let database = Database::with(SMALL);
    let migration = migration(Log::Embedded, &database, "  mapping: mapping.yaml\n", &projection(&database, true));
    let name = migration.name.clone();
    let text = format!(
        "version: 1\ntypes: postgres\ntopics: {{{name}.rows: {{partitions: 3}}}}\ntables:\n  sessions:\n    topic: {name}.rows\n    \
         identity: [id]\n    key: [id]\n    columns: {{id: text, status: text}}\n  messages:\n    topic: {name}.rows\n    \
         identity: [id]\n    key: [session_id]\n    parents: [sessions]\n    columns: {{id: bigint, session_id: text, body: text}}\n"
    );
    std::fs::write(migration.path("mapping.yaml"), text).unwrap();
    run_all(
        &migration,
        &[
            &["provision", "apply"],
            &["project", "--reverse", "--install", "--confirm", &name],
            &["follow", "--install", "--mode", mode, "--confirm", &name],
            &["replay"],
            &["project"],
        ],
    );
    let gateway = Gateway::of(&migration);
    gateway.take("sessions", &["a".to_owned()]);
    let row = |id: i64, body: &str| {
        values(&[("id", Cell::Integer(id)), ("session_id", Cell::text("a")), ("body", Cell::text(body))])
    };
    let mut writer = gateway.open();
    for id in 100..300 {
        gateway.write(&mut writer, "messages", Op::Insert, &row(id, "by events"), &format!("i{id}"));
        if id % 3 == 0 {
            gateway.write(&mut writer, "messages", Op::Update, &row(id, "changed"), &format!("u{id}"));
        }
        if id % 7 == 0 {
            gateway.write(&mut writer, "messages", Op::Delete, &row(id, "changed"), &format!("d{id}"));
        }
    }
    writer.commit().unwrap();
    drop(writer);
    reversed(&migration, 0);
    database.execute("INSERT INTO messages (session_id, body) VALUES ('b', 'by the legacy')");
    let told = || {
        let events = crate::support::flow::events(
            crate::support::flow::open_log(&migration).as_ref(),
            &crate::support::flow::mapping(&migration),
        );
        events.into_iter().filter(|event| event.source.ends_with("#follow")).collect::<Vec<_>>()
    };
    run_all(&migration, &[&["follow", "--until-caught-up"], &["project"], &["project", "--reverse"]]);
    let seen = told();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].value["row"]["body"], "by the legacy");
    let report = diff(&migration, &[], 0);
    assert_eq!(report["verdict"], "PASS", "{report:#}");

    database.execute("UPDATE messages SET body = 'behind their back' WHERE id = 101");
    run_all(&migration, &[&["follow", "--until-caught-up"], &["project"]]);
    let report = diff(&migration, &[], 1);
    crate::support::flow::has_finding(&report, "foreign-write", "failure");

    run_all(&migration, &[&["follow", "--uninstall", "--confirm", &name]]);
    let kept = format!("SELECT count(*)::text FROM crossfade_{name}.reverse");
    assert_ne!(database.column(&kept), ["0"]);
    run_all(&migration, &[&["project", "--reverse", "--uninstall", "--confirm", &name]]);
    let left = format!("SELECT count(*)::text FROM pg_namespace WHERE nspname = 'crossfade_{name}'");
    assert_eq!(database.column(&left), ["0"]);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i01_what_reverse_writes_is_no_event_by_decoding_and_what_others_write_is_a_foreign_one() {
    captured("decoding");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i01_what_reverse_writes_is_no_event_from_an_outbox_and_what_others_write_is_a_foreign_one() {
    captured("outbox");
}
