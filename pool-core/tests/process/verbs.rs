//! The verbs: results in order, whatever the items are, however many, from however many threads.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::{Range, RangeInclusive};

use pool_core::{Pool, PoolError, StartMethod, TaskError, current};
use serde::{Deserialize, Serialize};

use crate::common::{Board, Leftovers, METHODS};

fn double(x: i64) -> i64 {
    2 * x
}

#[test]
fn results_are_in_order() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let pool = Pool::builder()
            .workers(3)
            .start_method(method)
            .build()
            .unwrap();
        assert_eq!(
            pool.map(double, 0..1000).unwrap(),
            (0..1000).map(double).collect::<Vec<_>>()
        );
        let values = (0..1000).rev().collect::<Vec<_>>();
        assert_eq!(
            pool.map(double, values.clone()).unwrap(),
            values.into_iter().map(double).collect::<Vec<_>>()
        );
        let texts = pool.map(|i: u32| "x".repeat(i as usize % 50), 0..1000);
        let expected: Vec<_> = (0..1000).map(|i| "x".repeat(i % 50)).collect();
        assert_eq!(texts.unwrap(), expected);
    }
    guard.assert_none();
}

#[test]
fn no_items_no_results() {
    let guard = Leftovers::watch();
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(double, 0..0).unwrap(), []);
    #[expect(clippy::reversed_empty_ranges, reason = "it is an empty range")]
    let (reversed, closed) = (5..2, 5..=2);
    assert_eq!(pool.map(double, reversed).unwrap(), []);
    assert_eq!(pool.map(double, closed).unwrap(), []);
    assert_eq!(pool.map(double, Vec::new()).unwrap(), []);
    assert_eq!(pool.try_map(double, 0..0).unwrap(), []);
    assert_eq!(
        pool.map(|x: String| x, std::iter::empty()).unwrap(),
        [""; 0]
    );
    assert_eq!(pool.map(|x: u8| x.to_string(), 0..0).unwrap(), [""; 0]);
    let mut exhausted = 1..=1;
    exhausted.next();
    assert_eq!(pool.map(double, exhausted).unwrap(), []);
    drop(pool);
    guard.assert_none();
}

#[test]
fn one_item() {
    let guard = Leftovers::watch();
    let pool = Pool::new(4).unwrap();
    assert_eq!(pool.map(double, 7..8).unwrap(), [14]);
    assert_eq!(pool.map(double, [7]).unwrap(), [14]);
    assert_eq!(pool.map(|x: i64| x.to_string(), 7..8).unwrap(), ["7"]);
    assert_eq!(pool.apply(double, 7).unwrap(), 14);
    assert_eq!(pool.try_map(double, [7]).unwrap(), [Ok(14)]);
    drop(pool);
    guard.assert_none();
}

#[test]
fn a_million_items() {
    let guard = Leftovers::watch();
    let pool = Pool::new(3).unwrap();
    let squares = pool.map(|i: u64| i * i, 0..1_000_000).unwrap();
    assert!(
        (0..1_000_000u64)
            .zip(&squares)
            .all(|(i, square)| i * i == *square)
    );
    assert_eq!(squares.len(), 1_000_000);
    let values = pool
        .map(|i: u32| i ^ 1, (0..1_000_000).map(|i: u32| i))
        .unwrap();
    assert!(
        (0..1_000_000u32)
            .zip(&values)
            .all(|(i, value)| i ^ 1 == *value)
    );
    assert_eq!(values.len(), 1_000_000);
    let texts = pool.map(|i: u32| i.to_string(), 0..300_000).unwrap();
    assert!(
        (0..300_000u32)
            .zip(&texts)
            .all(|(i, text)| i.to_string() == *text)
    );
    assert_eq!(texts.len(), 300_000);
    drop(pool);
    guard.assert_none();
}

/// The range, both ways, gives what its iterator gives.
fn check_range<T>(pool: &Pool, range: Range<T>, closed: RangeInclusive<T>)
where
    T: Copy + Debug + PartialEq + Serialize + for<'a> Deserialize<'a> + 'static,
    Range<T>: Iterator<Item = T>,
    RangeInclusive<T>: Iterator<Item = T>,
{
    let expected: Vec<T> = range.clone().collect();
    assert_eq!(pool.map(|x: T| x, range.clone()).unwrap(), expected);
    assert_eq!(pool.map(|x: T| vec![x], range).unwrap().concat(), expected);
    let expected: Vec<T> = closed.clone().collect();
    assert_eq!(pool.map(|x: T| x, closed).unwrap(), expected);
}

#[test]
fn ranges_of_every_integer() {
    let guard = Leftovers::watch();
    let pool = Pool::new(2).unwrap();
    check_range::<u8>(&pool, 0..255, 0..=255);
    check_range::<i8>(&pool, -128..127, -128..=127);
    check_range::<u16>(&pool, 65_000..65_535, 65_000..=65_535);
    check_range::<i16>(&pool, -300..300, -32_768..=-32_700);
    check_range::<u32>(&pool, u32::MAX - 9..u32::MAX, u32::MAX - 9..=u32::MAX);
    check_range::<i32>(&pool, i32::MIN..i32::MIN + 9, -4..=4);
    check_range::<u64>(&pool, u64::MAX - 9..u64::MAX, u64::MAX - 9..=u64::MAX);
    check_range::<i64>(&pool, i64::MIN..i64::MIN + 9, i64::MAX - 4..=i64::MAX);
    check_range::<usize>(&pool, 3..40, 3..=3);
    check_range::<isize>(&pool, -3..40, -3..=-3);
    check_range::<u128>(&pool, u128::MAX - 9..u128::MAX, 0..=9);
    check_range::<i128>(&pool, -9..9, -9..=9);
    check_range::<char>(&pool, 'b'..'x', 'a'..='z');
    drop(pool);
    guard.assert_none();
}

#[test]
fn items_are_pulled_as_they_are_needed() {
    let guard = Leftovers::watch();
    let board = Board::new();
    let pool = Pool::builder()
        .workers(2)
        .initializer(|board: Board| board, board.clone())
        .build()
        .unwrap();
    // The iterator itself waits for tasks, so it cannot be drained first.
    let items = (0..2000u32).inspect(|i| board.wait(0, i.saturating_sub(1000)));
    let task = |board: &mut Board, i: u32| {
        board.count(0);
        i
    };
    let results = pool.job(task).chunk(8).map(items).unwrap();
    assert_eq!(results, (0..2000).collect::<Vec<_>>());
    drop((pool, board));
    guard.assert_none();
}

#[test]
fn a_panic_of_the_input_leaves_the_pool_usable() {
    let guard = Leftovers::watch();
    let pool = Pool::new(2).unwrap();
    let items = (0..100).map(|i| if i == 50 { panic!("no more") } else { i });
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        pool.map(double, items).map(drop)
    }));
    assert!(caught.is_err());
    assert_eq!(pool.map(double, vec![1, 2]).unwrap(), [2, 4]);
    drop(pool);
    guard.assert_none();
}

#[test]
fn input_larger_than_the_windows() {
    let guard = Leftovers::watch();
    let pool = Pool::new(2).unwrap();
    let items = (0..100u8).map(|i| vec![i; 2 << 20]);
    let sums = pool
        .map(
            |bytes: serde_bytes::ByteBuf| (bytes.len(), bytes[0], bytes[bytes.len() - 1]),
            items.map(serde_bytes::ByteBuf::from),
        )
        .unwrap();
    assert!((0..100).zip(sums).all(|(i, sum)| sum == (2 << 20, i, i)));
    let items = (0..6u8).map(|i| serde_bytes::ByteBuf::from(vec![i; 10_000_000]));
    let lengths = pool.map(
        |bytes: serde_bytes::ByteBuf| bytes.len() + bytes[9_999_999] as usize,
        items,
    );
    assert!(
        (0..6)
            .zip(lengths.unwrap())
            .all(|(i, length)| length == 10_000_000 + i)
    );
    drop(pool);
    guard.assert_none();
}

#[test]
fn many_workers_share_the_memory_for_arguments() {
    let guard = Leftovers::watch();
    let pool = Pool::new(40).unwrap();
    let items = (0..200u8).map(|i| serde_bytes::ByteBuf::from(vec![i; 3 << 20]));
    let lengths = pool.map(|bytes: serde_bytes::ByteBuf| (bytes.len(), bytes[7]), items);
    assert!(
        (0..200)
            .zip(lengths.unwrap())
            .all(|(i, found)| found == (3 << 20, i))
    );
    drop(pool);
    guard.assert_none();
}

#[test]
fn results_larger_than_the_rings() {
    let guard = Leftovers::watch();
    let pool = Pool::new(2).unwrap();
    let make = |i: u32| serde_bytes::ByteBuf::from(vec![i as u8; 30_000_000 + i as usize]);
    for results in [
        pool.map(make, 0..4).unwrap(),
        pool.map(make, vec![0, 1, 2, 3]).unwrap(),
    ] {
        for (i, result) in results.iter().enumerate() {
            assert_eq!(
                (result.len(), result[29_999_999]),
                (30_000_000 + i, i as u8)
            );
        }
    }
    assert_eq!(pool.apply(make, 5).unwrap().len(), 30_000_005);
    drop(pool);
    guard.assert_none();
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Nothing;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Empty,
    Circle { radius: f64 },
    Named(String, Vec<Option<(u8, char)>>),
}

/// `identity` gives each value back, alone and among others, from a range and from values.
fn check_type<T, F>(pool: &Pool, make: F)
where
    T: Clone + Debug + PartialEq + Serialize + for<'a> Deserialize<'a> + 'static,
    F: Fn(u32) -> T + Copy + 'static,
{
    let expected: Vec<T> = (0..50).map(make).collect();
    assert_eq!(pool.map(make, 0..50).unwrap(), expected);
    assert_eq!(
        pool.map(|value: T| value, expected.clone()).unwrap(),
        expected
    );
    assert_eq!(
        pool.apply(|value: T| value, expected[7].clone()).unwrap(),
        expected[7]
    );
    let each = pool.try_map(make, 0..50).unwrap();
    assert!(
        each.into_iter()
            .zip(expected)
            .all(|(result, value)| result == Ok(value))
    );
}

#[test]
fn results_of_every_type() {
    let guard = Leftovers::watch();
    let pool = Pool::new(2).unwrap();
    check_type(&pool, |i| i as u8);
    check_type(&pool, |i| i as i8 - 9);
    check_type(&pool, |i| i as u16);
    check_type(&pool, |i| -(i as i16));
    check_type(&pool, |i| i);
    check_type(&pool, |i| -(i as i32));
    check_type(&pool, |i| u64::MAX - u64::from(i));
    check_type(&pool, |i| i64::MIN + i64::from(i));
    check_type(&pool, |i| u128::MAX - u128::from(i));
    check_type(&pool, |i| -i128::from(i));
    check_type(&pool, |i| i as usize);
    check_type(&pool, |i| -(i as isize));
    check_type(&pool, |i| i as f32 / 3.0);
    check_type(&pool, |i| f64::from(i) / 3.0);
    check_type(&pool, |i| num_complex::Complex32::new(i as f32, -0.5));
    check_type(&pool, |i| num_complex::Complex64::new(0.5, f64::from(i)));
    check_type(&pool, |_| ());
    check_type(&pool, |i| i % 2 == 0);
    check_type(&pool, |i| char::from(i as u8 + 32));
    check_type(&pool, |i| "ä".repeat(i as usize));
    check_type(&pool, |i| vec![Some(vec![i; 3]), None, Some(Vec::new())]);
    check_type(&pool, |i| (i, (i as u8, "x".to_owned()), [f64::from(i); 4]));
    check_type(&pool, |_| Nothing);
    check_type(&pool, |_| [(); 3]);
    check_type(&pool, |i| BTreeMap::from([(i, Nothing), (i + 1, Nothing)]));
    check_type(&pool, |i| match i % 3 {
        0 => Shape::Empty,
        1 => Shape::Circle { radius: 0.5 },
        _ => Shape::Named("n".into(), vec![Some((1, 'c')), None]),
    });
    check_type(&pool, |i| {
        if i % 2 == 0 {
            Ok(i)
        } else {
            Err("odd".to_owned())
        }
    });
    drop(pool);
    guard.assert_none();
}

fn fails_at_multiples_of_30(i: u32) -> u32 {
    assert!(i == 0 || !i.is_multiple_of(30), "{i} is bad");
    i
}

#[test]
fn the_first_error_is_the_one_of_the_lowest_index() {
    let guard = Leftovers::watch();
    let pool = Pool::new(3).unwrap();
    for chunk in [1, 7, 100] {
        let error = pool
            .job(fails_at_multiples_of_30)
            .chunk(chunk)
            .map(0..300)
            .unwrap_err();
        let (index, TaskError::Panicked(panic)) = error.task().unwrap() else {
            panic!("{error}")
        };
        // A later one may have been begun first, and then the first by index never began.
        assert!(index > 0 && index.is_multiple_of(30));
        assert_eq!(panic.message, format!("{index} is bad"));
        assert!(panic.location.as_ref().unwrap().contains("verbs.rs:"));
        let values: Vec<u32> = (0..300).collect();
        let error = pool
            .job(fails_at_multiples_of_30)
            .chunk(chunk)
            .map(values)
            .unwrap_err();
        assert!(error.task().unwrap().0 > 0, "{error}");
    }
    assert_eq!(pool.map(double, 0..3).unwrap(), [0, 2, 4]);
    drop(pool);
    guard.assert_none();
}

#[test]
fn one_worker_finds_the_first_error() {
    let guard = Leftovers::watch();
    let pool = Pool::new(1).unwrap();
    let error = pool.map(fails_at_multiples_of_30, 0..300).unwrap_err();
    assert_eq!(error.task().unwrap().0, 30);
    let error = pool
        .map(fails_at_multiples_of_30, (0..300).collect::<Vec<_>>())
        .unwrap_err();
    assert_eq!(error.task().unwrap().0, 30);
    drop(pool);
    guard.assert_none();
}

#[test]
fn try_map_gives_each_item_its_own_result() {
    let guard = Leftovers::watch();
    let pool = Pool::new(3).unwrap();
    let check = |results: Vec<Result<u32, TaskError>>| {
        assert_eq!(results.len(), 300);
        for (i, result) in (0..300).zip(results) {
            match result {
                Ok(value) => assert!(value == i && (i == 0 || i % 30 != 0)),
                Err(TaskError::Panicked(panic)) => assert_eq!(panic.message, format!("{i} is bad")),
                Err(other) => panic!("{other}"),
            }
        }
    };
    for chunk in [1, 8, 1000] {
        check(
            pool.job(fails_at_multiples_of_30)
                .chunk(chunk)
                .try_map(0..300)
                .unwrap(),
        );
        check(
            pool.job(fails_at_multiples_of_30)
                .chunk(chunk)
                .try_map((0..300).collect::<Vec<_>>())
                .unwrap(),
        );
        let texts = pool
            .job(|i: u32| fails_at_multiples_of_30(i).to_string())
            .chunk(chunk)
            .try_map(0..300)
            .unwrap();
        check(
            texts
                .into_iter()
                .map(|text| text.map(|text| text.parse().unwrap()))
                .collect(),
        );
    }
    drop(pool);
    guard.assert_none();
}

#[test]
fn threads_share_a_pool() {
    let guard = Leftovers::watch();
    let pool = Pool::new(3).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..6i64 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..20 {
                    let base = thread * 1000 + round;
                    assert_eq!(pool.apply(double, base).unwrap(), 2 * base);
                    let range = base..base + 300;
                    let expected: Vec<_> = range.clone().map(double).collect();
                    assert_eq!(pool.map(double, range.clone()).unwrap(), expected);
                    assert_eq!(
                        pool.map(double, range.clone().collect::<Vec<_>>()).unwrap(),
                        expected
                    );
                    let texts = pool.map(|x: i64| x.to_string(), range.clone()).unwrap();
                    assert!(range.zip(texts).all(|(x, text)| x.to_string() == text));
                }
            });
        }
    });
    drop(pool);
    guard.assert_none();
}

#[test]
fn more_calls_at_once_than_places_for_jobs() {
    let guard = Leftovers::watch();
    let pool = Pool::new(2).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..40i64 {
            let pool = &pool;
            scope.spawn(move || {
                let range = thread..thread + 50;
                let expected: Vec<_> = range.clone().map(double).collect();
                assert_eq!(pool.map(double, range).unwrap(), expected);
            });
        }
    });
    drop(pool);
    guard.assert_none();
}

#[test]
fn tasks_that_were_short_may_be_long() {
    let guard = Leftovers::watch();
    let board = Board::new();
    let meet = |board: &mut Board, i: u32| {
        if i >= 100 {
            // Each waits for the other, so both workers have to come.
            board.count(0);
            board.wait(0, 2);
        }
        i
    };
    for method in METHODS {
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .initializer(|board: Board| board, board.clone());
        let pool = pool.build().unwrap();
        for _ in 0..20 {
            board.set(0, 0);
            // So short that one worker is told of the next call.
            for _ in 0..5 {
                assert_eq!(pool.job(meet).chunk(1).map(0..99).unwrap().len(), 99);
            }
            let pair = pool.job(meet).chunk(1).map(100..102).unwrap();
            assert_eq!(pair, [100, 101]);
        }
    }
    drop(board);
    guard.assert_none();
}

fn nested(depth: u32) -> u32 {
    if depth == 0 {
        return 1;
    }
    let pool = Pool::builder()
        .workers(2)
        .start_method(METHODS[depth as usize % 2])
        .build()
        .unwrap();
    pool.map(nested, vec![depth - 1; 3])
        .unwrap()
        .into_iter()
        .sum()
}

#[test]
fn a_task_may_have_a_pool_of_its_own() {
    let guard = Leftovers::watch();
    let pool = Pool::new(2).unwrap();
    assert_eq!(pool.map(nested, [2, 2]).unwrap(), [9, 9]);
    drop(pool);
    guard.assert_none();
}

#[test]
fn several_pools_at_once() {
    let guard = Leftovers::watch();
    let pools: Vec<Pool> = (0..5)
        .map(|i| {
            Pool::builder()
                .workers(1 + i % 2)
                .start_method(METHODS[i % 2])
                .build()
                .unwrap()
        })
        .collect();
    for (i, pool) in (0..).zip(&pools) {
        assert_eq!(
            pool.map(double, i..i + 3).unwrap(),
            [2 * i, 2 * i + 2, 2 * i + 4]
        );
    }
    drop(pools);
    guard.assert_none();
}

#[test]
fn a_task_knows_what_it_is() -> Result<(), PoolError> {
    let guard = Leftovers::watch();
    let seeds = |i: u32| (current().unwrap().index(), current().unwrap().seed(), i);
    let mut all = Vec::new();
    for (workers, chunk) in [(1, 1), (3, 7)] {
        let pool = Pool::builder().workers(workers).seed(42).build()?;
        all.push(pool.job(seeds).chunk(chunk).map(0..100)?);
        all.push(
            pool.job(seeds)
                .chunk(chunk)
                .map((0..100).collect::<Vec<_>>())?,
        );
        assert!(
            all.last()
                .unwrap()
                .iter()
                .all(|(index, _, i)| *index == u64::from(*i))
        );
        assert_eq!(pool.apply(|()| current().unwrap().attempt(), ())?, 0);
    }
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]));
    assert_eq!(current(), None);
    guard.assert_none();
    Ok(())
}

#[test]
fn threads_run_the_same_programs() {
    let guard = Leftovers::watch();
    let pool = Pool::builder()
        .workers(2)
        .start_method(StartMethod::Thread)
        .build()
        .unwrap();
    assert_eq!(
        pool.map(double, 0..100).unwrap(),
        (0..100).map(double).collect::<Vec<_>>()
    );
    assert_eq!(
        pool.map(|x: String| x.len(), vec!["a".repeat(9); 5])
            .unwrap(),
        [9; 5]
    );
    drop(pool);
    guard.assert_none();
}
