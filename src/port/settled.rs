//! What is committed in a log behind transactions that are still open: no reader sees it until they end.

use std::fmt;
use std::time::{Duration, Instant};

use crate::base::{Error, Result};
use crate::mapping::{Mapping, Use};
use crate::port::event_log::{EventLog, Offset, Positions, ends};

/// How long a commit that was answered may take to be seen, and a transaction to end: that of a writer that was killed is
/// dropped 10 s after it began, and brokers look for such every 10 s.
pub const SETTLED: Duration = Duration::from_secs(30);
const NAP: Duration = Duration::from_millis(20);

/// A partition in which readers stop at an open transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsettled {
    pub topic: String,
    pub partition: i32,
    /// Where readers stop.
    pub at: Offset,
    /// Who has it open, as far as is known.
    pub open: Vec<String>,
}

impl fmt::Display for Unsettled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.at)?;
        if self.open.is_empty() { Ok(()) } else { write!(f, " ({})", self.open.join("; ")) }
    }
}

/// Waits, no longer than `patience`, until whatever lies in the row topics on asking is committed or dropped: a commit may
/// be answered before it is seen. Gives the partitions where that did not come.
pub fn unsettled(log: &dyn EventLog, mapping: &Mapping, patience: Duration) -> Result<Vec<Unsettled>> {
    let begun = Instant::now();
    let mut until = Positions::new();
    for topic in mapping.topics_for(Use::Rows) {
        for (partition, ends) in log.ends(topic)? {
            until.insert((topic.to_owned(), partition), ends.high);
        }
    }
    loop {
        let committed = ends(log, mapping)?;
        let stops = |(place, high): (&(String, i32), &Offset)| {
            let at = committed.get(place).copied().unwrap_or(0);
            (at < *high).then(|| (place.clone(), at))
        };
        let behind: Vec<_> = until.iter().filter_map(stops).collect();
        if behind.is_empty() || begun.elapsed() >= patience {
            let named = behind.into_iter().map(|((topic, partition), at)| {
                let open = log.open_transactions(&topic, partition);
                Unsettled { topic, partition, at, open }
            });
            return Ok(named.collect());
        }
        std::thread::sleep(NAP);
    }
}

/// Refuses while an open transaction hides what was committed behind it; waits for it first.
pub fn require_settled(log: &dyn EventLog, mapping: &Mapping) -> Result<()> {
    match unsettled(log, mapping, SETTLED)?.first() {
        None => Ok(()),
        Some(first) => Err(Error::refused(format!(
            "a transaction is open at {first}: what was committed behind it cannot be read yet"
        ))
        .hint("wait for its writer to end it, or for its time to run out, and run the same command again")),
    }
}
