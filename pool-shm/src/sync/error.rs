//! Why a lock was not simply obtained.

use std::fmt;

/// Why a lock was not simply obtained; `G` is the guard.
///
/// The death of a holder is a value: you *have* the lock, with the news that what it protects may be half-written. Repair it and go on, or take it as it
/// is with [`recover`](LockError::recover).
///
/// ```
/// use pool_shm::sync::{LockError, Mutex};
///
/// let total = Mutex::new(5_u64)?;
/// // A half-done sum is no harm here.
/// let guard = total.lock().or_else(LockError::recover).expect("locks of one's own can be had");
/// assert_eq!(*guard, 5);
/// # drop(guard);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
///
/// It holds the guard, so it cannot outlive the lock: `?` into a `Box<dyn Error>` does not compile. Decide on the spot.
#[non_exhaustive]
pub enum LockError<G> {
    /// The last holder died with the lock in its hand, or the guard was forgotten and its thread ended. This is reported once; the lock is yours.
    OwnerDied(G),
    /// Somebody else holds it (`try_` forms).
    WouldBlock,
    /// Somebody else held it the whole time (`_timeout` forms).
    Timeout,
    /// This thread holds it already.
    Deadlock,
    /// The words of the lock are no lock any more.
    Damaged {
        /// The error number of the system.
        code: i32,
    },
}

impl<G> LockError<G> {
    /// The guard if there is one: takes what a dead holder left as it is.
    ///
    /// # Errors
    /// The same error if it carries no guard.
    pub fn recover(self) -> Result<G, Self> {
        match self {
            LockError::OwnerDied(guard) => Ok(guard),
            other => Err(other),
        }
    }

    /// The guard and whether its last holder died; other errors as those of whatever guard is asked for.
    pub(crate) fn split<H>(result: Result<G, Self>) -> Result<(G, bool), LockError<H>> {
        match result {
            Ok(guard) => Ok((guard, false)),
            Err(LockError::OwnerDied(guard)) => Ok((guard, true)),
            Err(LockError::WouldBlock) => Err(LockError::WouldBlock),
            Err(LockError::Timeout) => Err(LockError::Timeout),
            Err(LockError::Deadlock) => Err(LockError::Deadlock),
            Err(LockError::Damaged { code }) => Err(LockError::Damaged { code }),
        }
    }

    /// The opposite of [`split`](Self::split).
    pub(crate) fn join(guard: G, died: bool) -> Result<G, Self> {
        if died {
            return Err(LockError::OwnerDied(guard));
        }
        Ok(guard)
    }

    /// The same error with another guard.
    pub(crate) fn map<H>(self, wrap: impl FnOnce(G) -> H) -> LockError<H> {
        match self {
            LockError::OwnerDied(guard) => LockError::OwnerDied(wrap(guard)),
            LockError::WouldBlock => LockError::WouldBlock,
            LockError::Timeout => LockError::Timeout,
            LockError::Deadlock => LockError::Deadlock,
            LockError::Damaged { code } => LockError::Damaged { code },
        }
    }
}

impl<G> fmt::Debug for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::OwnerDied(_) => f.write_str("OwnerDied(..)"),
            LockError::WouldBlock => f.write_str("WouldBlock"),
            LockError::Timeout => f.write_str("Timeout"),
            LockError::Deadlock => f.write_str("Deadlock"),
            LockError::Damaged { code } => f.debug_struct("Damaged").field("code", code).finish(),
        }
    }
}

impl<G> fmt::Display for LockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LockError::OwnerDied(_) => f.write_str(
                "the holder of the lock died; what the lock protects may be half-written: repair it, or accept it with `recover`",
            ),
            LockError::WouldBlock => f.write_str("the lock is held by somebody else"),
            LockError::Timeout => f.write_str(
                "the lock was held by somebody else until the time was over; its holder may be stopped or busy",
            ),
            LockError::Deadlock => {
                f.write_str("this thread holds the lock already; it is not recursive")
            }
            LockError::Damaged { code } => write!(
                f,
                "the lock is damaged (system error {code}); something wrote over its words in shared memory, make a new one"
            ),
        }
    }
}

impl<G> std::error::Error for LockError<G> {}
