//! Any SQLite database goes all the way, by the mapping that `init` writes for it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossfade::base::Verdict;
use crossfade::capture::{Phase, Replay, Settings};
use crossfade::compare::{Job, compare};
use crossfade::control::missing_topics;
use crossfade::diff::verdict;
use crossfade::embedded::EmbeddedLog;
use crossfade::event::codec::Exact;
use crossfade::mapping::Mapping;
use crossfade::mapping::init::init;
use crossfade::port::event_log::{EventLog, Positions};
use crossfade::port::legacy_source::LegacySource;
use crossfade::port::progress::Silent;
use crossfade::port::row_store::RowStore;
use crossfade::project::Projector;
use crossfade::sqlite::introspect::describe;
use crossfade::sqlite::source::SqliteSource;
use crossfade::sqlite::store::SqliteStore;
use rusqlite::Connection;

use crate::support::acc::{Same, assert_same_rows};
use crate::support::cli::{Log, Migration, Ran, brokers};
use crate::support::flow::{events, json, now, open_log};
use crate::support::schemas::generate;

/// A few more than 200: some seeds make tables without a row, of which nothing can be said.
const SEEDS: std::ops::RangeInclusive<u64> = 1..=204;

/// Through the binary; of these, one has a table that cannot be mapped and one a virtual table.
const BY_THE_BINARY: [u64; 3] = [3, 37, 83];

/// Asserts sameness by the sqlite3 command; gives the rows of each mapped table.
///
/// What a virtual column holds is up to the SQLite that reads it (how long is a real as text?), and the command's may be
/// older than the one built in: tables with such columns are written down first as the latter reads them.
fn judge(legacy: &Path, projection: &Path, mapping: &Mapping) -> Vec<u64> {
    let frozen = legacy.with_extension("frozen");
    let store = Connection::open(legacy).unwrap();
    store.execute("ATTACH ?1 AS frozen", [frozen.to_str().unwrap()]).unwrap();
    let quote = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let mut counts = Vec::new();
    for table in &mapping.tables {
        let same = Same { table: &table.name, keyed: table.rowid.is_none(), never: &[] };
        let generated = table.columns.iter().any(|column| column.generated);
        if generated {
            let columns: Vec<String> = table.columns.iter().map(|column| quote(&column.name)).collect();
            let (name, columns) = (quote(&table.name), columns.join(", "));
            let copy = format!("INSERT INTO frozen.{name} SELECT {columns} FROM main.{name}");
            store.execute_batch(&format!("CREATE TABLE frozen.{name} ({columns}); {copy}")).unwrap();
        }
        let side = if generated { frozen.as_path() } else { legacy };
        counts.extend(assert_same_rows(side, projection, &[same]));
    }
    counts
}

#[test]
fn i04_200_generated_databases_come_back_as_they_were() {
    let (next, rows, passed) = (AtomicU64::new(*SEEDS.start()), AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !SEEDS.contains(&seed) {
                return;
            }
            let folder = tempfile::tempdir().unwrap();
            let came_back = there_and_back(seed, folder.path());
            rows.fetch_add(came_back, Ordering::Relaxed);
            passed.fetch_add(u64::from(came_back > 0), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        for worker in workers {
            worker.join().unwrap();
        }
    });
    assert!(next.into_inner() > *SEEDS.end());
    let (rows, passed) = (rows.into_inner(), passed.into_inner());
    assert!(passed >= 200 && rows > 10_000, "{passed} databases, {rows} rows");
}

/// Runs one database through the engines; says how many rows came back.
fn there_and_back(seed: u64, folder: &Path) -> u64 {
    let legacy = folder.join("legacy.db");
    generate(seed, &legacy);
    let (text, _) = init(&describe(&legacy).unwrap(), "any");
    let mapping =
        Arc::new(Mapping::parse("mapping.yaml", &text).unwrap_or_else(|error| panic!("seed {seed}: {error}")));
    let source = SqliteSource::open(&legacy, mapping.clone(), false).unwrap();
    source.check().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let log = EmbeddedLog::open(&folder.join("log.db"), true).unwrap();
    log.create_topics(&missing_topics(&log, &mapping, "any").unwrap()).unwrap();
    let settings = Settings { chunk_rows: 7, transaction_rows: 20, ..Settings::new("any", "one") };
    let replay = Replay {
        source: &source,
        log: &log,
        mapping: &mapping,
        codec: &Exact,
        settings: &settings,
        progress: &Silent,
        now: &now,
    };
    let copied = replay.copy(None).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    assert_eq!(copied.state.phase, Phase::Done);
    let projection = folder.join("projection.db");
    let store = SqliteStore::new(&projection);
    let projector = Projector {
        log: &log,
        store: &store,
        mapping: &mapping,
        migration: &settings.migration,
        from: &Positions::new(),
        progress: &Silent,
    };
    projector.rebuild().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let (mut snapshot, mut view) = (source.snapshot().unwrap(), store.view(&mapping).unwrap());
    let job = Job {
        mapping: &mapping,
        migration: &settings.migration,
        snapshot: snapshot.as_mut(),
        view: view.as_mut(),
        log: Some(&log),
        span: None,
        looks: None,
        from: &Positions::new(),
        ignore: &[],
        today: "2026-01-01",
        rejected: &|_, _| false,
        mirrored: None,
        redacts: false,
        max_samples: 3,
        progress: &Silent,
    };
    let evidence = compare(job, &mut |_| Ok(())).unwrap();
    let (verdict, reason) = verdict(&evidence.tables, &[]);
    let counted: Vec<u64> = evidence.tables.iter().map(|table| table.compared).collect();
    let expected = if counted.iter().sum::<u64>() == 0 { Verdict::Inconclusive } else { Verdict::Pass };
    assert_eq!(verdict, expected, "seed {seed}: {reason} {evidence:#?}");
    assert_eq!(judge(&legacy, &projection, &mapping), counted, "seed {seed}");
    counted.iter().sum()
}

fn i04_a_database_nobody_prepared_goes_through_the_binary(log: Log) {
    for seed in BY_THE_BINARY {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("t{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        let migration = Migration { folder, name: name.clone(), log };
        generate(seed, &migration.legacy());
        let run = |args: &[&str]| {
            let mut command = migration.command(args);
            if log == Log::Kafka {
                command.env("CROSSFADE_LOG_KAFKA_BOOTSTRAP", brokers());
            }
            let ran = Ran::of(command.output().unwrap());
            assert_eq!(ran.code, Some(0), "seed {seed}: {}\n{}\n{}", args.join(" "), ran.stdout, ran.stderr);
            ran.stdout
        };
        run(&["init", "--from", "sqlite:legacy.db", "--migration", &name]);
        run(&["provision", "apply"]);
        run(&["replay"]);
        run(&["project"]);
        let report = json(&run(&["diff", "--output", "json"]));
        assert_eq!(report["verdict"], "PASS");
        let mapping = crate::support::flow::mapping(&migration);
        let topics: Vec<_> = mapping.topics.iter().map(|topic| (topic.name.clone(), topic.partitions)).collect();
        assert_eq!(topics, [(format!("{name}.rows"), 6)]);
        let counts = judge(&migration.legacy(), &migration.projection(), &mapping);
        let rows: u64 = counts.iter().sum();
        assert_eq!(report["totals"]["compared"], rows);
        assert_eq!(events(open_log(&migration).as_ref(), &mapping).len() as u64, rows);
        if seed == 3 {
            let hidden = crate::support::flow::table(&report, "hidden");
            assert_eq!((&hidden["compared"], &hidden["legacy_rows"]), (&0.into(), &0.into()), "{hidden}");
        }
    }
}

crate::support::flow::on_both_logs!(i04_a_database_nobody_prepared_goes_through_the_binary);
