//! The client library's properties: those there are, and those that would break a promise of the log.

use crate::base::yaml::nearest;

const KEPT: &str = "what is committed must be written once, in order and on every in-sync replica";
const NO_GROUP: &str = "positions are kept with what was made of the records, never in a consumer group";
const OWN_KEY: &str = "it has a key of its own under `security`";

/// Properties an operator may not set, and why.
pub const REFUSED: &[(&str, &str)] = &[
    ("bootstrap.servers", "the brokers are named by `bootstrap`"),
    ("metadata.broker.list", "the brokers are named by `bootstrap`"),
    ("enable.idempotence", KEPT),
    ("acks", KEPT),
    ("request.required.acks", KEPT),
    ("max.in.flight", KEPT),
    ("max.in.flight.requests.per.connection", KEPT),
    ("enable.gapless.guarantee", KEPT),
    ("isolation.level", "records of unfinished or aborted transactions must never be read"),
    ("partitioner", "every client must find a key in the same partition"),
    ("transactional.id", "it is the writer's name, by which older writers are fenced"),
    ("transaction.timeout.ms", "readers wait for it; it is the same for all writers"),
    ("enable.auto.commit", NO_GROUP),
    ("auto.commit.enable", NO_GROUP),
    ("enable.auto.offset.store", NO_GROUP),
    ("group.id", NO_GROUP),
    ("group.instance.id", NO_GROUP),
    ("auto.offset.reset", "a position that is gone must stop the reader, not move it"),
    ("enable.partition.eof", "the end of a partition is known by it"),
    ("allow.auto.create.topics", "topics are made by `crossfade provision apply` only"),
    ("delivery.report.only.error", "the writer counts failed deliveries by it"),
    ("log.queue", "the client must not write to the terminal"),
    ("plugin.library.paths", "the client loads no foreign code"),
    ("security.protocol", OWN_KEY),
    ("sasl.mechanism", OWN_KEY),
    ("sasl.mechanisms", OWN_KEY),
    ("sasl.username", OWN_KEY),
    ("ssl.ca.location", OWN_KEY),
    ("ssl.certificate.location", OWN_KEY),
    ("ssl.key.location", OWN_KEY),
];

/// Whether the value of a property would be a secret.
pub fn is_secret(name: &str) -> bool {
    ["password", "passphrase", "secret"].iter().any(|word| name.contains(word)) || name.ends_with(".pem")
}

/// Why a property may not be set, if so, and what to do instead.
pub fn refusal(name: &str) -> Option<(String, Option<String>)> {
    if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Some((format!("the Kafka property '{name}' may not be set: {reason}"), None));
    }
    if is_secret(name) {
        let message =
            format!("the Kafka property '{name}' may not be set: a secret is never written among the properties");
        return Some((message, Some("put it under `security`, where it is read from a file".to_owned())));
    }
    if !names().any(|known| known == name) {
        let hint = nearest(name, names());
        let hint = hint.map(|word| format!("did you mean '{word}'?"));
        return Some((format!("there is no Kafka property '{name}'"), hint));
    }
    None
}

/// Every property the client library takes as text.
pub fn names() -> impl Iterator<Item = &'static str> {
    NAMES.split_whitespace()
}

const NAMES: &str = "
    acks allow.auto.create.topics api.version.fallback.ms api.version.request api.version.request.timeout.ms
    auto.commit.enable auto.commit.interval.ms auto.offset.reset batch.num.messages batch.size bootstrap.servers
    broker.address.family broker.address.ttl broker.version.fallback check.crcs client.dns.lookup client.id client.rack
    compression.codec compression.level compression.type connections.max.idle.ms consume.callback.max.messages
    coordinator.query.interval.ms debug default_topic_conf delivery.report.only.error delivery.timeout.ms
    enable.auto.commit enable.auto.offset.store enable.gapless.guarantee enable.idempotence enable.metrics.push
    enable.partition.eof enable.random.seed enable.sasl.oauthbearer.unsecure.jwt enable.ssl.certificate.verification
    enabled_events fetch.error.backoff.ms fetch.max.bytes fetch.message.max.bytes fetch.min.bytes fetch.queue.backoff.ms
    fetch.wait.max.ms group.id group.instance.id group.protocol group.protocol.type group.remote.assignor
    heartbeat.interval.ms https.ca.location https.ca.pem internal.termination.signal isolation.level linger.ms
    log.connection.close log.queue log.thread.name log_level max.in.flight max.in.flight.requests.per.connection
    max.partition.fetch.bytes max.poll.interval.ms message.copy.max.bytes message.max.bytes message.send.max.retries
    message.timeout.ms metadata.broker.list metadata.max.age.ms metadata.recovery.rebootstrap.trigger.ms
    metadata.recovery.strategy msg_order_cmp offset.store.method offset.store.path offset.store.sync.interval.ms
    partition.assignment.strategy partitioner plugin.library.paths produce.offset.report
    queue.buffering.backpressure.threshold queue.buffering.max.kbytes queue.buffering.max.messages
    queue.buffering.max.ms queued.max.messages.kbytes queued.min.messages queuing.strategy receive.message.max.bytes
    reconnect.backoff.jitter.ms reconnect.backoff.max.ms reconnect.backoff.ms request.required.acks request.timeout.ms
    retries retry.backoff.max.ms retry.backoff.ms sasl.kerberos.keytab sasl.kerberos.kinit.cmd
    sasl.kerberos.min.time.before.relogin sasl.kerberos.principal sasl.kerberos.service.name sasl.mechanism
    sasl.mechanisms sasl.oauthbearer.assertion.algorithm sasl.oauthbearer.assertion.claim.aud
    sasl.oauthbearer.assertion.claim.exp.seconds sasl.oauthbearer.assertion.claim.iss
    sasl.oauthbearer.assertion.claim.jti.include sasl.oauthbearer.assertion.claim.nbf.seconds
    sasl.oauthbearer.assertion.claim.sub sasl.oauthbearer.assertion.file sasl.oauthbearer.assertion.jwt.template.file
    sasl.oauthbearer.assertion.private.key.file sasl.oauthbearer.assertion.private.key.passphrase
    sasl.oauthbearer.assertion.private.key.pem sasl.oauthbearer.client.credentials.client.id
    sasl.oauthbearer.client.credentials.client.secret sasl.oauthbearer.client.id sasl.oauthbearer.client.secret
    sasl.oauthbearer.config sasl.oauthbearer.extensions sasl.oauthbearer.grant.type
    sasl.oauthbearer.metadata.authentication.type sasl.oauthbearer.method sasl.oauthbearer.scope
    sasl.oauthbearer.token.endpoint.url sasl.password sasl.username security.protocol session.timeout.ms
    socket.blocking.max.ms socket.connection.setup.timeout.ms socket.keepalive.enable socket.max.fails
    socket.nagle.disable socket.receive.buffer.bytes socket.send.buffer.bytes socket.timeout.ms
    ssl.ca.certificate.stores ssl.ca.location ssl.ca.pem ssl.certificate.location ssl.certificate.pem ssl.cipher.suites
    ssl.crl.location ssl.curves.list ssl.endpoint.identification.algorithm ssl.engine.id ssl.engine.location
    ssl.key.location ssl.key.password ssl.key.pem ssl.keystore.location ssl.keystore.password ssl.providers
    ssl.sigalgs.list ssl_ca ssl_certificate ssl_engine_callback_data ssl_key statistics.interval.ms
    sticky.partitioning.linger.ms topic.blacklist topic.metadata.propagation.max.ms topic.metadata.refresh.fast.cnt
    topic.metadata.refresh.fast.interval.ms topic.metadata.refresh.interval.ms topic.metadata.refresh.sparse
    transaction.timeout.ms transactional.id
";
