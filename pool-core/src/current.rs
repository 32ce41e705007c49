//! What a task can ask about itself.

use std::cell::Cell;

thread_local! {
    static HERE: Here = const { Here { worker: Cell::new(None), base: Cell::new(0), item: Cell::new(0), attempt: Cell::new(0), seed: Cell::new(0), active: Cell::new(false) } };
}

struct Here {
    worker: Cell<Option<usize>>,
    base: Cell<u64>,
    item: Cell<u32>,
    attempt: Cell<u32>,
    seed: Cell<u64>,
    active: Cell<bool>,
}

/// The task that the calling thread is running. See [`current`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    worker: usize,
    index: u64,
    attempt: u32,
    seed: u64,
}

impl Current {
    /// Number of the worker in its pool, from 0. A worker's replacement has the same number.
    pub fn worker_id(&self) -> usize {
        self.worker
    }

    /// Index of the task in its call, from 0: the position of its argument or block.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// How often this task was begun before because its worker died: 0 at first.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// A number for a random stream that depends only on the pool's seed and the task's index: the same for any number of
    /// workers, any chunk size, and after a crash. (SplitMix64 of the two, Steele et al., OOPSLA 2014.)
    pub fn seed(&self) -> u64 {
        let mut z = self
            .seed
            .wrapping_add((self.index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

/// The task that the calling thread is running; none outside a task.
///
/// ```
/// use pool_core::{Pool, current};
///
/// let pool = Pool::new(2)?;
/// let indices = pool.map(|_: char| current().expect("inside a task").index(), "abc".chars())?;
/// assert_eq!(indices, [0, 1, 2]);
/// assert!(current().is_none());
/// # Ok::<(), pool_core::PoolError>(())
/// ```
pub fn current() -> Option<Current> {
    HERE.with(|here| {
        let worker = here.worker.get().filter(|_| here.active.get())?;
        let index = here.base.get() + u64::from(here.item.get());
        Some(Current {
            worker,
            index,
            attempt: here.attempt.get(),
            seed: here.seed.get(),
        })
    })
}

/// This thread is worker `worker` from now on.
pub(crate) fn enter_worker(worker: usize, seed: u64) {
    HERE.with(|here| {
        here.worker.set(Some(worker));
        here.seed.set(seed);
    });
}

/// This thread is about to run items of a call whose item 0 has index `base`.
pub(crate) fn enter_call(base: u64, attempt: u32) {
    HERE.with(|here| {
        here.base.set(base);
        here.attempt.set(attempt);
        here.active.set(true);
    });
}

/// It has run them.
pub(crate) fn leave_call() {
    HERE.with(|here| here.active.set(false));
}

/// It begins item `item`.
#[inline]
pub(crate) fn enter_item(item: u32) {
    HERE.with(|here| here.item.set(item));
}
