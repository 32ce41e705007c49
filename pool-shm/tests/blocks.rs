//! Lending blocks, as a pool does.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::{Array, Array2, Axis, Dimension, Ix1, Ix2, Ix3, IxDyn, ShapeBuilder, array, s};
use num_complex::Complex;
use pool_shm::{
    AxisChunks, AxisChunksMut, Block, BlockMut, Blocks, HaloBlock, HaloBlocks, LeaseCache, Lessee,
    RawArray, RegionsMut, SegmentId, SharedArray, ShmError, Tiles, TilesMut,
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

/// So many doubles that their array has a segment of its own.
const OWN_SEGMENT: usize = 10_000;

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
    let mut array = SharedArray::<f64, _>::zeros(OWN_SEGMENT).unwrap();
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
    let mut array = SharedArray::from_elem(OWN_SEGMENT, 1.0).unwrap();
    worker.lend(&array.axis_chunks_mut(Axis(0), 10));
    let array = array.into_handle().unwrap().claim().unwrap();
    assert!(worker.cache.lock().unwrap().is_empty());
    assert_eq!(array.freeze().unwrap().view().sum(), OWN_SEGMENT as f64);
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
    let raw = array.into_raw().unwrap();
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

#[test]
fn halves_of_an_array_are_lent_together() {
    for column_major in [false, true] {
        let mut matrix = SharedArray::<f64, _>::zeros((6, 5).set_f(column_major)).unwrap();
        let [mut left, mut right] = matrix.split_at_mut(Axis(1), 2).unwrap();
        let rows = (
            left.axis_chunks_mut(Axis(0), 2),
            right.axis_chunks_mut(Axis(0), 2),
        );
        let shapes = lend(&rows, |(mut left, mut right)| {
            let (start, other) = (left.start() as f64, right.start() as f64);
            left.view_mut().fill(start);
            right.view_mut().fill(10.0 + other);
            (left.shape().to_vec(), right.shape().to_vec())
        });
        assert_eq!(shapes, vec![(vec![2, 2], vec![2, 3]); 3]);
        let expected = Array2::from_shape_fn((6, 5), |(i, j)| {
            (i / 2 * 2) as f64 + if j < 2 { 0.0 } else { 10.0 }
        });
        assert_eq!(matrix.view(), expected);
        // A part of a part, and a half in two halves; written beside read.
        let [top, mut bottom] = matrix.split_at_mut(Axis(0), 2).unwrap();
        let [mut first, second] = top.split_at(Axis(0), 1).unwrap();
        let mut back = bottom.slice_mut(s![..;-2, 1]).unwrap();
        assert_eq!(back.shape(), [2]);
        let cut = (
            first.tiles_mut((1, 5)),
            second.tiles((1, 5)),
            back.regions_mut([s![..]]).unwrap(),
        );
        lend(&cut, |(mut first, second, mut back)| {
            first.view_mut().assign(&(&second.view() + 1.0));
            back.view_mut().assign(&array![7.0, 8.0]);
        });
        assert_eq!(matrix.view().row(0), &matrix.view().row(1) + 1.0);
        assert_eq!((matrix.view()[[5, 1]], matrix.view()[[3, 1]]), (7.0, 8.0));
    }
}

#[test]
fn halves_are_lent_at_once_by_two_threads() {
    let mut numbers = SharedArray::<u64, _>::zeros(1000).unwrap();
    let [mut low, mut high] = numbers.split_at_mut(Axis(0), 500).unwrap();
    let fill = |part: &mut pool_shm::ArrayPartMut<'_, u64, Ix1>, value: u64| {
        lend(&part.axis_chunks_mut(Axis(0), 7), |mut block| {
            block.view_mut().fill(value);
        });
    };
    std::thread::scope(|scope| {
        scope.spawn(|| fill(&mut low, 1));
        scope.spawn(|| fill(&mut high, 2));
    });
    assert_eq!(numbers.view().sum(), 1500);
}

#[test]
fn blocks_of_the_users_choice_are_written() {
    let mut matrix = SharedArray::<u32, _>::zeros((6, 8)).unwrap();
    let regions = [s![..2, ..], s![2.., ..3], s![4..5, 5..], s![2..2, 3..]];
    let lent = matrix.regions_mut(regions).unwrap();
    let places = lend(&lent, |mut block: BlockMut<'_, u32, Ix2>| {
        let number = block.index() as u32 + 1;
        block.view_mut().fill(number);
        (block.starts().to_vec(), block.shape().to_vec())
    });
    assert_eq!(places[2], (vec![4, 5], vec![1, 3]));
    assert_eq!(places[3], (vec![2, 3], vec![0, 5]));
    let mut expected = Array2::zeros((6, 8));
    for (i, region) in regions.into_iter().enumerate() {
        expected.slice_mut(region).fill(i as u32 + 1);
    }
    assert_eq!(matrix.view(), expected);
    // For reading they may overlap.
    let sums = lend(
        &matrix.regions([[0..6, 0..8], [0..6, 0..3]]).unwrap(),
        |block: Block<'_, u32, Ix2>| block.view().sum(),
    );
    assert_eq!(sums, [16 + 24 + 9, 6 + 24]);
}

#[test]
fn blocks_that_overlap_are_refused_with_the_names_of_both() {
    let mut matrix = SharedArray::<f64, _>::zeros((100, 100)).unwrap();
    let mut regions: Vec<_> = (0..5000)
        .map(|i| vec![i / 50..i / 50 + 1, i % 50 * 2..i % 50 * 2 + 2])
        .collect();
    assert!(matrix.regions_mut(regions.clone()).is_ok());
    regions[1234] = vec![70..72, 5..6];
    let error = matrix.regions_mut(regions).unwrap_err();
    assert!(error.is_overlap() && error.is_invalid_cut());
    let [one, other] = error.overlapping_blocks().unwrap();
    assert!(one == 1234 && (other == 3502 || other == 3552), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("block 1234, [70..72, 5..6]") && text.contains(&format!("block {other}, [7")),
        "{text}"
    );
    let error = matrix.regions([[0..101, 0..1]]).unwrap_err();
    assert!(error.is_invalid_cut() && !error.is_overlap());
    let whole = matrix.regions_mut([[0..100, 0..100]]).unwrap();
    let error = forged::<_, RegionsMut<'_, f64, Ix2>>(
        &whole,
        &["cut", "Regions"],
        serde_json::json!({"count": 2, "axes": 2, "ranges": [[0, 5], [0, 5], [4, 6], [4, 6]]}),
    );
    assert_eq!(error.overlapping_blocks(), Some([0, 1]));
}

#[test]
fn parts_of_one_array_that_overlap_are_not_lent_together() {
    let raw = RawArray::<f64, _>::zeros((8, 8)).unwrap();
    let part = |slice| raw.slice(slice).unwrap();
    let [left, right, middle] = [s![.., ..4], s![.., 4..], s![.., 3..5]].map(part);
    // SAFETY: no block is made of these cuts.
    let writing = unsafe { left.axis_chunks_mut(Axis(0), 2) };
    // SAFETY: as above.
    let beside = unsafe { right.axis_chunks(Axis(0), 2) };
    let cut = (writing, beside);
    assert!(cut.plan().is_ok());
    // SAFETY: as above.
    let across = unsafe { middle.axis_chunks(Axis(0), 2) };
    let error = refused(&(cut.0, across));
    assert!(error.is_overlap());
    let text = error.to_string();
    assert!(text.contains("array 0 and array 1"), "{text}");
}

/// Each element becomes the sum of itself and its neighbours, those beyond the
/// ends counting as 1.
fn sum_around<D: Dimension>(array: &Array<i64, D>) -> Array<i64, D> {
    let view = array.view().into_dyn();
    let near = |index: &[usize]| {
        let mut sum = 0;
        let axes = index.len();
        for code in 0..3_usize.pow(axes as u32) {
            let shift = |axis: usize| code / 3_usize.pow(axis as u32) % 3;
            let at: Option<Vec<_>> = (0..axes)
                .map(|axis| (index[axis] + shift(axis)).checked_sub(1))
                .collect();
            sum += at.map_or(1, |at| view.get(IxDyn(&at)).copied().unwrap_or(1));
        }
        sum
    };
    Array::from_shape_fn(array.raw_dim().into_dyn(), |index| {
        near(index.as_array_view().as_slice().unwrap())
    })
    .into_dimensionality()
    .unwrap()
}

/// The same by blocks.
fn sum_block<D: Dimension>((mut next, now): (BlockMut<'_, i64, D>, HaloBlock<'_, i64, D>)) {
    assert_eq!((next.starts(), next.shape()), (now.starts(), now.shape()));
    let around = now.halo_view().into_dyn();
    let axes = now.shape().len();
    let before: Vec<_> = (0..axes).map(|axis| now.rim_before(Axis(axis))).collect();
    for (axis, len) in now.shape().iter().enumerate() {
        let rims = now.rim_before(Axis(axis)) + now.rim_after(Axis(axis));
        assert_eq!(around.shape()[axis], len + rims);
        assert_eq!(now.halo_starts()[axis] + before[axis], now.starts()[axis]);
    }
    for (index, element) in next.view_mut().into_dyn().indexed_iter_mut() {
        let index = index.as_array_view();
        *element = 0;
        for code in 0..3_usize.pow(axes as u32) {
            let shift = |axis: usize| code / 3_usize.pow(axis as u32) % 3;
            let at: Option<Vec<_>> = (0..axes)
                .map(|axis| (before[axis] + index[axis] + shift(axis)).checked_sub(1))
                .collect();
            *element += at.map_or(1, |at| around.get(IxDyn(&at)).copied().unwrap_or(1));
        }
    }
}

#[test]
fn a_stencil_reads_around_its_block_and_swaps_its_arrays() {
    for column_major in [false, true] {
        let shape = (5, 6, 7);
        let start = Array::from_shape_fn(shape, |(i, j, k)| (i * 42 + j * 7 + k) as i64 % 5);
        let mut now = SharedArray::<i64, Ix3>::zeros(shape.set_f(column_major)).unwrap();
        now.view_mut().assign(&start);
        let mut next = SharedArray::<i64, Ix3>::zeros(shape).unwrap();
        let mut expected = start;
        for step in 0..3 {
            if step == 1 {
                let cut = (
                    next.axis_chunks_mut(Axis(1), 4),
                    now.halo_axis_chunks(Axis(1), 4, 1),
                );
                // Only the axis that is cut has a rim; the others are whole.
                lend(&cut, sum_block);
            } else {
                lend(
                    &(
                        next.tiles_mut((2, 4, 3)),
                        now.halo_tiles((2, 4, 3), (1, 1, 1)),
                    ),
                    sum_block,
                );
            }
            std::mem::swap(&mut now, &mut next);
            expected = sum_around(&expected);
            assert_eq!(now.view(), expected, "step {step}");
        }
        let frozen = now.freeze().unwrap();
        let part = frozen.slice(s![1.., ..;-1, ..4]).unwrap();
        let mut out = SharedArray::<i64, Ix3>::zeros((4, 6, 4)).unwrap();
        lend(
            &(
                out.tiles_mut((3, 3, 3)),
                part.halo_tiles((3, 3, 3), (9, 9, 9)),
            ),
            sum_block,
        );
        assert_eq!(out.view(), sum_around(&part.view().to_owned()));
    }
}

#[test]
fn a_rim_needs_a_width_for_each_axis_and_blocks_that_match() {
    type Around<'a> = HaloBlocks<'a, f64, Ix2>;
    let array = SharedArray::<f64, _>::zeros((9, 9)).unwrap();
    refused(&array.halo_axis_chunks(Axis(2), 1, 1));
    refused(&array.halo_tiles((0, 3), (1, 1)));
    let tiles = array.halo_tiles((3, 3), (1, 1));
    let error = forged::<_, Around<'_>>(&tiles, &["rim"], serde_json::json!([1]));
    assert!(error.is_invalid_cut(), "{error}");
    for (field, value) in [("rim", serde_json::Value::Null), ("writable", true.into())] {
        let error = forged::<_, Around<'_>>(&tiles, &[field], value);
        assert!(error.to_string().contains("kinds of access"), "{error}");
    }
    let error = forged::<_, TilesMut<'_, f64, Ix2>>(&tiles, &["writable"], true.into());
    assert!(error.to_string().contains("kinds of access"), "{error}");
    let mut other = SharedArray::<f64, _>::zeros((9, 8)).unwrap();
    let text = refused(&(other.tiles_mut((3, 3)), tiles)).to_string();
    assert!(text.contains("[9, 8]"), "{text}");
}

#[test]
fn a_small_array_is_frozen_given_away_and_made_raw_though_a_worker_has_its_neighbours_mapped() {
    let worker = Arc::new(Worker::default());
    let arrays = || SharedArray::from_elem(100, 1.0).unwrap();
    let (mut one, neighbour) = (arrays(), arrays());
    worker.lend(&one.axis_chunks_mut(Axis(0), 10));
    lend(&one.axis_chunks_mut(Axis(0), 10), |mut block| {
        let start = block.start() as f64;
        block.view_mut().fill(start);
    });
    let frozen = one.freeze().unwrap();
    assert_eq!(frozen.view().sum(), 4500.0);
    let mut again = arrays();
    worker.lend(&again.axis_chunks_mut(Axis(0), 10));
    let again = again.into_handle().unwrap().claim().unwrap();
    assert_eq!(again.view().sum(), 100.0);
    let raw = again.into_raw().unwrap();
    // SAFETY: nobody else has it.
    assert_eq!(unsafe { raw.view() }.sum(), 100.0);
    assert_eq!(neighbour.view().sum(), 100.0);
}
