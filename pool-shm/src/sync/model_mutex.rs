//! A robust lock for the models: the promises of the real one, and a holder may die.

use super::LockError;
use crate::atomic::AtomicU64;
use loom::sync::{Condvar, Mutex};
use loom::thread::{self, ThreadId};
use std::time::Instant;

/// As the lock of the same name.
#[derive(Debug)]
pub(crate) struct RawMutex {
    state: Mutex<State>,
    freed: Condvar,
    note: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    Held(ThreadId),
    OwnerDied,
}

/// The lock, held.
#[derive(Debug)]
pub(crate) struct RawMutexGuard<'a> {
    mutex: &'a RawMutex,
}

type Locked<'a> = Result<RawMutexGuard<'a>, LockError<RawMutexGuard<'a>>>;

impl RawMutex {
    /// A lock that nobody holds.
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State::Free),
            freed: Condvar::new(),
            note: AtomicU64::new(0),
        }
    }

    pub(crate) fn lock(&self) -> Locked<'_> {
        let mut state = self.state.lock().expect("loom never poisons");
        loop {
            match self.take(&mut state) {
                Err(LockError::WouldBlock) => {
                    state = self.freed.wait(state).expect("loom never poisons");
                }
                outcome => return outcome,
            }
        }
    }

    pub(crate) fn lock_until(&self, _deadline: Instant) -> Locked<'_> {
        self.lock()
    }

    pub(crate) fn try_lock(&self) -> Locked<'_> {
        match self.attempt() {
            Err(LockError::Deadlock) => Err(LockError::WouldBlock),
            outcome => outcome,
        }
    }

    pub(crate) fn attempt(&self) -> Locked<'_> {
        self.take(&mut self.state.lock().expect("loom never poisons"))
    }

    pub(crate) fn note(&self) -> &AtomicU64 {
        &self.note
    }

    /// # Safety
    /// As for the real one.
    pub(crate) unsafe fn resume(&self) -> RawMutexGuard<'_> {
        RawMutexGuard { mutex: self }
    }

    fn take(&self, state: &mut State) -> Locked<'_> {
        let me = thread::current().id();
        let guard = RawMutexGuard { mutex: self };
        match *state {
            State::Held(holder) => {
                std::mem::forget(guard);
                return Err(if holder == me {
                    LockError::Deadlock
                } else {
                    LockError::WouldBlock
                });
            }
            State::Free => {
                *state = State::Held(me);
                Ok(guard)
            }
            State::OwnerDied => {
                *state = State::Held(me);
                Err(LockError::OwnerDied(guard))
            }
        }
    }

    fn leave(&self, as_what: State) {
        *self.state.lock().expect("loom never poisons") = as_what;
        self.freed.notify_all();
    }
}

impl<'a> RawMutexGuard<'a> {
    pub(crate) fn mutex(&self) -> &'a RawMutex {
        self.mutex
    }

    /// What the kernel does when the holder is killed.
    pub(crate) fn die(self) {
        self.mutex.leave(State::OwnerDied);
        std::mem::forget(self);
    }
}

impl Drop for RawMutexGuard<'_> {
    fn drop(&mut self) {
        self.mutex.leave(State::Free);
    }
}
