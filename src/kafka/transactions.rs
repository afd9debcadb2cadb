//! Who has a transaction open in a partition.

use std::time::{Duration, Instant};

use super::log::Cluster;
use super::wire;

const PATIENCE: Duration = Duration::from_secs(5);

/// Producers with an open transaction there, in words; empty where the brokers do not tell.
pub(super) fn open(cluster: &Cluster, topic: &str, partition: i32) -> Vec<String> {
    let until = Instant::now() + PATIENCE;
    let Ok(metadata) = cluster.metadata(Some(topic)) else { return Vec::new() };
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let leader = found.and_then(|found| found.partitions().iter().find(|found| found.id() == partition));
    let Some(leader) = leader.map(|found| found.leader()) else { return Vec::new() };
    let brokers: Vec<(i32, &str, u16)> = metadata
        .brokers()
        .iter()
        .filter_map(|broker| Some((broker.id(), broker.host(), u16::try_from(broker.port()).ok()?)))
        .collect();
    let settings = &cluster.settings;
    let asked = brokers.iter().find(|(id, ..)| *id == leader);
    let open = asked.and_then(|(_, host, port)| wire::producers(settings, host, *port, (topic, partition), until).ok());
    let open = open.unwrap_or_default();
    if open.is_empty() {
        return Vec::new();
    }
    let ids: Vec<(i64, String)> = brokers
        .iter()
        .filter_map(|(_, host, port)| wire::transactional_ids(settings, host, *port, until).ok())
        .flatten()
        .collect();
    let told = open.iter().map(|open| {
        let id = ids.iter().find(|(producer, _)| *producer == open.producer);
        let id = id.map_or_else(String::new, |(_, id)| format!(" with the transactional id '{id}'"));
        format!("producer {}{id}, since offset {}", open.producer, open.since)
    });
    told.collect()
}
