//! A long read holds the legacy's write-ahead log up: until it ends, no checkpoint can get to the log's end and begin it
//! anew. The first one after it has the whole log to bring to the disk, inside a commit of the legacy's. What is on the
//! disk by then costs that commit nothing.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime};

/// How much of the log's growth may be left for the legacy.
const EVERY: Duration = Duration::from_millis(100);

/// Brings what the legacy appends to its log to the disk, until it is dropped. It does not write to the file, and takes no
/// lock: SQLite has none on that one, which closing it here could give up.
pub(super) struct Flushing {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Flushing {
    pub(super) fn start(store: &Path) -> Self {
        let (stop, stopped) = channel();
        let mut log = Log::of(store);
        let flush = move || {
            let mut long = false;
            while stopped.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                long = true;
                log.flush();
            }
            if long {
                log.flush();
            }
        };
        // Without it the read goes on all the same.
        Self { stop: Some(stop), thread: Builder::new().name("flush".to_owned()).spawn(flush).ok() }
    }
}

impl Drop for Flushing {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The write-ahead log of a file.
pub(super) fn wal(store: &Path) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

struct Log {
    path: PathBuf,
    file: Option<File>,
    seen: Option<SystemTime>,
}

impl Log {
    fn of(store: &Path) -> Self {
        Self { path: wal(store), file: None, seen: None }
    }

    /// Whether there was anything new to bring to the disk, and it could be.
    fn flush(&mut self) -> bool {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let Some(file) = &self.file else { return false };
        let Ok(changed) = file.metadata().and_then(|of| of.modified()) else { return false };
        if self.seen == Some(changed) {
            return false;
        }
        self.seen = Some(changed);
        file.sync_data().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn only_a_log_that_was_written_to_is_flushed() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("legacy.db");
        let mut log = Log::of(&store);
        assert!(!log.flush(), "there is no file yet");
        let connection = Connection::open(&store).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (c)").unwrap();
        assert!(log.flush());
        assert!(!log.flush());
        // A file's time may be no finer than some milliseconds.
        std::thread::sleep(Duration::from_millis(20));
        connection.execute_batch("INSERT INTO t VALUES (1)").unwrap();
        assert!(log.flush());
        assert!(!log.flush());
    }
}
