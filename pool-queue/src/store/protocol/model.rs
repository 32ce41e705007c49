//! Models of the store: producers, consumers, and a death after every step of a put, a get, a task that is done, and a loss.
//!
//! A dead holder's lock passes on as it is: the next one finds `busy` set and makes the index anew. Waiting has no timeout here, so a lost wake-up is a
//! deadlock. The message is the block's cell, so a block that belongs to two items is reported as a race or a wrong value.

use super::{FREE, Item, Owner, Protocol, QUEUED, Rules, Slot, Words};
use crate::atomic::{AtomicU32, AtomicU64};
use loom::sync::{Arc, Mutex};
use loom::thread;

const RULES: Rules = Rules {
    bytes: 16,
    block: 8,
    newest_first: false,
    claims: true,
    gives_back: true,
};
const ME: Owner = Owner { pid: 7, start: 1 };

struct Model {
    words: Words,
    slots: Vec<Slot>,
    heap: Vec<AtomicU32>,
    free: Vec<AtomicU32>,
    next: Vec<AtomicU32>,
    log: Vec<AtomicU64>,
    blocks: Vec<AtomicU32>,
    lock: Mutex<()>,
    rules: Rules,
}

/// After how many steps the process is killed.
#[derive(Clone, Copy)]
struct Life(u32);

impl Life {
    const LONG: Self = Self(u32::MAX);

    /// One step more; `None`: killed before it.
    fn step(&mut self) -> Option<()> {
        self.0 = self.0.checked_sub(1)?;
        Some(())
    }
}

impl Model {
    fn new(rules: Rules) -> Arc<Self> {
        fn several<T: Default>(count: usize) -> Vec<T> {
            (0..count).map(|_| T::default()).collect()
        }
        let model = Self {
            words: Words::default(),
            slots: several(2),
            heap: several(2),
            free: several(2),
            next: several(2),
            log: several(2),
            blocks: several(2),
            lock: Mutex::new(()),
            rules,
        };
        model.protocol().rebuild().unwrap();
        Arc::new(model)
    }

    fn protocol(&self) -> Protocol<'_> {
        Protocol {
            rules: self.rules,
            words: &self.words,
            slots: &self.slots,
            heap: &self.heap,
            free: &self.free,
            next: &self.next,
            log: &self.log,
        }
    }

    /// What every holder does first.
    fn repair(&self) {
        let protocol = self.protocol();
        if protocol.is_torn() {
            protocol.rebuild().unwrap();
            protocol.end();
            self.wake_all();
        }
    }

    fn wake_all(&self) {
        self.words.more.notify_all();
        self.words.room.notify_all();
        self.words.done.notify_all();
    }

    /// `Some(false)`: no room; `None`: killed.
    fn try_put(&self, value: u32, mut life: Life) -> Option<bool> {
        let protocol = self.protocol();
        let lock = self.lock.lock().unwrap();
        self.repair();
        if !protocol.has_room(8) {
            return Some(false);
        }
        life.step()?;
        protocol.begin();
        life.step()?;
        let (slot, first) = protocol.allocate(8).unwrap();
        self.blocks[first as usize].store(value, super::Ordering::Relaxed);
        life.step()?;
        protocol.commit_put(slot, 0, (8, false, first)).unwrap();
        life.step()?;
        let item = protocol.item(slot).unwrap();
        protocol.index_put(item).unwrap();
        life.step()?;
        protocol.end();
        drop(lock);
        life.step()?;
        protocol.words.more.notify(1);
        Some(true)
    }

    fn put(&self, value: u32) {
        let attempt = || {
            let worth = self.protocol().may_put(8);
            (worth && self.try_put(value, Life::LONG).unwrap()).then_some(())
        };
        self.words.room.wait_until(None, attempt).unwrap();
    }

    /// The value and its item; `Some(None)`: there is none; `None`: killed.
    fn try_get(&self, owner: Option<Owner>, mut life: Life) -> Option<Option<(u32, Item)>> {
        let protocol = self.protocol();
        let lock = self.lock.lock().unwrap();
        self.repair();
        let Some(item) = protocol.top().unwrap() else {
            return Some(None);
        };
        let value = self.blocks[item.first as usize].load(super::Ordering::Relaxed);
        life.step()?;
        protocol.begin();
        life.step()?;
        protocol.commit_take(item.slot, owner).unwrap();
        life.step()?;
        protocol.index_take(item, owner.is_none()).unwrap();
        life.step()?;
        protocol.end();
        drop(lock);
        life.step()?;
        protocol.words.room.notify_all();
        Some(Some((value, item)))
    }

    fn get(&self) -> u32 {
        let attempt = || {
            let worth = self.protocol().may_get();
            worth.then(|| self.try_get(None, Life::LONG).unwrap())?
        };
        self.words.more.wait_until(None, attempt).unwrap().0
    }

    fn finish(&self, item: Item, mut life: Life) -> Option<()> {
        let protocol = self.protocol();
        let lock = self.lock.lock().unwrap();
        self.repair();
        life.step()?;
        protocol.begin();
        life.step()?;
        protocol.commit_done(item.slot).unwrap();
        life.step()?;
        protocol.index_done(item).unwrap();
        life.step()?;
        protocol.end();
        drop(lock);
        life.step()?;
        self.wake_all();
        Some(())
    }

    fn orphan(&self, item: Item, mut life: Life) -> Option<()> {
        let protocol = self.protocol();
        let lock = self.lock.lock().unwrap();
        self.repair();
        life.step()?;
        protocol.begin();
        life.step()?;
        protocol.commit_orphan(item.slot, 7).unwrap();
        life.step()?;
        protocol.settle_orphan(item.slot).unwrap();
        life.step()?;
        if self.rules.gives_back {
            protocol.index_back(item).unwrap();
        } else {
            protocol.index_done(item).unwrap();
        }
        life.step()?;
        protocol.end();
        drop(lock);
        life.step()?;
        self.wake_all();
        Some(())
    }

    /// All that is in the queue, in order; and the index is whole.
    fn drain(&self) -> Vec<u32> {
        let mut values = Vec::new();
        while let Some((value, _)) = self.try_get(None, Life::LONG).unwrap() {
            values.push(value);
        }
        let _lock = self.lock.lock().unwrap();
        assert!((0..2).all(|slot| self.protocol().state(slot).unwrap() == FREE));
        assert_eq!(self.protocol().unfinished(), 0);
        // Everything is free: both slots and both blocks can be had.
        let places = [0; 2].map(|_| self.protocol().allocate(8).unwrap());
        assert!(places[0].0 != places[1].0 && places[0].1 != places[1].1);
        values
    }
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

#[test]
fn everything_comes_once_and_waiters_are_woken() {
    check(|| {
        let store = Model::new(RULES);
        let producer = thread::spawn({
            let store = store.clone();
            move || (1..=3).for_each(|value| store.put(value))
        });
        assert_eq!([(); 3].map(|()| store.get()), [1, 2, 3]);
        producer.join().unwrap();
        assert!(store.drain().is_empty());
    });
}

#[test]
fn two_consumers_share_the_store() {
    check(|| {
        let store = Model::new(RULES);
        let consumer = thread::spawn({
            let store = store.clone();
            move || store.get()
        });
        store.put(1);
        store.put(2);
        let sum = store.get() + consumer.join().unwrap();
        assert_eq!(sum, 3);
    });
}

#[test]
fn a_producer_killed_at_any_step_put_all_or_nothing() {
    for steps in 0..6 {
        check(move || {
            let store = Model::new(RULES);
            let dead = thread::spawn({
                let store = store.clone();
                move || {
                    store.try_put(1, Life(steps));
                    // What the next one to take the lock does, if nobody else comes for it.
                    store.wake_all();
                }
            });
            store.put(2);
            let committed = steps >= 3;
            if committed {
                // A consumer that sleeps is not forgotten: this would not end.
                assert_eq!(store.get() + store.get(), 3);
            } else {
                assert_eq!(store.get(), 2);
            }
            dead.join().unwrap();
            assert!(store.drain().is_empty());
        });
    }
}

#[test]
fn a_consumer_killed_at_any_step_takes_one_item_or_none() {
    for steps in 0..5 {
        check(move || {
            let store = Model::new(RULES);
            store.put(1);
            store.put(2);
            let dead = thread::spawn({
                let store = store.clone();
                move || {
                    store.try_get(None, Life(steps));
                    store.wake_all();
                }
            });
            let gone = steps >= 2;
            if gone {
                store.put(3); // there is room in the end
            }
            dead.join().unwrap();
            let rest = store.drain();
            assert_eq!(rest.len(), 2, "{rest:?}, gone: {gone}");
        });
    }
}

#[test]
fn a_taken_item_is_done_or_not_whenever_its_consumer_is_killed() {
    for steps in 0..5 {
        check(move || {
            let store = Model::new(RULES);
            store.put(1);
            let (_, item) = store.try_get(Some(ME), Life::LONG).unwrap().unwrap();
            let dead = thread::spawn({
                let store = store.clone();
                move || {
                    store.finish(item, Life(steps));
                }
            });
            store.put(2);
            dead.join().unwrap();
            if steps < 2 {
                // Not done: whoever finds the death gives it back, to its old place.
                store.orphan(item, Life::LONG);
                assert_eq!(store.drain(), [1, 2]);
            } else {
                assert_eq!(store.drain(), [2]);
            }
        });
    }
}

#[test]
fn an_orphan_is_logged_once_whenever_the_one_who_finds_it_is_killed() {
    for steps in 0..6 {
        for gives_back in [false, true] {
            check(move || {
                let store = Model::new(Rules {
                    gives_back,
                    ..RULES
                });
                store.put(1);
                let (_, item) = store.try_get(Some(ME), Life::LONG).unwrap().unwrap();
                let dead = thread::spawn({
                    let store = store.clone();
                    move || {
                        store.orphan(item, Life(steps));
                    }
                });
                store.put(2);
                dead.join().unwrap();
                store.drain_or_orphan(item, steps < 2);
                let losses = store.words.losses.load(super::Ordering::Relaxed);
                assert_eq!(losses, 1);
            });
        }
    }
}

impl Model {
    /// Finds the orphan if nobody has, then looks at what is left.
    fn drain_or_orphan(&self, item: Item, unfound: bool) {
        if unfound {
            self.orphan(item, Life::LONG);
        }
        let expected: &[u32] = if self.rules.gives_back { &[1, 2] } else { &[2] };
        assert_eq!(self.drain(), expected);
    }
}

#[test]
fn an_index_that_is_made_anew_is_the_one_that_was() {
    check(|| {
        let store = Model::new(RULES);
        store.put(1);
        store.put(2);
        let before = store.protocol().top().unwrap();
        store.protocol().rebuild().unwrap();
        assert_eq!(store.protocol().top().unwrap(), before);
        assert_eq!(store.protocol().state(0).unwrap(), QUEUED);
        assert_eq!(store.drain(), [1, 2]);
    });
}
