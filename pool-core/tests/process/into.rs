//! Results that go into an array.

use pool_core::{Pool, Schedule, StartMethod, TaskError, current};
use pool_shm::SharedArray;

use crate::common::{Leftovers, METHODS};

fn square(i: u64) -> u64 {
    i * i
}

fn length(text: String) -> f64 {
    text.len() as f64
}

/// Ends its process the first time that it meets item 700.
fn fragile(i: u32) -> i16 {
    if i == 700 && current().unwrap().attempt() == 0 {
        std::process::abort();
    }
    -(i as i16)
}

#[test]
fn results_are_elements_by_every_start_method() {
    let guard = Leftovers::watch();
    for method in METHODS.into_iter().chain([StartMethod::InProcess]) {
        let pool = Pool::builder().workers(3).start_method(method);
        let pool = pool.build().unwrap();
        for count in [0, 1, 7, 1000, 700_000] {
            let mut squares = SharedArray::<u64, _>::zeros(count as usize).unwrap();
            for schedule in [
                Schedule::Auto,
                Schedule::Static,
                Schedule::Dynamic { chunk: 13 },
                Schedule::Guided { min_chunk: 2 },
            ] {
                let job = pool.job(square).schedule(schedule);
                job.map_into(5..5 + count, &mut squares).unwrap();
                let view = squares.view();
                let mut pairs = view.iter().zip(5..);
                assert!(pairs.all(|(element, i)| *element == i * i), "{schedule:?}");
                squares.view_mut().fill(0);
            }
        }
        let mut lengths = SharedArray::<f64, _>::zeros(300).unwrap();
        pool.map_into(length, (0..300).map(|i| "x".repeat(i)), &mut lengths)
            .unwrap();
        assert!(
            lengths
                .view()
                .iter()
                .zip(0..)
                .all(|(l, i)| *l == f64::from(i))
        );
    }
    guard.assert_none();
}

#[test]
fn items_and_elements_are_equally_many_or_nothing_runs() {
    let guard = Leftovers::watch();
    let pool = Pool::new(2).unwrap();
    let mut squares = SharedArray::<u64, _>::from_elem(10, 7).unwrap();
    for range in [0..9, 0..11, 0..0] {
        let error = pool
            .map_into(square, range.clone(), &mut squares)
            .unwrap_err();
        assert!(error.is_option());
        let text = error.to_string();
        assert!(text.contains("10 elements"), "{text}");
        assert!(text.contains(&format!("{} items", range.end)), "{text}");
        let error = pool.map_into(square, range.collect::<Vec<_>>(), &mut squares);
        assert!(error.unwrap_err().is_option());
    }
    assert!(squares.view().iter().all(|element| *element == 7));
    // An input that does not say how many it has.
    for last in [8, 10] {
        let unknown = (0..20u64).filter(|i| *i <= last);
        let error = pool.map_into(square, unknown, &mut squares).unwrap_err();
        assert!(error.is_option(), "{error}");
    }
    let ten = (0..20u64).filter(|i| *i < 10);
    pool.map_into(square, ten, &mut squares).unwrap();
    assert_eq!(squares.view()[9], 81);
    drop((pool, squares));
    guard.assert_none();
}

#[test]
fn the_first_error_is_named_and_a_repeatable_task_begins_again() {
    let guard = Leftovers::watch();
    let pool = Pool::new(2).unwrap();
    let mut results = SharedArray::<i16, _>::zeros(1000).unwrap();
    let error = pool.map_into(fragile, 0..1000, &mut results).unwrap_err();
    let (index, error) = error.task().unwrap();
    assert_eq!(index, 700);
    assert!(matches!(error, TaskError::WorkerDied(_)), "{error}");

    let job = pool.job(fragile).retries(1);
    job.map_into(0..1000, &mut results).unwrap();
    assert!(results.view().iter().zip(0..).all(|(r, i)| *r == -i));

    let panics = |i: u32| {
        u32::MAX
            .checked_add(i)
            .map_or_else(|| panic!("{i} is too much"), |_| i)
    };
    let mut sums = SharedArray::<u32, _>::zeros(5).unwrap();
    let error = pool.map_into(panics, 0..5, &mut sums).unwrap_err();
    assert!(error.to_string().contains("1 is too much"), "{error}");
    // The array, its mapping and the pool are as good as ever.
    pool.map_into(|i: u32| i + 1, 0..5, &mut sums).unwrap();
    assert_eq!(sums.freeze().unwrap().view().to_vec(), [1, 2, 3, 4, 5]);
    drop((pool, results));
    guard.assert_none();
}
