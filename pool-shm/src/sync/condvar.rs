//! Waiting until what a lock protects has changed.

use super::home::{self, BODY, Label};
use super::wait::Wait;
use super::{LockError, Mutex, MutexGuard, protocol};
use crate::{Segment, ShmError};
use bytemuck::Pod;
use std::sync::Arc;
use std::time::{Duration, Instant};

const MAGIC: [u8; 8] = *b"condvar1";
const CHANGED: usize = BODY;
const END: usize = BODY + 64;

/// Waiting until what a [`Mutex`] protects has changed; the condition of `multiprocessing`, for any process that holds its handle.
///
/// Who waits gives the lock back and has it again when the wait ends. Who changes the value notifies, under the lock or just after it.
/// It belongs to no mutex, but those who wait for one thing should use one.
///
/// # Deaths
/// A killed waiter is nothing. If the one that was woken, or the one that should have notified, was killed, the others notice by themselves within a tenth
/// of a second. (The C library's condition variables hang for good then, so they are not used.)
///
/// # Examples
/// ```
/// use pool_shm::sync::{Condvar, LockError, Mutex};
///
/// let (stock, changed) = (Mutex::new(0_u32)?, Condvar::new()?);
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         *stock.lock().or_else(LockError::recover).expect("a lock of one's own") += 3;
///         changed.notify_one();
///     });
///     let guard = stock.lock().or_else(LockError::recover).expect("a lock of one's own");
///     let guard = changed.wait_while(guard, |stock| *stock == 0).expect("nobody dies here");
///     assert_eq!(*guard, 3);
/// });
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
pub struct Condvar {
    inner: Arc<Inner>,
}

struct Inner {
    segment: Segment,
}

home::handle!(Condvar);

/// The guard again, or why not.
type Relocked<'a, T> = Result<MutexGuard<'a, T>, LockError<MutexGuard<'a, T>>>;

impl Condvar {
    /// A condition for which nobody waits.
    ///
    /// # Errors
    /// As for [`Segment::create`].
    pub fn new() -> Result<Self, ShmError> {
        let label = Label::new::<()>(MAGIC, 0);
        Self::attach(home::create(label, END - BODY)?)
    }

    fn attach(segment: Segment) -> Result<Self, ShmError> {
        home::check::<()>(&segment, MAGIC, "condition")?;
        Ok(Self {
            inner: Arc::new(Inner { segment }),
        })
    }

    /// Waits until somebody notifies, or for a tenth of a second: look whether what you wait for has come, and wait again if not.
    ///
    /// # Errors
    /// As for [`Mutex::lock`]: [`LockError::OwnerDied`] if somebody died with the lock meanwhile.
    pub fn wait<'a, T: Pod>(&self, guard: MutexGuard<'a, T>) -> Relocked<'a, T> {
        self.wait_by(guard, Wait::Forever)
    }

    /// As [`wait`](Self::wait), for `timeout` at most. Taking the lock again is not bounded by it.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout<'a, T: Pod>(
        &self,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> Relocked<'a, T> {
        self.wait_by(guard, Wait::at_most(timeout))
    }

    /// Waits while `condition` holds of the value.
    ///
    /// # Errors
    /// As for [`wait`](Self::wait); the condition may hold still then.
    pub fn wait_while<'a, T: Pod>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Relocked<'a, T> {
        while condition(&mut guard) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// Waits while `condition` holds of the value, for `timeout` at most; tells whether it holds still.
    ///
    /// # Errors
    /// As for [`wait_while`](Self::wait_while).
    pub fn wait_timeout_while<'a, T: Pod>(
        &self,
        mut guard: MutexGuard<'a, T>,
        timeout: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<(MutexGuard<'a, T>, bool), LockError<MutexGuard<'a, T>>> {
        let wait = Wait::at_most(timeout);
        while condition(&mut guard) {
            if matches!(wait, Wait::Until(deadline) if Instant::now() >= deadline) {
                return Ok((guard, true));
            }
            guard = self.wait_by(guard, wait)?;
        }
        Ok((guard, false))
    }

    /// Wakes one who waits.
    pub fn notify_one(&self) {
        self.protocol().changed.notify_one();
    }

    /// Wakes everybody who waits.
    pub fn notify_all(&self) {
        self.protocol().changed.notify_all();
    }

    fn wait_by<'a, T: Pod>(&self, guard: MutexGuard<'a, T>, wait: Wait) -> Relocked<'a, T> {
        let (mutex, lock) = Mutex::unwrap(guard);
        mutex.wrap(self.protocol().wait(lock, wait))
    }

    fn protocol(&self) -> protocol::Condition<'_> {
        protocol::Condition {
            changed: (self.inner.segment.get(CHANGED)).expect("every segment has a page at least"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_goes_to_and_fro() {
        let (turn, changed) = (Mutex::new(0_u32).unwrap(), Condvar::new().unwrap());
        std::thread::scope(|scope| {
            for me in 0..2 {
                let (turn, changed) = (&turn, &changed);
                scope.spawn(move || {
                    for _ in 0..200 {
                        let guard = turn.lock().unwrap();
                        let mut guard = changed.wait_while(guard, |turn| *turn % 2 != me).unwrap();
                        *guard += 1;
                        drop(guard);
                        changed.notify_all();
                    }
                });
            }
        });
        assert_eq!(*turn.lock().unwrap(), 400);
    }

    #[test]
    fn waits_end_with_their_time() {
        let (value, changed) = (Mutex::new(7_u32).unwrap(), Condvar::new().unwrap());
        let limit = Duration::from_millis(2);
        let guard = changed.wait_timeout(value.lock().unwrap(), limit).unwrap();
        let (guard, still) = changed
            .wait_timeout_while(guard, limit, |value| *value == 7)
            .unwrap();
        assert!(still);
        let (guard, still) = changed
            .wait_timeout_while(guard, limit, |value| *value == 8)
            .unwrap();
        assert!(!still);
        assert_eq!(*guard, 7);
    }
}
