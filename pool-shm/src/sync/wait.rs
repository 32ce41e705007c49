//! How long an operation may wait.

use super::{EventCount, LockError, RawMutex, RawMutexGuard};
use std::time::{Duration, Instant};

/// How long an operation may wait.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// Not at all.
    No,
    /// Until then.
    Until(Instant),
    /// As long as it takes.
    Forever,
}

impl Wait {
    /// For `timeout`, from now on.
    pub(crate) fn at_most(timeout: Duration) -> Self {
        // A time that no clock can say is as good as none.
        Instant::now()
            .checked_add(timeout)
            .map_or(Wait::Forever, Wait::Until)
    }

    /// Takes the lock.
    pub(crate) fn lock(
        self,
        mutex: &RawMutex,
    ) -> Result<RawMutexGuard<'_>, LockError<RawMutexGuard<'_>>> {
        match self {
            Wait::No => mutex.try_lock(),
            Wait::Until(deadline) => mutex.lock_until(deadline),
            Wait::Forever => mutex.lock(),
        }
    }

    /// Repeats `attempt` until it gives something; `event` tells when it is worth it.
    pub(crate) fn look<R>(
        self,
        event: &EventCount,
        mut attempt: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        match self {
            Wait::No => attempt(),
            Wait::Until(deadline) => event.wait_until(Some(deadline), attempt),
            Wait::Forever => event.wait_until(None, attempt),
        }
    }

    /// The error of having waited in vain.
    pub(crate) fn over<G>(self) -> LockError<G> {
        match self {
            Wait::No => LockError::WouldBlock,
            Wait::Until(_) | Wait::Forever => LockError::Timeout,
        }
    }
}
