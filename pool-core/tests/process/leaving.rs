//! Workers that leave in good order: the exit hook and its limit, the initializer's limit, recycling.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ndarray::Ix1;
use pool_core::{
    ExitResult, Hook, Pool, PoolBuilder, StartMethod, TaskError, WorkerEnd, WorkerExit,
    WorkerState, current,
};
use pool_shm::{FrozenArray, SharedArray};

use crate::common::{Board, Leftovers, METHODS, exit_of};

/// Counts initializers; what it returns is which one this was.
const BEGUN: usize = 0;
const LEFT: usize = 1;
const GATE: usize = 2;

const SHORT: Duration = Duration::from_millis(30);

struct State {
    board: Board,
    number: u32,
    tasks: u32,
}

fn init(board: Board) -> State {
    let number = board.count(BEGUN);
    State {
        board,
        number,
        tasks: 0,
    }
}

/// Which worker it was, how many had been started by then, and how many tasks it has run.
fn report(state: State) -> (u32, u32, u32) {
    state.board.count(LEFT);
    (state.number, state.board.get(BEGUN), state.tasks)
}

fn count(state: &mut State, i: u32) -> u32 {
    state.tasks += 1;
    i + 1
}

fn builder(workers: usize, method: StartMethod, board: &Board) -> PoolBuilder<State> {
    Pool::builder()
        .workers(workers)
        .start_method(method)
        .initializer(init, board.clone())
        .exit_hook(report)
}

fn results<T>(exits: Vec<ExitResult<T>>) -> Vec<T> {
    let results = exits.into_iter().map(|exit| exit.result);
    results.collect::<Result<_, _>>().unwrap()
}

#[test]
fn exit_hooks_take_the_state_and_their_results_are_collected() {
    let guard = Leftovers::watch();
    let board = Board::new();
    for method in METHODS.into_iter().chain([StartMethod::Thread]) {
        for joins in [true, false] {
            let pool = builder(3, method, &board).build().unwrap();
            let exits = pool.exit_results::<(u32, u32, u32)>().unwrap();
            assert_eq!(
                pool.map(count, 0..60).unwrap(),
                (1..=60).collect::<Vec<_>>()
            );
            assert!(exits.take().is_empty());
            if joins {
                pool.join();
            } else {
                drop(pool);
            }
            let exits = exits.take();
            let workers: BTreeSet<usize> = exits.iter().map(|exit| exit.worker).collect();
            assert_eq!(workers, BTreeSet::from([0, 1, 2]), "{method}");
            let tasks = results(exits).into_iter().map(|(_, _, tasks)| tasks);
            assert_eq!(tasks.sum::<u32>(), 60);
        }
    }
    drop(board);
    guard.assert_none();
}

#[test]
fn results_of_exit_hooks_have_one_type() {
    let guard = Leftovers::watch();
    let pool = Pool::builder()
        .workers(1)
        .exit_hook(|()| 7u8)
        .build()
        .unwrap();
    let error = pool.exit_results::<String>().unwrap_err();
    assert!(error.is_option() && error.to_string().contains("another type"));
    assert!(pool.exit_results::<u8>().is_ok());
    let without = Pool::new(1).unwrap();
    assert!(without.exit_results::<()>().unwrap_err().is_option());
    let early = Pool::builder().exit_hook(|()| ()).initializer(|x: u8| x, 1);
    let error = early.build().unwrap_err().to_string();
    assert!(
        error.contains("`exit_hook`") && error.contains("after"),
        "{error}"
    );
    drop((pool, without));
    guard.assert_none();
}

fn end_badly(way: String) -> u32 {
    match &*way {
        "panic" => panic!("on purpose"),
        "exit" => std::process::exit(3),
        "abort" => std::process::abort(),
        "hang" => loop {
            std::thread::park();
        },
        _ => 7,
    }
}

#[test]
fn a_bad_exit_hook_is_reported_and_harms_nobody() {
    let guard = Leftovers::watch();
    for method in METHODS {
        for way in ["panic", "exit", "abort", "hang", "well"] {
            let pool = Pool::builder()
                .workers(2)
                .start_method(method)
                .initializer(|way: String| way, way.to_owned())
                .exit_hook(end_badly)
                .exit_timeout(if way == "hang" {
                    SHORT
                } else {
                    Duration::from_secs(60)
                })
                .build()
                .unwrap();
            let exits = pool.exit_results::<u32>().unwrap();
            pool.resize(1).unwrap();
            // The other one works while the hook does what it does.
            assert_eq!(pool.map(|i: u32| i, 0..100).unwrap().len(), 100);
            pool.join();
            let exits = exits.take();
            assert_eq!(exits.len(), 2, "{method} {way}");
            for exit in exits {
                match (way, &exit.result) {
                    ("well", Ok(7)) => {}
                    ("panic", Err(TaskError::Panicked(panic))) => {
                        assert_eq!(panic.message, "on purpose");
                        assert!(panic.location.as_ref().unwrap().contains("leaving.rs"));
                    }
                    ("exit", Err(error)) => assert_eq!(exit_of(error), Some(WorkerExit::Code(3))),
                    ("abort", Err(error)) => {
                        assert_eq!(exit_of(error), Some(WorkerExit::Signal(6)));
                    }
                    ("hang", Err(TaskError::Overtime(late))) => {
                        assert_eq!((late.hook, late.limit), (Hook::ExitHook, SHORT));
                        assert_eq!((late.worker, late.pid), (exit.worker, exit.pid));
                    }
                    (way, other) => panic!("{method} {way}: {other:?}"),
                }
            }
        }
    }
    guard.assert_none();
}

#[test]
fn a_long_result_of_an_exit_hook_arrives() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .exit_hook(|()| "ä".repeat(1_000_000))
            .build()
            .unwrap();
        let exits = pool.exit_results::<String>().unwrap();
        drop(pool);
        assert_eq!(
            results(exits.take()),
            ["ä".repeat(1_000_000), "ä".repeat(1_000_000)]
        );
    }
    guard.assert_none();
}

#[test]
fn a_late_initializer_is_the_error_of_build() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let board = Board::new();
        let hang = |board: Board| {
            board.count(BEGUN);
            board.wait(GATE, 1);
        };
        let error = Pool::builder()
            .workers(1)
            .start_method(method)
            .initializer(hang, board.clone())
            .initializer_timeout(Duration::from_millis(300))
            .build()
            .unwrap_err();
        assert!(error.is_initializer(), "{error}");
        let Some((0, TaskError::Overtime(late))) = error.task() else {
            panic!("{error}");
        };
        assert_eq!(late.hook, Hook::Initializer);
        let text = error.to_string();
        for part in [
            "300ms",
            "worker 0",
            "initializer_timeout",
            &late.pid.to_string(),
        ] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        // Three attempts, if the system was fast enough to let each begin.
        assert!(board.get(BEGUN) <= 3);
    }
    guard.assert_none();
}

#[test]
fn one_late_initializer_is_tried_again() {
    let guard = Leftovers::watch();
    let board = Board::new();
    let init = |board: Board| {
        if board.count(BEGUN) == 0 {
            board.wait(GATE, 1);
        }
    };
    let pool = Pool::builder()
        .workers(1)
        .initializer(init, board.clone())
        .initializer_timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    assert_eq!(pool.apply(|i: u32| i, 3).unwrap(), 3);
    assert_eq!(pool.workers()[0].last_end, Some(WorkerEnd::LateInitializer));
    drop((pool, board));
    guard.assert_none();
}

#[test]
fn a_worker_is_recycled_after_its_tasks() {
    let guard = Leftovers::watch();
    for method in METHODS {
        for most in [1, 3] {
            let pool = Pool::builder()
                .workers(2)
                .start_method(method)
                .max_tasks_per_worker(most)
                .build()
                .unwrap();
            let check = |pids: Vec<u32>, tasks: usize| {
                assert_eq!(pids.len(), tasks);
                let mut counts = BTreeMap::<u32, u64>::new();
                for pid in pids {
                    *counts.entry(pid).or_default() += 1;
                }
                assert!(
                    counts.values().all(|count| *count <= most),
                    "{method} {counts:?}"
                );
            };
            let pid = |_: u32| std::process::id();
            check(pool.map(pid, 0..40).unwrap(), 40);
            check(pool.map(pid, vec![0; 40]).unwrap(), 40);
            let handles: Vec<_> = (0..40).map(|i| pool.apply_async(pid, i).unwrap()).collect();
            check(
                handles
                    .into_iter()
                    .map(|handle| handle.get().unwrap())
                    .collect(),
                40,
            );
            let stats = pool.stats();
            assert_eq!((stats.tasks_done, stats.workers_died), (120, 0));
            // As many workers as the tasks need; the last to be replaced may not have gone yet.
            assert!(stats.workers_started >= 120 / most, "{stats:?}");
            assert!(stats.workers_recycled > 0, "{stats:?}");
            // A worker's number is below the size, whoever it replaced.
            let numbers = pool
                .map(|_: u32| current().unwrap().worker_id(), 0..10)
                .unwrap();
            assert!(numbers.iter().all(|number| *number < 2));
        }
    }
    guard.assert_none();
}

#[test]
fn a_given_chunk_is_run_to_its_end_before_its_worker_is_recycled() {
    let guard = Leftovers::watch();
    let pool = Pool::builder()
        .workers(1)
        .max_tasks_per_worker(5)
        .build()
        .unwrap();
    let pids = pool
        .job(|_: u32| std::process::id())
        .chunk(4)
        .map(0..24)
        .unwrap();
    let runs: Vec<usize> = pids.chunk_by(|a, b| a == b).map(<[u32]>::len).collect();
    assert_eq!(runs, [8, 8, 8]);
    drop(pool);
    guard.assert_none();
}

#[test]
fn a_replacement_is_ready_before_the_old_one_leaves() {
    let guard = Leftovers::watch();
    for method in METHODS.into_iter().chain([StartMethod::Thread]) {
        let board = Board::new();
        let pool = builder(1, method, &board)
            .max_tasks_per_worker(1)
            .build()
            .unwrap();
        let exits = pool.exit_results::<(u32, u32, u32)>().unwrap();
        for i in 0..20 {
            assert_eq!(pool.apply(count, i).unwrap(), i + 1);
        }
        board.wait(LEFT, 20);
        drop(pool);
        let mut exits = results(exits.take());
        exits.sort_unstable();
        // Worker 20 has not run a task: it was there when the 19th left, and left when the pool was dropped.
        assert_eq!(exits.len(), 21, "{method}: {exits:?}");
        for (number, begun, tasks) in &exits[..20] {
            assert!(*begun >= number + 2 && *tasks == 1, "{method}: {exits:?}");
        }
        drop(board);
    }
    guard.assert_none();
}

#[test]
fn a_worker_whose_memory_grows_is_recycled() {
    const MEBI: usize = 1 << 20;
    let guard = Leftovers::watch();
    for method in METHODS {
        let mut shared = SharedArray::<u8, _>::zeros(64 * MEBI).unwrap();
        let pool = Pool::builder()
            .workers(1)
            .start_method(method)
            .initializer(|()| Vec::<Vec<u8>>::new(), ())
            .max_memory_per_worker(32 * MEBI as u64)
            .build()
            .unwrap();
        let first = pool.workers()[0].pid;
        // What is shared does not count, though the worker has written all of it.
        let fill = |mut block: pool_shm::BlockMut<'_, u8, Ix1>| {
            block.view_mut().fill(1);
            std::process::id()
        };
        for _ in 0..3 {
            let pids = pool
                .map_blocks(fill, shared.axis_chunks_mut(ndarray::Axis(0), 16 * MEBI))
                .unwrap();
            assert_eq!(pids, [first; 4]);
        }
        let leak = |leaked: &mut Vec<Vec<u8>>, _: u32| {
            leaked.push(vec![1; 8 * MEBI]);
            (std::process::id(), leaked.len())
        };
        let mut leaks = Vec::new();
        for i in 0..30 {
            leaks.push(pool.apply(leak, i).unwrap());
        }
        let most = leaks.iter().map(|(_, count)| *count).max().unwrap();
        // It may run another task before it has looked.
        let pids: BTreeSet<u32> = leaks.iter().map(|(pid, _)| *pid).collect();
        assert!(pids.len() > 1 && most < 30, "{leaks:?}");
        assert!(pool.stats().workers_recycled > 0);
        assert!(
            pool.workers()
                .iter()
                .any(|worker| worker.last_end == Some(WorkerEnd::MaxMemory))
        );
        drop(pool);
    }
    guard.assert_none();
}

fn make(i: u32) -> FrozenArray<u32, Ix1> {
    let mut array = SharedArray::zeros(1000).unwrap();
    array.view_mut().fill(i);
    array.freeze().unwrap()
}

#[test]
fn arrays_that_results_name_outlive_a_recycled_worker() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .max_tasks_per_worker(1)
            .build()
            .unwrap();
        let arrays = pool.map(make, 0..20).unwrap();
        let handles: Vec<_> = (20..30)
            .map(|i| pool.apply_async(make, i).unwrap())
            .collect();
        let arrays = arrays
            .into_iter()
            .chain(handles.into_iter().map(|handle| handle.get().unwrap()));
        for (i, array) in (0..).zip(arrays) {
            assert!(array.view().iter().all(|value| *value == i));
        }
        drop(pool);
    }
    guard.assert_none();
}

#[test]
fn a_backlog_does_not_stop_recycling() {
    let guard = Leftovers::watch();
    let pool = Pool::builder()
        .workers(2)
        .max_tasks_per_worker(20)
        .build()
        .unwrap();
    let handles: Vec<_> = (0..3_000u32)
        .map(|i| pool.apply_async(|i: u32| i * 2, i).unwrap())
        .collect();
    for (i, handle) in (0..).zip(handles) {
        assert_eq!(handle.get().unwrap(), i * 2);
    }
    assert!(pool.stats().workers_recycled > 100);
    let idle = |state| {
        matches!(
            state,
            WorkerState::Idle
                | WorkerState::StandingBy
                | WorkerState::Leaving
                | WorkerState::Starting
        )
    };
    assert!(
        pool.workers()
            .iter()
            .all(|worker| idle(worker.state) || worker.state == WorkerState::Busy)
    );
    drop(pool);
    guard.assert_none();
}
