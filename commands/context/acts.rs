//! Acts under the run lock, told in this machine's journal.

use std::borrow::Borrow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crossfade::base::{Error, Kind, Result};
use crossfade::control::{Holder, Lock};
use crossfade::journal::{SqliteJournal, contains};
use crossfade::plan::Step;
use crossfade::port::boundary::boundary;
use crossfade::port::event_log::EventLog;
use crossfade::port::journal::{Entry, Journal, Stage};
use crossfade::provision::Record;

use super::{Context, make_folder_of, now};

impl Context {
    /// Keeps the steps of an act in this machine's journal.
    pub(crate) fn recorder(&self) -> Result<Recorder> {
        Ok(Recorder { journal: self.journal()? })
    }

    pub(crate) fn journal_path(&self) -> PathBuf {
        self.config.state_folder().join("journal.db")
    }

    /// What the journal of this machine holds; makes nothing.
    pub(crate) fn journal_entries(&self) -> Result<Vec<Entry>> {
        SqliteJournal::open_read_only(self.journal_path())?.entries()
    }

    pub(crate) fn journal(&self) -> Result<SqliteJournal> {
        let path = self.journal_path();
        make_folder_of(&path)?;
        SqliteJournal::open(&path)
    }

    /// Runs one act that needs no run lock, announced and told in this machine's journal only.
    pub(crate) fn act_here<T>(
        &self,
        act: &str,
        detail: &serde_json::Value,
        work: impl FnOnce() -> Result<(T, serde_json::Value)>,
    ) -> Result<T> {
        let journal = self.journal()?;
        let announced = journal.append(now(), Stage::Announced, 0, act, detail)?;
        boundary("journal.announced");
        let result = work();
        let (stage, told) = ending(&result);
        let journalled = journal.append(now(), stage, announced.seq, act, &told);
        boundary("journal.done");
        let (value, _) = result?;
        journalled?;
        Ok(value)
    }

    /// Runs one mutating act under the run lock, announced in the journal before and told after; the journal's head
    /// goes into the log with the lock's release.
    pub(crate) fn act<T>(
        &self,
        log: &dyn EventLog,
        act: &str,
        detail: &serde_json::Value,
        work: impl FnOnce() -> Result<(T, serde_json::Value)>,
    ) -> Result<T> {
        let journal = self.journal()?;
        let lock = Lock::acquire(
            log,
            &self.config.migration,
            &self.mapping.hash,
            &self.process,
            act,
            Arc::new(now),
            &process_alive,
        )?;
        if let Ok(mut lost) = self.stop.lost.lock() {
            *lost = Some(lock.lost());
        }
        if let Some(head) = lock.journal_in_log.as_ref().filter(|head| head.seq > 0)
            && !contains(&journal.entries()?, head)
        {
            let text = format!("the log knows entry {} of a journal, which this one lacks", head.seq);
            self.ui.note(format!("{text}: it was cut or removed, or another machine keeps it"));
            let detail = serde_json::json!({ "lacks": head.seq, "hash": head.hash });
            journal.append(now(), Stage::Noted, 0, LACKS, &detail)?;
        }
        let announced = journal.append(now(), Stage::Announced, 0, act, detail)?;
        boundary("journal.announced");
        let result = work();
        let (stage, told) = ending(&result);
        let journalled = journal.append(now(), stage, announced.seq, act, &told).and_then(|_| {
            boundary("journal.done");
            lock.release(journal.head()?)?;
            boundary("lock.released");
            Ok(())
        });
        // The act's own error says more than a failure to tell of it.
        let (value, _) = result?;
        journalled?;
        Ok(value)
    }

    /// Whether the holder of the lock may still run.
    pub(crate) fn may_run(&self, holder: &Holder) -> bool {
        holder.process.host != self.process.host || process_alive(holder.process.pid)
    }
}

/// What a step of an act is called in the journal.
pub(crate) const STEP: &str = "provision step";

/// What a statement on the legacy store is called in the journal.
pub(crate) const FOLLOW_STEP: &str = "follow step";

/// What a statement for reverse is called in the journal.
pub(crate) const REVERSE_STEP: &str = "reverse step";

/// The steps of an act, announced and told.
pub(crate) struct Recorder {
    journal: SqliteJournal,
}

impl Record for Recorder {
    fn announce(&self, step: &Step) -> Result<u64> {
        let detail = serde_json::json!({ "item": step.item, "changes": step.changes, "before": step.before });
        let entry = self.journal.append(now(), Stage::Announced, 0, STEP, &detail)?;
        boundary("journal.announced");
        Ok(entry.seq)
    }

    fn ended(&self, entry: u64, step: &Step, result: &Result<()>) -> Result<()> {
        let told = match result {
            Ok(()) => Ok(((), serde_json::json!({ "item": step.item, "after": step.after }))),
            Err(error) => Err(error),
        };
        let (stage, detail) = ending(&told);
        self.journal.append(now(), stage, entry, STEP, &detail)?;
        boundary("journal.done");
        Ok(())
    }
}

/// Notes in a journal that the log knew an entry it does not have.
pub(crate) const LACKS: &str = "journal lacks";

/// How an act ended, for the journal.
fn ending<T, E: Borrow<Error>>(result: &Result<(T, serde_json::Value), E>) -> (Stage, serde_json::Value) {
    let (stage, error) = match result.as_ref().map_err(Borrow::borrow) {
        Ok((_, told)) => return (Stage::Done, told.clone()),
        Err(error) if error.kind() == Kind::Unknown => (Stage::Unknown, error),
        Err(error) => (Stage::Failed, error),
    };
    let interrupted = error.kind() == Kind::Interrupted;
    (stage, serde_json::json!({ "error": error.to_string(), "interrupted": interrupted }))
}

/// Whether a process of this host lives; where that cannot be known, yes.
fn process_alive(pid: u32) -> bool {
    !Path::new("/proc/self").exists() || Path::new(&format!("/proc/{pid}")).exists()
}
