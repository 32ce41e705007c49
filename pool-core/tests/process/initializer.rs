//! The initializer and the other options of the builder.

use std::collections::BTreeSet;

use pool_core::{Pool, PoolBuilder, PoolError, StartMethod, TaskError, WorkerExit, WorkerState};

use crate::common::{Board, Leftovers, METHODS, assert_option, exit_of};

struct State {
    scale: f64,
    calls: u32,
}

fn init(scale: f64) -> State {
    State { scale, calls: 0 }
}

#[test]
fn each_worker_has_a_state_of_its_own() {
    let guard = Leftovers::watch();
    for method in METHODS.into_iter().chain([StartMethod::Thread]) {
        let pool = Pool::builder()
            .workers(3)
            .start_method(method)
            .initializer(init, 0.5)
            .build()
            .unwrap();
        let task = |state: &mut State, i: u32| {
            state.calls += 1;
            (state.scale * f64::from(i), state.calls)
        };
        let results = pool.job(task).chunk(1).map(0..300).unwrap();
        assert!(
            (0..300)
                .zip(&results)
                .all(|(i, (half, _))| *half == f64::from(i) / 2.0)
        );
        // Within a worker the calls are counted on: each count up to a worker's last occurs, at most once for each worker.
        let most = results.iter().map(|(_, calls)| *calls).max().unwrap();
        assert!((100..=300).contains(&most));
        // A task without state runs in the same pool.
        assert_eq!(pool.map(|i: u32| i + 1, 0..2).unwrap(), [1, 2]);
    }
    guard.assert_none();
}

#[test]
fn a_large_argument_reaches_every_worker() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let text = "ä".repeat(3_000_000);
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .initializer(|text: String| text, text.clone())
            .build()
            .unwrap();
        assert_eq!(
            pool.map(|text: &mut String, _: u8| text.len(), 0..4)
                .unwrap(),
            [text.len(); 4]
        );
    }
    guard.assert_none();
}

#[test]
fn a_replacement_runs_the_initializer_again() {
    let guard = Leftovers::watch();
    let board = Board::new();
    let init = |board: Board| (board.count(0), board);
    let pool = Pool::builder()
        .workers(1)
        .initializer(init, board.clone())
        .build()
        .unwrap();
    let task = |state: &mut (u32, Board), die: bool| {
        if die {
            std::process::abort();
        }
        state.0
    };
    assert_eq!(pool.apply(task, false).unwrap(), 0);
    let error = pool.apply(task, true).unwrap_err();
    assert_eq!(
        exit_of(error.task().unwrap().1),
        Some(WorkerExit::Signal(6))
    );
    assert_eq!(pool.apply(task, false).unwrap(), 1);
    drop((pool, board));
    guard.assert_none();
}

/// A failing `build` with 4 workers; how often the initializer was begun.
fn fails<S: 'static>(
    method: StartMethod,
    build: impl Fn(PoolBuilder, Board) -> PoolBuilder<S>,
) -> (PoolError, u32) {
    let board = Board::new();
    let builder = Pool::builder().workers(4).start_method(method);
    let error = build(builder, board.clone()).build().err().unwrap();
    (error, board.get(0))
}

fn fail_as(way: &str) -> Result<u32, String> {
    match way {
        "error" => Err("no such file".to_owned()),
        "panic" => panic!("on purpose"),
        "exit" => std::process::exit(3),
        "exit0" => std::process::exit(0),
        "abort" => std::process::abort(),
        _ => {
            let own = rustix::process::getpid();
            rustix::process::kill_process(own, rustix::process::Signal::KILL).unwrap();
            unreachable!("killed");
        }
    }
}

#[test]
fn a_failing_initializer_is_the_error_of_build() {
    let guard = Leftovers::watch();
    for method in METHODS {
        for way in ["error", "panic", "exit", "exit0", "abort", "kill"] {
            let (error, begun) = fails(method, |builder, board| {
                let init = |(board, way): (Board, String)| {
                    board.count(0);
                    fail_as(&way)
                };
                builder.try_initializer(init, (board, way.to_owned()))
            });
            assert!(error.is_initializer(), "{method} {way}: {error}");
            // Four at once, and two more tries at the very most for each of the first three.
            assert!(
                (1..=10).contains(&begun),
                "{method} {way}: begun {begun} times"
            );
            let (worker, cause) = error.task().unwrap();
            assert!(worker < 4);
            match (way, cause) {
                ("error", TaskError::Initializer { message }) => {
                    assert_eq!(message, "no such file")
                }
                ("panic", TaskError::Panicked(panic)) => {
                    assert_eq!(panic.message, "on purpose");
                    assert!(panic.location.as_ref().unwrap().contains("initializer.rs"));
                }
                ("exit", cause) => assert_eq!(exit_of(cause), Some(WorkerExit::Code(3))),
                ("exit0", cause) => assert_eq!(exit_of(cause), Some(WorkerExit::Code(0))),
                ("abort", cause) => assert_eq!(exit_of(cause), Some(WorkerExit::Signal(6))),
                ("kill", cause) => assert_eq!(exit_of(cause), Some(WorkerExit::Signal(9))),
                (way, other) => panic!("{way}: {other}"),
            }
        }
    }
    guard.assert_none();
}

#[test]
fn one_bad_start_is_tried_again() {
    let guard = Leftovers::watch();
    let board = Board::new();
    let init = |board: Board| {
        if board.count(0) < 2 {
            std::process::abort();
        }
        board
    };
    for method in METHODS {
        board.set(0, 0);
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .initializer(init, board.clone());
        let pool = pool.build().unwrap();
        assert_eq!(pool.map(|i: u8| i, 0..2).unwrap(), [0, 1]);
        assert_eq!(board.get(0), 4);
    }
    drop(board);
    guard.assert_none();
}

#[test]
fn a_replacement_whose_initializer_fails_breaks_the_pool_not_the_program() {
    let guard = Leftovers::watch();
    let board = Board::new();
    let init = |board: Board| match board.count(0) {
        0 => Ok(board),
        _ => Err("only once"),
    };
    let pool = Pool::builder()
        .workers(1)
        .try_initializer(init, board.clone())
        .build()
        .unwrap();
    let results = pool.try_map(
        |i: u32| if i == 3 { std::process::abort() } else { i },
        0..10,
    );
    let error = results.map(|_| ()).unwrap_err();
    assert!(error.is_initializer(), "{error}");
    assert!(pool.apply(|i: u32| i, 1).unwrap_err().is_initializer());
    assert!(pool.map(|i: u32| i, 0..2).is_err());
    drop((pool, board));
    guard.assert_none();
}

fn variable(name: String) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
fn variables_reach_the_workers() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .env("POOL_TEST_VARIABLE", "ä b")
            .env("OMP_NUM_THREADS", "5")
            .threads_per_worker(3)
            .build()
            .unwrap();
        let get = |name: &str| pool.apply(variable, name.to_owned()).unwrap();
        assert_eq!(get("POOL_TEST_VARIABLE").unwrap(), "ä b");
        assert_eq!(get("OMP_NUM_THREADS").unwrap(), "5");
        for name in [
            "OPENBLAS_NUM_THREADS",
            "MKL_NUM_THREADS",
            "BLIS_NUM_THREADS",
            "RAYON_NUM_THREADS",
            "VECLIB_MAXIMUM_THREADS",
            "MATMUL_NUM_THREADS",
        ] {
            assert_eq!(get(name).as_deref(), Some("3"), "{name}");
        }
        assert_eq!(get("POOL_CORE_WORKER_OF"), None);
    }
    assert_eq!(std::env::var_os("POOL_TEST_VARIABLE"), None);
    guard.assert_none();
}

#[test]
fn threads_are_capped_unless_the_user_says_otherwise() {
    let guard = Leftovers::watch();
    // SAFETY: this test alone runs while it holds the guard, and no thread of a pool is there yet.
    unsafe { std::env::set_var("MKL_NUM_THREADS", "17") };
    let cores = std::thread::available_parallelism().unwrap().get();
    let pool = Pool::new(1).unwrap();
    let get = |name: &str| pool.apply(variable, name.to_owned()).unwrap().unwrap();
    assert_eq!(get("OMP_NUM_THREADS"), cores.to_string());
    assert_eq!(get("MKL_NUM_THREADS"), "17");
    drop(pool);
    let pool = Pool::new(cores + 1).unwrap();
    assert_eq!(
        pool.apply(variable, "OMP_NUM_THREADS".to_owned())
            .unwrap()
            .unwrap(),
        "1"
    );
    drop(pool);
    // SAFETY: as above.
    unsafe { std::env::remove_var("MKL_NUM_THREADS") };
    guard.assert_none();
}

#[test]
fn wrong_options_are_named() {
    let guard = Leftovers::watch();
    assert_option(Pool::builder().workers(0), &["`workers`", "0", "1 to 1000"]);
    assert_option(
        Pool::builder().workers(1001),
        &["`workers`", "1001", "1 to 1000"],
    );
    assert_option(
        Pool::builder().threads_per_worker(0),
        &["`threads_per_worker`", "0", "at least 1"],
    );
    for (name, value) in [("", "x"), ("A=B", "x"), ("A\0", "x"), ("A", "\0")] {
        assert_option(Pool::builder().env(name, value), &["`env`"]);
    }
    assert_option(Pool::builder().name("a\0b"), &["`name`", "NUL"]);
    guard.assert_none();
}

#[test]
fn the_number_of_workers_has_a_default() {
    let guard = Leftovers::watch();
    let pool = Pool::builder().build().unwrap();
    assert_eq!(
        pool.size(),
        std::thread::available_parallelism().unwrap().get()
    );
    assert_eq!(pool.workers().len(), pool.size());
    drop(pool);
    guard.assert_none();
}

#[test]
fn workers_can_be_asked_about() {
    let guard = Leftovers::watch();
    let board = Board::new();
    for method in METHODS {
        board.set(0, 0);
        board.set(1, 0);
        let pool = Pool::builder()
            .workers(3)
            .start_method(method)
            .initializer(|board: Board| board, board.clone());
        let pool = pool.build().unwrap();
        let idle = pool.workers();
        assert_eq!(
            idle.iter().map(|worker| worker.id).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        let pids: BTreeSet<u32> = idle.iter().map(|worker| worker.pid).collect();
        assert!(pids.len() == 3 && !pids.contains(&std::process::id()));
        for worker in &idle {
            assert!(
                matches!(worker.state, WorkerState::Idle | WorkerState::Starting),
                "{worker:?}"
            );
            assert!(
                worker.resident > 0 && worker.private <= worker.resident,
                "{worker:?}"
            );
        }
        let task = |board: &mut Board, i: usize| {
            board.count(0);
            board.wait(1, 1);
            i
        };
        std::thread::scope(|scope| {
            let call = scope.spawn(|| pool.job(task).chunk(1).map(0..2));
            board.wait(0, 2);
            let busy = pool
                .workers()
                .into_iter()
                .filter(|worker| worker.state == WorkerState::Busy);
            assert_eq!(busy.count(), 2);
            board.count(1);
            assert_eq!(call.join().unwrap().unwrap(), [0, 1]);
        });
        assert_eq!(pool.map(|i: u32| i, 0..100).unwrap().len(), 100);
        let workers = pool.workers();
        assert!(
            workers
                .iter()
                .all(|worker| worker.state == WorkerState::Idle),
            "{workers:?}"
        );
        assert_eq!(
            workers.iter().map(|worker| worker.tasks_done).sum::<u64>(),
            102
        );
    }
    drop(board);
    guard.assert_none();
}

#[test]
fn an_argument_that_cannot_be_written_is_an_error() {
    let guard = Leftovers::watch();
    let bad = crate::crashes::Poison::in_parent();
    let error = Pool::builder()
        .initializer(|poison: crate::crashes::Poison| poison, bad.clone())
        .build()
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .contains("argument 0 could not be encoded"),
        "{error}"
    );
    let pool = Pool::new(1).unwrap();
    let error = pool
        .apply(|_: crate::crashes::Poison| (), bad.clone())
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("argument 0 could not be encoded"),
        "{error}"
    );
    let good = crate::crashes::Poison::none();
    let error = pool
        .map(|_: crate::crashes::Poison| (), [good.clone(), good, bad])
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("argument 2 could not be encoded"),
        "{error}"
    );
    assert_eq!(pool.apply(|i: u8| i, 3).unwrap(), 3);
    drop(pool);
    guard.assert_none();
}
