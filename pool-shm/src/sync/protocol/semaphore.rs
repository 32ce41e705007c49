//! A semaphore that only counts: one word.

use crate::atomic::{AtomicU64, Ordering};
use crate::sync::EventCount;
use crate::sync::wait::Wait;

/// The count, and where those wait who found it zero.
#[derive(Clone, Copy)]
pub(crate) struct Semaphore<'a> {
    pub(crate) count: &'a AtomicU64,
    pub(crate) raised: &'a EventCount,
}

impl Semaphore<'_> {
    /// Takes a unit; `false` if there was none in time.
    pub(crate) fn acquire(self, wait: Wait) -> bool {
        wait.look(self.raised, || self.take()).is_some()
    }

    /// Adds units.
    pub(crate) fn release(self, units: u32) {
        // SYNC: semaphore-raised
        self.count.fetch_add(u64::from(units), Ordering::Release);
        self.raised.notify(units);
    }

    /// How many units there are.
    pub(crate) fn available(self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn take(self) -> Option<()> {
        let mut count = self.count.load(Ordering::Relaxed);
        loop {
            let less = count.checked_sub(1)?;
            // SYNC: semaphore-raised. The strong form: a spurious failure would not be looked at again before the sleep.
            match self
                .count
                .compare_exchange(count, less, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return Some(()),
                Err(now) => count = now,
            }
        }
    }
}
