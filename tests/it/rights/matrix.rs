//! Every user with every topic, writer and group: allowed is what the plan gives, all else the brokers refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossfade::config::Config;
use crossfade::demo::Sizes;
use crossfade::kafka::KafkaAdmin;
use crossfade::plan::{Acl, Action, Desired, Operation, Pattern, Resource, Seen};
use crossfade::port::event_log::own_topics;
use crossfade::port::topic_admin::{Scope, TopicAdmin};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};

use super::{ROLES, provisioned};
use crate::support::cli::Migration;
use crate::support::flow::mapping;
use crate::support::provision::described;
use crate::support::secure::{brokers, certificate, password, settings};

const WAIT: Duration = Duration::from_secs(20);

/// What `User:name` may do by the rules; writing and reading take looking with them, as Kafka has it.
struct May<'a> {
    rules: Vec<&'a Acl>,
}

impl May<'_> {
    fn do_it(&self, resource: Resource, name: &str, operation: Operation) -> bool {
        self.rules.iter().any(|rule| {
            let named = match rule.pattern {
                Pattern::Literal => rule.name == name,
                Pattern::Prefixed => name.starts_with(&rule.name),
            };
            let implied =
                operation == Operation::Describe && matches!(rule.operation, Operation::Read | Operation::Write);
            rule.resource == resource && named && (rule.operation == operation || implied)
        })
    }

    fn topic(&self, name: &str, operation: Operation) -> bool {
        self.do_it(Resource::Topic, name, operation)
    }
}

/// What came of a try.
type Told = Result<(), Code>;

fn told<T>(result: KafkaResult<T>) -> Told {
    result.map(drop).map_err(|error| error.rdkafka_error_code().unwrap_or(Code::Fail))
}

/// Tries that came out otherwise than by the rules.
#[derive(Default)]
struct Account {
    tried: usize,
    allowed: usize,
    wrong: Vec<String>,
}

impl Account {
    fn enter(&mut self, what: String, may: bool, denial: &[Code], told: Told) {
        self.tried += 1;
        self.allowed += usize::from(told.is_ok());
        let as_ruled = match told {
            Ok(()) => may,
            Err(code) => !may && denial.contains(&code),
        };
        if !as_ruled {
            self.wrong.push(format!("{what}: may {may}, told {told:?}"));
        }
    }
}

fn client(user: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers("SASL_SSL"))
        .set("security.protocol", "SASL_SSL")
        .set("sasl.mechanism", "SCRAM-SHA-512")
        .set("sasl.username", user)
        .set("sasl.password", password(user))
        .set("ssl.ca.location", certificate("ca.pem"));
    config
}

/// Reads the first partition of each topic up to its end. One that may not even be looked at is never asked for.
fn reads(user: &str, topics: &[String]) -> Vec<Told> {
    let mut config = client(user);
    config.set("group.id", "any").set("enable.partition.eof", "true");
    let consumer: Arc<BaseConsumer> = Arc::new(config.create().unwrap());
    let looked = topics.iter().map(|topic| {
        let metadata = consumer.fetch_metadata(Some(topic), WAIT).unwrap();
        metadata.topics()[0].error().map(|error| Err(error.into()))
    });
    let mut found: Vec<Option<Told>> = looked.collect();
    let mut list = TopicPartitionList::new();
    let mut queues = Vec::new();
    for (topic, found) in topics.iter().zip(&mut found).filter(|(_, found)| found.is_none()) {
        list.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
        queues.push((consumer.split_partition_queue(topic, 0).unwrap(), found));
    }
    consumer.assign(&list).unwrap();
    let began = Instant::now();
    while queues.iter().any(|(_, found)| found.is_none()) {
        assert!(began.elapsed() < WAIT, "{user} heard nothing of {list:?}");
        let _ = consumer.poll(Duration::from_millis(10));
        for (queue, found) in &mut queues {
            match queue.poll(Duration::ZERO) {
                None => {}
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => **found = Some(Ok(())),
                Some(Err(error)) => **found = Some(told::<()>(Err(error))),
            }
        }
    }
    drop(queues);
    found.into_iter().flatten().collect()
}

/// Keeps how each delivery ended.
#[derive(Clone, Default)]
struct Deliveries(Arc<Mutex<Vec<(String, Told)>>>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let entry = match result {
            Ok(message) => (message.topic().to_owned(), Ok(())),
            Err((error, message)) => {
                (message.topic().to_owned(), Err(error.rdkafka_error_code().unwrap_or(Code::Fail)))
            }
        };
        self.0.lock().unwrap().push(entry);
    }
}

/// Sends one record to each topic, outside transactions.
fn sends(user: &str, topics: &[String]) -> Vec<Told> {
    let context = Deliveries::default();
    let producer: ThreadedProducer<Deliveries> =
        client(user).set("message.timeout.ms", "15000").create_with_context(context.clone()).unwrap();
    for topic in topics {
        if let Err((error, _)) = producer.send(BaseRecord::<str, str>::to(topic).partition(0).key("try").payload("")) {
            context.0.lock().unwrap().push((topic.clone(), told::<()>(Err(error))));
        }
    }
    producer.flush(WAIT).unwrap();
    let found = context.0.lock().unwrap();
    topics.iter().map(|topic| found.iter().find(|(name, _)| name == topic).unwrap().1).collect()
}

type Writer = ThreadedProducer<Deliveries>;

fn opens(user: &str, writer: &str) -> (Writer, Told) {
    let producer: Writer =
        client(user).set("transactional.id", writer).create_with_context(Deliveries::default()).unwrap();
    let told = match producer.init_transactions(WAIT) {
        Ok(()) => Ok(()),
        Err(error) => Err(match producer.client().fatal_error() {
            Some((cause, _)) => cause,
            None => error.rdkafka_error_code().unwrap_or(Code::Fail),
        }),
    };
    (producer, told)
}

/// One transaction for each topic, by a writer that is opened again after one that was refused.
fn writes(user: &str, writer: &str, mut producer: Writer, topics: &[String]) -> Vec<Told> {
    let each = topics.iter().map(|topic| {
        producer.begin_transaction().unwrap();
        let sent = producer.send(BaseRecord::<str, str>::to(topic).partition(0).key("try").payload(""));
        let done = sent.map_err(|(error, _)| error).and_then(|()| producer.commit_transaction(WAIT));
        let Err(error) = done else { return Ok(()) };
        // The code says only that the transaction must be aborted; the delivery says why, or else the text.
        let refused = Err(Code::TopicAuthorizationFailed);
        let delivered = producer.client().context().0.lock().unwrap().contains(&(topic.clone(), refused));
        producer = opens(user, writer).0;
        match &error {
            _ if delivered => refused,
            KafkaError::Transaction(why) if why.string().contains("Topic authorization failed") => refused,
            _ => told::<()>(Err(error)),
        }
    });
    each.collect()
}

/// Joins a group to read `topic`.
fn joins(user: &str, group: &str, topic: &str) -> Told {
    let consumer: BaseConsumer = client(user).set("group.id", group).create().unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let began = Instant::now();
    loop {
        assert!(began.elapsed() < WAIT, "{user} heard nothing of {group}");
        match consumer.poll(Duration::from_millis(20)) {
            Some(Err(error)) => return told::<()>(Err(error)),
            _ if consumer.assignment().unwrap().count() > 0 => return Ok(()),
            _ => {}
        }
    }
}

fn each<T>(results: Vec<Result<T, (String, Code)>>) -> Vec<Told> {
    results.into_iter().map(|result| result.map(drop).map_err(|(_, code)| code)).collect()
}

/// What only the operator may do, with each topic and a new one.
fn changes(user: &str, topics: &[String], new: &str, account: &mut Account) {
    let admin: AdminClient<DefaultClientContext> = client(user).create().unwrap();
    let options = AdminOptions::new().request_timeout(Some(WAIT));
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let all: Vec<&str> = names.iter().copied().chain([new]).collect();
    let made: Vec<NewTopic<'_>> = all.iter().map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(1))).collect();
    let grown: Vec<NewPartitions<'_>> = names.iter().map(|name| NewPartitions::new(name, 64)).collect();
    let tries = [
        ("create", each(wait(admin.create_topics(&made, &options)).unwrap())),
        ("grow", each(wait(admin.create_partitions(&grown, &options)).unwrap())),
        ("delete", each(wait(admin.delete_topics(&names, &options)).unwrap())),
    ];
    for (verb, found) in tries {
        assert!(found.len() >= names.len(), "{verb}: {found:?}");
        for told in found {
            account.enter(format!("{user} {verb}"), false, &[Code::TopicAuthorizationFailed], told);
        }
    }
}

/// Two of one name fence each other.
static SHARED: Mutex<()> = Mutex::new(());

fn try_all(migration: &Migration, user: &str, own_writer: Option<&str>, may: &May<'_>, topics: &[String]) -> Account {
    let mut account = Account::default();
    let topic_denied = [Code::TopicAuthorizationFailed];
    for (topic, told) in topics.iter().zip(reads(user, topics)) {
        account.enter(format!("{user} reads {topic}"), may.topic(topic, Operation::Read), &topic_denied, told);
    }
    for (topic, told) in topics.iter().zip(sends(user, topics)) {
        account.enter(format!("{user} sends to {topic}"), may.topic(topic, Operation::Write), &topic_denied, told);
    }
    for writer in ["replay", "follow", "operator", "probe", "gateway", "aggregator", "gates", "manager", "worker"] {
        let name = format!("{}/{writer}", migration.name);
        let shared = ["follow", "operator"].contains(&writer);
        let _alone = shared.then(|| SHARED.lock().unwrap_or_else(PoisonError::into_inner));
        let allowed = may.do_it(Resource::TransactionalId, &name, Operation::Write);
        assert_eq!(
            allowed,
            own_writer == Some(writer)
                || (["replayer", "gateway"].contains(&user) && ["follow", "operator"].contains(&writer)),
            "{user} {name}"
        );
        let (producer, told) = opens(user, &name);
        account.enter(format!("{user} opens {name}"), allowed, &[Code::TransactionalIdAuthorizationFailed], told);
        if told.is_ok() {
            for (topic, told) in topics.iter().zip(writes(user, &name, producer, topics)) {
                let what = format!("{user} writes {topic} as {name}");
                account.enter(what, may.topic(topic, Operation::Write), &topic_denied, told);
            }
        }
    }
    for group in ROLES.iter().map(|(role, _)| *role).chain(["readers"]) {
        let group = format!("crossfade.{}.{group}", migration.name);
        let topic = topics.iter().find(|topic| may.topic(topic, Operation::Read)).unwrap_or(&topics[0]);
        let allowed = may.do_it(Resource::Group, &group, Operation::Read);
        account.enter(
            format!("{user} in {group}"),
            allowed,
            &[Code::GroupAuthorizationFailed],
            joins(user, &group, topic),
        );
    }
    changes(user, topics, &format!("{}.new", migration.name), &mut account);
    let admin = KafkaAdmin::open(&settings(user)).unwrap();
    let observed = admin.observe(&Scope { access: true, ..Scope::default() }).unwrap();
    assert!(matches!(&observed.acls, Seen::Hidden(_)), "{user} {:?}", observed.acls);
    assert!(matches!(&observed.scram_users, Seen::Hidden(_)), "{user} {:?}", observed.scram_users);
    let seen: BTreeSet<&String> = topics.iter().filter(|topic| observed.topics.contains_key(*topic)).collect();
    let wanted: BTreeSet<&String> = topics.iter().filter(|topic| may.topic(topic, Operation::Describe)).collect();
    assert_eq!(seen, wanted, "what {user} sees");
    let rule = Acl {
        principal: format!("User:{user}"),
        host: "*".to_owned(),
        resource: Resource::Topic,
        name: topics[0].clone(),
        pattern: Pattern::Literal,
        operation: Operation::All,
        allow: true,
    };
    let set: BTreeMap<_, _> = [("retention.ms".to_owned(), "1".to_owned())].into();
    let alter = |name: &String| Action::AlterConfigs { name: name.clone(), set: set.clone(), reset: Vec::new() };
    let more = Action::CreateAcls { principal: rule.principal.clone(), acls: vec![rule] };
    for action in topics.iter().map(alter).chain([more]) {
        let error = admin.perform(&action).unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains("uthorization"), "{user}: {error}: {cause}");
        account.tried += 1;
    }
    account
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut context = std::task::Context::from_waker(&waker);
    loop {
        if let std::task::Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

struct Unpark(std::thread::Thread);

impl std::task::Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[test]
#[ignore = "needs secure Kafka"]
fn every_user_may_do_what_the_plan_gives_and_nothing_else() {
    let migration = provisioned(Sizes::LEAST);
    let stranger = format!("stranger.{}", migration.name);
    let create = Action::CreateTopic { name: stranger.clone(), partitions: 1, replication: 1, configs: [].into() };
    let operator = KafkaAdmin::open(&settings("admin")).unwrap();
    operator.perform(&create).unwrap();
    let before = described(&operator, &migration.name);
    let text = std::fs::read_to_string(migration.path("crossfade.yaml")).unwrap();
    let wishes = Config::load(&migration.path("crossfade.yaml"), &text, &|_| None).unwrap().wishes;
    let (mapping, own) = (mapping(&migration), own_topics(&migration.name));
    let topics = mapping.topics.iter().chain(&own).map(|topic| topic.name.clone());
    let topics: Vec<String> = topics.chain([stranger]).collect();
    let desired = Desired::new(&migration.name, &mapping, own.clone(), Some(1), &[], wishes.actors).unwrap();
    let writers = [
        ("replayer", "replay"),
        ("gateway", "gateway"),
        ("aggregator", "aggregator"),
        ("gates", "gates"),
        ("manager", "manager"),
        ("worker", "worker"),
    ];
    let users = ROLES.iter().map(|(_, user)| *user).chain(["nobody"]);
    let accounts: Vec<Account> = std::thread::scope(|scope| {
        let (migration, topics, desired) = (&migration, &topics, &desired);
        let tries = users.map(|user| {
            let principal = format!("User:{user}");
            let rules = desired.acls.iter().filter(|rule| rule.principal == principal).collect();
            let own_writer = writers.iter().find(|(of, _)| *of == user).map(|(_, writer)| *writer);
            scope.spawn(move || try_all(migration, user, own_writer, &May { rules }, topics))
        });
        let tries: Vec<_> = tries.collect();
        tries.into_iter().map(|tried| tried.join().unwrap()).collect()
    });
    assert_eq!(described(&operator, &migration.name), before);
    let wrong: Vec<&String> = accounts.iter().flat_map(|account| &account.wrong).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let (tried, allowed) =
        accounts.iter().fold((0, 0), |sum, account| (sum.0 + account.tried, sum.1 + account.allowed));
    // Reads, sends, changes, writers and groups of ten users; the nobody among them is never allowed.
    assert!(tried > 10 * (topics.len() * 6 + 8 + 9), "{tried}");
    assert!(allowed > 60 && accounts.last().unwrap().allowed == 0, "{allowed}");
}
