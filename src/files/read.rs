//! Reading files that are rewritten meanwhile.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value as Json;

use crate::base::{Error, Result};
use crate::document::parse;

/// What tells one state of a file from the next, as far as a file system tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    length: u64,
    modified: Option<SystemTime>,
    file: u64,
}

impl Seen {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let file = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let file = 0;
        Self { length: metadata.len(), modified: metadata.modified().ok(), file }
    }
}

/// The JSON files of a folder, by name; hidden ones, which are often half made, are none.
pub(super) fn list(folder: &Path) -> Result<BTreeMap<PathBuf, Seen>> {
    let failed = |error| Error::connect(format!("the folder {} cannot be read", folder.display())).because(error);
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|kind| kind != "json") {
            continue;
        }
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => {
                files.insert(path, Seen::of(&metadata));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&path).because(error)),
        }
    }
    Ok(files)
}

/// No session is larger; such a file would have to be held in memory several times.
pub(super) const LARGEST: u64 = 512 << 20;
/// How often a file is read again before it counts as broken, and after which pause.
const ATTEMPTS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// The document in a file; `None` where it has gone. A file that changes while it is read, or is half written, is read
/// again for about a second. `Err` is never taken for an absent file: its rows would count as deleted.
pub(super) fn document(path: &Path) -> Result<Option<Json>> {
    let mut last = None;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        let look = || std::fs::metadata(path).map(|metadata| Seen::of(&metadata));
        let read = look().and_then(|before| {
            if before.length > LARGEST {
                return Ok((before, Vec::new(), before));
            }
            let bytes = std::fs::read(path)?;
            Ok((before, bytes, look()?))
        });
        let (before, bytes, after) = match read {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(path).because(error)),
        };
        if before.length > LARGEST {
            let message =
                format!("{} has {} bytes; files of more than {LARGEST} are not read", path.display(), before.length);
            return Err(Error::refused(message).hint("move it out of the folder"));
        }
        if before != after || bytes.len() as u64 != before.length {
            continue;
        }
        match parse(&bytes) {
            Ok(document) => return Ok(Some(document)),
            Err(error) => last = Some(error),
        }
    }
    let message = format!("{} is no whole JSON document, and stayed so", path.display());
    let error = Error::corrupt(message).hint("nothing was taken from the folder; mend the file, or move it out");
    // Where, and not what: the text may be secret.
    Err(match last {
        Some(error_of) => error.because(format!("line {}, column {}", error_of.line(), error_of.column())),
        None => error.because("it changed whenever it was read"),
    })
}

fn unreadable(path: &Path) -> Error {
    Error::connect(format!("{} cannot be read", path.display()))
        .hint("nothing was taken from the folder: a file left out would count as deleted")
}
