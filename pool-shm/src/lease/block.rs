//! What a task gets of an array.

use super::cut::Part;
use crate::array::raw_view;
use crate::element::Element;
use ndarray::{ArrayView, ArrayViewMut, Axis, Dimension, RawArrayViewMut};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::ptr::NonNull;

/// Where a block lies.
#[derive(Clone)]
pub(super) struct Place<T, D> {
    /// The first element; some aligned address if there is none.
    pub(super) data: NonNull<T>,
    pub(super) part: Part<D>,
    /// Steps in elements, negative ones in two's complement.
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
        raw_view(self.data, &self.part.shape, &self.strides)
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

            /// The array's index of the first element (or the part's, if a part
            /// of an array is lent) along the axis that was
            /// cut; for tiles and regions, along the first axis.
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

            /// The array's indices along the axis that was cut; for tiles and
            /// regions, along the first axis.
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

/// A block of an array and what lies around it, lent to a task for reading:
/// what [`SharedArray::halo_tiles`](crate::SharedArray::halo_tiles) and its
/// like give.
///
/// It derefs to the [`Block`] itself, whose [`starts`](Block::starts),
/// [`shape`](Block::shape) and [`view`](Block::view) are those of the same cut
/// without a rim. [`halo_view`](Self::halo_view) shows more of the array: the
/// block and its rim, which is narrower where the array ends.
///
/// ```
/// use ndarray::{Axis, Ix1, s};
/// use pool_shm::{BlockMut, HaloBlock};
///
/// /// Each element becomes the sum of its neighbours; there are none beyond
/// /// the ends.
/// fn step((mut next, now): (BlockMut<'_, f64, Ix1>, HaloBlock<'_, f64, Ix1>)) {
///     let around = now.halo_view();
///     let begin = now.rim_before(Axis(0));
///     for (i, next) in next.view_mut().iter_mut().enumerate() {
///         let left = (begin + i).checked_sub(1).map_or(0.0, |left| around[left]);
///         let right = around.get(begin + i + 1).copied().unwrap_or(0.0);
///         *next = left + right;
///     }
/// }
/// ```
pub struct HaloBlock<'a, T, D> {
    block: Block<'a, T, D>,
    around: Place<T, D>,
}

// SAFETY: it is the right to read elements, like a slice.
unsafe impl<T: Element, D: Send> Send for HaloBlock<'_, T, D> {}
// SAFETY: as above.
unsafe impl<T: Element, D: Sync> Sync for HaloBlock<'_, T, D> {}

impl<T: Element, D: Dimension> HaloBlock<'_, T, D> {
    /// # Safety
    ///
    /// As for [`Block::new`], for the elements of `around`, which hold those
    /// of `block`.
    pub(super) unsafe fn new(block: Place<T, D>, around: Place<T, D>) -> Self {
        HaloBlock {
            // SAFETY: the caller vouches for it.
            block: unsafe { Block::new(block) },
            around,
        }
    }

    /// The block and its rim, indexed from 0: element `[0, …]` is
    /// [`rim_before`](Self::rim_before) elements before the block along each
    /// axis.
    #[must_use]
    pub fn halo_view(&self) -> ArrayView<'_, T, D> {
        // SAFETY: `new`'s caller vouches that nobody writes, the view borrows
        // `self`, and any bits are a `T`.
        unsafe { self.around.raw_view().deref_into_view() }
    }

    /// The array's index of the first element of the rim, along each axis.
    #[must_use]
    pub fn halo_starts(&self) -> &[usize] {
        self.around.part.start.slice()
    }

    /// How many elements of the rim lie before the block along `axis`: as many
    /// as asked for, or what the array has.
    ///
    /// # Panics
    ///
    /// If there is no such axis.
    #[must_use]
    pub fn rim_before(&self, axis: Axis) -> usize {
        self.block.range_along(axis).start - self.around.range(axis.index()).start
    }

    /// How many elements of the rim lie behind the block along `axis`.
    ///
    /// # Panics
    ///
    /// If there is no such axis.
    #[must_use]
    pub fn rim_after(&self, axis: Axis) -> usize {
        self.around.range(axis.index()).end - self.block.range_along(axis).end
    }
}

impl<'a, T, D> Deref for HaloBlock<'a, T, D> {
    type Target = Block<'a, T, D>;

    fn deref(&self) -> &Block<'a, T, D> {
        &self.block
    }
}

impl<T: Element, D: Dimension> fmt::Debug for HaloBlock<'_, T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HaloBlock")
            .field("block", &self.block)
            .field("halo_starts", &self.halo_starts())
            .field("halo_shape", &self.around.part.shape.slice())
            .finish()
    }
}
