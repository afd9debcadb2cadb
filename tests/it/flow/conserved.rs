//! A verdict conserves rows: PASS exactly when both sides hold the same ones, and whatever differs is named.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crossfade::base::Verdict;
use crossfade::compare::{Evidence, Job, compare};
use crossfade::diff::{Difference, Outcome, verdict};
use crossfade::port::event_log::Positions;
use crossfade::port::legacy_source::LegacySource;
use crossfade::port::progress::Silent;
use crossfade::port::row_store::{Mode, RowStore};
use crossfade::report::{Format, render};
use crossfade::sqlite::source::SqliteSource;
use crossfade::sqlite::store::SqliteStore;
use proptest::prelude::*;
use rusqlite::Connection;
use serde_json::Value;

use crate::support::cli::{Log, Migration};
use crate::support::flow::{diff, execute, has_finding, run_all};
use crate::support::store::{claim, mapping, table};

const MAPPING: &str = "\
version: 1
topics:
  rows: {partitions: 2}
tables:
  t:
    topic: rows
    identity: [mail]
    columns:
      mail: text
      v: int
";

const ROWS: &str = "INSERT INTO t VALUES ('a', 1), ('b', 2), ('c', 3)";

fn legacy(sql: &str) -> Migration {
    let migration = Migration::new(Log::Embedded, "  mapping: mapping.yaml\n  store: sqlite:legacy.db\n", "");
    std::fs::write(migration.path("mapping.yaml"), MAPPING).unwrap();
    let store = Connection::open(migration.path("legacy.db")).unwrap();
    store.pragma_update(None, "journal_mode", "WAL").unwrap();
    store.execute_batch(sql).unwrap();
    drop(store);
    migration.expect(&["provision", "apply"], 0);
    migration
}

fn moved() -> Migration {
    let migration =
        legacy(&format!("CREATE TABLE t (mail text, v int); CREATE UNIQUE INDEX u ON t (mail COLLATE NOCASE); {ROWS}"));
    run_all(&migration, &[&["replay"], &["project"]]);
    migration
}

/// The samples of a report as `key difference legacy projection`, with the values of `v`.
fn told(report: &Value) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let samples = report["samples"].as_array().unwrap().iter();
    let told = samples.map(|sample| {
        let v = sample["columns"].as_array().unwrap().iter().find(|column| column["name"] == "v");
        let side = |side: &str| v.map_or("-".to_owned(), |column| text(&column[side]));
        let (key, difference) = (text(&sample["key"]), text(&sample["difference"]));
        format!("{key} {difference} {} {}", side("legacy"), side("projection"))
    });
    told.collect()
}

#[test]
fn i05_a_copy_refuses_an_identity_that_two_rows_have() {
    for (rows, named) in [
        ("('a', 1), ('b', 2), ('a', 3), ('a', 4), ('b', 5)", Some("mail=")),
        ("('a', 1), (NULL, 2), ('c', 3), ('c', 3)", Some("mail=c")),
        ("('a', 1), ('A', 2), ('a ', 3)", None),
    ] {
        let migration = legacy(&format!("CREATE TABLE t (mail text, v int); INSERT INTO t VALUES {rows}"));
        for args in [&["replay"][..], &["replay", "--quarantine", "q"], &["replay", "--dry-run"]] {
            let ran = migration.run(args);
            let Some(named) = named else {
                assert_eq!(ran.code, Some(0), "{args:?} of {rows}: {}", ran.stderr);
                continue;
            };
            assert_eq!(ran.code, Some(3), "{args:?} of {rows}: {}", ran.stderr);
            let whole = format!("two rows of table 't' have the identity {named}");
            assert!(ran.stderr.contains(&whole) && ran.stderr.contains("'identity'"), "{}", ran.stderr);
        }
    }
}

#[test]
fn a_unique_key_whose_columns_may_be_null_keeps_identities_apart() {
    let migration =
        legacy("CREATE TABLE t (mail text UNIQUE, v int); INSERT INTO t VALUES ('a', 1), (NULL, 2), (NULL, 3)");
    run_all(&migration, &[&["replay", "--quarantine", "q"], &["project"]]);
    let report = diff(&migration, &[], 5);
    has_finding(&report, "identity-missing", "gap");
    assert_eq!(report["totals"]["skipped"], 2);
}

#[test]
fn i05_two_legacy_rows_of_one_identity_fail_the_verdict_and_are_both_shown() {
    let migration = moved();
    assert_eq!(diff(&migration, &[], 0)["verdict"], "PASS");
    execute(&migration.path("legacy.db"), "DROP INDEX u");
    execute(&migration.path("legacy.db"), "INSERT INTO t VALUES ('a', 1), ('b', 9)");
    for args in [&[][..], &["--from-log"], &["--samples", "0"]] {
        let report = diff(&migration, &[args, &["--report", "junit=r.xml"]].concat(), 1);
        has_finding(&report, "identity-shared", "failure");
        assert_eq!((&report["totals"]["legacy_rows"], &report["totals"]["projected_rows"]), (&5.into(), &3.into()));
        assert_eq!((&report["totals"]["compared"], &report["totals"]["shared"]), (&3.into(), &2.into()), "{report:#}");
        if args != ["--samples", "0"] {
            let shown = ["mail=a shared 1 1", "mail=a shared 1 -", "mail=b shared 2 2", "mail=b shared 9 -"];
            assert_eq!(told(&report), shown.map(str::to_owned).into(), "{report:#}");
            assert!(report["next"].as_str().unwrap().contains("'identity'"), "{}", report["next"]);
        }
        let junit = std::fs::read_to_string(migration.path("r.xml")).unwrap();
        assert!(junit.contains("name=\"finding: identity-shared\"") && !junit.contains("failures=\"0\""), "{junit}");
    }
    let shown = migration.expect(&["diff"], 1);
    assert!(shown.contains("FAIL"), "{shown}");
    let reconciled = migration.run(&["replay"]);
    assert_eq!(reconciled.code, Some(3), "{}", reconciled.stderr);
    assert!(reconciled.stderr.contains("two rows of table 't' have the identity mail="), "{}", reconciled.stderr);
    execute(&migration.path("legacy.db"), "DELETE FROM t WHERE rowid > 3");
    assert_eq!(diff(&migration, &[], 0)["verdict"], "PASS");
}

#[test]
fn i05_projected_rows_that_share_an_identity_or_have_none_fail_the_verdict() {
    let projection = |migration: &Migration| migration.path(".crossfade/projection.db");
    for (sql, code, shown) in [
        ("INSERT INTO t (mail, v) VALUES ('a', 1)", "identity-shared", ["mail=a shared 1 1", "mail=a shared - 1"]),
        ("INSERT INTO t (mail, v) VALUES ('a', 7)", "identity-shared", ["mail=a shared 1 1", "mail=a shared - 7"]),
        ("INSERT INTO t (mail, v) VALUES (NULL, 7)", "identity-missing", ["mail=NULL extra - 7"; 2]),
        ("INSERT INTO t (mail, v) VALUES (x'00', 7)", "identity-missing", ["mail=blob of 1 bytes extra - 7"; 2]),
    ] {
        let migration = moved();
        assert_eq!(execute(&projection(&migration), sql), 1);
        let report = diff(&migration, &[], 1);
        has_finding(&report, code, "failure");
        assert_eq!(told(&report), shown.map(str::to_owned).into(), "{sql}: {report:#}");
        assert_eq!(report["next"], "crossfade project --rebuild");
        assert_eq!(diff(&migration, &["--from-log"], 0)["verdict"], "PASS");
        if code == "identity-shared" {
            let reconciled = migration.run(&["replay"]);
            assert_eq!(reconciled.code, Some(2), "{}", reconciled.stderr);
            assert!(reconciled.stderr.contains("project --rebuild"), "{}", reconciled.stderr);
        }
        migration.expect(&["project", "--rebuild"], 0);
        assert_eq!(diff(&migration, &[], 0)["verdict"], "PASS");
    }
}

#[test]
fn i05_a_store_that_hides_rows_from_an_index_is_never_a_pass() {
    let migration = moved();
    let open = || Connection::open(migration.path("legacy.db")).unwrap();
    let store = open();
    store.execute_batch("CREATE INDEX i ON t (v)").unwrap();
    let root: i64 =
        store.query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'i'", [], |row| row.get(0)).unwrap();
    store.execute_batch("PRAGMA writable_schema = ON; DELETE FROM sqlite_schema WHERE name = 'i'").unwrap();
    drop(store);
    open().execute_batch("INSERT INTO t VALUES ('d', 4)").unwrap();
    run_all(&migration, &[&["replay"], &["project"]]);
    assert_eq!(diff(&migration, &[], 0)["verdict"], "PASS");
    let store = open();
    store.execute_batch("PRAGMA writable_schema = ON").unwrap();
    store
        .execute("INSERT INTO sqlite_schema VALUES ('index', 'i', 't', ?1, 'CREATE INDEX i ON t (v)')", [root])
        .unwrap();
    drop(store);
    let report = diff(&migration, &[], 1);
    has_finding(&report, "unaccounted", "failure");
}

/// A value as SQL, and as the independent comparison tells it: two are equal when these are.
const VALUES: [&str; 9] = ["1", "1.0", "'1'", "'a'", "'A'", "'b'", "2", "NULL", "x'61'"];

type Rows = Vec<(usize, usize)>;

/// What somebody does to one side's rows.
#[derive(Clone, Debug)]
enum Edit {
    Double(usize),
    Ghost(usize, usize),
    Swap(usize, usize),
    Change(usize, usize),
    Remove(usize),
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let (at, value) = (0..8_usize, 0..VALUES.len());
    let edit = prop_oneof![
        at.clone().prop_map(Edit::Double),
        (value.clone(), value.clone()).prop_map(|(k, v)| Edit::Ghost(k, v)),
        (at.clone(), at.clone()).prop_map(|(one, two)| Edit::Swap(one, two)),
        (at.clone(), value).prop_map(|(at, v)| Edit::Change(at, v)),
        at.prop_map(Edit::Remove),
    ];
    prop::collection::vec(edit, 0..3)
}

fn edited(mut rows: Rows, edits: &[Edit]) -> Rows {
    for edit in edits {
        let len = rows.len();
        match *edit {
            Edit::Ghost(k, v) => rows.push((k, v)),
            _ if len == 0 => {}
            Edit::Double(at) => rows.push(rows[at % len]),
            Edit::Swap(one, two) => {
                let (one, two) = (one % len, two % len);
                (rows[one].0, rows[two].0) = (rows[two].0, rows[one].0);
            }
            Edit::Change(at, v) => rows[at % len].1 = v,
            Edit::Remove(at) => {
                rows.remove(at % len);
            }
        }
    }
    rows
}

fn insert(connection: &Connection, rows: &Rows) {
    for (k, v) in rows {
        connection.execute_batch(&format!("INSERT INTO t (k, v) VALUES ({}, {})", VALUES[*k], VALUES[*v])).unwrap();
    }
}

fn compared(legacy: &Rows, projected: &Rows) -> Evidence {
    let folder = tempfile::tempdir().unwrap();
    let mapping = mapping(vec![table("t", &[("k", ""), ("v", "")], &[0])]);
    let (old, new) = (folder.path().join("legacy.db"), folder.path().join("projection.db"));
    let connection = Connection::open(&old).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.execute_batch("CREATE TABLE t (k, v)").unwrap();
    insert(&connection, legacy);
    let store = SqliteStore::new(new.clone());
    claim(&store, &mapping, Mode::Live).commit(&Positions::new()).unwrap();
    insert(&Connection::open(&new).unwrap(), projected);
    let source = SqliteSource::open(&old, Arc::clone(&mapping), false).unwrap();
    let (mut snapshot, mut view) = (source.snapshot().unwrap(), store.view(&mapping).unwrap());
    let job = Job {
        mapping: &mapping,
        migration: "m",
        snapshot: snapshot.as_mut(),
        view: view.as_mut(),
        log: None,
        span: None,
        looks: None,
        from: &Positions::new(),
        ignore: &[],
        today: "2026-01-01",
        rejected: &|_, _| false,
        redacts: false,
        max_samples: 1_000,
        mirrored: None,
        progress: &Silent,
    };
    compare(job, &mut |_| Ok(())).unwrap()
}

fn junit(evidence: &Evidence, verdict: Verdict) -> String {
    let mut outcome: Outcome = crate::report::outcome(evidence.tables.clone(), evidence.findings.clone());
    assert_eq!(outcome.verdict, verdict);
    outcome.samples = evidence.samples.clone();
    String::from_utf8(render(&outcome, Format::Junit)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn i05_pass_exactly_when_both_sides_hold_the_same_rows(
        base in prop::collection::btree_map(0..7_usize, 0..VALUES.len(), 0..6),
        ours in edits(),
        theirs in edits(),
        both in edits(),
    ) {
        let base = edited(base.into_iter().collect(), &both);
        let (legacy, projected) = (edited(base.clone(), &ours), edited(base, &theirs));
        let evidence = compared(&legacy, &projected);
        let (found, reason) = verdict(&evidence.tables, &evidence.findings);

        let (mut one, mut two) = (legacy.clone(), projected.clone());
        one.sort_unstable();
        two.sort_unstable();
        let named = |rows: &Rows| rows.iter().all(|(k, _)| *k < 7);
        let same = one == two && named(&one);
        prop_assert_eq!(found == Verdict::Pass, same && !one.is_empty(), "{:?}: {}", found, reason);
        let green = !junit(&evidence, found).contains("<failure") && !junit(&evidence, found).contains("<error");
        prop_assert_eq!(green, found == Verdict::Pass);
        // Each identity whose rows differ is shown, and every row that has none on the projected side.
        let mut of: BTreeMap<usize, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
        one.iter().for_each(|(k, v)| of.entry(*k).or_default().0.push(*v));
        two.iter().for_each(|(k, v)| of.entry(*k).or_default().1.push(*v));
        for (k, (one, two)) in of {
            let key = format!("k={}", ["1", "1", "1", "a", "A", "b", "2", "NULL", "blob of 1 bytes"][k]);
            let samples = evidence.samples.iter().filter(|sample| sample.key == key).count();
            if k < 7 {
                prop_assert!(one == two || samples > 0, "{} is not shown", key);
                prop_assert!(one == two || found == Verdict::Fail, "{} differs: {}", key, reason);
            } else {
                prop_assert_eq!(samples, two.len(), "{} is not shown", key);
                prop_assert!(evidence.findings.iter().any(|finding| finding.code == "identity-missing"));
            }
        }
        for sample in evidence.samples.iter().filter(|sample| sample.difference == Difference::Shared) {
            prop_assert_eq!(sample.columns.len(), 2);
        }
    }
}
