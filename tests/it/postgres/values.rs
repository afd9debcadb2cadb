//! Every type's values come back exactly, by the server's own judgement.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rusqlite::Connection;

use crate::support::cli::{Log, Migration};
use crate::support::decoding::{Bench, Decoded};
use crate::support::flow::{diff, run_all};
use crate::support::postgres::{Database, migration, projection, same_rows};

/// A column's type and how its values are made, as SQL.
type Kind = (&'static str, fn() -> BoxedStrategy<String>);

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn one_of(words: &'static [&'static str]) -> BoxedStrategy<String> {
    prop::sample::select(words).prop_map(quoted).boxed()
}

fn real(words: &'static [&'static str]) -> BoxedStrategy<String> {
    prop_oneof![
        any::<f64>().prop_filter("said by words", |real| real.is_finite()).prop_map(|real| format!("'{real:e}'")),
        one_of(words)
    ]
    .boxed()
}

fn text() -> BoxedStrategy<String> {
    prop_oneof![
        3 => "\\PC{0,30}".prop_map(|text| quoted(&text)),
        1 => prop::collection::vec(any::<char>(), 0..20).prop_map(|text| quoted(&text.into_iter().filter(|each| *each != '\0').collect::<String>())),
        1 => one_of(&["", " ", "\\", "\\N", "\\.", "\t\n\r", "{\"$blob\":1}", "null", "ünï\u{10ffff}", "a\u{301}", "'"]),
    ]
    .boxed()
}

/// Microseconds in the years of a timestamp, as SQL of its text.
fn moment(zone: &'static str) -> BoxedStrategy<String> {
    let within = prop_oneof![
        -210_000_000_000_000_000_i64..9_000_000_000_000_000_000,
        -1_000_000_000_000_i64..2_000_000_000_000_000
    ];
    prop_oneof![
        5 => within.prop_map(move |micros| format!("('2000-01-01 00:00:00'::timestamp + {} * interval '1 day' + {} * interval '1 microsecond'){zone}",
            micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000))),
        1 => one_of(&["infinity", "-infinity", "epoch", "4713-01-01 00:00:00 BC", "0001-12-31 23:59:59.999999 BC", "9999-12-31 23:59:59.999999"]),
    ]
    .boxed()
}

const KINDS: &[Kind] = &[
    ("smallint", || any::<i16>().prop_map(|number| format!("'{number}'")).boxed()),
    ("integer", || any::<i32>().prop_map(|number| format!("'{number}'")).boxed()),
    ("bigint", || any::<i64>().prop_map(|number| format!("'{number}'")).boxed()),
    ("oid", || any::<u32>().prop_map(|number| format!("'{number}'")).boxed()),
    ("boolean", || one_of(&["true", "false"])),
    ("real", || {
        prop_oneof![
            any::<f32>().prop_filter("said by words", |real| real.is_finite()).prop_map(|real| format!("'{real:e}'")),
            one_of(&["NaN", "Infinity", "-Infinity", "-0", "0.1", "1e-45", "3.4028235e38"])
        ]
        .boxed()
    }),
    ("double precision", || real(&["NaN", "Infinity", "-Infinity", "-0", "5e-324", "0.1", "1.7976931348623157e308"])),
    ("numeric", || {
        prop_oneof![
            (any::<i64>(), any::<u64>(), 0..20usize)
                .prop_map(|(whole, part, digits)| format!("'{whole}.{part:0>20}'::numeric({}, {digits})", 19 + digits)),
            one_of(&[
                "NaN",
                "Infinity",
                "-Infinity",
                "0",
                "0.00",
                "1.50",
                "-0.000",
                "1e100",
                "1e-100",
                "123456789012345678901234567890.12345678901234567890"
            ])
        ]
        .boxed()
    }),
    ("numeric(10,4)", || {
        (-999_999_i32..999_999, 0..9999u32).prop_map(|(whole, part)| format!("'{whole}.{part:04}'")).boxed()
    }),
    ("text", text),
    ("character varying(40)", || "\\PC{0,30}".prop_map(|text| quoted(&text)).boxed()),
    ("character(12)", || "[a-z ]{0,12}".prop_map(|text| quoted(&text)).boxed()),
    ("\"char\"", || one_of(&["", "a", "\\", " "])),
    ("name", || one_of(&["", "a name", "ünï"])),
    ("public.citext", || text()),
    ("bytea", || {
        prop::collection::vec(any::<u8>(), 0..40)
            .prop_map(|bytes| format!("'\\x{}'", crossfade::base::hex(&bytes)))
            .boxed()
    }),
    ("timestamp with time zone", || moment(" AT TIME ZONE 'UTC'")),
    ("timestamp without time zone", || moment("")),
    ("timestamp(3) with time zone", || one_of(&["2025-09-01 01:24:36.171+00", "2025-09-01 01:24:36.1234567-11:30"])),
    ("date", || one_of(&["infinity", "-infinity", "2025-09-01", "0044-03-15 BC", "5874897-12-31", "4713-01-01 BC"])),
    ("time without time zone", || one_of(&["00:00", "24:00", "12:34:56.789012", "23:59:59.999999"])),
    ("time with time zone", || one_of(&["00:00+00", "24:00-15:59", "12:34:56.789012+05:30:15"])),
    ("interval", || {
        (any::<i16>(), any::<i16>(), -1_000_000_000_000_i64..1_000_000_000_000)
            .prop_map(|(months, days, micros)| {
                format!("make_interval(months => {months}, days => {days}) + {micros} * interval '1 microsecond'")
            })
            .boxed()
    }),
    ("uuid", || any::<u128>().prop_map(|bits| format!("'{}'", uuid::Uuid::from_u128(bits))).boxed()),
    ("inet", || one_of(&["1.2.3.4", "1.2.3.4/24", "::1", "fe80::1/64", "0.0.0.0/0"])),
    ("cidr", || one_of(&["10.0.0.0/8", "1.2.3.4", "2001:db8::/32"])),
    ("macaddr", || one_of(&["08:00:2b:01:02:03"])),
    ("macaddr8", || one_of(&["08:00:2b:01:02:03:04:05"])),
    ("jsonb", || {
        one_of(&[
            "{\"b\":1,\"a\":[1.10,null,\"\\u00fc\\\"\\\\\"],\"b\":2}",
            "[]",
            "null",
            "\"x\"",
            "1e3",
            "-0.0",
            "12345678901234567890.10",
            "{\"\":{}}",
        ])
    }),
    ("json", || one_of(&[" {\"b\":1,  \"a\":2,\"b\":3 } ", "[]", "1.10", "\"\\u0000\""])),
    ("xml", || one_of(&["<a>b</a>", "text", "<a b=\"c\"/><d/>"])),
    ("bit(5)", || one_of(&["10101", "00000"])),
    ("bit varying", || one_of(&["", "1", "1010101010101"])),
    ("integer[]", || one_of(&["{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[2:3]={7,8}"])),
    ("text[]", || one_of(&["{}", "{a,\"b c\",\"d\\\"e\",NULL,\"NULL\",\"\"}", "{\"\\\\\",\"{}\"}"])),
    ("double precision[]", || one_of(&["{NaN,Infinity,-0,0.1,5e-324}"])),
    ("timestamp with time zone[]", || one_of(&["{\"2025-09-01 01:24:36.171+00\",infinity}"])),
    ("bytea[]", || one_of(&["{\"\\\\x00ff\",NULL}"])),
    ("int4range", || one_of(&["empty", "[1,5)", "(,)", "[3,)"])),
    ("tstzrange", || one_of(&["[\"2025-09-01 01:24:36.171+00\",infinity]", "empty"])),
    ("nummultirange", || one_of(&["{}", "{[1.0,2.50),(3,4]}"])),
    ("public.mood", || one_of(&["good", "so so", "it's"])),
    ("public.mood[]", || one_of(&["{good,\"so so\"}", "{}"])),
    ("public.price", || one_of(&["1.500", "0"])),
    ("point", || one_of(&["(1,2)", "(0.1,-1e300)"])),
    ("box", || one_of(&["(3,4),(1,2)"])),
    ("path", || one_of(&["[(0,0),(1,1)]", "((0,0),(1,1),(2,0))"])),
    ("circle", || one_of(&["<(1,2),3.5>"])),
    ("tsvector", || one_of(&["'a':1A 'it''s':2,3B", ""])),
    ("tsquery", || one_of(&["'a' & !'b' <-> 'c'"])),
    ("jsonpath", || one_of(&["$.\"a\"[*]?(@ > 1)"])),
    ("pg_lsn", || one_of(&["16/B374D848", "0/0"])),
];

fn column(at: usize) -> String {
    format!("c{at}")
}

/// A table with a column of each type, and rows of generated values.
fn fill(database: &Database, runner: &mut TestRunner, rows: usize) {
    let columns: Vec<String> =
        KINDS.iter().enumerate().map(|(at, (declared, _))| format!("{} {declared}", column(at))).collect();
    database.execute(&format!(
        "CREATE EXTENSION citext SCHEMA public; CREATE TYPE mood AS ENUM ('good', 'so so', 'it''s');
         CREATE DOMAIN price AS numeric(9,3); CREATE TABLE every (id integer PRIMARY KEY, {})",
        columns.join(", ")
    ));
    let mut values: Vec<String> = Vec::new();
    for id in 0..rows {
        let row: Vec<String> = KINDS
            .iter()
            .map(|(declared, values)| match prop::bool::weighted(0.1).new_tree(runner).unwrap().current() {
                true => "NULL".to_owned(),
                false => format!("({})::{declared}", values().new_tree(runner).unwrap().current()),
            })
            .collect();
        values.push(format!("({id}, {})", row.join(", ")));
    }
    database.execute(&format!("SET TimeZone = 'UTC'; INSERT INTO every VALUES {}", values.join(",\n")));
}

fn map(migration: &Migration) {
    let columns: Vec<String> =
        KINDS.iter().enumerate().map(|(at, (declared, _))| format!("{}: '{declared}'", column(at))).collect();
    let text = format!(
        "version: 1\ntypes: postgres\ntopics: {{rows: {{partitions: 3}}}}\ntables:\n  every:\n    topic: rows\n    identity: [id]\n    columns: {{id: integer, {}}}\n",
        columns.join(", ")
    );
    std::fs::write(migration.path("mapping.yaml"), text).unwrap();
}

/// Random rows by default; another seed shows other ones.
fn runner(seed: u8) -> TestRunner {
    let seed = [seed; 32];
    TestRunner::new_with_rng(
        ProptestConfig::default(),
        TestRng::from_seed(prop::test_runner::RngAlgorithm::ChaCha, &seed),
    )
}

use prop::test_runner::TestRng;

#[test]
#[ignore = "needs PostgreSQL"]
fn i04_values_of_every_type_come_back_exactly_in_postgresql() {
    for seed in [1, 2] {
        let database = Database::new();
        fill(&database, &mut runner(seed), 150);
        let migration = migration(Log::Embedded, &database, "  mapping: mapping.yaml\n", &projection(&database, true));
        map(&migration);
        run_all(&migration, &[&["provision", "apply"], &["replay"], &["project"]]);
        let report = diff(&migration, &[], 0);
        assert_eq!((&report["verdict"], &report["totals"]["compared"]), (&"PASS".into(), &150.into()), "{report:#}");
        let columns: Vec<String> = (0..KINDS.len()).map(column).collect();
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        assert_eq!(same_rows(&database, "every", &columns), 150);
        assert_eq!(database.column("SELECT count(*)::text FROM projected.every WHERE _cf_exact IS NOT NULL"), ["0"]);
        // Live, each row replaced by itself and back.
        database.execute("UPDATE every SET c1 = 7, c9 = 'changed' WHERE id % 3 = 0");
        run_all(&migration, &[&["replay"], &["project"]]);
        assert_eq!(diff(&migration, &[], 0)["verdict"], "PASS");
        assert_eq!(same_rows(&database, "every", &columns), 150);
    }
}

#[test]
#[ignore = "needs PostgreSQL"]
fn i04_values_of_every_type_are_kept_as_their_text_in_sqlite() {
    let database = Database::new();
    fill(&database, &mut runner(3), 150);
    // SQLite has no NaN.
    database.execute("UPDATE every SET c5 = NULL WHERE c5 = 'NaN'; UPDATE every SET c6 = NULL WHERE c6 = 'NaN'");
    let migration = migration(Log::Embedded, &database, "  mapping: mapping.yaml\n", "");
    map(&migration);
    run_all(&migration, &[&["provision", "apply"], &["replay"], &["project"], &["diff"]]);
    let sqlite = Connection::open(migration.projection()).unwrap();
    for (at, (declared, _)) in KINDS.iter().enumerate() {
        // Types whose text in the projection is the server's own, word for word.
        let cast = match *declared {
            "numeric" | "numeric(10,4)" | "text" | "uuid" | "jsonb" | "json" | "text[]" | "public.mood"
            | "int4range" | "cidr" => "text",
            _ => continue,
        };
        let name = column(at);
        let there = database.column(&format!("SELECT {name}::{cast} FROM every ORDER BY id"));
        let mut statement = sqlite.prepare(&format!("SELECT {name} FROM every ORDER BY id")).unwrap();
        let kept: Vec<String> = statement
            .query_map((), |row| Ok(row.get::<_, Option<String>>(0)?.unwrap_or_else(|| "NULL".to_owned())))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(kept, there, "{declared}");
    }
    // And a NaN is refused, said before and when it comes.
    database.execute("UPDATE every SET c6 = 'NaN' WHERE id = 3");
    migration.expect(&["replay"], 0);
    let ran = migration.run(&["project"]);
    assert_ne!(ran.code, Some(0));
    assert!(ran.stderr.contains("SQLite has no NaN") && ran.stderr.contains("holds NaN"), "{}", ran.stderr);
}

/// Replay reads the binary form of a value, follow the text of the server's log: both must make the same of it.
#[test]
#[ignore = "needs PostgreSQL"]
fn i04_values_of_every_type_are_the_same_by_replay_and_by_decoding() {
    let database = Database::new();
    fill(&database, &mut runner(4), 150);
    let columns: Vec<String> =
        KINDS.iter().enumerate().map(|(at, (declared, _))| format!("{}: '{declared}'", column(at))).collect();
    let text = format!(
        "version: 1\ntypes: postgres\ntopics: {{rows: {{partitions: 3}}}}\ntables:\n  every:\n    topic: rows\n    identity: [id]\n    columns: {{id: integer, {}}}\n",
        columns.join(", ")
    );
    let mut bench = Bench::mapped(Decoded { database }, &text);
    bench.install();
    bench.replay();
    let names: Vec<String> = (0..KINDS.len()).map(column).collect();
    let names = names.join(", ");
    bench.run(&format!(
        "INSERT INTO every SELECT id + 1000, {names} FROM every; UPDATE every SET id = id + 5000 WHERE id < 50"
    ));
    bench.assert_followed();
    assert_eq!((bench.reconciles, bench.told().len()), (0, 150 + 2 * 50));
    // Written back by the projection, they are what the server itself finds equal.
    let columns: Vec<String> = (0..KINDS.len()).map(column).collect();
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    assert_eq!(same_rows(&bench.database, "every", &columns), 300);
}
