//! Going to sleep and waking up: an idle worker waits on a futex word of its own; whoever has news wakes as many as can use it.

use crossbeam::utils::CachePadded;

use super::word::MAX_SLOTS;
use crate::atomic::{AtomicU32, AtomicU64, Ordering, control_layout, fence};
use crate::inject;

#[cfg(not(loom))]
const MASKS: usize = MAX_SLOTS / 64;
#[cfg(loom)]
const MASKS: usize = 1;
const _: () = assert!(MAX_SLOTS.is_multiple_of(64));

control_layout! {
    /// Who sleeps, and whether there is something to wake up for.
    pub(crate) struct Bell {
        /// Counts publications of the pool.
        pub(crate) news: CachePadded<AtomicU32>,
        /// A bit per slot whose worker sleeps or is about to. Whoever clears the bit owes the worker its wake-up.
        pub(crate) sleepers: CachePadded<[AtomicU64; MASKS]>,
        /// Slot + 1 of the one worker that looks for news a while longer than the others; 0 if none does. Whoever rings takes it, and
        /// need not wake another one instead.
        pub(crate) lookout: CachePadded<AtomicU32>,
    }
}

/// How a thread sleeps on a word and is woken: the futex, or a stand-in in a model.
pub(crate) trait Futex {
    /// Sleeps while `word` is `expected`; may return at any time.
    fn wait(&self, word: &AtomicU32, expected: u32);
    /// Wakes all that sleep on `word`.
    fn wake(&self, word: &AtomicU32);
}

impl Bell {
    /// The count of publications; to be read before looking for work.
    pub(crate) fn news(&self) -> u32 {
        self.news.load(Ordering::Acquire) // SYNC: bell-news
    }

    /// Worker in `slot`: looks for other news than `seen` while `patient` says so, unless somebody else does that already; whether it
    /// did. It may have been counted on when this returns, so what follows is a look at the work, or [`Bell::sleep`], which sees
    /// the news.
    pub(crate) fn look_out(
        &self,
        slot: usize,
        seen: u32,
        mut patient: impl FnMut() -> bool,
    ) -> bool {
        let own = slot as u32 + 1;
        let (taken, free) = (Ordering::AcqRel, Ordering::Relaxed);
        if self.lookout.compare_exchange(0, own, taken, free).is_err() {
            return false;
        }
        inject::point("park.looking-out");
        while self.news.load(Ordering::Relaxed) == seen && patient() {}
        // SYNC: lookout (if a ringer has taken the word, its news are seen from here on)
        let _ = self
            .lookout
            .compare_exchange(own, 0, Ordering::AcqRel, Ordering::Acquire);
        true
    }

    /// Worker in `slot`: sleeps until it is woken, unless there has been a publication since `seen` was read.
    pub(crate) fn sleep(&self, slot: usize, wake: &AtomicU32, seen: u32, futex: &impl Futex) {
        let expected = wake.load(Ordering::Relaxed);
        self.mask(slot).fetch_or(bit(slot), Ordering::AcqRel); // SYNC: bell-sleeper
        inject::point("park.announced");
        // Pairs with the fence in `ring`: either we see the news, or the ringer sees our bit.
        fence(Ordering::SeqCst);
        if self.news.load(Ordering::Relaxed) == seen {
            futex.wait(wake, expected);
        }
        self.mask(slot).fetch_and(!bit(slot), Ordering::AcqRel);
    }

    /// Pool: something was published that up to `wanted` workers can use.
    pub(crate) fn ring<'w>(
        &self,
        wanted: u32,
        wake: impl Fn(usize) -> Option<&'w AtomicU32>,
        futex: &impl Futex,
    ) {
        self.news.fetch_add(1, Ordering::Release); // SYNC: bell-news
        fence(Ordering::SeqCst);
        let looks = self.lookout.load(Ordering::Relaxed) != 0
            && self.lookout.swap(0, Ordering::AcqRel) != 0; // SYNC: lookout
        self.wake_some(wanted.saturating_sub(looks.into()), wake, futex);
    }

    /// Wakes up to `wanted` sleepers, each at most once: one that falls asleep again meanwhile has seen what there was, and waking it
    /// for as long as more are wanted than there are would never end while they find nothing.
    pub(crate) fn wake_some<'w>(
        &self,
        wanted: u32,
        wake: impl Fn(usize) -> Option<&'w AtomicU32>,
        futex: &impl Futex,
    ) {
        let mut left = wanted;
        for (index, mask) in self.sleepers.iter().enumerate() {
            let mut seen = mask.load(Ordering::Relaxed);
            while left > 0 && seen != 0 {
                let slot = index * 64 + seen.trailing_zeros() as usize;
                seen &= seen - 1;
                // SYNC: bell-sleeper
                if mask.fetch_and(!bit(slot), Ordering::AcqRel) & bit(slot) != 0
                    && let Some(word) = wake(slot)
                {
                    inject::point("park.taken");
                    rouse(word, futex);
                    left -= 1;
                }
            }
        }
    }

    /// Whether a worker sleeps.
    pub(crate) fn has_sleepers(&self) -> bool {
        self.sleepers
            .iter()
            .any(|mask| mask.load(Ordering::Relaxed) != 0)
    }

    /// Pool: there is something for one worker, whose futex word is `wake`, to look at.
    pub(crate) fn tell(&self, wake: &AtomicU32, futex: &impl Futex) {
        // Counted as news, or a worker that has looked and is about to sleep would sleep: the word is read only then.
        self.news.fetch_add(1, Ordering::Release); // SYNC: bell-news
        fence(Ordering::SeqCst); // as in `ring`
        rouse(wake, futex);
    }

    /// Pool: whether the worker of `slot` sleeps, or is about to.
    #[cfg(not(loom))]
    pub(crate) fn is_asleep(&self, slot: usize) -> bool {
        self.mask(slot).load(Ordering::Relaxed) & bit(slot) != 0
    }

    /// Pool, after a death: the dead may have taken wake-ups with it, so everybody is woken, whatever the bits say.
    pub(crate) fn ring_all<'w>(
        &self,
        words: impl Iterator<Item = &'w AtomicU32>,
        futex: &impl Futex,
    ) {
        self.news.fetch_add(1, Ordering::Release);
        fence(Ordering::SeqCst);
        words.for_each(|word| rouse(word, futex));
    }

    /// Pool: the worker of `slot` is dead, sleeps no more and looks out no more.
    pub(crate) fn forget(&self, slot: usize) {
        let own = slot as u32 + 1;
        let (taken, other) = (Ordering::AcqRel, Ordering::Relaxed);
        let _ = self.lookout.compare_exchange(own, 0, taken, other);
        self.mask(slot).fetch_and(!bit(slot), Ordering::AcqRel);
    }

    fn mask(&self, slot: usize) -> &AtomicU64 {
        &self.sleepers[slot / 64]
    }
}

fn bit(slot: usize) -> u64 {
    1 << (slot % 64)
}

/// Wakes the worker whose futex word this is.
pub(crate) fn rouse(word: &AtomicU32, futex: &impl Futex) {
    word.fetch_add(1, Ordering::Release); // SYNC: wake
    futex.wake(word);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Whoever is woken finds nothing and marks its bit again at once.
    struct Restless<'b>(&'b Bell, Cell<u32>);

    impl Futex for Restless<'_> {
        fn wait(&self, _word: &AtomicU32, _expected: u32) {}

        fn wake(&self, _word: &AtomicU32) {
            self.1.set(self.1.get() + 1);
            for slot in [3, 70] {
                self.0.mask(slot).fetch_or(bit(slot), Ordering::AcqRel);
            }
        }
    }

    #[test]
    fn a_ring_ends_though_those_it_wakes_fall_asleep_again() {
        let bell = Bell {
            news: CachePadded::new(AtomicU32::new(0)),
            sleepers: CachePadded::new([const { AtomicU64::new(0) }; MASKS]),
            lookout: CachePadded::new(AtomicU32::new(0)),
        };
        let word = AtomicU32::new(0);
        let restless = Restless(&bell, Cell::new(0));
        restless.wake(&word);
        restless.1.set(0);
        bell.ring(1000, |_| Some(&word), &restless);
        assert_eq!(restless.1.get(), 2);
        bell.ring(1, |_| Some(&word), &restless);
        assert_eq!(restless.1.get(), 3);
    }
}
