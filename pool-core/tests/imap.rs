//! `imap` and `imap_unordered`: results one by one, input as it is needed.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pool_core::{Pool, StartMethod, TaskError, WorkerState, current};
use serde::{Deserialize, Serialize, Serializer};

fn double(i: u64) -> u64 {
    2 * i
}

fn text(i: u64) -> String {
    format!("{i:>100}")
}

fn park(_: u64) -> u64 {
    loop {
        std::thread::park();
    }
}

fn await_busy(pool: &Pool, workers: usize) {
    let busy = || {
        let states = pool.workers();
        states
            .iter()
            .filter(|worker| worker.state == WorkerState::Busy)
            .count()
    };
    while busy() < workers {
        std::thread::yield_now();
    }
}

#[test]
fn results_come_in_order() {
    for method in [
        StartMethod::ForkServer,
        StartMethod::Spawn,
        StartMethod::Thread,
    ] {
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .build()
            .unwrap();
        let results: Result<Vec<u64>, _> = pool.imap(double, 0..20_000).collect();
        assert_eq!(
            results.unwrap(),
            (0..20_000).map(double).collect::<Vec<_>>()
        );
        let results: Result<Vec<String>, _> = pool.imap(text, 0..3_000).collect();
        assert_eq!(results.unwrap(), (0..3_000).map(text).collect::<Vec<_>>());
    }
}

#[test]
fn results_come_in_any_order() {
    let pool = Pool::new(2).unwrap();
    let results: Result<Vec<u64>, _> = pool.imap_unordered(double, 0..20_000).collect();
    let mut results = results.unwrap();
    results.sort_unstable();
    assert_eq!(results, (0..20_000).map(double).collect::<Vec<_>>());
    let results: Result<Vec<String>, _> =
        pool.job(text).chunk(7).imap_unordered(0..1_000).collect();
    let mut results = results.unwrap();
    results.sort_unstable();
    assert_eq!(results, (0..1_000).map(text).collect::<Vec<_>>());
}

#[test]
fn a_long_task_holds_up_no_other() {
    let pool = Pool::new(2).unwrap();
    let task = |i: u64| if i == 0 { park(i) } else { i };
    let mut results = pool.job(task).window(4).imap_unordered(0..);
    let sum: u64 = results.by_ref().take(500).map(Result::unwrap).sum();
    assert_eq!(sum, (1..=500).sum());
}

#[test]
fn input_is_taken_as_it_is_needed() {
    let pool = Pool::new(2).unwrap();
    for window in [1, 2, 10, 100] {
        let taken = Cell::new(0u64);
        let endless = (0..).inspect(|_| taken.set(taken.get() + 1));
        let results = pool.job(double).window(window).imap(endless);
        for (i, result) in (0..1_000).zip(results) {
            assert_eq!(result.unwrap(), double(i));
            assert!(
                taken.get() <= i + u64::from(window),
                "{} at {i} of {window}",
                taken.get()
            );
        }
    }
}

#[test]
fn nothing_is_taken_before_a_result_is_asked_for() {
    let pool = Pool::new(1).unwrap();
    let results = pool.imap(double, std::iter::once_with(|| panic!("was asked")));
    drop(results);
    assert!(pool.imap(double, Vec::new()).next().is_none());
}

#[test]
fn errors_come_in_their_place() {
    let pool = Pool::new(2).unwrap();
    let task = |i: u64| match i {
        3 => panic!("three"),
        5 => std::process::exit(5),
        i => i,
    };
    let results: Vec<_> = pool.imap(task, 0..8).collect();
    assert_eq!(results.len(), 8);
    for (i, result) in (0..).zip(results) {
        match (i, result) {
            (3, Err(error)) => assert!(matches!(error.task(), Some((3, TaskError::Panicked(_))))),
            (5, Err(error)) => assert!(matches!(error.task(), Some((5, TaskError::WorkerDied(_))))),
            (i, result) => assert_eq!(result.unwrap(), i),
        }
    }
    let failed: Vec<u64> = pool
        .imap_unordered(|i: u64| assert!(i != 70, "seventy"), 0..100)
        .filter_map(|result| Some(result.err()?.task()?.0))
        .collect();
    assert_eq!(failed, [70]);
}

#[test]
fn a_panic_of_the_input_comes_in_its_place() {
    let pool = Pool::new(2).unwrap();
    let input = (0..).inspect(|i| assert!(*i != 42, "the input ends badly"));
    let mut results = pool.imap(double, input);
    for i in 0..42 {
        assert_eq!(results.next().unwrap().unwrap(), double(i));
    }
    let payload = catch_unwind(AssertUnwindSafe(|| results.next())).unwrap_err();
    assert_eq!(
        payload.downcast_ref::<&str>().unwrap(),
        &"the input ends badly"
    );
    assert!(results.next().is_none());
    assert_eq!(pool.map(double, [1, 2]).unwrap(), [2, 4]);
}

#[derive(Deserialize)]
struct Awkward(u64);

impl Serialize for Awkward {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 6 {
            return Err(serde::ser::Error::custom("six is not sent"));
        }
        self.0.serialize(serializer)
    }
}

#[test]
fn an_item_that_cannot_be_encoded_comes_in_its_place() {
    let pool = Pool::new(2).unwrap();
    let mut results = pool
        .job(|item: Awkward| item.0)
        .chunk(4)
        .imap((0..).map(Awkward));
    for i in 0..6 {
        assert_eq!(results.next().unwrap().unwrap(), i);
    }
    assert!(
        results
            .next()
            .unwrap()
            .unwrap_err()
            .to_string()
            .starts_with("argument 6 could not be encoded")
    );
    assert!(results.next().is_none());
    assert_eq!(pool.apply(double, 4).unwrap(), 8);
}

#[test]
fn dropping_it_half_read_does_not_wait_and_runs_nothing_more() {
    let pool = Pool::new(2).unwrap();
    let task = |i: u64| {
        while i > 0 && !current().unwrap().is_cancelled() {
            std::thread::yield_now();
        }
        i
    };
    for is_ordered in [true, false] {
        let job = pool.job(task).window(100).chunk(1);
        let mut results = if is_ordered {
            job.imap(0..)
        } else {
            job.imap_unordered(0..)
        };
        assert_eq!(results.next().unwrap().unwrap(), 0);
        await_busy(&pool, 2);
        drop(results);
        // Those two that had begun are told that nobody wants them.
        let mut more = pool.imap(double, 0..10);
        assert_eq!(more.next().unwrap().unwrap(), 0);
        assert_eq!(more.count(), 9);
    }
    let done: u64 = pool.workers().iter().map(|worker| worker.tasks_done).sum();
    // The first, two at most that had begun, and the ten after them.
    assert!((2 * 11..=2 * 13).contains(&done), "{done}");
}

#[test]
fn it_ends_with_an_error_when_its_pool_is_dropped() {
    let pool = Pool::new(2).unwrap();
    let mut results = pool.imap(|i: u64| if i < 3 { i } else { park(i) }, 0..);
    for i in 0..3 {
        assert_eq!(results.next().unwrap().unwrap(), i);
    }
    await_busy(&pool, 2);
    let rest = std::thread::scope(|scope| {
        let rest = scope.spawn(move || results.by_ref().collect::<Vec<_>>());
        drop(pool);
        rest.join().unwrap()
    });
    assert!(!rest.is_empty() && rest.iter().all(Result::is_err));
}

#[test]
fn streams_and_calls_of_several_threads_share_a_pool() {
    let pool = Pool::new(2).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let sum: Result<u64, _> = pool.imap_unordered(double, 0..5_000).sum();
                assert_eq!(sum.unwrap(), (0..5_000).map(double).sum());
            });
            scope.spawn(|| {
                for (i, result) in (0..5_000).zip(pool.imap(double, 0..5_000)) {
                    assert_eq!(result.unwrap(), double(i));
                }
            });
            scope.spawn(|| assert_eq!(pool.map(double, 0..5_000).unwrap().len(), 5_000));
        }
    });
}
