//! Letting other threads run while something is about to happen, as long as that costs nothing.
//!
//! Where nobody else wants the processor, a yield is the cheapest way to wait for a few microseconds. Where somebody does, the scheduler
//! gives the processor away for a whole slice, some milliseconds; a thread that sleeps on a futex is woken at once instead. So the time
//! of each yield is looked at.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys;

/// A yield that took so long, in nanoseconds, has given the processor to somebody who works.
const SLOW: u64 = 200_000;
/// For so long after one, in nanoseconds, nobody yields.
const PAUSE: u64 = 100_000_000;

/// How often who waits looks for news before it lets other threads run: about a microsecond.
const PAUSES: u32 = 30;
/// How often if it must not let other threads run, before it sleeps: about 10 µs, a fraction of what waking a halted processor takes.
const PAUSES_ALONE: u32 = 300;
/// How often it lets other threads run before it sleeps: about 50 to 100 µs.
pub(crate) const YIELDS: u32 = 100;

/// Whether yielding is cheap now. Shared by threads, or the only thread's own.
#[derive(Debug, Default)]
pub(crate) struct Yielding {
    /// Until when it is not, by the monotonic clock.
    dear_until: AtomicU64,
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
        let was_cheap = now.saturating_sub(before) < SLOW;
        if !was_cheap {
            let until = now.saturating_add(PAUSE);
            self.dear_until.store(until, Ordering::Relaxed);
        }
        was_cheap
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
}
