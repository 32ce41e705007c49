//! A lock that its holder may take again: a robust lock whose note counts how often its holder has it.

use crate::atomic::Ordering;
use crate::sync::wait::Wait;
use crate::sync::{LockError, RawMutex};

/// The lock.
#[derive(Clone, Copy)]
pub(crate) struct Depth<'a> {
    pub(crate) lock: &'a RawMutex,
}

impl Depth<'_> {
    /// Takes the lock, for the first time or again; `true` if its last holder died. Each call that succeeds needs an [`end`](Self::end).
    pub(crate) fn begin<G>(self, wait: Wait) -> Result<bool, LockError<G>> {
        let outcome = match self.lock.attempt() {
            Err(LockError::WouldBlock) => wait.lock(self.lock),
            outcome => outcome,
        };
        let depth = self.lock.note();
        match LockError::split::<G>(outcome) {
            Ok((guard, died)) => {
                // A dead holder's count means nothing any more.
                depth.store(1, Ordering::Relaxed);
                std::mem::forget(guard);
                Ok(died)
            }
            Err(LockError::Deadlock) => {
                // This thread has it: nobody else writes the count.
                let deeper = depth.load(Ordering::Relaxed).saturating_add(1);
                depth.store(deeper, Ordering::Relaxed);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives the lock back, or one of the times that this thread took it.
    ///
    /// # Safety
    /// The calling thread took it by [`begin`](Self::begin), once more than it called this.
    pub(crate) unsafe fn end(self) {
        let depth = self.lock.note();
        let left = depth.load(Ordering::Relaxed).saturating_sub(1);
        depth.store(left, Ordering::Relaxed);
        if left == 0 {
            // SAFETY: the caller vouches that this thread holds the lock; the only guard was forgotten by `begin`.
            drop(unsafe { self.lock.resume() });
        }
    }
}
