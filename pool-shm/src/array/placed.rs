//! Where the elements of an array lie in this process.

use super::{DATA_OFFSET, Header, Layout};
use crate::element::Element;
use crate::error::ShmError;
use crate::segment::{FrozenSegment, Segment, SegmentFile};
use ndarray::{ArrayView, ArrayViewMut, Dimension, RawArrayViewMut, ShapeBuilder};
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

/// A mapping, of either kind of access.
#[derive(Clone, Debug)]
pub(crate) enum Memory {
    Writable(Segment),
    Frozen(FrozenSegment),
}

impl Memory {
    pub(crate) fn file(&self) -> &Arc<SegmentFile> {
        match self {
            Memory::Writable(segment) => segment.file(),
            Memory::Frozen(segment) => segment.file(),
        }
    }

    pub(crate) fn is_frozen(&self) -> bool {
        matches!(self, Memory::Frozen(_))
    }

    pub(crate) fn header(&self) -> Result<&Header, ShmError> {
        match self {
            Memory::Writable(segment) => segment.get(0),
            Memory::Frozen(segment) => segment.get(0),
        }
    }

    /// Where the elements begin. Every segment has a page at least, so this
    /// lies inside.
    fn data(&self) -> NonNull<u8> {
        let start = match self {
            Memory::Writable(segment) => segment.as_ptr(),
            Memory::Frozen(segment) => segment.as_ptr().cast_mut(),
        };
        NonNull::new(start.wrapping_add(DATA_OFFSET)).expect("a mapping does not end at 0")
    }
}

/// The elements of an array in a mapping, without a claim to use them.
///
/// Invariant: `layout` elements of `T` lie in the mapping from
/// [`DATA_OFFSET`] on; it stays mapped while this value lives.
pub(crate) struct Placed<T, D> {
    memory: Memory,
    layout: Layout<D>,
    data: NonNull<T>,
}

// SAFETY: a pointer into a mapping that any thread may use; those who make
// references from it vouch for them.
unsafe impl<T: Element, D: Send> Send for Placed<T, D> {}
// SAFETY: as above.
unsafe impl<T: Element, D: Sync> Sync for Placed<T, D> {}

impl<T, D: fmt::Debug> fmt::Debug for Placed<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Placed")
            .field("element", &std::any::type_name::<T>())
            .field("layout", &self.layout)
            .field("segment", &self.memory.file().id())
            .finish()
    }
}

impl<T, D: Clone> Clone for Placed<T, D> {
    fn clone(&self) -> Self {
        Placed {
            memory: self.memory.clone(),
            layout: self.layout.clone(),
            data: self.data,
        }
    }
}

impl<T: Element, D: Dimension> Placed<T, D> {
    /// Checks that the segment holds an array of this layout.
    pub(crate) fn new(memory: Memory, layout: Layout<D>) -> Result<Self, ShmError> {
        const { assert!(align_of::<T>() <= DATA_OFFSET, "alignment above 64 bytes") };
        crate::segment::check_range::<T>(memory.file().len(), DATA_OFFSET, layout.len())?;
        memory.header()?.check::<T>(layout.len() * size_of::<T>())?;
        let data = memory.data().cast();
        Ok(Placed {
            memory,
            layout,
            data,
        })
    }

    /// The same memory in another layout, which must have as many bytes.
    pub(crate) fn recast<U: Element, E: Dimension>(
        self,
        layout: Layout<E>,
    ) -> Result<Placed<U, E>, ShmError> {
        Placed::new(self.memory, layout)
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(crate) fn layout(&self) -> &Layout<D> {
        &self.layout
    }

    pub(crate) fn data(&self) -> NonNull<T> {
        self.data
    }

    /// Copies all elements, given in the order of memory, into a new array.
    pub(crate) fn write(&self, elements: &[T]) -> Result<(), ShmError> {
        assert_eq!(elements.len(), self.layout.len(), "as many elements");
        let file = self.memory.file();
        file.write(DATA_OFFSET, bytemuck::cast_slice(elements))
    }

    fn raw_view(&self) -> RawArrayViewMut<T, D> {
        let shape = self.layout.dim().clone();
        let shape = shape.set_f(self.layout.is_column_major());
        // SAFETY: by the invariant the elements lie in one mapping, and the
        // layout makes them contiguous.
        unsafe { RawArrayViewMut::from_shape_ptr(shape, self.data.as_ptr()) }
    }

    /// # Safety
    ///
    /// Nobody, in any process, writes the array during `'a`, and the mapping
    /// lives as long.
    pub(crate) unsafe fn view<'a>(&self) -> ArrayView<'a, T, D> {
        // SAFETY: the elements are aligned (the data to 64 bytes), any bits
        // are a `T`, and the caller vouches for the rest.
        unsafe { self.raw_view().deref_into_view() }
    }

    /// # Safety
    ///
    /// Nobody, in any process, reads or writes the array during `'a` but
    /// through the result, the memory is writable, and the mapping lives as
    /// long.
    pub(crate) unsafe fn view_mut<'a>(&self) -> ArrayViewMut<'a, T, D> {
        // SAFETY: as in `view`.
        unsafe { self.raw_view().deref_into_view_mut() }
    }
}
