//! Arrays in files, lent to workers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::{Axis, Ix2};
use pool_core::{Pool, StartMethod};
use pool_shm::{Block, BlockMut, FileArray, SharedArray};
use std::fs::File;
use std::path::PathBuf;

fn populate(mut block: BlockMut<'_, f64, Ix2>) -> usize {
    let offset = block.start();
    block.view_mut().fill(offset as f64);
    offset
}

fn sum(block: Block<'_, f64, Ix2>) -> f64 {
    block.view().sum()
}

fn add((mut sums, rows): (BlockMut<'_, f64, Ix2>, Block<'_, f64, Ix2>)) {
    sums.view_mut().fill(rows.view().sum());
}

/// Truncates the file that it reads, which a task must not do.
fn cut_off(state: &mut PathBuf, block: Block<'_, f64, Ix2>) -> f64 {
    let file = File::options().write(true).open(state).unwrap();
    file.set_len(100).unwrap();
    block.view().sum()
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("matrix.npy");
    (dir, path)
}

#[test]
fn blocks_of_a_file_are_populated_and_reduced_by_workers() {
    for method in [
        StartMethod::ForkServer,
        StartMethod::Spawn,
        StartMethod::Thread,
    ] {
        let (dir, path) = scratch();
        let pool = Pool::builder().workers(3).start_method(method);
        let pool = pool.build().unwrap();
        let mut matrix = FileArray::<f64, Ix2>::create(&path, (100, 10)).unwrap();
        let starts = pool.map_blocks(populate, matrix.axis_chunks_mut(Axis(0), 7));
        assert_eq!(starts.unwrap(), (0..100).step_by(7).collect::<Vec<_>>());
        let mut sums = SharedArray::<f64, _>::zeros((15, 1)).unwrap();
        let lent = (
            sums.axis_chunks_mut(Axis(0), 1),
            matrix.axis_chunks(Axis(0), 7),
        );
        pool.map_blocks(add, lent).unwrap();
        assert_eq!(sums.view()[[1, 0]], 7.0 * 70.0);
        matrix.finish().unwrap();

        // SAFETY: nobody else knows the directory.
        let matrix = unsafe { FileArray::<f64, Ix2>::open(&path) }.unwrap();
        let again = pool
            .map_blocks(sum, matrix.axis_chunks(Axis(0), 7))
            .unwrap();
        assert_eq!(again, sums.view().column(0).to_vec());
        let tiles = pool.map_blocks(sum, matrix.tiles((50, 5))).unwrap();
        assert_eq!(tiles.iter().sum::<f64>(), again.iter().sum::<f64>());
        drop(dir);
    }
}

#[test]
fn a_file_that_is_truncated_under_a_task_is_named_in_the_error() {
    let (_dir, path) = scratch();
    let matrix = FileArray::<f64, Ix2>::create(&path, (1000, 100)).unwrap();
    matrix.finish().unwrap();
    // SAFETY: the promise is broken by the task below, in a worker, which is
    // what this test is about; this process does not look into the array.
    let matrix = unsafe { FileArray::<f64, Ix2>::open(&path) }.unwrap();
    let pool = Pool::builder()
        .workers(1)
        .initializer(std::convert::identity, path);
    let pool = pool.build().unwrap();
    let error = pool
        .map_blocks(cut_off, matrix.axis_chunks(Axis(0), 1000))
        .unwrap_err();
    assert!(error.is_memory(), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("matrix.npy") && text.contains("has 100"),
        "{text}"
    );
}
