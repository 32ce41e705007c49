//! What a worker does while there is nothing to do: it looks for news, then sleeps, and lets go of what it does not need then.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use super::Worker;
use super::call::Belongings;
use crate::atomic::{AtomicU32, Ordering};
use crate::dispatch::control::SystemFutex;
use crate::dispatch::park::Futex;
use crate::start::boot;
use crate::sys;

/// How long one worker of the pool looks for news before it sleeps: waking a processor that has gone to sleep takes longer than most
/// tasks.
const LOOKOUT: Duration = Duration::from_millis(1);

/// Instead of a number of looks: the worker has had no work yet. It sleeps at once, since others may still have to be started.
pub(super) const NEW: u32 = u32::MAX;

/// Who sleeps longer than this is idle; sooner, as when a pool starts or between two calls, others want the processor more.
const IDLE: Duration = Duration::from_millis(50);

/// Who sleeps still longer keeps no arrays for the next task: somebody may want their memory back, and mapping them again takes less
/// than this by far.
const LONG: Duration = Duration::from_secs(1);

/// How much time there is at least between two times that a worker lets go of code: mapping it again costs some microseconds. Not more than
/// [`LONG`].
const SHED: Duration = Duration::from_secs(1);

/// How an idle worker sleeps.
struct Sleep<'a> {
    /// After how long it lets go of code; never if it has no process of its own.
    sheds_after: Option<Duration>,
    /// When it did.
    has_shed: Cell<Option<Instant>>,
    belongings: RefCell<&'a mut Belongings>,
}

impl Futex for Sleep<'_> {
    fn wait(&self, word: &AtomicU32, expected: u32) {
        let goes_on = |time| {
            sys::futex_wait(word, expected, Some(time));
            word.load(Ordering::Relaxed) == expected
        };
        let keeps_arrays = self.belongings.borrow().keeps_arrays();
        if keeps_arrays {
            if !goes_on(LONG) {
                return;
            }
            self.belongings.borrow_mut().forget_arrays();
        }
        let mut code = Vec::new();
        if let Some(after) = self.sheds_after {
            if !keeps_arrays && !goes_on(after) {
                return;
            }
            code = sys::unchanged_code();
            self.has_shed.set(Some(Instant::now()));
            sys::forget_code(&code);
        }
        // What runs before this is mapped again; so the list is not dropped first.
        sys::futex_wait(word, expected, None);
        drop(code);
    }

    fn wake(&self, word: &AtomicU32) {
        SystemFutex.wake(word);
    }
}

impl Worker {
    /// Looks for news for a while, then sleeps.
    pub(super) fn idle(&mut self, seen: u32) {
        if let Some(wish) = self.quota.look() {
            return self.ask(wish);
        }
        let (bell, slot) = (self.control.bell(), self.slot);
        let (pauses, yields) = self.yielding.budget(self.yields);
        let began = Instant::now();
        let mut turn = 0;
        let looked_out = self.looks != NEW
            && bell.look_out(slot, seen, || {
                turn += 1;
                if turn <= pauses {
                    std::hint::spin_loop();
                    return true;
                }
                if turn == pauses + yields {
                    boot::flush_output();
                }
                yields > 0 && self.yielding.give_way() && began.elapsed() < LOOKOUT
            });
        // The others look for as long as it takes until the next call, if one follows at once. Who is not needed for what comes
        // does not begin anew, or all would keep the processors from those who are.
        while !looked_out && self.looks < pauses + yields && bell.news() == seen {
            self.looks += 1;
            if self.looks <= pauses {
                std::hint::spin_loop();
            } else if !self.yielding.give_way() {
                break;
            }
        }
        if bell.news() != seen {
            return;
        }
        // What tasks printed without a line end; a killed worker would take it along.
        boot::flush_output();
        let wake = &self.control.slot(slot).wake;
        let until_next = |next: Instant| next.saturating_duration_since(began).max(IDLE);
        let sleep = Sleep {
            sheds_after: self.sheds.map(until_next),
            has_shed: Cell::new(None),
            belongings: RefCell::new(&mut self.belongings),
        };
        bell.sleep(slot, wake, seen, &sleep);
        if let Some(shed) = sleep.has_shed.get() {
            self.sheds = Some(shed + SHED);
        }
    }
}
