//! The dry-run wrapper of the log: reads pass through, writes are counted and dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::{Error, Result};
use crate::port::event_log::{Checkpoint, Ends, EventLog, LogReader, LogWriter, Positions, Record, Topic, TopicIds};
use crate::port::group::{GroupReader, Join};

/// Lets an engine run in earnest without a trace: nothing is fenced, written or created.
pub struct DryRunLog<'a> {
    log: &'a dyn EventLog,
    records: Arc<AtomicU64>,
}

impl<'a> DryRunLog<'a> {
    pub fn new(log: &'a dyn EventLog) -> Self {
        Self { log, records: Arc::default() }
    }

    /// Records that would have been written.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }
}

#[derive(Clone)]
struct DryRunWriter {
    name: String,
    instance: String,
    checkpoint: Option<Checkpoint>,
    records: Arc<AtomicU64>,
}

impl EventLog for DryRunLog<'_> {
    fn describe(&self) -> String {
        self.log.describe()
    }

    fn cluster_id(&self) -> Result<String> {
        self.log.cluster_id()
    }

    fn open_writer(&self, name: &str, instance: &str) -> Result<Box<dyn LogWriter>> {
        let checkpoint = self.log.checkpoint(name)?;
        let (name, instance, records) = (name.to_owned(), instance.to_owned(), Arc::clone(&self.records));
        Ok(Box::new(DryRunWriter { name, instance, checkpoint, records }))
    }

    fn checkpoint(&self, name: &str) -> Result<Option<Checkpoint>> {
        self.log.checkpoint(name)
    }

    fn open_reader(&self, from: &Positions) -> Result<Box<dyn LogReader>> {
        self.log.open_reader(from)
    }

    fn join(&self, join: &Join<'_>) -> Result<Box<dyn GroupReader>> {
        Err(Error::refused(format!("a dry run does not join the group '{}'", join.group)))
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

    fn create_topics(&self, _topics: &[Topic]) -> Result<()> {
        Ok(())
    }

    fn topic_config(&self, topic: &str, name: &str) -> Result<Option<String>> {
        self.log.topic_config(topic, name)
    }

    fn max_record_bytes(&self, topic: &str) -> Result<usize> {
        self.log.max_record_bytes(topic)
    }
}

impl LogWriter for DryRunWriter {
    fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    fn append(&mut self, _record: &Record<'_>) -> Result<()> {
        self.records.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn commit(&mut self, plan_hash: &str, state: serde_json::Value) -> Result<()> {
        let epoch = self.checkpoint.as_ref().map_or(1, |checkpoint| checkpoint.epoch);
        let (writer, instance, plan_hash) = (self.name.clone(), self.instance.clone(), plan_hash.to_owned());
        self.checkpoint = Some(Checkpoint { writer, instance, epoch, plan_hash, state });
        Ok(())
    }

    fn again(&self) -> Result<Box<dyn LogWriter>> {
        Ok(Box::new(self.clone()))
    }

    fn abort(&mut self) -> Result<()> {
        Ok(())
    }
}
