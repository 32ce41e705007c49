//! Arrays: lent in blocks, frozen, sent as arguments and results.

use std::os::fd::AsFd;

use ndarray::{Array2, Axis, Ix1, Ix2, ShapeBuilder};
use pool_core::{Pool, StartMethod, TaskError};
use pool_shm::{ArrayHandle, Block, BlockMut, FrozenArray, Segment, SharedArray, transfer};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::common::{Board, Leftovers, METHODS};

fn populate(mut block: BlockMut<'_, f64, Ix2>) -> usize {
    let offset = block.start();
    block.view_mut().fill(offset as f64);
    offset
}

fn populate_tile(mut block: BlockMut<'_, u32, Ix2>) -> (usize, Vec<usize>, Vec<usize>) {
    let index = block.index() as u32;
    block.view_mut().fill(index);
    (
        block.index(),
        block.starts().to_vec(),
        block.shape().to_vec(),
    )
}

/// The array that its segment is named by.
fn segment_of(array: &impl std::fmt::Debug) -> String {
    let text = format!("{array:?}");
    text.split("segment: ")
        .nth(1)
        .unwrap_or_else(|| panic!("{text}"))
        .to_owned()
}

#[test]
fn an_array_in_the_memory_of_the_last_one_is_lent_and_frozen() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let pool = Pool::builder()
            .workers(3)
            .start_method(method)
            .build()
            .unwrap();
        let mut last = SharedArray::<f64, _>::zeros((4000, 10)).unwrap();
        pool.map_blocks(populate, last.axis_chunks_mut(Axis(0), 100))
            .unwrap();
        let segment = segment_of(&last);
        let mut next = last.recycle::<f64, _>((3900, 10)).unwrap();
        assert_eq!(segment_of(&next), segment);
        pool.map_blocks(populate, next.axis_chunks_mut(Axis(0), 50))
            .unwrap();
        let expected = Array2::from_shape_fn((3900, 10), |(i, _)| (i / 50 * 50) as f64);
        assert_eq!(next.view(), expected);
        // The workers have it mapped since the first call, and let go.
        assert_eq!(next.freeze().unwrap().view(), expected);
    }
    guard.assert_none();
}

#[test]
fn rows_with_ragged_ends_of_either_order() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let pool = Pool::builder()
            .workers(3)
            .start_method(method)
            .build()
            .unwrap();
        for (rows, size) in [(2000, 100), (10, 3), (1, 5), (7, 1), (0, 4)] {
            for column_major in [false, true] {
                let mut matrix =
                    SharedArray::<f64, _>::zeros((rows, 10).set_f(column_major)).unwrap();
                let offsets = pool
                    .map_blocks(populate, matrix.axis_chunks_mut(Axis(0), size))
                    .unwrap();
                assert_eq!(offsets, (0..rows).step_by(size).collect::<Vec<_>>());
                let expected = Array2::from_shape_fn((rows, 10), |(i, _)| (i / size * size) as f64);
                assert_eq!(matrix.view(), expected);
            }
        }
        let mut matrix = SharedArray::<f64, _>::zeros((5, 10)).unwrap();
        pool.map_blocks(populate, matrix.axis_chunks_mut(Axis(1), 4))
            .unwrap();
        assert_eq!(
            matrix.view(),
            Array2::from_shape_fn((5, 10), |(_, j)| (j / 4 * 4) as f64)
        );
    }
    guard.assert_none();
}

#[test]
fn tiles() {
    let guard = Leftovers::watch();
    let pool = Pool::new(3).unwrap();
    let mut matrix = SharedArray::<u32, _>::zeros((7, 9).f()).unwrap();
    let tiles = pool
        .map_blocks(populate_tile, matrix.tiles_mut((3, 4)))
        .unwrap();
    assert_eq!(tiles.len(), 9);
    assert_eq!(tiles[8], (8, vec![6, 8], vec![1, 1]));
    assert_eq!(
        matrix.view(),
        Array2::from_shape_fn((7, 9), |(i, j)| (i / 3 * 3 + j / 4) as u32)
    );
    drop((pool, matrix));
    guard.assert_none();
}

fn scale((mut output, input): (BlockMut<'_, f64, Ix2>, Block<'_, f64, Ix2>)) -> f64 {
    output.view_mut().assign(&(&input.view() * 2.0));
    input.view().sum()
}

#[test]
fn tuples_of_arrays_cut_alike() {
    let guard = Leftovers::watch();
    let pool = Pool::new(2).unwrap();
    let input = SharedArray::from_shape_fn((100, 3), |(i, _)| i as f64)
        .unwrap()
        .freeze()
        .unwrap();
    let mut output = SharedArray::<f64, _>::zeros((100, 3)).unwrap();
    let sums = pool
        .map_blocks(
            scale,
            (
                output.axis_chunks_mut(Axis(0), 7),
                input.axis_chunks(Axis(0), 7),
            ),
        )
        .unwrap();
    assert_eq!(sums.iter().sum::<f64>(), input.view().sum());
    assert_eq!(output.view(), &input.view() * 2.0);
    let error = pool
        .map_blocks(
            scale,
            (
                output.axis_chunks_mut(Axis(0), 7),
                input.axis_chunks(Axis(0), 50),
            ),
        )
        .unwrap_err();
    assert!(error.is_memory(), "{error}");
    let error = pool
        .map_blocks(
            scale,
            (
                output.axis_chunks_mut(Axis(0), 0),
                input.axis_chunks(Axis(0), 0),
            ),
        )
        .unwrap_err();
    assert!(error.is_memory(), "{error}");
    drop((pool, input, output));
    guard.assert_none();
}

#[test]
fn freezing_what_workers_have_just_written_copies_nothing() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let pool = Pool::builder()
            .workers(3)
            .start_method(method)
            .build()
            .unwrap();
        for _ in 0..20 {
            let mut matrix = SharedArray::<f64, _>::zeros((1000, 10)).unwrap();
            pool.map_blocks(populate, matrix.axis_chunks_mut(Axis(0), 10))
                .unwrap();
            let before = segment_of(&matrix);
            let frozen = matrix.freeze().unwrap();
            assert_eq!(segment_of(&frozen), before);
            assert_eq!(frozen.view()[[999, 9]], 990.0);
        }
    }
    guard.assert_none();
}

#[test]
fn freezing_beside_another_call() {
    let guard = Leftovers::watch();
    let board = Board::new();
    let pool = Pool::builder()
        .workers(2)
        .initializer(|board: Board| board, board.clone())
        .build()
        .unwrap();
    let wait = |board: &mut Board, i: u32| {
        board.count(0);
        board.wait(1, 1);
        i
    };
    let mut matrix = SharedArray::<f64, _>::zeros((100, 10)).unwrap();
    pool.map_blocks(populate, matrix.axis_chunks_mut(Axis(0), 10))
        .unwrap();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| pool.job(wait).chunk(1).map(0..2));
        board.wait(0, 2);
        // Both workers are in a task that ends only when this is done.
        assert_eq!(matrix.freeze().unwrap().view()[[99, 0]], 90.0);
        board.set(1, 1);
        assert_eq!(call.join().unwrap().unwrap(), [0, 1]);
    });
    drop((pool, board));
    guard.assert_none();
}

struct State {
    data: FrozenArray<f64, Ix2>,
}

fn weighted(state: &mut State, i: usize) -> f64 {
    state.data.view().sum() * i as f64
}

#[test]
fn populated_frozen_and_handed_to_another_pool() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let first = Pool::builder()
            .workers(2)
            .start_method(method)
            .build()
            .unwrap();
        let mut matrix = SharedArray::<f64, _>::zeros((20, 3)).unwrap();
        first
            .map_blocks(populate, matrix.axis_chunks_mut(Axis(0), 2))
            .unwrap();
        let second = Pool::builder()
            .workers(2)
            .start_method(method)
            .initializer(
                |data: FrozenArray<f64, Ix2>| State { data },
                matrix.freeze().unwrap(),
            )
            .build()
            .unwrap();
        // The array is kept for the workers to come, too.
        assert_eq!(
            second.map(weighted, 1..=3).unwrap(),
            [540.0, 1080.0, 1620.0]
        );
        assert!(
            second
                .apply(|()| std::process::abort(), ())
                .map(|(): ()| ())
                .is_err()
        );
        assert!(
            second
                .apply(|()| std::process::abort(), ())
                .map(|(): ()| ())
                .is_err()
        );
        assert_eq!(
            second.map(weighted, 1..=3).unwrap(),
            [540.0, 1080.0, 1620.0]
        );
    }
    guard.assert_none();
}

fn make(i: u32) -> FrozenArray<u32, Ix1> {
    SharedArray::from_elem(10_000, i).unwrap().freeze().unwrap()
}

fn sum(array: FrozenArray<u32, Ix1>) -> u32 {
    array.view().sum()
}

#[test]
fn frozen_arrays_are_arguments_and_results() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let pool = Pool::builder()
            .workers(3)
            .start_method(method)
            .build()
            .unwrap();
        let arrays = pool.map(make, 0..200).unwrap();
        assert!(
            (0..200)
                .zip(&arrays)
                .all(|(i, array)| array.len() == 10_000 && array.view()[9_999] == i)
        );
        // From one worker to another, by way of this process.
        let expected: Vec<u32> = (0..200).map(|i| 10_000 * i).collect();
        assert_eq!(pool.map(sum, arrays.clone()).unwrap(), expected);
        assert_eq!(pool.apply(sum, arrays[7].clone()).unwrap(), 70_000);
        let nested = pool
            .map(
                |arrays: Vec<Option<FrozenArray<u32, Ix1>>>| arrays,
                [vec![Some(arrays[3].clone()), None]],
            )
            .unwrap();
        assert_eq!(nested[0][0].as_ref().unwrap().view()[0], 3);
        // Results outlive the pool.
        let last = pool.apply(make, 9).unwrap();
        drop(pool);
        assert_eq!(sum(last), 90_000);
    }
    guard.assert_none();
}

#[test]
fn owned_arrays_change_hands() {
    let guard = Leftovers::watch();
    for method in METHODS {
        let pool = Pool::builder()
            .workers(2)
            .start_method(method)
            .build()
            .unwrap();
        let ours = SharedArray::<f64, _>::zeros(100)
            .unwrap()
            .into_handle()
            .unwrap();
        let add = |handle: ArrayHandle<f64, Ix1>| {
            let mut array = handle.claim().unwrap();
            array.view_mut().mapv_inplace(|x| x + 1.0);
            array.into_handle().unwrap()
        };
        let handle = (0..20).fold(ours, |handle, _| pool.apply(add, handle).unwrap());
        let array = handle.claim().unwrap().freeze().unwrap();
        assert!(array.view().iter().all(|x| *x == 20.0));
    }
    guard.assert_none();
}

#[test]
fn an_array_whose_sender_is_gone_is_a_clear_error() {
    let guard = Leftovers::watch();
    let pool = Pool::new(1).unwrap();
    // The bytes alone keep nothing alive.
    let forget = |i: u32| {
        let (bytes, exports) = transfer::export(|| postcard::to_stdvec(&make(i)).unwrap());
        drop(exports);
        bytes
    };
    let bytes = pool.apply(forget, 5).unwrap();
    let decode = |bytes: Vec<u8>| {
        postcard::from_bytes::<FrozenArray<u32, Ix1>>(&bytes)
            .map(|_| ())
            .is_err()
    };
    assert!(decode(bytes.clone()));
    assert!(pool.apply(decode, bytes).unwrap());
    let handle = Segment::create(1).unwrap().handle();
    assert!(Segment::attach(&handle).unwrap_err().is_gone());
    drop(pool);
    guard.assert_none();
}

/// Written as bytes that are there already, read as an array.
struct Late(Vec<u8>);

impl Serialize for Late {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0
            .iter()
            .try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Late {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        FrozenArray::<u32, Ix1>::deserialize(deserializer)?;
        Ok(Late(Vec::new()))
    }
}

#[test]
fn an_argument_that_cannot_be_attached_says_why() {
    let guard = Leftovers::watch();
    let pool = Pool::new(1).unwrap();
    let bytes = postcard::to_stdvec(&make(5)).unwrap();
    let error = pool.apply(|late: Late| late.0.len(), Late(bytes));
    let Some((_, TaskError::DecodeArgument { message })) = error.as_ref().unwrap_err().task()
    else {
        panic!("{error:?}");
    };
    assert!(message.contains("gone"), "{message}");
    drop(pool);
    guard.assert_none();
}

#[test]
fn a_frozen_array_cannot_be_written_in_a_worker() {
    let guard = Leftovers::watch();
    let pool = Pool::new(1).unwrap();
    let can_write = |segment: Segment| {
        let fd = segment.fd().as_fd().try_clone_to_owned().unwrap();
        rustix::io::pwrite(&fd, &[1], 0).is_ok()
    };
    let open = Segment::create(10).unwrap();
    assert!(pool.apply(can_write, open).unwrap());
    let frozen = make(1);
    let write = |array: FrozenArray<u32, Ix1>| {
        let address = array.view().as_ptr() as *mut u32;
        // SAFETY: none: the write faults, which is what is tested.
        unsafe { address.write_volatile(9) }
    };
    let error = pool.apply(write, frozen.clone()).unwrap_err();
    assert!(error.to_string().contains("SIGSEGV"), "{error}");
    assert_eq!(frozen.view()[0], 1);
    drop((pool, frozen));
    guard.assert_none();
}

#[test]
fn threads_get_blocks_too() {
    let guard = Leftovers::watch();
    let pool = Pool::builder()
        .workers(2)
        .start_method(StartMethod::Thread)
        .build()
        .unwrap();
    let mut matrix = SharedArray::<f64, _>::zeros((10, 2)).unwrap();
    assert_eq!(
        pool.map_blocks(populate, matrix.axis_chunks_mut(Axis(0), 4))
            .unwrap(),
        [0, 4, 8]
    );
    assert_eq!(matrix.view()[[9, 1]], 8.0);
    drop((pool, matrix));
    guard.assert_none();
}
