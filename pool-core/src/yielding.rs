//! Letting other threads run while something is about to happen, as long as that costs nothing.
//!
//! Where nobody else wants the processor, a yield is the cheapest way to wait for a few microseconds. Where somebody does, the scheduler
//! gives the processor away for a whole slice, some milliseconds; a thread that sleeps on a futex is woken at once instead. So the time
//! of each yield is looked at.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys;

/// A yield that took so long, in nanoseconds, has given the processor to somebody who works.
const SLOW: u64 = 200_000;
/// For so long after one, in nanoseconds, nobody yields; twice as long after each further one, at most [`LONGEST`].
const SHORTEST: u64 = 1_000_000;
const LONGEST: u64 = 100_000_000;
/// Each yield that was cheap takes this part off that time.
const DECAY: u64 = 128;

/// How often who waits looks for news before it lets other threads run: about a microsecond, less where a pause is short.
const PAUSES: u32 = 30;
/// How often if it must not let other threads run, before it sleeps: 10 to 40 µs, less than waking a halted processor takes.
const PAUSES_ALONE: u32 = 1000;
/// How often it lets other threads run before it sleeps: about 50 to 100 µs.
pub(crate) const YIELDS: u32 = 100;

/// Whether yielding is cheap now. Shared by threads, or the only thread's own.
#[derive(Debug, Default)]
pub(crate) struct Yielding {
    /// Until when it is not, by the monotonic clock.
    dear_until: AtomicU64,
    /// How long it was not the last time, less what cheap yields have taken off since.
    length: AtomicU64,
}

impl Yielding {
    /// Whether somebody else wanted the processor a moment ago: better sleep.
    fn is_dear(&self) -> bool {
        let until = self.dear_until.load(Ordering::Relaxed);
        until != 0 && sys::now_nanos() < until
    }

    /// How often to pause, and how often of `yields` times to give way then, before sleeping.
    pub(crate) fn budget(&self, yields: u32) -> (u32, u32) {
        if self.is_dear() {
            (PAUSES_ALONE, 0)
        } else {
            (PAUSES, yields)
        }
    }

    /// Lets other threads run. Whether it may be done again.
    pub(crate) fn give_way(&self) -> bool {
        let before = sys::now_nanos();
        std::thread::yield_now();
        let now = sys::now_nanos();
        self.note(now.saturating_sub(before), now)
    }

    /// A yield took so long and was over then. Whether it was cheap.
    fn note(&self, took: u64, now: u64) -> bool {
        let length = self.length.load(Ordering::Relaxed);
        if took >= SLOW {
            let length = length.saturating_mul(2).clamp(SHORTEST, LONGEST);
            self.length.store(length, Ordering::Relaxed);
            let until = now.saturating_add(length);
            self.dear_until.store(until, Ordering::Relaxed);
            return false;
        }
        if length > SHORTEST {
            let less = length - length / DECAY;
            self.length.store(less, Ordering::Relaxed);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yielding_is_dear_for_a_while_after_a_slow_yield() {
        let yielding = Yielding::default();
        assert!(!yielding.is_dear());
        assert_eq!(yielding.budget(7), (PAUSES, 7));
        yielding.dear_until.store(u64::MAX, Ordering::Relaxed);
        assert!(yielding.is_dear());
        assert_eq!(yielding.budget(7), (PAUSES_ALONE, 0));
        yielding.dear_until.store(1, Ordering::Relaxed);
        assert!(!yielding.is_dear());
    }

    #[test]
    fn the_more_yields_are_slow_the_longer_it_is_dear() {
        let yielding = Yielding::default();
        let until = || yielding.dear_until.load(Ordering::Relaxed);
        assert!(yielding.note(SLOW - 1, 5) && until() == 0);
        let lengths = [1, 2, 4, 8, 16, 32, 64, 100, 100].map(|factor| factor * SHORTEST);
        for length in lengths {
            assert!(!yielding.note(SLOW, 7));
            assert_eq!(until(), 7 + length);
        }
        // Cheap ones shorten it again, down to the shortest.
        for _ in 0..1000 {
            assert!(yielding.note(0, 9));
        }
        assert!(!yielding.note(SLOW, 0));
        assert!((SHORTEST..=2 * SHORTEST).contains(&until()), "{}", until());
    }
}
