//! Readers beside each other, a writer alone: a reader holds one of several robust locks, a writer all of them.

use crate::atomic::{AtomicU32, Ordering};
use crate::sync::wait::Wait;
use crate::sync::{LockError, RawMutex, RawMutexGuard};
use std::time::{Duration, Instant};

const CLEAN: u32 = 0;
/// A writer has everything, or died while it had: the value may be half-written.
const WRITING: u32 = 1;

/// How long a reader that found every lock taken waits for one of them before it looks at all again.
const PATIENCE: Duration = Duration::from_millis(100);

/// The locks and two words.
#[derive(Clone, Copy)]
pub(crate) struct RwLock<'a> {
    /// Held by the writer that collects or has the locks.
    pub(crate) gate: &'a RawMutex,
    /// One for each reader at a time.
    pub(crate) locks: &'a [RawMutex],
    /// Whether the value is being written; changed only by who holds all locks.
    pub(crate) state: &'a AtomicU32,
    /// Whether a writer asks readers to queue up at the gate; changed only by who holds the gate.
    pub(crate) wanted: &'a AtomicU32,
}

/// A lock for reading, held.
#[derive(Debug)]
pub(crate) struct ReadHold<'a> {
    _lock: RawMutexGuard<'a>,
}

/// All locks, held, in the order in which they are given back: the value is whole again, then readers come, then writers.
#[derive(Debug)]
pub(crate) struct WriteHold<'a> {
    state: &'a AtomicU32,
    _collected: Collected<'a>,
}

/// The gate and some or all of the locks.
#[derive(Debug)]
struct Collected<'a> {
    locks: Vec<RawMutexGuard<'a>>,
    wanted: &'a AtomicU32,
    gate: Option<RawMutexGuard<'a>>,
}

impl<'a> RwLock<'a> {
    /// Takes a lock for reading, the one called `home` if it is free.
    pub(crate) fn read(
        self,
        home: usize,
        wait: Wait,
    ) -> Result<ReadHold<'a>, LockError<ReadHold<'a>>> {
        if self.wanted.load(Ordering::Relaxed) != 0 {
            // A writer waits or writes; behind it, so that readers cannot keep it waiting for ever.
            let (gate, _) = LockError::split(wait.lock(self.gate))?;
            // Nobody is at it any more. If the writer was killed, it has left this.
            self.wanted.store(0, Ordering::Relaxed);
            drop(gate);
        }
        let lock = self.any(home % self.locks.len(), wait)?;
        // While we hold one lock no living writer holds all, so what stands here was left by a dead one.
        let died = self.state.load(Ordering::Relaxed) != CLEAN;
        LockError::join(ReadHold { _lock: lock }, died)
    }

    /// Takes all locks.
    pub(crate) fn write(self, wait: Wait) -> Result<WriteHold<'a>, LockError<WriteHold<'a>>> {
        // The death of a holder of any of these locks means nothing: what a dead writer left is told by `state`.
        let (gate, _) = LockError::split(wait.lock(self.gate))?;
        self.wanted.store(1, Ordering::Relaxed);
        let mut collected = Collected {
            locks: Vec::with_capacity(self.locks.len()),
            wanted: self.wanted,
            gate: Some(gate),
        };
        for lock in self.locks {
            collected.locks.push(LockError::split(wait.lock(lock))?.0);
        }
        let died = self.state.load(Ordering::Relaxed) != CLEAN;
        self.state.store(WRITING, Ordering::Relaxed);
        let hold = WriteHold {
            state: self.state,
            _collected: collected,
        };
        LockError::join(hold, died)
    }

    fn any(self, home: usize, wait: Wait) -> Result<RawMutexGuard<'a>, LockError<ReadHold<'a>>> {
        let count = self.locks.len();
        loop {
            for index in (0..count).map(|i| (home + i) % count) {
                match LockError::split(self.locks[index].try_lock()) {
                    Ok((lock, _)) => return Ok(lock),
                    Err(LockError::WouldBlock) => {}
                    Err(error) => return Err(error),
                }
            }
            // A writer has them all, or as many readers as there are locks. Waits in the kernel, which also tells of deaths.
            let slice = Instant::now() + PATIENCE;
            let patience = match wait {
                Wait::No => Wait::No,
                Wait::Until(deadline) => Wait::Until(deadline.min(slice)),
                Wait::Forever => Wait::Until(slice),
            };
            match LockError::split(patience.lock(&self.locks[home])) {
                Ok((lock, _)) => return Ok(lock),
                Err(LockError::Timeout) if !is_over(wait) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_over(wait: Wait) -> bool {
    matches!(wait, Wait::Until(deadline) if Instant::now() >= deadline)
}

impl Drop for WriteHold<'_> {
    fn drop(&mut self) {
        self.state.store(CLEAN, Ordering::Relaxed);
    }
}

impl Drop for Collected<'_> {
    fn drop(&mut self) {
        self.locks.clear();
        self.wanted.store(0, Ordering::Relaxed);
        drop(self.gate.take());
    }
}

#[cfg(all(test, loom))]
impl ReadHold<'_> {
    /// What a killed reader leaves.
    pub(crate) fn die(self) {
        self._lock.die();
    }
}

#[cfg(all(test, loom))]
impl WriteHold<'_> {
    /// What a killed writer leaves.
    pub(crate) fn die(mut self) {
        self._collected.locks.drain(..).for_each(RawMutexGuard::die);
        self._collected.gate.take().expect("held").die();
        std::mem::forget(self);
    }
}
