//! So many permits, which come back from the dead.

use super::home::{self, BODY, Label};
use super::protocol;
use super::wait::Wait;
use super::{LockError, RawMutex};
use crate::{Segment, ShmError};
use std::sync::Arc;
use std::time::Duration;

const MAGIC: [u8; 8] = *b"permit01";
const FREED: usize = BODY;
const LOCKS: usize = BODY + 64;
const WHAT: &str = "bounded semaphore";

/// A fixed number of permits: at most so many hold one at a time, in all processes together.
///
/// Each permit is a robust lock, so it is given back when its holder drops it, and also when its holder dies: then the next one gets it as
/// [`LockError::OwnerDied`], since what the permit stands for (a device, a licence, a scratch file) may be in disorder. More permits than there are cannot
/// be given back. A permit has a number, [`Permit::index`], which no other holder has: use it to choose one of so many things.
///
/// # Deaths
/// A holder's permit is taken over by whoever looks next; those who wait look every tenth of a second. A killed waiter is nothing.
///
/// # Examples
/// ```
/// use pool_shm::sync::{BoundedSemaphore, LockError};
///
/// let devices = BoundedSemaphore::new(2)?;
/// let first = devices.acquire().or_else(LockError::recover).expect("a permit will be free");
/// let second = devices.acquire().or_else(LockError::recover).expect("a permit will be free");
/// assert_ne!(first.index(), second.index());
/// assert!(matches!(devices.try_acquire(), Err(LockError::Deadlock))); // all are this thread's
/// drop(first);
/// assert_eq!(devices.available(), 1);
/// # drop(second);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
pub struct BoundedSemaphore {
    inner: Arc<Inner>,
}

struct Inner {
    segment: Segment,
    locks: Box<[RawMutex]>,
}

/// A permit; dropping it gives it back. It does not leave its thread.
#[derive(Debug)]
#[must_use = "the permit is given back when this is dropped"]
pub struct Permit<'a> {
    held: protocol::Permit<'a>,
}

home::handle!(BoundedSemaphore);

impl BoundedSemaphore {
    /// The most permits that one can have.
    pub const MAX: usize = 1024;

    /// A semaphore with so many permits.
    ///
    /// # Errors
    /// `is_mismatch` unless there are 1 to [`MAX`](Self::MAX) permits; and as for [`Segment::create`].
    pub fn new(permits: usize) -> Result<Self, ShmError> {
        let label = Label::new::<()>(MAGIC, permits);
        let count = home::count(label, Self::MAX, WHAT)?;
        let segment = home::create(label, LOCKS - BODY + count * RawMutex::SIZE)?;
        let locks = RawMutex::init_many(&segment, LOCKS, count)?;
        Ok(Self {
            inner: Arc::new(Inner { segment, locks }),
        })
    }

    fn attach(segment: Segment) -> Result<Self, ShmError> {
        let label = home::check::<()>(&segment, MAGIC, WHAT)?;
        let count = home::count(label, Self::MAX, WHAT)?;
        let locks = RawMutex::attach_many(&segment, LOCKS, count)?;
        Ok(Self {
            inner: Arc::new(Inner { segment, locks }),
        })
    }

    /// Waits for a permit.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] with the permit if its last holder died; [`LockError::Deadlock`] if this thread holds all permits;
    /// [`LockError::Damaged`].
    pub fn acquire(&self) -> Result<Permit<'_>, LockError<Permit<'_>>> {
        self.acquire_by(Wait::Forever)
    }

    /// Takes a permit if one is free.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`]; and those of [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Permit<'_>, LockError<Permit<'_>>> {
        self.acquire_by(Wait::No)
    }

    /// Waits for a permit for `timeout` at most.
    ///
    /// # Errors
    /// [`LockError::Timeout`]; and those of [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, LockError<Permit<'_>>> {
        self.acquire_by(Wait::at_most(timeout))
    }

    /// How many permits are free at this moment.
    #[must_use]
    pub fn available(&self) -> usize {
        self.protocol().free()
    }

    /// How many permits there are.
    #[must_use]
    pub fn permits(&self) -> usize {
        self.inner.locks.len()
    }

    fn acquire_by(&self, wait: Wait) -> Result<Permit<'_>, LockError<Permit<'_>>> {
        let wrap = |held| Permit { held };
        self.protocol()
            .acquire(0, wait)
            .map(wrap)
            .map_err(|error| error.map(wrap))
    }

    fn protocol(&self) -> protocol::Permits<'_> {
        protocol::Permits {
            locks: &self.inner.locks,
            freed: (self.inner.segment.get(FREED)).expect("every segment has a page at least"),
        }
    }
}

impl Permit<'_> {
    /// Its number, from 0 on and less than [`BoundedSemaphore::permits`]: no two permits that are held have the same.
    #[must_use]
    pub fn index(&self) -> usize {
        self.held.index()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_permits_than_there_are() {
        assert!(BoundedSemaphore::new(0).unwrap_err().is_mismatch());
        let error = BoundedSemaphore::new(1025).unwrap_err();
        assert!(
            error.to_string().contains("1 to 1024, found 1025"),
            "{error}"
        );
        let semaphore = BoundedSemaphore::new(3).unwrap();
        let inside = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let permit = semaphore.acquire().unwrap();
                        assert!(permit.index() < 3);
                        let now = inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        assert!(now < 3, "{now} others hold a permit");
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(semaphore.available(), 3);
    }

    #[test]
    fn a_permit_comes_back_from_a_thread_that_ended() {
        let semaphore = BoundedSemaphore::new(1).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| std::mem::forget(semaphore.acquire().unwrap()));
        });
        let Err(LockError::OwnerDied(permit)) = semaphore.acquire() else {
            panic!("the end of the holder was not told");
        };
        let refused = |timeout| semaphore.acquire_timeout(timeout).map(drop);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| format!("{:?}", refused(Duration::from_millis(1))));
            assert_eq!(other.join().unwrap(), "Err(Timeout)");
        });
        drop(permit);
        drop(semaphore.try_acquire().unwrap());
    }
}
