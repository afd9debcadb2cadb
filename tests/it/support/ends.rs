//! Threads that write until they are told to stop.

use std::sync::atomic::{AtomicBool, Ordering};

/// Tells them when it goes out of scope, also by a panic: `std::thread::scope` would wait for them for ever.
pub struct Ends<'a>(pub &'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
