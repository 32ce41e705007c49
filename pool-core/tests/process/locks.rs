//! Locks, and what has locks built in, as arguments of tasks and initializers, and deaths of workers that hold them.

use ndarray::{Ix1, Ix2};
use pool_core::{Pool, TaskError, current};
use pool_shm::sync::{
    Barrier, BoundedSemaphore, Condvar, Event, LockError, Mutex, Once, ReentrantMutex, RwLock,
    Semaphore,
};
use pool_shm::{
    AtomicArray, AtomicValue, FixedStr, LockedArray, RecordTable, SharedArray, SharedValue,
};
use rustix::process::{Signal, getpid, kill_process};
use serde::{Deserialize, Serialize};

use crate::common::{LIMIT, Leftovers, METHODS};

/// One of each.
#[derive(Clone, Serialize, Deserialize)]
struct All {
    mutex: Mutex<u64>,
    rw_lock: RwLock<u64>,
    reentrant: ReentrantMutex<u64>,
    condvar: Condvar,
    semaphore: Semaphore,
    permits: BoundedSemaphore,
    event: Event,
    barrier: Barrier,
    once: Once,
    value: SharedValue<u64>,
    number: AtomicValue<u64>,
    numbers: AtomicArray<u64, Ix1>,
    array: LockedArray<u64, Ix2>,
    table: RecordTable<u64>,
}

impl All {
    fn new() -> All {
        All {
            mutex: Mutex::new(0).unwrap(),
            rw_lock: RwLock::new(0).unwrap(),
            reentrant: ReentrantMutex::new(0).unwrap(),
            condvar: Condvar::new().unwrap(),
            semaphore: Semaphore::new(0).unwrap(),
            permits: BoundedSemaphore::new(1).unwrap(),
            event: Event::new().unwrap(),
            barrier: Barrier::new(2).unwrap(),
            once: Once::new().unwrap(),
            value: SharedValue::new(0).unwrap(),
            number: AtomicValue::new(0).unwrap(),
            numbers: AtomicArray::zeros(2).unwrap(),
            array: LockedArray::striped(SharedArray::zeros((4, 2)).unwrap(), 2).unwrap(),
            table: RecordTable::zeros(2).unwrap(),
        }
    }

    /// Adds one to everything that counts, and meets the other task.
    fn use_all(&self) {
        *self.mutex.lock().unwrap() += 1;
        self.condvar.notify_all();
        *self.rw_lock.write().unwrap() += 1;
        assert!(*self.rw_lock.read().unwrap() > 0);
        let outer = self.reentrant.lock().unwrap();
        self.reentrant.lock().unwrap().update(|count| count + 1);
        drop(outer);
        self.semaphore.release();
        drop(self.permits.acquire().unwrap());
        let once = |_| {
            self.number.fetch_add(100);
        };
        self.once.call(once).unwrap();
        self.value.update(|count| count + 1).unwrap();
        self.number.fetch_add(1);
        self.numbers[1].fetch_add(1);
        *self
            .array
            .lock_rows(3..4)
            .unwrap()
            .view_mut()
            .last_mut()
            .unwrap() += 1;
        self.table.update(1, |count| count + 1).unwrap();
        self.barrier.wait_timeout(LIMIT).unwrap();
        assert!(self.event.wait_timeout(LIMIT));
        let guard = self.mutex.lock().unwrap();
        let waited = self
            .condvar
            .wait_timeout_while(guard, LIMIT, |count| *count < 2);
        assert!(!waited.unwrap().1);
    }
}

fn keep(all: All) -> All {
    all
}

fn use_both(ours: &mut All, theirs: All) {
    theirs.use_all();
    ours.use_all();
}

#[test]
fn every_lock_is_an_argument_of_tasks_and_initializers() {
    for method in METHODS {
        let leftovers = Leftovers::watch();
        let all = All::new();
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .initializer(keep, all.clone())
            .build()
            .unwrap();
        std::thread::scope(|scope| {
            let call = scope.spawn(|| pool.job(use_both).chunk(1).map(vec![all.clone(); 2]));
            for _ in 0..2 {
                assert!(all.semaphore.acquire_timeout(LIMIT));
            }
            all.event.set();
            call.join().unwrap().unwrap();
        });
        assert_eq!(*all.mutex.lock().unwrap(), 4);
        assert_eq!(*all.rw_lock.read().unwrap(), 4);
        assert_eq!(all.reentrant.lock().unwrap().get(), 4);
        assert_eq!(all.semaphore.available(), 2);
        assert_eq!(all.permits.available(), 1);
        assert_eq!(all.number.load(), 104);
        assert_eq!(all.numbers.to_array().to_vec(), [0, 4]);
        assert_eq!(all.value.get(), 4);
        assert_eq!(all.array.lock().unwrap().view()[[3, 1]], 4);
        assert!(all.table.iter().eq([0, 4]));
        drop((pool, all));
        leftovers.assert_none();
    }
}

fn add(
    (value, number, histogram, i): (
        SharedValue<[u64; 5]>,
        AtomicValue<f64>,
        AtomicArray<u64, Ix1>,
        usize,
    ),
) {
    for _ in 0..50 {
        value.update(|wide| wide.map(|part| part + 1)).unwrap();
        number.fetch_add(0.5);
        histogram[i % 10].fetch_add(1);
    }
}

#[test]
fn atomic_read_modify_write_loses_nothing() {
    let leftovers = Leftovers::watch();
    let value = SharedValue::new([0; 5]).unwrap();
    let (number, histogram) = (
        AtomicValue::new(0.0).unwrap(),
        AtomicArray::zeros(10).unwrap(),
    );
    let pool = Pool::new(4).unwrap();
    let arguments = |i| (value.clone(), number.clone(), histogram.clone(), i);
    pool.map(add, (0..400).map(arguments)).unwrap();
    assert_eq!(value.get(), [20_000; 5]);
    assert_eq!(number.load(), 10_000.0);
    assert_eq!(histogram.to_array().to_vec(), [2000; 10]);
    drop((pool, value, number, histogram));
    leftovers.assert_none();
}

fn die() -> ! {
    kill_process(getpid(), Signal::KILL).unwrap();
    loop {
        std::thread::park();
    }
}

/// Fills a row, or dies with half of it written; tells whether it was told of a death.
fn fill_row((array, row, dies): (LockedArray<u64, Ix2>, usize, bool)) -> bool {
    let (mut guard, told) = match array.lock_rows(row..row + 1) {
        Err(LockError::OwnerDied(mut guard)) => {
            assert_eq!(guard.view()[[0, 0]], u64::MAX, "half-written");
            guard.view_mut().fill(0);
            (guard, true)
        }
        guard => (guard.unwrap(), false),
    };
    if dies {
        guard.view_mut()[[0, 0]] = u64::MAX;
        die();
    }
    guard.view_mut().fill(row as u64);
    told
}

#[test]
fn a_lock_built_in_survives_its_holders_death() {
    for method in METHODS {
        let leftovers = Leftovers::watch();
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .build()
            .unwrap();
        let array = SharedArray::<u64, _>::zeros((6, 50)).unwrap();
        let array = LockedArray::striped(array, 6).unwrap();
        let rows = |dies: fn(usize) -> bool| {
            let array = &array;
            (0..6).map(move |row| (array.clone(), row, dies(row)))
        };
        let deaths = pool.try_map(fill_row, rows(|row| row % 2 == 1)).unwrap();
        for (row, outcome) in deaths.into_iter().enumerate() {
            match row % 2 {
                0 => assert!(!outcome.unwrap()),
                _ => assert!(matches!(outcome, Err(TaskError::WorkerDied(_)))),
            }
        }
        // The pool goes on, and who comes next is told.
        let told = pool.map(fill_row, rows(|_| false)).unwrap();
        assert_eq!(told, [false, true, false, true, false, true]);
        let told = pool.map(fill_row, rows(|_| false)).unwrap();
        assert_eq!(told, [false; 6]);
        assert_eq!(array.lock().unwrap().view().sum(), 15 * 50);
        drop((pool, array));
        leftovers.assert_none();
    }
}

fn hold_and_die((mutex, i): (Mutex<[u64; 2]>, u64)) {
    let mut pair = match mutex.lock() {
        Err(LockError::OwnerDied(mut pair)) => {
            pair[1] = pair[0];
            pair
        }
        pair => pair.unwrap(),
    };
    assert_eq!(pair[0], pair[1], "half-written without a word");
    pair[0] += 1;
    if i % 5 == 0 && current().unwrap().attempt() == 0 {
        die();
    }
    pair[1] += 1;
}

#[test]
fn holders_that_die_in_tasks_are_repeated_and_stop_nobody() {
    let leftovers = Leftovers::watch();
    let pool = Pool::new(3).unwrap();
    let mutex = Mutex::new([0; 2]).unwrap();
    let items = (0..40).map(|i| (mutex.clone(), i));
    pool.job(hold_and_die)
        .chunk(1)
        .retries(1)
        .map(items)
        .unwrap();
    // Forty that came to their end, and eight that did not: they were counted by who repaired it.
    assert_eq!(*mutex.lock().or_else(LockError::recover).unwrap(), [48; 2]);
    drop((pool, mutex));
    leftovers.assert_none();
}

/// Meets the others; the first attempt of task 0 dies while it waits, and the others come after that.
fn meet((barrier, again, i): (Barrier, Event, usize)) -> bool {
    match (i, current().unwrap().attempt()) {
        (0, 0) => std::thread::scope(|scope| {
            scope.spawn(|| {
                while barrier.waiting().unwrap() == 0 {
                    std::thread::yield_now();
                }
                die();
            });
            let _ = barrier.wait();
        }),
        (0, _) => again.set(),
        _ => assert!(again.wait_timeout(LIMIT)),
    }
    barrier.wait_timeout(LIMIT).unwrap().is_leader()
}

#[test]
fn a_task_that_died_at_a_barrier_comes_again() {
    let leftovers = Leftovers::watch();
    let pool = Pool::new(3).unwrap();
    let (barrier, again) = (Barrier::new(3).unwrap(), Event::new().unwrap());
    let parties = (0..3).map(|i| (barrier.clone(), again.clone(), i));
    let turns = pool.job(meet).chunk(1).retries(1).map(parties).unwrap();
    assert_eq!(turns.iter().filter(|leads| **leads).count(), 1);
    assert!(!barrier.is_broken());
    drop((pool, barrier, again));
    leftovers.assert_none();
}

#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Record {
    name: FixedStr<16>,
    visits: u32,
    mean: f64,
}

fn visit((table, i): (RecordTable<Record>, usize)) -> u32 {
    let row = i % table.len();
    table
        .update(row, |old| Record {
            name: FixedStr::new(&format!("№\0{row}")).unwrap(),
            visits: old.visits + 1,
            mean: (old.mean * f64::from(old.visits) + i as f64) / f64::from(old.visits + 1),
        })
        .unwrap()
        .visits
}

#[test]
fn records_and_texts_are_changed_by_workers() {
    let leftovers = Leftovers::watch();
    let pool = Pool::new(3).unwrap();
    let table = RecordTable::<Record>::zeros(4).unwrap();
    let visited = pool.map(visit, (0..80).map(|i| (table.clone(), i)));
    assert!(
        visited
            .unwrap()
            .iter()
            .all(|visits| (1..=20).contains(visits))
    );
    for (row, record) in table.iter().enumerate() {
        assert_eq!(record.name.as_str(), Ok(format!("№\0{row}").as_str()));
        assert_eq!(record.visits, 20);
        assert!(
            (record.mean - (38.0 + row as f64)).abs() < 1e-9,
            "{record:?}"
        );
    }
    drop((pool, table));
    leftovers.assert_none();
}
