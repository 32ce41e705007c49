//! Pools inside of tasks.

use pool_core::{Pool, StartMethod};

use crate::common::{Board, Leftovers, METHODS, Process, exit_of};

/// Makes a pool of one worker, which does the same, until it is refused; how deep that was, or what went wrong.
fn descend(depth: u32) -> Result<u32, String> {
    match Pool::new(1) {
        Ok(pool) => pool
            .apply(descend, depth + 1)
            .map_err(|error| error.to_string())?,
        Err(error) if error.is_too_deep() => {
            let text = error.to_string();
            let numbers = text.contains(&format!("{} deep", depth + 1));
            if numbers { Ok(depth) } else { Err(text) }
        }
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn nested_pools_up_to_a_depth_then_a_clear_error() {
    let guard = Leftovers::watch();
    assert_eq!(descend(0), Ok(8));
    for method in METHODS.into_iter().chain([StartMethod::Thread]) {
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .max_depth(3)
            .build()
            .unwrap();
        assert_eq!(pool.apply(descend, 1).unwrap(), Ok(3), "{method}");
        // An inner pool may be given a limit of its own.
        let deeper = |()| {
            let pool = Pool::builder().workers(1).max_depth(4).build();
            pool.and_then(|pool| pool.apply(descend, 2))
                .map_err(|error| error.to_string())?
        };
        assert_eq!(pool.apply(deeper, ()).unwrap(), Ok(4), "{method}");
    }
    let error = Pool::builder().max_depth(0).build().unwrap_err();
    assert!(error.is_too_deep(), "{error}");
    guard.assert_none();
}

#[test]
fn nested_pools_share_the_processors() {
    let guard = Leftovers::watch();
    let cores = std::thread::available_parallelism().unwrap().get();
    for workers in [1, 2, 3] {
        for method in METHODS.into_iter().chain([StartMethod::Thread]) {
            let pool = Pool::builder()
                .workers(workers)
                .start_method(method)
                .build()
                .unwrap();
            let shares = pool.map(
                |_: u32| {
                    let inner = Pool::builder().build().unwrap();
                    let threads = |()| std::env::var("OMP_NUM_THREADS").unwrap_or_default();
                    (inner.size(), inner.apply(threads, ()).unwrap())
                },
                0..2,
            );
            let share = (cores / workers).max(1);
            for (size, threads) in shares.unwrap() {
                assert_eq!(size, share);
                // One per worker of the innermost pool, or what the surroundings of the test say.
                let set = std::env::var("OMP_NUM_THREADS").unwrap_or_else(|_| "1".to_owned());
                assert!(method != StartMethod::Thread || threads == set, "{threads}");
            }
        }
    }
    guard.assert_none();
}

/// Makes a pool, tells its worker's number, and is killed with it at work.
fn hold(board: Board) {
    let pool = Pool::builder().workers(2).build().unwrap();
    for (counter, worker) in (1..).zip(pool.workers()) {
        board.set(counter, worker.pid);
    }
    let spin = |board: Board| {
        board.count(0);
        loop {
            std::hint::spin_loop();
        }
    };
    pool.map(spin, [board.clone(), board])
        .map(|_: Vec<()>| ())
        .unwrap();
}

#[test]
fn a_killed_worker_takes_its_nested_pools_along() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let board = Board::new();
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .build()
            .unwrap();
        let handle = pool.apply_async(hold, board.clone()).unwrap();
        board.wait(0, 2);
        let inner = [1, 2].map(|counter| Process::of_ours(board.get(counter)).unwrap());
        let outer = pool
            .workers()
            .into_iter()
            .find(|worker| worker.state == pool_core::WorkerState::Busy)
            .unwrap();
        Process::of_ours(outer.pid).unwrap().kill();
        let error = handle.get().unwrap_err();
        assert_eq!(
            exit_of(error.task().unwrap().1),
            Some(pool_core::WorkerExit::Signal(9))
        );
        inner.iter().for_each(Process::await_end);
        assert_eq!(pool.map(|i: u32| i, 0..10).unwrap().len(), 10);
    }
    guard.assert_none_after_end();
}
