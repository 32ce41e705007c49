//! Parts of an array that are borrowed from its owner.

use super::Placed;
use crate::element::Element;
use crate::error::ShmError;
use ndarray::{ArrayView, ArrayViewMut, Axis, Dimension, SliceArg};
use std::fmt;
use std::marker::PhantomData;

/// A part of a [`SharedArray`](crate::SharedArray), borrowed for reading: see
/// [`SharedArray::slice`](crate::SharedArray::slice). It can be looked at and
/// lent, like the array; indices count from the part's begin.
pub struct ArrayPart<'a, T, D> {
    placed: Placed<T, D>,
    array: PhantomData<&'a [T]>,
}

/// A part of a [`SharedArray`](crate::SharedArray), borrowed for writing: see
/// [`SharedArray::slice_mut`](crate::SharedArray::slice_mut) and
/// [`SharedArray::split_at_mut`](crate::SharedArray::split_at_mut). It can be
/// looked at, written and lent, like the array; indices count from the part's
/// begin.
///
/// ```
/// use ndarray::{Axis, s};
/// use pool_shm::SharedArray;
///
/// let mut matrix = SharedArray::<f64, _>::zeros((4, 6))?;
/// let [mut left, mut right] = matrix.split_at_mut(Axis(1), 2)?;
/// left.view_mut().fill(1.0);
/// let lent = (left.axis_chunks_mut(Axis(0), 1), right.axis_chunks_mut(Axis(0), 1));
/// drop(lent); // normally the argument of `map_blocks`: a row of each
/// matrix.slice_mut(s![..;2, 3])?.view_mut().fill(5.0);
/// assert_eq!(matrix.view().row(2), ndarray::array![1.0, 1.0, 0.0, 5.0, 0.0, 0.0]);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
pub struct ArrayPartMut<'a, T, D> {
    placed: Placed<T, D>,
    array: PhantomData<&'a mut [T]>,
}

impl<'a, T: Element, D: Dimension> ArrayPart<'a, T, D> {
    /// `placed` is a part of an array that `'a` borrows.
    pub(super) fn new(placed: Placed<T, D>) -> Self {
        ArrayPart {
            placed,
            array: PhantomData,
        }
    }

    /// A view for reading.
    #[must_use]
    pub fn view(&self) -> ArrayView<'_, T, D> {
        // SAFETY: the array is borrowed from its only owner during `'a`, so
        // nobody writes it, and the view borrows `self`, which keeps it mapped.
        unsafe { self.placed.view() }
    }

    /// A part of this part.
    ///
    /// # Errors
    ///
    /// `is_invalid_cut` if the slice does not lie in it.
    pub fn slice<I: SliceArg<D>>(&self, slice: I) -> Result<ArrayPart<'a, T, I::OutDim>, ShmError> {
        Ok(ArrayPart::new(self.placed.slice(&slice)?))
    }
}

impl<'a, T: Element, D: Dimension> ArrayPartMut<'a, T, D> {
    /// `placed` is a part of an array that `'a` borrows for this value alone.
    pub(super) fn new(placed: Placed<T, D>) -> Self {
        ArrayPartMut {
            placed,
            array: PhantomData,
        }
    }

    /// A view for reading.
    #[must_use]
    pub fn view(&self) -> ArrayView<'_, T, D> {
        // SAFETY: these elements are borrowed from their only owner during
        // `'a` by this value alone, nothing of it is lent for writing while
        // `self` is borrowed, and the view borrows `self`, which keeps it
        // mapped.
        unsafe { self.placed.view() }
    }

    /// A view for writing.
    #[must_use]
    pub fn view_mut(&mut self) -> ArrayViewMut<'_, T, D> {
        // SAFETY: as in `view`, and `self` is mutably borrowed, so nothing of
        // it is lent at all.
        unsafe { self.placed.view_mut() }
    }

    /// A part of this part.
    ///
    /// # Errors
    ///
    /// `is_invalid_cut` if the slice does not lie in it.
    pub fn slice_mut<I: SliceArg<D>>(
        &mut self,
        slice: I,
    ) -> Result<ArrayPartMut<'_, T, I::OutDim>, ShmError> {
        Ok(ArrayPartMut::new(self.placed.slice(&slice)?))
    }

    /// The parts before and from `index` on along `axis`.
    ///
    /// # Errors
    ///
    /// `is_invalid_cut` if there is no such axis or it is shorter.
    pub fn split_at(self, axis: Axis, index: usize) -> Result<[Self; 2], ShmError> {
        let parts = self.placed.split(axis, index)?;
        Ok(parts.map(ArrayPartMut::new))
    }
}

super::geometry::geometry!(ArrayPart<'_>);
super::geometry::geometry!(ArrayPartMut<'_>);
super::lend::lend!(ArrayPart<'_>);
super::lend::lend!(ArrayPartMut<'_>);
super::lend::lend_mut!(ArrayPartMut<'_>);

impl<T: Element, D: Dimension> fmt::Debug for ArrayPart<'_, T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::geometry::debug(f, "ArrayPart", &self.placed)
    }
}

impl<T: Element, D: Dimension> fmt::Debug for ArrayPartMut<'_, T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::geometry::debug(f, "ArrayPartMut", &self.placed)
    }
}
