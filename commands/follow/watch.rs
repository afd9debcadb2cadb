//! Looking after what the legacy keeps for changes that are not read yet, beside a follow.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossfade::port::change_source::Capture;
use crossfade::port::progress::Progress;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// The same words are said again after this time.
const AGAIN: Duration = Duration::from_secs(60);

/// Runs `work` and looks after its source meanwhile, also where the work waits for the log.
pub(super) fn beside<T>(source: &dyn Capture, progress: &dyn Progress, work: impl FnOnce() -> T) -> T {
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut looked, mut said) = (Instant::now(), None::<Instant>);
            while !ended.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(50));
                if looked.elapsed() < EVERY {
                    continue;
                }
                looked = Instant::now();
                // A server that cannot be asked is told of by the work itself.
                if let Ok(Some(text)) = source.watch()
                    && said.is_none_or(|said| said.elapsed() >= AGAIN)
                {
                    progress.note(&text);
                    said = Some(Instant::now());
                }
            }
        });
        let done = work();
        ended.store(true, Ordering::Relaxed);
        done
    })
}
