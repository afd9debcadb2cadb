//! Listens to the client library: keeps the last cause, counts failed deliveries, and lets nothing reach the terminal.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use rdkafka::types::RDKafkaRespErr;

use super::cause::Cause;
use crate::port::group::{Place, Turn};

#[derive(Debug, Default)]
struct Heard {
    cause: Option<String>,
    /// A cause that no waiting will mend.
    refusal: Option<String>,
    /// The last line whose cause is known.
    known: Option<(Cause, String)>,
    let_in: bool,
    delivery: Option<(RDKafkaErrorCode, String)>,
}

impl Heard {
    fn learn(&mut self, text: &str) {
        if let Some(cause) = Cause::of(text)
            && !(self.let_in && cause.is_guess())
        {
            self.known = Some((cause, text.to_owned()));
        }
    }
}

/// What the client library said; one for each client.
#[derive(Debug, Default)]
pub(super) struct Listener {
    heard: Mutex<Heard>,
    failed: AtomicU64,
    faults: AtomicU64,
    eof: AtomicI64,
    /// Changes of a member's partitions that wait for an answer; of no member, none.
    turns: Mutex<Option<VecDeque<Turn>>>,
}

impl Listener {
    /// Keeps changes of the partitions for whoever asks, who is also to answer them.
    pub(super) fn of_member() -> Self {
        Self { turns: Mutex::new(Some(VecDeque::new())), ..Self::default() }
    }

    fn turns(&self) -> MutexGuard<'_, Option<VecDeque<Turn>>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_member(&self) -> bool {
        self.turns().is_some()
    }

    pub(super) fn turn_waits(&self) -> bool {
        self.turns().as_ref().is_some_and(|turns| !turns.is_empty())
    }

    pub(super) fn turn(&self) -> Option<Turn> {
        self.turns().as_mut()?.pop_front()
    }

    /// From here on changes are answered at once; gives those that were not.
    pub(super) fn leave(&self) -> VecDeque<Turn> {
        self.turns().take().unwrap_or_default()
    }
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Deliveries that failed since the last [`Listener::forget_deliveries`].
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Acquire)
    }

    /// The first delivery that failed by itself, and where to.
    pub(super) fn delivery_error(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.heard().delivery.clone()
    }

    pub(super) fn forget_deliveries(&self) {
        self.heard().delivery = None;
        self.failed.store(0, Ordering::Release);
    }

    /// Rises with each broken connection and each request without an answer.
    pub(super) fn faults(&self) -> u64 {
        self.faults.load(Ordering::Acquire)
    }

    /// The last thing that went wrong, in the library's words.
    pub(super) fn cause(&self) -> Option<String> {
        let heard = self.heard();
        heard.refusal.clone().or_else(|| heard.cause.clone())
    }

    /// Why the brokers turn this client away, where that is known, and the line that told it.
    pub(super) fn known(&self) -> Option<(Cause, String)> {
        self.heard().known.clone()
    }

    /// The brokers answered: a connection that is closed from now on has another reason than who we are.
    pub(super) fn let_in(&self) {
        let mut heard = self.heard();
        heard.let_in = true;
        heard.known = None;
    }

    /// A refused log-in or a failed handshake: trying again is of no use.
    pub(super) fn refused(&self) -> bool {
        self.heard().refusal.is_some()
    }

    /// The offset at which the last end of a partition was met. Only right after the poll that told of it.
    pub(super) fn eof(&self) -> Option<i64> {
        Some(self.eof.load(Ordering::Acquire)).filter(|offset| *offset >= 0)
    }
}

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if matches!(facility, "FAIL" | "REQTMOUT" | "FETCHERR" | "OFFSET") {
            self.faults.fetch_add(1, Ordering::AcqRel);
        }
        let text = without_prefix(text);
        let mut heard = self.heard();
        heard.learn(text);
        if level as i32 <= RDKafkaLogLevel::Error as i32 && heard.cause.is_none() {
            heard.cause = Some(text.to_owned());
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if code == Some(RDKafkaErrorCode::PartitionEOF) {
            self.eof.store(eof_offset(reason).unwrap_or(-1), Ordering::Release);
            return;
        }
        self.faults.fetch_add(1, Ordering::AcqRel);
        let mut heard = self.heard();
        heard.learn(reason);
        match code {
            Some(RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL) => heard.refusal = Some(reason.to_owned()),
            // Says only how many are down, never why.
            Some(RDKafkaErrorCode::AllBrokersDown) => {}
            _ => heard.cause = Some(reason.to_owned()),
        }
    }
}

impl ConsumerContext for Listener {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, why: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let given = why == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if let Some(turns) = self.turns().as_mut() {
            let places: Vec<Place> =
                list.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect();
            turns.push_back(match given {
                true => Turn::Given(places),
                false if consumer.assignment_lost() => Turn::Lost(places),
                false => Turn::Taken(places),
            });
            return;
        }
        // A failure here is told by the next poll.
        let _ = match (given, consumer.rebalance_protocol()) {
            (true, RebalanceProtocol::Cooperative) => consumer.incremental_assign(list),
            (true, _) => consumer.assign(list),
            (false, RebalanceProtocol::Cooperative) => consumer.incremental_unassign(list),
            (false, _) => consumer.unassign(),
        };
    }
}

impl ProducerContext for Listener {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, record)) = result {
            let code = error.rdkafka_error_code();
            // Purged by an abort: the consequence of another error, never the cause.
            if !matches!(code, Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight)) {
                let place = || format!("{}[{}]", record.topic(), record.partition());
                self.heard().delivery.get_or_insert_with(|| (code.unwrap_or(RDKafkaErrorCode::Fail), place()));
            }
            self.failed.fetch_add(1, Ordering::AcqRel);
        }
    }
}

/// Log lines begin with the thread they come from: `[thrd:…]: `.
fn without_prefix(text: &str) -> &str {
    match text.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: ")) {
        Some((_, rest)) => rest,
        None => text,
    }
}

/// The library has the offset of an end in its text only: `… reached end of partition at offset 17 (HighwaterMark 17)`.
fn eof_offset(reason: &str) -> Option<i64> {
    let (_, rest) = reason.split_once(" at offset ")?;
    rest.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_an_end_is_read_from_the_text() {
        let text = "Fetch from broker 2 reached end of partition at offset 510162 (HighwaterMark 510170)";
        assert_eq!(eof_offset(text), Some(510_162));
        assert_eq!(eof_offset("something else"), None);
    }

    #[test]
    fn a_closed_connection_says_who_we_are_only_before_the_first_answer() {
        let (level, closed) = (RDKafkaLogLevel::Info, "b:1/bootstrap: Disconnected (after 2ms in state UP)");
        let listener = Listener::default();
        listener.log(level, "FAIL", closed);
        assert_eq!(listener.known(), Some((Cause::LogInWanted, closed.to_owned())));
        listener.let_in();
        listener.log(level, "FAIL", closed);
        assert_eq!(listener.known(), None);
        let refused = "b:1/1: SASL authentication error: Authentication failed";
        listener.error(KafkaError::Global(RDKafkaErrorCode::Authentication), refused);
        assert_eq!(listener.known(), Some((Cause::Credentials, refused.to_owned())));
    }

    #[test]
    fn a_refused_log_in_outlives_later_causes() {
        let listener = Listener::default();
        listener.error(KafkaError::Global(RDKafkaErrorCode::Authentication), "wrong password");
        listener.error(KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), "disconnected");
        listener.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        assert!(listener.refused());
        assert_eq!(listener.cause().as_deref(), Some("wrong password"));
    }
}
