//! Holding something of a manager.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::manager::error::ManagerError;

/// Why a lock of a manager was not simply obtained; `G` is the guard.
///
/// As with [`pool_shm::sync::LockError`], the death of a holder is a value: you have the lock, with the news that what it protects may be
/// half-changed.
pub enum ManagedLockError<G> {
    /// The last holder's process ended with the lock in its hand. This is reported once; the lock is yours.
    OwnerDied(G),
    /// There is no lock: the time was over, somebody holds it, the manager is gone.
    Failed(ManagerError),
}

impl<G> ManagedLockError<G> {
    /// The guard if there is one: takes what a dead holder left as it is.
    ///
    /// # Errors
    ///
    /// Why there is no lock.
    pub fn recover(self) -> Result<G, ManagerError> {
        match self {
            ManagedLockError::OwnerDied(guard) => Ok(guard),
            ManagedLockError::Failed(error) => Err(error),
        }
    }

    /// Whether the last holder died.
    pub fn is_owner_died(&self) -> bool {
        matches!(self, ManagedLockError::OwnerDied(_))
    }
}

impl<G> fmt::Debug for ManagedLockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ManagedLockError::OwnerDied(_) => f.write_str("OwnerDied(..)"),
            ManagedLockError::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
        }
    }
}

impl<G> fmt::Display for ManagedLockError<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ManagedLockError::OwnerDied(_) => f.write_str(
                "the process that held the lock ended; what it protects may be half-changed: repair it, or accept it with `recover`",
            ),
            ManagedLockError::Failed(error) => error.fmt(f),
        }
    }
}

impl<G> std::error::Error for ManagedLockError<G> {}

impl<G> From<ManagerError> for ManagedLockError<G> {
    fn from(error: ManagerError) -> Self {
        ManagedLockError::Failed(error)
    }
}

/// The guard, or the guard with the news.
pub(super) fn obtained<G>(guard: G, owner_died: bool) -> Result<G, ManagedLockError<G>> {
    if owner_died {
        Err(ManagedLockError::OwnerDied(guard))
    } else {
        Ok(guard)
    }
}

/// The number of this thread among those of its process that hold locks.
pub(super) fn holder() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static OWN: u64 = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    }
    OWN.with(|own| *own)
}
