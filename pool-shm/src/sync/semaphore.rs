//! A count that processes raise and lower.

use super::home::{self, BODY, Label};
use super::protocol;
use super::wait::Wait;
use crate::{Segment, ShmError};
use std::sync::Arc;
use std::time::Duration;

const MAGIC: [u8; 8] = *b"semaph01";
const COUNT: usize = BODY;
const RAISED: usize = BODY + 64;
const END: usize = BODY + 128;

/// A count that any process may raise, and lower while it is not zero: how one tells others that something is there.
///
/// A unit that was taken belongs to nobody: whoever took it may die with it, and then the count is one less for good. To limit how many use something at
/// once, take a [`BoundedSemaphore`](super::BoundedSemaphore), whose permits come back from the dead.
///
/// # Deaths
/// A killed waiter has taken nothing. A process that is killed inside `release` has added its units or not.
///
/// # Examples
/// ```
/// use pool_shm::sync::Semaphore;
///
/// let arrived = Semaphore::new(0)?;
/// let same = arrived.clone(); // normally in another process
/// same.release_many(2);
/// arrived.acquire();
/// assert!(arrived.try_acquire());
/// assert!(!arrived.try_acquire());
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
pub struct Semaphore {
    inner: Arc<Inner>,
}

struct Inner {
    segment: Segment,
}

home::handle!(Semaphore);

impl Semaphore {
    /// A semaphore with so many units.
    ///
    /// # Errors
    /// As for [`Segment::create`].
    pub fn new(units: u32) -> Result<Self, ShmError> {
        let label = Label::new::<()>(MAGIC, 0);
        let segment = home::create(label, END - BODY)?;
        let semaphore = Self::attach(segment)?;
        semaphore.protocol().release(units);
        Ok(semaphore)
    }

    fn attach(segment: Segment) -> Result<Self, ShmError> {
        home::check::<()>(&segment, MAGIC, "semaphore")?;
        Ok(Self {
            inner: Arc::new(Inner { segment }),
        })
    }

    /// Waits until there is a unit and takes it.
    pub fn acquire(&self) {
        let taken = self.protocol().acquire(Wait::Forever);
        debug_assert!(taken, "this wait ends with a unit only");
    }

    /// Takes a unit if there is one.
    #[must_use = "tells whether a unit was taken"]
    pub fn try_acquire(&self) -> bool {
        self.protocol().acquire(Wait::No)
    }

    /// Waits for a unit for `timeout` at most; `false` if there was none.
    #[must_use = "tells whether a unit was taken"]
    pub fn acquire_timeout(&self, timeout: Duration) -> bool {
        self.protocol().acquire(Wait::at_most(timeout))
    }

    /// Adds a unit and wakes one who waits.
    pub fn release(&self) {
        self.release_many(1);
    }

    /// Adds units and wakes as many who wait.
    pub fn release_many(&self, units: u32) {
        self.protocol().release(units);
    }

    /// How many units there are at this moment.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.protocol().available()
    }

    fn protocol(&self) -> protocol::Semaphore<'_> {
        let fits = "every segment has a page at least";
        protocol::Semaphore {
            count: self.inner.segment.get(COUNT).expect(fits),
            raised: self.inner.segment.get(RAISED).expect(fits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_counted_and_waits_end() {
        let semaphore = Semaphore::new(1).unwrap();
        assert_eq!(semaphore.available(), 1);
        assert!(semaphore.acquire_timeout(Duration::MAX));
        assert!(!semaphore.acquire_timeout(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            let takers = [(); 3].map(|()| scope.spawn(|| semaphore.acquire()));
            semaphore.release_many(2);
            semaphore.release();
            for taker in takers {
                taker.join().unwrap();
            }
        });
        assert_eq!(semaphore.available(), 0);
    }

    #[test]
    fn another_object_is_refused() {
        let event = crate::sync::Event::new().unwrap();
        let bytes = postcard::to_allocvec(&event).unwrap();
        let error = postcard::from_bytes::<Semaphore>(&bytes).unwrap_err();
        assert_eq!(error, postcard::Error::SerdeDeCustom);
        let error = Semaphore::attach(Segment::create(1).unwrap()).unwrap_err();
        assert!(error.is_mismatch());
        assert!(error.to_string().contains("semaph01"), "{error}");
    }
}
