//! Locks in shared memory that the manager keeps: without a value of their own, told of deaths.

use std::time::Duration;

use pool_shm::sync::{
    LockError, Mutex, MutexGuard, ReentrantMutex, ReentrantMutexGuard, RwLock, RwLockReadGuard,
    RwLockWriteGuard,
};

use super::guard::ManagedLockError;
use super::shared::Shared;
use super::shared_proxy;
use crate::manager::error::ManagerError;
use crate::manager::handle::Manager;

/// A lock, held. It is given back when this is dropped; it does not leave its thread.
#[derive(Debug)]
#[must_use = "the lock is given back when the guard is dropped"]
pub struct ManagedGuard<'a> {
    #[expect(dead_code, reason = "kept only to be dropped")]
    held: Held<'a>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "kept only to be dropped")]
enum Held<'a> {
    Mutex(MutexGuard<'a, ()>),
    Reentrant(ReentrantMutexGuard<'a, ()>),
    Reading(RwLockReadGuard<'a, ()>),
    Writing(RwLockWriteGuard<'a, ()>),
}

type Locked<'a> = Result<ManagedGuard<'a>, ManagedLockError<ManagedGuard<'a>>>;

fn obtained<'a, G>(
    locked: Result<G, LockError<G>>,
    held: impl FnOnce(G) -> Held<'a>,
) -> Locked<'a> {
    let guard = |lock| ManagedGuard { held: held(lock) };
    Err(match locked {
        Ok(lock) => return Ok(guard(lock)),
        Err(LockError::OwnerDied(lock)) => ManagedLockError::OwnerDied(guard(lock)),
        Err(LockError::WouldBlock) => ManagerError::WouldBlock.into(),
        Err(LockError::Timeout) => ManagerError::Timeout.into(),
        Err(LockError::Deadlock) => ManagerError::Deadlock.into(),
        Err(other) => ManagerError::system("the lock's memory", other).into(),
    })
}

macro_rules! exclusive {
    ($name:ident, $lock:ident, $held:ident, $maker:ident, $text:literal) => {
        #[doc = $text]
        ///
        /// It lies in shared memory: taking it does not touch the manager, and goes on when the manager is gone. If its holder's process, or
        /// thread, ends, the next one gets it with [`ManagedLockError::OwnerDied`]; the death of one who waits is nothing. Who gets it next is
        /// not said.
        pub struct $name {
            shared: Shared<$lock<()>>,
        }

        shared_proxy!($name, $lock<()>);

        impl $name {
            /// Waits until the lock is free and takes it.
            ///
            /// # Errors
            ///
            /// [`ManagedLockError::OwnerDied`] with the guard; [`ManagerError::Deadlock`] if this thread holds it and may not take it again.
            pub fn lock(&self) -> Locked<'_> {
                obtained(self.shared.lock(), Held::$held)
            }

            /// Takes the lock if it is free.
            ///
            /// # Errors
            ///
            /// [`ManagerError::WouldBlock`] if it is not; and those of `lock`.
            pub fn try_lock(&self) -> Locked<'_> {
                obtained(self.shared.try_lock(), Held::$held)
            }

            /// Waits for the lock for `timeout` at most.
            ///
            /// # Errors
            ///
            /// [`ManagerError::Timeout`]; and those of `lock`.
            pub fn lock_timeout(&self, timeout: Duration) -> Locked<'_> {
                obtained(self.shared.lock_timeout(timeout), Held::$held)
            }
        }

        impl Manager {
            #[doc = $text]
            ///
            /// # Errors
            ///
            /// There is no memory; the manager is gone.
            pub fn $maker(&self) -> Result<$name, ManagerError> {
                let lock =
                    $lock::new(()).map_err(|error| ManagerError::system(NO_MEMORY, error))?;
                self.share(lock).map(|shared| $name { shared })
            }
        }
    };
}

const NO_MEMORY: &str = "cannot get shared memory for a lock";

exclusive!(
    MutexProxy,
    Mutex,
    Mutex,
    mutex,
    "A lock that one thread of one process at a time can hold."
);
exclusive!(
    ReentrantLockProxy,
    ReentrantMutex,
    Reentrant,
    rlock,
    "A lock that its holder may take again; it is free when all guards are dropped."
);

/// A lock that many readers or one writer hold.
///
/// It lies in shared memory, as [`MutexProxy`] does. A writer that waits goes before readers that come later. Up to 32 read at once; more wait.
/// The death of a reader is nothing.
pub struct RwLockProxy {
    shared: Shared<RwLock<()>>,
}

shared_proxy!(RwLockProxy, RwLock<()>);

impl RwLockProxy {
    /// Waits until there is no writer, and takes the lock for reading.
    ///
    /// # Errors
    ///
    /// [`ManagedLockError::OwnerDied`] with the guard, if a writer died and no writer came since; [`ManagerError::Deadlock`] if this thread writes.
    pub fn read(&self) -> Locked<'_> {
        obtained(self.shared.read(), Held::Reading)
    }

    /// Takes the lock for reading if that can be done now.
    ///
    /// # Errors
    ///
    /// [`ManagerError::WouldBlock`]; and those of [`read`](Self::read).
    pub fn try_read(&self) -> Locked<'_> {
        obtained(self.shared.try_read(), Held::Reading)
    }

    /// Waits to read for `timeout` at most.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Timeout`]; and those of [`read`](Self::read).
    pub fn read_timeout(&self, timeout: Duration) -> Locked<'_> {
        obtained(self.shared.read_timeout(timeout), Held::Reading)
    }

    /// Waits until nobody holds the lock, and takes it for writing.
    ///
    /// # Errors
    ///
    /// [`ManagedLockError::OwnerDied`] with the guard, if the last writer died; [`ManagerError::Deadlock`] if this thread has it.
    pub fn write(&self) -> Locked<'_> {
        obtained(self.shared.write(), Held::Writing)
    }

    /// Takes the lock for writing if nobody holds it.
    ///
    /// # Errors
    ///
    /// [`ManagerError::WouldBlock`]; and those of [`write`](Self::write).
    pub fn try_write(&self) -> Locked<'_> {
        obtained(self.shared.try_write(), Held::Writing)
    }

    /// Waits to write for `timeout` at most.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Timeout`]; and those of [`write`](Self::write).
    pub fn write_timeout(&self, timeout: Duration) -> Locked<'_> {
        obtained(self.shared.write_timeout(timeout), Held::Writing)
    }
}

impl Manager {
    /// A lock that many readers or one writer hold.
    ///
    /// # Errors
    ///
    /// There is no memory; the manager is gone.
    pub fn rwlock(&self) -> Result<RwLockProxy, ManagerError> {
        let lock = RwLock::new(()).map_err(|error| ManagerError::system(NO_MEMORY, error))?;
        self.share(lock).map(|shared| RwLockProxy { shared })
    }
}
