//! A topic as a writer sees it: its partitions, and how much it takes at once.

use super::log::Cluster;
use super::{fault, topics};
use crate::base::{Kind, Result};
use crate::event::partition::partition;
use crate::port::event_log::Record;

/// Left free of a topic's limit for the framing of a batch of many records.
const FRAMING: usize = 512;

/// A topic known to be there.
pub(super) struct Target {
    partitions: i32,
    /// Bytes a batch may have, of a topic that takes less than the producer would send: the producer has one size for all
    /// topics, and does not split a batch that was refused.
    room: Option<usize>,
    /// Bytes sent since all was delivered.
    queued: usize,
}

impl Target {
    /// Looks up the topic of `record`, which must have its partition.
    pub(super) fn find(cluster: &Cluster, record: &Record<'_>) -> Result<Self> {
        let partitions = cluster.partitions(record.topic)?;
        let limit = match topics::batch_limit(cluster, record.topic) {
            Ok(limit) => limit,
            // Writing and reading configs are separate rights.
            Err(error) if error.kind() == Kind::Refused => usize::MAX,
            Err(error) => return Err(error),
        };
        let room = (limit < cluster.settings.batch_bytes()).then(|| limit.saturating_sub(FRAMING));
        let target = Self { partitions, room, queued: 0 };
        match record.partition {
            Some(partition) if !target.has(record) => {
                Err(fault::unknown_partition(record.topic, partitions, partition))
            }
            _ => Ok(target),
        }
    }

    pub(super) fn has(&self, record: &Record<'_>) -> bool {
        record.partition.is_none_or(|partition| (0..self.partitions).contains(&partition))
    }

    /// The partition of a record, by the number of partitions found first: one that is added later gets no key.
    pub(super) fn partition(&self, record: &Record<'_>) -> i32 {
        record.partition.unwrap_or_else(|| partition(record.key, self.partitions))
    }

    /// Counts `record` in; true when all before it has to be delivered first, or a batch could grow too large.
    pub(super) fn is_full(&mut self, record: &Record<'_>) -> bool {
        let Some(room) = self.room else { return false };
        let bytes = framed(record);
        let full = self.queued > 0 && self.queued + bytes > room;
        self.queued = if full { bytes } else { self.queued + bytes };
        full
    }
}

/// Bytes of a record in a batch, at most.
fn framed(record: &Record<'_>) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + value.len() + 10).sum();
    record.key.len() + record.value.len() + headers + 40
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_topic_gets_no_more_than_fits_a_batch() {
        let record = |value| Record { topic: "t", partition: None, key: b"", value, headers: &[], timestamp: 0 };
        let mut small = Target { partitions: 1, room: Some(300), queued: 0 };
        let value = [0; 60];
        let full: Vec<bool> = (0..7).map(|_| small.is_full(&record(&value))).collect();
        assert_eq!(full, [false, false, false, true, false, false, true]);
        // One that is too large by itself goes alone.
        assert!(small.is_full(&record(&[0; 1000])) && small.is_full(&record(&value)));
        let mut large = Target { partitions: 1, room: None, queued: 0 };
        assert!((0..1000).all(|_| !large.is_full(&record(&[0; 1000]))));
    }
}
