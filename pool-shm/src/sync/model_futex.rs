//! A futex for the models: the same promise (compare and sleep as one step), without timeouts, so that a lost wake is a deadlock that loom reports.

use crate::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
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
    /// Who sleeps here and at other words.
    watchers: Vec<Arc<Watcher>>,
}

/// One who sleeps at several words.
#[derive(Debug)]
struct Watcher {
    is_woken: Mutex<bool>,
    bell: Condvar,
}

impl Queue {
    /// A queue with nobody in it.
    pub(crate) fn new() -> Self {
        Self {
            places: Mutex::new(Places {
                next: 0,
                woken: 0,
                watchers: Vec::new(),
            }),
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
        // Those at several words come first: they are the ones that may leave with something else.
        let watchers = places.watchers.len().min(count as usize);
        for watcher in places.watchers.drain(..watchers) {
            *watcher.is_woken.lock().expect("loom never poisons") = true;
            watcher.bell.notify_all();
        }
        let watchers = u32::try_from(watchers).expect("no more than were asked for");
        let woken = (places.next - places.woken).min(count - watchers);
        places.woken += woken;
        self.bell.notify_all();
        watchers + woken
    }

    /// Sleeps until woken at one of several words, if all of them still hold what is expected.
    ///
    /// As in the kernel, who is woken at one word and has not run yet takes the wake-ups of the others too.
    pub(crate) fn wait_any(words: &[(&Self, &AtomicU32, u32)]) {
        let watcher = Arc::new(Watcher {
            is_woken: Mutex::new(false),
            bell: Condvar::new(),
        });
        let mut is_changed = false;
        for (queue, word, expected) in words {
            let mut places = queue.places.lock().expect("loom never poisons");
            is_changed = word.load(Ordering::SeqCst) != *expected;
            if is_changed {
                break;
            }
            places.watchers.push(watcher.clone());
        }
        let mut is_woken = watcher.is_woken.lock().expect("loom never poisons");
        while !is_changed && !*is_woken {
            is_woken = watcher.bell.wait(is_woken).expect("loom never poisons");
        }
        drop(is_woken);
        for (queue, ..) in words {
            let mut places = queue.places.lock().expect("loom never poisons");
            places
                .watchers
                .retain(|other| !Arc::ptr_eq(other, &watcher));
        }
    }
}
