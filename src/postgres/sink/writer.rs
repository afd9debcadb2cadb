//! Writing images into a legacy schema, in short marked transactions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use postgres::types::ToSql;
use postgres::{Client, Statement};

use super::keys::{ForeignKey, Touched, broken};
use super::shape::{Shape, Statements, texts};
use super::{PostgresSink, state};
use crate::base::{Error, Result};
use crate::mapping::{Mapping, Row, Value};
use crate::port::event_log::{Positions, TopicIds};
use crate::port::legacy_sink::{EPOCH, Image, Kept, SinkState, SinkWriter, TRIGGERS};
use crate::port::owners::RowKey;
use crate::postgres::fault::fault;
use crate::postgres::mark::{MESSAGE, REVERSE, SETTING};

/// A transaction is ended past this: its rows are locked until then.
const LONG: Duration = Duration::from_millis(200);

/// A sequence is moved number by number up to here, which no other session's can undo.
const STEPS: i64 = 10_000;

pub(super) struct PostgresSinkWriter {
    store: String,
    table: String,
    mapping: Arc<Mapping>,
    client: Client,
    shapes: Vec<Shape>,
    keys: Vec<ForeignKey>,
    /// Triggers of the legacy's, and its foreign keys, do not run.
    silent: bool,
    statements: BTreeMap<(usize, What), Statement>,
    state: SinkState,
    began: Option<Instant>,
    touched: Touched,
    /// The largest number met in each table's identity, and the sequence it comes from.
    largest: BTreeMap<usize, i64>,
    sequences: BTreeMap<usize, Option<String>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Update,
    Insert,
    Delete,
}

impl PostgresSinkWriter {
    pub(super) fn claim(
        sink: &PostgresSink,
        client: Client,
        shapes: Vec<Shape>,
        keys: Vec<ForeignKey>,
        silent: bool,
    ) -> Result<Box<dyn SinkWriter>> {
        let mut writer = Self {
            store: sink.login.describe(),
            table: sink.table(),
            mapping: Arc::clone(&sink.mapping),
            client,
            shapes,
            keys,
            silent,
            statements: BTreeMap::new(),
            state: SinkState::default(),
            began: None,
            touched: Touched::default(),
            largest: BTreeMap::new(),
            sequences: BTreeMap::new(),
        };
        // Waits for a writer's open transaction, whose positions count.
        let raise = format!("UPDATE {} SET value = (value::bigint + 1)::text WHERE kind = '{EPOCH}'", writer.table);
        let failed = fault(&writer.store, "claiming it");
        let told = match silent {
            true => String::new(),
            false => format!("INSERT INTO {} VALUES ('{TRIGGERS}', '', 'true') ON CONFLICT DO NOTHING", writer.table),
        };
        writer.client.batch_execute(&format!("BEGIN; {raise}; {told}")).map_err(&failed)?;
        writer.state = state(&mut writer.client, &writer.store, &writer.table, &writer.mapping)?;
        writer.client.batch_execute("COMMIT").map_err(&failed)?;
        drop(failed);
        Ok(Box::new(writer))
    }

    fn told(&self, doing: &str, error: postgres::Error) -> Error {
        fault(&self.store, doing)(error)
    }

    fn fenced(&mut self, what: &str) -> Error {
        self.rollback();
        Error::fenced(format!("{} {what}; nothing was changed", self.store))
            .hint("another reverse, or a transfer, came after this one: run the command again")
    }

    fn statement(&mut self, table: usize, what: What) -> std::result::Result<Statement, postgres::Error> {
        if let Some(statement) = self.statements.get(&(table, what)) {
            return Ok(statement.clone());
        }
        let shape = &self.shapes[table];
        let sql = match what {
            What::Update => &shape.statements.update,
            What::Insert => &shape.statements.insert,
            What::Delete => &shape.delete,
        };
        let statement = self.client.prepare(sql)?;
        self.statements.insert((table, what), statement.clone());
        Ok(statement)
    }

    fn execute(
        &mut self,
        table: usize,
        what: What,
        values: &[Option<String>],
    ) -> std::result::Result<u64, postgres::Error> {
        let statement = self.statement(table, what)?;
        let bound: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        self.client.execute(&statement, &bound)
    }

    fn bring(&mut self, table: usize, image: Image<'_>) -> std::result::Result<(), Trouble> {
        let mapping = Arc::clone(&self.mapping);
        let mapped = &mapping.tables[table];
        let cells = |row: Row<'_>, cells: &[usize]| {
            texts(mapped, &self.shapes[table].columns, row, cells.iter().copied()).map_err(Trouble::Rejected)
        };
        match image {
            Image::Delete(row) => {
                let identity = cells(row, &mapped.identity)?;
                self.execute(table, What::Delete, &identity)?;
                keep(self.touched.deleted.entry(table).or_default(), identity);
            }
            Image::Put { row, left_out } => {
                let identity = cells(row, &mapped.identity)?;
                if left_out.is_empty() {
                    let shape = &self.shapes[table].statements;
                    let (mut set, given) = (cells(row, &shape.set)?, cells(row, &shape.given)?);
                    set.extend(identity.iter().cloned());
                    if self.execute(table, What::Update, &set)? == 0 {
                        self.execute(table, What::Insert, &given)?;
                    }
                } else {
                    let shape = &self.shapes[table];
                    let without = Statements::of(mapped, &shape.name, &shape.columns, left_out);
                    let (mut set, given) = (cells(row, &without.set)?, cells(row, &without.given)?);
                    set.extend(identity.iter().cloned());
                    fn bound(values: &[Option<String>]) -> Vec<&(dyn ToSql + Sync)> {
                        values.iter().map(|value| value as &(dyn ToSql + Sync)).collect()
                    }
                    if self.client.execute(&without.update, &bound(&set))? == 0 {
                        self.client.execute(&without.insert, &bound(&given))?;
                    }
                }
                keep(self.touched.written.entry(table).or_default(), identity);
            }
        }
        Ok(())
    }

    /// A number that was given once is not given again.
    fn count_on(&mut self) -> Result<()> {
        for (table, largest) in std::mem::take(&mut self.largest) {
            let shape = &self.shapes[table];
            let column = &self.mapping.tables[table].columns[self.mapping.tables[table].identity[0]].name;
            if !self.sequences.contains_key(&table) {
                let found = self.client.query_one("SELECT pg_get_serial_sequence($1, $2)", &[&shape.name, column]);
                let found = found.map_err(fault(&self.store, "looking for a sequence"))?.get(0);
                self.sequences.insert(table, found);
            }
            let Some(Some(sequence)) = self.sequences.get(&table) else { continue };
            let sql = format!("SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM {sequence}");
            let failed = fault(&self.store, "moving a sequence past the largest key");
            let at: i64 = self.client.query_one(&sql, &[]).map_err(&failed)?.get(0);
            let gap = largest.saturating_sub(at);
            if gap > STEPS {
                self.client
                    .query("SELECT setval($1::text::regclass, $2::bigint)", &[sequence, &largest])
                    .map_err(&failed)?;
            } else if gap > 0 {
                let sql = "SELECT count(nextval($1::text::regclass)) FROM generate_series(1, $2::bigint)";
                self.client.query(sql, &[sequence, &gap]).map_err(&failed)?;
            }
        }
        Ok(())
    }

    fn save(&mut self, positions: &Positions, kept: &BTreeMap<RowKey, Kept>) -> Result<()> {
        let found = state(&mut self.client, &self.store, &self.table, &self.mapping)?;
        if found.positions != self.state.positions {
            return Err(self.fenced("stands at other positions than this run left it at"));
        }
        let put = format!(
            "INSERT INTO {} VALUES ($1, $2, $3) ON CONFLICT (kind, name) DO UPDATE SET value = excluded.value",
            self.table
        );
        let drop = format!("DELETE FROM {} WHERE kind = $1 AND name = $2", self.table);
        for (kind, name, value) in self.state.changes(&self.mapping, positions, kept)? {
            match value {
                Some(value) => self.client.execute(&put, &[&kind, &name, &value]),
                None => self.client.execute(&drop, &[&kind, &name]),
            }
            .map_err(fault(&self.store, "writing how far reverse came"))?;
        }
        self.count_on()
    }

    fn end(&mut self, state: Option<(&Positions, &BTreeMap<RowKey, Kept>)>) -> Result<Option<String>> {
        let touched = std::mem::take(&mut self.touched);
        let lost =
            broken(&mut self.client, &self.keys, &touched).map_err(|error| self.told("looking at keys", error))?;
        if lost.is_some() {
            self.rollback();
            return Ok(lost);
        }
        if let Some((positions, kept)) = state {
            self.save(positions, kept)?;
        }
        match self.client.batch_execute("COMMIT") {
            Ok(()) => {}
            Err(error) => match rejected(&error) {
                Some(reason) => {
                    self.rollback();
                    return Ok(Some(reason));
                }
                None => return Err(self.told("committing", error)),
            },
        }
        self.began = None;
        if let Some((positions, kept)) = state {
            self.state.positions.extend(positions.iter().map(|(place, at)| (place.clone(), *at)));
            self.state.kept.clone_from(kept);
        }
        Ok(None)
    }
}

/// Why a row is not where it should be.
enum Trouble {
    Rejected(String),
    Server(postgres::Error),
}

impl From<postgres::Error> for Trouble {
    fn from(error: postgres::Error) -> Self {
        Self::Server(error)
    }
}

fn keep(identities: &mut Vec<Vec<String>>, identity: Vec<Option<String>>) {
    identities.resize_with(identity.len(), Vec::new);
    for (cells, cell) in identities.iter_mut().zip(identity) {
        cells.push(cell.unwrap_or_default());
    }
}

impl SinkWriter for PostgresSinkWriter {
    fn state(&self) -> &SinkState {
        &self.state
    }

    fn lies_in(&mut self, topics: &TopicIds) {
        self.state.topics.clone_from(topics);
    }

    fn begin(&mut self, deferred: bool) -> Result<()> {
        let replica = if self.silent { "SET LOCAL session_replication_role = replica;" } else { "" };
        let constraints = if deferred { "SET CONSTRAINTS ALL DEFERRED;" } else { "" };
        let sql = format!(
            "BEGIN; SELECT pg_logical_emit_message(true, '{MESSAGE}', '{REVERSE}'); SET LOCAL {SETTING} = '{REVERSE}'; \
             {replica} {constraints}"
        );
        self.client.batch_execute(&sql).map_err(|error| self.told("beginning a transaction", error))?;
        self.began = Some(Instant::now());
        self.touched = Touched::default();
        // Held until the end: a claim waits.
        let sql = format!("SELECT value FROM {} WHERE kind = '{EPOCH}' FOR SHARE", self.table);
        let epoch: String =
            self.client.query_one(&sql, &[]).map_err(|error| self.told("checking its epoch", error))?.get(0);
        if epoch == self.state.epoch.to_string() {
            return Ok(());
        }
        Err(self.fenced("was claimed by a newer writer"))
    }

    fn write(&mut self, table: usize, image: Image<'_>) -> Result<Option<String>> {
        let (Image::Put { row, .. } | Image::Delete(row)) = image;
        if let [cell] = self.mapping.tables[table].identity[..]
            && let Value::Integer(number) = row.get(cell)
        {
            let largest = self.largest.entry(table).or_insert(number);
            *largest = number.max(*largest);
        }
        match self.bring(table, image) {
            Ok(()) => Ok(None),
            Err(Trouble::Rejected(reason)) => Ok(Some(reason)),
            Err(Trouble::Server(error)) => match rejected(&error) {
                Some(reason) => Ok(Some(reason)),
                None => {
                    self.rollback();
                    Err(self.told("writing rows back", error))
                }
            },
        }
    }

    /// Where triggers and foreign keys do not run, and every column is in the event.
    fn replaceable(&self, table: usize) -> bool {
        self.silent && self.mapping.tables[table].never.is_empty()
    }

    fn due(&self) -> bool {
        self.began.is_some_and(|began| began.elapsed() >= LONG)
    }

    fn commit(&mut self, state: Option<(&Positions, &BTreeMap<RowKey, Kept>)>) -> Result<Option<String>> {
        let ended = self.end(state);
        if ended.is_err() {
            self.rollback();
        }
        ended
    }

    fn rollback(&mut self) {
        self.began = None;
        self.touched = Touched::default();
        // With a connection that is gone this fails, and the server has rolled back.
        let _ = self.client.batch_execute("ROLLBACK");
    }
}

/// What the schema says against a row; `None` for any other error. The server's words on a value repeat it, those on a
/// constraint do not.
fn rejected(error: &postgres::Error) -> Option<String> {
    let found = error.as_db_error()?;
    let code = found.code().code();
    match &code[..2] {
        "23" => Some(found.message().to_owned()),
        "22" => Some(format!("a value does not fit its column's type ({code})")),
        // A trigger that refuses, and a column that is always computed.
        "P0" => Some(format!("a trigger refuses it ({code})")),
        _ if code == "428C9" => Some(found.message().to_owned()),
        _ => None,
    }
}
