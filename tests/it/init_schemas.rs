//! `init` for any database: the mapping it writes reads every row as it is, and keeps related rows together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossfade::mapping::init::{ForeignKey, Schema, init};
use crossfade::mapping::{Key, KeyText, Mapping, Rows, Table, Value};
use crossfade::port::legacy_source::{Cursor, LegacySource};
use crossfade::sqlite::introspect::describe;
use crossfade::sqlite::source::SqliteSource;
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::support::schemas::generate;

const SEEDS: u64 = 200;

/// What the runs over all seeds met; a generator that stops making something must not go unnoticed.
#[derive(Debug, Default)]
struct Met {
    rows: usize,
    tables: usize,
    rowids: usize,
    by_columns: usize,
    through: usize,
    deepest: usize,
    taken_over: usize,
    orphans: usize,
    generated: usize,
    left_out: usize,
    classes: BTreeSet<&'static str>,
}

#[test]
fn any_database_reads_by_the_mapping_init_writes() {
    let folder = tempfile::tempdir().unwrap();
    let mut met = Met::default();
    for seed in 0..SEEDS {
        let path = folder.path().join(format!("{seed}.db"));
        generate(seed, &path);
        Run::new(seed, &path).check(&mut met);
    }
    assert!(met.rows > 10_000 && met.tables > 600 && met.rowids > 20 && met.generated > 100, "{met:?}");
    assert!(met.by_columns > 50 && met.through > 100 && met.deepest >= 3, "{met:?}");
    assert!(met.taken_over > 2_000 && met.orphans > 500 && met.left_out >= 20, "{met:?}");
    assert_eq!(met.classes.len(), 5, "{met:?}");
}

#[test]
fn the_same_seed_makes_the_same_database() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["a.db", "b.db"].map(|name| folder.path().join(name));
    generate(7, &first);
    generate(7, &second);
    let [first, second] = [first, second].map(|path| Run::new(7, &path));
    assert_eq!(first.schema, second.schema);
    for table in &first.mapping.tables {
        assert_eq!(direct(&first.path, table), direct(&second.path, table));
    }
}

/// Two of the generated databases, kept with some of their rows.
#[test]
fn kept_schemas_have_the_mapping_they_had() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/schemas");
    let folder = tempfile::tempdir().unwrap();
    for seed in [37, 83] {
        let fixture = |name: &str| std::fs::read_to_string(kept.join(format!("generated-{seed}/{name}"))).unwrap();
        let path = folder.path().join(format!("{seed}.db"));
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA foreign_keys = OFF").unwrap();
        connection.execute_batch(&fixture("schema.sql")).unwrap();
        connection.execute_batch(&fixture("rows.sql")).unwrap();
        drop(connection);
        let (text, _) = init(&describe(&path).unwrap(), "any");
        assert_eq!(text, fixture("mapping.yaml"), "generated-{seed}");
        let mut met = Met::default();
        Run::new(seed, &path).check(&mut met);
        assert!(met.rows > 20, "{met:?}");
    }
}

struct Run {
    seed: u64,
    path: PathBuf,
    schema: Schema,
    mapping: Arc<Mapping>,
}

impl Run {
    fn new(seed: u64, path: &Path) -> Self {
        let schema = describe(path).unwrap();
        let (text, _) = init(&schema, "any");
        let mapping =
            Mapping::parse("mapping.yaml", &text).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        Self { seed, path: path.to_owned(), schema, mapping: Arc::new(mapping) }
    }

    fn check(&self, met: &mut Met) {
        let source = SqliteSource::open(&self.path, Arc::clone(&self.mapping), false).unwrap();
        let left_out = source.check().unwrap_or_else(|error| panic!("seed {}: {error}: {:?}", self.seed, error.help()));
        let left_out: Vec<&str> = left_out.iter().map(|table| table.table.as_str()).collect();
        let expected: &[&str] = match self.seed % 10 {
            3 => &["hidden"],
            7 => &["words"],
            _ => &[],
        };
        assert_eq!(left_out, expected, "seed {}", self.seed);
        met.left_out += left_out.len();
        let mut keys: BTreeMap<&str, BTreeMap<Vec<u8>, Vec<u8>>> = BTreeMap::new();
        for table in &self.mapping.tables {
            let rows = self.read(&source, table);
            let mut images: Vec<Vec<u8>> =
                rows.iter().map(|row| image(row.values().take(table.field_count()))).collect();
            images.sort();
            assert_eq!(images, direct(&self.path, table), "seed {}, table '{}'", self.seed, table.name);
            let mut key = KeyText::default();
            let own = keys.entry(&table.name).or_default();
            for row in rows.iter() {
                let text = key.write(table, row).unwrap_or_else(|| panic!("seed {}, '{}'", self.seed, table.name));
                let again = own.insert(image(table.identity.iter().map(|cell| row.get(*cell))), text.to_vec());
                assert_eq!(again, None, "seed {}, table '{}': an identity twice", self.seed, table.name);
                met.classes.extend(row.values().map(Value::class));
            }
            met.rows += rows.len();
            met.tables += 1;
            met.rowids += usize::from(table.rowid.is_some());
            met.generated += table.columns.iter().filter(|column| column.generated).count();
        }
        for table in &self.mapping.tables {
            self.follows_parent(table, &keys, met);
        }
    }

    fn read(&self, source: &SqliteSource, table: &Table) -> Rows {
        let mut snapshot = source.snapshot().unwrap();
        let (mut all, mut chunk, mut cursor) = (Rows::new(table.width()), Rows::default(), Cursor::default());
        loop {
            snapshot.read(table, &mut cursor, 7, &mut chunk).unwrap();
            if chunk.is_empty() {
                break;
            }
            chunk.iter().for_each(|row| all.push_row(row));
        }
        assert_eq!(snapshot.count(table).unwrap(), all.len() as u64, "seed {}, table '{}'", self.seed, table.name);
        all
    }

    /// A row whose reference leads to a parent row has that row's record key, as SQLite itself joins them.
    fn follows_parent(&self, table: &Table, keys: &BTreeMap<&str, BTreeMap<Vec<u8>, Vec<u8>>>, met: &mut Met) {
        let Some(foreign) = self.chosen(table) else { return };
        match &table.key {
            Key::Cells(_) => met.by_columns += 1,
            Key::Through(_) => met.through += 1,
        }
        met.deepest = met.deepest.max(self.depth(table));
        let parent = self.mapping.table(&foreign.parent).unwrap();
        let on = foreign.referenced.iter().zip(&foreign.columns);
        let on: Vec<String> = on.map(|(to, from)| format!("p.{} = +c.{}", quote(to), quote(from))).collect();
        let sql = format!(
            "SELECT {}, {} FROM {} AS c JOIN {} AS p ON {}",
            identity(table, "c"),
            identity(parent, "p"),
            quote(&table.name),
            quote(&parent.name),
            on.join(" AND ")
        );
        let connection = Connection::open(&self.path).unwrap();
        let mut statement = connection.prepare(&sql).unwrap();
        let mut joined = statement.query([]).unwrap();
        let (width, wide) = (table.identity.len(), parent.identity.len());
        let mut followed = 0;
        while let Some(row) = joined.next().unwrap() {
            let child = image((0..width).map(|cell| value(row.get_ref(cell).unwrap())));
            let up = image((width..width + wide).map(|cell| value(row.get_ref(cell).unwrap())));
            let found = [&keys[table.name.as_str()][&child], &keys[parent.name.as_str()][&up]];
            assert_eq!(found[0], found[1], "seed {}, '{}' to '{}'", self.seed, table.name, parent.name);
            followed += 1;
        }
        met.taken_over += followed;
        met.orphans += keys[table.name.as_str()].len() - followed;
    }

    /// The foreign key by which `init` chose the record key.
    fn chosen(&self, table: &Table) -> Option<&ForeignKey> {
        let found = self.schema.table(&table.name).unwrap();
        let mut onward = found.foreign_keys.iter().filter(|foreign| !self.leads(&foreign.parent, &table.name, 0));
        let names: Vec<&str> = match &table.key {
            Key::Through(through) => through.columns.iter().map(String::as_str).collect(),
            Key::Cells(cells) => cells.iter().filter_map(|cell| table.fields().nth(*cell)).collect(),
        };
        onward.find(|foreign| {
            foreign.columns.len() == names.len()
                && foreign.columns.iter().all(|column| names.contains(&column.as_str()))
        })
    }

    /// Whether foreign keys lead from one table to another; no way needs more steps than there are tables.
    fn leads(&self, from: &str, to: &str, steps: usize) -> bool {
        let keys = &self.schema.table(from).unwrap().foreign_keys;
        from == to
            || (steps < self.schema.tables.len() && keys.iter().any(|key| self.leads(&key.parent, to, steps + 1)))
    }

    fn depth(&self, table: &Table) -> usize {
        self.chosen(table).map_or(0, |foreign| 1 + self.depth(self.mapping.table(&foreign.parent).unwrap()))
    }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn identity(table: &Table, alias: &str) -> String {
    let names: Vec<&str> = table.fields().collect();
    let cells: Vec<String> = table.identity.iter().map(|cell| format!("{alias}.{}", quote(names[*cell]))).collect();
    cells.join(", ")
}

fn value(raw: ValueRef<'_>) -> Value<'_> {
    match raw {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(bytes) => Value::Text(bytes),
        ValueRef::Blob(bytes) => Value::Blob(bytes),
    }
}

fn image<'a>(values: impl Iterator<Item = Value<'a>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    values.for_each(|value| value.write_image(&mut bytes));
    bytes
}

/// Images of all rows, sorted, by one plain statement.
fn direct(path: &Path, table: &Table) -> Vec<Vec<u8>> {
    let connection = Connection::open(path).unwrap();
    let names: Vec<String> = table.fields().map(quote).collect();
    let sql = format!("SELECT {} FROM {}", names.join(", "), quote(&table.name));
    let mut statement = connection.prepare(&sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut images = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        images.push(image((0..names.len()).map(|cell| value(row.get_ref(cell).unwrap()))));
    }
    images.sort();
    images
}
