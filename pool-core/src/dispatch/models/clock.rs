//! The clock of items with a deadline: a worker that runs two of them, and a pool that judges.

use loom::sync::Arc;
use loom::thread;

use super::check;
use crate::atomic::{AtomicU32, Ordering};
use crate::dispatch::clock::{Clock, Stopped, Verdict};
use crate::inject::model::mortal;

#[derive(Default)]
struct Pool {
    clock: Clock,
    /// Items that were begun, and items whose result was sent.
    begun: AtomicU32,
    sent: AtomicU32,
}

impl Pool {
    /// Runs two items, due at 10 and at 20. Whether it was found late.
    fn work(&self) -> bool {
        for item in 1..=2 {
            self.begun.store(item, Ordering::Release);
            if self.clock.start(u64::from(item) * 10) == Stopped::Late {
                return true;
            }
            if self.clock.stop() == Stopped::Late {
                return true;
            }
            self.sent.store(item, Ordering::Release);
        }
        false
    }
}

/// The pool judges at time `now` while the worker runs, and dies at its `fuel`-th step if it has one.
fn judge_at(now: u64, fuel: Option<u32>) {
    let pool = Arc::new(Pool::default());
    let worker = {
        let pool = pool.clone();
        thread::spawn(move || {
            let mut late = false;
            let ended = mortal(fuel.unwrap_or(u32::MAX), || late = pool.work());
            (ended, late)
        })
    };
    let verdict = pool.clock.judge(now);
    // The watcher kills a worker that it finds late, and looks at its account when it has ended.
    let (ended, stopped) = worker.join().expect("ends");
    let (begun, sent) = (
        pool.begun.load(Ordering::Acquire),
        pool.sent.load(Ordering::Acquire),
    );
    if verdict == Verdict::Late {
        assert_eq!(
            begun,
            sent + 1,
            "the late item is the last, and has no result"
        );
        assert!(
            u64::from(begun) * 10 <= now,
            "item {begun} was not due at {now}"
        );
        assert!(stopped || !ended);
        assert_eq!(pool.clock.judge(0), Verdict::Late, "a verdict stands");
    } else {
        assert!(!stopped);
        assert!(!ended || sent == 2);
    }
    pool.clock.reset();
    assert_eq!(pool.clock.judge(u64::MAX / 2), Verdict::Idle);
}

#[test]
fn an_item_is_either_late_or_has_its_result() {
    for now in [5, 10, 25] {
        check(3, move || judge_at(now, None));
    }
}

#[test]
fn a_worker_that_dies_beside_the_verdict_loses_one_item() {
    for fuel in 0..2 {
        check(3, move || judge_at(25, Some(fuel)));
    }
}
