//! What every start method promises: each verb and each option, as functions over a [`StartMethod`]; one short test per method runs
//! them all.

use std::sync::mpsc;
use std::time::Duration;

use ndarray::{Axis, Ix1};
use pool_core::{
    Pool, PoolError, Schedule, StartMethod, TaskError, as_completed, current, wait_all, wait_any,
};
use pool_shm::{BlockMut, SharedArray};

use crate::common::{Leftovers, alone};

/// What no wait that works comes near to.
const LONG: Duration = Duration::from_secs(3600);

type Promise = fn(StartMethod);

const PROMISES: [Promise; 15] = [
    map_gives_results_in_order,
    map_into_writes_every_element,
    map_fails_with_the_first_error_by_index,
    try_map_gives_each_item_its_own_result,
    map_blocks_writes_every_block,
    try_map_blocks_gives_each_block_its_own_result,
    imap_is_lazy_and_in_order,
    imap_brings_an_error_at_its_position,
    imap_may_be_dropped_half_read,
    imap_unordered_gives_every_result_once,
    apply_gives_one_result,
    apply_async_gives_handles_that_resolve,
    schedules_and_chunks_change_no_result,
    options_of_a_job_hold,
    states_are_made_and_taken_by_hooks,
];

fn keep(method: StartMethod) {
    PROMISES.into_iter().for_each(|promise| promise(method));
}

#[test]
fn a_fork_server_keeps_every_promise() {
    let guard = Leftovers::watch();
    keep(StartMethod::ForkServer);
    guard.assert_none();
}

#[test]
fn spawn_keeps_every_promise() {
    let guard = Leftovers::watch();
    keep(StartMethod::Spawn);
    guard.assert_none();
}

#[test]
fn fork_keeps_every_promise() {
    let guard = Leftovers::watch();
    alone(|()| keep(StartMethod::Fork));
    guard.assert_none();
}

#[test]
fn threads_keep_every_promise() {
    let guard = Leftovers::watch();
    keep(StartMethod::Thread);
    guard.assert_none();
}

#[test]
fn the_calling_thread_keeps_every_promise() {
    let guard = Leftovers::watch();
    keep(StartMethod::InProcess);
    guard.assert_none();
}

fn pool(method: StartMethod) -> Pool {
    Pool::builder()
        .workers(2)
        .start_method(method)
        .env("RUST_BACKTRACE", "0")
        .build()
        .unwrap()
}

fn square(i: u64) -> u64 {
    i * i
}

fn squares(count: u64) -> Vec<u64> {
    (0..count).map(square).collect()
}

fn text(i: u64) -> String {
    "x".repeat(i as usize % 7) + &i.to_string()
}

/// Fails for two items of the first twenty: 7 and 17.
fn picky(i: u64) -> u64 {
    assert!(i % 10 != 7, "refuses {i}");
    i
}

fn is_refusal(error: &TaskError, of: u64) -> bool {
    matches!(error, TaskError::Panicked(panic) if panic.message == format!("refuses {of}"))
}

fn map_gives_results_in_order(method: StartMethod) {
    let pool = pool(method);
    assert_eq!(pool.map(square, 0..10_000).unwrap(), squares(10_000));
    assert_eq!(
        pool.map(square, (0..300).collect::<Vec<_>>()).unwrap(),
        squares(300)
    );
    let texts: Vec<String> = (0..300).map(text).collect();
    assert_eq!(pool.map(text, 0..300).unwrap(), texts);
    let sums = pool.map(
        |(a, b): (u64, String)| b.len() as u64 + a,
        [(1, "ab".into())],
    );
    assert_eq!(sums.unwrap(), [3]);
    assert!(pool.map(square, 0..0).unwrap().is_empty());
    assert!(pool.map(square, Vec::new()).unwrap().is_empty());
}

fn map_into_writes_every_element(method: StartMethod) {
    let pool = pool(method);
    let mut array = SharedArray::<u64, _>::zeros(1000).unwrap();
    pool.map_into(square, 0..1000, &mut array).unwrap();
    assert_eq!(array.view().to_vec(), squares(1000));
    let mut array = SharedArray::<u64, _>::zeros(100).unwrap();
    let values: Vec<u64> = (0..100).collect();
    pool.map_into(square, values, &mut array).unwrap();
    assert_eq!(array.view().to_vec(), squares(100));
    let error = pool.map_into(picky, 0..100, &mut array).unwrap_err();
    let (index, cause) = error.task().unwrap();
    assert!(index % 10 == 7 && is_refusal(cause, index), "{error}");
}

fn map_fails_with_the_first_error_by_index(method: StartMethod) {
    let pool = pool(method);
    let values: Vec<u64> = (0..20).collect();
    for error in [
        pool.job(picky).chunk(1).map(0..20).unwrap_err(),
        pool.job(picky).chunk(1).map(values).unwrap_err(),
    ] {
        let (index, cause) = error.task().unwrap();
        // The other one may have failed first, and then the first was cancelled before it began.
        assert!(index == 7 || index == 17, "{error}");
        assert!(is_refusal(cause, index), "{error}");
    }
    assert_eq!(pool.map(square, 0..3).unwrap(), [0, 1, 4]);
}

fn check_each(results: Vec<Result<u64, TaskError>>) {
    assert_eq!(results.len(), 20);
    for (i, result) in (0..).zip(results) {
        match result {
            Ok(value) => assert!(value == i && i % 10 != 7),
            Err(error) => assert!(i % 10 == 7 && is_refusal(&error, i), "{error}"),
        }
    }
}

fn try_map_gives_each_item_its_own_result(method: StartMethod) {
    let pool = pool(method);
    check_each(pool.try_map(picky, 0..20).unwrap());
    check_each(pool.try_map(picky, (0..20).collect::<Vec<_>>()).unwrap());
}

fn fill(mut block: BlockMut<'_, u64, Ix1>) -> u64 {
    let start = block.start() as u64;
    for (i, value) in (start..).zip(block.view_mut()) {
        *value = i + 1;
    }
    start
}

fn map_blocks_writes_every_block(method: StartMethod) {
    let pool = pool(method);
    let mut array = SharedArray::<u64, _>::zeros(1001).unwrap();
    let starts = pool.map_blocks(fill, array.axis_chunks_mut(Axis(0), 10));
    assert_eq!(
        starts.unwrap(),
        (0..101).map(|i| i * 10).collect::<Vec<_>>()
    );
    assert!((1..).zip(array.view()).all(|(i, value)| *value == i));
}

fn try_map_blocks_gives_each_block_its_own_result(method: StartMethod) {
    let pool = pool(method);
    let mut array = SharedArray::<u64, _>::zeros(40).unwrap();
    let task = |block: BlockMut<'_, u64, Ix1>| {
        picky(block.index() as u64);
        fill(block) / 2
    };
    check_each(
        pool.try_map_blocks(task, array.axis_chunks_mut(Axis(0), 2))
            .unwrap(),
    );
    for (i, value) in (0..).zip(array.view()) {
        let written = i / 2 % 10 != 7;
        assert_eq!(*value, if written { i + 1 } else { 0 });
    }
    let error = pool
        .map_blocks(task, array.axis_chunks_mut(Axis(0), 2))
        .unwrap_err();
    assert!(matches!(error.task(), Some((7 | 17, _))), "{error}");
}

fn imap_is_lazy_and_in_order(method: StartMethod) {
    let pool = pool(method);
    let mut taken = 0;
    let endless = std::iter::from_fn(|| {
        taken += 1;
        Some(taken - 1)
    });
    let mut stream = pool.job(text).window(16).imap(endless);
    for i in 0..100 {
        assert_eq!(stream.next().unwrap().unwrap(), text(i));
    }
    drop(stream);
    assert!(taken <= 100 + 16, "{taken} taken");
}

fn imap_brings_an_error_at_its_position(method: StartMethod) {
    let pool = pool(method);
    let results: Vec<Result<u64, PoolError>> = pool.imap(picky, 0..20).collect();
    assert_eq!(results.len(), 20);
    for (i, result) in (0..).zip(results) {
        match result {
            Ok(value) => assert!(value == i && i % 10 != 7),
            Err(error) => assert!(is_refusal(error.task().unwrap().1, i), "{error}"),
        }
    }
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
}

fn imap_may_be_dropped_half_read(method: StartMethod) {
    let pool = pool(method);
    let mut stream = pool.imap(square, 0..);
    assert_eq!(stream.nth(10).unwrap().unwrap(), 100);
    drop(stream);
    let mut stream = pool.imap_unordered(square, 0..);
    assert!(stream.next().unwrap().is_ok());
    drop(stream);
    assert_eq!(pool.map(square, 0..3).unwrap(), [0, 1, 4]);
}

fn imap_unordered_gives_every_result_once(method: StartMethod) {
    let pool = pool(method);
    let stream = pool.imap_unordered(square, 0..500);
    let mut results: Vec<u64> = stream.collect::<Result<_, _>>().unwrap();
    results.sort_unstable();
    assert_eq!(results, squares(500));
}

fn apply_gives_one_result(method: StartMethod) {
    let pool = pool(method);
    assert_eq!(pool.apply(square, 12).unwrap(), 144);
    let long = "ä".repeat(500_000);
    assert_eq!(
        pool.apply(|text: String| text + "!", long.clone()).unwrap(),
        long + "!"
    );
    let error = pool.apply(picky, 7).unwrap_err();
    assert!(is_refusal(error.task().unwrap().1, 7), "{error}");
}

fn apply_async_gives_handles_that_resolve(method: StartMethod) {
    let pool = pool(method);
    let send = |i: u64| pool.apply_async(square, i).unwrap();
    let handles: Vec<_> = (0..1500).map(send).collect();
    let results = handles.into_iter().map(|handle| handle.get().unwrap());
    assert_eq!(results.collect::<Vec<_>>(), squares(1500));
    assert_eq!(send(4).get_timeout(LONG).unwrap().unwrap(), 16);
    let handles: Vec<_> = (0..20).map(send).collect();
    assert!(wait_any(&handles, Some(LONG)).is_some());
    assert!(wait_all(&handles, Some(LONG)));
    assert!(handles.iter().all(|handle| handle.is_ready()));
    let completed = as_completed(handles);
    let mut results: Vec<_> = completed
        .map(|(i, result)| (i as u64, result.unwrap()))
        .collect();
    results.sort_unstable();
    assert_eq!(results, (0..).zip(squares(20)).collect::<Vec<_>>());
    let (sender, said) = mpsc::channel();
    let errors = sender.clone();
    let good = send(5).on_success(move |value| sender.send(value.to_string()).unwrap());
    let bad = pool.apply_async(picky, 7).unwrap();
    let bad = bad.on_error(move |error| errors.send(error.to_string()).unwrap());
    drop((good, bad));
    let mut said: Vec<String> = said.iter().collect();
    said.sort();
    assert!(said[0] == "25" && said[1].contains("refuses 7"), "{said:?}");
}

fn schedules_and_chunks_change_no_result(method: StartMethod) {
    let pool = pool(method);
    for schedule in [
        Schedule::Auto,
        Schedule::Static,
        Schedule::Dynamic { chunk: 7 },
        Schedule::Guided { min_chunk: 3 },
    ] {
        let job = || pool.job(square).schedule(schedule);
        assert_eq!(job().map(0..1000).unwrap(), squares(1000));
        let values = (0..100).collect::<Vec<_>>();
        assert_eq!(job().map(values).unwrap(), squares(100));
        let mut array = SharedArray::<u64, _>::zeros(100).unwrap();
        let blocks = array.axis_chunks_mut(Axis(0), 3);
        let starts = pool.job(fill).schedule(schedule).map_blocks(blocks);
        assert_eq!(starts.unwrap().len(), 34);
        assert!((1..).zip(array.view()).all(|(i, value)| *value == i));
    }
    for chunk in [1, 3, 1_000_000] {
        assert_eq!(
            pool.job(square).chunk(chunk).map(0..1000).unwrap(),
            squares(1000)
        );
        let stream = pool.job(square).chunk(chunk).imap(0..100);
        assert_eq!(stream.collect::<Result<Vec<_>, _>>().unwrap(), squares(100));
    }
    assert!(pool.job(square).chunk(0).map(0..3).unwrap_err().is_option());
}

fn options_of_a_job_hold(method: StartMethod) {
    let pool = pool(method);
    let (sender, progress) = mpsc::channel();
    let tell = move |progress| sender.send(progress).unwrap();
    let job = pool.job(square).retries(3).name("squares");
    let job = job.progress(Duration::from_millis(1), tell);
    assert_eq!(job.map(0..1000).unwrap(), squares(1000));
    let last = progress.iter().last().unwrap();
    assert_eq!((last.done, last.total), (1000, Some(1000)));
    let error = pool.job(picky).name("the picky").map([7]).unwrap_err();
    assert!(error.to_string().contains("the picky"), "{error}");
    let attempt = |_: u64| {
        let here = current().unwrap();
        (here.attempt(), here.index())
    };
    let seen = pool.job(attempt).retries(2).map(0..3).unwrap();
    assert_eq!(seen, [(0, 0), (0, 1), (0, 2)]);
    // A deadline needs a process that can be stopped.
    let timed = pool.job(square).deadline(LONG).map(0..10);
    match method {
        StartMethod::Thread | StartMethod::InProcess => {
            assert!(timed.unwrap_err().is_option());
        }
        _ => assert_eq!(timed.unwrap(), squares(10)),
    }
}

fn states_are_made_and_taken_by_hooks(method: StartMethod) {
    if method == StartMethod::InProcess {
        // It has no workers that leave.
        let hook = Pool::builder().start_method(method).exit_hook(|()| ());
        return assert!(hook.build().unwrap_err().is_option());
    }
    let count = |state: &mut (u64, u64), i: u64| {
        state.1 += 1;
        state.0 + i
    };
    let pool = Pool::builder()
        .workers(2)
        .start_method(method)
        .initializer(|base: u64| (base, 0), 100)
        .exit_hook(|state: (u64, u64)| state.1)
        .build()
        .unwrap();
    let exits = pool.exit_results::<u64>().unwrap();
    let results = pool.map(count, 0..50).unwrap();
    assert_eq!(results, (100..150).collect::<Vec<_>>());
    assert_eq!(pool.apply(count, 1).unwrap(), 101);
    let size = pool.size();
    pool.join();
    let exits = exits.take();
    assert_eq!(exits.len(), size);
    let counts = exits.into_iter().map(|exit| exit.result.unwrap());
    assert_eq!(counts.sum::<u64>(), 51);
}
