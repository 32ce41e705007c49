//! Where the elements of an array lie in this process.

use super::slice::Sliced;
use super::{DATA_OFFSET, Header, Layout};
use crate::element::Element;
use crate::error::{Kind, ShmError};
use crate::segment::{FileSegment, FrozenSegment, Segment, SegmentFile};
use ndarray::{ArrayView, ArrayViewMut, Axis, Dimension, RawArrayViewMut, ShapeBuilder, SliceArg};
use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

/// A mapping, of either kind of access.
#[derive(Clone, Debug)]
pub(crate) enum Memory {
    Writable(Segment),
    Frozen(FrozenSegment),
    /// A regular file, without a header of ours.
    File(FileSegment),
}

impl Memory {
    pub(crate) fn file(&self) -> &Arc<SegmentFile> {
        match self {
            Memory::Writable(segment) => segment.file(),
            Memory::Frozen(segment) => segment.file(),
            Memory::File(segment) => segment.file(),
        }
    }

    /// Whether it is mapped for reading only.
    pub(crate) fn is_frozen(&self) -> bool {
        match self {
            Memory::Writable(_) => false,
            Memory::Frozen(_) => true,
            Memory::File(segment) => !segment.is_writable(),
        }
    }

    /// The header at `array` bytes.
    pub(crate) fn header(&self, array: usize) -> Result<&Header, ShmError> {
        match self {
            Memory::Writable(segment) => segment.get(array),
            Memory::Frozen(segment) => segment.get(array),
            Memory::File(_) => Err(Kind::Unexpected.into()),
        }
    }

    /// Where the elements of the array at `array` bytes lie.
    fn elements<T: Element>(&self, array: usize) -> Result<Range<usize>, ShmError> {
        let len = self.file().len();
        if let Memory::File(_) = self {
            return Ok(0..len);
        }
        crate::segment::check_range::<[u64; 8]>(len, array, 1)?;
        if !array.is_multiple_of(DATA_OFFSET) {
            return Err(Kind::Misaligned {
                offset: array,
                align: DATA_OFFSET,
                type_name: "the header of an array",
            }
            .into());
        }
        let data = Place::whole(array).first;
        let bytes = self.header(array)?.bytes::<T>()?;
        crate::segment::check_range::<u8>(len, data, bytes)?;
        Ok(data..data + bytes)
    }

    fn start(&self) -> *mut u8 {
        match self {
            Memory::Writable(segment) => segment.as_ptr(),
            Memory::Frozen(segment) => segment.as_ptr().cast_mut(),
            Memory::File(segment) => segment.as_ptr(),
        }
    }
}

/// Where in its segment an array, or a part of one, begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The header of the array, in bytes. Its elements begin [`DATA_OFFSET`]
    /// bytes further on. A file has no header; this is 0 there.
    pub(crate) array: usize,
    /// The element of index 0, in bytes.
    pub(crate) first: usize,
}

impl Place {
    /// All of the array whose header is at `array`.
    pub(crate) fn whole(array: usize) -> Self {
        let first = array.saturating_add(DATA_OFFSET);
        Place { array, first }
    }
}

/// The elements of an array, or of a part of one, in a mapping, without a claim
/// to use them.
///
/// Invariant: elements of `T` lie in the mapping where `place` and `layout` say,
/// all of them in the memory of the one array whose header is there, or in the
/// file, which has none; it stays mapped while this value lives.
pub(crate) struct Placed<T, D> {
    memory: Memory,
    layout: Layout<D>,
    place: Place,
    /// The element of index 0.
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
            place: self.place,
            data: self.data,
        }
    }
}

impl<T: Element, D: Dimension> Placed<T, D> {
    /// Checks that the array at `array` bytes has this layout.
    pub(crate) fn new(memory: Memory, array: usize, layout: Layout<D>) -> Result<Self, ShmError> {
        let placed = Placed::part(memory, Place::whole(array), layout)?;
        placed.check_whole()?;
        Ok(placed)
    }

    /// Elements from `offset` on in a file, which says nothing about them.
    pub(crate) fn at(memory: Memory, offset: u64, layout: Layout<D>) -> Result<Self, ShmError> {
        let first = usize::try_from(offset).map_err(|_| Kind::TooLarge { len: offset })?;
        Placed::part(memory, Place { array: 0, first }, layout)
    }

    /// Checks that elements of this layout lie in the array.
    pub(crate) fn part(memory: Memory, place: Place, layout: Layout<D>) -> Result<Self, ShmError> {
        const { assert!(align_of::<T>() <= DATA_OFFSET, "alignment above 64 bytes") };
        let len = memory.file().len();
        let Range { start: data, end } = memory.elements::<T>(place.array)?;
        let bytes = end - data;
        // Of no elements only the pointer has to be right.
        crate::segment::check_range::<T>(len, place.first, 0)?;
        let elements = layout.elements().scaled(size_of::<T>());
        let (start, end) = elements.moved(place.first).hull().unwrap_or_default();
        if layout.len() > 0 && (start < data as i128 || end > (data + bytes) as i128) {
            return Err(Kind::OutsideArray {
                shape: layout.shape().to_vec(),
                strides: layout.signed_strides(),
                first: place.first.cast_signed() - data.cast_signed(),
                size: size_of::<T>(),
                bytes,
            }
            .into());
        }
        let first = memory.start().wrapping_add(place.first).cast();
        let data = NonNull::new(first).expect("a mapping does not end at 0");
        Ok(Placed {
            memory,
            layout,
            place,
            data,
        })
    }

    /// Checks that this is the whole array, not a part of it.
    fn check_whole(&self) -> Result<(), ShmError> {
        let bytes = self.header()?.bytes::<T>()?;
        let own = self.layout.len() * size_of::<T>();
        let is_first = self.place == Place::whole(self.place.array);
        if is_first && self.layout.is_contiguous() && own == bytes {
            return Ok(());
        }
        let [asked, found] = [own, bytes].map(|n| format!("{n} bytes of elements"));
        Err(Kind::Mismatch {
            what: "lengths",
            of: "array",
            asked,
            found,
        }
        .into())
    }

    /// The same memory in another layout, which must have as many bytes.
    pub(crate) fn recast<U: Element, E: Dimension>(
        self,
        layout: Layout<E>,
    ) -> Result<Placed<U, E>, ShmError> {
        Placed::part(self.memory, self.place, layout)
    }

    /// A part that [`Layout::slice`] gave.
    pub(crate) fn sliced<E: Dimension>(
        &self,
        (first, layout): Sliced<E>,
    ) -> Result<Placed<T, E>, ShmError> {
        let bytes = first * size_of::<T>().cast_signed();
        let place = Place {
            first: self.place.first.wrapping_add_signed(bytes),
            ..self.place
        };
        Placed::part(self.memory.clone(), place, layout)
    }

    /// The part that `slice` means.
    pub(crate) fn slice<I: SliceArg<D>>(
        &self,
        slice: &I,
    ) -> Result<Placed<T, I::OutDim>, ShmError> {
        self.sliced(self.layout.slice(slice, size_of::<T>())?)
    }

    /// The parts before and from `index` on along `axis`.
    pub(crate) fn split(&self, axis: Axis, index: usize) -> Result<[Self; 2], ShmError> {
        let [before, behind] = self.layout.split(axis, index, size_of::<T>())?;
        Ok([self.sliced(before)?, self.sliced(behind)?])
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(crate) fn layout(&self) -> &Layout<D> {
        &self.layout
    }

    pub(crate) fn place(&self) -> Place {
        self.place
    }

    pub(crate) fn header(&self) -> Result<&Header, ShmError> {
        self.memory.header(self.place.array)
    }

    pub(crate) fn data(&self) -> NonNull<T> {
        self.data
    }

    /// Copies elements, given in the order of memory, into a new array: those
    /// from number `first` on, up to the last.
    pub(crate) fn write(&self, first: usize, elements: &[T]) -> Result<(), ShmError> {
        assert_eq!(first + elements.len(), self.layout.len(), "up to the last");
        assert!(self.layout.is_contiguous(), "a whole array");
        let at = self.place.first + first * size_of::<T>();
        self.memory.file().write(at, bytemuck::cast_slice(elements))
    }

    /// How many elements of a new array, from the first on, lie in huge pages.
    pub(crate) fn gathered(&self) -> usize {
        let Memory::Writable(segment) = &self.memory else {
            return 0;
        };
        segment.gathered().saturating_sub(self.place.first) / size_of::<T>()
    }

    fn raw_view(&self) -> RawArrayViewMut<T, D> {
        raw_view(self.data, self.layout.dim(), self.layout.strides())
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
        // SAFETY: as in `view`; by the layout's invariant no two indices are
        // the same element.
        unsafe { self.raw_view().deref_into_view_mut() }
    }
}

/// A view without rights of the elements of a layout (or of a block of one)
/// whose element of index 0 is at `data`. It may be used if they lie in one
/// mapping.
pub(crate) fn raw_view<T: Element, D: Dimension>(
    data: NonNull<T>,
    shape: &D,
    strides: &D,
) -> RawArrayViewMut<T, D> {
    let shape = shape.clone();
    if shape.size() == 0 {
        // SAFETY: there is no element, the strides are ndarray's own, all 0,
        // and the pointer is aligned and not null.
        return unsafe { RawArrayViewMut::from_shape_ptr(shape, data.as_ptr()) };
    }
    // ndarray takes positive strides only; axes that run backwards are turned
    // round before and behind.
    let (mut lowest, mut steps, mut backwards) = (data.as_ptr(), strides.clone(), false);
    for (step, len) in steps.slice_mut().iter_mut().zip(shape.slice()) {
        let stride = step.cast_signed();
        if stride < 0 {
            backwards = true;
            let reach = stride * (len - 1).cast_signed();
            lowest = lowest.wrapping_offset(reach);
            *step = stride.unsigned_abs();
        }
    }
    // SAFETY: by the invariant of `Placed` the elements lie in one mapping and
    // their extent fits `isize`; `lowest` is the one with the lowest address.
    let mut view = unsafe { RawArrayViewMut::from_shape_ptr(shape.strides(steps), lowest) };
    if backwards {
        for (axis, stride) in strides.slice().iter().enumerate() {
            if stride.cast_signed() < 0 {
                view.invert_axis(Axis(axis));
            }
        }
    }
    view
}
