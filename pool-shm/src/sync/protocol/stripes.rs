//! Striped locks: who wants some of them takes them in ascending order, and marks them as open when it has all.
//!
//! A lock that is found open was left so by one that died. It stays open until somebody has held it together with everything that it protects.

use crate::atomic::Ordering;
use crate::sync::wait::Wait;
use crate::sync::{LockError, RawMutex, RawMutexGuard};
use std::ops::Range;

const CLOSED: u64 = 0;
/// Somebody writes what the lock protects, or died while it did.
const OPEN: u64 = 1;

/// The locks asked for.
#[derive(Clone)]
pub(crate) struct Stripes<'a> {
    pub(crate) locks: &'a [RawMutex],
    /// Those of them of which the holder gets all that they protect.
    pub(crate) covered: Range<usize>,
}

/// The locks, held.
#[derive(Debug)]
pub(crate) struct StripesHold<'a> {
    locks: Vec<RawMutexGuard<'a>>,
    /// Whether each was found open.
    inherited: Vec<bool>,
    covered: Range<usize>,
}

impl<'a> Stripes<'a> {
    /// Takes all of them.
    pub(crate) fn lock(self, wait: Wait) -> Result<StripesHold<'a>, LockError<StripesHold<'a>>> {
        let mut locks = Vec::with_capacity(self.locks.len());
        for lock in self.locks {
            // Nothing is marked before all are there: giving up here must not lose the news of a death.
            locks.push(LockError::split(wait.lock(lock))?.0);
        }
        let open = |lock: &RawMutexGuard<'_>| {
            let note = lock.mutex().note();
            let inherited = note.load(Ordering::Relaxed) != CLOSED;
            note.store(OPEN, Ordering::Relaxed);
            inherited
        };
        let inherited: Vec<bool> = locks.iter().map(open).collect();
        let died = inherited.contains(&true);
        let hold = StripesHold {
            locks,
            inherited,
            covered: self.covered,
        };
        LockError::join(hold, died)
    }
}

impl StripesHold<'_> {
    /// From now on the holder has all that the locks protect.
    pub(crate) fn cover_all(&mut self) {
        self.covered = 0..self.locks.len();
    }
}

impl Drop for StripesHold<'_> {
    fn drop(&mut self) {
        for (i, lock) in self.locks.iter().enumerate() {
            if !self.inherited[i] || self.covered.contains(&i) {
                lock.mutex().note().store(CLOSED, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(all(test, loom))]
impl StripesHold<'_> {
    /// What a killed holder leaves.
    pub(crate) fn die(mut self) {
        self.locks.drain(..).for_each(RawMutexGuard::die);
    }
}
