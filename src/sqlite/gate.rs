//! The gate to a legacy file that its own programs have open: a commit while nobody holds a snapshot, and nobody can begin one.
//!
//! A program that holds a snapshot and writes on it fails at once (`SQLITE_BUSY_SNAPSHOT`) when anybody committed in between.
//! Who holds one has a read lock: one of the bytes 123 to 127 of the `-shm` file. A gate is closed by
//!
//! 1. asking who holds one of them: somebody does, so later;
//! 2. an open-file-description write lock on 123: whoever reads from now on, this connection too, takes one of 124 to 127;
//! 3. beginning a read on the connection;
//! 4. a write lock of this process on 124 to 127: it takes the place of the connection's own read lock, and any other
//!    process's makes it fail. Readers that come now try again inside SQLite, for some seconds;
//! 5. the write lock of SQLite, without waiting.
//!
//! Locks of a process are lost when it closes any descriptor of the file. So those of the gate outlive the connection.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod locks;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

#[cfg(not(target_os = "linux"))]
use self::elsewhere::Locks;
#[cfg(target_os = "linux")]
use self::locks::Locks;
use super::error::{explain, uri};
use crate::base::{Error, Result};
use crate::port::boundary::boundary;
use crate::port::progress::{Progress, Silent};

/// The most a gate stays closed beside others: they wait inside SQLite, which gives up after 10 s.
const CLOSED: Duration = Duration::from_millis(100);
/// The same while nobody else has the file open; somebody may come.
const CLOSED_ALONE: Duration = Duration::from_secs(5);
/// A gate stays open at least as long as it was closed, and this long: whoever waits inside SQLite gets in between.
const BREATH: Duration = Duration::from_millis(3);
/// Between two looks whether anybody reads: gaps are short.
const NAP: Duration = Duration::from_micros(100);
/// Waiting is told after the first, and then again after each other.
const TOLD: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// Instructions of SQLite between two looks at the clock.
const STEPS: i32 = 1_000;

/// How long a gap is waited for, and who hears what it waits for.
#[derive(Clone)]
pub struct Patience {
    /// `None` is for ever.
    pub at_most: Option<Duration>,
    pub progress: Arc<dyn Progress>,
}

impl Default for Patience {
    fn default() -> Self {
        Self { at_most: Some(Duration::from_secs(30)), progress: Arc::new(Silent) }
    }
}

impl std::fmt::Debug for Patience {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Patience").field("at_most", &self.at_most).finish_non_exhaustive()
    }
}

/// Who reads.
enum Holder {
    Process(i32),
    /// Another gate, a process that cannot be seen from here, or one that was there for an instant.
    Unknown,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::Process(pid) = self else { return formatter.write_str("another process is at work on it") };
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"));
        let name = name.map_or_else(|_| String::new(), |name| format!(" ({})", name.trim_end()));
        write!(formatter, "process {pid}{name} holds a snapshot of it")
    }
}

/// A connection that writes through the gate only. The process must not read the file on another one meanwhile.
pub(super) struct Gate {
    /// Closed before the descriptors of the locks are.
    connection: Connection,
    locks: Locks,
    path: PathBuf,
    patience: Patience,
    closed: Option<Instant>,
    /// When it may be closed again.
    rested: Option<Instant>,
    /// When a transaction is broken off, in milliseconds since `origin`; 0 is never.
    deadline: Arc<AtomicU64>,
    origin: Instant,
}

impl Gate {
    /// Refuses a file whose locks say nothing: one that is not in WAL mode, or lies on a network's file system.
    pub(super) fn open(path: &Path, patience: Patience) -> Result<Self> {
        let told = |error| explain(path, error);
        let mut connection = writable(path).map_err(told)?;
        let mode: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0)).map_err(told)?;
        if mode != "wal" {
            let message = format!("'{}' is not in the journal mode WAL, but {mode}", path.display());
            return Err(Error::refused(message).hint("let the legacy use the journal mode WAL"));
        }
        // The first read makes the -shm file where there is none.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())).map_err(told)?;
        let locks = Locks::open(path)?;
        let (deadline, origin) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let due = Arc::clone(&deadline);
        let over = move || {
            let due = due.load(Ordering::Relaxed);
            due > 0 && origin.elapsed() > Duration::from_millis(due)
        };
        connection.progress_handler(STEPS, Some(over)).map_err(told)?;
        Ok(Self { connection, locks, path: path.to_owned(), patience, closed: None, rested: None, deadline, origin })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Begins a transaction that has SQLite's write lock, with the gate closed. Waits for that, and says for whom.
    pub(super) fn begin(&mut self) -> Result<()> {
        if let Some(rested) = self.rested.take()
            && !self.locks.alone()?
        {
            std::thread::sleep(rested.saturating_duration_since(Instant::now()));
        }
        // What waits must do so with the gate open.
        self.connection.busy_timeout(Duration::ZERO).map_err(|error| explain(&self.path, error))?;
        let asked = Instant::now();
        let mut told = None;
        loop {
            let Some(holder) = self.attempt()? else {
                boundary("gate.closed");
                return Ok(());
            };
            self.patience.progress.check()?;
            if self.patience.at_most.is_some_and(|at_most| asked.elapsed() >= at_most) {
                return Err(self.no_gap(&holder, asked.elapsed()));
            }
            if asked.elapsed() >= TOLD.0 && told.is_none_or(|told: Instant| told.elapsed() >= TOLD.1) {
                told = Some(Instant::now());
                let store = self.path.display();
                self.patience.progress.note(&format!("waiting for a moment in which nobody reads '{store}': {holder}"));
            }
            std::thread::sleep(NAP);
        }
    }

    /// Who is in the way, if anybody; else the transaction has begun.
    fn attempt(&mut self) -> Result<Option<Holder>> {
        if let Some(holder) = self.locks.reader()? {
            return Ok(Some(holder));
        }
        if !self.locks.close_first()? {
            return Ok(Some(Holder::Unknown));
        }
        let began = self.begin_inside();
        if !matches!(began, Ok(None)) {
            self.locks.open_all()?;
        }
        began
    }

    /// With the first byte locked: a read of this connection, the lock on the others, and SQLite's write lock. The read has
    /// ended when it fails, so that the locks can go.
    fn begin_inside(&mut self) -> Result<Option<Holder>> {
        let told = |error| explain(&self.path, error);
        let mut reading = self.connection.prepare("SELECT count(*) FROM sqlite_schema").map_err(told)?;
        let mut rows = reading.query([]).map_err(told)?;
        // One row is there, and as long as it is not passed the read goes on.
        match rows.next() {
            Err(error) if busy(&error) => return Ok(Some(Holder::Unknown)),
            row => row.map(|_| ()).map_err(told)?,
        }
        if !self.locks.close_others()? {
            return Ok(Some(self.locks.reader_beside_own()?.unwrap_or(Holder::Unknown)));
        }
        let closed = Instant::now();
        match self.connection.execute_batch("BEGIN IMMEDIATE") {
            Err(error) if busy(&error) => return Ok(Some(Holder::Unknown)),
            begun => begun.map_err(told)?,
        }
        drop(rows);
        let most = if self.locks.alone()? { CLOSED_ALONE } else { CLOSED };
        self.deadline.store((closed.duration_since(self.origin) + most).as_millis() as u64, Ordering::Relaxed);
        self.closed = Some(closed);
        Ok(None)
    }

    /// How long the gate has been closed.
    pub(super) fn closed(&self) -> Duration {
        self.closed.map_or(Duration::ZERO, |closed| closed.elapsed())
    }

    /// From here on the transaction is finished, however long it takes: what is left is short.
    pub(super) fn finish(&self) {
        self.deadline.store(0, Ordering::Relaxed);
    }

    /// Gives how long the gate was closed. After an error, `rollback` must follow.
    pub(super) fn commit(&mut self) -> rusqlite::Result<Duration> {
        self.finish();
        self.connection.execute_batch("COMMIT")?;
        let closed = self.closed();
        self.let_go();
        Ok(closed)
    }

    pub(super) fn rollback(&mut self) {
        self.finish();
        // SQLite has rolled back by itself after some errors; then this one fails and nothing is lost.
        let _ = self.connection.execute_batch("ROLLBACK");
        self.let_go();
    }

    fn let_go(&mut self) {
        if let Some(closed) = self.closed.take() {
            let now = Instant::now();
            self.rested = Some(now + BREATH.max(now - closed));
            // A lock that cannot be given back goes with the process.
            let _ = self.locks.open_all();
        }
    }

    /// Runs `work` in one transaction, again where it took too long; gives how long the gate was closed.
    pub(super) fn pass<T>(&mut self, work: impl Fn(&Connection) -> rusqlite::Result<T>) -> Result<(T, Duration)> {
        let asked = Instant::now();
        loop {
            self.begin()?;
            let done = work(&self.connection).and_then(|done| Ok((done, self.commit()?)));
            match done {
                Ok(done) => return Ok(done),
                Err(error) => {
                    self.rollback();
                    let again = busy(&error) || too_long(&error);
                    if !again || self.patience.at_most.is_some_and(|at_most| asked.elapsed() >= at_most) {
                        return Err(if too_long(&error) { self.took_too_long() } else { explain(&self.path, error) });
                    }
                }
            }
        }
    }

    fn took_too_long(&self) -> Error {
        Error::refused(format!(
            "'{}': a transaction takes longer than the {} ms for which its programs are kept waiting",
            self.path.display(),
            CLOSED.as_millis()
        ))
        .hint("stop the legacy and run the same command again")
    }

    fn no_gap(&self, holder: &Holder, waited: Duration) -> Error {
        Error::refused(format!(
            "there was no moment in {:.0} s in which nobody reads '{}': {holder}; a commit would make its next write fail",
            waited.as_secs_f64(),
            self.path.display()
        ))
        .hint("wait longer (--wait SECONDS), or stop that process and run the same command again")
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if self.closed.is_some() {
            self.rollback();
        }
    }
}

/// A connection that never waits, and never makes a checkpoint: that work stays where and when the legacy does it.
fn writable(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri(path, "mode=rw"), flags)?;
    // Only what comes before the gate waits.
    connection.busy_timeout(Duration::from_secs(1))?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    Ok(connection)
}

pub(super) fn busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// The transaction was broken off for the sake of the legacy's programs.
pub(super) fn too_long(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted)
}
