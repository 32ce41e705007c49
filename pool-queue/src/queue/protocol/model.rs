//! Models of the ring: every interleaving of producers, consumers, a close and a death, on a ring of two units.
//!
//! The slots are loom's cells, so a message that is read before it is visible, or written over before it was read, is reported as a race. Waiting has no
//! timeout here, so a lost wake-up is a deadlock.

use super::{End, Gate, Position, Protocol, Shape, Stock};
use crate::atomic::{AtomicU32, AtomicU64};
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread;
use pool_shm::sync::EventCount;

const SHAPE: Shape = Shape { items: 2, units: 2 };

struct Model {
    put: End,
    get: End,
    gate: Gate,
    put_lock: Mutex<()>,
    get_lock: Mutex<()>,
    slots: [UnsafeCell<u32>; 2],
}

// SAFETY: loom itself checks each access to the cells; that they are safe to share is what the models are to show.
unsafe impl Sync for Model {}
// SAFETY: as above.
unsafe impl Send for Model {}

/// Where a process is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Killed {
    /// With the lock, the message written (or read), nothing published.
    BeforeTheStore,
    /// With the lock, everything stored, nobody woken.
    AfterTheStore,
}

impl Model {
    fn new() -> Arc<Self> {
        let end = || End {
            position: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            moved: EventCount::new(),
        };
        Arc::new(Self {
            put: end(),
            get: end(),
            gate: Gate {
                closed: AtomicU32::new(0),
            },
            put_lock: Mutex::new(()),
            get_lock: Mutex::new(()),
            slots: [UnsafeCell::new(0), UnsafeCell::new(0)],
        })
    }

    fn protocol(&self) -> Protocol<'_> {
        Protocol {
            shape: SHAPE,
            put: &self.put,
            get: &self.get,
            gate: &self.gate,
        }
    }

    fn slot(&self, at: Position) -> &UnsafeCell<u32> {
        &self.slots[SHAPE.offset(at)]
    }

    fn put(&self, value: u32) {
        let done = self
            .protocol()
            .get
            .moved
            .wait_until(None, || self.try_put(value, None));
        done.expect("waits for ever");
    }

    fn try_put(&self, value: u32, killed: Option<Killed>) -> Option<()> {
        let protocol = self.protocol();
        let lock = self.put_lock.lock().unwrap();
        let tail = protocol.tail();
        if !protocol.has_room(tail, 1).unwrap() {
            return None;
        }
        // SAFETY: the pointer is that of a living cell; loom reports a race.
        let write = |slot: *mut u32| unsafe { *slot = value };
        self.slot(tail).with_mut(write);
        if killed == Some(Killed::BeforeTheStore) {
            return None;
        }
        protocol.publish(SHAPE.advance(tail, 1));
        drop(lock);
        if killed.is_none() {
            protocol.put.moved.notify(1);
        }
        Some(())
    }

    /// A value, or `None` when the queue is closed and empty.
    fn get(&self) -> Option<u32> {
        self.get_after(|| self.protocol().may_get())
    }

    /// The same without the look before the lock: what another consumer's get may make of it.
    fn get_blindly(&self) -> Option<u32> {
        self.get_after(|| true)
    }

    fn get_after(&self, hint: impl Fn() -> bool) -> Option<u32> {
        let attempt = || hint().then(|| self.try_get(None)).flatten();
        let got = self.protocol().put.moved.wait_until(None, attempt);
        got.expect("waits for ever")
    }

    fn try_get(&self, killed: Option<Killed>) -> Option<Option<u32>> {
        let protocol = self.protocol();
        let lock = self.get_lock.lock().unwrap();
        let head = match protocol.stock().unwrap() {
            Stock::Some(head, _) => head,
            Stock::Empty => return None,
            Stock::Closed => return Some(None),
        };
        // SAFETY: the pointer is that of a living cell; loom reports a race.
        let read = |slot: *const u32| unsafe { *slot };
        let value = self.slot(head).with(read);
        if killed == Some(Killed::BeforeTheStore) {
            return None;
        }
        protocol.release(SHAPE.advance(head, 1));
        drop(lock);
        if killed.is_none() {
            protocol.get.moved.notify_all();
        }
        Some(Some(value))
    }

    fn close(&self) {
        let lock = self.put_lock.lock().unwrap();
        self.protocol().close();
        drop(lock);
        self.wake_all();
    }

    /// What the next holder of a dead process's lock does.
    fn wake_all(&self) {
        self.put.moved.notify_all();
        self.get.moved.notify_all();
    }
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

#[test]
fn everything_comes_once_and_in_order() {
    check(|| {
        let queue = Model::new();
        let producer = thread::spawn({
            let queue = queue.clone();
            move || (1..=3).for_each(|value| queue.put(value))
        });
        assert_eq!([(); 3].map(|()| queue.get()), [1, 2, 3].map(Some));
        producer.join().unwrap();
    });
}

#[test]
fn two_producers_share_the_ring() {
    check(|| {
        let queue = Model::new();
        let producers = [1, 2].map(|value| {
            let queue = queue.clone();
            thread::spawn(move || queue.put(value))
        });
        let sum: u32 = (0..2).filter_map(|_| queue.get()).sum();
        assert_eq!(sum, 3);
        producers.map(|producer| producer.join().unwrap());
    });
}

#[test]
fn two_consumers_share_the_ring() {
    check(|| {
        let queue = Model::new();
        let consumers = [(); 2].map(|()| {
            let queue = queue.clone();
            thread::spawn(move || queue.get().unwrap())
        });
        queue.put(1);
        queue.put(2);
        let got: u32 = consumers
            .map(|consumer| consumer.join().unwrap())
            .iter()
            .sum();
        assert_eq!(got, 3);
    });
}

#[test]
fn closing_loses_nothing_and_wakes_the_consumer() {
    check(|| {
        let queue = Model::new();
        let producer = thread::spawn({
            let queue = queue.clone();
            move || {
                queue.put(1);
                queue.close();
            }
        });
        assert_eq!(queue.get_blindly(), Some(1));
        assert_eq!(queue.get_blindly(), None);
        producer.join().unwrap();
    });
}

#[test]
fn a_producer_killed_before_the_store_put_nothing() {
    check(|| {
        let queue = Model::new();
        let dead = thread::spawn({
            let queue = queue.clone();
            move || {
                queue.try_put(9, Some(Killed::BeforeTheStore));
                // The next one to lock finds out and wakes everybody; then it puts its own.
                queue.wake_all();
                queue.put(1);
            }
        });
        assert_eq!(queue.get(), Some(1));
        assert!(queue.try_get(None).is_none());
        dead.join().unwrap();
    });
}

#[test]
fn a_producer_killed_after_the_store_has_put() {
    check(|| {
        let queue = Model::new();
        let dead = thread::spawn({
            let queue = queue.clone();
            move || {
                queue.try_put(1, Some(Killed::AfterTheStore)).unwrap();
                queue.wake_all();
            }
        });
        assert_eq!(queue.get(), Some(1));
        dead.join().unwrap();
    });
}

#[test]
fn what_a_killed_consumer_had_not_taken_goes_to_another() {
    check(|| {
        let queue = Model::new();
        queue.put(1);
        let dead = thread::spawn({
            let queue = queue.clone();
            move || queue.try_get(Some(Killed::BeforeTheStore))
        });
        assert_eq!(queue.get(), Some(1));
        assert_eq!(dead.join().unwrap(), None);
    });
}

#[test]
fn the_room_that_a_killed_consumer_made_is_found() {
    check(|| {
        let queue = Model::new();
        queue.put(1);
        queue.put(2);
        let dead = thread::spawn({
            let queue = queue.clone();
            move || {
                queue.try_get(Some(Killed::AfterTheStore)).unwrap();
                queue.wake_all();
            }
        });
        queue.put(3);
        assert_eq!([(); 2].map(|()| queue.get()), [2, 3].map(Some));
        dead.join().unwrap();
    });
}
