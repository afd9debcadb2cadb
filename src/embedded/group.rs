//! The rosters of consumer groups, kept in the log's file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::{failure, file, layout};
use crate::base::{Error, Result};
use crate::port::group::{Join, Place};
use crate::port::roster::{Board, Roster};

pub(super) struct Rosters {
    path: PathBuf,
    connection: Connection,
    group: String,
    topics: Vec<String>,
    /// What was found last, and in which state of the file.
    seen: Option<(i64, Roster, BTreeSet<Place>)>,
}

impl Rosters {
    pub(super) fn open(path: &Path, join: &Join<'_>) -> Result<Self> {
        let mut connection = file::connect(path, false)?;
        file::upgrade(&mut connection, path)?;
        let (group, topics) = (join.group.to_owned(), join.topics.to_vec());
        Ok(Self { path: path.to_owned(), connection, group, topics, seen: None })
    }

    fn find(&self, connection: &Connection) -> Result<(Roster, BTreeSet<Place>)> {
        let mut places = BTreeSet::new();
        for topic in &self.topics {
            let count = layout::topic(connection, &self.path, topic)?.partitions.len();
            places.extend((0..).take(count).map(|number| (topic.clone(), number)));
        }
        let found: Option<String> = connection
            .query_row("SELECT roster FROM groups WHERE name = ?1", [&self.group], |row| row.get(0))
            .optional()
            .map_err(|error| failure::of(&self.path, error))?;
        let roster = found.map_or_else(|| Ok(Roster::default()), |text: String| serde_json::from_str(&text));
        let damaged = |error| {
            Error::corrupt(format!("the roster of the group '{}' in {} is damaged", self.group, self.path.display()))
                .because(error)
        };
        Ok((roster.map_err(damaged)?, places))
    }
}

impl Board for Rosters {
    fn look(&mut self) -> Result<(Roster, BTreeSet<Place>)> {
        // Changes with the commits of others only; our own forget what was seen.
        let version = self
            .connection
            .pragma_query_value(None, "data_version", |row| row.get(0))
            .map_err(|error| failure::of(&self.path, error))?;
        match &self.seen {
            Some((seen, roster, places)) if *seen == version => Ok((roster.clone(), places.clone())),
            _ => {
                let (roster, places) = self.find(&self.connection)?;
                self.seen = Some((version, roster.clone(), places.clone()));
                Ok((roster, places))
            }
        }
    }

    fn change(&mut self, change: &mut dyn FnMut(&mut Roster, &BTreeSet<Place>) -> Result<()>) -> Result<()> {
        self.seen = None;
        let fail = |error| failure::of(&self.path, error);
        let transaction = rusqlite::Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate);
        let transaction = transaction.map_err(fail)?;
        let (mut roster, places) = self.find(&transaction)?;
        change(&mut roster, &places)?;
        let text = serde_json::to_string(&roster)
            .map_err(|error| Error::failed("the roster of a group has no JSON form").because(error))?;
        transaction
            .execute("INSERT OR REPLACE INTO groups VALUES (?1, ?2)", [&self.group, &text])
            .and_then(|_| transaction.commit())
            .map_err(fail)
    }
}
