//! Workers that stand by, and workers that are told to leave while there is work.

use crossbeam::utils::CachePadded;
use loom::sync::Arc;
use loom::thread;

use super::{Kernel, check};
use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::dispatch::order::{Duty, Order, Wish, stand_aside};
use crate::dispatch::park::Bell;
use crate::dispatch::tasks::{TaskEntry, TaskTable};
use crate::dispatch::word::{ClaimWord, Owner};

/// Two workers with their words, and a table with one task.
struct Pool {
    entries: Vec<CachePadded<TaskEntry>>,
    head: AtomicU64,
    tail: AtomicU64,
    bell: Bell,
    duty: [Duty; 2],
    wake: [AtomicU32; 2],
    kernel: Kernel,
    runs: AtomicU32,
}

impl Pool {
    fn new(first: Order, second: Order) -> Arc<Pool> {
        let entries: Vec<CachePadded<TaskEntry>> = vec![CachePadded::default()];
        entries[0]
            .state
            .store(ClaimWord::Void.bits(), Ordering::Relaxed);
        let pool = Pool {
            entries,
            head: AtomicU64::new(0),
            tail: AtomicU64::new(0),
            bell: Bell::default(),
            duty: [Duty::default(), Duty::default()],
            wake: [AtomicU32::new(0), AtomicU32::new(0)],
            kernel: Kernel::new(),
            runs: AtomicU32::new(0),
        };
        pool.duty[0].begin(first);
        pool.duty[1].begin(second);
        Arc::new(pool)
    }

    fn table(&self) -> TaskTable<'_> {
        TaskTable {
            entries: &self.entries,
            head: &self.head,
            tail: &self.tail,
        }
    }

    fn publish(&self) {
        let (position, _) = self.table().vacant(0).expect("the table is empty");
        self.table().publish(position, 0);
        self.bell.ring(1, |slot| self.wake.get(slot), &self.kernel);
    }

    fn give(&self, slot: usize, order: Order) {
        self.duty[slot].give(order, &self.bell, &self.wake[slot], &self.kernel);
    }

    /// A worker from the moment that it is ready until it leaves. Whoever has run the task lets the other leave.
    fn serve(&self, slot: usize) {
        let duty = &self.duty[slot];
        stand_aside(&self.wake[slot], &self.kernel, || {
            duty.order() != Order::StandBy
        });
        loop {
            let news = self.bell.news();
            if duty.order() == Order::Leave {
                // A wake-up that was meant for work is passed on.
                if self.bell.has_sleepers() {
                    self.bell
                        .wake_some(1, |slot| self.wake.get(slot), &self.kernel);
                }
                return;
            }
            let owner = Owner::new(slot, 1);
            if let Some((entry, _)) = self.table().claim(owner) {
                self.runs.fetch_add(1, Ordering::Relaxed);
                let _ = self.table().finish(entry, owner);
                self.give(0, Order::Leave);
                self.give(1, Order::Leave);
                continue;
            }
            self.bell.sleep(slot, &self.wake[slot], news, &self.kernel);
        }
    }
}

fn start(pool: &Arc<Pool>, slot: usize) -> thread::JoinHandle<()> {
    let pool = Arc::clone(pool);
    thread::spawn(move || pool.serve(slot))
}

#[test]
fn a_worker_that_is_told_to_leave_loses_no_task() {
    check(2, || {
        let pool = Pool::new(Order::Serve, Order::Serve);
        let workers = [start(&pool, 0), start(&pool, 1)];
        // The bell may wake the first one, which then finds that it has to leave.
        pool.publish();
        pool.give(0, Order::Leave);
        for worker in workers {
            worker.join().expect("leaves");
        }
        assert_eq!(pool.runs.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_replacement_takes_over_what_the_one_before_left() {
    check(2, || {
        let pool = Pool::new(Order::Serve, Order::StandBy);
        let first = start(&pool, 0);
        let second = start(&pool, 1);
        pool.publish();
        pool.give(0, Order::Leave);
        first.join().expect("leaves");
        // As the watcher does: only when the first one claims nothing any more.
        if pool.runs.load(Ordering::Relaxed) == 0 {
            pool.give(1, Order::Serve);
        }
        second.join().expect("leaves");
        assert_eq!(pool.runs.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn one_that_stands_by_takes_no_wake_up_from_others() {
    check(2, || {
        let pool = Pool::new(Order::StandBy, Order::Serve);
        let workers = [start(&pool, 0), start(&pool, 1)];
        // It is in the lower slot, which the bell tries first.
        pool.publish();
        for worker in workers {
            worker.join().expect("leaves");
        }
        assert_eq!(pool.runs.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_worker_that_has_asked_stays_until_it_is_told_to_leave() {
    check(3, || {
        let pool = Pool::new(Order::Serve, Order::Serve);
        let worker = {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let duty = &pool.duty[0];
                duty.ask(Wish::MaxTasks);
                stand_aside(&pool.wake[0], &pool.kernel, || duty.order() == Order::Leave);
                assert_eq!(duty.wish(), Some(Wish::MaxTasks));
            })
        };
        pool.give(0, Order::Leave);
        worker.join().expect("leaves");
    });
}
