//! Legacy rows as they pass the scan for credentials, wherever they are read from.

use std::sync::Arc;
use std::time::Duration;

use crate::base::{Error, Result};
use crate::mapping::fit::Unmapped;
use crate::mapping::{Mapping, Rows, Table, Value};
use crate::port::change_source::{ChangeReader, ChangeSource, Changes, Lag, Position};
use crate::port::legacy_source::{Cursor, Keep, LegacySource, Place, Snapshot, Wake};
use crate::scan::{Mode, Scratch, Screen, Tally, redacted};

/// A legacy store whose rows are scanned as they are read; unless the scan only reports, they hold no credential then.
pub struct ScreenedSource {
    source: Box<dyn LegacySource>,
    screen: Arc<Screen>,
}

impl ScreenedSource {
    pub fn new(source: Box<dyn LegacySource>, screen: Arc<Screen>) -> Self {
        Self { source, screen }
    }
}

impl LegacySource for ScreenedSource {
    fn kind(&self) -> &'static str {
        self.source.kind()
    }

    fn describe(&self) -> String {
        self.source.describe()
    }

    fn check(&self) -> Result<Vec<Unmapped>> {
        self.source.check()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        let (snapshot, screen) = (self.source.snapshot()?, Arc::clone(&self.screen));
        Ok(Box::new(ScreenedSnapshot { snapshot, screen, scratch: Scratch::default(), tally: Tally::default() }))
    }

    fn retained_bytes(&self) -> u64 {
        self.source.retained_bytes()
    }

    fn blind(&self) -> Vec<String> {
        self.source.blind()
    }

    fn wake(&self) -> Result<Option<Box<dyn Wake>>> {
        self.source.wake()
    }

    fn screen(&self) -> Option<&Screen> {
        Some(&self.screen)
    }
}

struct ScreenedSnapshot {
    snapshot: Box<dyn Snapshot>,
    screen: Arc<Screen>,
    scratch: Scratch,
    tally: Tally,
}

impl Snapshot for ScreenedSnapshot {
    fn tables(&self) -> Result<Vec<String>> {
        self.snapshot.tables()
    }

    fn count(&mut self, table: &Table) -> Result<u64> {
        self.snapshot.count(table)
    }

    fn position(&mut self) -> Result<Option<Position>> {
        self.snapshot.position()
    }

    fn pick(&mut self, table: &Table, keep: Keep<'_>, each: &mut dyn FnMut(&Rows) -> Result<()>) -> Result<()> {
        let screen = Arc::clone(&self.screen);
        let mut clean = |identity: &[Value<'_>]| {
            let mut texts = vec![Vec::new(); identity.len()];
            let values: Vec<Value<'_>> = identity
                .iter()
                .zip(&table.identity)
                .zip(&mut texts)
                .map(|((value, cell), text)| screen.clean(table, *cell, *value, text))
                .collect();
            keep(&values)
        };
        let mut passed = Rows::default();
        self.snapshot.pick(table, &mut clean, &mut |rows| {
            passed.clone_from(rows);
            self.screen.scan(table, &mut passed, |_| false, &mut self.scratch);
            each(&passed)
        })
    }

    fn scan(&mut self, table: &Table, each: &mut dyn FnMut(&Rows, &[Place]) -> Result<()>) -> Result<()> {
        let mut passed = Rows::default();
        let (screen, scratch, tally) = (&self.screen, &mut self.scratch, &mut self.tally);
        self.snapshot.scan(table, &mut |rows, places| {
            passed.clone_from(rows);
            tally.merge(screen.scan(table, &mut passed, |_| true, scratch));
            each(&passed, places)
        })
    }

    fn at(&mut self, table: &Table, places: &[Place], each: &mut dyn FnMut(&Rows) -> Result<()>) -> Result<()> {
        let mut passed = Rows::default();
        let (screen, scratch) = (&self.screen, &mut self.scratch);
        self.snapshot.at(table, places, &mut |rows| {
            passed.clone_from(rows);
            screen.scan(table, &mut passed, |_| false, scratch);
            each(&passed)
        })
    }

    fn read(&mut self, table: &Table, cursor: &mut Cursor, max_rows: usize, rows: &mut Rows) -> Result<()> {
        self.snapshot.read(table, cursor, max_rows, rows)?;
        self.tally.merge(self.screen.scan(table, rows, |_| true, &mut self.scratch));
        if self.screen.mode() == Mode::Report {
            return Ok(());
        }
        // Where a copy stands goes into the log with it; a row number says nothing.
        let by_key = cursor.0.iter().any(|part| match part {
            serde_json::Value::Array(tagged) => {
                tagged.iter().any(|part| part.as_str().is_some_and(|text| text.len() > 1))
            }
            other => other.is_string(),
        });
        let last = rows.len().checked_sub(1).map(|last| rows.row(last));
        if by_key && last.is_some_and(|row| table.identity.iter().any(|cell| redacted(row.get(*cell)).is_some())) {
            let message = format!("a key of table '{}' holds what looks like a credential", table.name);
            return Err(Error::refused(message).hint(
                "change it in the legacy, or keep the table out with 'never': where a copy stands is kept by its key",
            ));
        }
        Ok(())
    }

    /// A key in which something was found is kept from becoming an event, so that redaction makes no two keys one.
    fn shared(&mut self, table: &Table) -> Result<Option<Rows>> {
        self.snapshot.shared(table)
    }

    fn found(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }
}

/// A store's changes, scanned as they are read.
pub struct ScreenedChanges<'a> {
    source: &'a dyn ChangeSource,
    screen: Arc<Screen>,
    mapping: Arc<Mapping>,
}

impl<'a> ScreenedChanges<'a> {
    pub fn new(source: &'a dyn ChangeSource, screen: Arc<Screen>, mapping: Arc<Mapping>) -> Self {
        Self { source, screen, mapping }
    }
}

impl ChangeSource for ScreenedChanges<'_> {
    fn kind(&self) -> &'static str {
        self.source.kind()
    }

    fn mode(&self) -> &'static str {
        self.source.mode()
    }

    fn incarnation(&self) -> Result<String> {
        self.source.incarnation()
    }

    fn lag(&self, from: &Position) -> Result<Lag> {
        self.source.lag(from)
    }

    fn covers(&self, told: &Position, snapshot: &Position) -> Result<bool> {
        self.source.covers(told, snapshot)
    }

    fn settled(&self, patience: Duration) -> Result<()> {
        self.source.settled(patience)
    }

    fn keeps(&self) -> Result<Option<String>> {
        self.source.keeps()
    }

    fn dated(&self) -> Result<Option<String>> {
        self.source.dated()
    }

    fn watch(&self) -> Result<Option<String>> {
        self.source.watch()
    }

    fn blind(&self) -> Result<Vec<String>> {
        self.source.blind()
    }

    fn open(&self, from: &Position) -> Result<Box<dyn ChangeReader>> {
        Ok(Box::new(ScreenedReader {
            reader: self.source.open(from)?,
            screen: Arc::clone(&self.screen),
            mapping: Arc::clone(&self.mapping),
            scratch: Scratch::default(),
            tally: Tally::default(),
        }))
    }

    fn screen(&self) -> Option<&Screen> {
        Some(&self.screen)
    }
}

struct ScreenedReader {
    reader: Box<dyn ChangeReader>,
    screen: Arc<Screen>,
    mapping: Arc<Mapping>,
    scratch: Scratch,
    tally: Tally,
}

impl ChangeReader for ScreenedReader {
    fn read(&mut self, changes: &mut Changes, max: usize, wait: Duration) -> Result<()> {
        self.reader.read(changes, max, wait)?;
        for table in &self.mapping.tables {
            let new = changes.new_images(table.index);
            let rows = changes.images_mut(table.index);
            self.tally.merge(self.screen.scan(table, rows, |row| new.contains(&row), &mut self.scratch));
        }
        Ok(())
    }

    fn release(&mut self, until: &Position) -> Result<()> {
        self.reader.release(until)
    }

    fn lag(&mut self) -> Result<Lag> {
        self.reader.lag()
    }

    fn found(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }
}
