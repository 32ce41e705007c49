//! Models of the protocols: every interleaving of two or three threads within a bound of preemptions, with deaths.
//!
//! The locks are `model_mutex`'s, what they protect is loom's cells, so that two at a time are reported as a race. Waiting has no timeout, so a lost
//! wake-up is a deadlock. Where a process dies, whoever waits for it would look by itself after a tenth of a second; `look_again` stands for that.

use super::{
    Barrier, Broke, Condition, Depth, Once, Permits, RwLock, Semaphore, Signal, Stripes, Twins,
    change_bits,
};
use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::wait::Wait;
use crate::sync::{EventCount, LockError, RawMutex};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use std::ops::Range;

/// Everything that a protocol may need.
struct World {
    lock: RawMutex,
    locks: [RawMutex; 2],
    word: AtomicU64,
    state: AtomicU32,
    wanted: AtomicU32,
    event: EventCount,
    value: UnsafeCell<u32>,
    twins: [[AtomicU32; 2]; 2],
}

// SAFETY: loom itself checks each access to the cell; that it is safe to share is what the models are to show.
unsafe impl Sync for World {}
// SAFETY: as above.
unsafe impl Send for World {}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            lock: RawMutex::new(),
            locks: [RawMutex::new(), RawMutex::new()],
            word: AtomicU64::new(0),
            state: AtomicU32::new(0),
            wanted: AtomicU32::new(0),
            event: EventCount::new(),
            value: UnsafeCell::new(0),
            twins: [(); 2].map(|()| [(); 2].map(|()| AtomicU32::new(0))),
        })
    }

    fn permits(&self, count: usize) -> Permits<'_> {
        Permits {
            locks: &self.locks[..count],
            freed: &self.event,
        }
    }

    fn rw_lock(&self) -> RwLock<'_> {
        RwLock {
            gate: &self.lock,
            locks: &self.locks,
            state: &self.state,
            wanted: &self.wanted,
        }
    }

    fn barrier(&self) -> Barrier<'_> {
        Barrier {
            gate: &self.lock,
            places: &self.locks,
            phase: &self.word,
            moved: &self.event,
        }
    }

    fn once(&self) -> Once<'_> {
        Once {
            lock: &self.lock,
            state: &self.state,
            finished: &self.event,
        }
    }

    fn depth(&self) -> Depth<'_> {
        Depth { lock: &self.lock }
    }

    fn semaphore(&self) -> Semaphore<'_> {
        Semaphore {
            count: &self.word,
            raised: &self.event,
        }
    }

    fn signal(&self) -> Signal<'_> {
        Signal {
            word: &self.state,
            raised: &self.event,
        }
    }

    fn condition(&self) -> Condition<'_> {
        Condition {
            changed: &self.event,
        }
    }

    fn add(&self, amount: u32) {
        // SAFETY: loom reports anybody else who is at it.
        self.value.with_mut(|value| unsafe { *value += amount });
    }

    fn read(&self) -> u32 {
        // SAFETY: loom reports a writer that is at it.
        self.value.with(|value| unsafe { *value })
    }

    /// What those who wait do by themselves after a while.
    fn look_again(&self) {
        self.event.notify_all();
    }
}

fn check(model: impl Fn(Arc<World>) + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(move || model(World::new()));
}

fn spawn(world: &Arc<World>, part: impl FnOnce(&World) + 'static) -> thread::JoinHandle<()> {
    let world = Arc::clone(world);
    thread::spawn(move || part(&world))
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    for thread in threads {
        thread.join().expect("no part panics");
    }
}

#[test]
fn a_permit_has_one_holder() {
    check(|world| {
        let part = |world: &World| {
            let permit = world.permits(1).acquire(0, Wait::Forever).expect("alive");
            world.add(1);
            drop(permit);
        };
        let threads = [(); 2].map(|()| spawn(&world, part));
        join(threads);
        assert_eq!(world.read(), 2);
    });
}

#[test]
fn a_permit_comes_back_from_the_dead() {
    check(|world| {
        let heir = spawn(&world, |world| {
            let permit = world.permits(1).acquire(0, Wait::Forever);
            let (permit, died) = LockError::split::<()>(permit).expect("comes back");
            assert_eq!(died, world.read() == 1);
            drop(permit);
        });
        match world.permits(1).acquire(0, Wait::No) {
            Ok(permit) => {
                world.add(1);
                permit.die();
            }
            Err(error) => assert!(matches!(error, LockError::WouldBlock)),
        }
        world.look_again();
        join([heir]);
    });
}

#[test]
fn each_unit_of_a_semaphore_is_taken_once() {
    check(|world| {
        let takers = [(); 2].map(|()| {
            spawn(&world, |world| {
                assert!(world.semaphore().acquire(Wait::Forever))
            })
        });
        world.semaphore().release(1);
        world.semaphore().release(1);
        join(takers);
        assert_eq!(world.semaphore().available(), 0);
    });
}

#[test]
fn what_came_before_a_signal_is_seen_after_it() {
    check(|world| {
        let waiter = spawn(&world, |world| {
            assert!(world.signal().wait(Wait::Forever));
            assert_eq!(world.read(), 1);
        });
        world.add(1);
        world.signal().set();
        join([waiter]);
    });
}

#[test]
fn a_signal_that_is_taken_back_reaches_who_waits() {
    check(|world| {
        let waiter = spawn(&world, |world| {
            let signal = world.signal();
            let before = signal.word.load(Ordering::Acquire);
            // From here on it waits: the other one sets the signal after this only.
            world.wanted.store(1, Ordering::Release);
            let seen = || (signal.word.load(Ordering::Acquire) != before).then_some(());
            signal
                .raised
                .wait_until(None, seen)
                .expect("waits for ever");
        });
        while world.wanted.load(Ordering::Acquire) == 0 {
            thread::yield_now();
        }
        world.signal().set();
        world.signal().clear();
        join([waiter]);
        assert!(!world.signal().is_set());
    });
}

#[test]
fn who_waits_for_a_condition_is_woken() {
    check(|world| {
        let waiter = spawn(&world, |world| {
            let mut lock = world.lock.lock().expect("nobody dies");
            while world.read() == 0 {
                lock = world
                    .condition()
                    .wait(lock, Wait::Forever)
                    .expect("nobody dies");
            }
        });
        let lock = world.lock.lock().expect("nobody dies");
        world.add(1);
        drop(lock);
        world.condition().changed.notify_one();
        join([waiter]);
    });
}

#[test]
fn it_is_done_once_and_seen_by_all() {
    check(|world| {
        let part = |world: &World| {
            let done = world.once().call::<()>(Wait::Forever, |_| world.add(1));
            done.expect("nobody is damaged");
            assert_eq!(world.read(), 1);
        };
        let caller = spawn(&world, part);
        let waiter = spawn(&world, |world| {
            assert!(world.once().wait(Wait::Forever));
            assert_eq!(world.read(), 1);
        });
        part(&world);
        join([caller, waiter]);
    });
}

#[test]
fn what_a_dead_one_began_is_done_again() {
    check(|world| {
        let dead = spawn(&world, |world| {
            // As `call`, up to the death in its action.
            if let Ok(lock) = world.lock.try_lock() {
                if !world.once().is_done() {
                    world.state.store(1, Ordering::Relaxed);
                    lock.die();
                }
            }
        });
        let done = world.once().call::<()>(Wait::Forever, |begun| {
            world.add(if begun { 10 } else { 1 });
        });
        assert!(done.expect("the death is nothing"));
        join([dead]);
        assert!(world.once().is_done());
    });
}

#[test]
fn a_lock_that_is_taken_twice_is_given_back_once() {
    check(|world| {
        let part = |world: &World| {
            assert!(!world.depth().begin::<()>(Wait::Forever).expect("alive"));
            assert!(!world.depth().begin::<()>(Wait::Forever).expect("ours"));
            world.add(1);
            // SAFETY: taken twice above.
            unsafe { world.depth().end() };
            world.add(1);
            // SAFETY: as above.
            unsafe { world.depth().end() };
        };
        let other = spawn(&world, part);
        part(&world);
        join([other]);
        assert_eq!(world.read(), 4);
    });
}

#[test]
fn the_depth_of_a_dead_holder_is_forgotten() {
    check(|world| {
        let dead = spawn(&world, |world| {
            world.depth().begin::<()>(Wait::Forever).expect("alive");
            world.depth().begin::<()>(Wait::Forever).expect("ours");
            // SAFETY: taken above; the only other guard was forgotten.
            unsafe { world.lock.resume() }.die();
        });
        let begin = || world.depth().begin::<()>(Wait::Forever).expect("in time");
        begin();
        // SAFETY: taken above.
        unsafe { world.depth().end() };
        join([dead]);
        begin();
        // SAFETY: taken above.
        unsafe { world.depth().end() };
        assert_eq!(world.lock.note().load(Ordering::Relaxed), 0);
        assert!(world.lock.try_lock().is_ok());
    });
}

#[test]
fn a_writer_is_alone() {
    check(|world| {
        let reader = spawn(&world, |world| {
            let hold = world.rw_lock().read(1, Wait::Forever).expect("alive");
            assert_eq!(world.read() % 2, 0);
            drop(hold);
        });
        for _ in 0..2 {
            let hold = world.rw_lock().write(Wait::Forever).expect("alive");
            world.add(1);
            world.add(1);
            drop(hold);
        }
        join([reader]);
    });
}

#[test]
fn two_readers_and_a_writer_get_on() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(1);
    builder.check(|| {
        let world = World::new();
        let readers = [0, 0].map(|home| {
            spawn(&world, move |world| {
                let hold = world.rw_lock().read(home, Wait::Forever).expect("alive");
                world.read();
                drop(hold);
            })
        });
        let hold = world.rw_lock().write(Wait::Forever).expect("alive");
        world.add(1);
        drop(hold);
        join(readers);
    });
}

#[test]
fn readers_are_told_of_a_dead_writer_until_one_repairs() {
    check(|world| {
        let dead = spawn(&world, |world| {
            let hold = world.rw_lock().write(Wait::Forever).expect("the first");
            world.add(1);
            hold.die();
        });
        let reading = world.rw_lock().read(0, Wait::Forever);
        let (hold, died) = LockError::split::<()>(reading).expect("in time");
        assert_eq!(died, world.read() == 1);
        drop(hold);
        join([dead]);
        let repairing = world.rw_lock().write(Wait::Forever);
        assert!(matches!(&repairing, Err(LockError::OwnerDied(_))));
        world.add(1);
        drop(repairing);
        assert!(world.rw_lock().read(0, Wait::Forever).is_ok());
    });
}

#[test]
fn a_dead_reader_stops_no_writer() {
    check(|world| {
        let dead = spawn(&world, |world| {
            let hold = world.rw_lock().read(0, Wait::Forever).expect("alive");
            world.read();
            hold.die();
        });
        let hold = world.rw_lock().write(Wait::Forever).expect("no news");
        world.add(1);
        drop(hold);
        join([dead]);
    });
}

/// Writes both halves of a twin, or dies between them.
fn write_twins(world: &World, value: u32, dies: bool) {
    let lock = world.lock.lock().or_else(LockError::recover).expect("ours");
    let twins = Twins {
        version: &world.word,
    };
    if dies {
        let twin = 1 - twins.current();
        crate::atomic::fence(Ordering::Release);
        world.twins[twin][0].store(value, Ordering::Relaxed);
        return lock.die();
    }
    twins.write(|twin| {
        for half in &world.twins[twin] {
            half.store(value, Ordering::Relaxed);
        }
    });
}

fn read_twins(world: &World) -> u32 {
    let twins = Twins {
        version: &world.word,
    };
    let halves = |twin: usize| [0, 1].map(|i| world.twins[twin][i].load(Ordering::Relaxed));
    let [first, second] = twins.read(halves);
    assert_eq!(first, second, "torn");
    first
}

#[test]
fn no_value_is_seen_torn() {
    check(|world| {
        let writer = spawn(&world, |world| {
            write_twins(world, 1, false);
            write_twins(world, 2, false);
        });
        let (first, second) = (read_twins(&world), read_twins(&world));
        assert!(first <= second);
        join([writer]);
        assert_eq!(read_twins(&world), 2);
    });
}

#[test]
fn what_a_dead_writer_began_is_never_seen() {
    check(|world| {
        let writers = spawn(&world, |world| {
            write_twins(world, 7, true);
            write_twins(world, 1, false);
        });
        assert!(read_twins(&world) <= 1);
        join([writers]);
        assert_eq!(read_twins(&world), 1);
    });
}

#[test]
fn nobody_passes_before_all_have_come() {
    check(|world| {
        let part = |world: &World| {
            world.wanted.fetch_add(1, Ordering::Relaxed);
            let turn = world.barrier().wait(Wait::Forever, || world.add(1));
            assert_eq!(world.wanted.load(Ordering::Relaxed), 2);
            assert_eq!(world.read(), 1);
            turn.expect("all come");
        };
        let other = spawn(&world, part);
        part(&world);
        join([other]);
    });
}

#[test]
fn two_rounds_do_not_mix() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(1);
    builder.check(|| {
        let world = World::new();
        let part = |world: &World| {
            for round in 1..=2 {
                world.wanted.fetch_add(1, Ordering::Relaxed);
                let turn = world.barrier().wait(Wait::Forever, || ());
                turn.expect("all come");
                assert!(world.wanted.load(Ordering::Relaxed) >= 2 * round);
            }
        };
        let other = spawn(&world, part);
        part(&world);
        join([other]);
        assert_eq!(world.barrier().count(), Ok(0));
    });
}

#[test]
fn one_that_died_waiting_has_never_come() {
    check(|world| {
        let dead = spawn(&world, |world| world.barrier().come_and_die());
        join([dead]);
        let other = spawn(&world, |world| {
            let turn = world.barrier().wait(Wait::Forever, || world.add(1));
            turn.expect("two living come");
        });
        let turn = world.barrier().wait(Wait::Forever, || world.add(1));
        turn.expect("two living come");
        join([other]);
        assert_eq!(world.read(), 1);
    });
}

#[test]
fn one_that_dies_in_the_action_breaks_it() {
    check(|world| {
        let waiter = spawn(&world, |world| {
            let turn = world.barrier().wait(Wait::Forever, || ());
            assert_eq!(turn, Err(Broke::Broken));
        });
        world.barrier().lead_and_die();
        world.look_again();
        join([waiter]);
        assert!(world.barrier().is_broken());
    });
}

#[test]
fn an_abort_reaches_who_waits_and_who_comes() {
    check(|world| {
        let waiter = spawn(&world, |world| {
            let turn = world.barrier().wait(Wait::Forever, || ());
            assert_eq!(turn, Err(Broke::Broken));
        });
        world.barrier().abort().expect("nobody is damaged");
        join([waiter]);
    });
}

#[test]
fn each_stripe_of_a_dead_holder_is_reported_until_it_is_covered() {
    check(|world| {
        let stripes = |world: &World, which: Range<usize>, covered: Range<usize>| {
            let locks = &world.locks[which];
            let hold = Stripes { locks, covered }.lock(Wait::Forever);
            LockError::split::<()>(hold).expect("in time").1
        };
        let dead = spawn(&world, |world| {
            let stripes = Stripes {
                locks: &world.locks,
                covered: 0..2,
            };
            let hold = stripes.lock(Wait::Forever).or_else(LockError::recover);
            world.add(1);
            hold.expect("in time").die();
        });
        let second = Stripes {
            locks: &world.locks[1..],
            covered: 0..1,
        };
        let hold = LockError::split::<()>(second.lock(Wait::Forever));
        let (hold, told) = hold.expect("in time");
        assert_eq!(told, world.read() == 1);
        drop(hold);
        join([dead]);
        assert!(stripes(&world, 0..1, 0..0), "the first is told");
        assert!(
            stripes(&world, 0..1, 0..1),
            "and again, as it was not covered"
        );
        assert!(!stripes(&world, 0..1, 0..0), "but not after that");
        assert_eq!(stripes(&world, 0..2, 0..2), !told);
        assert!(!stripes(&world, 0..2, 0..2));
    });
}

/// Adds to the float in the word, and says before what was added.
fn add_float(world: &World, value: u32) -> f64 {
    world.wanted.fetch_add(value, Ordering::Relaxed);
    let sum = |bits| f64::from_bits(bits) + f64::from(value);
    f64::from_bits(change_bits!(world.word, |bits| sum(bits).to_bits()))
}

#[test]
fn additions_of_floats_lose_nothing_and_show_what_came_before() {
    check(|world| {
        let adds = [1, 2].map(|value| {
            spawn(&world, move |world| {
                let before = add_float(world, value);
                assert!(before == 0.0 || before == f64::from(3 - value));
            })
        });
        let seen = f64::from_bits(world.word.load(Ordering::Acquire));
        assert!(f64::from(world.wanted.load(Ordering::Relaxed)) >= seen);
        join(adds);
        let sum = f64::from_bits(world.word.load(Ordering::Acquire));
        assert_eq!(sum, 3.0);
    });
}
