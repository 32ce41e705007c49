//! Workers that come and go in every way at once, under traffic: all results are right, every handle resolves, nothing is left.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pool_core::{Pool, PoolBuilder, StartMethod, TaskHandle, WorkerState, wait_all};

use crate::common::{Board, LIMIT, Leftovers, METHODS, Process};

const BEGUN: usize = 0;

/// How long the storms last: as many tasks as this for each call.
fn tasks() -> u32 {
    let given = std::env::var("POOL_CORE_STORM").ok();
    given.map_or(600, |given| given.parse().expect("a number of tasks"))
}

/// Numbers that look random, the same in each run (Marsaglia's xorshift).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % sides as u64) as usize
    }
}

fn work(board: &mut Board, i: u32) -> u32 {
    board.count(BEGUN);
    std::hint::black_box((0..2_000).fold(i, |x, y| x ^ std::hint::black_box(y)));
    i + 1
}

fn text(board: &mut Board, i: u32) -> String {
    work(board, i).to_string()
}

fn builder(workers: usize, method: StartMethod, board: &Board) -> PoolBuilder<Board> {
    Pool::builder()
        .workers(workers)
        .start_method(method)
        .initializer(|board: Board| board, board.clone())
}

/// Each verb once; everything may be repeated.
fn traffic(pool: &Pool<Board>, tasks: u32) {
    let all: Vec<u32> = (0..tasks).collect();
    let expected: Vec<u32> = (1..=tasks).collect();
    let job = || pool.job(work).retries(u32::MAX);
    assert_eq!(job().map(0..tasks).unwrap(), expected);
    assert_eq!(job().map(all).unwrap(), expected);
    let texts = pool.job(text).retries(u32::MAX).map(0..tasks).unwrap();
    assert!(
        texts
            .iter()
            .zip(&expected)
            .all(|(text, i)| *text == i.to_string())
    );
    let handles: Vec<TaskHandle<u32>> = (0..tasks).map(|i| job().apply_async(i).unwrap()).collect();
    for (i, handle) in (0..).zip(handles) {
        assert_eq!(handle.get().unwrap(), i + 1);
    }
    let stream: Result<Vec<u32>, _> = job().imap(0..tasks).collect();
    assert_eq!(stream.unwrap(), expected);
}

/// Runs `disturb` again and again, whenever tasks have been begun since, while `body` runs.
fn beside(board: &Board, mut disturb: impl FnMut() + Send, body: impl FnOnce()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                board.wait(BEGUN, board.get(BEGUN).saturating_add(3).min(u32::MAX / 2));
                disturb();
            }
        });
        let outcome = catch_unwind(AssertUnwindSafe(body));
        done.store(true, Ordering::SeqCst);
        board.set(BEGUN, u32::MAX / 2);
        outcome.unwrap_or_else(|panic| resume_unwind(panic));
    });
    board.set(BEGUN, 0);
}

fn kill_one(pool: &Pool<Board>, dice: &mut Dice) {
    let ready = |state| {
        matches!(
            state,
            WorkerState::Idle | WorkerState::Busy | WorkerState::StandingBy
        )
    };
    let workers = pool
        .workers()
        .into_iter()
        .filter(|worker| ready(worker.state));
    let workers: Vec<Process> = workers
        .filter_map(|worker| Process::of_ours(worker.pid))
        .collect();
    if !workers.is_empty() {
        workers[dice.roll(workers.len())].kill();
    }
}

#[test]
fn recycling_after_every_task_under_kills_at_random() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let board = Board::new();
        let pool = builder(3, method, &board)
            .max_tasks_per_worker(1)
            .build()
            .unwrap();
        let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
        beside(
            &board,
            || kill_one(&pool, &mut dice),
            || traffic(&pool, tasks() / 6),
        );
        let stats = pool.stats();
        assert!(
            stats.workers_recycled > 50 && stats.workers_died > 0,
            "{stats:?}"
        );
        drop((pool, board));
    }
    guard.assert_none();
}

#[test]
fn resizing_at_random_under_every_kind_of_call() {
    let guard = Leftovers::watch();
    for method in METHODS.into_iter().chain([StartMethod::Thread]) {
        let board = Board::new();
        let pool = builder(2, method, &board).build().unwrap();
        let mut dice = Dice(0x2545_f491_4f6c_dd1d);
        let mut resized = 0;
        let resize = || {
            pool.resize(1 + dice.roll(5)).unwrap();
            resized += 1;
        };
        beside(&board, resize, || traffic(&pool, tasks()));
        assert!(resized > 0);
        // Every number is there once in the end.
        pool.resize(2).unwrap();
        let end = Instant::now() + LIMIT;
        while pool.workers().len() != 2 {
            assert!(Instant::now() < end, "{:?}", pool.workers());
            std::thread::yield_now();
        }
        assert_eq!(pool.map(|i: u32| i, 0..3).unwrap(), [0, 1, 2]);
        drop((pool, board));
    }
    guard.assert_none();
}

#[test]
fn everything_at_once() {
    let guard = Leftovers::watch();
    let board = Board::new();
    let pool = builder(3, StartMethod::ForkServer, &board)
        .max_tasks_per_worker(40)
        .idle_timeout(Duration::from_millis(1))
        .exit_hook(|_| ())
        .build()
        .unwrap();
    let exits = pool.exit_results::<()>().unwrap();
    let mut dice = Dice(0xda94_2042_e4dd_58b5);
    let disturb = || match dice.roll(3) {
        0 => kill_one(&pool, &mut dice),
        1 => pool.resize(1 + dice.roll(5)).unwrap(),
        _ => drop(exits.take()),
    };
    beside(&board, disturb, || traffic(&pool, tasks()));
    drop((pool, exits, board));
    guard.assert_none();
}

/// Ends a pool that is at work in some way; with it, whether every task still has its result.
type End = (fn(Pool<Board>), bool);

const ENDS: [End; 5] = [
    (Pool::join, true),
    (|pool| assert!(pool.join_timeout(LIMIT).is_ok()), true),
    (|pool| drop(pool.join_timeout(Duration::ZERO)), false),
    (|pool| pool.terminate(), false),
    (drop, false),
];

#[test]
fn every_handle_resolves_however_the_pool_ends() {
    let guard = Leftovers::watch();
    for method in METHODS.into_iter().chain([StartMethod::Thread]) {
        for (end, all) in ENDS {
            let board = Board::new();
            let pool = builder(2, method, &board)
                .max_tasks_per_worker(5)
                .build()
                .unwrap();
            let handles: Vec<_> = (0..200)
                .map(|i| pool.apply_async(work, i).unwrap())
                .collect();
            std::thread::scope(|scope| {
                for size in [4, 1, 3] {
                    let pool = &pool;
                    scope.spawn(move || pool.resize(size));
                }
            });
            pool.close();
            end(pool);
            assert!(wait_all(&handles, None));
            for (i, handle) in (0..).zip(handles) {
                match handle.get() {
                    Ok(value) => assert_eq!(value, i + 1),
                    Err(error) => assert!(!all && error.task().is_some(), "{method}: {error}"),
                }
            }
            drop(board);
        }
    }
    guard.assert_none();
}

#[test]
fn several_threads_end_a_pool_in_any_order() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let board = Board::new();
        let pool = builder(3, method, &board)
            .max_tasks_per_worker(3)
            .build()
            .unwrap();
        let handles: Vec<_> = (0..300)
            .map(|i| pool.apply_async(work, i).unwrap())
            .collect();
        let calls: Vec<fn(&Pool<Board>)> = vec![
            |pool| drop(pool.resize(5)),
            Pool::close,
            |pool| drop(pool.map(work, 0..100)),
            Pool::terminate,
            |pool| drop(pool.resize(1)),
            Pool::terminate,
            |pool| drop(pool.apply(work, 1)),
            Pool::close,
        ];
        std::thread::scope(|scope| {
            for call in calls {
                let pool = &pool;
                scope.spawn(move || call(pool));
            }
        });
        for (i, handle) in (0..).zip(handles) {
            // It resolves: with its result, or with an error.
            assert!(handle.get().map_or(true, |value| value == i + 1));
        }
        assert!(pool.resize(2).is_err() && pool.map(work, 0..3).is_err());
        drop((pool, board));
    }
    guard.assert_none();
}
