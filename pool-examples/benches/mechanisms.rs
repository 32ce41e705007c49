//! Each mechanism alone, so that the effect of a change can be seen: `cargo bench -p pool-examples --bench mechanisms`, with a name behind
//! `--` for one. On a noisy machine look at the instructions too, which `instructions.rs` counts.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{Array2, Axis};
use pool_core::Pool;
use pool_queue::Queue;
use pool_shm::sync::{BoundedSemaphore, EventCount, Mutex, ReentrantMutex, RwLock, Semaphore};
use pool_shm::{
    AtomicValue, BlockMut, Blocks, LeaseCache, LockedArray, RecordTable, SharedArray, SharedValue,
};
use serde::{Deserialize, Serialize};

criterion_group!(
    mechanisms, claim, steal, result, hand_over, lock, lease, ring, encode, array
);
criterion_main!(mechanisms);

/// Items of a call: enough that what the call itself costs is spread thin.
const ITEMS: u64 = 100_000;

fn nothing(index: u64) {
    black_box(index);
}

fn pool(workers: usize) -> Pool {
    Pool::new(workers).expect("workers can be started")
}

/// One worker and one index per claim: what a claim costs when nobody is in the way.
fn claim(criterion: &mut Criterion) {
    let pool = pool(1);
    let mut group = criterion.benchmark_group("claim");
    group.throughput(Throughput::Elements(ITEMS));
    group.bench_function("alone", |bencher| {
        bencher.iter(|| pool.job(nothing).chunk(1).map(0..ITEMS));
    });
    group.finish();
}

/// The first tenth of the items takes ten times as long as the others, so that most of its holder's share is stolen.
fn uneven(index: u64) {
    let turns = if index < ITEMS / 10 { 500 } else { 50 };
    for turn in 0..turns {
        black_box(turn);
    }
}

fn steal(criterion: &mut Criterion) {
    let pool = pool(2);
    let mut group = criterion.benchmark_group("steal");
    group.throughput(Throughput::Elements(ITEMS));
    group.bench_function("uneven", |bencher| {
        bencher.iter(|| pool.job(uneven).chunk(1).map(0..ITEMS));
    });
    group.finish();
}

fn double(index: u64) -> u64 {
    index.wrapping_mul(2)
}

fn text(index: u64) -> String {
    index.to_string()
}

/// Results in place, and through a worker's ring.
fn result(criterion: &mut Criterion) {
    let pool = pool(1);
    let mut group = criterion.benchmark_group("result");
    group.throughput(Throughput::Elements(ITEMS));
    group.bench_function("in place", |bencher| {
        bencher.iter(|| pool.map(double, 0..ITEMS));
    });
    group.bench_function("in a ring", |bencher| {
        bencher.iter(|| pool.map(text, 0..ITEMS));
    });
    group.finish();
}

/// A call of one task, there and back; and two threads that wake each other by turns.
fn hand_over(criterion: &mut Criterion) {
    let pool = pool(1);
    let mut group = criterion.benchmark_group("hand-over");
    group.bench_function("apply", |bencher| {
        bencher.iter(|| pool.apply(double, 7_u64))
    });
    group.bench_function("event count", |bencher| {
        let (event, turn) = (EventCount::new(), AtomicU64::new(0));
        const END: u64 = u64::MAX;
        let wait = |value: u64| {
            event.wait_until(None, || {
                let turn = turn.load(Ordering::Acquire);
                (turn == value || turn == END).then_some(turn)
            })
        };
        let set = |value: u64| {
            turn.store(value, Ordering::Release);
            event.notify_all();
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while wait(1) == Some(1) {
                    set(0)
                }
            });
            bencher.iter(|| {
                set(1);
                wait(0)
            });
            set(END);
        });
    });
    group.finish();
}

fn lock(criterion: &mut Criterion) {
    let mutex = Mutex::new(0_u64).expect("a page can be had");
    let mut group = criterion.benchmark_group("lock");
    group.bench_function("uncontended", |bencher| {
        bencher.iter(|| *mutex.lock().expect("nobody dies here") += 1);
    });
    let lock = RwLock::new(0_u64).expect("a page can be had");
    group.bench_function("read", |bencher| {
        bencher.iter(|| *lock.read().expect("nobody dies here"));
    });
    group.bench_function("write", |bencher| {
        bencher.iter(|| *lock.write().expect("nobody dies here") += 1);
    });
    let lock = ReentrantMutex::new(0_u64).expect("a page can be had");
    group.bench_function("reentrant", |bencher| {
        bencher.iter(|| drop(lock.lock().expect("nobody dies here")));
    });
    let permits = BoundedSemaphore::new(4).expect("a page can be had");
    group.bench_function("permit", |bencher| {
        bencher.iter(|| drop(permits.acquire().expect("nobody dies here")));
    });
    let units = Semaphore::new(1).expect("a page can be had");
    group.bench_function("unit", |bencher| {
        bencher.iter(|| {
            units.acquire();
            units.release();
        });
    });
    group.finish();
    value(criterion);
}

/// Numbers that every process changes, each way.
fn value(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("value");
    let value = SharedValue::new(0_u64).expect("a page can be had");
    group.bench_function("update", |bencher| {
        bencher.iter(|| value.update(|n| n + 1).expect("nobody dies here"));
    });
    group.bench_function("get", |bencher| bencher.iter(|| value.get()));
    let table = RecordTable::from_rows(&[[0_u64; 8]]).expect("a page can be had");
    group.bench_function("record", |bencher| {
        bencher.iter(|| {
            table
                .update(0, |row| row.map(|n| n + 1))
                .expect("nobody dies here")
        });
    });
    let number = AtomicValue::new(0.0_f64).expect("a page can be had");
    group.bench_function("atomic add", |bencher| {
        bencher.iter(|| number.fetch_add(1.0))
    });
    let array = LockedArray::<f64, _>::zeros(8).expect("a page can be had");
    group.bench_function("locked array", |bencher| {
        bencher.iter(|| array.lock().expect("nobody dies here").view_mut()[0] += 1.0);
    });
    group.finish();
}

fn fill(mut block: BlockMut<'_, f64, ndarray::Ix2>) {
    block.view_mut().fill(1.0);
}

/// The plan of a cut, its mapping, and a call over small blocks.
fn lease(criterion: &mut Criterion) {
    const ROWS: usize = 10_000;
    let mut matrix = SharedArray::<f64, _>::zeros((ROWS, 8)).expect("a megabyte can be had");
    let pool = pool(1);
    let mut group = criterion.benchmark_group("lease");
    group.bench_function("plan and attach", |bencher| {
        let mut cache = LeaseCache::default();
        bencher.iter(|| attach(&matrix.axis_chunks_mut(Axis(0), 1), &mut cache));
    });
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("block", |bencher| {
        bencher.iter(|| pool.map_blocks(fill, matrix.axis_chunks_mut(Axis(0), 1)));
    });
    group.finish();
}

fn attach<B: Blocks>(blocks: &B, cache: &mut LeaseCache) -> usize {
    let (count, plan) = blocks.plan().expect("the array can be cut");
    let attached = B::attach(&plan, cache).expect("it is our own");
    assert_eq!(B::count(&attached), count);
    count
}

/// Put and get in one process: the ring without waiting.
fn ring(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ring");
    let numbers = Queue::<u64>::new(64).expect("a ring can be had");
    group.bench_function("8 bytes", |bencher| {
        bencher.iter(|| {
            numbers.put(7).expect("there is room");
            numbers.get().expect("there is one")
        });
    });
    let messages = Queue::<Vec<u8>>::builder()
        .items(64)
        .bytes(1 << 20)
        .build()
        .expect("a ring can be had");
    group.bench_function("1 KiB", |bencher| {
        bencher.iter_batched(
            || vec![7; 1024],
            |message| {
                messages.put(message).expect("there is room");
                messages.get().expect("there is one")
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Message {
    number: u64,
    name: String,
    values: [f64; 4],
}

/// A value that serde writes, beside `ring`'s, which lie in the message as in memory.
fn encode(criterion: &mut Criterion) {
    let queue = Queue::<Message>::new(64).expect("a ring can be had");
    let message = Message {
        number: 7,
        name: "seven".to_owned(),
        values: [7.0; 4],
    };
    let mut group = criterion.benchmark_group("encode");
    group.bench_function("structure", |bencher| {
        bencher.iter_batched(
            || message.clone(),
            |message| {
                queue.put(message).expect("there is room");
                queue.get().expect("there is one")
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// Making, copying and freezing arrays of a mebibyte.
fn array(criterion: &mut Criterion) {
    let source = Array2::<f64>::ones((128, 1024));
    let mut group = criterion.benchmark_group("array");
    group.throughput(Throughput::Bytes(1 << 20));
    group.bench_function("zeros", |bencher| {
        bencher.iter(|| SharedArray::<f64, _>::zeros((128, 1024)));
    });
    group.bench_function("copy and freeze", |bencher| {
        bencher.iter(|| {
            SharedArray::from_array(&source)
                .expect("a megabyte can be had")
                .freeze()
        });
    });
    group.finish();
}
