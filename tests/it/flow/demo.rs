//! `crossfade demo` from end to end.

use rusqlite::Connection;

use crate::support::acc::{TABLES, assert_same_rows, differences};
use crate::support::cli::{Ran, command};

#[test]
fn the_demo_ends_well_and_its_pass_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["demo", "--dir", "demo", "--sessions", "60", "--messages", "3000"];
    let ran = Ran::of(command(folder.path(), &args).output().unwrap());
    assert_eq!(ran.code, Some(0), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("demo passed in"), "{}", ran.stdout);
    for said in ["killed after ", "PASS", "FAIL", "row ≠ fold", "projection ≠ fold"] {
        assert!(ran.stdout.contains(said), "'{said}' is not in {}", ran.stdout);
    }
    let demo = folder.path().join("demo");
    let html = std::fs::read_to_string(demo.join("diff.html")).unwrap();
    assert!(html.contains("FAIL") && html.trim_end().ends_with("</html>"));

    // What was planted after the PASS is taken out on both sides; the rest must be equal, as the PASS said.
    let [legacy, projection] = ["legacy.db", ".crossfade/projection.db"].map(|file| demo.join(file));
    assert_eq!(differences(&legacy, &projection, &TABLES[1..]), Vec::<String>::new());
    let planted = "work_dir = '/moved' OR initial_task = 'corrupt'";
    let mut ids = Vec::new();
    for path in [&legacy, &projection] {
        let store = Connection::open(path).unwrap();
        let sql = format!("SELECT id FROM sessions WHERE {planted}");
        let mut statement = store.prepare(&sql).unwrap();
        ids.extend(statement.query_map((), |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap));
    }
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
    for path in [&legacy, &projection] {
        let store = Connection::open(path).unwrap();
        store.pragma_update(None, "foreign_keys", "OFF").unwrap();
        assert_eq!(store.execute("DELETE FROM sessions WHERE id IN (?1, ?2)", [&ids[0], &ids[1]]), Ok(2));
    }
    let counts = assert_same_rows(&legacy, &projection, &TABLES);
    assert_eq!((counts[0], counts[1]), (58, 3_000));

    let again = Ran::of(command(folder.path(), &args).output().unwrap());
    assert_eq!(again.code, Some(3), "{}", again.stderr);
}
