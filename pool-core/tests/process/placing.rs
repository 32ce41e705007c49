//! Where workers run and what they are called; what is told of them.

use std::time::{Duration, Instant};

use pool_core::{Pool, StartMethod, WorkerState};
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::common::{Board, LIMIT, Leftovers, METHODS, assert_option};

fn allowed(set: &CpuSet) -> Vec<usize> {
    (0..CpuSet::MAX_CPU)
        .filter(|processor| set.is_set(*processor))
        .collect()
}

#[test]
fn workers_are_pinned_to_processors() {
    let guard = Leftovers::watch();
    let all = allowed(&sched_getaffinity(None).unwrap());
    for method in METHODS.into_iter().chain([StartMethod::Thread]) {
        let pool = Pool::builder()
            .workers(3)
            .start_method(method)
            .pin(all.clone())
            .build()
            .unwrap();
        let places = pool
            .job(|_: u32| {
                (
                    pool_core::current().unwrap().worker_id(),
                    allowed(&sched_getaffinity(None).unwrap()),
                )
            })
            .chunk(1)
            .map(0..60)
            .unwrap();
        for (worker, processors) in places {
            assert_eq!(processors, [all[worker % all.len()]], "{method}");
        }
    }
    assert_eq!(allowed(&sched_getaffinity(None).unwrap()), all);
    guard.assert_none();
}

fn stat(pid: u32) -> (String, i32) {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (front, rest) = stat.rsplit_once(')').unwrap();
    let name = front.split_once('(').unwrap().1.to_owned();
    let nice = rest
        .split_ascii_whitespace()
        .nth(16)
        .unwrap()
        .parse()
        .unwrap();
    (name, nice)
}

#[test]
fn workers_are_nice_and_have_names() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .name("a-rather-long-name")
            .nice(7)
            .build()
            .unwrap();
        let pids: Vec<u32> = pool.workers().iter().map(|worker| worker.pid).collect();
        assert_eq!(stat(pids[0]), ("a-rather-long-0".to_owned(), 7));
        assert_eq!(stat(pids[1]), ("a-rather-long-1".to_owned(), 7));
    }
    guard.assert_none();
}

#[test]
fn what_the_system_refuses_is_an_error_of_build() {
    let guard = Leftovers::watch();
    match Pool::builder().workers(2).nice(-20).build() {
        // One who has the privilege is not refused.
        Ok(pool) => assert_eq!(stat(pool.workers()[0].pid).1, -20),
        Err(error) => {
            assert!(error.is_start(), "{error}");
            for part in ["`nice`", "-20", "privilege"] {
                assert!(error.to_string().contains(part), "{error}");
            }
        }
    }
    guard.assert_none();
}

#[test]
fn wrong_options_of_workers_lives_are_named() {
    let guard = Leftovers::watch();
    let two = || Pool::builder().workers(2);
    let zero = Duration::ZERO;
    assert_option(
        two().initializer_timeout(zero),
        &["`initializer_timeout`", "0ns", "longer than 0"],
    );
    assert_option(
        two().exit_timeout(zero),
        &["`exit_timeout`", "0ns", "longer than 0"],
    );
    assert_option(
        two().idle_timeout(zero),
        &["`idle_timeout`", "0ns", "longer than 0"],
    );
    assert_option(
        two().max_tasks_per_worker(0),
        &["`max_tasks_per_worker`", "0", "at least 1"],
    );
    assert_option(
        two().max_memory_per_worker(5),
        &["`max_memory_per_worker`", "5", "4194304"],
    );
    assert_option(two().min_workers(3), &["`min_workers`", "3", "0 to 2"]);
    for nice in [-21, 20] {
        assert_option(
            two().nice(nice),
            &["`nice`", &nice.to_string(), "-20 to 19"],
        );
    }
    assert_option(two().pin([]), &["`pin`", "[]", "processors"]);
    assert_option(
        two().pin([0, 1_000_000]),
        &["`pin`", "1000000", "processors"],
    );
    let threads = || two().start_method(StartMethod::Thread);
    let second = Duration::from_secs(1);
    assert_option(
        threads().initializer_timeout(second),
        &["`initializer_timeout`", "thread", "processes"],
    );
    assert_option(
        threads().exit_timeout(second),
        &["`exit_timeout`", "thread", "processes"],
    );
    assert_option(
        threads().max_memory_per_worker(1 << 30),
        &["`max_memory_per_worker`", "thread"],
    );
    guard.assert_none();
}

fn wait_in_task(board: &mut Board, i: u64) -> u64 {
    board.count(0);
    board.wait(1, 1);
    i
}

#[test]
fn workers_say_what_they_run() {
    let guard = Leftovers::watch();
    for method in METHODS.into_iter().chain([StartMethod::Thread]) {
        let board = Board::new();
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .initializer(|board: Board| board, board.clone())
            .build()
            .unwrap();
        assert!(pool.workers().iter().all(|worker| worker.task.is_none()));
        std::thread::scope(|scope| {
            let range = scope.spawn(|| pool.job(wait_in_task).chunk(1).map(5..7));
            board.wait(0, 2);
            let workers = pool.workers();
            let mut indices: Vec<u64> = workers
                .iter()
                .map(|worker| worker.task.as_ref().unwrap().index)
                .collect();
            indices.sort_unstable();
            assert_eq!(indices, [0, 1]);
            for worker in &workers {
                assert_eq!(worker.state, WorkerState::Busy);
                assert!(
                    worker.task.as_ref().unwrap().name.ends_with("wait_in_task"),
                    "{worker:?}"
                );
                assert!(worker.age > Duration::ZERO);
            }
            let waiting: Vec<_> = (0..3)
                .map(|i| pool.apply_async(wait_in_task, i).unwrap())
                .collect();
            assert_eq!(pool.stats().tasks_waiting, 3);
            board.set(1, 1);
            assert_eq!(range.join().unwrap().unwrap(), [5, 6]);
            for handle in waiting {
                handle.get().unwrap();
            }
        });
        // A single task stands in the table.
        board.set(0, 0);
        board.set(1, 0);
        let handle = pool.apply_async(wait_in_task, 3).unwrap();
        board.wait(0, 1);
        let end = Instant::now() + LIMIT;
        let task = loop {
            let tasks: Vec<_> = pool
                .workers()
                .into_iter()
                .filter_map(|worker| worker.task)
                .collect();
            if let [task] = &tasks[..] {
                break task.clone();
            }
            assert!(Instant::now() < end, "{tasks:?}");
        };
        assert!(task.name.ends_with("wait_in_task"));
        board.set(1, 1);
        assert_eq!(handle.get().unwrap(), 3);
        drop((pool, board));
    }
    guard.assert_none();
}

#[test]
fn figures_of_a_pool_add_up() {
    let guard = Leftovers::watch();
    let pool = Pool::new(2).unwrap();
    let task = |i: u32| match i % 10 {
        3 => panic!("on purpose"),
        7 if pool_core::current().unwrap().attempt() == 0 => std::process::abort(),
        _ => i,
    };
    let results = pool.job(task).retries(1).try_map(0..30).unwrap();
    assert_eq!(results.iter().filter(|result| result.is_err()).count(), 3);
    let dies = |i: u32| if i == 1 { std::process::abort() } else { i };
    assert_eq!(
        pool.try_map(dies, vec![0, 1, 2])
            .unwrap()
            .iter()
            .filter(|result| result.is_err())
            .count(),
        1
    );
    let end = Instant::now() + LIMIT;
    while pool.stats().workers_started < 6 {
        assert!(Instant::now() < end, "{:?}", pool.stats());
    }
    let stats = pool.stats();
    assert_eq!(
        (stats.tasks_failed, stats.tasks_retried, stats.tasks_waiting),
        (4, 3, 0)
    );
    assert_eq!((stats.workers_died, stats.workers_recycled), (4, 0));
    assert!(
        stats.busy > Duration::ZERO && stats.tasks_done <= 33,
        "{stats:?}"
    );
    drop(pool);
    guard.assert_none();
}
