//! Noticing that anything was committed, without reading it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::error::{explain, open_read_only};
use crate::base::Result;
use crate::port::legacy_source::Wake as Waking;

/// `data_version` of a connection kept for it; the first look always says yes.
pub struct Wake {
    path: PathBuf,
    connection: Connection,
    seen: Option<i64>,
}

/// Between two looks.
const NAP: Duration = Duration::from_millis(10);

impl Wake {
    pub(super) fn new(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), connection: open_read_only(path)?, seen: None })
    }
}

impl Waking for Wake {
    fn wait(&mut self, at_most: Duration) -> Result<bool> {
        let began = Instant::now();
        loop {
            let version = self.connection.query_row("PRAGMA data_version", [], |row| row.get(0));
            let version = Some(version.map_err(|error| explain(&self.path, error))?);
            if version != self.seen {
                self.seen = version;
                return Ok(true);
            }
            if began.elapsed() >= at_most {
                return Ok(false);
            }
            std::thread::sleep(NAP.min(at_most));
        }
    }
}
