//! Parts of arrays, regions and blocks with a rim, lent and sent to workers, some of which are killed.

use ndarray::{Array2, Axis, Ix1, Ix2, s};
use pool_core::{Pool, StartMethod, TaskError};
use pool_shm::sync::LockError;
use pool_shm::{Block, BlockMut, FrozenArray, HaloBlock, LockedArray, RawArray, SharedArray};
use rustix::process::{Signal, getpid, kill_process};

use crate::common::{Leftovers, METHODS};

const WITH_THREADS: [StartMethod; 3] = [METHODS[0], METHODS[1], StartMethod::Thread];

fn pool(method: StartMethod) -> Pool {
    let builder = Pool::builder().workers(2).start_method(method);
    builder.build().unwrap()
}

/// Ends this worker, unless it is a thread of the test.
fn die() -> ! {
    kill_process(getpid(), Signal::KILL).unwrap();
    loop {
        std::thread::park();
    }
}

fn numbers() -> Array2<f64> {
    Array2::from_shape_fn((6, 8), |(i, j)| (10 * i + j) as f64)
}

type Weighted = (FrozenArray<f64, Ix1>, f64);

fn weigh(kept: &mut FrozenArray<f64, Ix2>, (part, weight): Weighted) -> (Vec<f64>, f64) {
    let values = part.view().iter().map(|x| weight * x).collect();
    (values, kept.view()[[0, 0]])
}

#[test]
fn parts_of_frozen_arrays_are_arguments_of_tasks_and_initializers() {
    let guard = Leftovers::watch();
    for method in WITH_THREADS {
        let frozen = SharedArray::from_array(&numbers())
            .unwrap()
            .freeze()
            .unwrap();
        let corner = frozen.slice(s![..;-1, ..;-1]).unwrap();
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .initializer(|part| part, corner)
            .build()
            .unwrap();
        let parts = (0..8).map(|j| (frozen.slice(s![..;-2, j]).unwrap(), 0.5));
        let results = pool.map(weigh, parts).unwrap();
        for (j, (values, kept)) in results.into_iter().enumerate() {
            let expected = [50.0, 30.0, 10.0].map(|row| (row + j as f64) / 2.0);
            assert_eq!((values, kept), (expected.to_vec(), 57.0));
        }
        drop(pool);
    }
    guard.assert_none();
}

/// Raises a part that no other task has, or dies having raised half of it.
fn raise((part, dies): (RawArray<f64, Ix1>, bool)) -> f64 {
    // SAFETY: the columns of the test are disjoint, and it looks at them when all tasks are done.
    let mut view = unsafe { part.view_mut() };
    let half = view.len() / if dies { 2 } else { 1 };
    view.slice_mut(s![..half]).map_inplace(|x| *x += 100.0);
    if dies {
        die();
    }
    view[0]
}

#[test]
fn parts_of_raw_arrays_are_written_by_the_workers_that_have_them() {
    let guard = Leftovers::watch();
    for method in WITH_THREADS {
        let raw = SharedArray::from_array(&numbers())
            .unwrap()
            .into_raw()
            .unwrap();
        let pool = pool(method);
        let column = |j: usize| raw.slice(s![..;-1, j]).unwrap();
        let first = pool.map(raise, (0..8).map(|j| (column(j), false))).unwrap();
        assert_eq!(first, (0..8).map(|j| 150.0 + j as f64).collect::<Vec<_>>());
        // SAFETY: no task is under way.
        assert_eq!(unsafe { raw.view() }, numbers() + 100.0);
        if method != StartMethod::Thread {
            let outcomes = pool
                .try_map(raise, (0..8).map(|j| (column(j), j == 3)))
                .unwrap();
            for (j, outcome) in outcomes.iter().enumerate() {
                assert_eq!(matches!(outcome, Err(TaskError::WorkerDied(_))), j == 3);
            }
            let mut expected = numbers() + 200.0;
            // Backwards: the rows behind were raised before it died.
            expected.slice_mut(s![..3, 3]).map_inplace(|x| *x -= 100.0);
            // SAFETY: as above.
            assert_eq!(unsafe { raw.view() }, expected);
        }
        drop((pool, raw));
    }
    guard.assert_none();
}

/// Adds one to each element under the lock of the part; tells whether a holder had died.
fn count((part, dies): (LockedArray<u64, Ix2>, bool)) -> bool {
    let (mut guard, told) = match part.lock() {
        Err(LockError::OwnerDied(guard)) => (guard, true),
        guard => (guard.unwrap(), false),
    };
    if dies {
        die();
    }
    guard.view_mut().map_inplace(|x| *x += 1);
    told
}

#[test]
fn parts_of_locked_arrays_are_locked_where_they_lie() {
    let guard = Leftovers::watch();
    for method in WITH_THREADS {
        let whole = SharedArray::<u64, _>::zeros((8, 5)).unwrap();
        let whole = LockedArray::striped(whole, 4).unwrap();
        let slices = [
            s![..;-1, ..2],
            s![2..6;-2, ..;-1],
            s![1..3, 1..],
            s![.., ..],
        ];
        let part = |i: usize| whole.slice(slices[i % 4]).unwrap();
        let pool = pool(method);
        let told = pool.map(count, (0..400).map(|i| (part(i), false))).unwrap();
        assert!(told.iter().all(|told| !told));
        let mut expected = Array2::<u64>::zeros((8, 5));
        for i in 0..400 {
            expected.slice_mut(slices[i % 4]).map_inplace(|x| *x += 1);
        }
        assert_eq!(whole.lock().unwrap().view(), expected);
        if method != StartMethod::Thread {
            let outcomes = pool.try_map(count, [(part(2), true)]).unwrap();
            assert!(matches!(outcomes[0], Err(TaskError::WorkerDied(_))));
            // Rows 1 and 2 lie in the stripes of the rows 0..4. Parts are told until the whole rows were given back.
            assert!(pool.apply(count, (part(0), false)).unwrap());
            assert!(pool.apply(count, (part(2), false)).unwrap());
            assert!(matches!(whole.lock(), Err(LockError::OwnerDied(_))));
            assert!(!pool.apply(count, (part(0), false)).unwrap());
        }
        drop((pool, whole));
    }
    guard.assert_none();
}

/// Fills the block, and in the first attempt of the second one dies in the middle.
fn fill(dies: &mut bool, mut block: BlockMut<'_, f64, Ix2>) -> usize {
    let number = block.index();
    let mut view = block.view_mut();
    if *dies && number == 1 && pool_core::current().unwrap().attempt() == 0 {
        view.row_mut(0).fill(-1.0);
        die();
    }
    view.fill(number as f64 + 1.0);
    number
}

#[test]
fn regions_are_filled_though_a_worker_is_killed_in_one() {
    let guard = Leftovers::watch();
    for method in WITH_THREADS {
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .initializer(|dies| dies, method != StartMethod::Thread)
            .build()
            .unwrap();
        let mut matrix = SharedArray::<f64, _>::zeros((6, 8)).unwrap();
        let regions = [s![..2, ..], s![2.., ..3], s![4..5, 5..], s![2..4, 3..8]];
        let lent = matrix.regions_mut(regions).unwrap();
        let numbers = pool.job(fill).retries(1).map_blocks(lent).unwrap();
        assert_eq!(numbers, [0, 1, 2, 3]);
        let mut expected = Array2::zeros((6, 8));
        for (i, region) in regions.into_iter().enumerate() {
            expected.slice_mut(region).fill(i as f64 + 1.0);
        }
        assert_eq!(matrix.view(), expected);
        // A part of it, and without retries the block is named.
        let [mut left, _] = matrix.split_at_mut(Axis(1), 2).unwrap();
        let outcomes = pool
            .try_map_blocks(fill, left.axis_chunks_mut(Axis(0), 2))
            .unwrap();
        for (i, outcome) in outcomes.iter().enumerate() {
            let dead = i == 1 && method != StartMethod::Thread;
            assert_eq!(
                matches!(outcome, Err(TaskError::WorkerDied(_))),
                dead,
                "{outcome:?}"
            );
        }
        drop((pool, matrix));
    }
    guard.assert_none();
}

fn join((mut left, right): (BlockMut<'_, f64, Ix2>, Block<'_, f64, Ix2>)) {
    let right = right.view();
    left.view_mut()
        .indexed_iter_mut()
        .for_each(|((i, j), x)| *x = right[[i, 3 - j]]);
}

#[test]
fn halves_of_an_array_are_written_and_read_in_one_call() {
    let guard = Leftovers::watch();
    for method in WITH_THREADS {
        let pool = pool(method);
        let mut matrix = SharedArray::from_array(&numbers()).unwrap();
        let [mut left, right] = matrix.split_at_mut(Axis(1), 4).unwrap();
        pool.map_blocks(
            join,
            (
                left.axis_chunks_mut(Axis(0), 2),
                right.axis_chunks(Axis(0), 2),
            ),
        )
        .unwrap();
        let mut expected = numbers();
        let right = numbers();
        expected
            .slice_mut(s![.., ..4])
            .assign(&right.slice(s![.., 4..;-1]));
        assert_eq!(matrix.view(), expected);
        drop((pool, matrix));
    }
    guard.assert_none();
}

/// The next state of a tile by its neighbours; dies once, with the tile half-written.
fn step(dies: &mut bool, (mut next, now): (BlockMut<'_, i64, Ix2>, HaloBlock<'_, i64, Ix2>)) {
    let (around, top) = (now.halo_view(), now.rim_before(Axis(0)));
    let left = now.rim_before(Axis(1));
    for ((i, j), element) in next.view_mut().indexed_iter_mut() {
        let (row, column) = (i + top, j + left);
        let rows = row.saturating_sub(1)..(row + 2).min(around.nrows());
        let columns = column.saturating_sub(1)..(column + 2).min(around.ncols());
        *element = around.slice(s![rows, columns]).sum() % 1000;
        if *dies && i == 1 && now.index() == 2 && pool_core::current().unwrap().attempt() == 0 {
            die();
        }
    }
}

fn step_all(now: &Array2<i64>) -> Array2<i64> {
    Array2::from_shape_fn(now.raw_dim(), |(i, j)| {
        let rows = i.saturating_sub(1)..(i + 2).min(now.nrows());
        let columns = j.saturating_sub(1)..(j + 2).min(now.ncols());
        now.slice(s![rows, columns]).sum() % 1000
    })
}

#[test]
fn a_stencil_is_right_though_workers_are_killed_in_each_step() {
    let guard = Leftovers::watch();
    for method in WITH_THREADS {
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .initializer(|dies| dies, method != StartMethod::Thread)
            .build()
            .unwrap();
        let mut expected = Array2::from_shape_fn((20, 30), |(i, j)| (i * j) as i64 % 7);
        let mut now = SharedArray::from_array(&expected).unwrap();
        let mut next = SharedArray::<i64, _>::zeros((20, 30)).unwrap();
        for _ in 0..4 {
            let cut = (next.tiles_mut((6, 8)), now.halo_tiles((6, 8), (1, 1)));
            pool.job(step).retries(1).map_blocks(cut).unwrap();
            std::mem::swap(&mut now, &mut next);
            expected = step_all(&expected);
            assert_eq!(now.view(), expected);
        }
        drop((pool, now, next));
    }
    guard.assert_none();
}

/// Descriptors, and mappings of memfds.
fn open() -> (usize, usize) {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let memfds = maps.lines().filter(|line| line.contains("/memfd:pool-shm"));
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    (descriptors, memfds.count())
}

#[expect(clippy::ptr_arg, reason = "the state is what the initializer returns")]
fn look(kept: &mut Vec<FrozenArray<u64, Ix1>>, i: usize) -> (u64, (usize, usize)) {
    (kept[i].view().sum(), open())
}

#[test]
fn ten_thousand_frozen_arrays_are_an_initializers_argument() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let tables: Vec<_> = (0..10_000_u64).map(|i| ndarray::array![i, 1, 2]).collect();
        let frozen = FrozenArray::from_arrays(tables.iter().map(|table| table.view())).unwrap();
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .initializer(|arrays| arrays, frozen)
            .build()
            .unwrap();
        for (i, (sum, (descriptors, maps))) in
            pool.map(look, 0..10_000).unwrap().into_iter().enumerate()
        {
            assert_eq!(sum, i as u64 + 3);
            assert!(
                descriptors < 100 && maps < 100,
                "{descriptors} descriptors, {maps} maps"
            );
        }
        drop(pool);
    }
    guard.assert_none();
}
