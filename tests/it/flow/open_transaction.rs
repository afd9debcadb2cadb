//! A transaction of another program, open in the row partitions: what was committed behind it is there, and not seen yet.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::cli::{Log, Migration, brokers};
use crate::support::crash::{Random, change};
use crate::support::flow::{MIDDLE, assert_orderly, diff, events, generated, has_finding, mapping, open_log, run_all};

const PATIENCE: Duration = Duration::from_secs(30);

/// Opens a transaction that writes to every partition of the row topics, and keeps it open.
fn stranger(migration: &Migration) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", brokers())
        .set("transactional.id", format!("stranger-{}", migration.name))
        .set("transaction.timeout.ms", "300000")
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    let log = open_log(migration);
    for topic in mapping(migration).topics_for(crossfade::mapping::Use::Rows) {
        for partition in log.ends(topic).unwrap().into_keys() {
            let record = BaseRecord::<[u8], [u8]>::to(topic).key(b"stranger").payload(b"{}").partition(partition);
            producer.send(record).unwrap();
        }
    }
    producer.flush(PATIENCE).unwrap();
    producer
}

#[test]
#[ignore = "needs Kafka"]
fn i05_what_an_open_transaction_hides_is_neither_the_end_nor_written_again() {
    let migration = generated(Log::Kafka, MIDDLE, "");
    let name = migration.name.clone();
    let install: &[&str] = &["follow", "--install", "--confirm", &name];
    run_all(&migration, &[&["provision", "apply"], install, &["replay"], &["project"]]);
    let stranger = stranger(&migration);
    change(&migration.legacy(), &mut Random::new(7));
    migration.expect(&["follow", "--until-caught-up"], 0);

    for command in ["project", "replay"] {
        let refused = migration.run(&[command]);
        assert_eq!(refused.code, Some(3), "{command}: {}\n{}", refused.stdout, refused.stderr);
        let named = format!("with the transactional id 'stranger-{name}'");
        assert!(
            refused.stderr.contains("a transaction is open at") && refused.stderr.contains(&named),
            "{}",
            refused.stderr
        );
    }
    let report = diff(&migration, &[], 5);
    has_finding(&report, "open-transaction", "gap");
    let status = migration.run(&["status"]);
    assert!(status.stdout.contains("a transaction that is open hides the rest of the log"), "{}", status.stdout);

    stranger.abort_transaction(PATIENCE).unwrap();
    migration.expect(&["project"], 0);
    assert_eq!(diff(&migration, &[], 0)["verdict"], "PASS");
    let before = events(open_log(&migration).as_ref(), &mapping(&migration));
    migration.expect(&["replay"], 0);
    let after = events(open_log(&migration).as_ref(), &mapping(&migration));
    assert_eq!(after.len(), before.len(), "changes written once more");
    assert_orderly(&after);
}
