//! What a task is told about itself when it is begun again.

use ndarray::{Axis, Ix1};
use pool_core::{Pool, TaskError, current};
use pool_shm::{BlockMut, SharedArray};

use crate::common::{Leftovers, METHODS};

/// Dies twice, in the middle of its neighbours; then gives its index and how often it was begun before.
fn third_time(dies: bool) -> (u64, u32) {
    let current = current().unwrap();
    if dies && current.attempt() < 2 {
        std::process::abort();
    }
    (current.index(), current.attempt())
}

#[test]
fn a_repeated_task_knows_its_attempt_and_its_neighbours_are_not_repeated() {
    let leftovers = Leftovers::watch();
    for method in METHODS {
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .build()
            .unwrap();
        let expected: Vec<(u64, u32)> = (0..40)
            .map(|i| (i, if i % 20 == 7 { 2 } else { 0 }))
            .collect();
        for chunk in [1, 10, 40] {
            let integers = pool
                .job(|i: u64| third_time(i % 20 == 7))
                .chunk(chunk)
                .retries(2)
                .map(0..40);
            assert_eq!(integers.unwrap(), expected, "integers by {chunk}");
            let values = pool
                .job(|(i, _): (u64, String)| third_time(i % 20 == 7))
                .chunk(chunk)
                .retries(2)
                .map((0..40).map(|i| (i, String::new())));
            assert_eq!(values.unwrap(), expected, "values by {chunk}");
        }
        let mut array = SharedArray::<f64, Ix1>::zeros(40).unwrap();
        let blocks = pool
            .job(|block: BlockMut<'_, f64, Ix1>| third_time(block.start() % 20 == 7))
            .retries(2)
            .map_blocks(array.axis_chunks_mut(Axis(0), 1));
        assert_eq!(blocks.unwrap(), expected, "blocks");
        let (_, attempts) = pool.job(third_time).retries(2).apply(true).unwrap();
        assert_eq!(attempts, 2);
    }
    leftovers.assert_none();
}

#[test]
fn retries_are_counted_for_each_task() {
    let leftovers = Leftovers::watch();
    let pool = Pool::new(2).unwrap();
    let results = pool
        .job(|i: u32| {
            if i.is_multiple_of(3) {
                std::process::abort();
            }
            i
        })
        .retries(1)
        .try_map(0..9)
        .unwrap();
    for (i, result) in (0_u32..).zip(results) {
        match result {
            Err(TaskError::WorkerDied(death)) if i.is_multiple_of(3) => {
                assert_eq!(death.attempts, 2)
            }
            result => assert_eq!(result, Ok(i)),
        }
    }
    drop(pool);
    leftovers.assert_none();
}
