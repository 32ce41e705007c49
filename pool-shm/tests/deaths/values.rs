//! Deaths of those who change values.

use crate::harness::{
    Board, Child, LIMIT, Leftovers, Part, argument, kill_at_random, until_killed,
};
use ndarray::{Ix1, Ix2};
use pool_shm::sync::LockError;
use pool_shm::{AtomicArray, LockedArray, RecordTable, SharedArray, SharedValue};

pub(crate) const PARTS: &[Part] = &[
    ("updates a value", updates_a_value),
    ("updates rows", updates_rows),
    ("holds rows", holds_rows),
    ("writes rows", writes_rows),
    ("adds", adds),
];

/// Numbers that are equal in every value that is whole.
type Wide = [u64; 17];

fn updates_a_value(text: &str) {
    let (value, board, _): (SharedValue<Wide>, Board, usize) = argument(text);
    loop {
        value.update(|wide| wide.map(|part| part + 1)).unwrap();
        board.count(0);
        assert_whole(value.get());
    }
}

fn assert_whole(wide: Wide) -> u64 {
    assert!(wide.iter().all(|part| *part == wide[0]), "torn: {wide:?}");
    wide[0]
}

#[test]
fn a_value_is_whole_whoever_is_killed_in_an_update() {
    let _leftovers = Leftovers::watch();
    let (value, board) = (SharedValue::<Wide>::new([0; 17]).unwrap(), Board::new());
    kill_at_random("updates a value", &value, &board, 60);
    let last = assert_whole(value.get());
    // An update that was counted was made; one that was made was counted, unless the process died between the two.
    assert!((board.get(0)..=board.get(0) + 63).contains(&last));
    assert!(value.update_timeout(LIMIT, |wide| wide).is_ok());
}

fn updates_rows(text: &str) {
    let (table, board, _): (RecordTable<Wide>, Board, usize) = argument(text);
    for i in (0..table.len()).cycle() {
        table.update(i, |wide| wide.map(|part| part + 1)).unwrap();
        board.count(0);
    }
}

#[test]
fn rows_are_whole_whoever_is_killed_in_an_update() {
    let _leftovers = Leftovers::watch();
    let (table, board) = (RecordTable::<Wide>::zeros(5).unwrap(), Board::new());
    kill_at_random("updates rows", &table, &board, 60);
    let sum: u64 = table.iter().map(assert_whole).sum();
    assert!((board.get(0)..=board.get(0) + 63).contains(&sum));
}

fn holds_rows(text: &str) {
    let (array, board): (LockedArray<f64, Ix2>, Board) = argument(text);
    let mut guard = array.lock_rows(2..5).unwrap();
    guard.view_mut().fill(1.0);
    board.count(0);
    until_killed()
}

#[test]
fn a_killed_holder_of_rows_is_reported_for_them() {
    let _leftovers = Leftovers::watch();
    let array = SharedArray::<f64, _>::zeros((8, 3)).unwrap();
    let (array, board) = (LockedArray::striped(array, 4).unwrap(), Board::new());
    let holder = Child::start("holds rows", &(&array, &board));
    board.wait(0, 1);
    assert!(matches!(array.try_lock(), Err(LockError::WouldBlock)));
    drop(array.lock_rows(6..8).expect("other rows are free"));
    holder.kill();
    let Err(LockError::OwnerDied(mut guard)) = array.lock_timeout(LIMIT) else {
        panic!("the death was not told");
    };
    assert_eq!(guard.view().sum(), 9.0);
    guard.view_mut().fill(0.0);
    drop(guard);
    drop(array.lock_timeout(LIMIT).expect("it is told once"));
}

fn writes_rows(text: &str) {
    let (array, board, _): (LockedArray<u64, Ix2>, Board, usize) = argument(text);
    for i in (0..8).cycle() {
        let mut guard = match array.lock_rows(i..(i + 3).min(8)) {
            Err(LockError::OwnerDied(guard)) => {
                let mut guard = guard.widen();
                // Rows are equal in all columns when they are whole.
                for mut row in guard.view_mut().rows_mut() {
                    let first = row[0];
                    row.fill(first);
                }
                guard
            }
            guard => guard.unwrap(),
        };
        for mut row in guard.view_mut().rows_mut() {
            let first = row[0];
            assert!(row.iter().all(|element| *element == first), "{row}");
            row.iter_mut().for_each(|element| *element += 1);
        }
        board.count(0);
    }
}

#[test]
fn writers_of_rows_killed_at_random_stop_nobody() {
    let _leftovers = Leftovers::watch();
    let array = SharedArray::<u64, _>::zeros((8, 100)).unwrap();
    let (array, board) = (LockedArray::striped(array, 4).unwrap(), Board::new());
    kill_at_random("writes rows", &array, &board, 60);
    let guard = array.lock_timeout(LIMIT).or_else(LockError::recover);
    assert!(guard.unwrap().view().iter().all(|element| *element > 0));
}

fn adds(text: &str) {
    let (array, board, _): (AtomicArray<f64, Ix1>, Board, usize) = argument(text);
    loop {
        array[1].fetch_add(0.5);
        board.count(0);
    }
}

#[test]
fn additions_are_made_or_not_whoever_is_killed() {
    let _leftovers = Leftovers::watch();
    let (array, board) = (AtomicArray::<f64, _>::zeros(3).unwrap(), Board::new());
    kill_at_random("adds", &array, &board, 40);
    let [before, sum, behind] = [0, 1, 2].map(|i| array[i].load());
    let made = sum * 2.0;
    assert!((board.get(0) as f64..=(board.get(0) + 43) as f64).contains(&made));
    assert_eq!((before, behind), (0.0, 0.0));
}
