//! Shapes and how their elements lie in memory.

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

/// A shape of contiguous elements.
///
/// Invariants: the number of bytes fits `isize`, not counting axes of length
/// zero; arrays with at most one axis longer than 1 are row-major.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout<D> {
    shape: D,
    order: Order,
}

impl<D: Dimension> Layout<D> {
    /// Checks that elements of `size` bytes can have this shape.
    pub(crate) fn new(shape: D, order: Order, size: usize) -> Result<Self, ShmError> {
        if size == 0 {
            return Err(invalid(&shape, "elements of 0 bytes cannot be shared"));
        }
        let fits = shape
            .slice()
            .iter()
            .filter(|&&len| len > 0)
            .try_fold(size, |bytes, &len| bytes.checked_mul(len))
            .is_some_and(|bytes| isize::try_from(bytes).is_ok());
        if !fits {
            let reason = format!("its elements of {size} bytes do not fit the address space");
            return Err(invalid(&shape, &reason));
        }
        let long = shape.slice().iter().filter(|&&len| len > 1).count();
        let order = if long > 1 { order } else { Order::RowMajor };
        Ok(Layout { shape, order })
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

    /// Reads a shape and strides, in elements, from a handle.
    pub(crate) fn from_strides(
        shape: &[usize],
        strides: &[isize],
        size: usize,
    ) -> Result<Self, ShmError> {
        let expected = D::NDIM.unwrap_or(shape.len());
        if shape.len() != expected {
            return Err(Kind::Mismatch {
                what: "numbers of axes",
                of: "array",
                asked: expected.to_string(),
                found: format!("{} (shape {shape:?})", shape.len()),
            }
            .into());
        }
        let mut dim = D::zeros(shape.len());
        dim.slice_mut().copy_from_slice(shape);
        for order in [Order::RowMajor, Order::ColumnMajor] {
            let layout = Layout::new(dim.clone(), order, size)?;
            if layout.signed_strides() == strides {
                return Ok(layout);
            }
        }
        Err(Kind::Mismatch {
            what: "strides",
            of: "array",
            asked: format!("contiguous elements of shape {shape:?}"),
            found: format!("strides {strides:?}"),
        }
        .into())
    }

    /// The same elements in another shape, in the order of memory.
    pub(crate) fn reshape<E: IntoDimension>(
        &self,
        shape: E,
        size: usize,
    ) -> Result<Layout<E::Dim>, ShmError> {
        let shape = shape.into_dimension();
        let layout = Layout::new(shape, self.order, size)?;
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
    pub(crate) fn pair(mut self) -> Result<Self, ShmError> {
        self.check_last("pairs")?;
        let last = self.shape.slice_mut().last_mut().expect("checked above");
        if !last.is_multiple_of(2) {
            let reason = "the last axis has an odd length, so it does not hold pairs of a real \
                          and an imaginary part";
            return Err(invalid(&self.shape, reason));
        }
        *last /= 2;
        Ok(self)
    }

    /// The opposite of [`pair`](Self::pair).
    pub(crate) fn unpair(mut self, half: usize) -> Result<Self, ShmError> {
        self.check_last("pairs")?;
        let last = self.shape.slice_mut().last_mut().expect("checked above");
        // A layout's bytes fit an `isize`, but not those of axes of length 0.
        *last = last.saturating_mul(2);
        Layout::new(self.shape, self.order, half)
    }

    fn check_last(&self, what: &str) -> Result<(), ShmError> {
        if self.shape.ndim() == 0 {
            let reason = format!("an array without axes has no {what}");
            return Err(invalid(&self.shape, &reason));
        }
        if self.order != Order::RowMajor {
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
        self.order == Order::ColumnMajor
    }

    /// The number of elements.
    pub(crate) fn len(&self) -> usize {
        self.shape.size()
    }

    /// The steps along the axes, in elements. None is negative; all are 0 if
    /// there is no element.
    pub(crate) fn strides(&self) -> D {
        let mut strides = D::zeros(self.shape.ndim());
        if self.len() == 0 {
            return strides;
        }
        let mut step = 1;
        let axes = self.shape.slice().iter().zip(strides.slice_mut());
        let mut place = |(&len, stride): (&usize, &mut usize)| {
            *stride = step;
            step *= len;
        };
        match self.order {
            Order::RowMajor => axes.rev().for_each(&mut place),
            Order::ColumnMajor => axes.for_each(&mut place),
        }
        strides
    }

    /// The strides as handles say them.
    pub(crate) fn signed_strides(&self) -> Vec<isize> {
        let strides = self.strides();
        let signed = strides.slice().iter().map(|&stride| stride.cast_signed());
        signed.collect()
    }
}

/// The order in which an array of ndarray lies in memory.
fn order_of<D: Dimension>(array: &Array<MaybeUninit<()>, D>) -> Order {
    if array.is_standard_layout() {
        Order::RowMajor
    } else {
        Order::ColumnMajor
    }
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
        assert!(f.pair().unwrap_err().to_string().contains("odd"));
    }

    #[test]
    fn strides_of_handles_are_checked() {
        let back = Layout::<Ix3>::from_strides(&[2, 3, 4], &[12, 4, 1], 8).unwrap();
        assert_eq!(back.shape(), [2, 3, 4]);
        let back = Layout::<IxDyn>::from_strides(&[2, 3], &[1, 2], 8).unwrap();
        assert!(back.is_column_major());
        for (shape, strides) in [
            (&[2, 3][..], &[3, 2][..]),
            (&[2, 3], &[-3, 1]),
            (&[2, 3], &[3]),
            (&[2, 3], &[0, 0]),
            (&[2], &[1]),
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
