//! A futex for the models: the same promise (compare and sleep as one step), without timeouts, so that a lost wake is a deadlock that loom reports.

use crate::atomic::{AtomicU32, Ordering};
use loom::sync::{Condvar, Mutex};
use std::time::Duration;

/// The kernel's queue of one word: first come, first woken.
#[derive(Debug)]
pub(crate) struct Queue {
    places: Mutex<Places>,
    bell: Condvar,
}

#[derive(Debug)]
struct Places {
    /// The number that the next sleeper draws.
    next: u32,
    /// Everybody with a smaller number has been woken.
    woken: u32,
}

impl Queue {
    /// A queue with nobody in it.
    pub(crate) fn new() -> Self {
        Self {
            places: Mutex::new(Places { next: 0, woken: 0 }),
            bell: Condvar::new(),
        }
    }

    /// Sleeps until woken, if `word` still holds `expected`.
    pub(crate) fn wait(&self, word: &AtomicU32, expected: u32, _timeout: Duration) {
        let mut places = self.places.lock().expect("loom never poisons");
        if word.load(Ordering::SeqCst) != expected {
            return;
        }
        let mine = places.next;
        places.next += 1;
        while places.woken <= mine {
            places = self.bell.wait(places).expect("loom never poisons");
        }
    }

    /// Wakes up to `count` and returns how many.
    pub(crate) fn wake(&self, count: u32) -> u32 {
        let mut places = self.places.lock().expect("loom never poisons");
        let woken = (places.next - places.woken).min(count);
        places.woken += woken;
        self.bell.notify_all();
        woken
    }
}
