//! The client library's errors as ours.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::context::Listener;
use super::settings::KafkaSettings;
use super::sys::Refusal;
use crate::base::{Error, Kind};
use crate::config::properties::is_secret;

pub(super) const PROVISION: &str = "create it with `crossfade provision apply`";

/// What may be done about an error code.
pub(super) fn kind(code: Code) -> Kind {
    match code {
        Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicOrPartition | Code::InvalidTopic => {
            Kind::Config
        }
        Code::InvalidConfig | Code::InvalidReplicationFactor | Code::InvalidPartitions => Kind::Config,
        Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::PolicyViolation => Kind::Refused,
        Code::Authentication | Code::SSL => Kind::Connect,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch | Code::FencedInstanceId => Kind::Fenced,
        // A newer writer ended the transaction, or the brokers did for its age.
        Code::InvalidTransactionalState => Kind::Fenced,
        Code::MessageSizeTooLarge | Code::InvalidMessageSize => Kind::Row,
        Code::AutoOffsetReset | Code::OffsetOutOfRange | Code::LogTruncation => Kind::Stale,
        code if passing(code) => Kind::Connect,
        _ => Kind::Failed,
    }
}

/// Whether an error goes away by itself, as when a broker restarts.
pub(super) fn passing(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::MessageTimedOut
            | Code::RequestTimedOut
            | Code::WaitingForCoordinator
            | Code::WaitCache
            | Code::BrokerDestroy
            | Code::DestroyBroker
            | Code::UnknownBroker
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::PreferredLeaderNotAvailable
            | Code::KafkaStorageError
            | Code::Retry
            | Code::InProgress
    )
}

pub(super) fn code(error: &KafkaError) -> Code {
    error.rdkafka_error_code().unwrap_or(Code::Fail)
}

/// An error met while doing something to a thing both named by `what`.
pub(super) fn error(what: impl Into<String>, code: Code, listener: Option<&Listener>) -> Error {
    let kind = kind(code);
    // These codes say nothing by themselves; the cause came by the listener.
    let heard = matches!(kind, Kind::Connect | Kind::Stale).then(|| listener?.cause()).flatten();
    let error = Error::new(kind, what).because(heard.unwrap_or_else(|| code.to_string()));
    match kind {
        Kind::Config if matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
            error.hint(PROVISION)
        }
        Kind::Refused if code != Code::PolicyViolation => error.hint("the user lacks an ACL for it"),
        Kind::Connect if passing(code) => {
            error.hint("run the command again once the brokers answer: it goes on from what was committed")
        }
        Kind::Connect => error.hint("check `security`"),
        Kind::Stale => error.hint("the log no longer has this position, or never had it"),
        _ => error,
    }
}

/// Names the right that a refused user lacks; other errors stay as they are.
pub(super) fn needs(error: Error, right: &str) -> Error {
    match error.kind() {
        Kind::Refused => error.hint(format!("the user lacks an ACL: {right}")),
        _ => error,
    }
}

/// An error met by an admin call, with the broker's words.
pub(super) fn refused(what: impl Into<String>, refusal: &Refusal) -> Error {
    let error = error(what, refusal.code, None);
    match error.kind() {
        // The broker's words for a right that lacks are of its own insides.
        Kind::Refused if refusal.code != Code::PolicyViolation => error,
        _ => error.because(refusal.clone()),
    }
}

/// The error of a topic the cluster does not have.
pub(super) fn unknown_topic(topic: &str) -> Error {
    Error::config(format!("the topic '{topic}' does not exist")).hint(PROVISION)
}

/// The error of a partition its topic does not have.
pub(super) fn unknown_partition(topic: &str, count: i32, partition: i32) -> Error {
    Error::config(format!("the topic '{topic}' has {count} partitions, there is no partition {partition}"))
}

/// The error of a client that could not be made of the settings.
pub(super) fn settings(error: &KafkaError) -> Error {
    match error {
        KafkaError::ClientConfig(_, text, name, _) if !is_secret(name) => {
            Error::config(format!("the Kafka property '{name}' is wrong")).because(text.clone())
        }
        KafkaError::ClientConfig(_, _, name, _) => Error::config(format!("the Kafka setting '{name}' is wrong")),
        KafkaError::ClientCreation(text) => match unreadable(text) {
            Some((message, hint)) => Error::config(message).because(text.clone()).hint(hint),
            None => Error::config("the Kafka settings do not fit").because(text.clone()),
        },
        other => Error::config("the Kafka settings do not fit").because(other.to_string()),
    }
}

/// What the client library could not make of a file under `security`.
fn unreadable(text: &str) -> Option<(&'static str, &'static str)> {
    if text.starts_with("ssl.ca.location") {
        Some(("`ca_file` holds no certificate", "it must be PEM: BEGIN CERTIFICATE"))
    } else if text.starts_with("ssl.certificate.location") {
        Some(("`certificate_file` holds no certificate", "it must be PEM: BEGIN CERTIFICATE"))
    } else if text.starts_with("ssl.key.location") && text.contains("mismatch") {
        Some((
            "the key in `key_file` does not belong to the certificate in `certificate_file`",
            "name both of one pair",
        ))
    } else if text.starts_with("ssl.key.location") {
        Some((
            "the key in `key_file` cannot be read",
            "it must be PEM: BEGIN PRIVATE KEY; a locked one needs the right `key_password_file`",
        ))
    } else {
        None
    }
}

/// The error of a cluster that does not answer.
pub(super) fn unreachable(settings: &KafkaSettings, listener: &Listener) -> Error {
    if let Some(error) = listener.known().and_then(|(cause, text)| cause.explain(settings, &text)) {
        return error;
    }
    let brokers = settings.brokers();
    let cause = listener.cause().unwrap_or_else(|| "no answer".to_owned());
    if listener.refused() {
        Error::connect(format!("Kafka at {brokers} refused the log-in")).because(cause).hint("check `security`")
    } else {
        Error::connect(format!("Kafka at {brokers} does not answer"))
            .because(cause)
            .hint("check `bootstrap` and `security`, and whether the brokers run")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_away_by_itself_is_said_with_what_to_do() {
        for (code, words) in [(Code::BrokerTransportFailure, "once the brokers answer"), (Code::SSL, "`security`")] {
            let error = error("the log cannot be read", code, None);
            assert_eq!(error.kind(), Kind::Connect);
            assert!(error.help().is_some_and(|help| help.contains(words)), "{error:?}");
        }
    }
}
