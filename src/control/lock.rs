//! The run lock: one mutating run per migration, held in the log so that it holds across hosts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Error, Kind, Millis, Result};
use crate::port::boundary::boundary;
use crate::port::event_log::{Checkpoint, EventLog, LogWriter};
use crate::port::journal::Head;

/// This process, as others see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub instance: String,
    pub host: String,
    pub pid: u32,
}

/// Who holds the lock, and since when it was last said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    pub process: Process,
    pub command: String,
    pub renewed_at: Millis,
}

/// What the operator writer's checkpoint carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    holder: Option<Holder>,
    journal: Option<Head>,
}

/// A lock not renewed for this long is taken over.
const STALE: Millis = 15_000;
const RENEW: Duration = Duration::from_secs(5);

/// Times the name is opened again for one record, should others look in between.
const ATTEMPTS: u32 = 5;

/// The lock while held. Renewed in the background; dropped without [`Lock::release`] it is left to go stale.
pub struct Lock {
    held: Arc<Mutex<Held>>,
    lost: Arc<AtomicBool>,
    stop: Option<Sender<()>>,
    renewing: Option<JoinHandle<()>>,
    record: Record,
    /// The journal's head as the log had it when the lock was taken.
    pub journal_in_log: Option<Head>,
}

/// The writer of the lock's record.
struct Held {
    writer: Box<dyn LogWriter>,
    plan_hash: String,
    process: Process,
    /// What the log had when the name was opened, then what was written last.
    newest: Record,
    /// Another run has taken the lock: nothing is written any more, though the name was opened again to find out.
    taken: bool,
}

impl Held {
    /// Writes the record, unless another process has written since.
    ///
    /// Who opens the name and finds it held backs off, but has fenced this writer by then; and a commit may end without an
    /// answer. So the log is asked by opening the name again: what it has is what was written, what was there before, or
    /// another's.
    fn write(&mut self, record: &Record) -> Result<()> {
        let state = serde_json::to_value(record)
            .map_err(|error| Error::failed("the run lock has no JSON form").because(error))?;
        let mut left = ATTEMPTS;
        if self.taken {
            return Err(Error::fenced("another run has taken the run lock"));
        }
        loop {
            let error = match self.writer.commit(&self.plan_hash, state.clone()) {
                Ok(()) => break,
                Err(error) if left > 0 && matches!(error.kind(), Kind::Fenced | Kind::Unknown) => error,
                Err(error) => return Err(error),
            };
            left -= 1;
            self.writer = self.writer.again()?;
            let found = of(self.writer.checkpoint())?;
            if found == *record {
                break;
            }
            let own = found.holder.as_ref().is_some_and(|holder| holder.process == self.process);
            if !own && found != self.newest {
                self.taken = true;
                return Err(Error::fenced("another run has taken the run lock").because(error));
            }
        }
        self.newest = record.clone();
        Ok(())
    }
}

fn writer_name(migration: &str) -> String {
    format!("{migration}/operator")
}

fn read(log: &dyn EventLog, migration: &str) -> Result<Record> {
    of(log.checkpoint(&writer_name(migration))?.as_ref())
}

fn of(checkpoint: Option<&Checkpoint>) -> Result<Record> {
    let Some(checkpoint) = checkpoint else { return Ok(Record::default()) };
    Record::deserialize(&checkpoint.state).map_err(|error| {
        Error::refused("the run lock in the log has a form this tool does not know")
            .hint("it was written by a newer crossfade: use that one")
            .because(error)
    })
}

impl Lock {
    /// The journal's head as the log has it; read without taking anything.
    pub fn journal_head(log: &dyn EventLog, migration: &str) -> Result<Option<Head>> {
        Ok(read(log, migration)?.journal)
    }

    /// The process that holds the lock now, if one does.
    pub fn holder(log: &dyn EventLog, migration: &str, now: Millis) -> Result<Option<Holder>> {
        Ok(read(log, migration)?.holder.filter(|holder| now - holder.renewed_at < STALE))
    }

    /// Takes the lock, or refuses and names the holder while it was renewed under 15 s ago, unless it is a dead process
    /// of this host. `alive` tells whether a process id of this host lives.
    pub fn acquire(
        log: &dyn EventLog,
        migration: &str,
        plan_hash: &str,
        process: &Process,
        command: &str,
        now: Arc<dyn Fn() -> Millis + Send + Sync>,
        alive: &dyn Fn(u32) -> bool,
    ) -> Result<Self> {
        let refuse = |found: &Record| {
            let Some(holder) = &found.holder else { return Ok(()) };
            let age = now() - holder.renewed_at;
            let dead = holder.process.host == process.host && !alive(holder.process.pid);
            if age >= STALE || dead {
                return Ok(());
            }
            let message = format!(
                "'{}' holds the run lock of '{migration}': process {} on {}, renewed {} s ago",
                holder.command,
                holder.process.pid,
                holder.process.host,
                age.max(0) / 1000
            );
            Err(Error::fenced(message)
                .hint("wait for it to end, or stop it; a lock not renewed for 15 s is taken over"))
        };
        refuse(&read(log, migration)?)?;
        boundary("lock.read");
        let writer = log.open_writer(&writer_name(migration), &process.instance)?;
        boundary("lock.opened");
        // Another run may have taken the lock since it was read, or taken it and given it back.
        let found = of(writer.checkpoint())?;
        refuse(&found)?;
        let holder = Holder { process: process.clone(), command: command.to_owned(), renewed_at: now() };
        let record = Record { holder: Some(holder), journal: found.journal.clone() };
        let journal_in_log = found.journal.clone();
        let (process, plan_hash) = (process.clone(), plan_hash.to_owned());
        let mut held = Held { writer, plan_hash, process, newest: found, taken: false };
        if let Err(error) = held.write(&record) {
            if error.kind() == Kind::Fenced {
                refuse(&read(log, migration)?)?;
            }
            return Err(error);
        }
        boundary("lock.taken");
        let held = Arc::new(Mutex::new(held));
        let lost = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = channel();
        let renewing = {
            let (held, lost, mut record) = (Arc::clone(&held), Arc::clone(&lost), record.clone());
            std::thread::spawn(move || {
                while stopped.recv_timeout(RENEW) == Err(RecvTimeoutError::Timeout) {
                    if let Some(holder) = &mut record.holder {
                        holder.renewed_at = now();
                    }
                    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
                    if held.write(&record).is_err_and(|error| error.kind() == Kind::Fenced) {
                        lost.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            })
        };
        Ok(Self { held, lost, stop: Some(stop), renewing: Some(renewing), record, journal_in_log })
    }

    /// An error once another run has taken the lock.
    pub fn check(&self) -> Result<()> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(
                Error::fenced("another run took the lock over; this one stops").hint("see who: crossfade status")
            );
        }
        Ok(())
    }

    /// A cheap copy of the flag behind [`Lock::check`].
    pub fn lost(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.lost)
    }

    /// Gives the lock back and writes the journal's head beside it.
    pub fn release(mut self, head: Option<Head>) -> Result<()> {
        self.stop_renewing();
        self.record.holder = None;
        self.record.journal = head.or_else(|| self.record.journal.take());
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.write(&self.record)
    }

    fn stop_renewing(&mut self) {
        self.stop.take();
        if let Some(renewing) = self.renewing.take() {
            let _ = renewing.join();
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        self.stop_renewing();
    }
}
