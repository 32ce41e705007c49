//! Tasks with a deadline: the late one fails alone, or is repeated; everything else goes on.

use std::time::Duration;

use ndarray::{Axis, Ix1};
use pool_core::{
    Pool, PoolError, StartMethod, TaskError, WorkerInfo, WorkerState, as_completed, current,
};
use pool_shm::{BlockMut, SharedArray};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::common::{Board, LIMIT, Leftovers, METHODS, Process};

/// Long enough for every task here that means to end, on any machine.
const AMPLE: Duration = Duration::from_secs(600);
/// Long enough for a task that ends at once to be run beside others, short enough to wait for.
const SHORT: Duration = Duration::from_millis(300);

/// Counter of beginnings; the items' own follow.
const BEGUN: usize = 0;
const ITEMS: usize = 16;

fn pool(method: StartMethod, board: &Board) -> Pool<Board> {
    Pool::builder()
        .workers(2)
        .start_method(method)
        .initializer(|board: Board| board, board.clone())
        .build()
        .unwrap()
}

fn for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

/// Item 5 of each call never ends.
fn number(board: &mut Board, i: u32) -> u32 {
    board.count(ITEMS + i as usize);
    if i == 5 {
        for_ever();
    }
    i
}

fn text(board: &mut Board, i: u32) -> String {
    number(board, i).to_string()
}

fn block(board: &mut Board, mut block: BlockMut<'_, u32, Ix1>) -> u32 {
    let index = block.index() as u32;
    block.view_mut().fill(index);
    number(board, index)
}

/// Item 5 is late, the others have their results, and each was begun once.
fn check(board: &Board, pool: &Pool<Board>, results: Vec<Result<u32, TaskError>>) {
    assert_eq!(results.len(), 20);
    for (i, result) in (0..).zip(results) {
        match result {
            Err(TaskError::DeadlineExceeded(missed)) => {
                assert_eq!((i, missed.index, missed.attempts), (5, 5, 1), "{missed}");
                assert_eq!(missed.limit, SHORT);
                assert!(missed.worker < 2);
                let is_gone = |worker: &WorkerInfo| {
                    worker.pid != missed.pid || worker.state == WorkerState::Dead
                };
                assert!(pool.workers().iter().all(is_gone));
            }
            result => assert_eq!(result, Ok(i)),
        }
        assert_eq!(board.get(ITEMS + i as usize), 1, "item {i}");
        board.set(ITEMS + i as usize, 0);
    }
}

#[test]
fn a_deadline_stops_just_the_task_that_is_late() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let board = Board::new();
        let pool = pool(method, &board);
        // Whatever the chunk: the others of it, before and behind, have their results.
        for chunk in [1, 3, 20] {
            let job = || pool.job(number).deadline(SHORT).chunk(chunk);
            check(&board, &pool, job().try_map(0..20).unwrap());
            let values: Vec<u32> = (0..20).collect();
            check(&board, &pool, job().try_map(values).unwrap());
            let texts = pool.job(text).deadline(SHORT).chunk(chunk).try_map(0..20);
            let parsed = |text: Result<String, _>| text.map(|text| text.parse().unwrap());
            check(
                &board,
                &pool,
                texts.unwrap().into_iter().map(parsed).collect(),
            );
            let mut array = SharedArray::<u32, _>::zeros(40).unwrap();
            let blocks = pool
                .job(block)
                .deadline(SHORT)
                .chunk(chunk)
                .try_map_blocks(array.axis_chunks_mut(Axis(0), 2));
            check(&board, &pool, blocks.unwrap());
            assert!((0..40).all(|i| array.view()[i as usize] == i / 2));
        }
    }
    guard.assert_none();
}

#[test]
fn single_tasks_and_streams_have_deadlines_too() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let board = Board::new();
        let pool = pool(method, &board);
        let own = |results: Vec<Result<u32, PoolError>>| {
            let own = |result: Result<u32, PoolError>| {
                result.map_err(|error| error.task().unwrap().1.clone())
            };
            results.into_iter().map(own).collect()
        };
        let stream = pool.job(number).deadline(SHORT).imap(0..20).collect();
        check(&board, &pool, own(stream));
        let handles: Vec<_> = (0..20)
            .map(|i| pool.job(number).deadline(SHORT).apply_async(i).unwrap())
            .collect();
        let mut completed: Vec<_> = as_completed(handles).collect();
        completed.sort_by_key(|(position, _)| *position);
        let results = completed.into_iter().map(|(_, result)| result).collect();
        check(&board, &pool, own(results));
        // The twenty-first single task of this pool.
        let error = pool.job(number).deadline(SHORT).apply(5).unwrap_err();
        let Some((20, TaskError::DeadlineExceeded(missed))) = error.task() else {
            panic!("{error}")
        };
        assert_eq!(missed.index, 20);
        assert_eq!(pool.job(number).deadline(AMPLE).apply(6).unwrap(), 6);
    }
    guard.assert_none();
}

#[test]
fn the_error_of_a_late_task_says_all_about_it() {
    let guard = Leftovers::watch();
    let pool = Pool::new(1).unwrap();
    let pid = pool.workers()[0].pid;
    let job = pool.job(|_: u8| -> u8 { for_ever() }).name("slow ones");
    let error = job.deadline(SHORT).map([1u8]).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "task 0 of `slow ones` failed: task 0 ran for more than its deadline of 300ms, so worker 0 (pid {pid}) was killed"
        )
    );
    assert_eq!(error.job(), Some("slow ones"));
    drop(pool);
    guard.assert_none();
}

#[test]
fn a_late_task_of_a_repeatable_job_is_begun_again() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let board = Board::new();
        let pool = pool(method, &board);
        // Late twice, then in time.
        let task = |board: &mut Board, i: u32| {
            board.count(ITEMS + i as usize);
            if i == 5 && current().unwrap().attempt() < 2 {
                for_ever();
            }
            i
        };
        let job = || pool.job(task).deadline(SHORT).chunk(4);
        assert_eq!(
            job().retries(2).map(0..20).unwrap(),
            (0..20).collect::<Vec<_>>()
        );
        assert_eq!(board.get(ITEMS + 5), 3);
        let items: Vec<u32> = (0..20).collect();
        let results = job().retries(1).try_map(items).unwrap();
        let Err(TaskError::DeadlineExceeded(missed)) = &results[5] else {
            panic!("{:?}", results[5])
        };
        assert_eq!(missed.attempts, 2);
        assert!(missed.to_string().ends_with(", attempt 2"));
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 19);
    }
    guard.assert_none();
}

#[test]
fn a_worker_that_is_stopped_in_a_task_is_late() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .build()
            .unwrap();
        let task = |i: u32| {
            if i == 7 {
                kill_process(getpid(), Signal::STOP).unwrap();
            }
            i
        };
        let results = pool.job(task).deadline(SHORT).chunk(3).try_map(0..12);
        for (i, result) in (0..).zip(results.unwrap()) {
            match result {
                Err(TaskError::DeadlineExceeded(_)) => assert_eq!(i, 7),
                result => assert_eq!(result, Ok(i)),
            }
        }
    }
    guard.assert_none();
}

#[test]
fn a_death_before_the_deadline_has_its_own_cause() {
    let guard = Leftovers::watch();
    let pool = Pool::new(2).unwrap();
    let task = |i: u32| {
        if i == 3 {
            std::process::exit(9);
        }
        i
    };
    let results = pool.job(task).deadline(AMPLE).try_map(0..8).unwrap();
    for (i, result) in (0..).zip(results) {
        match result {
            Err(TaskError::WorkerDied(_)) => assert_eq!(i, 3),
            result => assert_eq!(result, Ok(i)),
        }
    }
    drop(pool);
    guard.assert_none();
}

/// Never comes out of its `Deserialize` (1) or `Serialize` (2) in a worker.
#[derive(Clone)]
struct Tar(u32, u32);

impl Serialize for Tar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == 2 && self.1 != std::process::id() {
            for_ever();
        }
        (self.0, self.1).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tar, D::Error> {
        let (step, pid) = Deserialize::deserialize(deserializer)?;
        if step == 1 && pid != std::process::id() {
            for_ever();
        }
        Ok(Tar(step, pid))
    }
}

#[test]
fn decoding_and_encoding_count() {
    let guard = Leftovers::watch();
    let pool = Pool::new(2).unwrap();
    let pid = std::process::id();
    let items: Vec<Tar> = (0..4).map(|step| Tar(step, pid)).collect();
    let results = pool
        .job(|tar: Tar| tar)
        .deadline(SHORT)
        .chunk(2)
        .try_map(items)
        .unwrap();
    let late = |result: &Result<Tar, _>| matches!(result, Err(TaskError::DeadlineExceeded(_)));
    assert_eq!(
        results.iter().map(late).collect::<Vec<_>>(),
        [false, true, true, false]
    );
    drop(pool);
    guard.assert_none();
}

#[test]
fn many_short_tasks_are_in_time() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let pool = Pool::builder()
            .workers(3)
            .start_method(method)
            .build()
            .unwrap();
        let expected: Vec<u64> = (0..100_000).collect();
        assert_eq!(
            pool.job(|i: u64| i)
                .deadline(AMPLE)
                .map(0..100_000)
                .unwrap(),
            expected
        );
        let texts = pool.job(|i: u64| i.to_string()).deadline(AMPLE);
        assert!(
            (0..20_000u64)
                .zip(texts.map(0..20_000).unwrap())
                .all(|(i, text)| text == i.to_string())
        );
    }
    guard.assert_none();
}

#[test]
fn a_deadline_that_nothing_meets_ends_every_task_and_no_other_call() {
    let guard = Leftovers::watch();
    let board = Board::new();
    let pool = pool(StartMethod::ForkServer, &board);
    std::thread::scope(|scope| {
        let late = scope.spawn(|| {
            let task = |board: &mut Board, _: u32| -> u32 {
                board.count(BEGUN);
                for_ever()
            };
            let job = pool.job(task).deadline(Duration::from_millis(5));
            job.chunk(2).try_map(0..40u32).unwrap()
        });
        board.wait(BEGUN, 1);
        // Beside it, a call whose tasks have all the time.
        let expected: Vec<u32> = (100..400).collect();
        assert_eq!(pool.job(number).retries(0).map(100..400).unwrap(), expected);
        let late = late.join().unwrap();
        assert_eq!(late.len(), 40);
        assert!(
            late.iter()
                .all(|result| matches!(result, Err(TaskError::DeadlineExceeded(_))))
        );
    });
    drop((pool, board));
    guard.assert_none();
}

#[test]
fn deadlines_that_cannot_be_kept_are_refused() {
    let guard = Leftovers::watch();
    let pool = Pool::new(1).unwrap();
    let refused = |error: PoolError, text: &str| {
        assert!(
            error.is_option() && error.to_string().starts_with(text),
            "{error}"
        );
    };
    let zero = pool.job(|i: u32| i).deadline(Duration::ZERO);
    refused(
        zero.map(0..3).unwrap_err(),
        "option `deadline` cannot be 0 s: ",
    );
    let threads = Pool::builder()
        .workers(1)
        .start_method(StartMethod::Thread)
        .build()
        .unwrap();
    let text = "option `deadline` cannot be 60s: ";
    let job = || threads.job(|i: u32| i).deadline(LIMIT);
    refused(job().map(0..3).unwrap_err(), text);
    refused(job().apply(3).unwrap_err(), text);
    refused(job().apply_async(3).unwrap_err(), text);
    refused(job().imap(0..3).next().unwrap().unwrap_err(), text);
    assert_eq!(threads.map(|i: u32| i, 0..3).unwrap(), [0, 1, 2]);
    drop((pool, threads));
    guard.assert_none();
}

#[test]
fn a_killed_worker_is_gone_when_its_late_task_is_reported() {
    let guard = Leftovers::watch();
    let board = Board::new();
    let pool = pool(StartMethod::ForkServer, &board);
    let task = |board: &mut Board, _: u32| -> u32 {
        board.set(BEGUN, std::process::id());
        for_ever()
    };
    let handle = pool.job(task).deadline(SHORT).apply_async(0).unwrap();
    board.wait(BEGUN, 1);
    let worker = Process::of_ours(board.get(BEGUN)).unwrap();
    let error = handle.get().unwrap_err();
    assert!(worker.ends_within(Duration::ZERO), "{error}");
    drop((pool, board, worker));
    guard.assert_none();
}
