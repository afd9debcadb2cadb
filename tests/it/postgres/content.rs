//! What changes rows without an event: DDL is noticed before the next event, by either capture.

use std::time::Duration;

use crossfade::base::{Kind as ErrorKind, Result};
use crossfade::capture::Ended;
use crossfade::port::change_source::{ChangeReader, ChangeSource, Changes};

use super::passing::Kind;
use crate::support::decoding::{Boxed, Decoded};
use crate::support::followed::Bench;
use crate::support::postgres::Database;

const SCHEMA: &str = "
    CREATE TYPE mood AS ENUM ('a', 'b');
    CREATE TABLE plain (id integer PRIMARY KEY, v numeric(5,1), en mood, ens mood[], w text);
    CREATE TABLE part (id integer, k integer, w text, PRIMARY KEY (id, k)) PARTITION BY LIST (k);
    CREATE TABLE part_1 PARTITION OF part FOR VALUES IN (1); CREATE TABLE part_2 PARTITION OF part FOR VALUES IN (2);
    INSERT INTO plain VALUES (1, 1.5, 'a', '{b}', 'x'), (2, 2.5, 'b', '{a,b}', 'y');
    INSERT INTO part VALUES (1, 1, 'x'), (2, 2, 'y');";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meets {
    /// Rows are compared.
    Reconcile,
    /// The mapping no longer fits, or changes passed the capture by.
    Refusal,
    /// Nothing of a row's meaning changed.
    Nothing,
}

const CHANGES: &[(&str, Meets)] = &[
    ("DROP TABLE part_1", Meets::Reconcile),
    ("ALTER TABLE part DETACH PARTITION part_1", Meets::Reconcile),
    (
        "CREATE TABLE part_3 (LIKE part); INSERT INTO part_3 VALUES (7, 3, 'new'); ALTER TABLE part ATTACH PARTITION part_3 FOR VALUES IN (3)",
        Meets::Reconcile,
    ),
    ("TRUNCATE part_1", Meets::Reconcile),
    ("ALTER TYPE mood RENAME VALUE 'a' TO 'A'", Meets::Reconcile),
    ("ALTER TABLE plain ALTER w TYPE text USING upper(w)", Meets::Reconcile),
    ("ALTER TABLE part ALTER w TYPE text USING upper(w)", Meets::Reconcile),
    ("ALTER TABLE plain DROP CONSTRAINT plain_pkey, ADD PRIMARY KEY (id) DEFERRABLE", Meets::Reconcile),
    ("ALTER TABLE plain ALTER v TYPE numeric(9,3)", Meets::Refusal),
    ("ALTER TABLE plain ALTER v TYPE text", Meets::Refusal),
    ("ALTER TABLE plain ADD COLUMN z integer DEFAULT 5", Meets::Refusal),
    ("ALTER TABLE plain DROP COLUMN w", Meets::Refusal),
    ("ALTER TABLE plain RENAME COLUMN w TO q", Meets::Refusal),
    ("ALTER TABLE plain RENAME TO old; CREATE TABLE plain (LIKE old INCLUDING ALL)", Meets::Refusal),
    ("VACUUM FULL plain", Meets::Nothing),
    ("CLUSTER plain USING plain_pkey", Meets::Nothing),
    ("ANALYZE plain", Meets::Nothing),
    ("CREATE INDEX ON plain (w)", Meets::Nothing),
    ("ALTER TABLE plain ALTER w SET STORAGE EXTERNAL", Meets::Nothing),
    ("ALTER TABLE plain ALTER w SET DEFAULT 'z'", Meets::Nothing),
    ("ALTER TABLE plain SET (fillfactor = 50)", Meets::Nothing),
    ("ALTER TABLE plain ADD CHECK (id > 0)", Meets::Nothing),
    ("REINDEX TABLE plain", Meets::Nothing),
];

/// What a follow that runs need not compare, and one that comes later cannot know better.
const PREPARED: [&str; 2] =
    ["CREATE TABLE part_4 PARTITION OF part FOR VALUES IN (4)", "ALTER TYPE mood ADD VALUE 'c'"];

const DECODING: &[(&str, Meets)] = &[
    (
        "ALTER PUBLICATION crossfade_bench SET (publish = 'insert'); UPDATE plain SET w = 'unseen'; ALTER PUBLICATION crossfade_bench SET (publish = 'insert, update, delete, truncate')",
        Meets::Refusal,
    ),
    ("ALTER PUBLICATION crossfade_bench SET TABLE plain WHERE (id > 100), part", Meets::Refusal),
];

const OUTBOX: &[(&str, Meets)] = &[
    (
        "ALTER TABLE plain DISABLE TRIGGER USER; UPDATE plain SET w = 'unseen'; ALTER TABLE plain ENABLE TRIGGER USER",
        Meets::Reconcile,
    ),
    (
        "ALTER TABLE part_1 DISABLE TRIGGER USER; UPDATE part SET w = 'unseen'; ALTER TABLE part_1 ENABLE TRIGGER USER",
        Meets::Reconcile,
    ),
    ("ALTER TABLE plain DISABLE TRIGGER USER", Meets::Refusal),
];

/// A change of a row behind it, which must not be told before it was noticed.
const NEXT: &str = "INSERT INTO plain (id) SELECT 1000 + count(*) FROM plain";

fn followed<L: Kind>() -> Bench<L> {
    let database = Database::with(SCHEMA);
    let (text, _) =
        crossfade::mapping::init::init(&crossfade::postgres::describe(&database.login()).unwrap().schema, "bench");
    let mut bench = Bench::mapped(L::of(database), &text);
    bench.install();
    bench.replay();
    bench.assert_followed();
    assert_eq!(bench.reconciles, 0);
    bench
}

fn run<L: Kind>(bench: &Bench<L>, script: &str) {
    // What is sent at once would be one transaction, and VACUUM runs in none.
    let mut client = bench.database().connect();
    for statement in script.split("; ").chain([NEXT]) {
        client.batch_execute(statement).unwrap_or_else(|error| panic!("{error:?} in {statement}"));
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(script: &str, result: Result<T>) {
    let error = result.expect_err(script);
    assert_eq!(error.kind(), ErrorKind::Refused, "{script}: {error:?}");
    assert!(error.message().contains("plain") || error.message().contains("publication"), "{script}: {error:?}");
}

/// What the next batch of a follow says.
fn meet<L: Kind>(bench: &Bench<L>, reader: &mut dyn ChangeReader, script: &str) -> Result<Option<String>> {
    let mut changes = Changes::default();
    while !changes.caught_up {
        reader.read(&mut changes, 1_000, Duration::from_millis(100)).unwrap();
    }
    run(bench, script);
    loop {
        reader.read(&mut changes, 1_000, Duration::from_millis(100))?;
        if !changes.is_empty() || changes.reconcile.is_some() {
            return Ok(changes.reconcile);
        }
    }
}

/// While a follow reads, which ends before it commits; and where it begins after that.
fn noticed<L: Kind>(script: &str, meets: Meets) {
    let mut bench = followed::<L>();
    let position = bench.follow().position;
    let mut reader = bench.capture().open(&position).unwrap();
    let met = meet(&bench, reader.as_mut(), script);
    drop(reader);
    if meets == Meets::Refusal {
        refused(script, met);
        refused(script, bench.try_follow());
        assert_eq!(bench.told().len(), 0, "{script}");
        return;
    }
    assert!(met.unwrap().is_some(), "{script}");
    assert!(matches!(bench.try_follow().unwrap(), Ended::Reconcile(_)), "{script}");
    assert!(matches!(bench.try_follow().unwrap(), Ended::Reconcile(_)), "{script}: it was forgotten");
    bench.follow();
    let differing = bench.differing();
    assert!(differing.is_empty(), "{script}: {differing:#?}");
    assert_eq!(bench.reconciles, 1, "{script}");
}

/// One after the other, while a follow reads and between two of them.
fn nothing<L: Kind>() {
    let mut bench = followed::<L>();
    for (script, _) in CHANGES.iter().filter(|(_, meets)| *meets == Meets::Nothing) {
        let told = bench.told().len();
        run(&bench, script);
        bench.assert_followed();
        assert_eq!((bench.reconciles, bench.told().len()), (0, told + 1), "{script}");
    }
    let position = bench.follow().position;
    let mut reader = bench.capture().open(&position).unwrap();
    let scripts = CHANGES.iter().filter(|(_, meets)| *meets == Meets::Nothing).map(|(script, _)| *script);
    for script in scripts.filter(|script| !script.contains("ADD CHECK")).chain(PREPARED) {
        assert_eq!(meet(&bench, reader.as_mut(), script).unwrap(), None, "{script}");
    }
    drop(reader);
    bench.assert_followed();
}

fn all<L: Kind>(own: &[(&str, Meets)]) {
    nothing::<L>();
    for (script, meets) in CHANGES.iter().chain(own).filter(|(_, meets)| *meets != Meets::Nothing) {
        noticed::<L>(script, *meets);
    }
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_by_decoding_what_changes_rows_without_an_event_is_noticed_before_the_next_one() {
    all::<Decoded>(DECODING);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i02_from_an_outbox_what_changes_rows_without_an_event_is_noticed_before_the_next_one() {
    all::<Boxed>(OUTBOX);
}
