//! Sleeping workers and the pool's bell.

use loom::sync::Arc;
use loom::thread;

use super::{Kernel, check};
use crate::atomic::{AtomicU32, Ordering};
use crate::dispatch::park::Bell;

/// Two workers, each with a kernel queue of its own, and tokens to take.
struct Hall {
    bell: Bell,
    wake: [AtomicU32; 2],
    kernel: Kernel,
    tokens: AtomicU32,
}

impl Hall {
    fn new() -> Arc<Hall> {
        Arc::new(Hall {
            bell: Bell::default(),
            wake: [AtomicU32::new(0), AtomicU32::new(0)],
            kernel: Kernel::new(),
            tokens: AtomicU32::new(0),
        })
    }

    /// Sleeps as a worker does until it gets a token; before it sleeps it looks out, if nobody else does.
    fn take(&self, slot: usize) {
        loop {
            let news = self.bell.news();
            // As relaxed as can be: that it is seen has to come from the bell.
            let seen = self.tokens.load(Ordering::Relaxed);
            if seen > 0 {
                let taken = self.tokens.compare_exchange(
                    seen,
                    seen - 1,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                if taken.is_ok() {
                    return;
                }
                continue;
            }
            self.bell.look_out(slot, news, || false);
            self.bell.sleep(slot, &self.wake[slot], news, &self.kernel);
        }
    }

    fn give(&self, wanted: u32) {
        self.tokens.fetch_add(wanted, Ordering::Relaxed);
        self.bell
            .ring(wanted, |slot| self.wake.get(slot), &self.kernel);
    }
}

#[test]
fn a_worker_never_sleeps_through_a_ring() {
    check(3, || {
        let hall = Hall::new();
        let worker = {
            let hall = hall.clone();
            thread::spawn(move || hall.take(0))
        };
        hall.give(1);
        worker.join().expect("gets its token");
        assert!(!hall.bell.has_sleepers());
    });
}

#[test]
fn two_rings_of_one_reach_two_workers() {
    check(2, || {
        let hall = Hall::new();
        let workers = [0, 1].map(|slot| {
            let hall = hall.clone();
            thread::spawn(move || hall.take(slot))
        });
        hall.give(1);
        hall.give(1);
        for worker in workers {
            worker.join().expect("gets its token");
        }
    });
}

#[test]
fn a_lookout_that_died_holds_nobody_up() {
    check(3, || {
        let hall = Hall::new();
        hall.bell.lookout.store(2, Ordering::Relaxed); // it was killed before it gave up
        let worker = {
            let hall = hall.clone();
            thread::spawn(move || hall.take(0))
        };
        hall.give(1); // counts on the dead
        hall.bell.forget(1);
        hall.bell.ring_all(hall.wake.iter(), &hall.kernel);
        worker.join().expect("gets its token");
        assert_eq!(hall.bell.lookout.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn a_ring_of_all_reaches_sleepers_whose_mark_somebody_took_to_the_grave() {
    check(3, || {
        let hall = Hall::new();
        let worker = {
            let hall = hall.clone();
            thread::spawn(move || hall.take(0))
        };
        // Somebody takes the marks and dies before the wake-ups.
        hall.bell.wake_some(2, |_| None, &hall.kernel);
        hall.tokens.fetch_add(1, Ordering::Relaxed);
        hall.bell.ring_all(hall.wake.iter(), &hall.kernel);
        worker.join().expect("gets its token");
    });
}
