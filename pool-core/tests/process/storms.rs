//! Workers that are killed from outside, at random or at the worst time: no result is lost, none is given twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ndarray::{Axis, Ix1};
use pool_core::{Pool, StartMethod, TaskError, WorkerExit, WorkerState};
use pool_shm::{BlockMut, SharedArray};
use rustix::process::Signal;

use crate::common::{Board, Dice, LIMIT, Leftovers, METHODS, Process, exit_of, parent_of};

/// Counter of tasks that were begun.
const BEGUN: usize = 0;
/// Counter on which tasks wait.
const GATE: usize = 1;
/// How many tasks may be begun before the next worker is killed.
const PACE: usize = 2;
/// Where counters of single items begin: one for its beginnings, one for its ends.
const ITEMS: usize = 16;

fn pool(method: StartMethod, workers: usize, board: &Board) -> Pool<Board> {
    board.set(PACE, u32::MAX / 2);
    Pool::builder()
        .workers(workers)
        .start_method(method)
        .initializer(|board: Board| board, board.clone())
        .build()
        .unwrap()
}

fn hold<S: 'static>(pool: &Pool<S>) -> Vec<Process> {
    pool.workers()
        .into_iter()
        .filter_map(|worker| Process::of_ours(worker.pid))
        .collect()
}

/// Those that have said that they are ready: three in a row that never get so far make a pool give up.
fn hold_ready<S: 'static>(pool: &Pool<S>) -> Vec<Process> {
    let workers = pool.workers().into_iter();
    workers
        .filter(|worker| matches!(worker.state, WorkerState::Idle | WorkerState::Busy))
        .filter_map(|worker| Process::of_ours(worker.pid))
        .collect()
}

/// The same once there are as many as there should be.
fn hold_all<S: 'static>(pool: &Pool<S>) -> Vec<Process> {
    let end = Instant::now() + LIMIT;
    loop {
        let workers = hold(pool);
        if workers.len() == pool.size() {
            return workers;
        }
        assert!(Instant::now() < end, "only {workers:?}");
        std::thread::yield_now();
    }
}

/// Runs `call` while a random worker is killed after every `step` tasks that were begun; how many were killed.
fn storm<R>(pool: &Pool<Board>, board: &Board, step: u32, call: impl FnOnce() -> R) -> (R, u32) {
    let done = AtomicBool::new(false);
    board.set(BEGUN, 0);
    board.set(PACE, 2 * step);
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let (mut dice, mut killed) = (Dice(0x9e37_79b9_7f4a_7c15), 0);
            loop {
                board.wait(BEGUN, (killed + 1) * step);
                if done.load(Ordering::SeqCst) {
                    return killed;
                }
                let workers = hold_ready(pool);
                if !workers.is_empty() {
                    workers[dice.roll(workers.len())].kill();
                }
                killed += 1;
                board.set(PACE, (killed + 2) * step);
            }
        });
        let result = call();
        done.store(true, Ordering::SeqCst);
        board.set(PACE, u32::MAX / 2);
        board.set(BEGUN, u32::MAX / 2);
        (result, killed_by(killer))
    })
}

fn killed_by(killer: std::thread::ScopedJoinHandle<'_, u32>) -> u32 {
    killer.join().unwrap()
}

fn work(board: &Board, i: u32) -> u32 {
    let begun = board.count(BEGUN);
    board.wait(PACE, begun.min(u32::MAX / 2));
    (0..3000).fold(i, |x, y| x.wrapping_add(std::hint::black_box(y) ^ y))
}

fn number(board: &mut Board, i: u32) -> u32 {
    work(board, i)
}

fn text(board: &mut Board, i: u32) -> String {
    work(board, i).to_string()
}

fn longer(board: &mut Board, text: String) -> String {
    work(board, 0);
    text + "."
}

fn fill(board: &mut Board, mut block: BlockMut<'_, u64, Ix1>) -> u32 {
    work(board, 0);
    let start = block.start() as u64;
    block.view_mut().fill(start + 1);
    block.index() as u32
}

fn fill_text(board: &mut Board, block: BlockMut<'_, u64, Ix1>) -> String {
    fill(board, block).to_string()
}

#[test]
fn every_result_exactly_once_over_ranges() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let board = Board::new();
        let pool = pool(method, 3, &board);
        let (results, killed) = storm(&pool, &board, 400, || {
            pool.job(number).retries(u32::MAX).map(0..20_000)
        });
        assert_eq!(results.unwrap(), (0..20_000).collect::<Vec<_>>());
        assert!(killed >= 20, "{killed}");
        let (results, killed) = storm(&pool, &board, 400, || {
            pool.job(number).retries(u32::MAX).chunk(100).map(0..20_000)
        });
        assert_eq!(results.unwrap(), (0..20_000).collect::<Vec<_>>());
        assert!(killed >= 20, "{killed}");
        let (results, _) = storm(&pool, &board, 400, || {
            pool.job(text).retries(u32::MAX).map(0..20_000)
        });
        assert!(
            (0..20_000u32)
                .zip(results.unwrap())
                .all(|(i, text)| i.to_string() == text)
        );
    }
    guard.assert_none();
}

#[test]
fn every_result_exactly_once_over_values() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let board = Board::new();
        let pool = pool(method, 3, &board);
        let items = || (0..10_000).map(|i: u32| i.to_string());
        let (results, killed) = storm(&pool, &board, 300, || {
            pool.job(longer).retries(u32::MAX).map(items())
        });
        assert!(
            items()
                .zip(results.unwrap())
                .all(|(item, result)| item + "." == result)
        );
        assert!(killed >= 20, "{killed}");
        let (results, _) = storm(&pool, &board, 300, || {
            pool.job(number)
                .retries(u32::MAX)
                .chunk(16)
                .map((0..10_000).collect::<Vec<_>>())
        });
        assert_eq!(results.unwrap(), (0..10_000).collect::<Vec<_>>());
        let (results, _) = storm(&pool, &board, 20, || -> Vec<String> {
            items()
                .take(500)
                .map(|item| pool.job(longer).retries(u32::MAX).apply(item).unwrap())
                .collect()
        });
        assert!(
            items()
                .zip(results)
                .all(|(item, result)| item + "." == result)
        );
    }
    guard.assert_none();
}

#[test]
fn every_block_is_written() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let board = Board::new();
        let pool = pool(method, 3, &board);
        let mut array = SharedArray::<u64, _>::zeros(30_000).unwrap();
        let (results, killed) = storm(&pool, &board, 300, || {
            pool.job(fill)
                .retries(u32::MAX)
                .map_blocks(array.axis_chunks_mut(Axis(0), 3))
        });
        assert_eq!(results.unwrap(), (0..10_000).collect::<Vec<_>>());
        assert!(killed >= 20, "{killed}");
        assert!(
            array
                .view()
                .iter()
                .enumerate()
                .all(|(i, value)| *value == (i / 3 * 3) as u64 + 1)
        );
        array.view_mut().fill(0);
        let (results, _) = storm(&pool, &board, 300, || {
            pool.job(fill_text)
                .retries(u32::MAX)
                .map_blocks(array.axis_chunks_mut(Axis(0), 3))
        });
        assert!(
            (0..10_000u32)
                .zip(results.unwrap())
                .all(|(i, text)| i.to_string() == text)
        );
        assert!(
            array
                .view()
                .iter()
                .enumerate()
                .all(|(i, value)| *value == (i / 3 * 3) as u64 + 1)
        );
        // No dead worker keeps it mapped.
        assert_eq!(array.freeze().unwrap().view()[29_999], 29_998);
    }
    guard.assert_none();
}

fn counted(board: &mut Board, i: u32) -> u32 {
    board.count(ITEMS + 2 * i as usize);
    let result = work(board, i);
    board.count(ITEMS + 2 * i as usize + 1);
    result
}

#[test]
fn without_retries_just_the_tasks_that_had_begun_are_lost() {
    let guard = Leftovers::watch();
    for method in METHODS {
        for stream in [false, true] {
            let board = Board::new();
            let pool = pool(method, 3, &board);
            let (results, killed) = storm(&pool, &board, 300, || {
                if stream {
                    let texts = pool.try_map(
                        |board: &mut Board, i: u32| counted(board, i).to_string(),
                        0..10_000,
                    );
                    let numbers = texts
                        .unwrap()
                        .into_iter()
                        .map(|text| text.map(|text| text.parse().unwrap()));
                    numbers.collect()
                } else {
                    pool.try_map(counted, 0..10_000).unwrap()
                }
            });
            let mut lost = 0;
            for (i, result) in (0..10_000u32).zip(&results) {
                let [begun, ended] = [0, 1].map(|end| board.get(ITEMS + 2 * i as usize + end));
                match result {
                    Ok(value) => assert_eq!((*value, begun, ended), (i, 1, 1)),
                    Err(TaskError::WorkerDied(death)) => {
                        assert!(
                            begun <= 1
                                && death.attempts == 1
                                && death.exit == WorkerExit::Signal(9),
                            "{death} {begun}"
                        );
                        lost += 1;
                    }
                    Err(other) => panic!("{other}"),
                }
            }
            assert!(lost <= killed, "{lost} tasks lost by {killed} deaths");
            assert!(killed >= 10);
        }
    }
    guard.assert_none();
}

#[test]
fn idle_workers_are_replaced() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let board = Board::new();
        let pool = pool(method, 3, &board);
        for round in 0..5 {
            let workers = hold_all(&pool);
            let victims = if round % 2 == 0 {
                &workers[..1]
            } else {
                &workers[..]
            };
            victims.iter().for_each(Process::kill);
            victims.iter().for_each(Process::await_end);
            assert_eq!(
                pool.map(number, 0..100).unwrap(),
                (0..100).collect::<Vec<_>>()
            );
            assert_eq!(pool.apply(number, 7).unwrap(), 7);
        }
    }
    guard.assert_none();
}

/// Waits at the gate.
fn gated(board: &mut Board, i: u32) -> u32 {
    board.count(BEGUN);
    board.wait(GATE, 1);
    i
}

/// Runs `fault` on the workers while each of three is in a task of six; the results.
fn while_all_are_busy(
    method: StartMethod,
    retries: u32,
    fault: impl FnOnce(&[Process]),
) -> Vec<Result<u32, TaskError>> {
    let board = Board::new();
    let pool = pool(method, 3, &board);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| pool.job(gated).chunk(1).retries(retries).try_map(0..6));
        board.wait(BEGUN, 3);
        fault(&hold(&pool));
        board.set(GATE, 1);
        call.join().unwrap().unwrap()
    })
}

#[test]
fn all_workers_killed_at_once() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let kill_all = |workers: &[Process]| {
            workers.iter().for_each(Process::kill);
            workers.iter().for_each(Process::await_end);
        };
        let results = while_all_are_busy(method, 5, kill_all);
        assert_eq!(results, (0..6).map(Ok).collect::<Vec<_>>());
        let results = while_all_are_busy(method, 0, kill_all);
        let lost: Vec<_> = results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .collect();
        assert_eq!(lost.len(), 3, "{results:?}");
        assert!(
            lost.into_iter()
                .all(|error| exit_of(error) == Some(WorkerExit::Signal(9)))
        );
    }
    guard.assert_none();
}

#[test]
fn a_stopped_worker_that_is_killed() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let stop_and_kill = |workers: &[Process]| {
            workers[1].signal(Signal::STOP);
            workers[1].kill();
            workers[1].await_end();
        };
        let results = while_all_are_busy(method, 0, stop_and_kill);
        let lost: Vec<_> = results
            .iter()
            .filter_map(|result| result.as_ref().err())
            .collect();
        assert_eq!(lost.len(), 1, "{results:?}");
        assert_eq!(exit_of(lost[0]), Some(WorkerExit::Signal(9)));
        let results = while_all_are_busy(method, 1, stop_and_kill);
        assert_eq!(results, (0..6).map(Ok).collect::<Vec<_>>());
    }
    guard.assert_none();
}

#[test]
fn the_fork_server_is_killed() {
    let guard = Leftovers::watch();
    let kill_server = |workers: &[Process]| {
        let server = Process::of_ours(parent_of(workers[0].pid)).unwrap();
        assert_ne!(server.pid, std::process::id());
        server.kill();
        server.await_end();
        workers.iter().for_each(Process::await_end);
    };
    for round in 0..10 {
        let results = while_all_are_busy(StartMethod::ForkServer, round % 2, kill_server);
        let lost = results.iter().filter(|result| result.is_err()).count();
        assert_eq!(lost, if round % 2 == 0 { 3 } else { 0 }, "{results:?}");
    }
    let pool = Pool::new(3).unwrap();
    for _ in 0..10 {
        kill_server(&hold_all(&pool));
        assert_eq!(
            pool.map(|i: u32| i + 1, 0..10).unwrap(),
            (1..11).collect::<Vec<_>>()
        );
    }
    drop(pool);
    guard.assert_none();
}

#[test]
fn killed_while_a_large_result_is_half_written() {
    let guard = Leftovers::watch();
    let task = |board: &mut Board, i: u32| {
        let bytes = serde_bytes::ByteBuf::from(vec![i as u8; 30_000_000]);
        board.count(BEGUN);
        bytes
    };
    for method in METHODS {
        let board = Board::new();
        let pool = pool(method, 2, &board);
        let (results, killed) = storm(&pool, &board, 3, || {
            pool.job(task).retries(u32::MAX).map(0..12)
        });
        let results = results.unwrap();
        assert_eq!(results.len(), 12);
        assert!(
            (0..12)
                .zip(&results)
                .all(|(i, bytes)| **bytes == vec![i; 30_000_000])
        );
        assert!(killed >= 3);
    }
    guard.assert_none();
}

#[test]
fn a_poisonous_task_stops_at_its_limit() {
    let guard = Leftovers::watch();
    let board = Board::new();
    let pool = pool(StartMethod::ForkServer, 2, &board);
    let task = |board: &mut Board, i: u32| {
        if i == 5 {
            board.count(BEGUN);
            std::process::abort();
        }
        i
    };
    let items: Vec<u32> = (0..10).collect();
    for results in [
        pool.job(task).retries(3).try_map(0..10).unwrap(),
        pool.job(task).retries(3).try_map(items).unwrap(),
    ] {
        for (i, result) in (0..).zip(results) {
            match result {
                Ok(value) => assert!(value == i && i != 5),
                Err(TaskError::WorkerDied(death)) => assert_eq!((i, death.attempts), (5, 4)),
                Err(other) => panic!("{other}"),
            }
        }
    }
    assert_eq!(board.get(BEGUN), 8);
    drop((pool, board));
    guard.assert_none();
}

#[test]
fn poisonous_tasks_stop_at_their_limit_and_starve_nobody() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let board = Board::new();
        let pool = pool(method, 2, &board);
        let poison = |board: &mut Board, i: u32| -> u32 {
            board.count(ITEMS + i as usize);
            std::process::abort()
        };
        let handles: Vec<_> = (0..8)
            .map(|i| pool.job(poison).retries(3).apply_async(i).unwrap())
            .collect();
        // Beside them, calls whose tasks are not repeatable: none is lost, though 32 workers die meanwhile.
        for _ in 0..10 {
            assert_eq!(
                pool.map(number, 0..100).unwrap(),
                (0..100).collect::<Vec<_>>()
            );
            assert_eq!(pool.apply(longer, "x".to_owned()).unwrap(), "x.");
            let stream: Result<Vec<u32>, _> = pool.imap(number, 0..20).collect();
            assert_eq!(stream.unwrap(), (0..20).collect::<Vec<_>>());
        }
        for (i, handle) in (0..).zip(handles) {
            let error = handle.get().unwrap_err();
            let Some((_, TaskError::WorkerDied(death))) = error.task() else {
                panic!("{error}")
            };
            assert_eq!((death.attempts, death.exit), (4, WorkerExit::Signal(6)));
            assert_eq!(board.get(ITEMS + i), 4);
        }
    }
    guard.assert_none();
}

/// For how long workers are killed at random: one round, or until so many seconds are over.
fn length_of_the_storm() -> std::time::Duration {
    let seconds = std::env::var("POOL_CORE_STORM_SECONDS").ok();
    let seconds = seconds.map_or(0, |seconds| seconds.parse().unwrap());
    std::time::Duration::from_secs(seconds)
}

/// `POOL_CORE_STORM_SECONDS=60` makes it last a minute.
#[test]
fn killing_at_random_under_streams_and_handles_at_once() {
    let guard = Leftovers::watch();
    let start = Instant::now();
    let mut killed_in_all = 0;
    loop {
        for method in METHODS {
            let board = Board::new();
            let pool = pool(method, 3, &board);
            let expected: Vec<u32> = (0..2_000).collect();
            let repeatable = || pool.job(number).retries(u32::MAX);
            let stream = || repeatable().imap(0..2_000).collect::<Result<Vec<u32>, _>>();
            let handles = || -> Result<Vec<u32>, _> {
                let handles: Result<Vec<_>, _> =
                    (0..2_000).map(|i| repeatable().apply_async(i)).collect();
                handles?
                    .into_iter()
                    .map(pool_core::TaskHandle::get)
                    .collect()
            };
            let (results, killed) = storm(&pool, &board, 100, || {
                std::thread::scope(|scope| {
                    let calls = [scope.spawn(stream), scope.spawn(stream)];
                    let results = [handles(), handles()];
                    let streams = calls.map(|call| call.join().unwrap());
                    streams.into_iter().chain(results).collect::<Vec<_>>()
                })
            });
            for results in results {
                assert_eq!(results.unwrap(), expected);
            }
            killed_in_all += killed;
        }
        if start.elapsed() >= length_of_the_storm() {
            break;
        }
    }
    assert!(killed_in_all >= 20, "{killed_in_all}");
    guard.assert_none();
}

#[test]
fn every_result_exactly_once_through_handles_and_streams() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let board = Board::new();
        let pool = pool(method, 3, &board);
        let expected: Vec<u32> = (0..5_000).collect();
        let repeatable = || pool.job(number).retries(u32::MAX);
        let (results, killed) = storm(&pool, &board, 200, || {
            let handles: Result<Vec<_>, _> =
                (0..5_000).map(|i| repeatable().apply_async(i)).collect();
            let results = handles.unwrap().into_iter().map(pool_core::TaskHandle::get);
            results.collect::<Result<Vec<u32>, _>>()
        });
        assert_eq!(results.unwrap(), expected);
        assert!(killed >= 10, "{killed}");
        let (results, _) = storm(&pool, &board, 200, || {
            let handles: Result<Vec<_>, _> =
                (0..5_000).map(|i| repeatable().apply_async(i)).collect();
            let completed = pool_core::as_completed(handles.unwrap());
            completed
                .map(|(_, result)| result)
                .collect::<Result<Vec<u32>, _>>()
        });
        let mut results = results.unwrap();
        results.sort_unstable();
        assert_eq!(results, expected);
        let (results, _) = storm(&pool, &board, 200, || {
            repeatable().imap(0..5_000).collect::<Result<Vec<u32>, _>>()
        });
        assert_eq!(results.unwrap(), expected);
        let (results, _) = storm(&pool, &board, 200, || {
            let texts = pool.job(text).retries(u32::MAX).imap_unordered(0..5_000);
            texts
                .map(|text| Ok(text?.parse().unwrap()))
                .collect::<Result<Vec<u32>, pool_core::PoolError>>()
        });
        let mut results = results.unwrap();
        results.sort_unstable();
        assert_eq!(results, expected);
    }
    guard.assert_none();
}
