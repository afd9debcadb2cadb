//! Whose a topic is: claims in one compacted topic that all migrations on a log share.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::{Error, Kind, Millis, Result};
use crate::mapping::{Mapping, Use};
use crate::port::event_log::{Batch, CLAIMS_TOPIC, CLAIMS_WRITER, EventLog, Positions, Record, Topic, TopicIds};

/// The migration that has each topic, by the topic's name.
pub type Owners = BTreeMap<String, String>;

/// A claim as it lies in the log; its key is the topic's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Claim {
    v: u32,
    /// A topic made anew has another id, so that a claim of the old one does not count.
    id: String,
    migration: String,
    claimed_at: Millis,
}

const VERSION: u32 = 1;
const READ_RECORDS: usize = 4_000;
const WAIT: Duration = Duration::from_millis(100);
/// Attempts while other migrations claim at the same moment.
const TRIES: u64 = 20;

/// The topic of claims, as it is made where there is none.
pub fn claims_topic() -> Topic {
    let configs = BTreeMap::from([("cleanup.policy".to_owned(), "compact".to_owned())]);
    Topic { name: CLAIMS_TOPIC.to_owned(), partitions: 1, configs }
}

/// The owners of those of `topics` that exist and are claimed.
pub fn owners(log: &dyn EventLog, topics: &[&str]) -> Result<Owners> {
    Ok(claims(log, topics)?.0)
}

fn claims(log: &dyn EventLog, topics: &[&str]) -> Result<(Owners, TopicIds)> {
    let ids = log.topic_ids(topics)?;
    let mut owners = Owners::new();
    if ids.is_empty() || log.topic_ids(&[CLAIMS_TOPIC])?.is_empty() {
        return Ok((owners, ids));
    }
    // Whoever opens the writer has waited until all that was written before is decided.
    let place = (CLAIMS_TOPIC.to_owned(), 0);
    let Some(ends) = log.ends(CLAIMS_TOPIC)?.get(&0).copied() else { return Ok((owners, ids)) };
    let mut batch = Batch::only(ids.keys().map(|name| name.as_bytes().to_vec()).collect::<HashSet<_>>());
    let mut reader = log.open_reader(&Positions::from([(place.clone(), ends.low)]))?;
    while reader.positions().get(&place).is_some_and(|at| *at < ends.committed) {
        reader.read(&mut batch, READ_RECORDS, WAIT)?;
        for record in batch.iter() {
            let Ok(topic) = std::str::from_utf8(record.key) else { continue };
            owners.remove(topic);
            if record.value.is_empty() {
                continue;
            }
            let claim: Claim = serde_json::from_slice(record.value).map_err(|error| {
                let at = format!("{CLAIMS_TOPIC}[{}]@{}", record.partition, record.offset);
                Error::corrupt(format!("{at}: whose the topic '{topic}' is cannot be read"))
                    .hint("it was written by a newer crossfade, or by another program: use the newest crossfade")
                    .because(error)
            })?;
            if ids.get(topic) == Some(&claim.id) {
                owners.insert(topic.to_owned(), claim.migration);
            }
        }
    }
    Ok((owners, ids))
}

/// Refuses when another migration has one of the topics that rows of the mapping go to.
pub fn require(log: &dyn EventLog, mapping: &Mapping, migration: &str) -> Result<()> {
    let topics: Vec<&str> = mapping.topics_for(Use::Rows).collect();
    refuse_others(&owners(log, &topics)?, migration)
}

fn refuse_others(owners: &Owners, migration: &str) -> Result<()> {
    match owners.iter().find(|(_, owner)| *owner != migration) {
        None => Ok(()),
        Some((topic, owner)) => Err(Error::refused(format!("the topic '{topic}' belongs to the migration '{owner}'"))
            .hint(format!(
                "give this migration topics of its own (topics.prefix in crossfade.yaml), or give the topic up there: \
                 crossfade provision apply --release {topic}"
            ))),
    }
}

/// Claims topics that exist for a migration; those it has stay its own. Refused when another has one of them, and then none
/// is claimed.
pub fn claim(log: &dyn EventLog, (migration, instance): (&str, &str), topics: &[&str], now: Millis) -> Result<()> {
    write(
        log,
        instance,
        &mut |record| {
            let (owners, ids) = claims(log, topics)?;
            refuse_others(&owners, migration)?;
            // A topic made a moment ago is not known to every broker yet.
            if let Some(topic) = topics.iter().find(|topic| !ids.contains_key(**topic)) {
                return Err(Error::unknown(format!("the topic '{topic}' is not there, so it cannot be claimed"))
                    .hint("create it: crossfade provision apply"));
            }
            for (topic, id) in ids.iter().filter(|(topic, _)| !owners.contains_key(*topic)) {
                let claim = Claim { v: VERSION, id: id.clone(), migration: migration.to_owned(), claimed_at: now };
                let value = serde_json::to_vec(&claim)
                    .map_err(|error| Error::failed("a claim has no JSON form").because(error))?;
                record(topic, &value)?;
            }
            Ok(())
        },
        now,
    )
}

/// Gives topics of a migration up. Refused when one of them is not its own.
pub fn release(log: &dyn EventLog, (migration, instance): (&str, &str), topics: &[&str], now: Millis) -> Result<()> {
    write(
        log,
        instance,
        &mut |record| {
            let owners = owners(log, topics)?;
            refuse_others(&owners, migration)?;
            if let Some(topic) = topics.iter().find(|topic| !owners.contains_key(**topic)) {
                return Err(Error::refused(format!("the topic '{topic}' is claimed by nobody; nothing was given up")));
            }
            topics.iter().try_for_each(|topic| record(topic, b""))
        },
        now,
    )
}

type Append<'a> = dyn FnMut(&str, &[u8]) -> Result<()> + 'a;
type Work<'a> = dyn FnMut(&mut Append<'_>) -> Result<()> + 'a;

/// Writes what `work` decides after opening the writer, which ends what others of it were at; tried again when another opened
/// it since, or a reply was lost: who has what is read anew.
fn write(log: &dyn EventLog, instance: &str, work: &mut Work<'_>, now: Millis) -> Result<()> {
    log.create_topics(&[claims_topic()])?;
    let mut attempt = 1;
    loop {
        match once(log, instance, work, now) {
            Err(error) if matches!(error.kind(), Kind::Fenced | Kind::Unknown) && attempt < TRIES => {
                let spread = uuid::Uuid::new_v4().as_u128() as u64 % (attempt * 100);
                std::thread::sleep(Duration::from_millis(spread));
                attempt += 1;
            }
            written => return written,
        }
    }
}

fn once(log: &dyn EventLog, instance: &str, work: &mut Work<'_>, now: Millis) -> Result<()> {
    let mut writer = log.open_writer(CLAIMS_WRITER, instance)?;
    let mut records = 0;
    work(&mut |topic, value| {
        records += 1;
        let (key, headers) = (topic.as_bytes(), &[][..]);
        writer.append(&Record { topic: CLAIMS_TOPIC, partition: Some(0), key, value, headers, timestamp: now })
    })?;
    if records == 0 { Ok(()) } else { writer.commit("", Value::Null) }
}
