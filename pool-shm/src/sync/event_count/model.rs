//! Models of the event count: every interleaving of sleepers and publishers, with a futex that never times out, so a lost wake-up is a deadlock.

use super::EventCount;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::thread;

/// What is waited for: so many tokens, taken one at a time.
struct Tokens {
    event: EventCount,
    left: AtomicU32,
}

impl Tokens {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            event: EventCount::new(),
            left: AtomicU32::new(0),
        })
    }

    fn take(&self) {
        self.event
            .wait_until(None, || self.try_take())
            .expect("waits for ever");
    }

    fn try_take(&self) -> Option<()> {
        let left = self.left.load(Ordering::Acquire);
        let taken = left.checked_sub(1)?;
        // The strong form: a spurious failure would not be looked at again before the sleep.
        match self
            .left
            .compare_exchange(left, taken, Ordering::AcqRel, Ordering::Acquire)
        {
            Ok(_) => Some(()),
            Err(0) => None,
            Err(_) => self.try_take(),
        }
    }

    fn give(&self, count: u32) {
        self.left.fetch_add(count, Ordering::Release);
    }
}

#[test]
fn one_sleeper_is_never_forgotten() {
    loom::model(|| {
        let tokens = Tokens::new();
        let sleeper = thread::spawn({
            let tokens = tokens.clone();
            move || tokens.take()
        });
        tokens.give(1);
        tokens.event.notify_one();
        sleeper.join().expect("takes its token");
    });
}

#[test]
fn notifying_all_reaches_two_sleepers() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let tokens = Tokens::new();
        let sleepers =
            [tokens.clone(), tokens.clone()].map(|tokens| thread::spawn(move || tokens.take()));
        tokens.give(2);
        tokens.event.notify_all();
        for sleeper in sleepers {
            sleeper.join().expect("takes its token");
        }
    });
}

#[test]
fn two_single_notifications_reach_two_sleepers() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let tokens = Tokens::new();
        let sleepers =
            [tokens.clone(), tokens.clone()].map(|tokens| thread::spawn(move || tokens.take()));
        for _ in 0..2 {
            tokens.give(1);
            tokens.event.notify_one();
        }
        for sleeper in sleepers {
            sleeper.join().expect("takes its token");
        }
    });
}

#[test]
fn a_sleeper_and_two_publishers() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let tokens = Tokens::new();
        let publisher = thread::spawn({
            let tokens = tokens.clone();
            move || {
                tokens.give(1);
                tokens.event.notify_one();
            }
        });
        let sleeper = thread::spawn({
            let tokens = tokens.clone();
            move || {
                tokens.take();
                tokens.take();
            }
        });
        tokens.give(1);
        tokens.event.notify_one();
        publisher.join().expect("publishes");
        sleeper.join().expect("takes both");
    });
}
