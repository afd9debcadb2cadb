//! The folder behind the legacy's port.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::read::{Seen, document, list};
use crate::base::Result;
use crate::document::{Layout, Tables};
use crate::mapping::fit::Unmapped;
use crate::mapping::{Mapping, Types};
use crate::port::held_rows::HeldRows;
use crate::port::legacy_source::{LegacySource, Snapshot, Wake};

/// Documents in a folder.
pub struct FilesSource {
    folder: PathBuf,
    mapping: Arc<Mapping>,
    layout: Layout,
}

impl FilesSource {
    /// Looks whether the folder can be read.
    pub fn open(folder: &Path, mapping: Arc<Mapping>, layout: Layout) -> Result<Self> {
        mapping.types.require(Types::Sqlite)?;
        list(folder)?;
        Ok(Self { folder: folder.to_owned(), mapping, layout })
    }
}

impl LegacySource for FilesSource {
    fn kind(&self) -> &'static str {
        "files"
    }

    fn describe(&self) -> String {
        format!("files {}", self.folder.display())
    }

    /// Also names the files that hold no document of a known shape.
    fn check(&self) -> Result<Vec<Unmapped>> {
        let mut unmapped = Tables::check(&self.mapping, self.layout, &self.describe())?;
        for path in list(&self.folder)?.keys() {
            if document(path)?.is_some_and(|document| self.layout.shape(&document).is_none()) {
                let why = "a file whose keys are those of no known session".to_owned();
                unmapped.push(Unmapped { table: path.display().to_string(), why: Some(why) });
            }
        }
        Ok(unmapped)
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>> {
        let mut tables = Tables::new(&self.mapping, self.layout);
        for path in list(&self.folder)?.keys() {
            if let Some(document) = document(path)? {
                tables.add(&document);
            }
        }
        Ok(Box::new(HeldRows::new(Arc::clone(&self.mapping), tables.sorted()?)))
    }

    fn retained_bytes(&self) -> u64 {
        0
    }

    fn blind(&self) -> Vec<String> {
        vec![
            "what a file held between two looks at it: it is rewritten whole".to_owned(),
            "all files at one moment: each is seen at its own".to_owned(),
            "a change that leaves length, time and inode of a file as they were".to_owned(),
        ]
    }

    fn wake(&self) -> Result<Option<Box<dyn Wake>>> {
        Ok(Some(Box::new(FilesWake { folder: self.folder.clone(), seen: None })))
    }
}

/// Looks at names, lengths and times; notices of the kernel do not come from every file system.
struct FilesWake {
    folder: PathBuf,
    seen: Option<BTreeMap<PathBuf, Seen>>,
}

/// Between two looks.
const NAP: Duration = Duration::from_millis(50);

impl Wake for FilesWake {
    fn wait(&mut self, at_most: Duration) -> Result<bool> {
        let began = Instant::now();
        loop {
            let now = list(&self.folder)?;
            if self.seen.as_ref() != Some(&now) {
                self.seen = Some(now);
                return Ok(true);
            }
            if began.elapsed() >= at_most {
                return Ok(false);
            }
            std::thread::sleep(NAP.min(at_most));
        }
    }
}
