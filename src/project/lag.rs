//! How far a fold that goes on is behind, told from a thread of its own: a log that is away takes long to answer, and
//! neither reading nor a group waits for that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::fold_log::Projector;
use crate::base::Millis;
use crate::port::event_log::{Positions, ends};

/// Between two looks at how much is left.
const LAG_EVERY: Duration = Duration::from_secs(1);

/// Where a fold stands, and when the newest event folded was captured.
#[derive(Default)]
pub(super) struct Standing(Mutex<Option<(Positions, Millis)>>);

impl Standing {
    pub(super) fn set(&self, stands: &Positions, newest: Millis) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((stands.clone(), newest));
    }

    fn get(&self) -> Option<(Positions, Millis)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Projector<'_> {
    /// Does the work, and meanwhile tells how far the partitions it stands in are behind their ends.
    pub(super) fn telling<T>(&self, work: impl FnOnce(&Standing) -> T) -> T {
        let (standing, done) = (Standing::default(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let teller = scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    if let Some((stands, newest)) = standing.get() {
                        self.tell(&stands, newest);
                    }
                    std::thread::park_timeout(LAG_EVERY);
                }
            });
            let worked = work(&standing);
            done.store(true, Ordering::Release);
            teller.thread().unpark();
            worked
        })
    }

    fn tell(&self, stands: &Positions, newest: Millis) {
        // A log that is away is met by the reader, too.
        let Ok(ends) = ends(self.log, self.mapping) else { return };
        let left = stands.iter().filter_map(|(place, at)| Some((ends.get(place)? - at).max(0))).sum::<i64>();
        self.progress.behind(left.unsigned_abs(), newest);
    }
}
