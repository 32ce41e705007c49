//! The array with one owner, who may lend blocks of it.

use super::freeze::{self, FreezeError};
use super::layout::Order;
use super::owner::{Owned, Owner};
use super::small;
use super::{ArrayHandle, ArrayPart, ArrayPartMut, FrozenArray, Layout, Placed, RawArray};
use crate::element::{Element, Real};
use crate::error::ShmError;
use ndarray::{
    ArrayRef, ArrayView, ArrayViewMut, Axis, Dimension, IntoDimension, ShapeBuilder, SliceArg,
};
use num_complex::Complex;
use std::fmt;

/// An array in shared memory with one owner: the only one who reads and
/// writes it, except while blocks of it are lent to tasks.
///
/// It is row-major or (after `.f()`) column-major, and aligned to 64 bytes.
/// There may be any number of axes and axes of length zero. Dropping it gives
/// the memory back.
///
/// It lies in a segment of its own, or, up to 64 KiB of elements, in one with
/// others of about its size: so a process may have tens of thousands of small
/// arrays with a few dozen descriptors and maps. A worker that maps one of them
/// maps its neighbours too. From one huge page on (2 MiB on most machines) it
/// lies in huge pages, as far as the kernel can give them (Linux 6.1), which are
/// written, unmapped and frozen many times faster.
///
/// * [`axis_chunks_mut`](Self::axis_chunks_mut), [`tiles_mut`](Self::tiles_mut)
///   and [`regions_mut`](Self::regions_mut) lend disjoint blocks for writing,
///   [`axis_chunks`](Self::axis_chunks), [`tiles`](Self::tiles) and
///   [`regions`](Self::regions) for reading, [`halo_tiles`](Self::halo_tiles)
///   and [`halo_axis_chunks`](Self::halo_axis_chunks) for reading with a rim
///   around each block.
/// * [`slice_mut`](Self::slice_mut), [`split_at_mut`](Self::split_at_mut) and
///   [`slice`](Self::slice) give parts that can be lent like the array.
/// * [`freeze`](Self::freeze) makes it readable by everyone and writable by
///   nobody.
/// * [`into_handle`](Self::into_handle) moves it to another process.
/// * [`recycle`](Self::recycle) makes the next array in its memory.
///
/// ```
/// use ndarray::{array, ShapeBuilder};
/// use pool_shm::SharedArray;
///
/// let mut matrix = SharedArray::<f64, _>::zeros((2, 3))?;
/// matrix.view_mut()[[1, 2]] = 5.0;
/// assert_eq!(matrix.view(), array![[0.0, 0.0, 0.0], [0.0, 0.0, 5.0]]);
///
/// let columns = SharedArray::from_shape_fn((2, 2).f(), |(i, j)| 10 * i + j)?;
/// assert_eq!(columns.view().t(), array![[0, 10], [1, 11]]);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
///
/// There is one owner, so it can be neither cloned nor cut twice at once:
///
/// ```compile_fail,E0499
/// # use {ndarray::Axis, pool_shm::SharedArray};
/// let mut a = SharedArray::<f64, _>::zeros(10).unwrap();
/// let (x, y) = (a.axis_chunks_mut(Axis(0), 2), a.axis_chunks_mut(Axis(0), 5));
/// drop((x, y));
/// ```
pub struct SharedArray<T, D> {
    // The mapping that `placed` uses is ended by dropping both.
    placed: Placed<T, D>,
    owner: Owned,
}

/// An array in a segment of its own.
type Alone<T, D> = (Owner, Placed<T, D>);

impl<T: Element, D: Dimension> SharedArray<T, D> {
    /// An array of zeros. The shape is as in ndarray: `10`, `(2000, 10)`,
    /// `[2, 3, 4]`, `IxDyn(&lengths)`, and column-major with `.f()`.
    ///
    /// All of the memory is reserved. Huge pages are made and cleared at once,
    /// small ones when they are first touched.
    ///
    /// # Errors
    ///
    /// `is_out_of_memory`; `is_invalid_shape` if it exceeds the address space
    /// or if elements have no size; `is_out_of_descriptors`.
    pub fn zeros(shape: impl ShapeBuilder<Dim = D>) -> Result<Self, ShmError> {
        Self::new(Layout::from_builder(shape, size_of::<T>())?)
    }

    /// An array of copies of `value`.
    ///
    /// # Errors
    ///
    /// As for [`zeros`](Self::zeros).
    pub fn from_elem(shape: impl ShapeBuilder<Dim = D>, value: T) -> Result<Self, ShmError> {
        let mut array = Self::zeros(shape)?;
        array.view_mut().fill(value);
        Ok(array)
    }

    /// An array whose elements are computed from their indices.
    ///
    /// # Errors
    ///
    /// As for [`zeros`](Self::zeros).
    pub fn from_shape_fn(
        shape: impl ShapeBuilder<Dim = D>,
        mut f: impl FnMut(D::Pattern) -> T,
    ) -> Result<Self, ShmError> {
        let mut array = Self::zeros(shape)?;
        for (index, element) in array.view_mut().indexed_iter_mut() {
            *element = f(index);
        }
        Ok(array)
    }

    /// A copy of any array or view. It is column-major if the source is, and
    /// row-major otherwise; contiguous sources are copied in one piece.
    ///
    /// ```
    /// let source = ndarray::array![[1, 2], [3, 4]];
    /// let shared = pool_shm::SharedArray::from_array(&source.slice(ndarray::s![.., 1..]))?;
    /// assert_eq!(shared.view(), ndarray::array![[2], [4]]);
    /// # Ok::<(), pool_shm::ShmError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`zeros`](Self::zeros).
    pub fn from_array(source: &ArrayRef<T, D>) -> Result<Self, ShmError> {
        let order = contiguous_order(source);
        let layout = Layout::new(
            source.raw_dim(),
            order.unwrap_or(Order::RowMajor),
            size_of::<T>(),
        )?;
        let mut array = Self::new(layout)?;
        match source.as_slice_memory_order() {
            Some(elements) if order.is_some() => array.copy_from(elements)?,
            _ => array.view_mut().assign(source),
        }
        Ok(array)
    }

    /// Copies all elements, given in the order of memory, into a new array: what
    /// lies in huge pages through the mapping, the rest through the kernel, which
    /// makes and fills a small page at once.
    fn copy_from(&mut self, elements: &[T]) -> Result<(), ShmError> {
        let huge = self.placed.gathered().min(elements.len());
        let (mapped, rest) = elements.split_at(huge);
        let mut view = self.view_mut();
        let own = view.as_slice_memory_order_mut();
        own.expect("a whole array is contiguous")[..huge].copy_from_slice(mapped);
        self.placed.write(huge, rest)
    }

    fn new(layout: Layout<D>) -> Result<Self, ShmError> {
        let (owner, placed) = Owned::create(layout)?;
        Ok(SharedArray { placed, owner })
    }

    /// The parts of an array whose ownership was just acquired.
    pub(super) fn from_parts(owner: Owner, placed: Placed<T, D>) -> Self {
        let owner = Owned::Segment(owner);
        SharedArray { placed, owner }
    }

    /// A small array among others of its kind, if that can be had; other
    /// arrays as they are.
    pub(super) fn gathered(self) -> Self {
        let layout = self.placed.layout();
        if layout.len() * size_of::<T>() > small::LARGEST {
            return self;
        }
        match Self::new(layout.clone()) {
            Ok(mut array) => {
                array.view_mut().assign(&self.view());
                array
            }
            Err(_) => self,
        }
    }

    /// The array in a segment of its own: itself, or a copy if it is small and
    /// lies in one with others. It is given back if that fails.
    fn into_segment(self) -> Result<Alone<T, D>, Box<(Self, ShmError)>> {
        if let Owned::Segment(owner) = self.owner {
            return Ok((owner, self.placed));
        }
        self.copied().map_err(|error| Box::new((self, error)))
    }

    fn copied(&self) -> Result<Alone<T, D>, ShmError> {
        let (owner, placed) = Owner::create(self.placed.layout().clone())?;
        let view = self.view();
        let elements = view.as_slice_memory_order();
        placed.write(0, elements.expect("a whole array is contiguous"))?;
        Ok((owner, placed))
    }

    /// A view for reading.
    #[must_use]
    pub fn view(&self) -> ArrayView<'_, T, D> {
        // SAFETY: this is the only owner, and `self` is borrowed as long as
        // the view lives: nothing is lent for writing meanwhile, and the
        // mapping stays.
        unsafe { self.placed.view() }
    }

    /// A view for writing.
    #[must_use]
    pub fn view_mut(&mut self) -> ArrayViewMut<'_, T, D> {
        // SAFETY: this is the only owner, and `self` is mutably borrowed as
        // long as the view lives: nothing is lent meanwhile.
        unsafe { self.placed.view_mut() }
    }

    /// The same elements in another shape, without a copy, in the order of
    /// memory: a row-major array stays row-major, a column-major one stays
    /// column-major and is read column by column.
    ///
    /// # Errors
    ///
    /// `is_invalid_shape` if the number of elements differs.
    pub fn into_shape<E: IntoDimension>(
        self,
        shape: E,
    ) -> Result<SharedArray<T, E::Dim>, ShmError> {
        let layout = self.placed.layout().reshape(shape, size_of::<T>())?;
        self.recast(layout)
    }

    /// A new array in the memory of this one. Its elements are whatever bits
    /// stand there: write each before you read it.
    ///
    /// It is for the next array of about the same size, as of a step of a
    /// computation. Its pages are there, and workers to whom blocks of this one
    /// were lent have them mapped: blocks are written several times as fast as
    /// in an array of [`zeros`](Self::zeros), whose pages have to be made and
    /// cleared. (Clearing used ones takes as long, so dropped arrays are not
    /// kept for `zeros`.)
    ///
    /// The memory is taken over if the new array needs no more than there is and
    /// at most an eighth would be in vain; otherwise, and for small arrays
    /// (up to 64 KiB), this one is dropped and the new one is as by `zeros`.
    ///
    /// ```
    /// use pool_shm::SharedArray;
    ///
    /// let first = SharedArray::from_elem((1000, 100), 1.5)?;
    /// let mut next = first.recycle::<u64, _>(100_000)?;
    /// next.view_mut().fill(7);
    /// assert_eq!(next.view().sum(), 700_000);
    /// # Ok::<(), pool_shm::ShmError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`zeros`](Self::zeros); this array is dropped then.
    pub fn recycle<U: Element, E: Dimension>(
        self,
        shape: impl ShapeBuilder<Dim = E>,
    ) -> Result<SharedArray<U, E>, ShmError> {
        let layout = Layout::from_builder(shape, size_of::<U>())?;
        match self.owner {
            Owned::Segment(owner) if owner.suits(layout.len() * size_of::<U>()) => {
                let placed = owner.reuse(layout)?;
                Ok(SharedArray::from_parts(owner, placed))
            }
            owner => {
                // Its memory may be needed for the new one.
                drop((owner, self.placed));
                SharedArray::new(layout)
            }
        }
    }

    fn recast<U: Element, E: Dimension>(
        self,
        layout: Layout<E>,
    ) -> Result<SharedArray<U, E>, ShmError> {
        Ok(SharedArray {
            placed: self.placed.recast(layout)?,
            owner: self.owner,
        })
    }

    /// A part of the array, to be looked at or lent for reading.
    ///
    /// # Errors
    ///
    /// `is_invalid_cut` if the slice does not lie in the array.
    pub fn slice<I: SliceArg<D>>(&self, slice: I) -> Result<ArrayPart<'_, T, I::OutDim>, ShmError> {
        Ok(ArrayPart::new(self.placed.slice(&slice)?))
    }

    /// A part of the array, to be written or lent.
    ///
    /// # Errors
    ///
    /// `is_invalid_cut` if the slice does not lie in the array.
    pub fn slice_mut<I: SliceArg<D>>(
        &mut self,
        slice: I,
    ) -> Result<ArrayPartMut<'_, T, I::OutDim>, ShmError> {
        Ok(ArrayPartMut::new(self.placed.slice(&slice)?))
    }

    /// The parts before and from `index` on along `axis`, each to be written or
    /// lent on its own: in one call, or by two threads in two calls at once.
    ///
    /// # Errors
    ///
    /// `is_invalid_cut` if there is no such axis or it is shorter.
    pub fn split_at_mut(
        &mut self,
        axis: Axis,
        index: usize,
    ) -> Result<[ArrayPartMut<'_, T, D>; 2], ShmError> {
        let parts = self.placed.split(axis, index)?;
        Ok(parts.map(ArrayPartMut::new))
    }

    /// Seals the array against writing, for everybody and for ever, without a
    /// copy (small arrays, up to 64 KiB, are copied into a segment of their
    /// own: the kernel seals whole segments. Thousands of small arrays are
    /// better frozen together, by [`FrozenArray::from_arrays`]).
    ///
    /// Whoever has had blocks of it is asked to unmap it first; this returns
    /// when they have.
    ///
    /// # Errors
    ///
    /// `is_busy` if a process still has it mapped for writing: the error names
    /// it and holds the array ([`FreezeError::into_array`]); for a small array
    /// also as for [`zeros`](Self::zeros).
    pub fn freeze(self) -> Result<FrozenArray<T, D>, FreezeError<T, D>> {
        match self.into_segment() {
            Ok((owner, placed)) => freeze::freeze(owner, placed),
            Err(failed) => Err(FreezeError::kept(failed.0, failed.1)),
        }
    }

    /// Gives the array away, to be claimed by whoever has the handle.
    ///
    /// Whoever has had blocks of it is asked to unmap it first. A small array
    /// is copied into a segment of its own.
    ///
    /// # Errors
    ///
    /// A failure of the operating system; for a small array also as for
    /// [`zeros`](Self::zeros).
    pub fn into_handle(self) -> Result<ArrayHandle<T, D>, ShmError> {
        let (owner, placed) = self.into_segment().map_err(|failed| failed.1)?;
        ArrayHandle::new(owner, placed)
    }

    /// Gives up exclusive use: anyone may then read and write, as in Python.
    /// A small array is copied into a segment of its own.
    ///
    /// # Errors
    ///
    /// For a small array, as for [`zeros`](Self::zeros).
    pub fn into_raw(self) -> Result<RawArray<T, D>, ShmError> {
        let (owner, placed) = self.into_segment().map_err(|failed| failed.1)?;
        owner.disown();
        Ok(RawArray::from_placed(placed))
    }
}

impl<T: Real, D: Dimension> SharedArray<T, D>
where
    Complex<T>: Element,
{
    /// Pairs along the last axis as complex numbers (real part first), without
    /// a copy. The last axis becomes half as long.
    ///
    /// ```
    /// let z = pool_shm::SharedArray::<f64, _>::zeros(18)?.into_complex()?.into_shape((3, 3))?;
    /// assert_eq!(z.shape(), [3, 3]);
    /// # Ok::<(), pool_shm::ShmError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `is_invalid_shape` if there is no axis, if the last one is odd, or if
    /// it is not contiguous (column-major).
    pub fn into_complex(self) -> Result<SharedArray<Complex<T>, D>, ShmError> {
        let layout = self.placed.layout().clone().pair(size_of::<T>())?;
        self.recast(layout)
    }
}

impl<T: Real, D: Dimension> SharedArray<Complex<T>, D>
where
    Complex<T>: Element,
{
    /// Complex numbers as pairs of real ones, without a copy. The last axis
    /// becomes twice as long.
    ///
    /// # Errors
    ///
    /// `is_invalid_shape` if there is no axis, or if the last one is not
    /// contiguous (column-major).
    pub fn into_real(self) -> Result<SharedArray<T, D>, ShmError> {
        let layout = self.placed.layout().clone().unpair(size_of::<T>())?;
        self.recast(layout)
    }
}

/// The order of a source whose elements stand in memory as they would here.
fn contiguous_order<T, D: Dimension>(source: &ArrayRef<T, D>) -> Option<Order> {
    if source.is_standard_layout() {
        Some(Order::RowMajor)
    } else if source.t().is_standard_layout() {
        Some(Order::ColumnMajor)
    } else {
        None
    }
}

super::geometry::geometry!(SharedArray);
super::lend::lend!(SharedArray);
super::lend::lend_mut!(SharedArray);

impl<T: Element, D: Dimension> fmt::Debug for SharedArray<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::geometry::debug(f, "SharedArray", &self.placed)
    }
}
