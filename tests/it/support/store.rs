//! Mappings, rows and kinds of stores for the contract of the projection.

use std::cell::Cell as Cell_;
use std::sync::Arc;

use crossfade::mapping::{Column, EventTypes, Key, Mapping, Row, Rows, Table, Through, Types, Value};
use crossfade::port::event_log::Positions;
use crossfade::port::row_store::{Change, LastEvent, Mode, RowStore, RowView, RowWriter};
use crossfade::postgres::store::PostgresStore;
use crossfade::sqlite::store::SqliteStore;

use super::postgres::Schema;

/// A kind of store the contract is run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

thread_local! {
    static KIND: Cell_<Kind> = const { Cell_::new(Kind::Sqlite) };
}

/// Runs a test of the contract on one kind of store.
pub fn with(kind: Kind, test: impl FnOnce()) {
    KIND.set(kind);
    test();
}

pub fn kind() -> Kind {
    KIND.get()
}

/// Runs `test` on a new store of the kind this thread is at.
pub fn on_each_kind(test: impl Fn(Arc<dyn RowStore>)) {
    let folder = tempfile::tempdir().unwrap();
    match kind() {
        Kind::Sqlite => test(Arc::new(SqliteStore::new(folder.path().join("projection.db")))),
        Kind::Postgres => {
            let schema = Schema::new();
            test(Arc::new(PostgresStore::new(schema.login())));
        }
    }
}

/// Every test of a file for the SQLite store, and for PostgreSQL where there is one.
macro_rules! on_both_stores {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[test] fn $test() { $crate::support::store::with($crate::support::store::Kind::Sqlite, super::$test); })*
        }
        mod postgres {
            $(#[test] #[ignore = "needs PostgreSQL"] fn $test() {
                $crate::support::store::with($crate::support::store::Kind::Postgres, super::$test);
            })*
        }
    };
}
pub(crate) use on_both_stores;

/// An owned value; reals by their bits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cell {
    Null,
    Integer(i64),
    Real(u64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

impl Cell {
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    pub fn real(number: f64) -> Self {
        Self::Real(number.to_bits())
    }

    pub fn of(value: Value<'_>) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(number) => Self::Integer(number),
            Value::Real(number) => Self::real(number),
            Value::Text(bytes) => Self::Text(bytes.into()),
            Value::Blob(bytes) => Self::Blob(bytes.into()),
        }
    }

    pub fn lend(&self) -> Value<'_> {
        match self {
            Self::Null => Value::Null,
            Self::Integer(number) => Value::Integer(*number),
            Self::Real(bits) => Value::Real(f64::from_bits(*bits)),
            Self::Text(bytes) => Value::Text(bytes),
            Self::Blob(bytes) => Value::Blob(bytes),
        }
    }
}

/// A table whose identity is the cells given; none for the rowid.
pub fn table(name: &str, columns: &[(&str, &str)], identity: &[usize]) -> Table {
    let columns: Vec<Column> = columns
        .iter()
        .map(|(name, declared)| Column {
            name: (*name).into(),
            declared: (*declared).into(),
            generated: false,
            set_by_trigger: false,
            rules: Vec::new(),
        })
        .collect();
    let rowid = identity.is_empty().then(|| "rowid".to_owned());
    let identity = if identity.is_empty() { vec![columns.len()] } else { identity.to_vec() };
    Table {
        index: 0,
        name: name.into(),
        topic: "rows".into(),
        columns,
        rowid,
        key: Key::Cells(identity.clone()),
        identity,
        parents: Vec::new(),
        order: None,
        time: None,
        events: EventTypes {
            insert: "inserted".into(),
            update: "updated".into(),
            updates: Vec::new(),
            delete: "deleted".into(),
        },
        never: Vec::new(),
    }
}

/// The table with a key taken through a parent.
pub fn through_parent(table: Table) -> Table {
    let key = Key::Through(Through {
        columns: vec![table.columns[0].name.clone()],
        parent: "parent".into(),
        referenced: vec!["id".into()],
    });
    Table { key, ..table }
}

pub fn mapping(tables: Vec<Table>) -> Arc<Mapping> {
    let tables: Vec<Table> = tables.into_iter().enumerate().map(|(index, table)| Table { index, ..table }).collect();
    let hash = format!("{:?}", tables.iter().map(|table| &table.name).collect::<Vec<_>>());
    Arc::new(Mapping {
        types: Types::Sqlite,
        topics: Vec::new(),
        tables,
        never: Vec::new(),
        uses: std::collections::BTreeMap::new(),
        hash,
    })
}

pub fn event(partition: i32, offset: i64, sequence: i64) -> LastEvent {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&offset.to_be_bytes());
    id[8] = partition as u8;
    LastEvent { partition, offset, id, sequence }
}

pub fn positions(of: &[(i32, i64)]) -> Positions {
    of.iter().map(|(partition, next)| (("rows".to_owned(), *partition), *next)).collect()
}

pub fn chunk(cells: &[Cell]) -> Rows {
    let mut rows = Rows::new(cells.len());
    cells.iter().for_each(|cell| rows.push(cell.lend()));
    rows
}

pub fn put(writer: &mut dyn RowWriter, table: usize, cells: &[Cell], event: LastEvent) {
    writer.apply(table, Change::Put(chunk(cells).row(0)), event).unwrap();
}

/// Deletes by the identity of `cells`; the other cells are null.
pub fn delete(writer: &mut dyn RowWriter, table: &Table, cells: &[Cell], event: LastEvent) {
    let blank = |(at, cell): (usize, &Cell)| if table.identity.contains(&at) { cell.clone() } else { Cell::Null };
    let cells: Vec<Cell> = cells.iter().enumerate().map(blank).collect();
    writer.apply(table.index, Change::Delete(chunk(&cells).row(0)), event).unwrap();
}

pub fn cells(row: Row<'_>) -> Vec<Cell> {
    row.values().map(Cell::of).collect()
}

/// All rows of a table with their last events, sorted.
pub fn dump(view: &mut dyn RowView, table: &Table) -> Vec<(Vec<Cell>, LastEvent)> {
    let mut all = Vec::new();
    view.scan(table, &mut |rows, events| {
        assert_eq!(rows.len(), events.len());
        all.extend(rows.iter().map(cells).zip(events.iter().copied()));
        Ok(())
    })
    .unwrap();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(view.count(table.index).unwrap(), all.len() as u64);
    all
}

/// A claim that must succeed.
pub fn claim(store: &dyn RowStore, mapping: &Arc<Mapping>, mode: Mode) -> Box<dyn RowWriter> {
    store.claim(mapping, mode).unwrap()
}

/// What a fresh view shows of a table.
pub fn rows_of(store: &dyn RowStore, mapping: &Arc<Mapping>, table: usize) -> Vec<(Vec<Cell>, LastEvent)> {
    dump(&mut *store.view(mapping).unwrap(), &mapping.tables[table])
}
