//! Waiting for a change of what a lock protects.

use crate::sync::wait::Wait;
use crate::sync::{EventCount, LockError, RawMutexGuard};
use std::time::{Duration, Instant};

/// Where those wait who gave the lock back.
#[derive(Clone, Copy)]
pub(crate) struct Condition<'a> {
    pub(crate) changed: &'a EventCount,
}

impl Condition<'_> {
    /// Gives the lock back, sleeps until a notification that comes after that, and takes the lock again. May wake for no reason, and does so after a
    /// tenth of a second: the one that was woken may have been killed.
    pub(crate) fn wait<'a>(
        self,
        lock: RawMutexGuard<'a>,
        wait: Wait,
    ) -> Result<RawMutexGuard<'a>, LockError<RawMutexGuard<'a>>> {
        let mutex = lock.mutex();
        // Who changes the data holds the lock, so it changes them, and notifies, after this.
        let ticket = self.changed.prepare();
        drop(lock);
        let timeout = match wait {
            Wait::No => Duration::ZERO,
            Wait::Until(deadline) => deadline.saturating_duration_since(Instant::now()),
            Wait::Forever => Duration::MAX,
        };
        if !timeout.is_zero() {
            self.changed.sleep(ticket, timeout.min(EventCount::RECHECK));
        }
        mutex.lock()
    }
}
