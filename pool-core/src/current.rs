//! What a task can ask about itself.

use std::cell::RefCell;

use crate::atomic::Ordering;
use crate::dispatch::control::Control;

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

/// Set in the index of a single task, whose number counts the single tasks of its pool: so its seed is not that of an item of a
/// call.
pub(crate) const SINGLE: u64 = 1 << 63;

/// The worker that this thread is.
struct Here {
    control: Control,
    slot: usize,
    worker: usize,
    seed: u64,
    /// Index of item 0 of the call, while one is run.
    call: Option<u64>,
    /// The one item of it that may have been begun before, and how often.
    repeated: (u32, u32),
    /// The entry of the table that the call stands in.
    entry: Option<usize>,
}

/// What a thread is when it is not running, for one that is a worker now and then.
#[derive(Default)]
pub(crate) struct Kept(Option<Here>);

impl Kept {
    /// The thread is that from now on; what it was before.
    pub(crate) fn exchange(self) -> Kept {
        Kept(HERE.replace(self.0))
    }
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
    /// Number of the worker in its pool, from 0 and below the pool's size. A worker's replacement has the same number, but runs no
    /// task before the other has run its last: of one number there is never more than one at work.
    pub fn worker_id(&self) -> usize {
        self.worker
    }

    /// Index of the task in its call, from 0: the position of its argument or block. Single tasks ([`crate::Pool::apply`],
    /// [`crate::Pool::apply_async`]) are counted by their pool, from 0, in the order in which they were submitted.
    pub fn index(&self) -> u64 {
        self.index & !SINGLE
    }

    /// How often this task was begun before because its worker died, or because it was late: 0 at first.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// A number for a random stream that depends only on the pool's seed and the task's index: the same for any number of
    /// workers, any chunk size, and after a crash. (SplitMix64 of the two, Steele et al., OOPSLA 2014.) A single task and an
    /// item of a call that have the same index have different seeds.
    pub fn seed(&self) -> u64 {
        let mut z = self
            .seed
            .wrapping_add((self.index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Whether nobody wants the result any more: the task was cancelled ([`crate::TaskHandle::cancel`]) or its pool ends. A long
    /// task may ask now and then, and return early. To be asked on the thread that runs the task; on others it is `false`.
    pub fn is_cancelled(&self) -> bool {
        HERE.with_borrow(|here| {
            here.as_ref().is_some_and(|here| {
                let entries = here.control.tasks().entries;
                let entry = here.entry.and_then(|entry| entries.get(entry));
                here.control.orders().leave.load(Ordering::Relaxed) != 0
                    || entry.is_some_and(|entry| entry.cancelled.load(Ordering::Relaxed) != 0)
            })
        })
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
    HERE.with_borrow(|here| {
        let here = here.as_ref()?;
        let base = here.call?;
        let item = here
            .control
            .slot(here.slot)
            .report
            .item
            .load(Ordering::Relaxed)
            / 2;
        let attempt = if here.repeated.0 == item {
            here.repeated.1
        } else {
            0
        };
        Some(Current {
            worker: here.worker,
            index: base + u64::from(item),
            attempt,
            seed: here.seed,
        })
    })
}

/// This thread is worker `worker`, in `slot`, from now on.
pub(crate) fn enter_worker(control: Control, slot: usize, worker: usize, seed: u64) {
    HERE.set(Some(Here {
        control,
        slot,
        worker,
        seed,
        call: None,
        repeated: (0, 0),
        entry: None,
    }));
}

/// This thread is about to run the task in this entry of the table.
pub(crate) fn enter_entry(entry: usize) {
    HERE.with_borrow_mut(|here| {
        if let Some(here) = here {
            here.entry = Some(entry);
        }
    });
}

/// Whether this thread is a worker.
pub(crate) fn is_worker() -> bool {
    HERE.with_borrow(Option::is_some)
}

/// Item `item` of the call was begun `attempts` times before.
pub(crate) fn note_attempts(item: u32, attempts: u32) {
    HERE.with_borrow_mut(|here| {
        if let Some(here) = here {
            here.repeated = (item, attempts);
        }
    });
}

/// This thread is about to run items of a call whose item 0 has index `base`.
pub(crate) fn enter_call(base: u64) {
    HERE.with_borrow_mut(|here| {
        if let Some(here) = here {
            here.call = Some(base);
            here.repeated = (0, 0);
        }
    });
}

/// It has run them.
pub(crate) fn leave_call() {
    HERE.with_borrow_mut(|here| {
        if let Some(here) = here {
            (here.call, here.entry) = (None, None);
        }
    });
}
