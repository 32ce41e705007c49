//! A signal that is set or not: one word. Bit 0 says whether it is set, the other bits count how often it was.

use crate::atomic::{AtomicU32, Ordering};
use crate::sync::EventCount;
use crate::sync::wait::Wait;

const SET: u32 = 1;
const STEP: u32 = 2;

/// The word, and where those wait who found it not set.
#[derive(Clone, Copy)]
pub(crate) struct Signal<'a> {
    pub(crate) word: &'a AtomicU32,
    pub(crate) raised: &'a EventCount,
}

impl Signal<'_> {
    /// Sets it and wakes everybody.
    pub(crate) fn set(self) {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            // A signal that is set already is stored all the same: what came before this call is visible to who sees it.
            let next = match word & SET {
                SET => word,
                _ => word.wrapping_add(STEP) | SET,
            };
            // SYNC: signal-set
            match self
                .word
                .compare_exchange(word, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(now) => word = now,
            }
        }
        self.raised.notify_all();
    }

    /// Takes it back.
    pub(crate) fn clear(self) {
        self.word.fetch_and(!SET, Ordering::AcqRel);
    }

    /// Whether it is set.
    pub(crate) fn is_set(self) -> bool {
        // SYNC: signal-set
        self.word.load(Ordering::Acquire) & SET == SET
    }

    /// Waits until it is set, or was set since this call began; `false` if it was not in time.
    pub(crate) fn wait(self, wait: Wait) -> bool {
        let before = self.word.load(Ordering::Acquire) & !SET;
        let seen = || {
            // SYNC: signal-set
            let word = self.word.load(Ordering::Acquire);
            (word & SET == SET || word & !SET != before).then_some(())
        };
        wait.look(self.raised, seen).is_some()
    }
}
