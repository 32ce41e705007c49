//! Shapes and how their elements lie in memory.

use super::elements::Elements;
use crate::error::{Kind, ShmError};
use ndarray::{Array, Dimension, IntoDimension, ShapeBuilder};
use std::mem::MaybeUninit;

/// Which index runs fastest in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// The last one, as in C.
    RowMajor,
    /// The first one, as in Fortran.
    ColumnMajor,
}

/// A shape and the steps along its axes.
///
/// Invariants: the number of bytes from the first to the last element in memory
/// fits `isize`, and so does the number of elements not counting axes of length
/// zero; different indices are different elements; a layout whose elements are
/// contiguous has an order, and those with at most one axis longer than 1 are
/// row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout<D> {
    shape: D,
    /// In elements; negative ones as ndarray keeps them, in two's complement.
    strides: D,
    /// None if the elements are not contiguous.
    order: Option<Order>,
}

impl<D: Dimension> Layout<D> {
    /// Checks that contiguous elements of `size` bytes can have this shape.
    pub(crate) fn new(shape: D, order: Order, size: usize) -> Result<Self, ShmError> {
        check_size(&shape, size)?;
        let long = shape.slice().iter().filter(|&&len| len > 1).count();
        let order = if long > 1 { order } else { Order::RowMajor };
        Ok(Layout {
            strides: contiguous(&shape, order),
            shape,
            order: Some(order),
        })
    }

    /// The layout that ndarray means by `shape`, column-major after `.f()`.
    pub(crate) fn from_builder(
        shape: impl ShapeBuilder<Dim = D>,
        size: usize,
    ) -> Result<Self, ShmError> {
        let shape = shape.into_shape_with_order();
        let dim = shape.raw_dim().clone();
        Layout::new(dim.clone(), Order::RowMajor, size)?;
        // ndarray tells the order only through an array; this one has no size.
        let probe = Array::<(), D>::uninit(shape);
        let order = order_of(&probe);
        Layout::new(dim, order, size)
    }

    /// Reads a shape and its order from a file.
    pub(crate) fn from_order(shape: &[usize], order: Order, size: usize) -> Result<Self, ShmError> {
        Layout::new(axes(shape)?, order, size)
    }

    /// Refuses a shape without elements.
    pub(crate) fn check_not_empty(&self) -> Result<(), ShmError> {
        if self.len() == 0 {
            return Err(invalid(&self.shape, "it has no elements"));
        }
        Ok(())
    }

    /// Refuses what cannot have a name: no elements, or too many axes.
    pub(crate) fn check_named(&self, most: usize) -> Result<(), ShmError> {
        if self.shape.ndim() > most {
            let reason = format!("at most {most} axes are possible in a named segment");
            return Err(invalid(&self.shape, &reason));
        }
        self.check_not_empty()
    }

    /// Reads a shape and strides, in elements, from a handle.
    pub(crate) fn from_strides(
        shape: &[usize],
        strides: &[isize],
        size: usize,
    ) -> Result<Self, ShmError> {
        let dim = axes(shape)?;
        if strides.len() != shape.len() {
            let asked = format!("{} for shape {shape:?}", shape.len());
            return Err(mismatch(
                "numbers of strides",
                asked,
                format!("{strides:?}"),
            ));
        }
        let mut steps = D::zeros(shape.len());
        for (step, stride) in steps.slice_mut().iter_mut().zip(strides) {
            *step = stride.cast_unsigned();
        }
        Layout::strided(dim, steps, size)
    }

    /// Checks that elements of `size` bytes can lie so.
    pub(crate) fn strided(shape: D, strides: D, size: usize) -> Result<Self, ShmError> {
        check_size(&shape, size)?;
        for order in [Order::RowMajor, Order::ColumnMajor] {
            let same = |(len, steps): (&usize, (&usize, &usize))| *len == 1 || steps.0 == steps.1;
            let steps = contiguous(&shape, order);
            let pairs = steps.slice().iter().zip(strides.slice());
            if shape.size() == 0 || shape.slice().iter().zip(pairs).all(same) {
                return Layout::new(shape, order, size);
            }
        }
        let layout = Layout {
            shape,
            strides,
            order: None,
        };
        match layout.elements().extent() {
            Some(extent) if extent.checked_mul(size as u64).is_some_and(fits) => {}
            _ => {
                return Err(invalid(
                    &layout.shape,
                    &format!(
                        "with strides {:?} its elements of {size} bytes do not fit the address space",
                        layout.signed_strides()
                    ),
                ));
            }
        }
        if layout.elements().are_distinct() {
            return Ok(layout);
        }
        Err(mismatch(
            "strides",
            format!(
                "each index of shape {:?} an element of its own",
                layout.shape()
            ),
            format!("strides {:?}", layout.signed_strides()),
        ))
    }

    /// The same elements in another shape, in the order of memory.
    pub(crate) fn reshape<E: IntoDimension>(
        &self,
        shape: E,
        size: usize,
    ) -> Result<Layout<E::Dim>, ShmError> {
        let shape = shape.into_dimension();
        let Some(order) = self.order else {
            let reason = format!(
                "the elements of the part of shape {:?} are not contiguous (strides {:?}); copy it",
                self.shape(),
                self.signed_strides()
            );
            return Err(invalid(&shape, &reason));
        };
        let layout = Layout::new(shape, order, size)?;
        if layout.len() != self.len() {
            let reason = format!(
                "it has {} elements, the array of shape {:?} has {}",
                layout.len(),
                self.shape(),
                self.len()
            );
            return Err(invalid(&layout.shape, &reason));
        }
        Ok(layout)
    }

    /// The shape in which pairs along the last axis are one element of twice
    /// the size.
    pub(crate) fn pair(mut self, size: usize) -> Result<Self, ShmError> {
        self.check_last("pairs")?;
        let last = self.shape.slice_mut().last_mut().expect("checked above");
        if !last.is_multiple_of(2) {
            let reason = "the last axis has an odd length, so it does not hold pairs of a real \
                          and an imaginary part";
            return Err(invalid(&self.shape, reason));
        }
        *last /= 2;
        if let Some(order) = self.order {
            return Layout::new(self.shape, order, 2 * size);
        }
        let (_, others) = self.strides.slice_mut().split_last_mut().expect("as above");
        for stride in others {
            if !stride.is_multiple_of(2) {
                let reason = "a step of the part along another axis is odd, so pairs do not begin \
                              at the same place in each row";
                return Err(invalid(&self.shape, reason));
            }
            *stride = (stride.cast_signed() / 2).cast_unsigned();
        }
        Layout::strided(self.shape, self.strides, 2 * size)
    }

    /// The opposite of [`pair`](Self::pair).
    pub(crate) fn unpair(mut self, half: usize) -> Result<Self, ShmError> {
        self.check_last("pairs")?;
        let last = self.shape.slice_mut().last_mut().expect("checked above");
        // A layout's bytes fit an `isize`, but not those of axes of length 0.
        *last = last.saturating_mul(2);
        if let Some(order) = self.order {
            return Layout::new(self.shape, order, half);
        }
        let (last, others) = self.strides.slice_mut().split_last_mut().expect("as above");
        *last = 1;
        for stride in others {
            *stride = stride.wrapping_mul(2);
        }
        Layout::strided(self.shape, self.strides, half)
    }

    fn check_last(&self, what: &str) -> Result<(), ShmError> {
        let (Some(&len), Some(&stride)) = (self.shape().last(), self.strides.slice().last()) else {
            let reason = format!("an array without axes has no {what}");
            return Err(invalid(&self.shape, &reason));
        };
        if len > 1 && stride != 1 && self.len() > 0 || self.is_column_major() {
            let reason = format!(
                "its last axis is not contiguous (strides {:?}), so it has no {what} along it; \
                 use a row-major array",
                self.signed_strides()
            );
            return Err(invalid(&self.shape, &reason));
        }
        Ok(())
    }

    pub(crate) fn dim(&self) -> &D {
        &self.shape
    }

    pub(crate) fn shape(&self) -> &[usize] {
        self.shape.slice()
    }

    pub(crate) fn is_column_major(&self) -> bool {
        self.order == Some(Order::ColumnMajor)
    }

    /// Whether the elements are contiguous, in either order.
    pub(crate) fn is_contiguous(&self) -> bool {
        self.order.is_some()
    }

    /// The number of elements.
    pub(crate) fn len(&self) -> usize {
        self.shape.size()
    }

    /// The steps along the axes, in elements, negative ones in two's
    /// complement; all are 0 if there is no element.
    pub(crate) fn strides(&self) -> &D {
        &self.strides
    }

    /// The strides as handles say them.
    pub(crate) fn signed_strides(&self) -> Vec<isize> {
        signed(&self.strides).collect()
    }

    /// Where the elements lie, in elements from that of index 0.
    pub(crate) fn elements(&self) -> Elements {
        Elements::new(0, self.shape(), signed(&self.strides))
    }
}

/// The steps along the axes of contiguous elements.
fn contiguous<D: Dimension>(shape: &D, order: Order) -> D {
    let mut strides = D::zeros(shape.ndim());
    if shape.size() == 0 {
        return strides;
    }
    let mut step = 1;
    let axes = shape.slice().iter().zip(strides.slice_mut());
    let mut place = |(&len, stride): (&usize, &mut usize)| {
        *stride = step;
        step *= len;
    };
    match order {
        Order::RowMajor => axes.rev().for_each(&mut place),
        Order::ColumnMajor => axes.for_each(&mut place),
    }
    strides
}

fn signed<D: Dimension>(strides: &D) -> impl Iterator<Item = isize> + '_ {
    let strides = strides.slice().iter();
    strides.map(|&stride| stride.cast_signed())
}

fn check_size<D: Dimension>(shape: &D, size: usize) -> Result<(), ShmError> {
    if size == 0 {
        return Err(invalid(shape, "elements of 0 bytes cannot be shared"));
    }
    let lengths = shape.slice().iter().filter(|&&len| len > 0);
    let bytes = lengths
        .map(|&len| len as u64)
        .try_fold(size as u64, u64::checked_mul);
    if bytes.is_some_and(fits) {
        return Ok(());
    }
    let reason = format!("its elements of {size} bytes do not fit the address space");
    Err(invalid(shape, &reason))
}

/// Whether a number of bytes can be the length of something in memory.
fn fits(bytes: u64) -> bool {
    isize::try_from(bytes).is_ok()
}

/// A shape that was read, if it has as many axes as `D`.
fn axes<D: Dimension>(shape: &[usize]) -> Result<D, ShmError> {
    let expected = D::NDIM.unwrap_or(shape.len());
    if shape.len() != expected {
        return Err(mismatch(
            "numbers of axes",
            expected.to_string(),
            format!("{} (shape {shape:?})", shape.len()),
        ));
    }
    let mut dim = D::zeros(shape.len());
    dim.slice_mut().copy_from_slice(shape);
    Ok(dim)
}

/// The order in which an array of ndarray lies in memory.
fn order_of<D: Dimension>(array: &Array<MaybeUninit<()>, D>) -> Order {
    if array.is_standard_layout() {
        Order::RowMajor
    } else {
        Order::ColumnMajor
    }
}

fn mismatch(what: &'static str, asked: String, found: String) -> ShmError {
    Kind::Mismatch {
        what,
        of: "array",
        asked,
        found,
    }
    .into()
}

fn invalid<D: Dimension>(shape: &D, reason: &str) -> ShmError {
    Kind::InvalidShape {
        shape: shape.slice().to_vec(),
        reason: reason.to_owned(),
    }
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Ix0, Ix2, Ix3, IxDyn};

    #[test]
    fn builders_give_their_order() {
        let c = Layout::from_builder((3, 4), 8).unwrap();
        let f = Layout::from_builder((3, 4).f(), 8).unwrap();
        assert_eq!(
            (c.signed_strides(), f.signed_strides()),
            (vec![4, 1], vec![1, 3])
        );
        assert!(f.is_column_major() && !c.is_column_major());
    }

    #[test]
    fn a_single_long_axis_is_row_major() {
        let f = Layout::from_builder((1, 18, 1).f(), 8).unwrap();
        assert!(!f.is_column_major());
        assert!(f.pair(8).unwrap_err().to_string().contains("odd"));
    }

    #[test]
    fn strides_of_handles_are_checked() {
        let back = Layout::<Ix3>::from_strides(&[2, 3, 4], &[12, 4, 1], 8).unwrap();
        assert_eq!(back.shape(), [2, 3, 4]);
        let back = Layout::<IxDyn>::from_strides(&[2, 3], &[1, 2], 8).unwrap();
        assert!(back.is_column_major());
        let part = Layout::<Ix2>::from_strides(&[2, 3], &[-3, 1], 8).unwrap();
        assert!(!part.is_contiguous() && part.signed_strides() == [-3, 1]);
        for (shape, strides) in [
            (&[2, 3][..], &[3, 2][..]),
            (&[2, 3], &[3]),
            (&[2, 3], &[0, 0]),
            (&[2], &[1]),
            (&[2, 3], &[5, isize::MIN]),
            (&[2, 3], &[isize::MAX, 1]),
            (&[usize::MAX, 2], &[2, 1]),
            (&[0, usize::MAX, 2], &[0, 0, 0]),
        ] {
            assert!(Layout::<Ix2>::from_strides(shape, strides, 8).is_err());
        }
        assert!(Layout::<Ix0>::from_strides(&[], &[], 8).is_ok());
    }

    #[test]
    fn what_does_not_fit_is_refused_even_beside_a_zero() {
        for shape in [
            vec![usize::MAX],
            vec![1 << 40, 1 << 40],
            vec![0, usize::MAX],
        ] {
            let error = Layout::new(IxDyn(&shape), Order::RowMajor, 8).unwrap_err();
            assert!(error.is_invalid_shape());
            assert!(error.to_string().contains(&format!("{shape:?}")), "{error}");
        }
    }
}
