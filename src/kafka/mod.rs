//! The log on Apache Kafka: transactional writers, read-committed readers, topics and their ends.

mod admin;
mod cause;
mod context;
mod disks;
mod fault;
mod group;
mod log;
mod look;
mod reader;
mod settings;
mod sys;
mod target;
mod tls;
mod topics;
mod transactions;
mod wire;
mod writer;

pub use admin::KafkaAdmin;
pub use log::KafkaLog;
pub use settings::{KafkaSettings, Secret, Security, TRANSACTION_TIMEOUT};

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::base::Kind;

    #[test]
    fn unreachable_brokers_are_told_with_address_and_cause_within_ten_seconds() {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let broker = format!("127.0.0.1:{port}");
        let settings = KafkaSettings { bootstrap: vec![broker.clone()], ..KafkaSettings::default() };
        let started = Instant::now();
        let Err(error) = KafkaLog::open(&settings) else { panic!("nobody listens at {broker}") };
        assert!(started.elapsed() < Duration::from_secs(10));
        assert_eq!(error.kind(), Kind::Connect);
        assert!(error.message().contains(&broker), "{error}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("refused"), "{cause}");
    }

    #[test]
    fn no_broker_and_wrong_properties_are_errors_of_the_config() {
        let Err(error) = KafkaLog::open(&KafkaSettings::default()) else { panic!("no broker was named") };
        assert_eq!(error.kind(), Kind::Config);
        let mut settings = KafkaSettings { bootstrap: vec!["127.0.0.1:1".to_owned()], ..KafkaSettings::default() };
        settings.properties.insert("linger.msec".to_owned(), "5".to_owned());
        let Err(error) = KafkaLog::open(&settings) else { panic!("the property does not exist") };
        assert_eq!(error.kind(), Kind::Config);
        assert!(error.message().contains("linger.msec"), "{error}");
    }
}
