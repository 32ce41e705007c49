//! Many small arrays that nobody can write, in one segment.

use super::freeze;
use super::owner::{Owner, place};
use super::{DATA_OFFSET, FrozenArray, Layout, Memory, Order, Placed};
use crate::element::Element;
use crate::error::{Kind, ShmError};
use crate::segment::{FrozenSegment, Segment};
use ndarray::{ArrayView, Dimension};
use std::borrow::Cow;

impl<T: Element, D: Dimension> FrozenArray<T, D> {
    /// Copies of arrays of any kind, frozen together: one segment, so one
    /// descriptor and one map here and in each process to which any of them is
    /// sent, where [`SharedArray::freeze`](crate::SharedArray::freeze) makes a
    /// segment for each. For thousands of small arrays.
    ///
    /// Each is row-major, or column-major if its source is, and aligned to 64
    /// bytes. The memory stays until the last of them is dropped.
    ///
    /// ```
    /// use ndarray::Array1;
    /// use pool_shm::FrozenArray;
    ///
    /// let tables: Vec<_> = (0..1000).map(|i| Array1::from_elem(8, i as f64)).collect();
    /// let frozen = FrozenArray::from_arrays(tables.iter().map(|table| table.view()))?;
    /// assert_eq!(frozen[7].view(), tables[7]);
    /// # Ok::<(), pool_shm::ShmError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`SharedArray::zeros`](crate::SharedArray::zeros).
    pub fn from_arrays<'a>(
        arrays: impl IntoIterator<Item = ArrayView<'a, T, D>>,
    ) -> Result<Vec<Self>, ShmError> {
        let (mut sources, mut end) = (Vec::new(), 0_usize);
        for source in arrays {
            let layout = Layout::new(source.raw_dim(), order(&source), size_of::<T>())?;
            let bytes = layout.len() * size_of::<T>();
            sources.push((end, layout, source));
            // The next one's header is as aligned as its elements.
            end = (bytes.checked_next_multiple_of(DATA_OFFSET))
                .and_then(|bytes| bytes.checked_add(DATA_OFFSET)?.checked_add(end))
                .ok_or(Kind::TooLarge { len: u64::MAX })?;
        }
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let owner = Owner::new(Segment::create(end)?);
        let mut layouts = Vec::with_capacity(sources.len());
        for (at, layout, source) in sources {
            let placed = place(owner.segment(), at, layout.clone())?;
            placed.write(0, &elements(&source))?;
            layouts.push((at, layout));
        }
        seal(owner, layouts)
    }
}

/// Seals what was written.
fn seal<T: Element, D: Dimension>(
    owner: Owner,
    layouts: Vec<(usize, Layout<D>)>,
) -> Result<Vec<FrozenArray<T, D>>, ShmError> {
    let (file, lessees) = owner.unmap_all();
    freeze::seal(&file, &lessees)?;
    let segment = FrozenSegment::map(file)?;
    let array = |(at, layout)| {
        let placed = Placed::new(Memory::Frozen(segment.clone()), at, layout)?;
        Ok(FrozenArray::from_placed(placed))
    };
    layouts.into_iter().map(array).collect()
}

fn order<T, D: Dimension>(source: &ArrayView<'_, T, D>) -> Order {
    if !source.is_standard_layout() && source.t().is_standard_layout() {
        Order::ColumnMajor
    } else {
        Order::RowMajor
    }
}

/// The elements in the order in which they will lie.
fn elements<'a, T: Element, D: Dimension>(source: &'a ArrayView<'_, T, D>) -> Cow<'a, [T]> {
    let whole = source.is_standard_layout() || source.t().is_standard_layout();
    match source.as_slice_memory_order() {
        Some(elements) if whole => Cow::Borrowed(elements),
        _ => Cow::Owned(source.iter().copied().collect()),
    }
}
