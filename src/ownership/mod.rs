//! Who may write a session: one side at any moment, by the transfers in the session's own stream.

mod transfer;

use std::collections::HashMap;

pub use transfer::{Side, Transfer};

use crate::base::{Error, Result};

/// The owner of every session that was ever transferred; any other belongs to the legacy. A session is a record key in
/// its topic.
#[derive(Clone, Debug, Default)]
pub struct Owners {
    topics: HashMap<String, HashMap<Vec<u8>, Session>>,
    /// Sessions that events own now.
    owned: u64,
}

#[derive(Clone, Debug, Default)]
struct Session {
    /// Transfers so far.
    epoch: u64,
    /// The stretches of its stream in which events owned it.
    spans: Vec<Span>,
}

/// From behind the transfer at `from` up to the one at `until`.
#[derive(Clone, Copy, Debug)]
struct Span {
    from: i64,
    until: Option<i64>,
}

impl Session {
    fn owner(&self) -> Side {
        match self.spans.last() {
            Some(Span { until: None, .. }) => Side::Events,
            _ => Side::Legacy,
        }
    }
}

impl Owners {
    fn session(&self, topic: &str, key: &[u8]) -> Option<&Session> {
        self.topics.get(topic)?.get(key)
    }

    pub fn owner(&self, topic: &str, key: &[u8]) -> Side {
        self.session(topic, key).map_or(Side::Legacy, Session::owner)
    }

    /// The session's transfers so far.
    pub fn epoch(&self, topic: &str, key: &[u8]) -> u64 {
        self.session(topic, key).map_or(0, |session| session.epoch)
    }

    /// How many sessions events own.
    pub fn owned(&self) -> u64 {
        self.owned
    }

    /// No session was ever transferred.
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Whether events owned the session at this place of its stream: what was written there is theirs.
    pub fn wrote(&self, topic: &str, key: &[u8], offset: i64) -> bool {
        let within = |span: &Span| span.from < offset && span.until.is_none_or(|until| offset < until);
        self.session(topic, key).is_some_and(|session| session.spans.iter().any(within))
    }

    /// The transfer that brings a session to a side; `None` when it is there already.
    ///
    /// | asked | the session | answer |
    /// | --- | --- | --- |
    /// | its own side | any | `None`; stale, if `seen` lies before the transfer that brought it there |
    /// | the other side | at the epoch seen, or none was given | a transfer of the next epoch |
    /// | the other side | at another epoch than seen | stale |
    pub fn transfer(&self, topic: &str, key: &[u8], to: Side, seen: Option<u64>) -> Result<Option<Transfer>> {
        let (owner, epoch) = (self.owner(topic, key), self.epoch(topic, key));
        let stale = |seen: u64| {
            let session = String::from_utf8_lossy(key);
            Error::stale(format!("session '{session}' of '{topic}' is at epoch {epoch}, not {seen}"))
                .hint("another has transferred it since: look who owns it, and ask again")
        };
        if owner == to {
            return match seen {
                // Asked once more by who did not hear the first answer.
                Some(seen) if seen != epoch && seen + 1 != epoch => Err(stale(seen)),
                _ => Ok(None),
            };
        }
        match seen {
            Some(seen) if seen != epoch => Err(stale(seen)),
            _ => Ok(Some(Transfer { to, epoch: epoch + 1 })),
        }
    }

    /// Folds a transfer in; false for a repeat, which changes nothing. In a session's stream epochs follow one another.
    pub fn apply(&mut self, (topic, offset): (&str, i64), key: &[u8], transfer: Transfer) -> Result<bool> {
        let (owner, epoch) = (self.owner(topic, key), self.epoch(topic, key));
        if transfer.epoch <= epoch {
            return Ok(false);
        }
        if transfer.epoch != epoch + 1 || transfer.to == owner {
            return Err(Error::corrupt(format!(
                "session '{}' of '{topic}' at offset {offset}: a transfer to {} at epoch {}, while {} owns it at epoch {epoch}",
                String::from_utf8_lossy(key),
                transfer.to.word(),
                transfer.epoch,
                owner.word()
            )));
        }
        let session = self.topics.entry(topic.to_owned()).or_default().entry(key.to_vec()).or_default();
        session.epoch = transfer.epoch;
        match (transfer.to, session.spans.last_mut()) {
            (Side::Legacy, Some(span)) => {
                span.until = Some(offset);
                self.owned -= 1;
            }
            _ => {
                session.spans.push(Span { from: offset, until: None });
                self.owned += 1;
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::Kind;

    fn at(to: Side, epoch: u64) -> Transfer {
        Transfer { to, epoch }
    }

    fn owners(transfers: &[Transfer]) -> Owners {
        let mut owners = Owners::default();
        for (offset, transfer) in transfers.iter().enumerate() {
            owners.apply(("t", 10 * offset as i64), b"s", *transfer).unwrap();
        }
        owners
    }

    #[test]
    fn i01_one_owner_the_legal_transfers() {
        use Side::{Events, Legacy};
        let there = [at(Events, 1)];
        let back = [at(Events, 1), at(Legacy, 2)];
        type Case<'a> = (&'a [Transfer], Side, Option<u64>, Result<Option<u64>, ()>);
        let cases: [Case<'_>; 12] = [
            (&[], Events, None, Ok(Some(1))),
            (&[], Events, Some(0), Ok(Some(1))),
            (&[], Events, Some(1), Err(())),
            (&[], Legacy, None, Ok(None)),
            (&there, Events, Some(0), Ok(None)),
            (&there, Events, Some(1), Ok(None)),
            (&there, Legacy, Some(1), Ok(Some(2))),
            (&there, Legacy, Some(0), Err(())),
            (&back, Legacy, Some(1), Ok(None)),
            (&back, Legacy, Some(0), Err(())),
            (&back, Events, Some(2), Ok(Some(3))),
            (&back, Events, Some(1), Err(())),
        ];
        for (before, to, seen, expected) in cases {
            let found = owners(before).transfer("t", b"s", to, seen);
            let found = found.map(|transfer| transfer.map(|transfer| transfer.epoch)).map_err(|error| {
                assert_eq!(error.kind(), Kind::Stale);
            });
            assert_eq!(found, expected, "{before:?} to {to:?}, seen {seen:?}");
        }
    }

    #[test]
    fn what_events_wrote_lies_between_the_transfers() {
        let owners = owners(&[at(Side::Events, 1), at(Side::Legacy, 2), at(Side::Events, 3)]);
        let wrote: Vec<bool> = [0, 1, 9, 10, 11, 20, 21, 99].map(|offset| owners.wrote("t", b"s", offset)).to_vec();
        assert_eq!(wrote, [false, true, true, false, false, false, true, true]);
        assert!(!owners.wrote("t", b"other", 5) && !owners.wrote("u", b"s", 5));
        assert_eq!(owners.owned(), 1);
    }

    #[test]
    fn a_stream_with_a_gap_or_a_second_owner_is_corrupt() {
        for (before, wrong) in [
            (vec![], at(Side::Events, 2)),
            (vec![], at(Side::Legacy, 1)),
            (vec![at(Side::Events, 1)], at(Side::Events, 2)),
            (vec![at(Side::Events, 1)], at(Side::Legacy, 3)),
        ] {
            let mut owners = owners(&before);
            let kind = owners.apply(("t", 99), b"s", wrong).map_err(|error| error.kind());
            assert_eq!(kind, Err(Kind::Corrupt), "{before:?} then {wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn i01_one_owner_whatever_is_asked(
            asked in prop::collection::vec((0_usize..3, any::<bool>(), prop::option::of(0_u64..6), any::<bool>()), 0..60)
        ) {
            let mut owners = Owners::default();
            let mut written: Vec<(usize, Transfer)> = Vec::new();
            for (session, events, seen, again) in asked {
                let key = [b's', session as u8];
                let before = (owners.owner("t", &key), owners.epoch("t", &key));
                let to = if events { Side::Events } else { Side::Legacy };
                if let Ok(Some(transfer)) = owners.transfer("t", &key, to, seen) {
                    prop_assert!(seen.is_none_or(|seen| seen == before.1));
                    prop_assert!(owners.apply(("t", written.len() as i64), &key, transfer).unwrap());
                    written.push((session, transfer));
                    prop_assert_eq!((owners.owner("t", &key), owners.epoch("t", &key)), (to, before.1 + 1));
                    prop_assert!(before.0 != to);
                } else {
                    prop_assert_eq!((owners.owner("t", &key), owners.epoch("t", &key)), before);
                }
                if again && let Some((session, transfer)) = written.first() {
                    let key = [b's', *session as u8];
                    let before = (owners.owner("t", &key), owners.epoch("t", &key));
                    prop_assert!(!owners.apply(("t", 1_000), &key, *transfer).unwrap());
                    prop_assert_eq!((owners.owner("t", &key), owners.epoch("t", &key)), before);
                }
            }
            let owned = (0..3).filter(|session| owners.owner("t", &[b's', *session]) == Side::Events).count();
            prop_assert_eq!(owners.owned(), owned as u64);
        }
    }
}
