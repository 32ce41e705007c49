//! Permits: so many robust locks, of which whoever asks gets any.
//!
//! There is no count: a permit is out while the kernel knows a living holder of its lock, so a killed holder leaves nothing to repair.

use crate::sync::wait::Wait;
use crate::sync::{EventCount, LockError, RawMutex, RawMutexGuard};

/// The locks, and where those wait who found none free.
#[derive(Clone, Copy)]
pub(crate) struct Permits<'a> {
    pub(crate) locks: &'a [RawMutex],
    pub(crate) freed: &'a EventCount,
}

/// One of the locks, held.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    index: usize,
    /// Always there until it is dropped.
    lock: Option<RawMutexGuard<'a>>,
    freed: &'a EventCount,
}

impl<'a> Permits<'a> {
    /// Takes a lock, the first one if it is free.
    pub(crate) fn acquire(
        self,
        first: usize,
        wait: Wait,
    ) -> Result<Permit<'a>, LockError<Permit<'a>>> {
        wait.look(self.freed, || self.take(first))
            .unwrap_or_else(|| Err(wait.over()))
    }

    /// How many are free at this moment.
    pub(crate) fn free(self) -> usize {
        let is_free = |lock: &&RawMutex| LockError::split::<()>(lock.attempt()).is_ok();
        self.locks.iter().filter(is_free).count()
    }

    fn take(self, first: usize) -> Option<Result<Permit<'a>, LockError<Permit<'a>>>> {
        let count = self.locks.len();
        let mut ours = 0;
        for index in (0..count).map(|i| (first + i) % count) {
            match LockError::split(self.locks[index].attempt()) {
                Ok((lock, died)) => {
                    let permit = Permit {
                        index,
                        lock: Some(lock),
                        freed: self.freed,
                    };
                    return Some(LockError::join(permit, died));
                }
                Err(LockError::WouldBlock) => {}
                Err(LockError::Deadlock) => ours += 1,
                Err(damage) => return Some(Err(damage)),
            }
        }
        (ours == count).then_some(Err(LockError::Deadlock))
    }
}

impl Permit<'_> {
    /// Which of the locks it is.
    pub(crate) fn index(&self) -> usize {
        self.index
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        drop(self.lock.take());
        self.freed.notify_one();
    }
}

#[cfg(all(test, loom))]
impl Permit<'_> {
    /// What a killed holder leaves.
    pub(crate) fn die(mut self) {
        self.lock.take().expect("held until now").die();
        std::mem::forget(self);
    }
}
