//! What the pool orders one worker, and what the worker asks for.
//!
//! Both are words of the worker's slot. A worker that stands aside, because it is a replacement that is not needed yet or because
//! it has done what it may do, sleeps on its own futex word without a mark in the [`Bell`](super::park::Bell): nobody counts on it
//! to take work.

use super::park::{Bell, Futex};
use crate::atomic::{AtomicU32, Ordering, control_layout};

control_layout! {
    /// The words of one slot.
    pub(crate) struct Duty {
        /// An [`Order`]. Written by the pool alone.
        order: AtomicU32,
        /// A [`Wish`]. Written by the worker, and by the pool before the slot lives again.
        wish: AtomicU32,
    }
}

/// What a worker is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Be ready, but claim nothing: it is to replace a worker that has not left yet.
    StandBy,
    Serve,
    /// Leave before the next chunk or task.
    Leave,
}

/// Why a worker asks to be replaced. It claims nothing more, but stays until it is told to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// It runs, or has run, the last task that it may run.
    MaxTasks,
    /// It has more memory than it may have.
    MaxMemory,
}

impl Duty {
    /// The order that holds now.
    pub(crate) fn order(&self) -> Order {
        // SYNC: duty-order
        match self.order.load(Ordering::Acquire) {
            0 => Order::StandBy,
            1 => Order::Serve,
            _ => Order::Leave,
        }
    }

    /// Pool: begins a life of the slot.
    pub(crate) fn begin(&self, order: Order) {
        self.wish.store(0, Ordering::Relaxed);
        self.order.store(order as u32, Ordering::Release); // SYNC: duty-order
    }

    /// Pool: gives another order, and wakes the worker whose futex word is `wake`.
    pub(crate) fn give(&self, order: Order, bell: &Bell, wake: &AtomicU32, futex: &impl Futex) {
        self.order.store(order as u32, Ordering::Release); // SYNC: duty-order
        bell.tell(wake, futex);
    }

    /// Worker: asks to be replaced.
    pub(crate) fn ask(&self, wish: Wish) {
        self.wish.store(wish as u32 + 1, Ordering::Release); // SYNC: duty-wish
    }

    /// Pool: what the worker has asked for.
    pub(crate) fn wish(&self) -> Option<Wish> {
        // SYNC: duty-wish
        match self.wish.load(Ordering::Acquire) {
            0 => None,
            1 => Some(Wish::MaxTasks),
            _ => Some(Wish::MaxMemory),
        }
    }
}

/// Worker: sleeps until `is_over`. Whoever makes it so wakes the worker by its futex word afterwards.
pub(crate) fn stand_aside(wake: &AtomicU32, futex: &impl Futex, mut is_over: impl FnMut() -> bool) {
    loop {
        // Read before looking: a wake-up between the look and the sleep changes the word.
        let expected = wake.load(Ordering::Acquire); // SYNC: wake
        if is_over() {
            return;
        }
        futex.wait(wake, expected);
    }
}
