//! The table of single tasks: entries that the pool publishes and workers claim, roughly first in, first out.
//!
//! The claim word of an entry is the truth; `head` and `tail` are positions that only say where to look. Position `p` is
//! entry `p % entries.len()`; the pool skips entries that are still in use, so one long task never holds up the others.

use crossbeam::utils::CachePadded;

use super::word::{ClaimWord, Owner, waited, waited_mark};
use crate::atomic::{AtomicU32, AtomicU64, Ordering, control_layout};
use crate::inject;

#[cfg(not(loom))]
const INLINE_WORDS: usize = 8;
#[cfg(loom)]
const INLINE_WORDS: usize = 1;
/// Arguments or results up to this many bytes travel inside the entry.
#[cfg_attr(
    all(test, loom),
    expect(dead_code, reason = "the models need one word")
)]
pub(crate) const INLINE_BYTES: usize = INLINE_WORDS * 8;

control_layout! {
    /// One task of one or more items. All but `state` is written by the pool before the entry is published, or by the worker
    /// that has claimed it (`result…`).
    #[cfg_attr(all(test, loom), expect(dead_code, reason = "the models need the words of the protocol alone"))]
    pub(crate) struct TaskEntry {
        pub(crate) state: AtomicU32,
        /// How many items; the result of each goes through the worker's stream, or of a single small one into `result`.
        pub(crate) items: AtomicU32,
        /// Identifies the task in the streams for the whole life of the pool.
        pub(crate) id: AtomicU64,
        pub(crate) descriptor: AtomicU64,
        /// Index of the first item in the call that it belongs to.
        pub(crate) base: AtomicU64,
        /// Where the encoded arguments are in the arena; unused if they fit into `arg`.
        pub(crate) arg_offset: AtomicU64,
        pub(crate) arg_len: AtomicU64,
        /// Where plain results go; 0 if there is no such place.
        pub(crate) results_offset: AtomicU64,
        pub(crate) attempt: AtomicU32,
        /// 1: the pool's watcher is told when the task is done, although nobody sleeps on it.
        pub(crate) notify: AtomicU32,
        /// Bytes in `result` + 1, or 0 if the result went through the stream.
        pub(crate) result_len: AtomicU32,
        pub(crate) cancelled: AtomicU32,
        /// How long each item may take, in nanoseconds; 0: as long as it likes.
        pub(crate) limit: AtomicU64,
        /// How long the worker took, in nanoseconds; 0 until it has run.
        pub(crate) nanos: AtomicU64,
        pub(crate) arg: [AtomicU64; INLINE_WORDS],
        pub(crate) result: [AtomicU64; INLINE_WORDS],
    }
}

/// The shared memory of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskTable<'a> {
    pub(crate) entries: &'a [CachePadded<TaskEntry>],
    /// A hint that only grows: no position below it is free to claim.
    pub(crate) head: &'a AtomicU64,
    /// Positions below it have been published. Written by the pool alone.
    pub(crate) tail: &'a AtomicU64,
}

/// What the end of a task asks of the worker.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Finished {
    /// Somebody in the pool's process sleeps on this task.
    WakePool,
    Quietly,
    /// The task was cancelled while it ran, or its word was overwritten: nothing of it counts, and this process is about to be killed.
    Revoked,
}

impl<'a> TaskTable<'a> {
    fn index(&self, position: u64) -> usize {
        (position % self.entries.len() as u64) as usize
    }

    /// Worker: claims the first free task; its entry, and the item to begin with.
    pub(crate) fn claim(&self, owner: Owner) -> Option<(usize, u32)> {
        let tail = self.tail.load(Ordering::Acquire); // SYNC: task-tail
        let mut position = self.head.load(Ordering::Relaxed);
        // Older positions are gone; one beyond the tail is another worker's news, or was overwritten: then all are looked at.
        let oldest = tail.saturating_sub(self.entries.len() as u64);
        if position < oldest || position > tail {
            position = oldest;
        }
        while position < tail {
            let entry = self.index(position);
            position += 1;
            if let Some(first) = self.try_claim(entry, owner) {
                self.head.fetch_max(position, Ordering::Relaxed);
                return Some((entry, first));
            }
        }
        self.head.fetch_max(position, Ordering::Relaxed);
        None
    }

    fn try_claim(&self, entry: usize, owner: Owner) -> Option<u32> {
        let state = &self.entries[entry].state;
        let mut bits = state.load(Ordering::Relaxed);
        while let ClaimWord::Free { first } = ClaimWord::from_bits(bits) {
            let claimed = ClaimWord::Claimed(owner).bits() | (bits & waited_mark());
            match state.compare_exchange_weak(bits, claimed, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => {
                    inject::point("task.claimed");
                    return Some(first);
                }
                Err(now) => bits = now, // a waiter may have set its mark meanwhile
            }
        }
        None
    }

    /// Worker: every item of the claimed task has its result.
    pub(crate) fn finish(&self, entry: usize, owner: Owner) -> Finished {
        inject::point("task.before-done");
        let state = &self.entries[entry].state;
        let done = ClaimWord::Done(owner).bits();
        let mut bits = state.load(Ordering::Relaxed);
        // A waiter may set its mark meanwhile, or the pool take the task away.
        while ClaimWord::from_bits(bits) == ClaimWord::Claimed(owner) {
            // SYNC: task-done
            match state.compare_exchange_weak(bits, done, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => {
                    inject::point("task.done");
                    return if waited(bits) {
                        Finished::WakePool
                    } else {
                        Finished::Quietly
                    };
                }
                Err(now) => bits = now,
            }
        }
        Finished::Revoked
    }

    /// Whether something seems to be free to claim.
    pub(crate) fn has_work(&self) -> bool {
        self.head.load(Ordering::Relaxed) < self.tail.load(Ordering::Relaxed)
    }

    /// Pool, one thread at a time: an entry that is not in use, and the position to publish it at, not before `next`. The pool
    /// knows `next` by itself: what stands in shared memory may have been overwritten.
    pub(crate) fn vacant(&self, next: u64) -> Option<(u64, usize)> {
        (next..next + self.entries.len() as u64)
            .map(|position| (position, self.index(position)))
            .find(|(_, entry)| self.word(*entry) == ClaimWord::Void)
    }

    /// Pool: makes the filled entry at `position` claimable, from item `first` on.
    pub(crate) fn publish(&self, position: u64, first: u32) {
        self.entries[self.index(position)]
            .state
            .store(ClaimWord::Free { first }.bits(), Ordering::Release);
        self.tail.store(position + 1, Ordering::Release); // SYNC: task-tail
    }

    /// Pool: what has become of the entry.
    pub(crate) fn word(&self, entry: usize) -> ClaimWord {
        ClaimWord::from_bits(self.entries[entry].state.load(Ordering::Acquire)) // SYNC: task-done
    }

    /// Pool: marks that somebody is going to sleep on the entry. The word as it was when the mark was set: if it is `Done`
    /// nobody is going to wake the sleeper.
    pub(crate) fn announce_sleep(&self, entry: usize) -> ClaimWord {
        ClaimWord::from_bits(
            self.entries[entry]
                .state
                .fetch_or(waited_mark(), Ordering::AcqRel),
        ) // SYNC: task-done
    }

    /// Pool: takes back a task that has not begun. Whether it could be taken back.
    #[must_use]
    pub(crate) fn withdraw(&self, entry: usize) -> bool {
        let state = &self.entries[entry].state;
        let mut bits = state.load(Ordering::Relaxed);
        while let ClaimWord::Free { .. } = ClaimWord::from_bits(bits) {
            match state.compare_exchange_weak(
                bits,
                ClaimWord::Void.bits(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => bits = now,
            }
        }
        false
    }

    /// Pool: takes a task away from the worker `owner` that runs it. Whether it could: the task is not done, and never will be.
    #[must_use]
    pub(crate) fn revoke(&self, entry: usize, owner: Owner) -> bool {
        let state = &self.entries[entry].state;
        let mut bits = state.load(Ordering::Relaxed);
        while ClaimWord::from_bits(bits) == ClaimWord::Claimed(owner) {
            // SYNC: task-done (one of the two comes first, this or the worker's end of the task)
            match state.compare_exchange_weak(
                bits,
                ClaimWord::Revoked.bits(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            ) {
                Ok(_) => return true,
                Err(now) => bits = now,
            }
        }
        false
    }

    /// Pool: the entry, done and read or claimed by a worker that is dead, can be used again.
    pub(crate) fn vacate(&self, entry: usize) {
        self.entries[entry]
            .state
            .store(ClaimWord::Void.bits(), Ordering::Release);
    }

    /// Pool: an entry that a worker of `slot` has claimed, if there is one.
    #[cfg(not(loom))]
    pub(crate) fn claimed_in(&self, slot: usize) -> Option<usize> {
        (0..self.entries.len()).find(
            |entry| matches!(self.word(*entry), ClaimWord::Claimed(owner) if owner.slot() == slot),
        )
    }

    /// Pool: entries that the dead worker `owner` has claimed.
    pub(crate) fn held_by(&self, owner: Owner) -> impl Iterator<Item = usize> + use<'a> {
        let table = *self;
        (0..self.entries.len()).filter(move |entry| table.word(*entry) == ClaimWord::Claimed(owner))
    }
}
