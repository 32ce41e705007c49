//! Joining a job while the pool closes it and uses its memory for the next one.

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::check;
use crate::atomic::{AtomicU64, Ordering};
use crate::dispatch::join;

/// A place for jobs whose memory is no atomic, so that loom sees every access that is not ordered.
struct Place {
    number: AtomicU64,
    joined: [AtomicU64; 2],
    memory: UnsafeCell<u64>,
}

impl Place {
    /// With job 1 open.
    fn new() -> Arc<Place> {
        let place = Place {
            number: AtomicU64::new(0),
            joined: [AtomicU64::new(0), AtomicU64::new(0)],
            memory: UnsafeCell::new(0),
        };
        place.describe(1);
        join::open(&place.number, 1);
        Arc::new(place)
    }

    fn describe(&self, number: u64) {
        // SAFETY: nobody reads while the job is not open and the last one is quiet; loom checks it.
        self.memory.with_mut(|memory| unsafe { *memory = number });
    }

    /// Worker `slot` looks in.
    fn visit(&self, slot: usize) {
        let joined = &self.joined[slot];
        if let Some(number) = join::join(&self.number, joined) {
            // SAFETY: the job was joined; loom checks that nobody writes.
            let found = self.memory.with(|memory| unsafe { *memory });
            assert_eq!(
                found, number,
                "the job that was joined is the one described"
            );
            join::leave(joined);
        }
    }

    fn is_quiet(&self, number: u64) -> bool {
        !join::is_joined(self.joined.iter(), number)
    }
}

#[test]
fn the_memory_of_a_closed_job_is_used_again_only_when_nobody_is_in_it() {
    check(3, || {
        let place = Place::new();
        let workers = [0, 1].map(|slot| {
            let place = place.clone();
            thread::spawn(move || {
                place.visit(slot);
                place.visit(slot);
            })
        });
        join::close(&place.number);
        if place.is_quiet(1) {
            place.describe(2);
            join::open(&place.number, 2);
        }
        for worker in workers {
            worker.join().expect("reads what it joined");
        }
        assert!(place.is_quiet(1) && place.is_quiet(2));
    });
}

#[test]
fn a_worker_that_went_on_to_another_job_has_left_the_first() {
    check(3, || {
        let (first, second) = (Place::new(), Arc::new(AtomicU64::new(7)));
        let worker = {
            let (first, second) = (first.clone(), second.clone());
            thread::spawn(move || {
                first.visit(0);
                if join::join(&second, &first.joined[0]).is_some() {
                    join::leave(&first.joined[0]);
                }
            })
        };
        join::close(&first.number);
        if first.is_quiet(1) {
            first.describe(2);
        }
        worker.join().expect("reads what it joined");
        assert_eq!(second.load(Ordering::Relaxed), 7);
    });
}
