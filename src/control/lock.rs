//! The run lock: one mutating run per migration, held in the log so that it holds across hosts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Error, Kind, Millis, Result};
use crate::port::boundary::boundary;
use crate::port::event_log::{EventLog, LogWriter};
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

/// The lock while held. Renewed in the background; dropped without [`Lock::release`] it is left to go stale.
pub struct Lock {
    writer: Arc<Mutex<Box<dyn LogWriter>>>,
    lost: Arc<AtomicBool>,
    stop: Option<Sender<()>>,
    renewing: Option<JoinHandle<()>>,
    plan_hash: String,
    record: Record,
    /// The journal's head as the log had it when the lock was taken.
    pub journal_in_log: Option<Head>,
}

fn writer_name(migration: &str) -> String {
    format!("{migration}/operator")
}

fn read(log: &dyn EventLog, migration: &str) -> Result<Record> {
    match log.checkpoint(&writer_name(migration))? {
        Some(checkpoint) => serde_json::from_value(checkpoint.state).map_err(|error| {
            Error::refused("the run lock in the log has a form this tool does not know")
                .hint("it was written by a newer crossfade: use that one")
                .because(error)
        }),
        None => Ok(Record::default()),
    }
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
        let found = read(log, migration)?;
        if let Some(holder) = &found.holder {
            let age = now() - holder.renewed_at;
            let dead = holder.process.host == process.host && !alive(holder.process.pid);
            if age < STALE && !dead {
                let message = format!(
                    "'{}' holds the run lock of '{migration}': process {} on {}, renewed {} s ago",
                    holder.command,
                    holder.process.pid,
                    holder.process.host,
                    age.max(0) / 1000
                );
                return Err(Error::fenced(message)
                    .hint("wait for it to end, or stop it; a lock not renewed for 15 s is taken over"));
            }
        }
        let mut writer = log.open_writer(&writer_name(migration), &process.instance)?;
        let holder = Holder { process: process.clone(), command: command.to_owned(), renewed_at: now() };
        let record = Record { holder: Some(holder), journal: found.journal.clone() };
        commit(writer.as_mut(), plan_hash, &record)?;
        boundary("lock.taken");
        let writer = Arc::new(Mutex::new(writer));
        let lost = Arc::new(AtomicBool::new(false));
        let (stop, stopped) = channel();
        let renewing = {
            let (writer, lost, hash, mut record) =
                (Arc::clone(&writer), Arc::clone(&lost), plan_hash.to_owned(), record.clone());
            std::thread::spawn(move || {
                while stopped.recv_timeout(RENEW) == Err(RecvTimeoutError::Timeout) {
                    if let Some(holder) = &mut record.holder {
                        holder.renewed_at = now();
                    }
                    let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                    if commit(writer.as_mut(), &hash, &record).is_err_and(|error| error.kind() == Kind::Fenced) {
                        lost.store(true, Ordering::Relaxed);
                        return;
                    }
                }
            })
        };
        let (stop, renewing, plan_hash) = (Some(stop), Some(renewing), plan_hash.to_owned());
        Ok(Self { writer, lost, stop, renewing, plan_hash, record, journal_in_log: found.journal })
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
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        commit(writer.as_mut(), &self.plan_hash, &self.record)
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

fn commit(writer: &mut dyn LogWriter, plan_hash: &str, record: &Record) -> Result<()> {
    let state =
        serde_json::to_value(record).map_err(|error| Error::failed("the run lock has no JSON form").because(error))?;
    writer.commit(plan_hash, state)
}
