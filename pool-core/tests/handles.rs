//! `apply_async` and what can be done with its handles.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use pool_core::{
    Pool, StartMethod, TaskError, WorkerState, as_completed, current, wait_all, wait_any,
};
use pool_shm::SharedArray;

const MOMENT: Duration = Duration::from_millis(1);
const FOREVER: Duration = Duration::from_secs(3600);

fn double(i: u64) -> u64 {
    2 * i
}

fn park(_: ()) {
    loop {
        std::thread::park();
    }
}

/// Runs until it is cancelled.
fn run_on(_: ()) -> &'static str {
    while !current().unwrap().is_cancelled() {
        std::thread::yield_now();
    }
    "was told"
}

fn await_state<S: 'static>(pool: &Pool<S>, state: WorkerState, workers: usize) {
    while pool
        .workers()
        .iter()
        .filter(|worker| worker.state == state)
        .count()
        < workers
    {
        std::thread::yield_now();
    }
}

#[test]
fn results_come_by_every_start_method() {
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
        let handles: Vec<_> = (0..10)
            .map(|i| pool.apply_async(double, i).unwrap())
            .collect();
        let results: Vec<u64> = handles
            .into_iter()
            .map(|handle| handle.get().unwrap())
            .collect();
        assert_eq!(results, (0..10).map(double).collect::<Vec<_>>());
    }
}

#[test]
fn errors_of_the_task_come_with_the_result() {
    let pool = Pool::new(1).unwrap();
    let exit = |_: ()| -> u8 { std::process::exit(3) };
    let panics = pool.apply_async(|x: u32| 1 / x, 0).unwrap();
    let dies = pool.apply_async(exit, ()).unwrap();
    let fine = pool.apply_async(double, 4).unwrap();
    assert!(matches!(
        panics.get().unwrap_err().task(),
        Some((0, TaskError::Panicked(_)))
    ));
    assert!(matches!(
        dies.get().unwrap_err().task(),
        Some((1, TaskError::WorkerDied(_)))
    ));
    assert_eq!(fine.get().unwrap(), 8);
}

#[test]
fn the_backlog_is_run_though_nobody_waits() {
    let pool = Pool::new(2).unwrap();
    let handles: Vec<_> = (0..5_000)
        .map(|i| pool.apply_async(double, i).unwrap())
        .collect();
    let done = || -> u64 { pool.workers().iter().map(|worker| worker.tasks_done).sum() };
    while done() < 5_000 {
        std::thread::yield_now();
    }
    assert!(handles.iter().all(|handle| handle.is_ready()));
}

#[test]
fn arrays_travel_in_results_of_handles() {
    let pool = Pool::new(2).unwrap();
    let make = |n: usize| SharedArray::from_elem(n, 1.5f64).unwrap().freeze().unwrap();
    let handles: Vec<_> = (1..20)
        .map(|n| pool.apply_async(make, n).unwrap())
        .collect();
    for (n, handle) in (1..).zip(handles) {
        assert_eq!(handle.get().unwrap().view().sum(), 1.5 * f64::from(n));
    }
}

#[test]
fn a_timeout_gives_the_handle_back() {
    let pool = Pool::new(1).unwrap();
    let handle = pool.apply_async(run_on_owned, ()).unwrap();
    let handle = handle.get_timeout(MOMENT).unwrap_err();
    await_state(&pool, WorkerState::Busy, 1);
    assert!(!handle.cancel());
    assert_eq!(handle.get_timeout(FOREVER).unwrap().unwrap(), "was told");
}

fn run_on_owned(unit: ()) -> String {
    run_on(unit).to_owned()
}

#[test]
fn a_pending_task_that_is_cancelled_never_runs() {
    let pool = Pool::new(1).unwrap();
    let blocker = pool.apply_async(run_on_owned, ()).unwrap();
    await_state(&pool, WorkerState::Busy, 1);
    let pending: Vec<_> = (0..2_000)
        .map(|i| pool.apply_async(double, i).unwrap())
        .collect();
    let cancelled = pending.iter().filter(|handle| handle.cancel()).count();
    assert_eq!(cancelled, pending.len());
    assert!(
        pending
            .iter()
            .all(|handle| !handle.cancel() && handle.is_ready())
    );
    assert!(!blocker.cancel());
    assert_eq!(blocker.get().unwrap(), "was told");
    assert_eq!(pool.apply(double, 3).unwrap(), 6);
    assert_eq!(pool.workers()[0].tasks_done, 2);
    for (number, handle) in (1..).zip(pending) {
        assert_eq!(
            handle.get().unwrap_err().task(),
            Some((number, &TaskError::Cancelled))
        );
    }
}

#[test]
fn a_running_task_is_cancelled_by_killing_its_worker_alone() {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .build()
            .unwrap();
        let before: Vec<u32> = pool.workers().iter().map(|worker| worker.pid).collect();
        // One never ends, the other is told by the end of the first.
        let stuck = pool.job(park).retries(9).apply_async(()).unwrap();
        let neighbour = pool.apply_async(run_on_owned, ()).unwrap();
        await_state(&pool, WorkerState::Busy, 2);
        assert!(stuck.cancel_now().unwrap());
        // Again: it is on its way.
        assert!(stuck.cancel_now().unwrap() || stuck.is_ready());
        let error = stuck.get().unwrap_err();
        assert_eq!(error.task(), Some((0, &TaskError::Cancelled)), "{error}");
        await_state(&pool, WorkerState::Idle, 1);
        let replaced = pool.workers().into_iter().zip(before);
        assert_eq!(
            replaced.filter(|(worker, pid)| worker.pid != *pid).count(),
            1
        );
        assert!(!neighbour.cancel());
        assert_eq!(neighbour.get().unwrap(), "was told");
        let done = pool.apply_async(double, 4).unwrap();
        assert!(wait_all(std::slice::from_ref(&done), None));
        assert!(!done.cancel_now().unwrap());
        assert_eq!(done.get().unwrap(), 8);
        let pending = pool.apply_async(park, ()).unwrap();
        assert!(pending.cancel_now().unwrap());
        assert!(pending.get().is_err());
    }
}

#[test]
fn whoever_waits_learns_of_a_task_that_is_cancelled_while_it_runs() {
    let pool = Pool::new(3).unwrap();
    let (sender, errors) = mpsc::channel();
    let told = pool.apply_async(park, ()).unwrap();
    let told = told.on_error(move |error| sender.send(error.to_string()).unwrap());
    let future = pool.apply_async(park, ()).unwrap();
    let waited = pool.apply_async(park, ()).unwrap();
    await_state(&pool, WorkerState::Busy, 3);
    assert!(told.cancel_now().unwrap() && future.cancel_now().unwrap());
    assert_eq!(
        errors.recv().unwrap(),
        "task 0 failed: the task was cancelled"
    );
    assert!(futures_executor::block_on(future).is_err());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| wait_all(std::slice::from_ref(&waited), None));
        assert!(waited.cancel_now().unwrap());
        assert!(waits.join().unwrap());
    });
    drop(told);
    assert_eq!(pool.map(double, 0..3).unwrap(), [0, 2, 4]);
}

#[test]
fn tasks_that_end_while_they_are_cancelled_are_done_or_cancelled() {
    let pool = Pool::new(2).unwrap();
    let (mut cancelled, mut done) = (0, 0);
    for i in 0..300 {
        let handle = pool.apply_async(double, i).unwrap();
        let neighbour = pool.apply_async(double, 2 * i).unwrap();
        // With some luck it is waiting, running, or done.
        (0..i % 50).for_each(|_| std::hint::spin_loop());
        let promised = handle.cancel_now().unwrap();
        match handle.get() {
            Ok(result) => {
                assert!(!promised && result == 2 * i);
                done += 1;
            }
            Err(error) => {
                assert!(promised);
                assert!(matches!(error.task(), Some((_, TaskError::Cancelled))));
                cancelled += 1;
            }
        }
        // Never hit instead of the other.
        assert_eq!(neighbour.get().unwrap(), 4 * i);
    }
    assert_eq!(cancelled + done, 300);
}

#[test]
fn a_task_on_a_thread_cannot_be_killed_and_is_told() {
    let pool = Pool::builder()
        .workers(1)
        .start_method(StartMethod::Thread)
        .build()
        .unwrap();
    let running = pool.apply_async(run_on_owned, ()).unwrap();
    await_state(&pool, WorkerState::Busy, 1);
    let pending = pool.apply_async(double, 1).unwrap();
    assert!(pending.cancel_now().unwrap());
    let error = running.cancel_now().unwrap_err();
    assert!(error.is_not_killable(), "{error}");
    assert!(error.to_string().starts_with("the task runs on a thread"));
    assert_eq!(running.get().unwrap(), "was told");
}

#[test]
fn single_tasks_have_seeds_of_their_own_in_the_order_of_submission() {
    let about = |_: ()| {
        let current = current().unwrap();
        (current.index(), current.seed())
    };
    let run = |workers: usize| -> Vec<(u64, u64)> {
        let pool = Pool::builder().workers(workers).seed(7).build().unwrap();
        let mut all: Vec<_> = (0..5).map(|_| pool.apply(about, ()).unwrap()).collect();
        let handles: Vec<_> = (0..5)
            .map(|_| pool.apply_async(about, ()).unwrap())
            .collect();
        all.extend(handles.into_iter().map(|handle| handle.get().unwrap()));
        // Items of a call have the indices and the seeds of their call.
        let items = pool.map(|_: u32| current().unwrap().seed(), 0..10).unwrap();
        all.extend((100..).zip(items));
        all.push(pool.apply(about, ()).unwrap());
        all
    };
    let (one, three) = (run(1), run(3));
    assert_eq!(one, three);
    let indices: Vec<u64> = one.iter().map(|(index, _)| *index).collect();
    assert_eq!(indices[..10], (0..10).collect::<Vec<_>>());
    assert_eq!(indices[20], 10);
    let mut seeds: Vec<u64> = one.iter().map(|(_, seed)| *seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    assert_eq!(seeds.len(), 21, "no two tasks share a seed");
}

#[test]
fn every_handle_resolves_when_the_pool_is_dropped() {
    let pool = Pool::new(2).unwrap();
    let done = pool.apply_async(double, 21).unwrap();
    assert!(wait_all(std::slice::from_ref(&done), Some(FOREVER)));
    let running: Vec<_> = (0..2)
        .map(|_| pool.apply_async(park, ()).unwrap())
        .collect();
    await_state(&pool, WorkerState::Busy, 2);
    let pending: Vec<_> = (0..2_000)
        .map(|_| pool.apply_async(park, ()).unwrap())
        .collect();
    let (sender, errors) = mpsc::channel();
    let told = pool
        .apply_async(park, ())
        .unwrap()
        .on_error(move |error| sender.send(error).unwrap());
    let waiting = std::thread::spawn(move || told.get().unwrap_err().to_string());
    drop(pool);
    assert_eq!(done.get().unwrap(), 42);
    for handle in running {
        assert!(matches!(
            handle.get().unwrap_err().task(),
            Some((1 | 2, TaskError::WorkerDied(_)))
        ));
    }
    for (number, handle) in (3..).zip(pending) {
        assert_eq!(
            handle.get().unwrap_err().task(),
            Some((number, &TaskError::Cancelled))
        );
    }
    assert_eq!(
        errors.recv().unwrap().task(),
        Some((2_003, &TaskError::Cancelled))
    );
    assert!(waiting.join().unwrap().contains("cancelled"));
}

#[test]
fn callbacks_run_and_one_that_panics_harms_nobody() {
    let pool = Pool::new(2).unwrap();
    let (sender, results) = mpsc::channel();
    for i in 0..2_000 {
        let (good, bad) = (sender.clone(), sender.clone());
        let fail = |i: u64| {
            if i.is_multiple_of(2) {
                i
            } else {
                panic!("odd: {i}")
            }
        };
        let handle = pool.apply_async(fail, i).unwrap();
        drop(
            handle
                .on_success(|_| panic!("a callback that panics"))
                .on_success(move |result| good.send((i, result == i)).unwrap())
                .on_error(move |error| bad.send((i, error.to_string().contains("odd"))).unwrap()),
        );
    }
    drop(sender);
    let mut seen: Vec<(u64, bool)> = results.iter().collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..2_000).map(|i| (i, true)).collect::<Vec<_>>());
}

#[test]
fn a_callback_that_is_set_late_runs_and_leaves_the_result() {
    let pool = Pool::new(1).unwrap();
    let handle = pool.apply_async(double, 5).unwrap();
    assert!(wait_all(std::slice::from_ref(&handle), None));
    drop(pool);
    let (sender, results) = mpsc::channel();
    let handle = handle.on_success(move |result| sender.send(result).unwrap());
    assert_eq!(results.recv().unwrap(), 10);
    assert_eq!(handle.get().unwrap(), 10);
}

#[test]
fn a_handle_is_a_future_of_any_executor() {
    let pool = Pool::new(2).unwrap();
    let sum = async {
        let handles: Vec<_> = (0..100)
            .map(|i| pool.apply_async(double, i).unwrap())
            .collect();
        let mut sum = 0;
        for handle in handles {
            sum += handle.await.unwrap();
        }
        sum
    };
    assert_eq!(futures_executor::block_on(sum), 9_900);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let results = runtime.block_on(async {
        let spawned: Vec<_> = (0..3_000)
            .map(|i| tokio::spawn(pool.apply_async(double, i).unwrap()))
            .collect();
        let mut results = Vec::new();
        for task in spawned {
            results.push(task.await.unwrap().unwrap());
        }
        results
    });
    assert_eq!(results, (0..3_000).map(double).collect::<Vec<_>>());
}

#[test]
fn a_future_resolves_when_its_pool_is_dropped() {
    let pool = Pool::new(1).unwrap();
    let handle = pool.apply_async(park, ()).unwrap();
    await_state(&pool, WorkerState::Busy, 1);
    let thread = std::thread::spawn(|| futures_executor::block_on(handle));
    drop(pool);
    let error = thread.join().unwrap().unwrap_err();
    assert!(matches!(error.task(), Some((0, TaskError::WorkerDied(_)))));
}

#[test]
fn waits_for_several_end_in_time() {
    let pool = Pool::new(2).unwrap();
    let handles = vec![
        pool.apply_async(park, ()).unwrap(),
        pool.apply_async(|()| (), ()).unwrap(),
    ];
    assert_eq!(wait_any(&handles, Some(FOREVER)), Some(1));
    assert!(!wait_all(&handles, Some(MOMENT)));
    assert_eq!(wait_any(&handles[..1], Some(MOMENT)), None);
    assert_eq!(wait_any::<()>(&[], None), None);
    let mut results = as_completed(handles);
    assert_eq!(results.len(), 2);
    assert_eq!(results.next().unwrap().0, 1);
    assert!(results.next_timeout(MOMENT).is_none());
    drop(pool);
    let (position, result) = results.next().unwrap();
    assert!(position == 0 && result.is_err());
    assert!(results.next().is_none());
}

#[test]
fn results_are_handed_out_as_they_complete() {
    let pool = Pool::new(2).unwrap();
    let other = Pool::new(1).unwrap();
    let from = |pool: &Pool, i| pool.apply_async(double, i).unwrap();
    let handles: Vec<_> = (0..3_000)
        .map(|i: u64| from(if i.is_multiple_of(3) { &other } else { &pool }, i))
        .collect();
    let mut results: Vec<(usize, u64)> = as_completed(handles)
        .map(|(i, result)| (i, result.unwrap()))
        .collect();
    results.sort_unstable();
    assert_eq!(
        results,
        (0..3_000)
            .map(|i| (i, double(i as u64)))
            .collect::<Vec<_>>()
    );
}

#[test]
fn threads_share_handles() {
    let pool = Pool::new(2).unwrap();
    let handles: Vec<_> = (0..200)
        .map(|i| pool.apply_async(double, i).unwrap())
        .collect();
    let seen = Arc::new(AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                assert!(wait_all(&handles, None) && wait_any(&handles, None).is_some());
                seen.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(seen.load(Ordering::Relaxed), 3);
}
