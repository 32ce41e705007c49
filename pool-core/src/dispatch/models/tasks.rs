//! The table of single tasks: two entries, workers that claim and sleep, and callers that wait.

use crossbeam::utils::CachePadded;
use loom::sync::Arc;
use loom::thread;

use super::{Event, Kernel, check};
use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::dispatch::park::Bell;
use crate::dispatch::tasks::{Finished, TaskEntry, TaskTable};
use crate::dispatch::word::{ClaimWord, Owner};
use crate::inject::model::mortal;

pub(super) struct Pool {
    entries: Vec<CachePadded<TaskEntry>>,
    head: AtomicU64,
    tail: AtomicU64,
    bell: Bell,
    wake: [AtomicU32; 2],
    kernel: Kernel,
    pub(super) event: Event,
    leave: AtomicU32,
    /// 1: a worker has found that its task was taken away.
    killed: AtomicU32,
}

impl Pool {
    pub(super) fn new() -> Arc<Pool> {
        let entries: Vec<CachePadded<TaskEntry>> = (0..2).map(|_| CachePadded::default()).collect();
        for entry in &entries {
            entry.state.store(ClaimWord::Void.bits(), Ordering::Relaxed);
        }
        Arc::new(Pool {
            entries,
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            bell: Bell::default(),
            wake: [AtomicU32::new(0), AtomicU32::new(0)],
            kernel: Kernel::new(),
            event: Event::new(),
            leave: AtomicU32::new(0),
            killed: AtomicU32::new(0),
        })
    }

    pub(super) fn table(&self) -> TaskTable<'_> {
        TaskTable {
            entries: &self.entries,
            head: &self.head,
            tail: &self.tail,
        }
    }

    /// Publishes a task that turns `argument` into ten times as much; its entry.
    pub(super) fn publish(&self, argument: u64) -> usize {
        let (position, entry) = self
            .table()
            .vacant(self.tail.load(Ordering::Relaxed))
            .expect("two entries are enough");
        self.entries[entry].arg[0].store(argument, Ordering::Relaxed);
        self.table().publish(position, 0);
        self.ring();
        entry
    }

    fn ring(&self) {
        self.bell.ring(1, |slot| self.wake.get(slot), &self.kernel);
    }

    /// Runs one task if there is one.
    pub(super) fn run(&self, owner: Owner) -> bool {
        let Some((entry, first)) = self.table().claim(owner) else {
            return false;
        };
        assert_eq!(first, 0);
        let task = &self.entries[entry];
        let argument = task.arg[0].load(Ordering::Relaxed);
        task.result[0].store(argument * 10, Ordering::Relaxed);
        match self.table().finish(entry, owner) {
            Finished::WakePool => self.event.signal(),
            Finished::Quietly => {}
            // The process ends here.
            Finished::Revoked => self.killed.store(1, Ordering::Release),
        }
        true
    }

    pub(super) fn serve(&self, slot: usize) {
        loop {
            let news = self.bell.news();
            if self.leave.load(Ordering::Acquire) != 0 {
                return;
            }
            if !self.run(Owner::new(slot, 1)) {
                self.bell.sleep(slot, &self.wake[slot], news, &self.kernel);
            }
        }
    }

    pub(super) fn is_done(&self, entry: usize) -> bool {
        matches!(self.table().word(entry), ClaimWord::Done(_))
    }

    /// Waits as a caller does, and takes the result.
    pub(super) fn take(&self, entry: usize) -> u64 {
        loop {
            let seen = self.event.seen();
            if self.is_done(entry) {
                break;
            }
            let before = self.table().announce_sleep(entry);
            if matches!(before, ClaimWord::Done(_)) || self.is_done(entry) {
                break;
            }
            self.event.wait(seen);
        }
        let result = self.entries[entry].result[0].load(Ordering::Relaxed);
        self.table().vacate(entry);
        result
    }

    pub(super) fn shut_down(&self) {
        self.leave.store(1, Ordering::Release);
        self.bell.ring_all(self.wake.iter(), &self.kernel);
    }
}

#[test]
fn a_caller_gets_its_result_and_sleeping_workers_leave() {
    check(3, || {
        let pool = Pool::new();
        let worker = {
            let pool = pool.clone();
            thread::spawn(move || pool.serve(0))
        };
        let entry = pool.publish(1);
        assert_eq!(pool.take(entry), 10);
        // The entry is used again, behind the first position.
        let entry = pool.publish(2);
        assert_eq!(pool.take(entry), 20);
        assert!(!pool.table().has_work());
        pool.shut_down();
        worker.join().expect("leaves");
    });
}

#[test]
fn two_workers_run_two_tasks_once_each() {
    check(2, || {
        let pool = Pool::new();
        let workers = [0, 1].map(|slot| {
            let pool = pool.clone();
            thread::spawn(move || {
                let owner = Owner::new(slot, 1);
                (0..2).filter(|_| pool.run(owner)).count()
            })
        });
        let entries = [pool.publish(1), pool.publish(2)];
        let ran: usize = workers
            .into_iter()
            .map(|worker| worker.join().expect("runs"))
            .sum();
        let done = entries.iter().filter(|entry| pool.is_done(**entry)).count();
        assert_eq!(ran, done, "each task that was run is done, and only once");
        // Whatever was published too late for them is still there to be run.
        while pool.run(Owner::new(0, 2)) {}
        assert_eq!(entries.map(|entry| pool.take(entry)), [10, 20]);
    });
}

#[test]
fn a_task_is_either_withdrawn_or_run() {
    check(3, || {
        let pool = Pool::new();
        let entry = pool.publish(1);
        let worker = {
            let pool = pool.clone();
            thread::spawn(move || pool.run(Owner::new(0, 1)))
        };
        let withdrawn = pool.table().withdraw(entry);
        // A withdrawn entry holds another task at once.
        let next = withdrawn.then(|| pool.publish(5));
        let ran = worker.join().expect("runs or finds nothing");
        if !withdrawn {
            assert!(ran);
            assert_eq!(pool.take(entry), 10);
        } else if let Some(next) = next {
            while pool.run(Owner::new(0, 2)) {}
            assert_eq!(pool.take(next), 50);
        }
    });
}

#[test]
fn a_running_task_is_either_done_or_taken_away() {
    check(3, || {
        let pool = Pool::new();
        let entry = pool.publish(1);
        let worker = {
            let pool = pool.clone();
            thread::spawn(move || pool.run(Owner::new(0, 1)))
        };
        // Somebody sleeps on it, whichever way it ends.
        pool.table().announce_sleep(entry);
        let withdrawn = pool.table().withdraw(entry);
        let revoked = !withdrawn && pool.table().revoke(entry, Owner::new(0, 1));
        let ran = worker.join().expect("runs or finds nothing");
        let killed = pool.killed.load(Ordering::Acquire) == 1;
        assert_eq!(revoked, killed, "who loses its task knows, and nobody else");
        if withdrawn {
            assert!(!ran && pool.table().word(entry) == ClaimWord::Void);
        } else if revoked {
            assert!(!pool.is_done(entry), "what was taken away is never done");
            // Nobody claims it, and it is no place for another task before it is settled.
            assert!(!pool.run(Owner::new(1, 1)));
            assert_eq!(pool.table().word(entry), ClaimWord::Revoked);
            pool.table().vacate(entry);
        } else {
            assert!(ran);
            assert_eq!(pool.take(entry), 10);
        }
    });
}

/// A caller waits for a task whose worker dies at its `fuel`-th step; the watcher has it run again in another entry.
fn die_at(fuel: u32) {
    let pool = Pool::new();
    // What the book says: where the task stands.
    let place = Arc::new(AtomicU32::new(pool.publish(1) as u32));
    let watcher = {
        let (pool, place) = (pool.clone(), place.clone());
        // The thread is the worker until it is dead; after that it is the pool's watcher, and another worker.
        thread::spawn(move || {
            let ended = mortal(fuel, || {
                pool.run(Owner::new(0, 1));
            });
            let held: Vec<usize> = pool.table().held_by(Owner::new(0, 1)).collect();
            assert!(!ended || held.is_empty());
            for entry in held {
                pool.table().vacate(entry);
                place.store(pool.publish(1) as u32, Ordering::Release);
            }
            if !ended {
                pool.event.signal();
            }
            while pool.run(Owner::new(0, 2)) {}
        })
    };
    loop {
        let seen = pool.event.seen();
        let entry = place.load(Ordering::Acquire) as usize;
        if pool.is_done(entry) {
            break;
        }
        pool.table().announce_sleep(entry);
        if !pool.is_done(entry) {
            pool.event.wait(seen);
        }
    }
    watcher.join().expect("ends");
    assert_eq!(pool.take(place.load(Ordering::Acquire) as usize), 10);
}

#[test]
fn a_sleeper_learns_of_a_task_whose_worker_died_at_any_step() {
    for fuel in 0..4 {
        check(3, move || die_at(fuel));
    }
}
