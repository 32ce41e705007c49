//! A value that is never seen torn and that no death leaves half-written: two copies, and a word that says which one counts.
//!
//! The writer, who holds a lock, writes the copy that does not count and then moves the word; readers need no lock: they copy the one that counts and
//! look whether the word has moved meanwhile (a sequence lock, with a second place to write to).

use crate::atomic::{AtomicU64, Ordering, fence};

/// The word: how often the value was written. Its lowest bit says which copy counts.
#[derive(Clone, Copy)]
pub(crate) struct Twins<'a> {
    pub(crate) version: &'a AtomicU64,
}

impl Twins<'_> {
    /// The value; `copy` copies the twin of that number, which may be written meanwhile.
    pub(crate) fn read<T>(self, mut copy: impl FnMut(usize) -> T) -> T {
        loop {
            // SYNC: twin-counts
            let before = self.version.load(Ordering::Acquire);
            let value = copy(twin(before));
            // SYNC: twin-reused. If we saw a byte of a later value in this twin, we see here that the word has moved.
            fence(Ordering::Acquire);
            if self.version.load(Ordering::Relaxed) == before {
                return value;
            }
            // Somebody has written: no waiting for one that is stopped or dead.
            pause();
        }
    }

    /// The number of the twin that counts, for who holds the lock.
    pub(crate) fn current(self) -> usize {
        twin(self.version.load(Ordering::Relaxed))
    }

    /// Writes the value: `store` stores it as the twin of that number. Only who holds the lock calls this.
    pub(crate) fn write(self, store: impl FnOnce(usize)) {
        let before = self.version.load(Ordering::Relaxed);
        // SYNC: twin-reused. The word that made this twin the old one comes before what is stored in it.
        fence(Ordering::Release);
        let after = before.wrapping_add(1);
        store(twin(after));
        // SYNC: twin-counts
        self.version.store(after, Ordering::Release);
    }
}

fn twin(version: u64) -> usize {
    usize::from(version % 2 == 1)
}

fn pause() {
    #[cfg(not(loom))]
    core::hint::spin_loop();
    #[cfg(loom)]
    loom::thread::yield_now();
}
