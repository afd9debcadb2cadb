//! Which partition a key lies in: murmur2 as Java and KafkaJS compute it.
