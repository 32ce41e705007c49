//! Models of a wait for two events: every interleaving of it with those who publish and those who wait for one of them only. No sleep times out
//! here, so a lost wake-up is a deadlock.

use super::{Ready, wait};
use crate::atomic::{AtomicU32, Ordering};
use loom::sync::Arc;
use loom::thread;
use pool_shm::sync::EventCount;

/// So many tokens, taken one at a time, as a queue's messages are.
struct Source {
    event: EventCount,
    left: AtomicU32,
}

impl Source {
    fn new() -> Self {
        Self {
            event: EventCount::new(),
            left: AtomicU32::new(0),
        }
    }

    fn put(&self) {
        self.left.fetch_add(1, Ordering::Release);
        self.event.notify_one();
    }

    fn try_get(&self) -> Option<()> {
        let left = self.left.load(Ordering::Acquire);
        let taken = left.checked_sub(1)?;
        let exchanged =
            (self.left).compare_exchange(left, taken, Ordering::AcqRel, Ordering::Acquire);
        match exchanged {
            Ok(_) => Some(()),
            Err(0) => None,
            Err(_) => self.try_get(),
        }
    }

    fn get(&self) {
        let got = self.event.wait_until(None, || self.try_get());
        got.expect("waits for ever");
    }
}

impl Ready for Source {
    fn event(&self) -> &EventCount {
        &self.event
    }

    fn is_ready(&self, _thorough: bool) -> bool {
        self.left.load(Ordering::Acquire) > 0
    }
}

fn two() -> Arc<[Source; 2]> {
    Arc::new([Source::new(), Source::new()])
}

/// Takes one token of either, looking at number `first` first.
fn select(sources: &[Source; 2], first: usize) {
    let both = [&sources[0], &sources[1]];
    loop {
        let found = wait(&both, first, None).expect("waits for ever");
        if sources[found].try_get().is_some() {
            return;
        }
    }
}

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(model);
}

#[test]
fn either_of_two_publishers_is_heard() {
    for which in [0, 1] {
        loom::model(move || {
            let sources = two();
            let waiter = thread::spawn({
                let sources = sources.clone();
                move || select(&sources, 0)
            });
            sources[which].put();
            waiter.join().expect("takes the token");
        });
    }
}

#[test]
fn both_publishers_are_heard_one_after_the_other() {
    check(|| {
        let sources = two();
        let publisher = thread::spawn({
            let sources = sources.clone();
            move || sources[0].put()
        });
        let waiter = thread::spawn({
            let sources = sources.clone();
            move || {
                select(&sources, 0);
                select(&sources, 1);
            }
        });
        sources[1].put();
        publisher.join().expect("publishes");
        waiter.join().expect("takes both");
    });
}

/// The notification of a token that the waiter does not take may have woken it, and nobody else.
#[test]
fn what_woke_the_wait_and_is_left_is_told_to_who_waits_for_it_alone() {
    check(|| {
        let sources = two();
        let waiter = thread::spawn({
            let sources = sources.clone();
            move || select(&sources, 1)
        });
        let other = thread::spawn({
            let sources = sources.clone();
            move || sources[0].get()
        });
        sources[0].put();
        sources[1].put();
        waiter.join().expect("takes one");
        // If the waiter has taken the token that the other waits for, there is one left for nobody.
        if sources[1].try_get().is_some() {
            sources[0].put();
        }
        other.join().expect("takes one");
    });
}
