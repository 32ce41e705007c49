//! Something that is done once, by whichever process comes first.

use super::home::{self, BODY, Label};
use super::wait::Wait;
use super::{LockError, RawMutex, protocol};
use crate::{Segment, ShmError};
use std::sync::Arc;
use std::time::Duration;

const MAGIC: [u8; 8] = *b"once--01";
const STATE: usize = BODY;
const FINISHED: usize = BODY + 64;
const LOCK: usize = BODY + 128;
const END: usize = LOCK + RawMutex::SIZE;

/// Something that is done once, by whichever process comes first; the others wait until it is done.
///
/// # Deaths
/// If who does it dies or panics, the next caller does it, and is told that it was begun before. A killed waiter is nothing.
///
/// # Examples
/// ```
/// use pool_shm::sync::Once;
///
/// let prepared = Once::new()?;
/// let mut count = 0;
/// assert!(prepared.call(|begun_before| { assert!(!begun_before); count += 1 })?);
/// assert!(!prepared.clone().call(|_| count += 1)?); // normally in another process
/// assert_eq!(count, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Once {
    inner: Arc<Inner>,
}

struct Inner {
    segment: Segment,
    lock: RawMutex,
}

home::handle!(Once);

impl Once {
    /// Something that was not done yet.
    ///
    /// # Errors
    /// As for [`Segment::create`].
    pub fn new() -> Result<Self, ShmError> {
        let label = Label::new::<()>(MAGIC, 0);
        let segment = home::create(label, END - BODY)?;
        RawMutex::init(&segment, LOCK)?;
        Self::attach(segment)
    }

    fn attach(segment: Segment) -> Result<Self, ShmError> {
        home::check::<()>(&segment, MAGIC, "once")?;
        let lock = RawMutex::attach(&segment, LOCK)?;
        Ok(Self {
            inner: Arc::new(Inner { segment, lock }),
        })
    }

    /// Runs `action` unless it was run to its end before, by anybody; returns when it has been, and tells whether it was run here.
    ///
    /// `action` is told whether somebody began it and did not end it. If it panics it counts as not ended.
    ///
    /// # Errors
    /// [`LockError::Deadlock`] if `action` calls this; [`LockError::Damaged`].
    pub fn call(&self, action: impl FnOnce(bool)) -> Result<bool, LockError<()>> {
        self.protocol().call(Wait::Forever, action)
    }

    /// As [`call`](Self::call), but waits for another one that runs it for `timeout` at most.
    ///
    /// # Errors
    /// [`LockError::Timeout`]; and those of [`call`](Self::call).
    pub fn call_timeout(
        &self,
        timeout: Duration,
        action: impl FnOnce(bool),
    ) -> Result<bool, LockError<()>> {
        self.protocol().call(Wait::at_most(timeout), action)
    }

    /// As [`call`](Self::call), but waits for nobody.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`] if somebody runs it; and those of [`call`](Self::call).
    pub fn try_call(&self, action: impl FnOnce(bool)) -> Result<bool, LockError<()>> {
        self.protocol().call(Wait::No, action)
    }

    /// Whether it has been done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.protocol().is_done()
    }

    /// Waits until somebody has done it.
    pub fn wait(&self) {
        let done = self.protocol().wait(Wait::Forever);
        debug_assert!(done, "this wait ends when it is done only");
    }

    /// Waits for `timeout` at most until somebody has done it; `false` if nobody has.
    #[must_use = "tells whether it was done"]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.protocol().wait(Wait::at_most(timeout))
    }

    fn protocol(&self) -> protocol::Once<'_> {
        let fits = "every segment has a page at least";
        protocol::Once {
            lock: &self.inner.lock,
            state: self.inner.segment.get(STATE).expect(fits),
            finished: self.inner.segment.get(FINISHED).expect(fits),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn one_of_many_does_it() {
        let once = Once::new().unwrap();
        let count = AtomicU32::new(0);
        assert!(!once.wait_timeout(Duration::from_millis(1)));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let action = |begun: bool| {
                        count.fetch_add(u32::from(!begun), Ordering::Relaxed);
                    };
                    once.call(action).unwrap();
                    assert_eq!(count.load(Ordering::Relaxed), 1);
                });
            }
            once.wait();
        });
        assert!(once.is_done());
    }

    #[test]
    fn a_panic_leaves_it_to_the_next_one() {
        let once = Once::new().unwrap();
        let call = || once.call(|_| panic!("on purpose"));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(call));
        assert!(panicked.is_err());
        assert!(!once.is_done());
        let mut was_begun = false;
        let nested = once.call(|begun| {
            was_begun = begun;
            assert!(matches!(once.call(drop), Err(LockError::Deadlock)));
        });
        assert!(nested.unwrap());
        assert!(was_begun);
        assert!(!once.try_call(drop).unwrap());
    }
}
