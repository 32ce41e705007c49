//! The array that everyone may write, as in Python.

use super::owner::Owner;
use super::{Description, Layout, Placed};
use crate::element::Element;
use crate::error::{Kind, ShmError};
use crate::lease::{
    self, AxisChunks, AxisChunksMut, HaloBlocks, Region, Regions, RegionsMut, Tiles, TilesMut,
};
use crate::transfer;
use ndarray::{ArrayView, ArrayViewMut, Axis, Dimension, IntoDimension, ShapeBuilder, SliceArg};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// An array in shared memory without an owner: every process that has it may
/// read and write all of it, as with Python's `RawArray`.
///
/// Nothing keeps tasks apart but the program itself, so looking into it is
/// `unsafe`. Clones are the same memory; it can be an initializer's or a
/// task's argument and a result.
///
/// ```
/// use pool_shm::RawArray;
///
/// let raw = RawArray::<f64, _>::zeros(10)?;
/// // SAFETY: no other process has it, and no other view lives.
/// unsafe { raw.view_mut() }.fill(1.0);
/// // SAFETY: as above.
/// assert_eq!(unsafe { raw.view() }.sum(), 10.0);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
pub struct RawArray<T, D> {
    /// Its memory is always writable.
    placed: Placed<T, D>,
}

impl<T: Element, D: Dimension> RawArray<T, D> {
    /// An array of zeros, as [`SharedArray::zeros`](crate::SharedArray::zeros).
    ///
    /// # Errors
    ///
    /// As for [`SharedArray::zeros`](crate::SharedArray::zeros).
    pub fn zeros(shape: impl ShapeBuilder<Dim = D>) -> Result<Self, ShmError> {
        let layout = Layout::from_builder(shape, size_of::<T>())?;
        let (owner, placed) = Owner::create(layout)?;
        owner.disown();
        Ok(RawArray::from_placed(placed))
    }

    pub(crate) fn from_placed(placed: Placed<T, D>) -> Self {
        RawArray { placed }
    }

    pub(crate) fn into_placed(self) -> Placed<T, D> {
        self.placed
    }

    /// A part of the array, any that ndarray can slice, also backwards: the
    /// same memory, with a shape and strides of its own, as
    /// [`FrozenArray::slice`](crate::FrozenArray::slice).
    ///
    /// # Errors
    ///
    /// `is_invalid_cut` if the slice does not lie in the array.
    pub fn slice<I: SliceArg<D>>(&self, slice: I) -> Result<RawArray<T, I::OutDim>, ShmError> {
        Ok(RawArray::from_placed(self.placed.slice(&slice)?))
    }

    /// Where the element of index 0 lies in this process, valid while a clone
    /// of this array lives here. A whole array is contiguous and aligned to 64
    /// bytes; a part lies as its [`strides`](Self::strides) say.
    #[must_use]
    pub fn as_ptr(&self) -> *mut T {
        self.placed.data().as_ptr()
    }

    /// A view for reading.
    ///
    /// # Safety
    ///
    /// While the view lives, nobody writes the array, in this process or in
    /// another, by a view, a block or a pointer. (To read while others write,
    /// use pointers and atomics.)
    #[must_use]
    pub unsafe fn view(&self) -> ArrayView<'_, T, D> {
        // SAFETY: the caller vouches for it; `self` keeps the mapping.
        unsafe { self.placed.view() }
    }

    /// A view for writing.
    ///
    /// # Safety
    ///
    /// While the view lives, nobody else reads or writes the array, in this
    /// process or in another, by a view, a block or a pointer.
    #[must_use]
    pub unsafe fn view_mut(&self) -> ArrayViewMut<'_, T, D> {
        // SAFETY: the caller vouches for it; `self` keeps the mapping.
        unsafe { self.placed.view_mut() }
    }

    /// Lends the array in blocks along `axis`, for writing.
    ///
    /// # Safety
    ///
    /// While the blocks are lent, nobody reads or writes the array but through
    /// them, in this process or in another.
    pub unsafe fn axis_chunks_mut(&self, axis: Axis, size: usize) -> AxisChunksMut<'_, T, D> {
        AxisChunksMut::new(&self.placed, axis, size)
    }

    /// Lends the array in blocks along `axis`, for reading.
    ///
    /// # Safety
    ///
    /// While the blocks are lent, nobody writes the array, in this process or
    /// in another.
    pub unsafe fn axis_chunks(&self, axis: Axis, size: usize) -> AxisChunks<'_, T, D> {
        AxisChunks::new(&self.placed, axis, size)
    }

    /// Lends the array in tiles, for writing.
    ///
    /// # Safety
    ///
    /// As for [`axis_chunks_mut`](Self::axis_chunks_mut).
    pub unsafe fn tiles_mut(&self, tile: impl IntoDimension<Dim = D>) -> TilesMut<'_, T, D> {
        TilesMut::new(&self.placed, tile)
    }

    /// Lends the array in tiles, for reading.
    ///
    /// # Safety
    ///
    /// As for [`axis_chunks`](Self::axis_chunks).
    pub unsafe fn tiles(&self, tile: impl IntoDimension<Dim = D>) -> Tiles<'_, T, D> {
        Tiles::new(&self.placed, tile)
    }
}

impl<T: Element, D: Dimension> RawArray<T, D> {
    /// Lends the array in blocks of the user's choice, for writing, as
    /// [`SharedArray::regions_mut`](crate::SharedArray::regions_mut).
    ///
    /// # Errors
    ///
    /// As [`SharedArray::regions_mut`](crate::SharedArray::regions_mut).
    ///
    /// # Safety
    ///
    /// As for [`axis_chunks_mut`](Self::axis_chunks_mut).
    pub unsafe fn regions_mut<R: Region>(
        &self,
        regions: impl IntoIterator<Item = R>,
    ) -> Result<RegionsMut<'_, T, D>, ShmError> {
        RegionsMut::new(&self.placed, regions)
    }

    /// Lends the array in blocks of the user's choice, for reading.
    ///
    /// # Errors
    ///
    /// As [`SharedArray::regions`](crate::SharedArray::regions).
    ///
    /// # Safety
    ///
    /// As for [`axis_chunks`](Self::axis_chunks).
    pub unsafe fn regions<R: Region>(
        &self,
        regions: impl IntoIterator<Item = R>,
    ) -> Result<Regions<'_, T, D>, ShmError> {
        Regions::new(&self.placed, regions)
    }

    /// Lends the array in tiles with a rim around each, for reading, as
    /// [`SharedArray::halo_tiles`](crate::SharedArray::halo_tiles).
    ///
    /// # Safety
    ///
    /// As for [`axis_chunks`](Self::axis_chunks).
    pub unsafe fn halo_tiles(
        &self,
        tile: impl IntoDimension<Dim = D>,
        rim: impl IntoDimension<Dim = D>,
    ) -> HaloBlocks<'_, T, D> {
        HaloBlocks::tiles(&self.placed, tile, rim)
    }
}

super::geometry::geometry!(RawArray);

impl<T, D: Clone> Clone for RawArray<T, D> {
    fn clone(&self) -> Self {
        RawArray {
            placed: self.placed.clone(),
        }
    }
}

impl<T: Element, D: Dimension> fmt::Debug for RawArray<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::geometry::debug(f, "RawArray", &self.placed)
    }
}

impl<T: Element, D: Dimension> Serialize for RawArray<T, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        transfer::collect(self.placed.memory().file());
        Description::of(&self.placed).serialize(serializer)
    }
}

impl<'de, T: Element, D: Dimension> Deserialize<'de> for RawArray<T, D> {
    fn deserialize<R: Deserializer<'de>>(deserializer: R) -> Result<Self, R::Error> {
        let description = Description::deserialize(deserializer)?;
        attach(&description).map_err(ShmError::into_serde)
    }
}

fn attach<T: Element, D: Dimension>(description: &Description) -> Result<RawArray<T, D>, ShmError> {
    let placed = description.place(|handle, frozen| {
        if !frozen {
            return lease::attach_any(handle, false);
        }
        let id = handle.id().to_string();
        Err(Kind::Frozen { id }.into())
    })?;
    Ok(RawArray { placed })
}
