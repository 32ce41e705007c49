//! What a task gets of an array.

use super::cut::Part;
use crate::element::Element;
use ndarray::{
    ArrayView, ArrayViewMut, Axis, Dimension, RawArrayViewMut, ShapeBuilder, StrideShape,
};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;
use std::ptr::NonNull;

/// Where a block lies.
#[derive(Clone)]
pub(super) struct Place<T, D> {
    /// The first element; some aligned address if there is none.
    pub(super) data: NonNull<T>,
    pub(super) part: Part<D>,
    /// Steps in elements.
    pub(super) strides: D,
    pub(super) axis: usize,
    pub(super) index: usize,
}

impl<T: Element, D: Dimension> Place<T, D> {
    fn range(&self, axis: usize) -> Range<usize> {
        let start = self.part.start.slice()[axis];
        start..start + self.part.shape.slice()[axis]
    }

    fn raw_view(&self) -> RawArrayViewMut<T, D> {
        let shape = self.part.shape.clone();
        let shape: StrideShape<D> = if shape.size() == 0 {
            // Strides of no elements mean nothing; ndarray knows its own.
            shape.into()
        } else {
            shape.strides(self.strides.clone())
        };
        // SAFETY: whoever made the block has checked that it lies in one
        // mapping; the strides are those of a contiguous array.
        unsafe { RawArrayViewMut::from_shape_ptr(shape, self.data.as_ptr()) }
    }

    fn debug(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        f.debug_struct(name)
            .field("index", &self.index)
            .field("dtype", &T::dtype())
            .field("start", &self.part.start.slice())
            .field("shape", &self.part.shape.slice())
            .finish()
    }
}

macro_rules! block {
    ($(#[$doc:meta])* $block:ident) => {
        $(#[$doc])*
        pub struct $block<'a, T, D> {
            place: Place<T, D>,
            lease: PhantomData<&'a mut [T]>,
        }

        // SAFETY: the block is the right to use its elements, like a slice.
        unsafe impl<T: Element, D: Send> Send for $block<'_, T, D> {}
        // SAFETY: through `&self` elements are only read.
        unsafe impl<T: Element, D: Sync> Sync for $block<'_, T, D> {}

        impl<'a, T: Element, D: Dimension> $block<'a, T, D> {
            /// # Safety
            ///
            /// The elements lie in a mapping that lives during `'a`, and
            /// nobody does to them what the block excludes.
            pub(super) unsafe fn new(place: Place<T, D>) -> Self {
                $block {
                    place,
                    lease: PhantomData,
                }
            }

            /// The number of this block among those of its array, from 0.
            #[must_use]
            pub fn index(&self) -> usize {
                self.place.index
            }

            /// The array's index of the first element along the axis that was
            /// cut; for tiles, along the first axis.
            ///
            /// It is 0 for the one tile of an array without axes.
            #[must_use]
            pub fn start(&self) -> usize {
                self.starts().get(self.place.axis).copied().unwrap_or(0)
            }

            /// The array's index of the first element, along each axis.
            #[must_use]
            pub fn starts(&self) -> &[usize] {
                self.place.part.start.slice()
            }

            /// The array's indices along the axis that was cut; for tiles,
            /// along the first axis.
            ///
            /// It is `0..1` for the one tile of an array without axes.
            #[must_use]
            pub fn range(&self) -> Range<usize> {
                match self.shape().get(self.place.axis) {
                    Some(_) => self.place.range(self.place.axis),
                    None => 0..1,
                }
            }

            /// The array's indices along `axis`.
            ///
            /// # Panics
            ///
            /// If there is no such axis.
            #[must_use]
            pub fn range_along(&self, axis: Axis) -> Range<usize> {
                self.place.range(axis.index())
            }

            /// The number of elements of the block along each axis.
            #[must_use]
            pub fn shape(&self) -> &[usize] {
                self.place.part.shape.slice()
            }

            /// The block for reading, indexed from 0.
            #[must_use]
            pub fn view(&self) -> ArrayView<'_, T, D> {
                // SAFETY: `new`'s caller vouches that nobody else writes, the
                // view borrows `self`, and any bits are a `T`.
                unsafe { self.place.raw_view().deref_into_view() }
            }
        }

        impl<T: Element, D: Dimension> fmt::Debug for $block<'_, T, D> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.place.debug(f, stringify!($block))
            }
        }
    };
}

block! {
    /// A block of an array, lent to a task for writing: nobody else reads or
    /// writes its elements while it lives.
    ///
    /// ```
    /// use ndarray::Ix2;
    /// use pool_shm::BlockMut;
    ///
    /// fn populate(mut block: BlockMut<'_, f64, Ix2>) -> usize {
    ///     let offset = block.start();
    ///     block.view_mut().fill(offset as f64);
    ///     offset
    /// }
    /// ```
    ///
    /// A view of it cannot be kept:
    ///
    /// ```compile_fail,E0515
    /// # use {ndarray::{ArrayViewMut2, Ix2}, pool_shm::BlockMut};
    /// fn keep<'a>(mut block: BlockMut<'a, f64, Ix2>) -> ArrayViewMut2<'a, f64> {
    ///     block.view_mut()
    /// }
    /// ```
    BlockMut
}

block! {
    /// A block of an array, lent to a task for reading: nobody writes its
    /// elements while it lives.
    ///
    /// ```compile_fail,E0599
    /// fn write(mut block: pool_shm::Block<'_, f64, ndarray::Ix1>) {
    ///     block.view_mut().fill(1.0);
    /// }
    /// ```
    Block
}

impl<T: Element, D: Dimension> BlockMut<'_, T, D> {
    /// The block for writing, indexed from 0.
    #[must_use]
    pub fn view_mut(&mut self) -> ArrayViewMut<'_, T, D> {
        // SAFETY: as in `view`, and nobody else reads either.
        unsafe { self.place.raw_view().deref_into_view_mut() }
    }
}
