//! A small shop to migrate, and what a refusal must be.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::support::cli::{Log, Migration, Ran};

pub(super) const MAPPING: &str = "\
version: 1
topics:
  shop.rows:
    partitions: 2
tables:
  customers:
    topic: shop.rows
    identity: [id]
    columns:
      id: INTEGER
      name: TEXT
  orders:
    topic: shop.rows
    identity: [id]
    key: [customer]
    parents: [customers]
    columns:
      id: INTEGER
      customer: INTEGER
      total: REAL
";

pub(super) const LEGACY: &str = "  mapping: mapping.yaml\n  store: sqlite:legacy.db\n";

/// A shop of three customers and `orders` orders; nothing is run yet.
pub(super) fn shop(orders: u32, more: &str) -> Migration {
    let migration = Migration::new(Log::Embedded, LEGACY, more);
    std::fs::write(migration.path("mapping.yaml"), MAPPING).unwrap();
    make_store(&migration.legacy(), orders);
    migration
}

pub(super) fn make_store(path: &Path, orders: u32) {
    let store = Connection::open(path).unwrap();
    store.pragma_update(None, "journal_mode", "WAL").unwrap();
    let sql = format!(
        "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT);
         CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers (id), total REAL);
         INSERT INTO customers VALUES (1, 'Ada'), (2, 'Béa'), (3, NULL);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {orders})
         INSERT INTO orders SELECT i, 1 + i % 3, i / 4.0 FROM n;"
    );
    store.execute_batch(&sql).unwrap();
}

/// A shop that was provisioned, replayed and projected.
pub(super) fn moved(orders: u32) -> Migration {
    let shop = shop(orders, "");
    for args in [&["provision", "apply"][..], &["replay"], &["project"]] {
        shop.expect(args, 0);
    }
    shop
}

/// Runs SQL on a file, behind everybody's back.
pub(super) fn sql(path: &Path, text: &str) {
    Connection::open(path).unwrap().execute_batch(text).unwrap();
}

/// Replaces one text in a file of the migration; it must be there.
#[track_caller]
pub(super) fn edit(migration: &Migration, file: &str, from: &str, to: &str) {
    let text = std::fs::read_to_string(migration.path(file)).unwrap();
    assert!(text.contains(from), "{file} has no {from:?}");
    std::fs::write(migration.path(file), text.replacen(from, to, 1)).unwrap();
}

/// All files below a folder, but not what SQLite keeps beside them.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !["-wal", "-shm", "-journal"].iter().any(|end| name.ends_with(end)) {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

/// Asserts that a run ends with `code` in under ten seconds, says all of `says` on stderr, and changes no file.
#[track_caller]
pub(super) fn refuses(migration: &Migration, args: &[&str], code: i32, says: &[&str]) -> Ran {
    let before = files(migration.folder.path());
    let ran = stops(migration, args, code, says);
    let after = files(migration.folder.path());
    let changed: Vec<_> =
        after.iter().filter(|(path, text)| before.get(*path) != Some(text)).map(|(path, _)| path).collect();
    assert!(changed.is_empty() && before.len() == after.len(), "changed {changed:?}\n{}", ran.stderr);
    ran
}

/// Like [`refuses`], for what a run finds only once its journal and lock are open: the legacy store stays as it is.
#[track_caller]
pub(super) fn stops(migration: &Migration, args: &[&str], code: i32, says: &[&str]) -> Ran {
    let legacy = || std::fs::read(migration.legacy()).ok();
    let before = legacy();
    let began = Instant::now();
    let ran = migration.run(args);
    let took = began.elapsed();
    assert_eq!(ran.code, Some(code), "crossfade {}\n{}\n{}", args.join(" "), ran.stdout, ran.stderr);
    assert!(took < Duration::from_secs(10), "took {took:?}");
    for text in says {
        assert!(ran.stderr.contains(text), "no {text:?} in\n{}", ran.stderr);
    }
    assert_eq!(legacy(), before, "the legacy store was changed");
    ran
}
