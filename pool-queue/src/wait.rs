//! How long an operation may wait, and why it did nothing.

use crate::queue::Damage;
use pool_shm::sync::{EventCount, LockError, RawMutex, RawMutexGuard};
use std::time::{Duration, Instant};

/// How long a `try_` form waits for a lock at most: a peer that holds it is copying a message, or is stopped.
const PATIENCE: Duration = Duration::from_millis(100);

/// How often a lock is asked for before a thread sleeps; each time it pauses twice as long, for some microseconds in all.
const ROUNDS: u32 = 7;

/// The guard of a lock, or why not.
pub(crate) type Locked<'a> = Result<RawMutexGuard<'a>, LockError<RawMutexGuard<'a>>>;

/// How long an operation may wait.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wait {
    /// Not at all.
    No,
    /// Until then.
    Until(Instant),
    /// As long as it takes.
    Forever,
}

impl Wait {
    /// For that long from now on.
    pub(crate) fn within(timeout: Duration) -> Self {
        Instant::now()
            .checked_add(timeout)
            .map_or(Wait::Forever, Wait::Until)
    }

    /// Takes a lock that is held for the time of a copy, waiting for it as long as this says.
    ///
    /// At first it is asked for again and again: a holder that runs gives it back sooner than the kernel wakes anybody, and one who
    /// sleeps makes the holder wake him.
    pub(crate) fn lock(self, mutex: &RawMutex) -> Locked<'_> {
        for round in 0..ROUNDS {
            match mutex.try_lock() {
                Err(LockError::WouldBlock) => (0..1 << round).for_each(|_| std::hint::spin_loop()),
                locked => return locked,
            }
        }
        match self {
            Wait::Forever => mutex.lock(),
            Wait::Until(deadline) => mutex.lock_until(deadline),
            Wait::No => mutex.lock_timeout(PATIENCE),
        }
    }
}

/// Why an operation did nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No room, or no message, and no waiting.
    NotNow,
    /// The time is over.
    Timeout,
    /// The queue is closed.
    Closed,
    /// Something wrote over the queue.
    Damaged(Damage),
}

impl From<Damage> for Refusal {
    fn from(damage: Damage) -> Self {
        Refusal::Damaged(damage)
    }
}

/// Keeps the processor for that long without touching memory that others use.
pub(crate) fn rest(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Attempts until something comes of it or the time is over. The first attempt is told that it is the first: it must not rely on hints.
pub(crate) fn wait_for<R>(
    event: &EventCount,
    wait: Wait,
    mut attempt: impl FnMut(bool) -> Option<Result<R, Refusal>>,
) -> Result<R, Refusal> {
    if let Some(done) = attempt(true) {
        return done;
    }
    let deadline = match wait {
        Wait::No => return Err(Refusal::NotNow),
        Wait::Until(deadline) => Some(deadline),
        Wait::Forever => None,
    };
    event
        .wait_until(deadline, || attempt(false))
        .unwrap_or(Err(Refusal::Timeout))
}
