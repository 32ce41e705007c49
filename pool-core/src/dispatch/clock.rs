//! The clock of an item with a deadline: one word that says until when the item that is being run may take, and who was first,
//! its worker with the result or the pool with the verdict that it is late.
//!
//! Written by the worker that owns the slot, and by the pool once it judges the item late, or once the worker is dead. The states
//! and the argument stand in this folder's `README.md`.

use crate::atomic::{AtomicU64, Ordering, control_layout};
use crate::inject;

/// The pool has found the item late: its worker may neither send its result nor begin another item.
const LATE: u64 = 1 << 63;

control_layout! {
    /// One worker's clock.
    pub(crate) struct Clock {
        /// When the item will be late, in nanoseconds of the system's monotonic clock; 0 while no item with a deadline runs.
        due: AtomicU64,
    }
}

/// What a worker learns of the item whose clock it stops.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Stopped {
    InTime,
    /// The pool was first: nothing of the item counts, and this process is about to be killed.
    Late,
}

/// What the pool finds.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Verdict {
    /// No item with a deadline runs.
    Idle,
    /// The item is late at this time, which is still to come.
    Due(u64),
    /// The item is late and will have no result.
    Late,
}

impl Clock {
    /// Worker: an item begins that may take until `due`.
    pub(crate) fn start(&self, due: u64) -> Stopped {
        self.replace(due.clamp(1, LATE - 1))
    }

    /// Worker: the item has its result or its error, which has not been sent yet.
    pub(crate) fn stop(&self) -> Stopped {
        inject::point("clock.before-stop");
        self.replace(0)
    }

    fn replace(&self, due: u64) -> Stopped {
        // SYNC: clock-due (the read-modify-writes of one word are ordered: either the pool's verdict is seen here, or the pool
        // finds that the item is over)
        let mut old = self.due.load(Ordering::Relaxed);
        while old & LATE == 0 {
            match self
                .due
                .compare_exchange_weak(old, due, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return Stopped::InTime,
                Err(now) => old = now,
            }
        }
        Stopped::Late
    }

    /// Pool: finds the item late if it is at time `now`. A verdict stands until [`Clock::reset`].
    pub(crate) fn judge(&self, now: u64) -> Verdict {
        let mut due = self.due.load(Ordering::Acquire);
        loop {
            match due {
                0 => return Verdict::Idle,
                due if due & LATE != 0 => return Verdict::Late,
                due if due > now => return Verdict::Due(due),
                _ => {}
            }
            // SYNC: clock-due
            match self.due.compare_exchange_weak(
                due,
                due | LATE,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return Verdict::Late,
                Err(now) => due = now,
            }
        }
    }

    /// Pool: the worker is dead.
    pub(crate) fn reset(&self) {
        self.due.store(0, Ordering::Relaxed);
    }
}
