//! A migration on its way from tables to events and back, and what its log holds.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossfade::base::{Millis, hex};
use crossfade::capture::ReplayState;
use crossfade::demo::Sizes;
use crossfade::embedded::EmbeddedLog;
use crossfade::event::{Envelope, Sequence};
use crossfade::kafka::{KafkaLog, KafkaSettings};
use crossfade::mapping::Mapping;
use crossfade::port::event_log::{Batch, EventLog, Positions};
use rusqlite::Connection;
use serde_json::Value;

use super::acc::{TABLES, assert_same_rows, build_store};
use super::cli::{Log, Migration, brokers};

/// Every test of a file for the embedded log, and for Kafka where there is one.
macro_rules! on_both_logs {
    ($($test:ident),* $(,)?) => {
        mod embedded {
            $(#[test] fn $test() { super::$test($crate::support::cli::Log::Embedded); })*
        }
        mod kafka {
            $(#[test] #[ignore = "needs Kafka"] fn $test() { super::$test($crate::support::cli::Log::Kafka); })*
        }
    };
}
pub(crate) use on_both_logs;

/// A generated store large enough for several chunks.
pub const MIDDLE: Sizes = Sizes { sessions: 60, messages: 2_000, seed: 5 };

/// The commands from an empty log to a projection at its end.
pub const FLOW: [&[&str]; 3] = [&["provision", "apply"], &["replay"], &["project"]];

/// A migration of a generated ACC store; nothing is run.
pub fn generated(log: Log, sizes: Sizes, more: &str) -> Migration {
    let migration = Migration::acc(log, more);
    build_store(&migration.legacy(), sizes);
    migration
}

/// A migration of a generated ACC store, replayed and projected.
pub fn projected(log: Log, sizes: Sizes) -> Migration {
    let migration = generated(log, sizes, "");
    run_all(&migration, &FLOW);
    migration
}

#[track_caller]
pub fn run_all(migration: &Migration, commands: &[&[&str]]) {
    for command in commands {
        migration.expect(command, 0);
    }
}

/// Replays and projects what has changed since, and asserts a PASS that the sqlite3 command confirms.
#[track_caller]
pub fn bring_over(migration: &Migration) {
    run_all(migration, &[&["replay", "--allow", "mass-delete"], &["project"]]);
    confirmed_pass(migration);
}

/// Asserts a PASS that the sqlite3 command confirms; gives the report.
#[track_caller]
pub fn confirmed_pass(migration: &Migration) -> Value {
    let report = diff(migration, &[], 0);
    assert_eq!(report["verdict"], "PASS");
    let rows: u64 = assert_same_rows(&migration.legacy(), &migration.projection(), &TABLES).iter().sum();
    assert_eq!(report["totals"]["compared"], rows, "{report:#}");
    assert_eq!(report["totals"]["skipped"], 0, "{report:#}");
    report
}

/// The JSON report of a diff that ends with `code`.
#[track_caller]
pub fn diff(migration: &Migration, args: &[&str], code: i32) -> Value {
    json(&migration.expect(&[&["diff", "--output", "json"], args].concat(), code))
}

#[track_caller]
pub fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}

/// The report's line of one table.
#[track_caller]
pub fn table<'r>(report: &'r Value, name: &str) -> &'r Value {
    let mut lines = report["tables"].as_array().unwrap().iter();
    lines.find(|line| line["table"] == name).unwrap_or_else(|| panic!("no table {name} in {report:#}"))
}

/// The sample of one key, which must be there once.
#[track_caller]
pub fn sample<'r>(report: &'r Value, key: &str) -> &'r Value {
    let samples: Vec<&Value> =
        report["samples"].as_array().unwrap().iter().filter(|sample| sample["key"] == key).collect();
    assert_eq!(samples.len(), 1, "samples of {key} in {report:#}");
    samples[0]
}

#[track_caller]
pub fn has_finding(report: &Value, code: &str, severity: &str) {
    let found = report["findings"].as_array().unwrap().iter();
    let fits = |finding: &&Value| finding["code"] == code && finding["severity"] == severity;
    assert_eq!(found.filter(fits).count(), 1, "finding {code} ({severity}) in {report:#}");
}

/// Runs a script with foreign keys off; says how many rows its last statement changed.
#[track_caller]
pub fn execute(path: &Path, sql: &str) -> u64 {
    let connection = Connection::open(path).unwrap();
    connection.busy_timeout(Duration::from_secs(5)).unwrap();
    connection.pragma_update(None, "foreign_keys", "OFF").unwrap();
    connection.execute_batch(sql).unwrap_or_else(|error| panic!("{error} in {sql}"));
    connection.changes()
}

/// The texts of one column.
#[track_caller]
pub fn column(path: &Path, sql: &str) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap_or_else(|error| panic!("{error} in {sql}"));
    statement.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

pub fn mapping(migration: &Migration) -> Arc<Mapping> {
    let text = std::fs::read_to_string(migration.path("mapping.yaml")).unwrap();
    Arc::new(Mapping::parse("mapping.yaml", &text).unwrap())
}

/// The migration's log, as another process would open it; made when it is not there.
pub fn open_log(migration: &Migration) -> Box<dyn EventLog> {
    match migration.log {
        Log::Embedded => {
            std::fs::create_dir_all(migration.path(".crossfade")).unwrap();
            Box::new(EmbeddedLog::open(&migration.path(".crossfade/log.db"), true).unwrap())
        }
        Log::Kafka => {
            let bootstrap = brokers().split(',').map(str::to_owned).collect();
            Box::new(KafkaLog::open(&KafkaSettings { bootstrap, ..KafkaSettings::default() }).unwrap())
        }
    }
}

/// A row event as it lies in the log.
#[derive(Clone, Debug)]
pub struct Seen {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    pub id: String,
    pub event_type: String,
    pub source: String,
    pub sequence: Sequence,
    pub value: Value,
}

impl Seen {
    pub fn op(&self) -> &str {
        self.value["op"].as_str().unwrap()
    }

    /// Operation and identity (its first column).
    pub fn change(&self, mapping: &Mapping) -> String {
        let table = mapping.table(self.value["table"].as_str().unwrap()).unwrap();
        let identity = table.fields().nth(table.identity[0]).unwrap();
        format!("{} {}", self.op(), self.value["row"][identity].to_string().trim_matches('"'))
    }

    pub fn place(&self) -> (&str, i32) {
        (&self.topic, self.partition)
    }
}

/// Calls `each` with every record of every topic of the mapping, in offset order per partition.
pub fn each_record(log: &dyn EventLog, mapping: &Mapping, each: &mut dyn FnMut(&crossfade::port::event_log::Fetched)) {
    let (mut from, mut until) = (Positions::new(), Positions::new());
    for topic in &mapping.topics {
        for (partition, ends) in log.ends(&topic.name).unwrap() {
            from.insert((topic.name.clone(), partition), ends.low);
            until.insert((topic.name.clone(), partition), ends.committed);
        }
    }
    let mut reader = log.open_reader(&from).unwrap();
    let mut batch = Batch::default();
    while until.iter().any(|(place, end)| reader.positions()[place] < *end) {
        reader.read(&mut batch, 4_000, Duration::from_millis(100)).unwrap();
        batch.iter().for_each(|record| each(&record));
    }
}

/// Whether an event is one that is folded, where all are of one migration.
pub fn speaks_for_a_row(envelope: &Envelope<'_>) -> bool {
    let beside = ["#derived", "#agent", "#probe"].iter().any(|capture| envelope.source.ends_with(capture));
    !beside && !envelope.event_type.starts_with("crossfade.")
}

/// Every row event in the order of `ce_sequence`.
pub fn events(log: &dyn EventLog, mapping: &Mapping) -> Vec<Seen> {
    let mut all = Vec::new();
    each_record(log, mapping, &mut |record| {
        let envelope = Envelope::read(record.headers()).unwrap().expect("a CloudEvent");
        if !speaks_for_a_row(&envelope) {
            return;
        }
        all.push(Seen {
            topic: record.topic.to_owned(),
            partition: record.partition,
            offset: record.offset,
            key: String::from_utf8_lossy(record.key).into_owned(),
            id: hex(&envelope.id),
            event_type: envelope.event_type.to_owned(),
            source: envelope.source.to_owned(),
            sequence: envelope.sequence,
            value: serde_json::from_slice(record.value).unwrap(),
        });
    });
    all.sort_by_key(|event| event.sequence);
    all
}

/// The events of one row by its `id`.
pub fn events_of<'e>(events: &'e [Seen], table: &str, id: &str) -> Vec<&'e Seen> {
    events.iter().filter(|event| event.value["table"] == table && event.value["row"]["id"] == id).collect()
}

/// No id twice; all events of a key in one partition, in the order of their sequence.
#[track_caller]
pub fn assert_orderly(events: &[Seen]) {
    let ids: BTreeSet<&str> = events.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), events.len(), "an event id twice");
    let mut places: BTreeMap<&str, (&str, i32)> = BTreeMap::new();
    let mut offsets: BTreeMap<(&str, i32), i64> = BTreeMap::new();
    let mut last = None;
    for event in events {
        assert!(last < Some(event.sequence), "{} twice", event.sequence);
        last = Some(event.sequence);
        let place = *places.entry(&event.key).or_insert(event.place());
        assert_eq!(place, event.place(), "the events of {} lie in two partitions", event.key);
        let before = offsets.insert(place, event.offset);
        assert!(before < Some(event.offset), "{place:?}: {} after {before:?}", event.offset);
    }
}

/// Starts a command and waits until it says `text` on stderr.
pub fn started(migration: &Migration, args: &[&str], text: &str) -> Child {
    let mut child = migration.command(args).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains(text) {
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "ended without '{text}': {said}");
    }
    // Whatever else it says must find a reader.
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    child
}

/// Waits until a replay has committed something, while it goes on.
pub fn committed(migration: &Migration, replay: &mut Child) {
    let log = open_log(migration);
    while ReplayState::read(log.as_ref(), &migration.name).unwrap().is_none_or(|(state, _)| state.count == 0) {
        assert!(replay.try_wait().unwrap().is_none(), "the replay ended");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(replay.try_wait().unwrap().is_none(), "the replay ended");
}

pub fn now() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as Millis
}

/// Events of the replay's writer that are committed.
pub fn committed_count(migration: &Migration) -> u64 {
    ReplayState::read(open_log(migration).as_ref(), &migration.name).unwrap().map_or(0, |(state, _)| state.count)
}
