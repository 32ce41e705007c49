//! Locks that the server holds: fair, told of deaths, without a value of their own.

use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::guard::{ManagedLockError, holder, obtained};
use super::{proxy, within};
use crate::manager::error::ManagerError;
use crate::manager::handle::Manager;
use crate::manager::message::{LockOp, Make, Op, Reply, Wait};
use crate::manager::session::unexpected;
use crate::manager::value::Object;

/// A lock, held. It is given back when this is dropped; it does not leave its thread.
#[derive(Debug)]
#[must_use = "the lock is given back when the guard is dropped"]
pub struct ManagedGuard<'a> {
    object: &'a Arc<Object>,
    holder: u64,
    stays: PhantomData<Rc<()>>,
}

impl Drop for ManagedGuard<'_> {
    fn drop(&mut self) {
        let release = LockOp::Release {
            holder: self.holder,
        };
        // If the manager is gone, so is the lock.
        let _ = self.object.operate(Op::Lock(release), Wait::Now);
    }
}

type Locked<'a> = Result<ManagedGuard<'a>, ManagedLockError<ManagedGuard<'a>>>;

fn acquire(object: &Arc<Object>, shared: bool, wait: Wait) -> Locked<'_> {
    let holder = holder();
    let op = LockOp::Acquire { holder, shared };
    match object.operate(Op::Lock(op), wait)? {
        Reply::Locked { owner_died } => {
            let guard = ManagedGuard {
                object,
                holder,
                stays: PhantomData,
            };
            obtained(guard, owner_died)
        }
        other => Err(unexpected(other).into()),
    }
}

macro_rules! exclusive {
    ($name:ident, $kind:ident, $maker:ident, $text:literal) => {
        #[doc = $text]
        ///
        /// It is given to those who wait in the order in which they came. If its holder's process ends, the next one gets it with
        /// [`ManagedLockError::OwnerDied`]. For a lock that is taken often see [`Manager::share`] and [`pool_shm::sync::Mutex`].
        pub struct $name {
            object: Arc<Object>,
            holds: PhantomData<()>,
        }

        proxy!($name);

        impl $name {
            /// Waits until the lock is free and takes it.
            ///
            /// # Errors
            ///
            /// [`ManagedLockError::OwnerDied`] with the guard; [`ManagerError::Deadlock`] if this thread holds it and may not take it again;
            /// the manager is gone.
            pub fn lock(&self) -> Locked<'_> {
                acquire(&self.object, false, Wait::Forever)
            }

            /// Takes the lock if it is free.
            ///
            /// # Errors
            ///
            /// [`ManagerError::WouldBlock`] if it is not; and those of `lock`.
            pub fn try_lock(&self) -> Locked<'_> {
                acquire(&self.object, false, Wait::Now)
            }

            /// Waits for the lock for `timeout` at most.
            ///
            /// # Errors
            ///
            /// [`ManagerError::Timeout`]; and those of `lock`.
            pub fn lock_timeout(&self, timeout: Duration) -> Locked<'_> {
                acquire(&self.object, false, within(timeout))
            }
        }

        impl Manager {
            #[doc = $text]
            ///
            /// # Errors
            ///
            /// The manager is gone.
            pub fn $maker(&self) -> Result<$name, ManagerError> {
                Ok($name::of(self.make::<$name>(Make::$kind)?))
            }
        }
    };
}

exclusive!(
    MutexProxy,
    Mutex,
    mutex,
    "A lock that one thread of one process at a time can hold."
);
exclusive!(
    ReentrantLockProxy,
    Rlock,
    rlock,
    "A lock that its holder may take again; it is free when all guards are dropped."
);

/// A lock that many readers or one writer hold.
///
/// Those who wait are served in the order in which they came, so readers do not keep a writer waiting for ever.
pub struct RwLockProxy {
    object: Arc<Object>,
    holds: PhantomData<()>,
}

proxy!(RwLockProxy);

impl RwLockProxy {
    /// Waits until there is no writer, and takes the lock for reading.
    ///
    /// # Errors
    ///
    /// [`ManagedLockError::OwnerDied`] with the guard, if a writer died and no writer came since; the manager is gone.
    pub fn read(&self) -> Locked<'_> {
        acquire(&self.object, true, Wait::Forever)
    }

    /// Takes the lock for reading if that can be done now.
    ///
    /// # Errors
    ///
    /// [`ManagerError::WouldBlock`]; and those of [`read`](Self::read).
    pub fn try_read(&self) -> Locked<'_> {
        acquire(&self.object, true, Wait::Now)
    }

    /// Waits to read for `timeout` at most.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Timeout`]; and those of [`read`](Self::read).
    pub fn read_timeout(&self, timeout: Duration) -> Locked<'_> {
        acquire(&self.object, true, within(timeout))
    }

    /// Waits until nobody holds the lock, and takes it for writing.
    ///
    /// # Errors
    ///
    /// [`ManagedLockError::OwnerDied`] with the guard, if the last writer died; the manager is gone.
    pub fn write(&self) -> Locked<'_> {
        acquire(&self.object, false, Wait::Forever)
    }

    /// Takes the lock for writing if nobody holds it.
    ///
    /// # Errors
    ///
    /// [`ManagerError::WouldBlock`]; and those of [`write`](Self::write).
    pub fn try_write(&self) -> Locked<'_> {
        acquire(&self.object, false, Wait::Now)
    }

    /// Waits to write for `timeout` at most.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Timeout`]; and those of [`write`](Self::write).
    pub fn write_timeout(&self, timeout: Duration) -> Locked<'_> {
        acquire(&self.object, false, within(timeout))
    }
}

impl Manager {
    /// A lock that many readers or one writer hold.
    ///
    /// # Errors
    ///
    /// The manager is gone.
    pub fn rwlock(&self) -> Result<RwLockProxy, ManagerError> {
        Ok(RwLockProxy::of(self.make::<RwLockProxy>(Make::RwLock)?))
    }
}
