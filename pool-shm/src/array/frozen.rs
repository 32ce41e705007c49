//! The array that nobody can write any more.

use super::{Description, Layout, Placed, PrivateArray};
use crate::element::{Element, Real};
use crate::error::{Kind, ShmError};
use crate::lease;
use crate::transfer;
use ndarray::{ArrayView, Dimension, IntoDimension, SliceArg};
use num_complex::Complex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A read-only array in shared memory, made by
/// [`SharedArray::freeze`](crate::SharedArray::freeze).
///
/// The kernel refuses every write, by any process and any path. Clones are
/// the same memory. It can be an initializer's or a task's argument and a
/// result: serialising it sends a few numbers, deserialising maps the memory
/// and checks that it is what the numbers say and that it is sealed.
///
/// ```
/// use pool_shm::{FrozenArray, SharedArray};
///
/// let frozen = SharedArray::from_elem(1000, 2.0)?.freeze()?;
/// let bytes = postcard::to_allocvec(&frozen)?;
/// let again: FrozenArray<f64, ndarray::Ix1> = postcard::from_bytes(&bytes)?;
/// assert_eq!(again.view().sum(), 2000.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// ```compile_fail,E0599
/// let frozen = pool_shm::SharedArray::<f64, _>::zeros(10).unwrap().freeze().unwrap();
/// frozen.view_mut().fill(1.0);
/// ```
pub struct FrozenArray<T, D> {
    /// Its memory is always frozen.
    placed: Placed<T, D>,
}

impl<T: Element, D: Dimension> FrozenArray<T, D> {
    pub(super) fn from_placed(placed: Placed<T, D>) -> Self {
        FrozenArray { placed }
    }

    /// A view for reading.
    #[must_use]
    pub fn view(&self) -> ArrayView<'_, T, D> {
        // SAFETY: the memory is sealed against writing, and the mapping lives
        // as long as `self`, which the view borrows.
        unsafe { self.placed.view() }
    }

    /// The same elements in another shape, in the order of memory, as
    /// [`SharedArray::into_shape`](crate::SharedArray::into_shape).
    ///
    /// # Errors
    ///
    /// `is_invalid_shape` if the number of elements differs, or if this is a
    /// part whose elements are not contiguous.
    pub fn into_shape<E: IntoDimension>(
        self,
        shape: E,
    ) -> Result<FrozenArray<T, E::Dim>, ShmError> {
        let layout = self.placed.layout().reshape(shape, size_of::<T>())?;
        self.recast(layout)
    }

    fn recast<U: Element, E: Dimension>(
        self,
        layout: Layout<E>,
    ) -> Result<FrozenArray<U, E>, ShmError> {
        Ok(FrozenArray {
            placed: self.placed.recast(layout)?,
        })
    }

    /// A part of the array, any that ndarray can slice, also backwards: the
    /// same memory, with a shape and strides of its own. It is a frozen array
    /// like any other, and can be sent.
    ///
    /// ```
    /// use ndarray::{Ix1, s};
    /// use pool_shm::{FrozenArray, SharedArray};
    ///
    /// let matrix = SharedArray::from_shape_fn((3, 4), |(i, j)| 10 * i + j)?.freeze()?;
    /// let part = matrix.slice(s![..;-1, 2])?;
    /// let message = postcard::to_allocvec(&part)?;
    /// let received: FrozenArray<usize, Ix1> = postcard::from_bytes(&message)?;
    /// assert_eq!(received.view(), ndarray::array![22, 12, 2]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// `is_invalid_cut` if the slice does not lie in the array.
    pub fn slice<I: SliceArg<D>>(&self, slice: I) -> Result<FrozenArray<T, I::OutDim>, ShmError> {
        Ok(FrozenArray::from_placed(self.placed.slice(&slice)?))
    }

    /// The array as this process's own to write, without changing the frozen
    /// one: pages are copied when they are written.
    ///
    /// # Errors
    ///
    /// `is_out_of_memory` if the machine could not hold a copy of all of it, or
    /// a failure of the operating system to map it.
    pub fn to_private(&self) -> Result<PrivateArray<T, D>, ShmError> {
        PrivateArray::new(&self.placed)
    }
}

impl<T: Real, D: Dimension> FrozenArray<T, D>
where
    Complex<T>: Element,
{
    /// Pairs along the last axis as complex numbers, as
    /// [`SharedArray::into_complex`](crate::SharedArray::into_complex).
    ///
    /// # Errors
    ///
    /// `is_invalid_shape` if the last axis is missing, odd or not contiguous,
    /// or if the steps of a part along another axis are odd.
    pub fn into_complex(self) -> Result<FrozenArray<Complex<T>, D>, ShmError> {
        let layout = self.placed.layout().clone().pair(size_of::<T>())?;
        self.recast(layout)
    }
}

impl<T: Real, D: Dimension> FrozenArray<Complex<T>, D>
where
    Complex<T>: Element,
{
    /// Complex numbers as pairs of real ones, as
    /// [`SharedArray::into_real`](crate::SharedArray::into_real).
    ///
    /// # Errors
    ///
    /// `is_invalid_shape` if the last axis is missing or not contiguous.
    pub fn into_real(self) -> Result<FrozenArray<T, D>, ShmError> {
        let layout = self.placed.layout().clone().unpair(size_of::<T>())?;
        self.recast(layout)
    }
}

super::geometry::geometry!(FrozenArray);
super::lend::lend!(FrozenArray);

impl<T, D: Clone> Clone for FrozenArray<T, D> {
    fn clone(&self) -> Self {
        FrozenArray {
            placed: self.placed.clone(),
        }
    }
}

impl<T: Element, D: Dimension> fmt::Debug for FrozenArray<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::geometry::debug(f, "FrozenArray", &self.placed)
    }
}

impl<T: Element, D: Dimension> Serialize for FrozenArray<T, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        transfer::collect(self.placed.memory().file());
        Description::of(&self.placed).serialize(serializer)
    }
}

impl<'de, T: Element, D: Dimension> Deserialize<'de> for FrozenArray<T, D> {
    fn deserialize<R: Deserializer<'de>>(deserializer: R) -> Result<Self, R::Error> {
        let description = Description::deserialize(deserializer)?;
        attach(&description).map_err(ShmError::into_serde)
    }
}

fn attach<T: Element, D: Dimension>(
    description: &Description,
) -> Result<FrozenArray<T, D>, ShmError> {
    let placed = description.place(|handle, frozen| {
        if frozen {
            return lease::attach(handle, true);
        }
        let id = handle.id().to_string();
        Err(Kind::NotFrozen { id }.into())
    })?;
    Ok(FrozenArray { placed })
}
