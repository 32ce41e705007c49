//! Arrays that are cut into blocks.

use super::block::Place;
use super::blocks::{Blocks, Footprint, sealed};
use super::cut::{Cut, Grid};
use super::{Block, BlockMut, LeaseCache, LentSegment};
use crate::array::{Description, Memory, Placed};
use crate::element::Element;
use crate::error::{Kind, ShmError};
use ndarray::{Axis, Dimension, IntoDimension};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ptr::NonNull;

/// What travels in place of an array that is cut: where it is, what it is, and
/// how it is cut.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CutPlan {
    array: Description,
    cut: Cut,
    /// Whether the blocks may be written.
    writable: bool,
}

impl CutPlan {
    fn attach<T: Element, D: Dimension>(
        &self,
        writable: bool,
        cache: &mut LeaseCache,
    ) -> Result<AttachedCut<T, D>, ShmError> {
        if self.writable != writable || (writable && self.array.frozen) {
            return Err(Kind::Mismatch {
                what: "kinds of access",
                of: "blocks",
                asked: access(writable, false),
                found: access(self.writable, self.array.frozen),
            }
            .into());
        }
        let placed = self
            .array
            .place(|handle, frozen| cache.map(handle, frozen))?;
        AttachedCut::new(placed, &self.cut)
    }
}

fn access(writable: bool, frozen: bool) -> String {
    let access = if writable { "writing" } else { "reading" };
    let array = if frozen { " of a frozen array" } else { "" };
    format!("{access}{array}")
}

/// A plan whose array this process has mapped.
pub struct AttachedCut<T, D> {
    placed: Placed<T, D>,
    strides: D,
    grid: Grid<D>,
}

impl<T: Element, D: Dimension> AttachedCut<T, D> {
    fn new(placed: Placed<T, D>, cut: &Cut) -> Result<Self, ShmError> {
        let grid = Grid::new(placed.layout().dim(), cut)?;
        let strides = placed.layout().strides();
        Ok(AttachedCut {
            placed,
            strides,
            grid,
        })
    }

    fn place(&self, index: usize) -> Option<Place<T, D>> {
        let part = self.grid.part(index)?;
        let start = part.start.slice().iter().zip(self.strides.slice());
        let offset: usize = start.map(|(start, stride)| start * stride).sum();
        // A block without elements, of an array with some, cannot be: parts
        // are empty only if an axis is, and then all strides are 0.
        let data = self.placed.data().as_ptr().wrapping_add(offset);
        Some(Place {
            data: NonNull::new(data)?,
            part,
            strides: self.strides.clone(),
            axis: self.grid.axis(),
            index,
        })
    }
}

impl<T: Element, D: Dimension> fmt::Debug for AttachedCut<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachedCut")
            .field("array", &self.placed)
            .field("blocks", &self.grid.len())
            .finish()
    }
}

/// An array and how it is to be cut.
#[derive(Debug)]
struct Lent<'a, T, D> {
    placed: &'a Placed<T, D>,
    cut: Cut,
}

impl<T: Element, D: Dimension> Lent<'_, T, D> {
    fn plan(&self, writable: bool) -> Result<(usize, CutPlan), ShmError> {
        let grid = Grid::new(self.placed.layout().dim(), &self.cut)?;
        let plan = CutPlan {
            array: Description::of(self.placed),
            cut: self.cut.clone(),
            writable,
        };
        Ok((grid.len(), plan))
    }
}

macro_rules! cuts {
    ($($(#[$doc:meta])* $cuts:ident: $block:ident, $writable:literal;)*) => {$(
        $(#[$doc])*
        #[must_use = "blocks do nothing unless they are lent to a pool"]
        pub struct $cuts<'a, T, D> {
            lent: Lent<'a, T, D>,
        }

        impl<T: Element, D: Dimension> fmt::Debug for $cuts<'_, T, D> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($cuts))
                    .field("shape", &self.lent.placed.layout().shape())
                    .field("cut", &self.lent.cut)
                    .finish()
            }
        }

        impl<T, D> sealed::Sealed for $cuts<'_, T, D> {}

        impl<T: Element, D: Dimension + 'static> Blocks for $cuts<'_, T, D> {
            type Block<'b> = $block<'b, T, D>;
            type Plan = CutPlan;
            type Attached = AttachedCut<T, D>;

            fn plan(&self) -> Result<(usize, CutPlan), ShmError> {
                self.lent.plan($writable)
            }

            fn segments(&self, f: &mut dyn FnMut(&LentSegment<'_>)) {
                if let Memory::Writable(segment) = self.lent.placed.memory() {
                    f(&LentSegment::new(segment));
                }
            }

            fn attach(
                plan: &CutPlan,
                cache: &mut LeaseCache,
            ) -> Result<AttachedCut<T, D>, ShmError> {
                plan.attach($writable, cache)
            }

            fn count(attached: &AttachedCut<T, D>) -> usize {
                attached.grid.len()
            }

            unsafe fn block(
                attached: &AttachedCut<T, D>,
                index: usize,
            ) -> Option<$block<'_, T, D>> {
                let place = attached.place(index)?;
                // SAFETY: parts of a grid are disjoint and lie in the array,
                // `attached` keeps it mapped, and the caller vouches that
                // there is no other block of this index and that the array is
                // lent, which keeps everybody else away.
                Some(unsafe { $block::new(place) })
            }

            fn footprints(plan: &CutPlan, f: &mut dyn FnMut(Footprint)) {
                let cut = plan.cut.along(&plan.array.shape);
                f(Footprint { id: plan.array.segment.id(), writable: $writable, cut });
            }
        }
    )*};
}

cuts! {
    /// An array lent in blocks along an axis, for writing: see
    /// [`SharedArray::axis_chunks_mut`](crate::SharedArray::axis_chunks_mut).
    ///
    /// The array cannot be used while it is lent:
    ///
    /// ```compile_fail,E0502
    /// # use {ndarray::Axis, pool_shm::SharedArray};
    /// let mut array = SharedArray::<f64, _>::zeros(10).unwrap();
    /// let lent = array.axis_chunks_mut(Axis(0), 2);
    /// println!("{}", array.view());
    /// drop(lent);
    /// ```
    ///
    /// Nor can what is lent outlive it:
    ///
    /// ```compile_fail,E0597
    /// # use {ndarray::Axis, pool_shm::SharedArray};
    /// let lent = {
    ///     let mut array = SharedArray::<f64, _>::zeros(10).unwrap();
    ///     array.axis_chunks_mut(Axis(0), 2)
    /// };
    /// drop(lent);
    /// ```
    AxisChunksMut: BlockMut, true;
    /// An array lent in blocks along an axis, for reading: see
    /// [`SharedArray::axis_chunks`](crate::SharedArray::axis_chunks).
    AxisChunks: Block, false;
    /// An array lent in tiles, for writing: see
    /// [`SharedArray::tiles_mut`](crate::SharedArray::tiles_mut).
    TilesMut: BlockMut, true;
    /// An array lent in tiles, for reading: see
    /// [`SharedArray::tiles`](crate::SharedArray::tiles).
    Tiles: Block, false;
}

macro_rules! constructors {
    (axis: $($chunks:ident)*; tiles: $($tiles:ident)*) => {
        $(impl<'a, T: Element, D: Dimension> $chunks<'a, T, D> {
            pub(crate) fn new(placed: &'a Placed<T, D>, axis: Axis, size: usize) -> Self {
                let axis = axis.index();
                let cut = Cut::Axis { axis, size };
                $chunks { lent: Lent { placed, cut } }
            }
        })*
        $(impl<'a, T: Element, D: Dimension> $tiles<'a, T, D> {
            pub(crate) fn new(
                placed: &'a Placed<T, D>,
                tile: impl IntoDimension<Dim = D>,
            ) -> Self {
                let cut = Cut::Tiles(tile.into_dimension().slice().to_vec());
                $tiles { lent: Lent { placed, cut } }
            }
        })*
    };
}

constructors!(axis: AxisChunksMut AxisChunks; tiles: TilesMut Tiles);
