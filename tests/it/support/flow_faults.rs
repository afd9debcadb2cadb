//! A log that fails on demand: the reply is lost, the transaction did not happen, the writer was fenced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossfade::base::{Error, Result};
use crossfade::port::event_log::{
    Checkpoint, Ends, EventLog, LogReader, LogWriter, Positions, Record, Topic, TopicIds,
};
use crossfade::port::group::{GroupReader, Join};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The commit happens, and its answer does not come.
    LostReply,
    /// The commit does not happen, and nobody knows.
    LostCommit,
    /// A newer writer takes the name before the commit.
    Fenced,
    /// The record is not taken.
    Append,
}

/// The log below, whose `nth` call of the fault's kind (from 1, over all writers) fails; all others do what they should.
pub struct FaultyLog {
    log: Arc<dyn EventLog>,
    fault: Fault,
    nth: u64,
    calls: Arc<AtomicU64>,
}

impl FaultyLog {
    pub fn new(log: Arc<dyn EventLog>, fault: Fault, nth: u64) -> Self {
        Self { log, fault, nth, calls: Arc::default() }
    }

    /// Calls of the fault's kind so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

struct FaultyWriter {
    log: Arc<dyn EventLog>,
    name: String,
    writer: Box<dyn LogWriter>,
    fault: Fault,
    nth: u64,
    calls: Arc<AtomicU64>,
}

impl FaultyWriter {
    fn due(&self) -> bool {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1 == self.nth
    }
}

impl LogWriter for FaultyWriter {
    fn checkpoint(&self) -> Option<&Checkpoint> {
        self.writer.checkpoint()
    }

    fn append(&mut self, record: &Record<'_>) -> Result<()> {
        if self.fault == Fault::Append && self.due() {
            return Err(Error::failed("the record was not taken"));
        }
        self.writer.append(record)
    }

    fn commit(&mut self, plan_hash: &str, state: serde_json::Value) -> Result<()> {
        if self.fault == Fault::Append || !self.due() {
            return self.writer.commit(plan_hash, state);
        }
        match self.fault {
            Fault::LostReply => {
                self.writer.commit(plan_hash, state)?;
                Err(Error::unknown("the answer to a commit did not come"))
            }
            Fault::LostCommit => {
                // What cannot be rolled back now is when the name is opened again.
                let _ = self.writer.abort();
                Err(Error::unknown("the answer to a commit did not come"))
            }
            Fault::Fenced | Fault::Append => {
                self.log.open_writer(&self.name, "another")?;
                self.writer.commit(plan_hash, state)
            }
        }
    }

    fn again(&self) -> Result<Box<dyn LogWriter>> {
        let (log, name, calls) = (Arc::clone(&self.log), self.name.clone(), Arc::clone(&self.calls));
        Ok(Box::new(Self { log, name, writer: self.writer.again()?, fault: self.fault, nth: self.nth, calls }))
    }

    fn abort(&mut self) -> Result<()> {
        self.writer.abort()
    }
}

impl EventLog for FaultyLog {
    fn describe(&self) -> String {
        self.log.describe()
    }

    fn cluster_id(&self) -> Result<String> {
        self.log.cluster_id()
    }

    fn open_writer(&self, name: &str, instance: &str) -> Result<Box<dyn LogWriter>> {
        let writer = self.log.open_writer(name, instance)?;
        Ok(Box::new(FaultyWriter {
            log: Arc::clone(&self.log),
            name: name.to_owned(),
            writer,
            fault: self.fault,
            nth: self.nth,
            calls: Arc::clone(&self.calls),
        }))
    }

    fn checkpoint(&self, name: &str) -> Result<Option<Checkpoint>> {
        self.log.checkpoint(name)
    }

    fn open_reader(&self, from: &Positions) -> Result<Box<dyn LogReader>> {
        self.log.open_reader(from)
    }

    fn join(&self, join: &Join<'_>) -> Result<Box<dyn GroupReader>> {
        self.log.join(join)
    }

    fn ends(&self, topic: &str) -> Result<BTreeMap<i32, Ends>> {
        self.log.ends(topic)
    }

    fn topic_ids(&self, topics: &[&str]) -> Result<TopicIds> {
        self.log.topic_ids(topics)
    }

    fn topics(&self) -> Result<BTreeMap<String, i32>> {
        self.log.topics()
    }

    fn create_topics(&self, topics: &[Topic]) -> Result<()> {
        self.log.create_topics(topics)
    }

    fn topic_config(&self, topic: &str, name: &str) -> Result<Option<String>> {
        self.log.topic_config(topic, name)
    }

    fn max_record_bytes(&self, topic: &str) -> Result<usize> {
        self.log.max_record_bytes(topic)
    }
}
