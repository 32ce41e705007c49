//! Parts of layouts, by the slices of ndarray: arithmetic only.

use super::Layout;
use crate::error::{Kind, ShmError};
use ndarray::{Axis, Dimension, SliceArg, SliceInfoElem};
use std::ops::Range;

/// A layout and where its element of index 0 lies, in elements from that of
/// the layout that it is a part of.
pub(crate) type Sliced<D> = (isize, Layout<D>);

impl<D: Dimension> Layout<D> {
    /// The part that `slice` means, for elements of `size` bytes.
    pub(crate) fn slice<I: SliceArg<D>>(
        &self,
        slice: &I,
        size: usize,
    ) -> Result<Sliced<I::OutDim>, ShmError> {
        let asked = slice.as_ref();
        let fail = |reason| self.cannot_slice(&format!("by {asked:?}"), reason);
        if slice.in_ndim() != self.shape().len() {
            return Err(fail("a slice needs one entry for each axis"));
        }
        let mut shape = I::OutDim::zeros(slice.out_ndim());
        let mut strides = shape.clone();
        let places = shape.slice_mut().iter_mut();
        let mut out = places.zip(strides.slice_mut());
        let axes = self.shape().iter().zip(self.signed_strides());
        let (mut axes, mut first) = (axes, 0_isize);
        for &element in asked {
            if let SliceInfoElem::NewAxis = element {
                (*out.next().ok_or_else(|| fail(COUNTED))?.0) = 1;
                continue;
            }
            let (&len, stride) = axes.next().ok_or_else(|| fail(COUNTED))?;
            let along = Along::new(element, len).map_err(fail)?;
            first += stride * along.from.cast_signed();
            if let Some((count, step)) = along.kept {
                let (len, steps) = out.next().ok_or_else(|| fail(COUNTED))?;
                *len = count;
                // A step beyond the axis is never made, and might not fit.
                let step = if count > 1 { stride * step } else { 0 };
                *steps = step.cast_unsigned();
            }
        }
        let layout = Layout::strided(shape, strides, size)?;
        // The place of the first of no elements would mean nothing.
        let first = if layout.len() == 0 { 0 } else { first };
        Ok((first, layout))
    }

    /// The parts before and from `index` on along `axis`.
    pub(crate) fn split(
        &self,
        axis: Axis,
        index: usize,
        size: usize,
    ) -> Result<[Sliced<D>; 2], ShmError> {
        let at = axis.index();
        let fail = |reason| self.cannot_slice(&format!("at {index} along axis {at}"), reason);
        let Some(&len) = self.shape().get(at) else {
            return Err(fail("there is no such axis"));
        };
        if index > len {
            return Err(fail("the axis is shorter"));
        }
        let part = |from: usize, len: usize| {
            let mut shape = self.dim().clone();
            shape.slice_mut()[at] = len;
            let layout = Layout::strided(shape, self.strides().clone(), size)?;
            let first = match layout.len() {
                0 => 0,
                _ => self.strides().slice()[at].cast_signed() * from.cast_signed(),
            };
            Ok::<_, ShmError>((first, layout))
        };
        Ok([part(0, index)?, part(index, len - index)?])
    }

    fn cannot_slice(&self, how: &str, reason: &'static str) -> ShmError {
        Kind::InvalidCut {
            shape: self.shape().to_vec(),
            cut: how.to_owned(),
            reason,
        }
        .into()
    }
}

/// The range of an axis of length `len` that a slice without steps means.
pub(crate) fn range_of(element: SliceInfoElem, len: usize) -> Result<Range<usize>, &'static str> {
    if element.is_new_axis() {
        return Err("a block cannot have a new axis");
    }
    let along = Along::new(element, len)?;
    match along.kept {
        None => Ok(along.from..along.from + 1),
        Some((count, 1)) => Ok(along.from..along.from + count),
        Some(_) => Err("the step of a block must be 1"),
    }
}

const COUNTED: &str = "the slice has another number of axes than it says";

/// The rows, of so many along the first axis, from the first to the last in which a slice has elements; a slice that lies in the array.
pub(super) fn rows_of_slice(slice: &[SliceInfoElem], rows: usize) -> Range<usize> {
    let mut axes = (slice.iter()).filter(|element| !matches!(element, SliceInfoElem::NewAxis));
    let Some(Ok(Along { from, kept })) = axes.next().map(|&first| Along::new(first, rows)) else {
        return 0..rows;
    };
    let (count, step) = kept.unwrap_or((1, 1));
    match (count.checked_sub(1), step) {
        (None, _) => from.min(rows)..from.min(rows),
        (Some(steps), 0..) => from..from + steps * step.unsigned_abs() + 1,
        (Some(steps), _) => from - steps * step.unsigned_abs()..from + 1,
    }
}

/// What a slice takes of one axis.
struct Along {
    from: usize,
    /// How many and by which step; none if the axis goes.
    kept: Option<(usize, isize)>,
}

impl Along {
    fn new(element: SliceInfoElem, len: usize) -> Result<Self, &'static str> {
        let absolute = |index: isize| match index {
            0.. => Some(index.cast_unsigned()),
            _ => len.checked_sub(index.unsigned_abs()),
        };
        match element {
            SliceInfoElem::Index(index) => {
                let from = absolute(index).filter(|&index| index < len);
                let from = from.ok_or("an index lies outside the axis")?;
                Ok(Along { from, kept: None })
            }
            SliceInfoElem::Slice { start, end, step } => {
                let outside = "a range lies outside the axis";
                let inside = |index| absolute(index).filter(|&index| index <= len);
                let start = inside(start).ok_or(outside)?;
                let end = end.map_or(Some(len), inside).ok_or(outside)?;
                let span = end.max(start) - start;
                if step == 0 {
                    return Err("a step of 0 leads nowhere");
                }
                let from = match step {
                    0.. => start,
                    // From the last element back.
                    _ => start + span.saturating_sub(1),
                };
                let count = span.div_ceil(step.unsigned_abs());
                let kept = Some((count, step));
                Ok(Along { from, kept })
            }
            SliceInfoElem::NewAxis => Err(COUNTED),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layout::Order;
    use super::*;
    use ndarray::{Array, ArrayViewD, Ix2, IxDyn, s};
    use proptest::prelude::*;

    fn element() -> impl Strategy<Value = SliceInfoElem> {
        let index = -7_isize..8;
        prop_oneof![
            1 => index.clone().prop_map(SliceInfoElem::Index),
            1 => Just(SliceInfoElem::NewAxis),
            6 => (index.clone(), prop::option::of(index), -4_isize..5)
                .prop_map(|(start, end, step)| SliceInfoElem::Slice { start, end, step }),
        ]
    }

    /// The part of an array in which each element is its own place.
    fn of<'a>(array: &'a ArrayViewD<'_, usize>, slice: &[SliceInfoElem]) -> ArrayViewD<'a, usize> {
        array.slice(slice)
    }

    #[test]
    fn rows_of_slices_are_those_with_elements() {
        let rows = |slice: &[SliceInfoElem]| rows_of_slice(slice, 10);
        assert_eq!(rows(s![ndarray::NewAxis, -1, ..].as_ref()), 9..10);
        assert_eq!(rows(s![10.., ..].as_ref()), 10..10);
        assert_eq!(rows_of_slice(&[], 1), 0..1);
        let places = Array::from_shape_fn((10, 2), |(row, _)| row);
        for step in [-9, -4, -3, -1, 1, 2, 5, 100] {
            let slice = s![1..8;step, ..];
            let found = places.slice(slice);
            let (least, most) = (found.iter().min().unwrap(), found.iter().max().unwrap());
            assert_eq!(rows(slice.as_ref()), *least..most + 1, "step {step}");
        }
    }

    proptest! {
        #[test]
        fn slices_are_those_of_ndarray(
            axes in prop::collection::vec((0_usize..6, element()), 0..5),
            column_major: bool,
        ) {
            let slice: Vec<_> = axes.iter().map(|axis| axis.1).collect();
            let lengths = axes.iter().filter(|axis| !axis.1.is_new_axis()).map(|axis| axis.0);
            let shape: Vec<_> = lengths.collect();
            let order = if column_major { Order::ColumnMajor } else { Order::RowMajor };
            let layout = Layout::new(IxDyn(&shape), order, 8).unwrap();
            let all: Vec<usize> = (0..layout.len()).collect();
            let strides: Vec<_> = layout.strides().slice().to_vec();
            let array = if layout.len() == 0 {
                Array::zeros(IxDyn(&shape))
            } else {
                let shape = ndarray::ShapeBuilder::strides(IxDyn(&shape), IxDyn(&strides));
                Array::from_shape_vec(shape, all).unwrap()
            };
            let view = array.view();
            let expected = std::panic::catch_unwind(|| of(&view, &slice));
            match layout.slice(&slice.as_slice(), 8) {
                Err(error) => {
                    prop_assert!(expected.is_err(), "{error} but {expected:?}");
                    prop_assert!(error.is_invalid_cut());
                }
                Ok((first, part)) => {
                    let expected = expected.unwrap();
                    prop_assert_eq!(part.shape(), expected.shape());
                    if let Some(&element) = expected.iter().next() {
                        prop_assert_eq!(element.cast_signed(), first);
                        for (axis, stride) in part.signed_strides().into_iter().enumerate() {
                            let len = expected.shape()[axis];
                            prop_assert!(len == 1 || stride == expected.strides()[axis]);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_part_that_is_contiguous_has_an_order() {
        let whole = Layout::new(Ix2(6, 4), Order::RowMajor, 8).unwrap();
        let (first, rows) = whole.slice(&s![2..4, ..], 8).unwrap();
        assert!(first == 8 && rows.is_contiguous());
        let (_, columns) = whole.slice(&s![.., 1..3], 8).unwrap();
        assert!(!columns.is_contiguous());
        assert!(columns.reshape(12, 8).unwrap_err().is_invalid_shape());
        let (first, back) = whole.slice(&s![..;-1, 2], 8).unwrap();
        assert_eq!((first, back.signed_strides()), (22, vec![-4]));
        let [left, right] = whole.split(Axis(1), 3, 8).unwrap();
        assert_eq!(
            (left.1.shape(), right.1.shape()),
            (&[6, 3][..], &[6, 1][..])
        );
        assert_eq!((left.0, right.0), (0, 3));
        assert!(whole.split(Axis(1), 5, 8).is_err() && whole.split(Axis(2), 0, 8).is_err());
    }

    #[test]
    fn parts_are_paired_if_each_row_begins_at_a_pair() {
        let whole = Layout::new(Ix2(6, 8), Order::RowMajor, 8).unwrap();
        let (_, part) = whole.slice(&s![..;-2, 2..6], 8).unwrap();
        let pairs = part.clone().pair(8).unwrap();
        assert_eq!(
            (pairs.shape(), pairs.signed_strides()),
            (&[3, 2][..], vec![-8, 1])
        );
        assert_eq!(pairs.unpair(8).unwrap(), part);
        let odd = Layout::new(Ix2(6, 7), Order::RowMajor, 8).unwrap();
        let (_, part) = odd.slice(&s![.., ..4], 8).unwrap();
        assert!(part.pair(8).unwrap_err().to_string().contains("odd"));
        let (_, part) = whole.slice(&s![.., ..;2], 8).unwrap();
        assert!(
            part.unpair(4)
                .unwrap_err()
                .to_string()
                .contains("not contiguous")
        );
    }
}
