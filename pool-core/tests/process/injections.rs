//! Deaths at every step of the protocols: each worker's first life ends at the n-th passing of a point.

use ndarray::{Axis, Ix1};
use pool_core::{Pool, TaskError, WorkerExit};
use pool_shm::{BlockMut, SharedArray};

use crate::common::{LIMIT, Leftovers, METHODS, exit_of};

const POINTS: [&str; 20] = [
    "claim.announced",
    "claim.batch-published",
    "claim.batch-taken",
    "claim.before-done",
    "claim.before-exit",
    "claim.claimed",
    "claim.cursor-moved",
    "claim.done",
    "claim.entered",
    "claim.exited",
    "clock.before-stop",
    "join.announced",
    "park.announced",
    "park.looking-out",
    "park.taken",
    "stream.copied",
    "stream.published",
    "task.before-done",
    "task.claimed",
    "task.done",
];

#[test]
fn the_list_of_points_is_complete() {
    let sources = [
        include_str!("../../src/dispatch/claim.rs"),
        include_str!("../../src/dispatch/clock.rs"),
        include_str!("../../src/dispatch/join.rs"),
        include_str!("../../src/dispatch/park.rs"),
        include_str!("../../src/dispatch/stream.rs"),
        include_str!("../../src/dispatch/tasks.rs"),
    ];
    let found = sources
        .iter()
        .flat_map(|source| source.split("inject::point(\"").skip(1));
    let mut found: Vec<&str> = found.map(|rest| rest.split('"').next().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, POINTS);
}

fn fill(mut block: BlockMut<'_, u32, Ix1>) -> u32 {
    let index = block.index() as u32;
    block.view_mut().fill(index + 1);
    index
}

fn long(i: u32) -> String {
    i.to_string().repeat(100_000)
}

/// A call, and whether its results are right.
type Verb = (&'static str, fn(&Pool));

const VERBS: [Verb; 9] = [
    ("range", |pool| {
        let results = pool.job(|i: u32| i).chunk(3).retries(9).map(0..100);
        assert_eq!(results.unwrap(), (0..100).collect::<Vec<_>>());
    }),
    // Known to be short after the first, so one worker is told of each.
    ("short ranges", |pool| {
        for _ in 0..9 {
            let results = pool.job(|i: u32| i).chunk(1).retries(9).map(0..4);
            assert_eq!(results.unwrap(), [0, 1, 2, 3]);
        }
    }),
    ("range of texts", |pool| {
        let results = pool
            .job(|i: u32| i.to_string())
            .chunk(3)
            .retries(9)
            .map(0..100);
        assert_eq!(
            results.unwrap(),
            (0..100).map(|i| i.to_string()).collect::<Vec<_>>()
        );
    }),
    ("long texts", |pool| {
        let results = pool.job(long).chunk(2).retries(9).map(0..12);
        assert_eq!(results.unwrap(), (0..12).map(long).collect::<Vec<_>>());
    }),
    ("values", |pool| {
        let results = pool
            .job(|text: String| text + ".")
            .chunk(3)
            .retries(9)
            .map((0..100).map(|i| i.to_string()));
        assert_eq!(
            results.unwrap(),
            (0..100).map(|i| format!("{i}.")).collect::<Vec<_>>()
        );
    }),
    ("numbers", |pool| {
        let results = pool
            .job(|i: u32| i)
            .chunk(3)
            .retries(9)
            .map((0..100).collect::<Vec<_>>());
        assert_eq!(results.unwrap(), (0..100).collect::<Vec<_>>());
    }),
    ("blocks", |pool| {
        let mut array = SharedArray::<u32, _>::zeros(200).unwrap();
        let results = pool
            .job(fill)
            .chunk(3)
            .retries(9)
            .map_blocks(array.axis_chunks_mut(Axis(0), 2));
        assert_eq!(results.unwrap(), (0..100).collect::<Vec<_>>());
        let array = array.freeze().unwrap();
        assert!(
            array
                .view()
                .iter()
                .enumerate()
                .all(|(i, value)| *value == i as u32 / 2 + 1)
        );
    }),
    ("deadline", |pool| {
        let results = pool
            .job(|i: u32| i)
            .chunk(3)
            .deadline(LIMIT)
            .retries(9)
            .map(0..100);
        assert_eq!(results.unwrap(), (0..100).collect::<Vec<_>>());
    }),
    ("apply", |pool| {
        for i in 0..20u32 {
            assert_eq!(
                pool.job(|i: u32| i.to_string().repeat(30))
                    .retries(9)
                    .apply(i)
                    .unwrap(),
                i.to_string().repeat(30)
            );
        }
    }),
];

#[test]
fn a_death_at_any_step_costs_nothing_that_may_be_repeated() {
    let guard = Leftovers::watch();
    for point in POINTS {
        for (n, method) in [(1, METHODS[0]), (2, METHODS[1]), (7, METHODS[0])] {
            for (name, verb) in VERBS {
                let pool = Pool::builder()
                    .workers(3)
                    .start_method(method)
                    .env("POOL_CORE_INJECT", format!("{point}:{n}"))
                    .build();
                let pool = pool.unwrap_or_else(|error| panic!("{point}:{n}: {error}"));
                let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    verb(&pool);
                    verb(&pool);
                }));
                assert!(outcome.is_ok(), "{name} with {point}:{n}");
            }
        }
    }
    guard.assert_none();
}

#[test]
fn without_retries_a_death_costs_one_task_at_most() {
    let guard = Leftovers::watch();
    for point in POINTS {
        for n in [1, 3] {
            let pool = Pool::builder()
                .workers(3)
                .env("POOL_CORE_INJECT", format!("{point}:{n}"))
                .build()
                .unwrap();
            let numbers: Vec<Result<u32, TaskError>> =
                pool.job(|i: u32| i).chunk(3).try_map(0..100).unwrap();
            let texts = pool
                .job(|i: u32| i.to_string())
                .chunk(3)
                .try_map(0..100)
                .unwrap();
            let texts = texts
                .into_iter()
                .map(|text| text.map(|text| text.parse().unwrap()));
            let values = pool
                .job(|i: u32| i)
                .chunk(3)
                .try_map((0..100).collect::<Vec<_>>())
                .unwrap();
            let mut lost = 0;
            for (i, result) in (0..100)
                .cycle()
                .zip(numbers.into_iter().chain(texts).chain(values))
            {
                match result {
                    Ok(value) => assert_eq!(value, i, "{point}:{n}"),
                    Err(error) => {
                        assert_eq!(
                            exit_of(&error),
                            Some(WorkerExit::Signal(9)),
                            "{point}:{n}: {error}"
                        );
                        lost += 1;
                    }
                }
            }
            assert!(
                lost <= 3,
                "{lost} tasks lost by three deaths at {point}:{n}"
            );
        }
    }
    guard.assert_none();
}

/// Steps at which a worker leaves.
const LEAVING: [&str; 3] = ["leave.asked", "leave.hook-done", "leave.said"];

#[test]
fn the_list_of_steps_of_leaving_is_complete() {
    let source = include_str!("../../src/worker/leave.rs");
    let found = source.split("inject::point(\"").skip(1);
    let mut found: Vec<&str> = found.map(|rest| rest.split('"').next().unwrap()).collect();
    found.sort_unstable();
    assert_eq!(found, LEAVING);
}

#[test]
fn a_death_while_leaving_costs_no_task_and_is_reported() {
    let guard = Leftovers::watch();
    for point in LEAVING {
        for method in METHODS {
            let pool = Pool::builder()
                .workers(2)
                .start_method(method)
                .env("POOL_CORE_INJECT", format!("{point}:1"))
                .max_tasks_per_worker(2)
                .exit_hook(|()| 7u32)
                .build()
                .unwrap();
            let exits = pool.exit_results::<u32>().unwrap();
            // The first lives ask while they run their last task, which is then begun again.
            let results = pool.job(|i: u32| i).retries(1).map(0..40);
            assert_eq!(results.unwrap(), (0..40).collect::<Vec<_>>(), "{point}");
            let handles: Vec<_> = (0..20u32)
                .map(|i| pool.job(|i: u32| i).retries(1).apply_async(i).unwrap())
                .collect();
            for (i, handle) in (0..).zip(handles) {
                assert_eq!(handle.get().unwrap(), i, "{point}");
            }
            pool.join();
            let exits = exits.take();
            let killed = exits.iter().filter(|exit| match &exit.result {
                Ok(7) => false,
                Err(error) => exit_of(error) == Some(WorkerExit::Signal(9)),
                other => panic!("{point}: {other:?}"),
            });
            let killed = killed.count();
            assert!(exits.len() > killed + 10, "{point}: {exits:?}");
            match point {
                // It had not said that it leaves: that is a death like any other.
                "leave.asked" => assert_eq!(killed, 0),
                // Its hook had not begun.
                "leave.said" => assert!(killed > 0),
                // Its result was sent before.
                _ => assert_eq!(killed, 0),
            }
        }
    }
    guard.assert_none();
}
