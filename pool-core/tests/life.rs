//! The end of a pool: `close`, `join`, `join_timeout`, `terminate`.

use std::time::Duration;

use pool_core::{Pool, TaskError, WorkerState};

const FOREVER: Duration = Duration::from_secs(3600);

fn double(i: u64) -> u64 {
    2 * i
}

fn park(_: u64) -> u64 {
    loop {
        std::thread::park();
    }
}

#[test]
fn a_closed_pool_begins_no_call_and_ends_those_that_it_has() {
    let pool = Pool::new(2).unwrap();
    let handles: Vec<_> = (0..3_000)
        .map(|i| pool.apply_async(double, i).unwrap())
        .collect();
    let mut stream = pool.imap(double, 0..100);
    pool.close();
    assert!(pool.map(double, 0..3).unwrap_err().is_closed());
    assert!(pool.map(double, vec![1]).unwrap_err().is_closed());
    assert!(pool.apply(double, 3).unwrap_err().is_closed());
    assert!(pool.apply_async(double, 3).unwrap_err().is_closed());
    assert!(
        pool.imap(double, 0..3)
            .next()
            .unwrap()
            .unwrap_err()
            .is_closed()
    );
    assert!(stream.next().unwrap().is_ok() && stream.all(|result| result.is_ok()));
    for (i, handle) in (0..).zip(handles) {
        assert_eq!(handle.get().unwrap(), double(i));
    }
}

#[test]
fn joining_waits_for_every_task() {
    let pool = Pool::new(2).unwrap();
    let handles: Vec<_> = (0..3_000)
        .map(|i| pool.apply_async(double, i).unwrap())
        .collect();
    pool.join();
    for (i, handle) in (0..).zip(handles) {
        assert!(handle.is_ready());
        assert_eq!(handle.get().unwrap(), double(i));
    }
}

#[test]
fn joining_gives_the_pool_back_when_time_is_over() {
    let pool = Pool::new(2).unwrap();
    let long = pool.apply_async(park, 0).unwrap();
    let short = pool.apply_async(double, 1).unwrap();
    let pool = pool.join_timeout(Duration::from_millis(1)).unwrap_err();
    assert_eq!(short.get().unwrap(), 2);
    assert!(!long.is_ready());
    drop(pool);
    assert!(long.get().is_err());
    Pool::new(1).unwrap().join_timeout(FOREVER).unwrap();
}

#[test]
fn terminating_ends_calls_of_other_threads_and_resolves_handles() {
    let pool = Pool::new(2).unwrap();
    let busy = || {
        let states = pool.workers();
        states
            .iter()
            .filter(|worker| worker.state == WorkerState::Busy)
            .count()
    };
    let handles: Vec<_> = (0..5).map(|i| pool.apply_async(park, i).unwrap()).collect();
    while busy() < 2 {
        std::thread::yield_now();
    }
    std::thread::scope(|scope| {
        let calls = [
            scope.spawn(|| pool.map(park, 0..10)),
            scope.spawn(|| pool.map(park, vec![1, 2])),
            scope.spawn(|| pool.apply(park, 1).map(|result| vec![result])),
        ];
        pool.terminate();
        for call in calls {
            let error = call.join().unwrap().unwrap_err();
            assert!(error.is_broken() || error.is_closed(), "{error}");
        }
    });
    pool.terminate();
    let cancelled = |error: &TaskError| *error == TaskError::Cancelled;
    let errors: Vec<_> = handles
        .into_iter()
        .map(|handle| handle.get().unwrap_err())
        .collect();
    assert_eq!(
        errors
            .iter()
            .filter(|error| cancelled(error.task().unwrap().1))
            .count(),
        3
    );
    assert!(
        pool.workers()
            .iter()
            .all(|worker| worker.state == WorkerState::Dead)
    );
}
