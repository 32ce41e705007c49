//! Lending blocks, as a pool does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::{Array2, Axis, Ix1, Ix2, IxDyn, ShapeBuilder, array};
use num_complex::Complex;
use pool_shm::{
    AxisChunks, AxisChunksMut, Block, BlockMut, Blocks, LeaseCache, Lessee, RawArray, SegmentId,
    SharedArray, ShmError, Tiles, TilesMut,
};
use serde::Serialize;
use std::sync::{Arc, Mutex, Weak};

/// Runs `task` on each block, through a plan that travels, as a worker would.
fn lend<B: Blocks, R>(blocks: &B, mut task: impl FnMut(B::Block<'_>) -> R) -> Vec<R> {
    let (count, plan) = blocks.plan().unwrap();
    let bytes = postcard::to_allocvec(&plan).unwrap();
    let plan: B::Plan = postcard::from_bytes(&bytes).unwrap();
    let attached = B::attach(&plan, &mut LeaseCache::default()).unwrap();
    assert_eq!(B::count(&attached), count);
    // SAFETY: `blocks` is borrowed meanwhile, and each block is made once and
    // gone before the next.
    let results = (0..count).map(|i| task(unsafe { B::block(&attached, i) }.unwrap()));
    let results = results.collect();
    // SAFETY: as above; there is no such block.
    assert!(unsafe { B::block(&attached, count) }.is_none());
    results
}

fn populate(mut block: BlockMut<'_, f64, Ix2>) -> usize {
    let offset = block.start();
    block.view_mut().fill(offset as f64);
    offset
}

#[test]
fn a_matrix_is_populated_by_rows() {
    for column_major in [false, true] {
        let mut matrix = SharedArray::<f64, _>::zeros((10, 3).set_f(column_major)).unwrap();
        let offsets = lend(&matrix.axis_chunks_mut(Axis(0), 4), populate);
        assert_eq!(offsets, [0, 4, 8]);
        let expected = Array2::from_shape_fn((10, 3), |(i, _)| (i / 4 * 4) as f64);
        assert_eq!(matrix.view(), expected);
        let columns = lend(
            &matrix.axis_chunks(Axis(1), 2),
            |block: Block<'_, f64, Ix2>| {
                (
                    block.index(),
                    block.range(),
                    block.range_along(Axis(0)),
                    block.view().sum(),
                )
            },
        );
        assert_eq!(columns, [(0, 0..2, 0..10, 64.0), (1, 2..3, 0..10, 32.0)]);
    }
}

#[test]
fn tiles_know_where_they_lie() {
    let mut matrix = SharedArray::<u32, _>::zeros((3, 5).f()).unwrap();
    let places = lend(
        &matrix.tiles_mut((2, 2)),
        |mut tile: BlockMut<'_, u32, Ix2>| {
            let index = tile.index() as u32;
            tile.view_mut().fill(index);
            (tile.starts().to_vec(), tile.shape().to_vec())
        },
    );
    assert_eq!(places[0], (vec![0, 0], vec![2, 2]));
    assert_eq!(places[5], (vec![2, 4], vec![1, 1]));
    assert_eq!(
        matrix.view(),
        array![[0, 0, 1, 1, 2], [0, 0, 1, 1, 2], [3, 3, 4, 4, 5]]
    );
    let sums = lend(&matrix.tiles((3, 4)), |tile: Block<'_, u32, Ix2>| {
        tile.view().sum()
    });
    assert_eq!(sums, [18, 9]);
}

#[test]
fn arrays_without_elements_or_axes() {
    let mut empty = SharedArray::<f64, _>::zeros((0, 3)).unwrap();
    assert!(lend(&empty.axis_chunks_mut(Axis(0), 4), populate).is_empty());
    let mut thin = SharedArray::<f64, _>::zeros((5, 0)).unwrap();
    assert_eq!(lend(&thin.axis_chunks_mut(Axis(0), 2), populate), [0, 2, 4]);
    let mut point = SharedArray::<f64, _>::zeros(()).unwrap();
    let starts = lend(&point.tiles_mut(()), |mut block| {
        block.view_mut().fill(3.0);
        (block.start(), block.range())
    });
    assert_eq!(starts, [(0, 0..1)]);
    assert_eq!(point.view().sum(), 3.0);
}

#[test]
fn several_arrays_are_cut_alike() {
    let source = SharedArray::from_shape_fn(10, |i| i as f64)
        .unwrap()
        .freeze()
        .unwrap();
    let weights = SharedArray::from_elem((10, 2), 2.0).unwrap();
    let mut out = SharedArray::<f64, _>::zeros((10, 2)).unwrap();
    let cut = (
        out.axis_chunks_mut(Axis(0), 3),
        source.axis_chunks(Axis(0), 3),
        weights.axis_chunks(Axis(0), 3),
    );
    let mut lent = 0;
    cut.segments(&mut |_| lent += 1);
    assert_eq!(lent, 2, "the frozen one is not mapped for writing");
    lend(&cut, |(mut out, source, weights)| {
        for (i, mut row) in out.view_mut().outer_iter_mut().enumerate() {
            row.assign(&(&weights.view().row(i) * source.view()[i]));
        }
    });
    assert_eq!(out.view().column(1), source.view().mapv(|x| 2.0 * x));
}

#[test]
fn six_arrays_of_any_kind() {
    let mut a = SharedArray::<u8, _>::zeros(IxDyn(&[6, 2])).unwrap();
    let mut b = SharedArray::<f32, _>::zeros((2, 6).f()).unwrap();
    let c = SharedArray::from_shape_fn(6, |i| i as u8).unwrap();
    let d = SharedArray::from_elem((6, 1, 1), 1_i64)
        .unwrap()
        .freeze()
        .unwrap();
    let e = SharedArray::<f64, _>::zeros((3, 4)).unwrap();
    let f = SharedArray::<f64, _>::zeros((4, 3)).unwrap().into_complex();
    assert!(f.unwrap_err().is_invalid_shape());
    let mut g = SharedArray::<f64, _>::zeros(12)
        .unwrap()
        .into_complex()
        .unwrap();
    let cut = (
        a.axis_chunks_mut(Axis(0), 2),
        b.axis_chunks_mut(Axis(1), 2),
        c.axis_chunks(Axis(0), 2),
        d.axis_chunks(Axis(0), 2),
        e.tiles((1, 4)),
        g.tiles_mut(2),
    );
    lend(&cut, |(mut a, mut b, c, d, e, mut g)| {
        a.view_mut().fill(c.view()[1]);
        b.view_mut().fill(d.view().len() as f32);
        g.view_mut().fill(Complex::new(e.start() as f64, 0.0));
    });
    assert_eq!(
        a.view().iter().copied().collect::<Vec<_>>(),
        [1, 1, 1, 1, 3, 3, 3, 3, 5, 5, 5, 5]
    );
    assert!(b.view().iter().all(|&x| x == 2.0));
    assert_eq!(g.view()[5].re, 2.0);
}

fn refused<B: Blocks>(blocks: &B) -> ShmError {
    let Err(error) = blocks.plan() else {
        panic!("an impossible cut was accepted");
    };
    assert!(error.is_invalid_cut(), "{error}");
    error
}

#[test]
fn cuts_that_are_impossible_are_errors_of_the_plan() {
    let mut a = SharedArray::<f64, _>::zeros((4, 5)).unwrap();
    refused(&a.axis_chunks_mut(Axis(0), 0));
    refused(&a.axis_chunks(Axis(2), 1));
    refused(&a.tiles_mut((0, 1)));
    let b = SharedArray::<f64, _>::zeros(9).unwrap();
    let text = refused(&(
        a.axis_chunks_mut(Axis(0), 1),
        b.axis_chunks(Axis(0), 1),
        b.axis_chunks(Axis(0), 9),
    ));
    assert!(text.to_string().contains("[4, 9, 1]"), "{text}");
}

#[test]
fn what_is_lent_for_writing_is_lent_once() {
    let raw = RawArray::<f64, _>::zeros(8).unwrap();
    let same = raw.clone();
    // SAFETY: no block is made of this cut.
    let writing = unsafe { raw.axis_chunks_mut(Axis(0), 2) };
    // SAFETY: as above.
    let reading = unsafe { same.axis_chunks(Axis(0), 2) };
    let cut = (writing, reading);
    assert!(refused(&cut).to_string().contains("overlap"));
    let array = SharedArray::<f64, _>::zeros(8).unwrap();
    let twice = (array.axis_chunks(Axis(0), 2), array.axis_chunks(Axis(0), 2));
    assert!(twice.plan().is_ok());
}

/// The error of attaching a plan after `change` in its JSON form.
fn forged<A: Blocks, B: Blocks>(blocks: &A, field: &[&str], value: serde_json::Value) -> ShmError
where
    A::Plan: Serialize,
{
    let mut plan = serde_json::to_value(blocks.plan().unwrap().1).unwrap();
    let mut at = &mut plan;
    for name in field {
        at = &mut at[name];
    }
    *at = value;
    let plan: B::Plan = serde_json::from_value(plan).unwrap();
    let Err(error) = B::attach(&plan, &mut LeaseCache::default()) else {
        panic!("a forged plan was accepted");
    };
    error
}

#[test]
fn forged_plans_are_refused() {
    type Rows<'a> = AxisChunksMut<'a, f64, Ix2>;
    let mut a = SharedArray::<f64, _>::zeros((4, 5)).unwrap();
    let rows = a.axis_chunks_mut(Axis(0), 2);
    let json = serde_json::json!([4, 6]);
    assert!(forged::<_, Rows<'_>>(&rows, &["array", "shape"], json.clone()).is_mismatch());
    let error = forged::<_, Rows<'_>>(&rows, &["cut", "Axis", "size"], 0.into());
    assert!(error.is_invalid_cut());
    let error = forged::<_, Rows<'_>>(&rows, &["cut", "Axis", "axis"], 2.into());
    assert!(error.is_invalid_cut());
    let error = forged::<_, Rows<'_>>(&rows, &["array", "segment", "len"], 1.into());
    assert!(error.is_mismatch());
    let error = forged::<_, Rows<'_>>(&rows, &["writable"], false.into());
    assert!(
        error
            .to_string()
            .contains("asked for writing, found reading"),
        "{error}"
    );
    let error = forged::<_, TilesMut<'_, f32, Ix2>>(&rows, &["writable"], true.into());
    assert!(
        error.to_string().contains("asked for f32, found f64"),
        "{error}"
    );

    let frozen = a.freeze().unwrap();
    let error = forged::<_, Rows<'_>>(&frozen.tiles((2, 2)), &["writable"], true.into());
    assert!(
        error
            .to_string()
            .contains("found writing of a frozen array"),
        "{error}"
    );
    let mut plan = serde_json::to_value(frozen.tiles((2, 2)).plan().unwrap().1).unwrap();
    plan["writable"] = true.into();
    plan["array"]["frozen"] = false.into();
    let plan = serde_json::from_value(plan).unwrap();
    let Err(error) = Rows::attach(&plan, &mut LeaseCache::default()) else {
        panic!("a frozen array was lent for writing");
    };
    assert!(error.is_frozen(), "{error}");
}

/// A pool whose only worker is this process.
#[derive(Default)]
struct Worker {
    cache: Mutex<LeaseCache>,
    released: Mutex<Vec<SegmentId>>,
}

impl Lessee for Worker {
    fn release(&self, id: SegmentId) {
        self.cache.lock().unwrap().release(id);
        self.released.lock().unwrap().push(id);
    }
}

impl Worker {
    fn lend<B: Blocks>(self: &Arc<Self>, blocks: &B) {
        let lessee: Weak<dyn Lessee> = Arc::downgrade(&(Arc::clone(self) as Arc<dyn Lessee>));
        blocks.segments(&mut |segment| segment.add_lessee(&lessee));
        let plan = blocks.plan().unwrap().1;
        B::attach(&plan, &mut self.cache.lock().unwrap()).unwrap();
        assert!(!self.cache.lock().unwrap().is_empty());
    }
}

#[test]
fn freezing_asks_each_lessee_once_to_unmap() {
    let [worker, other] = [Arc::new(Worker::default()), Arc::new(Worker::default())];
    let mut array = SharedArray::<f64, _>::zeros(100).unwrap();
    worker.lend(&array.axis_chunks_mut(Axis(0), 10));
    worker.lend(&array.axis_chunks_mut(Axis(0), 20));
    other.lend(&array.axis_chunks(Axis(0), 10));
    let frozen = array.freeze().unwrap();
    for worker in [&worker, &other] {
        assert_eq!(worker.released.lock().unwrap().len(), 1);
        assert!(worker.cache.lock().unwrap().is_empty());
    }
    assert_eq!(frozen.view().sum(), 0.0);
}

#[test]
fn giving_an_array_away_unmaps_it_everywhere() {
    let worker = Arc::new(Worker::default());
    let mut array = SharedArray::from_elem(100, 1.0).unwrap();
    worker.lend(&array.axis_chunks_mut(Axis(0), 10));
    let array = array.into_handle().unwrap().claim().unwrap();
    assert!(worker.cache.lock().unwrap().is_empty());
    assert_eq!(array.freeze().unwrap().view().sum(), 100.0);
}

#[test]
fn a_dropped_array_gives_its_memory_back_though_a_worker_has_it_mapped() {
    let worker = Arc::new(Worker::default());
    let mut array = SharedArray::from_elem(100_000, 1_u8).unwrap();
    worker.lend(&array.axis_chunks_mut(Axis(0), 10));
    let (_, plan) = array.axis_chunks(Axis(0), 100_000).plan().unwrap();
    let mut cache = LeaseCache::default();
    let attached = <AxisChunks<'_, u8, Ix1>>::attach(&plan, &mut cache).unwrap();
    drop(array);
    // SAFETY: the owner is gone and nobody else writes the memory.
    let block = unsafe { <AxisChunks<'_, u8, Ix1>>::block(&attached, 0) }.unwrap();
    assert!(block.view().iter().all(|&x| x == 0));
}

#[test]
fn an_array_made_raw_keeps_its_memory() {
    let worker = Arc::new(Worker::default());
    let mut array = SharedArray::from_elem(10, 1.0).unwrap();
    worker.lend(&array.axis_chunks_mut(Axis(0), 10));
    let raw = array.into_raw();
    // SAFETY: nobody else uses it.
    assert_eq!(unsafe { raw.view() }.sum(), 10.0);
}

#[test]
fn blocks_may_go_to_other_threads() {
    fn sendable<T: Send + Sync>() {}
    sendable::<BlockMut<'_, f64, Ix2>>();
    sendable::<Block<'_, f64, Ix2>>();
    sendable::<Tiles<'_, f64, Ix2>>();
    sendable::<LeaseCache>();
}

#[test]
fn arrays_with_equal_blocks_must_be_equally_long() {
    let mut ten = SharedArray::<f64, Ix1>::zeros(10).unwrap();
    let nine = SharedArray::<f64, Ix1>::zeros(9).unwrap();
    let three = SharedArray::<f64, Ix1>::zeros(3).unwrap();
    // Both give three blocks, but the last ones would have two elements and one.
    let error = (
        ten.axis_chunks_mut(Axis(0), 4),
        nine.axis_chunks(Axis(0), 4),
    )
        .plan()
        .map(|_| ())
        .unwrap_err();
    assert!(error.is_invalid_cut());
    let text = error.to_string();
    assert!(
        text.contains("[10]") && text.contains("[9]") && text.contains("[4]"),
        "{text}"
    );
    // One element for each block of another size is as it should be.
    let (count, _) = (
        ten.axis_chunks_mut(Axis(0), 4),
        three.axis_chunks(Axis(0), 1),
    )
        .plan()
        .unwrap();
    assert_eq!(count, 3);
}
