//! Questions of Kafka's protocol that the client library cannot put, by a connection of our own.

mod frame;
mod link;
mod log_dirs;
mod log_in;
mod producers;
mod scram;

use std::time::Instant;

use frame::{Reader, put_text};
use link::Link;

pub(super) use producers::Open;

use super::settings::KafkaSettings;
use crate::plan::Disk;

/// What was told, or why nothing was, in plain words without secrets.
pub(super) type Told<T> = std::result::Result<T, String>;

const VERSIONS: i16 = 18;
const UNSUPPORTED_VERSION: i16 = 35;

/// The disks of one broker, by `until` at the latest but for the look-up of its name.
pub(super) fn disks(settings: &KafkaSettings, broker: i32, host: &str, port: u16, until: Instant) -> Told<Vec<Disk>> {
    let mut talk = Talk::open(settings, host, port, until)?;
    if highest(&talk.versions, log_dirs::KEY).ok_or_else(odd)? < log_dirs::VERSION {
        return Err("the brokers are too old to tell, Kafka 3.3 is the first that does".to_owned());
    }
    talk.log_in(settings)?;
    let answer = talk.ask_flexible(log_dirs::KEY, log_dirs::VERSION, log_dirs::ALL)?;
    log_dirs::read(broker, &answer)
}

/// Who has a transaction open in a partition, asked of its leader.
pub(super) fn producers(
    settings: &KafkaSettings,
    host: &str,
    port: u16,
    (topic, partition): (&str, i32),
    until: Instant,
) -> Told<Vec<Open>> {
    let mut talk = Talk::open(settings, host, port, until)?;
    talk.log_in(settings)?;
    let question = producers::question(topic, partition);
    producers::read(&talk.ask_flexible(producers::DESCRIBE, producers::VERSION, &question)?)
}

/// The producers whose transactions one broker coordinates, each with its transactional id; those the user may see.
pub(super) fn transactional_ids(
    settings: &KafkaSettings,
    host: &str,
    port: u16,
    until: Instant,
) -> Told<Vec<(i64, String)>> {
    let mut talk = Talk::open(settings, host, port, until)?;
    talk.log_in(settings)?;
    producers::ids(&talk.ask_flexible(producers::LIST, producers::VERSION, producers::ALL)?)
}

fn odd() -> String {
    "the answer is not one of Kafka's".to_owned()
}

/// The highest version of a request that the broker takes, 0 where it takes none.
fn highest(answer: &[u8], key: i16) -> Option<i16> {
    let mut answer = Reader::new(answer);
    if !matches!(answer.int16()?, 0 | UNSUPPORTED_VERSION) {
        return None;
    }
    let mut highest = 0;
    for _ in 0..answer.int32()? {
        let (found, _least, most) = (answer.int16()?, answer.int16()?, answer.int16()?);
        if found == key {
            highest = most;
        }
    }
    Some(highest)
}

/// Requests and answers in turn.
struct Talk {
    link: Link,
    number: i32,
    /// The broker's answer as to what it takes.
    versions: Vec<u8>,
}

impl Talk {
    fn open(settings: &KafkaSettings, host: &str, port: u16, until: Instant) -> Told<Self> {
        let mut talk = Self { link: Link::open(settings, host, port, until)?, number: 0, versions: Vec::new() };
        talk.versions = talk.ask(VERSIONS, 0, &[])?;
        Ok(talk)
    }

    fn log_in(&mut self, settings: &KafkaSettings) -> Told<()> {
        match settings.security.as_ref().filter(|security| security.protocol.starts_with("SASL_")) {
            Some(security) => log_in::log_in(self, security),
            None => Ok(()),
        }
    }

    fn ask(&mut self, key: i16, version: i16, body: &[u8]) -> Told<Vec<u8>> {
        let answer = self.exchange(key, version, false, body)?;
        self.matching(&answer, |_| Some(()))
    }

    /// The same, where headers end in tagged fields.
    fn ask_flexible(&mut self, key: i16, version: i16, body: &[u8]) -> Told<Vec<u8>> {
        let answer = self.exchange(key, version, true, body)?;
        self.matching(&answer, |answer| answer.tags())
    }

    fn exchange(&mut self, key: i16, version: i16, flexible: bool, body: &[u8]) -> Told<Vec<u8>> {
        self.number += 1;
        let mut request = Vec::new();
        request.extend(key.to_be_bytes());
        request.extend(version.to_be_bytes());
        request.extend(self.number.to_be_bytes());
        put_text(&mut request, "crossfade");
        if flexible {
            request.push(0);
        }
        request.extend(body);
        self.link.exchange(&request)
    }

    /// What follows the header of the answer to the last request.
    fn matching(&self, answer: &[u8], header: impl FnOnce(&mut Reader<'_>) -> Option<()>) -> Told<Vec<u8>> {
        let mut answer = Reader::new(answer);
        let same = answer.int32() == Some(self.number) && header(&mut answer).is_some();
        if same { Ok(answer.rest().to_vec()) } else { Err(odd()) }
    }
}
