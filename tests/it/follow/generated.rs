//! Random statements on random schemas: the fold of what follow tells is the rows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crossfade::mapping::Key;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ToSql, params_from_iter};

use crate::support::crash::Random;
use crate::support::follow::{Bench, Outbox};
use crate::support::schemas::generate;

const SEEDS: std::ops::RangeInclusive<u64> = 1..=40;

/// A value as it lies in the store; text may be any bytes.
#[derive(Clone, Debug)]
enum Cell {
    Plain(Value),
    Text(Vec<u8>),
}

impl Cell {
    fn of(raw: ValueRef<'_>) -> Self {
        match raw {
            ValueRef::Text(bytes) => Self::Text(bytes.to_vec()),
            other => Self::Plain(Value::try_from(other).unwrap()),
        }
    }
}

impl ToSql for Cell {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Plain(value) => value.to_sql(),
            Self::Text(bytes) => Ok(ToSqlOutput::Borrowed(ValueRef::Text(bytes))),
        }
    }
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table with the columns that may be written.
struct Target {
    name: String,
    columns: Vec<String>,
    /// Parts of the identity hold no null and no blob.
    identity: Vec<usize>,
}

struct Program {
    connection: Connection,
    targets: Vec<Target>,
    random: Random,
    /// Statements that ran, by kind.
    done: BTreeMap<&'static str, u32>,
}

impl Program {
    fn below(&mut self, end: usize) -> usize {
        self.random.below(end as u64) as usize
    }

    fn row(&mut self, target: usize) -> Option<Vec<Cell>> {
        let table = &self.targets[target];
        let name = quote(&table.name);
        let count: i64 =
            self.connection.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get(0)).unwrap();
        if count == 0 {
            return None;
        }
        let columns: Vec<String> = table.columns.iter().map(|column| quote(column)).collect();
        let width = columns.len();
        let sql = format!("SELECT {} FROM {name} LIMIT 1 OFFSET {}", columns.join(", "), self.below(count as usize));
        let read = |row: &rusqlite::Row<'_>| (0..width).map(|at| Ok(Cell::of(row.get_ref(at)?))).collect();
        Some(self.connection.query_row(&sql, [], read).unwrap())
    }

    fn altered(&mut self, cell: Cell, identity: bool) -> Cell {
        let number = self.below(40) as i64;
        match (self.below(8), cell) {
            (0, _) if !identity => Cell::Plain(Value::Null),
            (1, _) if !identity => Cell::Plain(Value::Blob(vec![0, 255, number as u8])),
            (2, Cell::Text(text)) => Cell::Text([&text[..], &[0xff, 0, number as u8]].concat()),
            (3, Cell::Text(text)) => Cell::Text(text.to_ascii_uppercase()),
            (4, Cell::Plain(Value::Integer(old))) => Cell::Plain(Value::Integer(old.wrapping_add(number))),
            (5, Cell::Plain(Value::Integer(old))) if old.unsigned_abs() < 1 << 50 => {
                Cell::Plain(Value::Real(old as f64))
            }
            (6, Cell::Plain(Value::Real(old))) => Cell::Plain(Value::Real(old * 1.5)),
            (7, _) => Cell::Text(format!("k{number}").into_bytes()),
            (_, cell) => cell,
        }
    }

    /// A row made of two of the table's, some cells altered.
    fn mixed(&mut self, target: usize) -> Option<Vec<Cell>> {
        let (one, two) = (self.row(target)?, self.row(target)?);
        let mut mixed = Vec::new();
        for (at, (one, two)) in one.into_iter().zip(two).enumerate() {
            let cell = if self.below(2) == 0 { one } else { two };
            let identity = self.targets[target].identity.contains(&at);
            mixed.push(if self.below(4) == 0 { self.altered(cell, identity) } else { cell });
        }
        Some(mixed)
    }

    /// One statement; one that the schema refuses is none.
    fn step(&mut self) {
        let target = self.below(self.targets.len());
        let (name, columns): (String, Vec<String>) = {
            let table = &self.targets[target];
            (quote(&table.name), table.columns.iter().map(|column| quote(column)).collect())
        };
        let policy = ["", "OR REPLACE ", "OR IGNORE ", "OR REPLACE ", "OR FAIL "][self.below(5)];
        let list = columns.join(", ");
        let marks: Vec<String> = (1..=columns.len()).map(|at| format!("?{at}")).collect();
        let Some(row) = self.mixed(target) else { return };
        let (kind, sql, bound) = match self.below(10) {
            0..=3 => ("insert", format!("INSERT {policy}INTO {name} ({list}) VALUES ({})", marks.join(", ")), row),
            4 => {
                let set: Vec<String> = columns.iter().map(|column| format!("{column} = excluded.{column}")).collect();
                let marks = marks.join(", ");
                let set = set.join(", ");
                let sql = format!("INSERT INTO {name} ({list}) VALUES ({marks}) ON CONFLICT DO UPDATE SET {set}");
                ("upsert", sql, row)
            }
            5..=7 => {
                let Some(old) = self.row(target) else { return };
                let at = self.below(columns.len());
                let terms: Vec<String> =
                    columns.iter().enumerate().map(|(at, column)| format!("{column} IS ?{}", at + 2)).collect();
                let sql = format!("UPDATE {policy}{name} SET {} = ?1 WHERE {}", columns[at], terms.join(" AND "));
                ("update", sql, [vec![row[at].clone()], old].concat())
            }
            8 => {
                let Some(old) = self.row(target) else { return };
                let terms: Vec<String> =
                    columns.iter().enumerate().map(|(at, column)| format!("{column} IS ?{}", at + 1)).collect();
                ("delete", format!("DELETE FROM {name} WHERE {}", terms.join(" AND ")), old)
            }
            _ => {
                let column = &columns[self.below(columns.len())];
                // All rows at once, some of them perhaps in each other's way.
                (
                    "shift",
                    format!("UPDATE {policy}{name} SET {column} = {column} || 'x' WHERE typeof({column}) = 'text'"),
                    vec![],
                )
            }
        };
        if self.connection.execute(&sql, params_from_iter(bound)).is_ok() {
            *self.done.entry(kind).or_default() += 1;
        }
    }

    /// A transaction, a part of which may be taken back.
    fn transaction(&mut self) {
        self.connection.execute_batch("BEGIN").unwrap();
        for _ in 0..1 + self.below(6) {
            if self.below(4) == 0 {
                self.connection.execute_batch("SAVEPOINT s").unwrap();
                self.step();
                self.step();
                let end = if self.below(2) == 0 { "ROLLBACK TO s" } else { "RELEASE s" };
                self.connection.execute_batch(end).unwrap();
            }
            self.step();
        }
        let end = if self.below(5) == 0 { "ROLLBACK" } else { "COMMIT" };
        if self.connection.execute_batch(end).is_err() {
            self.connection.execute_batch("ROLLBACK").unwrap();
        }
    }
}

/// Runs one seed; says how many events there were, and how many reconciles.
fn campaign(seed: u64) -> (usize, u32) {
    let mut bench = Bench::initialised(Outbox::new(|path| generate(seed, path)));
    bench.install();
    bench.replay();
    let targets = bench.mapping.tables.iter().map(|table| {
        let columns = table.columns.iter().enumerate().filter(|(_, column)| !column.generated);
        let (places, columns): (Vec<usize>, Vec<String>) =
            columns.map(|(at, column)| (at, column.name.clone())).unzip();
        // A record key can be no blob either.
        let mut keyed = table.identity.clone();
        match &table.key {
            Key::Cells(cells) => keyed.extend(cells),
            Key::Through(through) => keyed.extend(through.columns.iter().filter_map(|name| table.column(name))),
        }
        let identity = places.iter().enumerate().filter(|(_, at)| keyed.contains(at)).map(|(at, _)| at);
        Target { name: table.name.clone(), columns, identity: identity.collect() }
    });
    let targets = targets.collect();
    let connection = bench.app();
    if seed.is_multiple_of(3) {
        connection.execute_batch("PRAGMA recursive_triggers = ON").unwrap();
    }
    if seed.is_multiple_of(2) {
        connection.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    }
    let mut program = Program { connection, targets, random: Random::new(seed), done: BTreeMap::new() };
    for round in 0..12 {
        for _ in 0..8 {
            program.transaction();
        }
        if round % 3 == 2 {
            bench.follow();
            let differing = bench.differing();
            assert!(differing.is_empty(), "seed {seed}, round {round}: {differing:#?}");
        }
    }
    let told = bench.told();
    let ids: std::collections::BTreeSet<&str> = told.iter().map(|event| event.id.as_str()).collect();
    assert_eq!(ids.len(), told.len(), "seed {seed}: an id is there twice");
    assert!(told.windows(2).all(|pair| pair[0].sequence < pair[1].sequence), "seed {seed}");
    (told.len(), bench.reconciles)
}

#[test]
fn i04_random_statements_on_generated_schemas_fold_to_the_rows() {
    let (next, events, alone) = (AtomicU64::new(*SEEDS.start()), AtomicU64::new(0), AtomicU64::new(0));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !SEEDS.contains(&seed) {
                return;
            }
            let (told, reconciles) = campaign(seed);
            events.fetch_add(told as u64, Ordering::Relaxed);
            alone.fetch_add(u64::from(told > 0 && reconciles == 0), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        for worker in workers {
            worker.join().unwrap();
        }
    });
    let (events, alone) = (events.into_inner(), alone.into_inner());
    assert!(events > 2_000, "{events} events");
    assert!(alone >= 20, "only {alone} stores were followed without a reconcile");
}
