//! What handles cost: one test alone in its process, which counts the descriptors of all of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::time::Duration;

use pool_core::{Pool, WorkerState, wait_all};
use pool_shm::{FrozenArray, SharedArray};

const FOREVER: Duration = Duration::from_secs(3600);

fn double(i: u64) -> u64 {
    2 * i
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A pool that has opened what it needs: a worker may be ready before the pool has its descriptor.
fn settled_pool() -> Pool {
    let pool = Pool::new(2).unwrap();
    let idle = || {
        pool.workers()
            .iter()
            .filter(|worker| worker.state == WorkerState::Idle)
            .count()
    };
    while idle() < 2 {
        std::thread::yield_now();
    }
    pool
}

#[test]
fn handles_hold_no_descriptors() {
    thousands_under_way();
    dropped_handles_let_their_tasks_run();
}

fn thousands_under_way() {
    let pool = settled_pool();
    let before = descriptors();
    let handles: Vec<_> = (0..10_000)
        .map(|i| pool.apply_async(double, i).unwrap())
        .collect();
    assert_eq!(descriptors(), before);
    assert!(wait_all(&handles, Some(FOREVER)));
    for (i, handle) in (0..).zip(handles) {
        assert_eq!(handle.get().unwrap(), double(i));
    }
}

fn dropped_handles_let_their_tasks_run() {
    let mut counts = SharedArray::<u64, _>::zeros(1).unwrap();
    counts.view_mut()[0] = 7;
    let counts: FrozenArray<u64, _> = counts.freeze().unwrap();
    let pool = settled_pool();
    let before = descriptors();
    for _ in 0..3_000 {
        drop(pool.apply_async(
            |counts: FrozenArray<u64, ndarray::Ix1>| counts.view()[0],
            counts.clone(),
        ));
    }
    let done = || -> u64 { pool.workers().iter().map(|worker| worker.tasks_done).sum() };
    while done() < 3_000 {
        std::thread::yield_now();
    }
    assert_eq!(pool.apply(double, 1).unwrap(), 2);
    assert_eq!(descriptors(), before);
}
