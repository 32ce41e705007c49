//! What travels in place of an array.

use super::{Elements, Layout, Memory, Place, Placed};
use crate::element::{DType, Element};
use crate::error::{Kind, ShmError};
use crate::segment::SegmentHandle;
use ndarray::Dimension;
use serde::{Deserialize, Serialize};
use std::any::type_name;

/// Where an array is and what it is. Nothing in it is believed: attaching
/// checks all of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Description {
    pub(crate) segment: SegmentHandle,
    /// Whether it is sealed against writing.
    pub(crate) frozen: bool,
    /// Where the array's header is, in bytes.
    pub(crate) array: u64,
    /// Where the element of index 0 is, in bytes.
    pub(crate) offset: u64,
    pub(crate) dtype: DType,
    /// Elements along each axis.
    pub(crate) shape: Vec<usize>,
    /// Steps along each axis, in elements.
    pub(crate) strides: Vec<isize>,
}

impl Description {
    pub(crate) fn of<T: Element, D: Dimension>(placed: &Placed<T, D>) -> Self {
        let memory = placed.memory();
        Description {
            segment: memory.file().handle(),
            frozen: memory.is_frozen(),
            array: placed.place().array as u64,
            offset: placed.place().first as u64,
            dtype: T::dtype(),
            shape: placed.layout().shape().to_vec(),
            strides: placed.layout().signed_strides(),
        }
    }

    /// Checks everything and has the segment mapped by `map`, which is told
    /// whether it is said to be frozen.
    pub(crate) fn place<T: Element, D: Dimension>(
        &self,
        map: impl FnOnce(&SegmentHandle, bool) -> Result<Memory, ShmError>,
    ) -> Result<Placed<T, D>, ShmError> {
        let layout = self.layout::<T, D>()?;
        let place = self.offsets()?;
        let memory = map(&self.segment, self.frozen)?;
        Placed::part(memory, place, layout)
    }

    /// Where in its segment it begins.
    pub(crate) fn offsets(&self) -> Result<Place, ShmError> {
        let offset = |n: u64| usize::try_from(n).map_err(|_| Kind::TooLarge { len: n });
        Ok(Place {
            array: offset(self.array)?,
            first: offset(self.offset)?,
        })
    }

    /// Where the elements lie in the segment, in bytes; None if the numbers
    /// are impossible, which attaching finds.
    pub(crate) fn elements<T: Element, D: Dimension>(&self) -> Option<Elements> {
        let (layout, place) = (self.layout::<T, D>().ok()?, self.offsets().ok()?);
        let elements = layout.elements().scaled(size_of::<T>());
        Some(elements.moved(place.first))
    }

    /// Checks element type, shape and strides.
    pub(crate) fn layout<T: Element, D: Dimension>(&self) -> Result<Layout<D>, ShmError> {
        if self.dtype != T::dtype() {
            return Err(mismatch("element types", type_name::<T>(), self.dtype));
        }
        Layout::from_strides(&self.shape, &self.strides, size_of::<T>())
    }
}

fn mismatch(what: &'static str, asked: impl ToString, found: impl ToString) -> ShmError {
    Kind::Mismatch {
        what,
        of: "array",
        asked: asked.to_string(),
        found: found.to_string(),
    }
    .into()
}
