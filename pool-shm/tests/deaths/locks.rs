//! Deaths of those who hold locks.

use crate::harness::{
    Board, Child, LIMIT, Leftovers, Part, argument, kill_at_random, until_killed,
};
use pool_shm::sync::{BoundedSemaphore, LockError, Once, ReentrantMutex, RwLock};

pub(crate) const PARTS: &[Part] = &[
    ("reads", reads),
    ("writes", writes),
    ("reads and writes", reads_and_writes),
    ("locks twice", locks_twice),
    ("nests", nests),
    ("holds a permit", holds_a_permit),
    ("takes permits", takes_permits),
    ("begins", begins),
];

/// Two numbers that are equal whenever nobody writes.
type Pair = [u64; 2];

fn reads(text: &str) {
    let (lock, board): (RwLock<Pair>, Board) = argument(text);
    let _guard = lock.read().unwrap();
    board.count(0);
    until_killed()
}

fn writes(text: &str) {
    let (lock, board): (RwLock<Pair>, Board) = argument(text);
    let mut guard = lock.write().unwrap();
    guard[0] += 1;
    board.count(0);
    until_killed()
}

#[test]
fn a_killed_reader_does_not_block_writers() {
    let _leftovers = Leftovers::watch();
    let (lock, board) = (RwLock::<Pair>::new([0; 2]).unwrap(), Board::new());
    let readers = [(); 2].map(|()| Child::start("reads", &(&lock, &board)));
    board.wait(0, 2);
    assert!(matches!(lock.try_write(), Err(LockError::WouldBlock)));
    readers.into_iter().for_each(Child::kill);
    let guard = lock.write_timeout(LIMIT).expect("no news, and in time");
    assert_eq!(*guard, [0; 2]);
}

#[test]
fn a_killed_writer_is_reported_until_it_is_repaired() {
    let _leftovers = Leftovers::watch();
    let (lock, board) = (RwLock::<Pair>::new([0; 2]).unwrap(), Board::new());
    let writer = Child::start("writes", &(&lock, &board));
    board.wait(0, 1);
    assert!(matches!(lock.try_read(), Err(LockError::WouldBlock)));
    writer.kill();
    for _ in 0..2 {
        let Err(LockError::OwnerDied(guard)) = lock.read_timeout(LIMIT) else {
            panic!("a reader was not told");
        };
        assert_eq!(*guard, [1, 0]);
    }
    let Err(LockError::OwnerDied(mut guard)) = lock.write_timeout(LIMIT) else {
        panic!("the next writer was not told");
    };
    guard[1] = guard[0];
    drop(guard);
    assert_eq!(*lock.read_timeout(LIMIT).unwrap(), [1; 2]);
}

fn reads_and_writes(text: &str) {
    let (lock, board, me): (RwLock<Pair>, Board, u64) = argument(text);
    for round in me.. {
        if round % 3 == 0 {
            let mut guard = match lock.write() {
                Err(LockError::OwnerDied(mut guard)) => {
                    guard[1] = guard[0];
                    board.count(1);
                    guard
                }
                guard => guard.unwrap(),
            };
            assert_eq!(guard[0], guard[1]);
            guard[0] += 1;
            (0..200).for_each(|_| std::hint::spin_loop());
            guard[1] += 1;
        } else if let Ok(guard) = lock.read() {
            assert_eq!(guard[0], guard[1], "half-written without a word");
        }
        board.count(0);
    }
}

#[test]
fn readers_and_writers_killed_at_random_stop_nobody() {
    let _leftovers = Leftovers::watch();
    let (lock, board) = (RwLock::<Pair>::new([0; 2]).unwrap(), Board::new());
    kill_at_random("reads and writes", &lock, &board, 60);
    let last = lock
        .write_timeout(LIMIT)
        .or_else(LockError::recover)
        .unwrap();
    assert!(last[0] > 0);
}

fn locks_twice(text: &str) {
    let (lock, board): (ReentrantMutex<u64>, Board) = argument(text);
    let outer = lock.lock().unwrap();
    let inner = lock.lock().unwrap();
    outer.set(1);
    board.count(0);
    drop(inner);
    until_killed()
}

#[test]
fn a_killed_holder_of_a_reentrant_lock_is_reported() {
    let _leftovers = Leftovers::watch();
    let (lock, board) = (ReentrantMutex::new(0_u64).unwrap(), Board::new());
    let holder = Child::start("locks twice", &(&lock, &board));
    board.wait(0, 1);
    assert!(matches!(lock.try_lock(), Err(LockError::WouldBlock)));
    holder.kill();
    let Err(LockError::OwnerDied(guard)) = lock.lock_timeout(LIMIT) else {
        panic!("the death was not told");
    };
    assert_eq!(guard.get(), 1);
    assert!(lock.try_lock().is_ok(), "it is this thread's");
}

fn nests(text: &str) {
    let (lock, board, _): (ReentrantMutex<Pair>, Board, usize) = argument(text);
    loop {
        let outer = match lock.lock() {
            Err(LockError::OwnerDied(guard)) => {
                guard.update(|[first, _]| [first; 2]);
                guard
            }
            guard => guard.unwrap(),
        };
        let [first, second] = outer.get();
        assert_eq!(first, second, "half-written without a word");
        outer.set([first + 1, second]);
        let inner = lock.lock().unwrap();
        inner.set([first + 1, second + 1]);
        board.count(0);
    }
}

#[test]
fn holders_of_a_reentrant_lock_killed_at_random_stop_nobody() {
    let _leftovers = Leftovers::watch();
    let (lock, board) = (ReentrantMutex::<Pair>::new([0; 2]).unwrap(), Board::new());
    kill_at_random("nests", &lock, &board, 60);
    let last = lock
        .lock_timeout(LIMIT)
        .or_else(LockError::recover)
        .unwrap();
    assert!(last.get()[0] > 0);
}

fn holds_a_permit(text: &str) {
    let (permits, board): (BoundedSemaphore, Board) = argument(text);
    let _permit = permits.acquire().unwrap();
    board.count(0);
    until_killed()
}

#[test]
fn a_killed_holder_gives_its_permit_back() {
    let _leftovers = Leftovers::watch();
    let (permits, board) = (BoundedSemaphore::new(2).unwrap(), Board::new());
    let holders = [(); 2].map(|()| Child::start("holds a permit", &(&permits, &board)));
    board.wait(0, 2);
    assert_eq!(permits.available(), 0);
    assert!(matches!(permits.try_acquire(), Err(LockError::WouldBlock)));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let permit = permits.acquire_timeout(LIMIT);
            matches!(permit, Err(LockError::OwnerDied(_)))
        });
        holders.into_iter().for_each(Child::kill);
        assert!(waiter.join().unwrap(), "the death was not told");
    });
    assert_eq!(permits.available(), 2);
}

fn takes_permits(text: &str) {
    let (permits, board, _): (BoundedSemaphore, Board, usize) = argument(text);
    loop {
        let permit = permits.acquire().or_else(LockError::recover).unwrap();
        assert!(permit.index() < 2);
        board.count(0);
    }
}

#[test]
fn holders_of_permits_killed_at_random_lose_none() {
    let _leftovers = Leftovers::watch();
    let (permits, board) = (BoundedSemaphore::new(2).unwrap(), Board::new());
    kill_at_random("takes permits", &permits, &board, 60);
    assert_eq!(permits.available(), 2);
}

fn begins(text: &str) {
    let (once, board): (Once, Board) = argument(text);
    let _ = once.call(|_| {
        board.count(0);
        until_killed()
    });
}

#[test]
fn what_a_killed_process_began_is_done_by_the_next() {
    let _leftovers = Leftovers::watch();
    let (once, board) = (Once::new().unwrap(), Board::new());
    let beginner = Child::start("begins", &(&once, &board));
    board.wait(0, 1);
    assert!(matches!(once.try_call(drop), Err(LockError::WouldBlock)));
    beginner.kill();
    let mut was_begun = false;
    assert!(once.call_timeout(LIMIT, |begun| was_begun = begun).unwrap());
    assert!(was_begun);
    once.wait();
}
