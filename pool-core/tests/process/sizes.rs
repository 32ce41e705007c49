//! Pools that grow and shrink: by order, and because there is nothing to do.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use pool_core::{Pool, StartMethod, WorkerEnd, WorkerInfo, WorkerState, current};

use crate::common::{Board, LIMIT, Leftovers, METHODS};

const BEGUN: usize = 0;
const GATE: usize = 1;
/// One counter for each number of a worker.
const NUMBERS: usize = 16;

/// Waits until the pool's workers are as they should be.
fn await_workers<S: 'static>(pool: &Pool<S>, good: impl Fn(&[WorkerState]) -> bool) {
    let end = Instant::now() + LIMIT;
    loop {
        let states: Vec<WorkerState> = pool.workers().iter().map(|worker| worker.state).collect();
        if good(&states) {
            return;
        }
        assert!(Instant::now() < end, "{states:?}");
        std::thread::yield_now();
    }
}

fn pool(workers: usize, method: StartMethod, board: &Board) -> Pool<Board> {
    Pool::builder()
        .workers(workers)
        .start_method(method)
        .initializer(|board: Board| board, board.clone())
        .build()
        .unwrap()
}

fn gated(board: &mut Board, i: u32) -> u32 {
    board.count(BEGUN);
    board.count(NUMBERS + current().unwrap().worker_id());
    board.wait(GATE, 1);
    i
}

#[test]
fn a_pool_grows_while_a_call_runs() {
    let guard = Leftovers::watch();
    for method in METHODS.into_iter().chain([StartMethod::Thread]) {
        let board = Board::new();
        let pool = pool(1, method, &board);
        std::thread::scope(|scope| {
            let call = scope.spawn(|| pool.job(gated).chunk(1).map(0..50));
            board.wait(BEGUN, 1);
            pool.resize(4).unwrap();
            // The new ones take part in the call that has begun.
            for number in 0..4 {
                board.wait(NUMBERS + number, 1);
            }
            board.set(GATE, 1);
            assert_eq!(call.join().unwrap().unwrap(), (0..50).collect::<Vec<_>>());
        });
        assert_eq!((pool.size(), pool.workers().len()), (4, 4));
        drop((pool, board));
    }
    guard.assert_none();
}

#[test]
fn a_pool_shrinks_when_the_tasks_that_run_have_ended() {
    let guard = Leftovers::watch();
    for method in METHODS.into_iter().chain([StartMethod::Thread]) {
        let board = Board::new();
        let pool = pool(4, method, &board);
        std::thread::scope(|scope| {
            let call = scope.spawn(|| pool.job(gated).chunk(1).map(0..50));
            board.wait(BEGUN, 4);
            pool.resize(1).unwrap();
            assert_eq!(pool.size(), 1);
            board.set(GATE, 1);
            assert_eq!(call.join().unwrap().unwrap(), (0..50).collect::<Vec<_>>());
        });
        await_workers(&pool, |states| states.len() == 1);
        assert_eq!(pool.stats().workers_left, 3);
        assert_eq!(pool.map(|i: u32| i, 0..3).unwrap(), [0, 1, 2]);
        // Numbers that were used before are used again, after those that had them.
        pool.resize(3).unwrap();
        let ends: Vec<_> = pool
            .workers()
            .iter()
            .map(|worker| worker.last_end)
            .collect();
        assert_eq!(
            ends,
            [None, Some(WorkerEnd::Resized), Some(WorkerEnd::Resized)]
        );
        drop((pool, board));
    }
    guard.assert_none();
}

#[test]
fn a_pool_that_grows_again_has_nobody_twice() {
    let guard = Leftovers::watch();
    let board = Board::new();
    let pool = pool(2, StartMethod::ForkServer, &board);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| pool.job(gated).chunk(1).map(0..10));
        board.wait(BEGUN, 2);
        // Worker 1 stays in its task: the new one of that number waits for it, once the watcher has seen the smaller size.
        let is_next =
            |worker: &WorkerInfo| (worker.id, worker.state) == (1, WorkerState::StandingBy);
        let end = Instant::now() + LIMIT;
        while !pool.workers().iter().any(is_next) && Instant::now() < end {
            pool.resize(1).unwrap();
            pool.resize(2).unwrap();
        }
        let workers = pool.workers();
        let begun = board.get(BEGUN);
        board.set(GATE, 1);
        assert!(workers.iter().any(is_next), "{workers:?}");
        assert_eq!(begun, 2);
        assert_eq!(call.join().unwrap().unwrap(), (0..10).collect::<Vec<_>>());
    });
    await_workers(&pool, |states| states.len() == 2);
    drop((pool, board));
    guard.assert_none();
}

#[test]
fn sizes_that_are_not_accepted_are_named() {
    let guard = Leftovers::watch();
    let pool = Pool::new(1).unwrap();
    for wrong in [0, 1001, usize::MAX] {
        let error = pool.resize(wrong).unwrap_err();
        assert!(error.is_option());
        for part in ["`workers`", &wrong.to_string(), "1 to 1000"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    }
    assert_eq!(pool.size(), 1);
    pool.close();
    assert!(pool.resize(2).unwrap_err().is_closed());
    drop(pool);
    guard.assert_none();
}

#[test]
fn idle_workers_leave_and_come_back() {
    let guard = Leftovers::watch();
    for (method, least) in [(METHODS[0], 0), (METHODS[1], 1), (StartMethod::Thread, 0)] {
        let board = Board::new();
        let pool = Pool::builder()
            .workers(3)
            .start_method(method)
            .initializer(|board: Board| board, board.clone())
            .idle_timeout(Duration::from_millis(20))
            .min_workers(least)
            .build()
            .unwrap();
        let away = |states: &[WorkerState]| {
            let away = states.iter().filter(|state| **state == WorkerState::Away);
            away.count() == 3 - least && states.len() == 3
        };
        await_workers(&pool, away);
        assert_eq!(pool.size(), 3);
        // All come back for work that all can do.
        board.set(GATE, 0);
        std::thread::scope(|scope| {
            let call = scope.spawn(|| pool.job(gated).chunk(1).map(0..9));
            for number in 0..3 {
                board.wait(NUMBERS + number, 1);
            }
            board.set(GATE, 1);
            assert_eq!(call.join().unwrap().unwrap(), (0..9).collect::<Vec<_>>());
        });
        await_workers(&pool, away);
        assert_eq!(pool.apply(|i: u32| i + 1, 4).unwrap(), 5);
        await_workers(&pool, away);
        assert_eq!(
            pool.apply_async(|i: u32| i + 1, 4).unwrap().get().unwrap(),
            5
        );
        assert_eq!(pool.map(|i: u32| i, vec![1, 2, 3]).unwrap(), [1, 2, 3]);
        let ends: BTreeSet<_> = pool
            .workers()
            .iter()
            .map(|worker| format!("{:?}", worker.last_end))
            .collect();
        assert!(
            ends.contains(&format!("{:?}", Some(WorkerEnd::Idle))),
            "{ends:?}"
        );
        drop((pool, board));
    }
    guard.assert_none();
}

#[test]
fn a_call_is_not_lost_between_leaving_and_coming_back() {
    let guard = Leftovers::watch();
    let pool = Pool::builder()
        .workers(2)
        .idle_timeout(Duration::from_micros(1))
        .build()
        .unwrap();
    for i in 0..300u32 {
        assert_eq!(pool.apply(|i: u32| i + 1, i).unwrap(), i + 1);
        assert_eq!(
            pool.map(|i: u32| i, 0..i % 7).unwrap().len(),
            (i % 7) as usize
        );
    }
    drop(pool);
    guard.assert_none();
}
