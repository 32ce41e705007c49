//! Deaths of those who wait for each other.

use crate::harness::{
    Board, Child, LIMIT, Leftovers, Part, argument, kill_at_random, until_killed,
};
use pool_shm::sync::{Barrier, BarrierError, Condvar, Event, LockError, Mutex, Semaphore};
use std::time::Instant;

pub(crate) const PARTS: &[Part] = &[
    ("waits for the barrier", waits_for_the_barrier),
    ("dies in the action", dies_in_the_action),
    ("meets", meets),
    ("waits for units", waits_for_units),
    ("waits for the event", waits_for_the_event),
    ("consumes", consumes),
];

fn waits_for_the_barrier(text: &str) {
    let (barrier, _board): (Barrier, Board) = argument(text);
    let _ = barrier.wait();
}

#[test]
fn one_that_is_killed_at_a_barrier_has_never_come() {
    let _leftovers = Leftovers::watch();
    let (barrier, board) = (Barrier::new(3).unwrap(), Board::new());
    let come = || Child::start("waits for the barrier", &(&barrier, &board));
    let wait_for = |count| {
        let end = Instant::now() + LIMIT;
        while barrier.waiting().unwrap() != count {
            assert!(Instant::now() < end, "{:?} wait", barrier.waiting());
            std::thread::yield_now();
        }
    };
    let first = [(); 2].map(|()| come());
    wait_for(2);
    first.into_iter().for_each(Child::kill);
    assert_eq!(barrier.waiting(), Ok(0));
    // Two deaths and one living do not make three.
    let _others = [(); 2].map(|()| come());
    wait_for(2);
    assert!(barrier.wait_timeout(LIMIT).unwrap().is_leader());
    assert!(!barrier.is_broken());
}

fn dies_in_the_action(text: &str) {
    let (barrier, board): (Barrier, Board) = argument(text);
    let _ = barrier.wait_with(|| {
        board.count(0);
        until_killed()
    });
}

#[test]
fn a_death_in_the_action_breaks_the_barrier() {
    let _leftovers = Leftovers::watch();
    let (barrier, board) = (Barrier::new(2).unwrap(), Board::new());
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| barrier.wait());
        while barrier.waiting().unwrap() == 0 {
            std::thread::yield_now();
        }
        let leader = Child::start("dies in the action", &(&barrier, &board));
        board.wait(0, 1);
        leader.kill();
        assert_eq!(waiter.join().unwrap(), Err(BarrierError::Broken));
    });
    assert_eq!(barrier.wait(), Err(BarrierError::Broken));
    barrier.reset().unwrap();
    assert!(!barrier.is_broken());
}

fn meets(text: &str) {
    let (barrier, board, _): (Barrier, Board, usize) = argument(text);
    loop {
        match barrier.wait_with(|| (0..100).for_each(|_| std::hint::spin_loop())) {
            Ok(_) => board.count(0),
            Err(BarrierError::Broken) => barrier.reset().unwrap(),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn parties_killed_at_random_stop_nobody() {
    let _leftovers = Leftovers::watch();
    let (barrier, board) = (Barrier::new(2).unwrap(), Board::new());
    kill_at_random("meets", &barrier, &board, 40);
    assert_eq!(barrier.waiting(), Ok(0));
}

fn waits_for_units(text: &str) {
    let (units, board, _): (Semaphore, Board, usize) = argument(text);
    loop {
        units.acquire();
        board.count(0);
        units.release();
    }
}

#[test]
fn processes_killed_at_a_semaphore_take_at_most_their_unit() {
    let _leftovers = Leftovers::watch();
    const KILLS: u64 = 60;
    let (units, board) = (Semaphore::new(1000).unwrap(), Board::new());
    kill_at_random("waits for units", &units, &board, KILLS as usize);
    let left = units.available();
    assert!((1000 - KILLS - 3..=1000).contains(&left), "{left} units");
    for _ in 0..left {
        assert!(units.try_acquire());
    }
    // Killed while they wait: they take nothing.
    let waiters = [0, 1].map(|i| Child::start("waits for units", &(&units, &board, i)));
    waiters.into_iter().for_each(Child::kill);
    units.release();
    assert!(units.acquire_timeout(LIMIT));
}

fn waits_for_the_event(text: &str) {
    let (event, board): (Event, Board) = argument(text);
    board.count(0);
    event.wait();
    board.count(1);
    until_killed()
}

#[test]
fn a_waiter_that_is_killed_is_nothing_to_an_event() {
    let _leftovers = Leftovers::watch();
    let (event, board) = (Event::new().unwrap(), Board::new());
    let start = || Child::start("waits for the event", &(&event, &board));
    let killed = [(); 2].map(|()| start());
    let _living = start();
    board.wait(0, 3);
    killed.into_iter().for_each(Child::kill);
    event.set();
    board.wait(1, 1);
    event.clear();
    assert!(!event.is_set());
}

fn consumes(text: &str) {
    let (subject, board, _): ((Mutex<u64>, Condvar), Board, usize) = argument(text);
    let (stock, changed) = subject;
    loop {
        let guard = stock.lock().or_else(LockError::recover).unwrap();
        let waited = changed.wait_while(guard, |stock| *stock == 0);
        let mut guard = waited.or_else(LockError::recover).unwrap();
        *guard = guard.saturating_sub(1);
        drop(guard);
        board.count(0);
    }
}

#[test]
fn waiters_killed_at_a_condition_stop_nobody() {
    let _leftovers = Leftovers::watch();
    let subject = (Mutex::new(0_u64).unwrap(), Condvar::new().unwrap());
    let board = Board::new();
    let ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (stock, changed) = &subject;
            while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                let mut guard = stock.lock().or_else(LockError::recover).unwrap();
                // One at a time, so that nearly everybody sleeps nearly always.
                if *guard == 0 {
                    *guard = 1;
                    drop(guard);
                    changed.notify_one();
                }
                std::thread::yield_now();
            }
        });
        let end = End(&ended);
        kill_at_random("consumes", &subject, &board, 60);
        drop(end);
    });
}

/// Ends the producer, also when the test fails.
struct End<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}
