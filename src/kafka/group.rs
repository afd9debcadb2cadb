//! A member of a consumer group: the brokers share the partitions out, cooperatively; the member answers when it is ready.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset as At;

use super::context::Listener;
use super::fault;
use super::log::Cluster;
use super::reader::{Idle, KafkaReader};
use crate::base::{Error, Result};
use crate::port::event_log::{Batch, LogReader, Positions};
use crate::port::group::{GroupReader, Join, Place, Turn};

/// Between two notes of what is committed.
const NOTE_EVERY: Duration = Duration::from_secs(1);

pub(super) struct KafkaMember {
    reader: KafkaReader,
    /// Told, and not answered yet.
    given: Option<Vec<Place>>,
    taken: Option<Vec<Place>>,
    noted: Option<Instant>,
}

impl KafkaMember {
    pub(super) fn join(cluster: Arc<Cluster>, join: &Join<'_>) -> Result<Self> {
        let mut partitions = 0;
        for topic in join.topics {
            partitions += usize::try_from(cluster.partitions(topic)?).unwrap_or_default();
        }
        let config = cluster.settings.member(join, partitions);
        let reader = KafkaReader::of(cluster, Idle::new(&config, Listener::of_member())?);
        let topics: Vec<&str> = join.topics.iter().map(String::as_str).collect();
        reader.consumer().subscribe(&topics).map_err(|error| cannot(&error))?;
        Ok(Self { reader, given: None, taken: None, noted: None })
    }

    /// The next change, once the one before was answered.
    fn turn(&mut self) -> Result<Option<Turn>> {
        if self.given.is_some() || self.taken.is_some() {
            return Ok(None);
        }
        let turn = self.reader.consumer().client().context().turn();
        match &turn {
            Some(Turn::Given(places)) => self.given = Some(places.clone()),
            Some(Turn::Taken(places)) => {
                self.reader.forget(places);
                self.taken = Some(places.clone());
            }
            Some(Turn::Lost(places)) => {
                self.reader.forget(places);
                self.unassign(places)?;
            }
            Some(Turn::Records) | None => {}
        }
        // One that asks for nothing is answered here.
        match &turn {
            Some(Turn::Given(places)) if places.is_empty() => self.start(&Positions::new()).map(|()| None),
            Some(Turn::Taken(places)) if places.is_empty() => self.let_go().map(|()| None),
            _ => Ok(turn),
        }
    }

    fn unassign(&self, places: &[Place]) -> Result<()> {
        let list = listed(places, At::Invalid)?;
        self.reader.consumer().incremental_unassign(&list).map_err(|error| cannot(&error))
    }
}

impl GroupReader for KafkaMember {
    fn read(&mut self, batch: &mut Batch, max: usize, wait: Duration) -> Result<Turn> {
        batch.clear();
        if let Some(turn) = self.turn()? {
            return Ok(turn);
        }
        self.reader.read(batch, max, wait)?;
        let turn = if batch.is_empty() { self.turn()? } else { None };
        Ok(turn.unwrap_or(Turn::Records))
    }

    fn start(&mut self, from: &Positions) -> Result<()> {
        let asked = self.given.is_some();
        let given = self.given.take().unwrap_or_default();
        if let Some((topic, partition)) = given.iter().find(|place| !from.contains_key(*place)) {
            return Err(Error::failed(format!("{topic}[{partition}] was given and is not begun")));
        }
        let again: Vec<Place> =
            self.reader.positions().keys().filter(|place| from.contains_key(*place)).cloned().collect();
        if !again.is_empty() {
            self.reader.forget(&again);
            self.unassign(&again)?;
        }
        let own = |place: &Place| given.contains(place) || again.contains(place);
        let from = from.iter().filter(|(place, _)| own(place)).map(|(place, at)| (place.clone(), *at)).collect();
        let list = self.reader.split(&from)?;
        // Not asked for, an assignment of nothing would mix into whatever the client is at.
        if !asked && list.count() == 0 {
            return Ok(());
        }
        self.reader.consumer().incremental_assign(&list).map_err(|error| cannot(&error))
    }

    fn let_go(&mut self) -> Result<()> {
        match self.taken.take() {
            Some(places) => self.unassign(&places),
            None => Ok(()),
        }
    }

    fn positions(&self) -> &Positions {
        self.reader.positions()
    }

    fn note(&mut self, committed: &Positions) -> Result<()> {
        if self.noted.is_some_and(|noted| noted.elapsed() < NOTE_EVERY) {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for ((topic, partition), at) in committed.iter().filter(|(place, _)| self.positions().contains_key(*place)) {
            list.add_partition_offset(topic, *partition, At::Offset(*at)).map_err(|error| cannot(&error))?;
        }
        self.noted = Some(Instant::now());
        // Only for people who look: one that fails is made good by the next.
        if list.count() > 0 {
            let _ = self.reader.consumer().commit(&list, CommitMode::Async);
        }
        Ok(())
    }
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        // Leaving waits for the answers that are still due.
        let consumer = self.reader.consumer();
        let left = consumer.client().context().leave();
        let due = [self.given.take().map(Turn::Given), self.taken.take().map(Turn::Taken)];
        for turn in due.into_iter().flatten().chain(left) {
            let _ = match turn {
                Turn::Given(places) => listed(&places, At::End).map(|list| consumer.incremental_assign(&list)),
                Turn::Taken(places) | Turn::Lost(places) => {
                    listed(&places, At::Invalid).map(|list| consumer.incremental_unassign(&list))
                }
                Turn::Records => continue,
            };
        }
    }
}

fn listed(places: &[Place], at: At) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (topic, partition) in places {
        list.add_partition_offset(topic, *partition, at).map_err(|error| cannot(&error))?;
    }
    Ok(list)
}

fn cannot(error: &KafkaError) -> Error {
    fault::error("the group cannot be joined", fault::code(error), None)
}
