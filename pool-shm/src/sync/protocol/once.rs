//! Something that is done once: one word under a robust lock.

use crate::atomic::{AtomicU32, Ordering};
use crate::sync::wait::Wait;
use crate::sync::{EventCount, LockError, RawMutex};

const NEW: u32 = 0;
/// Somebody does it, or began and did not end it.
const BEGUN: u32 = 1;
const DONE: u32 = 2;

/// The lock of who does it, the word, and where those wait who want it done.
#[derive(Clone, Copy)]
pub(crate) struct Once<'a> {
    pub(crate) lock: &'a RawMutex,
    pub(crate) state: &'a AtomicU32,
    pub(crate) finished: &'a EventCount,
}

impl Once<'_> {
    /// Whether it is done.
    pub(crate) fn is_done(self) -> bool {
        // SYNC: once-done
        self.state.load(Ordering::Acquire) == DONE
    }

    /// Does it unless it is done; `true` if it was done here. `action` is told whether somebody began it and did not end it.
    pub(crate) fn call<G>(
        self,
        wait: Wait,
        action: impl FnOnce(bool),
    ) -> Result<bool, LockError<G>> {
        if self.is_done() {
            return Ok(false);
        }
        let (lock, _) = LockError::split(wait.lock(self.lock))?;
        let found = self.state.load(Ordering::Relaxed);
        if found == DONE {
            return Ok(false);
        }
        self.state.store(BEGUN, Ordering::Relaxed);
        action(found != NEW);
        // SYNC: once-done
        self.state.store(DONE, Ordering::Release);
        drop(lock);
        self.finished.notify_all();
        Ok(true)
    }

    /// Waits until it is done, by others; `false` if it was not in time.
    pub(crate) fn wait(self, wait: Wait) -> bool {
        wait.look(self.finished, || self.is_done().then_some(()))
            .is_some()
    }
}
