//! The end of a pool: a worker that sleeps, runs, or dies meanwhile, a caller that waits, and the watcher that ends both.

use loom::sync::Arc;
use loom::thread;

use super::check;
use super::tasks::Pool;
use crate::atomic::{AtomicU32, Ordering};
use crate::dispatch::word::{ClaimWord, Owner};
use crate::inject::model::mortal;

struct Ending {
    pool: Arc<Pool>,
    /// 1: no worker lives any more.
    buried: AtomicU32,
}

impl Ending {
    fn new() -> Arc<Ending> {
        Arc::new(Ending {
            pool: Pool::new(),
            buried: AtomicU32::new(0),
        })
    }

    /// Waits as a caller does: the result, or none because the pool has ended.
    fn wait(&self, entry: usize) -> Option<u64> {
        loop {
            let seen = self.pool.event.seen();
            if self.pool.is_done(entry) {
                return Some(self.pool.take(entry));
            }
            if self.buried.load(Ordering::Acquire) != 0 {
                return None;
            }
            let before = self.pool.table().announce_sleep(entry);
            if !matches!(before, ClaimWord::Done(_)) {
                self.pool.event.wait(seen);
            }
        }
    }

    /// What the watcher does when the last worker has ended.
    fn bury(&self) {
        self.buried.store(1, Ordering::Release);
        self.pool.event.signal();
    }
}

/// The pool is ended while a worker, which dies at its `fuel`-th step if that comes, serves and a caller waits.
fn end(fuel: u32) {
    let ending = Ending::new();
    let entry = ending.pool.publish(1);
    let worker = {
        let ending = ending.clone();
        thread::spawn(move || mortal(fuel, || ending.pool.serve(0)))
    };
    let caller = {
        let ending = ending.clone();
        thread::spawn(move || ending.wait(entry))
    };
    ending.pool.shut_down();
    let ended = worker.join().expect("leaves or dies");
    ending.bury();
    let result = caller.join().expect("ends");
    let word = ending.pool.table().word(entry);
    match result {
        // Taken: the entry is free for others.
        Some(value) => assert_eq!((value, word), (10, ClaimWord::Void)),
        None if ended => assert!(
            // Not begun, or done when the caller had looked.
            matches!(word, ClaimWord::Free { first: 0 } | ClaimWord::Done(_))
        ),
        None => assert_ne!(word, ClaimWord::Void),
    }
    // Nobody is left who would run it.
    assert!(!matches!(word, ClaimWord::Claimed(owner) if ended && owner == Owner::new(0, 1)));
}

#[test]
fn a_caller_ends_with_its_result_or_with_the_pool() {
    check(2, || end(u32::MAX));
}

#[test]
fn a_caller_ends_with_the_pool_though_a_worker_dies_meanwhile() {
    for fuel in 0..4 {
        check(2, move || end(fuel));
    }
}
