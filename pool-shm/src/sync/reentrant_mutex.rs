//! A value whose holder may take the lock again.

use super::home::{self, BODY, Label};
use super::wait::Wait;
use super::{LockError, RawMutex, protocol};
use crate::{Cells, Segment, ShmError};
use bytemuck::Pod;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

const MAGIC: [u8; 8] = *b"rlock-01";
const LOCK: usize = BODY;
const VALUE: usize = BODY + RawMutex::SIZE;

/// A value in shared memory that one thread of one process at a time can use, and whose holder may take the lock again (Python's `RLock`).
///
/// A thread may hold several guards, so they give no reference to the value: it is copied in and out. The lock is given back when the last guard is dropped.
///
/// # Deaths
/// As for [`Mutex`](super::Mutex): the next one gets [`LockError::OwnerDied`] with the guard.
///
/// # Examples
/// ```
/// use pool_shm::sync::ReentrantMutex;
///
/// let total = ReentrantMutex::new(5_u64)?;
/// let outer = total.lock().expect("no holder has died");
/// let inner = total.lock().expect("this thread has it");
/// inner.update(|total| total + 1);
/// drop(inner);
/// assert_eq!(outer.get(), 6);
/// # drop(outer);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
#[doc(alias = "RLock")]
pub struct ReentrantMutex<T: Pod> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    segment: Segment,
    lock: RawMutex,
    value: PhantomData<fn() -> T>,
}

/// The lock, held at least once by this thread. It does not leave its thread.
#[must_use = "the lock is given back when the guard is dropped"]
pub struct ReentrantMutexGuard<'a, T: Pod> {
    inner: &'a Inner<T>,
    not_send: PhantomData<*mut ()>,
}

home::handle!(ReentrantMutex<T: Pod>);

/// The guard, or why not.
type Locked<'a, T> = Result<ReentrantMutexGuard<'a, T>, LockError<ReentrantMutexGuard<'a, T>>>;

impl<T: Pod> ReentrantMutex<T> {
    /// Makes a segment with `value` in it.
    ///
    /// # Errors
    /// As for [`Segment::create`].
    pub fn new(value: T) -> Result<Self, ShmError> {
        const {
            assert!(
                align_of::<T>() <= 64,
                "values are aligned to 64 bytes at most"
            )
        };
        let label = Label::new::<T>(MAGIC, 1);
        let segment = home::create(label, VALUE - BODY + size_of::<T>())?;
        segment.cells::<T>(VALUE, 1)?.set(0, value);
        RawMutex::init(&segment, LOCK)?;
        Self::attach(segment)
    }

    fn attach(segment: Segment) -> Result<Self, ShmError> {
        home::check::<T>(&segment, MAGIC, "reentrant lock")?;
        segment.cells::<T>(VALUE, 1)?;
        let lock = RawMutex::attach(&segment, LOCK)?;
        let value = PhantomData;
        Ok(Self {
            inner: Arc::new(Inner {
                segment,
                lock,
                value,
            }),
        })
    }

    /// Waits until the lock is free, its holder dead, or this thread's, and takes it.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the guard; [`LockError::Damaged`].
    pub fn lock(&self) -> Locked<'_, T> {
        self.lock_by(Wait::Forever)
    }

    /// Takes the lock if no other thread holds it.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`]; and those of [`lock`](Self::lock).
    pub fn try_lock(&self) -> Locked<'_, T> {
        self.lock_by(Wait::No)
    }

    /// Waits for the lock for `timeout` at most.
    ///
    /// # Errors
    /// [`LockError::Timeout`]; and those of [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Locked<'_, T> {
        self.lock_by(Wait::at_most(timeout))
    }

    fn lock_by(&self, wait: Wait) -> Locked<'_, T> {
        let died = self.inner.depth().begin(wait)?;
        let guard = ReentrantMutexGuard {
            inner: &self.inner,
            not_send: PhantomData,
        };
        LockError::join(guard, died)
    }
}

impl<T: Pod> Inner<T> {
    fn depth(&self) -> protocol::Depth<'_> {
        protocol::Depth { lock: &self.lock }
    }

    fn cell(&self) -> Cells<'_, T> {
        (self.segment.cells(VALUE, 1)).expect("the range was checked when it was attached")
    }
}

impl<T: Pod> ReentrantMutexGuard<'_, T> {
    /// A copy of the value.
    #[must_use]
    pub fn get(&self) -> T {
        self.inner.cell().get(0)
    }

    /// Stores a value.
    pub fn set(&self, value: T) {
        self.inner.cell().set(0, value);
    }

    /// Replaces the value by what `change` makes of it, which is returned.
    pub fn update(&self, change: impl FnOnce(T) -> T) -> T {
        let value = change(self.get());
        self.set(value);
        value
    }
}

impl<T: Pod> Drop for ReentrantMutexGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: a guard is made for each time that this thread took the lock, and stays in the thread.
        unsafe { self.inner.depth().end() }
    }
}

impl<T: Pod + std::fmt::Debug> std::fmt::Debug for ReentrantMutexGuard<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReentrantMutexGuard")
            .field("value", &self.get())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_free(mutex: &ReentrantMutex<u8>) -> bool {
        std::thread::scope(|s| s.spawn(|| mutex.try_lock().is_ok()).join().unwrap())
    }

    #[test]
    fn it_is_free_when_the_last_guard_is_gone() {
        let mutex = ReentrantMutex::new(1_u8).unwrap();
        let first = mutex.lock().unwrap();
        let second = mutex.lock_timeout(Duration::ZERO).unwrap();
        let third = mutex.clone().inner.lock_again();
        drop(first);
        assert!(!is_free(&mutex));
        drop(second);
        assert!(!is_free(&mutex));
        assert!(third);
        // SAFETY: what `lock_again` took.
        unsafe { mutex.inner.depth().end() };
        assert!(is_free(&mutex));
    }

    impl Inner<u8> {
        fn lock_again(&self) -> bool {
            !self.depth().begin::<()>(Wait::No).unwrap()
        }
    }

    #[test]
    fn the_end_of_the_holder_is_told_whatever_its_depth() {
        let mutex = ReentrantMutex::new(1_u8).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::mem::forget(mutex.lock().unwrap());
                std::mem::forget(mutex.lock().unwrap());
            });
        });
        let Err(LockError::OwnerDied(guard)) = mutex.lock() else {
            panic!("the end of the holder was not told");
        };
        drop(guard);
        assert!(is_free(&mutex));
    }
}
