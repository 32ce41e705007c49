//! The crash matrix of exit hooks: each way to fail, in the hook and while its result is encoded, among idle and among busy
//! neighbours, with each start method that has workers which leave. Its columns in `tests/README.md` are made of the same outcomes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use pool_core::{ExitResult, Pool, StartMethod};

use crate::common::{LIMIT, Leftovers, alone};
use crate::crashes::{AT_EXIT, Outcome, Poison, Step, Way, expected, killing_the_stopped, ways};

const WORKERS: usize = 3;
const VALUE: u32 = 5;

/// What a worker ends with: its state, which fails here, or its encoding later.
fn leave(poison: Poison) -> Poison {
    poison.act(Step::Run);
    poison
}

fn matrix(method: StartMethod, busy: bool) {
    for way in ways(method) {
        for step in AT_EXIT {
            let Some(outcome) = expected(way, step) else {
                continue;
            };
            let pool = Pool::builder()
                .workers(WORKERS)
                .start_method(method)
                .env("RUST_BACKTRACE", "0")
                .initializer(|fails| Poison::anywhere(fails, VALUE), (way, step))
                .exit_hook(leave)
                .build()
                .unwrap();
            let exits = pool.exit_results::<Poison>().unwrap();
            killing_the_stopped(way, || {
                one_leaves(&pool, busy);
                // The others, together.
                pool.join();
            });
            check(exits.take(), outcome, method, way);
        }
    }
}

/// The last worker leaves while the others are idle, or busy; the pool goes on.
fn one_leaves(pool: &Pool<Poison>, busy: bool) {
    let square = |i: u64| i * i;
    let squares = |count| (0..count).map(|i| i * i).collect::<Vec<u64>>();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while busy && !done.load(Ordering::Relaxed) {
                assert_eq!(pool.map(square, 0..200).unwrap(), squares(200));
            }
        });
        let resized = pool.resize(WORKERS - 1);
        let end = Instant::now() + LIMIT;
        while pool.workers().len() >= WORKERS && Instant::now() < end {
            std::thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
        resized.unwrap();
        assert!(pool.workers().len() < WORKERS, "nobody leaves");
    });
    assert_eq!(pool.map(square, 0..30).unwrap(), squares(30));
}

/// Each worker has the same outcome.
fn check(exits: Vec<ExitResult<Poison>>, outcome: Outcome, method: StartMethod, way: Way) {
    let is_located = method != StartMethod::Thread;
    let mut workers: Vec<usize> = exits.iter().map(|exit| exit.worker).collect();
    workers.sort_unstable();
    assert_eq!(
        workers,
        (0..WORKERS).collect::<Vec<_>>(),
        "{method} {way:?}"
    );
    for exit in exits {
        let result = exit.result.map(|poison| poison.value());
        outcome.check(result, VALUE, is_located);
    }
}

#[test]
fn fork_server_among_idle_neighbours() {
    let guard = Leftovers::watch();
    matrix(StartMethod::ForkServer, false);
    guard.assert_none();
}

#[test]
fn fork_server_among_busy_neighbours() {
    let guard = Leftovers::watch();
    matrix(StartMethod::ForkServer, true);
    guard.assert_none();
}

#[test]
fn spawn_among_idle_neighbours() {
    let guard = Leftovers::watch();
    matrix(StartMethod::Spawn, false);
    guard.assert_none();
}

#[test]
fn spawn_among_busy_neighbours() {
    let guard = Leftovers::watch();
    matrix(StartMethod::Spawn, true);
    guard.assert_none();
}

#[test]
fn copies_among_idle_neighbours() {
    let guard = Leftovers::watch();
    alone(|()| matrix(StartMethod::Fork, false));
    guard.assert_none();
}

#[test]
fn copies_among_busy_neighbours() {
    let guard = Leftovers::watch();
    alone(|()| matrix(StartMethod::Fork, true));
    guard.assert_none();
}

#[test]
fn threads_among_idle_and_busy_neighbours() {
    let guard = Leftovers::watch();
    matrix(StartMethod::Thread, false);
    matrix(StartMethod::Thread, true);
    guard.assert_none();
}
