//! A private, writable view of an array that nobody can write.

use super::{Layout, Placed, raw_view};
use crate::element::Element;
use crate::error::ShmError;
use crate::segment::PrivateMapping;
use ndarray::{ArrayView, ArrayViewMut, Dimension};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// A frozen array as one process's own to write
/// ([`FrozenArray::to_private`](crate::FrozenArray::to_private)): copy on
/// write, by pages.
///
/// The frozen array does not change, and nobody else sees what is written. What
/// is not written is shared with everybody who has the frozen array mapped, so
/// a worker that changes a little of a large array costs little. It keeps the
/// memory of the frozen array alive. It cannot be sent: what differs exists in
/// this process only.
///
/// # Memory
///
/// When it is made, the machine must have memory for a copy of all of it, but
/// none is set aside: Linux offers no way to reserve pages that may be copied
/// (but for `vm.overcommit_memory=2`, under which it does so by itself). So if
/// others take the memory afterwards, a write can end in the out-of-memory
/// killer. A copy that is certain is
/// [`SharedArray::from_array`](crate::SharedArray::from_array) of the view.
///
/// ```
/// use pool_shm::SharedArray;
///
/// let frozen = SharedArray::from_elem(1000, 2.0)?.freeze()?;
/// let mut mine = frozen.to_private()?;
/// mine.view_mut()[7] = 5.0;
/// assert_eq!(mine.view().sum(), 2003.0);
/// assert_eq!(frozen.view().sum(), 2000.0);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
pub struct PrivateArray<T, D> {
    mapping: PrivateMapping,
    layout: Layout<D>,
    /// Where the element of index 0 lies in the mapping, in bytes.
    ///
    /// Invariant: all elements of the layout lie in the mapping.
    first: usize,
    element: PhantomData<T>,
}

impl<T: Element, D: Dimension> PrivateArray<T, D> {
    /// `placed` is frozen.
    pub(super) fn new(placed: &Placed<T, D>) -> Result<Self, ShmError> {
        let layout = placed.layout().clone();
        let at = placed.place().first;
        let elements = layout.elements().scaled(size_of::<T>()).moved(at);
        let bytes = |place: i128| usize::try_from(place).expect("parts lie in their array");
        // Of no elements any byte will do; a mapping cannot be empty.
        let hull = elements.hull().map(|(low, high)| bytes(low)..bytes(high));
        let hull = hull.unwrap_or(0..1);
        let first = if layout.len() == 0 {
            0
        } else {
            at - hull.start
        };
        Ok(PrivateArray {
            mapping: PrivateMapping::new(placed.memory().file(), hull)?,
            layout,
            first,
            element: PhantomData,
        })
    }

    /// The number of elements along each axis.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        self.layout.shape()
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.layout.len()
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A view for reading.
    #[must_use]
    pub fn view(&self) -> ArrayView<'_, T, D> {
        let data = self.data(self.mapping.as_ptr().cast_mut());
        let view = raw_view(data, self.layout.dim(), self.layout.strides());
        // SAFETY: the elements lie in the mapping (the invariant), aligned as
        // in the frozen array, whose pages it shares; nobody else can write
        // them, and the view borrows `self`.
        unsafe { view.deref_into_view() }
    }

    /// A view for writing.
    #[must_use]
    pub fn view_mut(&mut self) -> ArrayViewMut<'_, T, D> {
        let start = self.mapping.as_mut_ptr();
        let view = raw_view(self.data(start), self.layout.dim(), self.layout.strides());
        // SAFETY: as in `view`; `self` is mutably borrowed, and no two indices
        // are the same element.
        unsafe { view.deref_into_view_mut() }
    }

    fn data(&self, start: *mut u8) -> NonNull<T> {
        let first = start.wrapping_add(self.first).cast();
        NonNull::new(first).expect("a mapping does not end at 0")
    }
}

impl<T: Element, D: Dimension> fmt::Debug for PrivateArray<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateArray")
            .field("dtype", &T::dtype())
            .field("shape", &self.shape())
            .finish_non_exhaustive()
    }
}
