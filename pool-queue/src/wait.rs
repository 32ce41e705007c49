//! How long an operation may wait, and why it did nothing.

use crate::queue::Damage;
use pool_shm::sync::EventCount;
use std::time::{Duration, Instant};

/// How long a `try_` form waits for a lock at most: a peer that holds it is copying a message, or is stopped.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

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
