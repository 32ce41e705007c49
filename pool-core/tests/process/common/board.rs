//! Counters in shared memory on which tasks and tests meet.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use pool_shm::Segment;
use rustix::thread::futex;
use serde::{Deserialize, Serialize};

use super::LIMIT;

/// How many counters a board has.
const COUNTERS: usize = 1 << 16;

/// Counters, all 0 at first, that every process which was sent the board sees.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Board {
    segment: Segment,
}

impl Board {
    pub(crate) fn new() -> Board {
        Board {
            segment: Segment::create(COUNTERS * 4).unwrap(),
        }
    }

    fn word(&self, counter: usize) -> &AtomicU32 {
        self.segment.get(counter * 4).unwrap()
    }

    pub(crate) fn get(&self, counter: usize) -> u32 {
        self.word(counter).load(Ordering::SeqCst)
    }

    /// Counts one up, wakes who waits for it, and tells the count before.
    pub(crate) fn count(&self, counter: usize) -> u32 {
        let before = self.word(counter).fetch_add(1, Ordering::SeqCst);
        let _ = futex::wake(self.word(counter), futex::Flags::empty(), i32::MAX as u32);
        before
    }

    /// Sets a counter and wakes who waits for it.
    pub(crate) fn set(&self, counter: usize, value: u32) {
        self.word(counter).store(value, Ordering::SeqCst);
        let _ = futex::wake(self.word(counter), futex::Flags::empty(), i32::MAX as u32);
    }

    /// Waits until a counter is at least `value`.
    pub(crate) fn wait(&self, counter: usize, value: u32) {
        let end = Instant::now() + LIMIT;
        loop {
            let now = self.get(counter);
            if now >= value {
                return;
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "counter {counter} stays at {now} instead of {value}"
            );
            let left = futex::Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            };
            let _ = futex::wait(self.word(counter), futex::Flags::empty(), now, Some(&left));
        }
    }
}
