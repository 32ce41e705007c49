//! The options of a call: its schedule, its progress, its name; and waiting for the first error.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use ndarray::{Axis, Ix1};
use pool_core::{
    FirstError, Pool, PoolError, Progress, Schedule, StartMethod, TaskError, WorkerState,
    as_completed, current, wait_first_error,
};
use pool_shm::{BlockMut, Segment, SharedArray};

const METHODS: [StartMethod; 3] = [
    StartMethod::ForkServer,
    StartMethod::Spawn,
    StartMethod::Thread,
];
const MOMENT: Duration = Duration::from_millis(1);
const FOREVER: Duration = Duration::from_secs(3600);

/// Two counters that tasks and tests see.
struct Shared {
    segment: Segment,
}

impl Shared {
    fn new() -> Shared {
        Shared {
            segment: Segment::create(8).unwrap(),
        }
    }

    fn count(&self) -> &AtomicU32 {
        self.segment.get(0).unwrap()
    }

    fn await_count(&self, least: u32) {
        while self.count().load(Ordering::SeqCst) < least {
            std::thread::yield_now();
        }
    }
}

fn pool(method: StartMethod, workers: usize, shared: &Shared) -> Pool<Shared> {
    Pool::builder()
        .workers(workers)
        .start_method(method)
        .initializer(
            |segment: Segment| Shared { segment },
            shared.segment.clone(),
        )
        .build()
        .unwrap()
}

fn worker() -> usize {
    current().unwrap().worker_id()
}

// ---- schedules ----

#[test]
fn static_parts_are_equal_and_stay_with_their_workers() {
    for method in METHODS {
        let pool = Pool::builder()
            .workers(3)
            .start_method(method)
            .build()
            .unwrap();
        let expected = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2];
        for _ in 0..20 {
            let job = pool.job(|_: u32| worker()).schedule(Schedule::Static);
            assert_eq!(job.map(0..10).unwrap(), expected);
        }
        let texts = pool.job(|_: u32| worker().to_string());
        let texts = texts.schedule(Schedule::Static).map(0..10).unwrap();
        assert_eq!(texts, expected.map(|worker| worker.to_string()));
        let mut array = SharedArray::<u8, _>::zeros(20).unwrap();
        let blocks = pool
            .job(|mut block: BlockMut<'_, u8, Ix1>| {
                block.view_mut().fill(1);
                worker()
            })
            .schedule(Schedule::Static)
            .map_blocks(array.axis_chunks_mut(Axis(0), 2));
        assert_eq!(blocks.unwrap(), expected);
        assert_eq!(array.view().sum(), 20);
        // Fewer items than workers.
        let job = pool.job(|_: u32| worker()).schedule(Schedule::Static);
        assert_eq!(job.map(0..2).unwrap(), [0, 1]);
        let none = pool.job(|_: u32| worker()).schedule(Schedule::Static);
        assert_eq!(none.map(0..0).unwrap(), [0; 0]);
    }
}

/// Ends when the other worker is in a task, too.
fn in_pairs(shared: &mut Shared, _: BlockMut<'_, u8, Ix1>) -> usize {
    let ticket = shared.count().fetch_add(1, Ordering::SeqCst) + 1;
    shared.await_count(ticket.next_multiple_of(2));
    worker()
}

#[test]
fn each_worker_begins_with_the_same_blocks_in_each_call() {
    for method in METHODS {
        let shared = Shared::new();
        let pool = pool(method, 2, &shared);
        let mut array = SharedArray::<u8, _>::zeros(40).unwrap();
        for _ in 0..20 {
            let pair = pool.map_blocks(in_pairs, array.axis_chunks_mut(Axis(0), 20));
            assert_eq!(pair.unwrap(), [0, 1]);
            let four = pool.map_blocks(in_pairs, array.axis_chunks_mut(Axis(0), 10));
            assert_eq!(four.unwrap(), [0, 0, 1, 1]);
        }
    }
}

#[test]
fn a_block_of_a_busy_worker_is_taken_by_another() {
    let shared = Shared::new();
    let pool = pool(StartMethod::ForkServer, 2, &shared);
    let hold = |shared: &mut Shared, held: u32| {
        shared.count().fetch_add(1, Ordering::SeqCst);
        shared.await_count(held);
        worker()
    };
    let held = pool.apply_async(hold, 2).unwrap();
    shared.await_count(1);
    let mut array = SharedArray::<u8, _>::zeros(10).unwrap();
    let done = pool.map_blocks(
        |_: BlockMut<'_, u8, Ix1>| worker(),
        array.axis_chunks_mut(Axis(0), 1),
    );
    let done = done.unwrap();
    shared.count().fetch_add(1, Ordering::SeqCst);
    let busy = held.get().unwrap();
    assert_eq!(done, [1 - busy; 10]);
}

#[test]
fn a_long_static_call_is_cut_more_than_once() {
    let pool = Pool::new(2).unwrap();
    let items = (1 << 22) + 10;
    let job = pool.job(|_: u32| worker() as u8).schedule(Schedule::Static);
    let workers = job.map(0..items).unwrap();
    assert_eq!(workers.len(), items as usize);
    let (first, rest) = workers.split_at(1 << 22);
    let parts = |workers: &[u8]| {
        let (low, high) = workers.split_at(workers.len() / 2);
        low.iter().all(|worker| *worker == 0) && high.iter().all(|worker| *worker == 1)
    };
    assert!(parts(first) && parts(rest));
}

/// Who ran each of a hundred items, while item 0 waits until `others` items were run.
fn who_ran(pool: &Pool<Shared>, shared: &Shared, schedule: Schedule, others: u32) -> Vec<usize> {
    shared.count().store(0, Ordering::SeqCst);
    let task = |shared: &mut Shared, (i, others): (u32, u32)| {
        if i == 0 {
            shared.await_count(others);
        }
        shared.count().fetch_add(1, Ordering::SeqCst);
        (i, worker())
    };
    // A range is run by workers that claim chunks; the other number is in the counter's neighbour.
    let limit: &AtomicU32 = shared.segment.get(4).unwrap();
    limit.store(others, Ordering::SeqCst);
    let by_range = |shared: &mut Shared, i: u32| {
        let others: &AtomicU32 = shared.segment.get(4).unwrap();
        let others = others.load(Ordering::SeqCst);
        if i == 0 {
            shared.await_count(others);
        }
        shared.count().fetch_add(1, Ordering::SeqCst);
        worker()
    };
    let ranged = pool.job(by_range).schedule(schedule).map(0..100).unwrap();
    shared.count().store(0, Ordering::SeqCst);
    let values: Vec<(u32, u32)> = (0..100).map(|i| (i, others)).collect();
    let job = pool.job(task).schedule(schedule);
    let mut valued: Vec<(u32, usize)> = match schedule {
        // Items behind the one that waits are sent only if results are handed out as they come.
        Schedule::Dynamic { .. } => job.imap_unordered(values).map(Result::unwrap).collect(),
        _ => job.map(values).unwrap(),
    };
    valued.sort_unstable();
    let valued: Vec<usize> = valued.into_iter().map(|(_, worker)| worker).collect();
    // The names of the workers may differ, the cut does not.
    let cut = |workers: &[usize]| -> Vec<bool> {
        workers.iter().map(|worker| *worker == workers[0]).collect()
    };
    assert_eq!(cut(&ranged), cut(&valued));
    ranged
}

#[test]
fn a_schedule_says_how_much_a_worker_claims_at_a_time() {
    for method in METHODS {
        let shared = Shared::new();
        let pool = pool(method, 2, &shared);
        for (schedule, first) in [
            (Schedule::Static, 50),
            (Schedule::Dynamic { chunk: 10 }, 10),
            (Schedule::Dynamic { chunk: 1 }, 1),
            (Schedule::Guided { min_chunk: 13 }, 25),
            (Schedule::Guided { min_chunk: 60 }, 60),
        ] {
            let workers = who_ran(&pool, &shared, schedule, 100 - first);
            let (held, others) = workers.split_at(first as usize);
            assert!(held.iter().all(|worker| *worker == held[0]), "{schedule:?}");
            assert!(
                others.iter().all(|worker| *worker != held[0]),
                "{schedule:?}"
            );
        }
    }
}

#[test]
fn a_static_part_of_a_worker_that_dies_is_run_by_another() {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let shared = Shared::new();
        let pool = pool(method, 3, &shared);
        for schedule in [Schedule::Static, Schedule::Guided { min_chunk: 2 }] {
            shared.count().store(0, Ordering::SeqCst);
            // Each worker dies once in the middle of its part.
            let task = |shared: &mut Shared, i: u32| {
                if i % 20 == 7 && shared.count().fetch_add(1, Ordering::SeqCst) < 3 {
                    std::process::abort();
                }
                i
            };
            let results = pool.job(task).schedule(schedule).retries(3).map(0..60);
            assert_eq!(results.unwrap(), (0..60).collect::<Vec<_>>());
            shared.count().store(0, Ordering::SeqCst);
            let results = pool.job(task).schedule(schedule).try_map(0..60).unwrap();
            let lost = results.iter().filter(|result| result.is_err()).count();
            assert_eq!(lost, 3, "{results:?}");
        }
    }
}

#[test]
fn a_static_part_of_a_worker_that_leaves_is_run_by_another() {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let pool = Pool::builder()
            .workers(3)
            .start_method(method)
            .max_tasks_per_worker(7)
            .build()
            .unwrap();
        for _ in 0..20 {
            let job = pool.job(|i: u32| i).schedule(Schedule::Static);
            assert_eq!(job.map(0..30).unwrap(), (0..30).collect::<Vec<_>>());
        }
    }
}

#[test]
fn schedules_that_cannot_be_kept_are_refused() {
    let pool = Pool::new(1).unwrap();
    let job = |schedule| pool.job(|i: u32| i).schedule(schedule);
    let refused = |error: PoolError, text: &str| {
        assert!(
            error.is_option() && error.to_string().starts_with(text),
            "{error}"
        );
    };
    refused(
        job(Schedule::Guided { min_chunk: 0 })
            .map(0..3)
            .unwrap_err(),
        "option `schedule` cannot be Guided { min_chunk: 0 }: ",
    );
    refused(
        job(Schedule::Dynamic { chunk: 0 }).map(0..3).unwrap_err(),
        "option `chunk` cannot be 0: ",
    );
    let unknown = (0..9).filter(|i| i % 2 == 0);
    refused(
        job(Schedule::Static).map(unknown).unwrap_err(),
        "option `schedule` cannot be Static: it needs to know how many tasks there are",
    );
    let stream = job(Schedule::Static).imap(0..3).next();
    refused(
        stream.unwrap().unwrap_err(),
        "option `schedule` cannot be Static: ",
    );
    // The last one counts, and a single task does not mind.
    assert_eq!(job(Schedule::Static).chunk(2).imap(0..3).count(), 3);
    assert_eq!(job(Schedule::Static).apply(3).unwrap(), 3);
}

// ---- progress ----

/// What a callback is told.
fn told() -> (impl FnMut(Progress) + Send + 'static, Receiver<Progress>) {
    let (sender, receiver) = mpsc::channel();
    (
        move |progress| {
            let _ = sender.send(progress);
        },
        receiver,
    )
}

/// What was told never goes back, and ends at `done` of `total`.
fn check_progress(told: &Receiver<Progress>, done: u64, total: Option<u64>) {
    // The callback is gone when the call has ended, so this ends too.
    let all: Vec<Progress> = told.iter().collect();
    assert!(all.is_sorted_by_key(|progress| progress.done), "{all:?}");
    let last = all.last().unwrap();
    assert_eq!((last.done, last.total), (done, total));
}

#[test]
fn progress_ends_with_all_tasks_whatever_the_verb() {
    for method in METHODS {
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .build()
            .unwrap();
        let (callback, progress) = told();
        let numbers = pool.job(|i: u64| i).progress(MOMENT, callback);
        numbers.map(0..500_000).unwrap();
        check_progress(&progress, 500_000, Some(500_000));
        let (callback, progress) = told();
        let texts = pool.job(|i: u64| i.to_string()).progress(MOMENT, callback);
        texts.map(0..100_000).unwrap();
        check_progress(&progress, 100_000, Some(100_000));
        let (callback, progress) = told();
        let values = pool.job(|i: u64| i).progress(MOMENT, callback);
        values.map((0..30_000).collect::<Vec<_>>()).unwrap();
        check_progress(&progress, 30_000, Some(30_000));
        let (callback, progress) = told();
        let unknown = pool.job(|i: u64| i).progress(MOMENT, callback);
        unknown.map((0..3_000).filter(|i| i % 3 == 0)).unwrap();
        check_progress(&progress, 1_000, None);
        let (callback, progress) = told();
        let mut array = SharedArray::<u8, _>::zeros(1_000).unwrap();
        let blocks = pool.job(|mut block: BlockMut<'_, u8, Ix1>| block.view_mut().fill(1));
        let blocks = blocks.progress(MOMENT, callback);
        blocks
            .map_blocks(array.axis_chunks_mut(Axis(0), 10))
            .unwrap();
        check_progress(&progress, 100, Some(100));
        let (callback, progress) = told();
        let stream = pool.job(|i: u64| i).progress(MOMENT, callback);
        assert_eq!(stream.imap(0..5_000).count(), 5_000);
        check_progress(&progress, 5_000, Some(5_000));
        let (callback, progress) = told();
        let stream = pool.job(|i: u64| i).progress(MOMENT, callback);
        assert_eq!(stream.imap_unordered(0..).take(100).count(), 100);
        let last = progress.iter().last().unwrap();
        assert!(last.done >= 100 && last.total.is_none(), "{last:?}");
        let (callback, progress) = told();
        pool.job(|i: u64| i)
            .progress(MOMENT, callback)
            .apply(3)
            .unwrap();
        check_progress(&progress, 1, Some(1));
        let (callback, progress) = told();
        let handle = pool
            .job(|i: u64| i)
            .progress(MOMENT, callback)
            .apply_async(3);
        assert_eq!(handle.unwrap().get().unwrap(), 3);
        check_progress(&progress, 1, Some(1));
    }
}

/// Item 9 of ten waits until somebody has been told that the nine others have ended.
fn ninth_waits(shared: &mut Shared, i: u32) -> u32 {
    if i == 9 {
        shared.await_count(1);
    }
    i
}

#[test]
fn progress_is_told_while_tasks_run() {
    for method in METHODS {
        let shared = Shared::new();
        let pool = pool(method, 2, &shared);
        // Also of one chunk: what its worker has done of it.
        for chunk in [1, 10] {
            for verb in 0..4 {
                shared.count().store(0, Ordering::SeqCst);
                let seen = Shared {
                    segment: shared.segment.clone(),
                };
                let job = pool.job(ninth_waits).chunk(chunk);
                let job = job.progress(MOMENT, move |progress| {
                    if progress.done == 9 {
                        seen.count().store(1, Ordering::SeqCst);
                    }
                });
                let results = match verb {
                    0 => job.map(0..10).unwrap(),
                    1 => job.map((0..10).collect::<Vec<_>>()).unwrap(),
                    2 => job.imap(0..10).map(Result::unwrap).collect(),
                    _ => {
                        let mut results: Vec<u32> =
                            job.imap_unordered(0..10).map(Result::unwrap).collect();
                        results.sort_unstable();
                        results
                    }
                };
                assert_eq!(results, (0..10).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn a_callback_for_progress_that_panics_harms_nobody() {
    let pool = Pool::new(2).unwrap();
    let (sender, calls) = mpsc::channel();
    let job = pool.job(|i: u64| i).progress(MOMENT, move |_| {
        sender.send(()).unwrap();
        panic!("on purpose");
    });
    assert_eq!(job.map(0..100_000).unwrap().len(), 100_000);
    assert_eq!(calls.iter().count(), 1);
    assert_eq!(pool.map(|i: u64| i, 0..3).unwrap(), [0, 1, 2]);
    let (sender, results) = mpsc::channel();
    drop(
        pool.apply_async(|i: u64| i, 4)
            .unwrap()
            .on_success(move |i| sender.send(i).unwrap()),
    );
    assert_eq!(results.recv().unwrap(), 4);
}

#[test]
fn a_callback_for_progress_that_blocks_holds_up_no_task() {
    let shared = Shared::new();
    let pool = pool(StartMethod::ForkServer, 2, &shared);
    let seen = Shared {
        segment: shared.segment.clone(),
    };
    // More tasks than are sent at once: whoever made the call has to go on sending.
    let task = |shared: &mut Shared, i: String| {
        shared.count().fetch_add(1, Ordering::SeqCst);
        i
    };
    let job = pool
        .job(task)
        .progress(MOMENT, move |_| seen.await_count(20_000));
    let items = (0..20_000).map(|i: u32| i.to_string());
    assert_eq!(job.map(items).unwrap().len(), 20_000);
}

#[test]
fn progress_of_a_call_that_fails_ends_before_its_total() {
    let pool = Pool::new(2).unwrap();
    let (callback, progress) = told();
    let job = pool.job(|i: u32| assert!(i != 100)).chunk(1);
    // Many more than are offered at once.
    job.progress(MOMENT, callback)
        .map(0..10_000_000)
        .unwrap_err();
    let last = progress.iter().last().unwrap();
    assert!((100..1_000_000).contains(&last.done), "{last:?}");
    assert_eq!(last.total, Some(10_000_000));
}

#[test]
fn progress_of_a_stream_can_be_asked_for_at_any_time() {
    let pool = Pool::new(2).unwrap();
    let (callback, progress) = told();
    let job = pool.job(|i: u32| i).window(4).progress(FOREVER, callback);
    let mut stream = job.imap(0..1_000);
    assert_eq!(stream.progress().done, 0);
    for i in 0..10 {
        assert_eq!(stream.next().unwrap().unwrap(), i);
        let done = stream.progress().done;
        assert!(
            (u64::from(i) + 1..=u64::from(i) + 5).contains(&done),
            "{done} at {i}"
        );
    }
    assert_eq!(stream.progress().total, Some(1_000));
    drop(stream);
    assert_eq!(
        progress.iter().count(),
        1,
        "only the last time is told so seldom"
    );
}

// ---- names ----

#[test]
fn a_name_of_a_job_shows_in_the_errors_of_every_verb() {
    let pool = Pool::new(2).unwrap();
    let job = || pool.job(|x: u32| 12 / x).name("quotients");
    let mut array = SharedArray::<u32, _>::zeros(3).unwrap();
    let blocks = |block: BlockMut<'_, u32, Ix1>| 12 / block.index();
    let errors = [
        job().map(0..3).unwrap_err(),
        job().map([1, 0]).unwrap_err(),
        job().apply(0).unwrap_err(),
        job().apply_async(0).unwrap().get().unwrap_err(),
        job().imap(0..3).next().unwrap().unwrap_err(),
        pool.job(blocks)
            .name("quotients")
            .map_blocks(array.axis_chunks_mut(Axis(0), 1))
            .unwrap_err(),
    ];
    let indices = errors.map(|error| {
        assert_eq!(error.job(), Some("quotients"));
        assert!(
            error.to_string().contains(" of `quotients` failed: "),
            "{error}"
        );
        error.task().unwrap().0
    });
    assert_eq!(indices, [0, 1, 0, 1, 0, 0]);
    let unnamed = pool.map(|x: u32| 12 / x, 0..3).unwrap_err();
    assert_eq!(unnamed.job(), None);
    assert!(unnamed.to_string().starts_with("task 0 failed: "));
}

// ---- how far the input is read ----

#[test]
fn the_window_of_a_stream_adapts_to_its_task_and_bounds_the_input() {
    let pool = Pool::new(2).unwrap();
    let furthest = |stream: &mut dyn Iterator<Item = u64>, taken: &Cell<u64>| {
        let ahead = stream.map(|i| taken.get() - i);
        ahead.max().unwrap()
    };
    // More than 50 µs each: four single items per worker.
    let slow = |i: u64| {
        let end = Instant::now() + Duration::from_micros(200);
        while Instant::now() < end {
            std::hint::spin_loop();
        }
        i
    };
    let taken = Cell::new(0);
    let endless = || (0..).inspect(|i| taken.set(i + 1));
    let mut stream = pool.imap(slow, endless()).take(500).map(Result::unwrap);
    let ahead = furthest(&mut stream, &taken);
    assert!(ahead <= 8, "{ahead} items were read ahead of slow tasks");
    // Cheap ones travel in chunks, four of at most 4096 items per worker.
    taken.set(0);
    let cheap = |i: u64| i;
    let mut stream = pool.imap(cheap, endless()).take(100_000);
    let ahead = furthest(&mut stream.by_ref().map(Result::unwrap), &taken);
    assert!((9..=8 * 4096).contains(&ahead), "{ahead}");
    assert!(taken.get() < 100_000 + 8 * 4096);
}

// ---- the first error ----

fn park(_: u64) -> u64 {
    loop {
        std::thread::park();
    }
}

#[test]
fn the_first_error_ends_the_wait() {
    for method in [StartMethod::ForkServer, StartMethod::Spawn] {
        let pool = Pool::builder()
            .workers(3)
            .start_method(method)
            .build()
            .unwrap();
        let task = |i: u64| match i {
            0..100 => i,
            100 => panic!("on purpose"),
            101 => std::process::abort(),
            _ => park(i),
        };
        let begin = |items: &[u64]| -> Vec<_> {
            let begin = |i: &u64| pool.apply_async(task, *i).unwrap();
            items.iter().map(begin).collect()
        };
        assert_eq!(wait_first_error(&begin(&[1, 2, 3]), None), FirstError::None);
        let handles = begin(&[1, 100, 2]);
        assert_eq!(
            wait_first_error(&handles, Some(FOREVER)),
            FirstError::Task(1)
        );
        // The handles are as they were.
        let results: Vec<_> = handles
            .into_iter()
            .map(|handle| handle.get().ok())
            .collect();
        assert_eq!(results, [Some(1), None, Some(2)]);
        let handles = begin(&[200, 1, 101]);
        assert_eq!(wait_first_error(&handles, None), FirstError::Task(2));
        // What is in vain is cancelled.
        assert!(handles[0].cancel_now().unwrap());
        assert_eq!(wait_first_error(&handles[..1], None), FirstError::Task(0));
        let handles = begin(&[1, 201]);
        assert_eq!(
            wait_first_error(&handles, Some(MOMENT)),
            FirstError::TimedOut
        );
        assert_eq!(wait_first_error::<u64>(&[], None), FirstError::None);
        drop(pool);
        assert_eq!(wait_first_error(&handles, None), FirstError::Task(1));
    }
}

#[test]
fn thousands_of_handles_are_waited_for_at_once() {
    let pool = Pool::new(2).unwrap();
    let handles: Vec<_> = (0..5_000u64)
        .map(|i| pool.apply_async(|i: u64| assert!(i != 4_000), i).unwrap())
        .collect();
    assert_eq!(wait_first_error(&handles, None), FirstError::Task(4_000));
    let errors = as_completed(handles).filter(|(_, result)| result.is_err());
    assert_eq!(
        errors.map(|(position, _)| position).collect::<Vec<_>>(),
        [4_000]
    );
}

#[test]
fn a_given_chunk_is_kept_for_values() {
    let shared = Shared::new();
    let pool = pool(StartMethod::ForkServer, 2, &shared);
    // What is known of the task would allow more.
    let task = |shared: &mut Shared, (i, waits): (u32, bool)| {
        if waits && i == 9 {
            shared.await_count(12);
        }
        shared.count().fetch_add(u32::from(waits), Ordering::SeqCst);
        worker()
    };
    let items = |waits, n| -> Vec<(u32, bool)> { (0..n).map(|i| (i, waits)).collect() };
    assert_eq!(pool.map(task, items(false, 10_000)).unwrap().len(), 10_000);
    // Item 9 waits until all that are in other chunks were run: it would wait for ever for one of its own.
    let workers = pool.job(task).chunk(3).map(items(true, 15)).unwrap();
    let (held, rest) = (&workers[9..12], &workers[12..]);
    assert!(held.iter().all(|worker| *worker == held[0]), "{workers:?}");
    assert!(rest.iter().all(|worker| *worker != held[0]), "{workers:?}");
}

#[test]
fn cancelled_tasks_show_what_they_are() {
    let pool = Pool::new(1).unwrap();
    let running = pool.job(park).name("parked").apply_async(0).unwrap();
    while pool.workers()[0].state != WorkerState::Busy {
        std::thread::yield_now();
    }
    assert!(running.cancel_now().unwrap());
    let error = running.get().unwrap_err();
    assert_eq!(error.task(), Some((0, &TaskError::Cancelled)));
    assert_eq!(
        error.to_string(),
        "task 0 of `parked` failed: the task was cancelled"
    );
}
