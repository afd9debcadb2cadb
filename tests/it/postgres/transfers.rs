//! A session moves only once the log has every change that the legacy made to it.

use std::sync::Arc;
use std::time::Duration;

use crossfade::base::Kind;
use crossfade::control::Captured;
use crossfade::mapping::init::init;
use crossfade::port::change_source::ChangeSource;
use crossfade::postgres::decoding::{Limits, PostgresDecoding};
use crossfade::postgres::outbox::PostgresOutbox;
use crossfade::postgres::{PostgresSource, describe};

use crate::support::cli::Log;
use crate::support::flow::{mapping, run_all};
use crate::support::gateway::Gateway;
use crate::support::postgres::{Database, migration};

/// One that is not told yet holds a transfer up, and so does one that may still come of a transaction at work.
fn a_transfer_waits_for_every_change(mode: &str) {
    let database = Database::with(
        "CREATE TABLE note (id integer PRIMARY KEY, body text); INSERT INTO note VALUES (1, 'copied'), (2, 'copied');",
    );
    let migration = migration(Log::Embedded, &database, "  mapping: mapping.yaml\n", "");
    let (text, _) = init(&describe(&database.login()).unwrap().schema, &migration.name);
    std::fs::write(migration.path("mapping.yaml"), text).unwrap();
    let name = migration.name.clone();
    let follow: &[&str] = &["follow", "--mode", mode, "--until-caught-up"];
    let install: &[&str] = &["follow", "--install", "--mode", mode, "--confirm", &name];
    run_all(&migration, &[&["provision", "apply"], install, &["replay"], follow]);

    let mapping = mapping(&migration);
    let rows = PostgresSource::open(database.login(), Arc::clone(&mapping)).unwrap().followed(&name);
    let changes: Box<dyn ChangeSource> = match mode {
        "outbox" => Box::new(PostgresOutbox::new(database.login(), &name, mapping)),
        _ => {
            let limits = Limits { warn: 0, drop: 0 };
            Box::new(PostgresDecoding::new(database.login(), &name, mapping, limits))
        }
    };
    let gateway = Gateway::of(&migration);
    let take = |key: &str, patience| {
        let captured =
            Captured::Followed { rows: &rows, changes: changes.as_ref(), patience: Duration::from_millis(patience) };
        gateway.try_take("note", &[key.to_owned()], &captured)
    };

    database.execute("UPDATE note SET body = 'not told yet' WHERE id = 1");
    let refused = take("1", 300).unwrap_err();
    assert_eq!(refused.kind(), Kind::Unknown, "{refused}");
    run_all(&migration, &[follow]);
    assert_eq!(take("1", 20_000).unwrap(), 1);

    let mut older = database.connect();
    older.batch_execute("SET application_name = 'older'; BEGIN; UPDATE note SET body = 'late' WHERE id = 2").unwrap();
    let refused = take("2", 300).unwrap_err();
    assert_eq!(refused.kind(), Kind::Unknown, "{refused}");
    assert!(refused.to_string().contains("(older)"), "{refused}");
    older.batch_execute("COMMIT").unwrap();
    assert_eq!(take("2", 300).unwrap_err().kind(), Kind::Unknown, "its change is not told yet");
    run_all(&migration, &[follow]);
    assert_eq!(take("2", 20_000).unwrap(), 1);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i01_a_transfer_waits_for_every_change_told_by_an_outbox() {
    a_transfer_waits_for_every_change("outbox");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i01_a_transfer_waits_for_every_change_told_by_decoding() {
    a_transfer_waits_for_every_change("decoding");
}
