//! How long an operation may wait, and why it did nothing.

use crate::queue::Damage;
use pool_shm::sync::{EventCount, LockError, RawMutex, RawMutexGuard};
use std::sync::LazyLock;
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
    /// Until then, or as long as it takes, but not longer than somebody else is there.
    Beside(Option<Instant>, Watch),
}

/// Somebody without whom waiting may be in vain: a number, and how to ask whether it is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Watch {
    pub(crate) number: u64,
    pub(crate) is_there: fn(u64) -> bool,
}

/// How long a wait goes on without a look whether somebody is there.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

impl Wait {
    /// For that long from now on.
    pub(crate) fn within(timeout: Duration) -> Self {
        Instant::now()
            .checked_add(timeout)
            .map_or(Wait::Forever, Wait::Until)
    }

    /// Until when to wait, if there is an end; or that nobody may wait.
    pub(crate) fn deadline(self) -> Result<Option<Instant>, Refusal> {
        match self {
            Wait::No => Err(Refusal::NotNow),
            Wait::Until(deadline) => Ok(Some(deadline)),
            Wait::Forever => Ok(None),
            Wait::Beside(deadline, _) => Ok(deadline),
        }
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
        match self.deadline() {
            Ok(None) => mutex.lock(),
            Ok(Some(deadline)) => mutex.lock_until(deadline),
            Err(_) => mutex.lock_timeout(PATIENCE),
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

/// Keeps the processor for that long without touching memory that others use, if they can use it meanwhile.
pub(crate) fn rest(time: Duration) {
    let (begin, time) = (Instant::now(), if_worth_it(time));
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
    let deadline = wait.deadline()?;
    let watch = match wait {
        Wait::Beside(_, watch) => Some(watch),
        _ => None,
    };
    loop {
        let look = watch.and_then(|_| Instant::now().checked_add(LOOK));
        let until = deadline.into_iter().chain(look).min();
        if let Some(done) = event.wait_until(until, || attempt(false)) {
            return done;
        }
        let is_there = watch.is_none_or(|watch| (watch.is_there)(watch.number));
        if until == deadline || !is_there {
            return Err(Refusal::Timeout);
        }
    }
}

/// So much time to look for what another side does, if it can do it meanwhile: there is a processor for each.
pub(crate) fn if_worth_it(time: Duration) -> Duration {
    static SEVERAL: LazyLock<bool> =
        LazyLock::new(|| std::thread::available_parallelism().is_ok_and(|count| count.get() > 1));
    if *SEVERAL { time } else { Duration::ZERO }
}
