//! A writer: a transactional producer whose transactions carry their checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

use super::context::Listener;
use super::fault;
use super::log::Cluster;
use super::sys::{self, Handle};
use super::target::Target;
use crate::base::{Error, Kind, Result};
use crate::port::event_log::{Checkpoint, LogWriter, Record, checkpoint_place};

/// How long a name may take to be had: a dead writer's transaction is ended first.
const INIT: Duration = Duration::from_secs(30);
/// On top of the transaction time-out, for answers that are late: a dead coordinator is replaced after some 10 s.
const MARGIN: Duration = Duration::from_secs(20);
/// Dropping an open transaction is a courtesy to readers, not worth a long wait.
const FAREWELL: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(1);
/// Brokers write a commit's markers after they have answered it, within some 15 ms here. A transaction begun meanwhile
/// is refused, and the client asks again 20 ms later.
const MARKERS: Duration = Duration::from_millis(20);
/// Between two looks for a failed delivery.
const FLUSH: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// A transaction is open.
    Open,
    /// An append failed: only abort is left.
    Broken,
    /// The name must be opened again; why.
    Dead(Kind),
}

/// A transaction is lost with its connection; the log is not.
const LOST: &str = "nothing of this transaction was committed: run the same command again once the brokers answer";

pub(super) struct KafkaWriter {
    cluster: Arc<Cluster>,
    producer: ThreadedProducer<Listener>,
    name: String,
    instance: String,
    epoch: u64,
    place: (String, i32),
    checkpoint: Option<Checkpoint>,
    /// Topics written to so far.
    targets: BTreeMap<String, Target>,
    state: State,
    committed: Option<Instant>,
}

impl KafkaWriter {
    pub(super) fn open(cluster: Arc<Cluster>, name: &str, instance: &str) -> Result<Self> {
        let place = checkpoint_place(name)?;
        // Before anyone is fenced.
        cluster.partitions(&place.0)?;
        let producer = cluster.settings.producer(name).create_with_context(Listener::default());
        let producer = producer.map_err(|error| fault::settings(&error))?;
        let mut writer = Self {
            cluster,
            producer,
            name: name.to_owned(),
            instance: instance.to_owned(),
            epoch: 1,
            place,
            checkpoint: None,
            targets: BTreeMap::new(),
            state: State::Idle,
            committed: None,
        };
        writer.take_name()?;
        writer.checkpoint = writer.cluster.newest_checkpoint(name)?;
        writer.epoch = writer.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.epoch) + 1;
        Ok(writer)
    }

    fn take_name(&self) -> Result<()> {
        let deadline = Instant::now() + INIT;
        // Where no broker is connected librdkafka waits 500 ms before it looks for the coordinator. The first answer ends
        // the connection to the bootstrap server, the second stands on one that stays.
        for _ in 0..2 {
            let _ = self.producer.client().fetch_metadata(Some(&self.place.0), Duration::from_secs(5));
        }
        loop {
            let error = match self.producer.init_transactions(Duration::from_secs(5)) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let again = matches!(&error, KafkaError::Transaction(error) if error.is_retriable() && !error.is_fatal());
            if !again || Instant::now() >= deadline {
                let error = self.error(format!("the writer '{}' cannot be opened", self.name), fault::code(&error));
                return Err(fault::needs(error, "Write on the transactional id of that name"));
            }
        }
    }

    fn listener(&self) -> &Listener {
        self.producer.client().context()
    }

    /// How long anything inside a transaction may take; after that the brokers have ended it, and others are in charge.
    fn patience(&self) -> Duration {
        self.cluster.settings.transaction_timeout + MARGIN
    }

    fn error(&self, what: impl Into<String>, code: Code) -> Error {
        // A fatal error hides its cause behind itself.
        let code = match self.producer.client().fatal_error() {
            Some((cause, _)) => cause,
            None => code,
        };
        let error = fault::error(what, code, Some(self.listener()));
        if error.kind() != Kind::Fenced {
            return error;
        }
        Error::fenced(format!("the writer '{}' lost its name; nothing was committed", self.name))
            .because(code.to_string())
            .hint(format!(
                "a newer writer took it, or a transaction was open for more than {} s: the newest checkpoint tells which",
                self.cluster.settings.transaction_timeout.as_secs_f32()
            ))
    }

    fn cause_or(&self, code: Code) -> String {
        self.listener().cause().unwrap_or_else(|| code.to_string())
    }

    /// Remembers an error: after a fatal one the producer can do nothing more.
    fn broken(&mut self, error: Error) -> Error {
        self.state = match self.producer.client().fatal_error() {
            Some(_) => State::Dead(error.kind()),
            None => State::Broken,
        };
        error
    }

    fn dead(&self, kind: Kind) -> Error {
        Error::new(kind, format!("the writer '{}' can no longer be used: open it again", self.name))
    }

    /// Looks at a topic when it is first named: one that is missing must not be made by sending to it, and a partition that
    /// is missing would be told only by the commit.
    fn check(&mut self, record: &Record<'_>) -> Result<()> {
        if !self.targets.get(record.topic).is_some_and(|target| target.has(record)) {
            self.targets.insert(record.topic.to_owned(), Target::find(&self.cluster, record)?);
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        if let Some(committed) = self.committed {
            thread::sleep(MARKERS.saturating_sub(committed.elapsed()));
        }
        if let Err(error) = self.producer.begin_transaction() {
            let error = self.error("a transaction cannot be begun", fault::code(&error));
            return Err(self.broken(error));
        }
        self.state = State::Open;
        Ok(())
    }

    fn send(&mut self, record: &Record<'_>) -> Result<()> {
        let mut sent = BaseRecord::to(record.topic).key(record.key).payload(record.value).timestamp(record.timestamp);
        sent.partition = self.targets.get(record.topic).map(|target| target.partition(record)).or(record.partition);
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            sent.headers = Some(
                record
                    .headers
                    .iter()
                    .fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(*value) })),
            );
        }
        let mut since = None;
        loop {
            let code = match self.producer.send(sent) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(Code::QueueFull), back)) => {
                    sent = back;
                    Code::QueueFull
                }
                Err((error, _)) => {
                    let what = format!("a record of '{}' cannot be sent", record.topic);
                    let error = self.error(what, fault::code(&error));
                    return Err(self.broken(error));
                }
            };
            self.delivered()?;
            if since.get_or_insert_with(Instant::now).elapsed() >= self.patience() {
                let error = self.error("the brokers take no more records", code);
                return Err(self.broken(error));
            }
            thread::sleep(PAUSE);
        }
    }

    /// An error as soon as one delivery failed: the transaction can then only be aborted.
    fn delivered(&mut self) -> Result<()> {
        if self.listener().failed() == 0 && self.producer.client().fatal_error().is_none() {
            return Ok(());
        }
        let (code, place) = self.listener().delivery_error().unwrap_or((Code::Fail, "the brokers".to_owned()));
        let what = format!("records could not be delivered to {place}");
        let error = fault::needs(self.error(&what, code), "Write on the topic");
        // No connection in the end is one more way to fail here: the transaction is lost, not the log.
        let error = match error.kind() {
            Kind::Connect => Error::connect(what).because(self.cause_or(code)).hint(LOST),
            _ => error,
        };
        Err(self.broken(error))
    }

    /// Waits until all is delivered, failures told early.
    fn drain(&mut self) -> Result<()> {
        let deadline = Instant::now() + self.patience();
        while self.producer.in_flight_count() > 0 {
            self.delivered()?;
            if Instant::now() >= deadline {
                let error = self.error("records could not be delivered in time", Code::MessageTimedOut);
                return Err(self.broken(error));
            }
            sys::flush(Handle::of(self.producer.client()), FLUSH);
        }
        self.delivered()
    }

    /// Ends the transaction; the commit is asked for only here, so all errors before mean that nothing was committed.
    fn end(&mut self) -> Result<()> {
        let deadline = Instant::now() + self.patience();
        let faults = self.listener().faults();
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(PAUSE);
            let error = match self.producer.commit_transaction(left) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            let code = fault::code(&error);
            let KafkaError::Transaction(told) = &error else { return Err(self.undecided(code)) };
            if told.is_fatal() {
                let error = self.error("the transaction cannot be committed", code);
                // Asked twice because an answer was lost, the second answer does not speak of the first.
                if self.listener().faults() != faults {
                    return Err(self.undecided(code));
                }
                return Err(self.broken(error));
            }
            // A broker that met an error of its own does not say whether the commit was written before.
            if code == Code::Unknown {
                return Err(self.undecided(code));
            }
            if told.txn_requires_abort() {
                let error = self.error("the transaction cannot be committed", code);
                let error = match error.kind() {
                    Kind::Failed => Error::connect("the transaction was lost").because(self.cause_or(code)).hint(LOST),
                    _ => error,
                };
                return Err(self.broken(error));
            }
            if !told.is_retriable() || Instant::now() >= deadline {
                return Err(self.undecided(code));
            }
        }
    }

    fn undecided(&mut self, code: Code) -> Error {
        self.state = State::Dead(Kind::Unknown);
        let cause = self.cause_or(code);
        Error::unknown(format!("whether the last transaction of '{}' was committed is not known", self.name))
            .because(cause)
            .hint("open the writer again: its checkpoint tells")
    }

    fn roll_back(&mut self, within: Duration) -> Result<()> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(PAUSE);
            let error = match self.producer.abort_transaction(left) {
                Ok(()) => {
                    self.listener().forget_deliveries();
                    self.state = State::Idle;
                    return Ok(());
                }
                Err(error) => error,
            };
            let again = matches!(&error, KafkaError::Transaction(told) if told.is_retriable() && !told.is_fatal());
            if !again || Instant::now() >= deadline {
                let error = self.error("the transaction cannot be aborted", fault::code(&error));
                return Err(self.broken(error));
            }
        }
    }
}

impl LogWriter for KafkaWriter {
    fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    fn append(&mut self, record: &Record<'_>) -> Result<()> {
        match self.state {
            State::Dead(kind) => return Err(self.dead(kind)),
            State::Broken => return Err(Error::failed("an append failed before: abort the transaction first")),
            State::Idle | State::Open => {}
        }
        if let Err(error) = self.check(record) {
            if self.state == State::Open {
                self.state = State::Broken;
            }
            return Err(error);
        }
        if self.state == State::Idle {
            self.begin()?;
        }
        if self.listener().failed() > 0 {
            self.delivered()?;
        }
        if self.targets.get_mut(record.topic).is_some_and(|target| target.is_full(record)) {
            self.drain()?;
        }
        self.send(record)
    }

    fn commit(&mut self, plan_hash: &str, state: serde_json::Value) -> Result<()> {
        match self.state {
            State::Dead(kind) => return Err(self.dead(kind)),
            State::Broken => return Err(Error::failed("an append failed before: abort the transaction first")),
            State::Idle => self.begin()?,
            State::Open => {}
        }
        let checkpoint = Checkpoint {
            writer: self.name.clone(),
            instance: self.instance.clone(),
            epoch: self.epoch,
            plan_hash: plan_hash.to_owned(),
            state,
        };
        let value = serde_json::to_vec(&checkpoint)
            .map_err(|error| Error::failed("the checkpoint cannot be written").because(error))?;
        let (topic, partition) = self.place.clone();
        let record = Record {
            topic: &topic,
            partition: Some(partition),
            key: checkpoint.writer.as_bytes(),
            value: &value,
            headers: &[],
            timestamp: 0,
        };
        let committed = self.send(&record).and_then(|()| self.drain()).and_then(|()| self.end());
        match committed {
            Ok(()) => {
                self.committed = Some(Instant::now());
                self.state = State::Idle;
                self.checkpoint = Some(checkpoint);
                Ok(())
            }
            Err(error) => {
                if self.state == State::Broken {
                    // Should this fail, the transaction ends by its time-out or when the name is opened again.
                    let _ = self.roll_back(self.patience());
                }
                Err(error)
            }
        }
    }

    fn abort(&mut self) -> Result<()> {
        match self.state {
            State::Idle => Ok(()),
            State::Dead(kind) => Err(self.dead(kind)),
            State::Open | State::Broken => self.roll_back(self.patience()),
        }
    }

    fn again(&self) -> Result<Box<dyn LogWriter>> {
        Ok(Box::new(Self::open(Arc::clone(&self.cluster), &self.name, &self.instance)?))
    }
}

impl Drop for KafkaWriter {
    fn drop(&mut self) {
        if matches!(self.state, State::Open | State::Broken) {
            let _ = self.roll_back(FAREWELL);
        }
    }
}
