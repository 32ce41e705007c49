//! Arrays that are cut into blocks.

use super::block::Place;
use super::blocks::{Blocks, Footprint, sealed};
use super::cut::{Cut, Part, Pieces};
use super::region::RegionList;
use super::{Block, BlockMut, HaloBlock, LeaseCache, LentSegment, Region};
use crate::array::{Description, Memory, Placed};
use crate::element::Element;
use crate::error::{Kind, ShmError};
use ndarray::{Axis, Dimension, IntoDimension, Ix1};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;
use std::ptr::NonNull;

/// What travels in place of an array that is cut: where it is, what it is, and
/// how it is cut.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CutPlan {
    array: Description,
    cut: Cut,
    /// How many elements around a block may be read, along each axis; none
    /// for blocks without a rim.
    rim: Option<Vec<usize>>,
    /// Whether the blocks may be written.
    writable: bool,
}

/// What a task may do with a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Write,
    Read,
    ReadAround,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Write => "writing",
            Access::Read => "reading",
            Access::ReadAround => "reading with a rim",
        })
    }
}

impl CutPlan {
    fn attach<T: Element, D: Dimension>(
        &self,
        access: Access,
        cache: &mut LeaseCache,
    ) -> Result<AttachedCut<T, D>, ShmError> {
        let found = match (self.writable, &self.rim) {
            (true, _) => Access::Write,
            (false, None) => Access::Read,
            (false, Some(_)) => Access::ReadAround,
        };
        if found != access || (self.writable && (self.array.frozen || self.rim.is_some())) {
            let frozen = if self.array.frozen {
                " of a frozen array"
            } else {
                ""
            };
            return Err(Kind::Mismatch {
                what: "kinds of access",
                of: "blocks",
                asked: access.to_string(),
                found: format!("{found}{frozen}"),
            }
            .into());
        }
        let placed = self
            .array
            .place(|handle, frozen| cache.map(handle, frozen))?;
        AttachedCut::new(placed, self)
    }

    fn footprint<T: Element, D: Dimension>(&self) -> Footprint {
        let elements = self.array.elements::<T, D>();
        Footprint {
            id: self.array.segment.id(),
            writable: self.writable,
            elements,
            cut: self.cut.along(&self.array.shape),
        }
    }
}

/// A plan whose array this process has mapped.
pub struct AttachedCut<T, D> {
    placed: Placed<T, D>,
    pieces: Pieces<D>,
    /// The rim of a block along each axis; 0 for blocks without one.
    rim: D,
}

impl<T: Element, D: Dimension> AttachedCut<T, D> {
    fn new(placed: Placed<T, D>, plan: &CutPlan) -> Result<Self, ShmError> {
        let dim = placed.layout().dim();
        let pieces = Pieces::new(dim, &plan.cut, plan.writable)?;
        let mut rim = D::zeros(dim.ndim());
        if let Some(asked) = &plan.rim {
            if asked.len() != dim.ndim() {
                let reason = "a rim needs one width for each axis";
                return Err(plan.cut.impossible(dim.slice(), reason));
            }
            rim.slice_mut().copy_from_slice(asked);
        }
        Ok(AttachedCut {
            placed,
            pieces,
            rim,
        })
    }

    fn block(&self, index: usize) -> Option<Place<T, D>> {
        self.place(self.pieces.part(index)?, index)
    }

    /// A block, and the block with its rim.
    fn halo_block(&self, index: usize) -> Option<[Place<T, D>; 2]> {
        let part = self.pieces.part(index)?;
        let wide = part.widened(&self.rim, self.placed.layout().dim());
        Some([self.place(part, index)?, self.place(wide, index)?])
    }

    fn place(&self, part: Part<D>, index: usize) -> Option<Place<T, D>> {
        let strides = self.placed.layout().strides();
        let mut data = self.placed.data();
        // The place of the first of no elements would mean nothing.
        if part.shape.size() > 0 {
            let start = part.start.slice().iter().zip(strides.slice());
            let offset: isize = start
                .map(|(start, stride)| start.cast_signed() * stride.cast_signed())
                .sum();
            data = NonNull::new(data.as_ptr().wrapping_offset(offset))?;
        }
        Some(Place {
            data,
            part,
            strides: strides.clone(),
            axis: self.pieces.axis(),
            index,
        })
    }
}

impl<T: Element, D: Dimension> fmt::Debug for AttachedCut<T, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachedCut")
            .field("array", &self.placed)
            .field("blocks", &self.pieces.len())
            .finish()
    }
}

/// An array and how it is to be cut.
#[derive(Debug)]
struct Lent<'a, T, D> {
    placed: &'a Placed<T, D>,
    cut: Cut,
    rim: Option<Vec<usize>>,
}

impl<T: Element, D: Dimension> Lent<'_, T, D> {
    fn plan(&self, access: Access) -> Result<(usize, CutPlan), ShmError> {
        self.placed.memory().file().check_length()?;
        let writable = access == Access::Write;
        let pieces = Pieces::new(self.placed.layout().dim(), &self.cut, writable)?;
        let plan = CutPlan {
            array: Description::of(self.placed),
            cut: self.cut.clone(),
            rim: self.rim.clone(),
            writable,
        };
        Ok((pieces.len(), plan))
    }
}

macro_rules! cuts {
    ($($(#[$doc:meta])* $cuts:ident: $block:ident, $access:ident, $make:ident;)*) => {$(
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
                self.lent.plan(Access::$access)
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
                plan.attach(Access::$access, cache)
            }

            fn count(attached: &AttachedCut<T, D>) -> usize {
                attached.pieces.len()
            }

            unsafe fn block(
                attached: &AttachedCut<T, D>,
                index: usize,
            ) -> Option<$block<'_, T, D>> {
                cuts!(@$make attached, index, $block)
            }

            fn footprints(plan: &CutPlan, f: &mut dyn FnMut(Footprint)) {
                f(plan.footprint::<T, D>());
            }
        }
    )*};
    (@plain $attached:ident, $index:ident, $block:ident) => {{
        let place = $attached.block($index)?;
        // SAFETY: the pieces lie in the array, and those for writing are
        // disjoint, `attached` keeps it mapped, and the caller vouches that
        // there is no other block of this index and that the array is lent,
        // which keeps everybody else away.
        Some(unsafe { $block::new(place) })
    }};
    (@halo $attached:ident, $index:ident, $block:ident) => {{
        let [place, around] = $attached.halo_block($index)?;
        // SAFETY: both lie in the array, which `attached` keeps mapped; the
        // caller vouches that it is lent, for reading only.
        Some(unsafe { $block::new(place, around) })
    }};
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
    AxisChunksMut: BlockMut, Write, plain;
    /// An array lent in blocks along an axis, for reading: see
    /// [`SharedArray::axis_chunks`](crate::SharedArray::axis_chunks).
    AxisChunks: Block, Read, plain;
    /// An array lent in tiles, for writing: see
    /// [`SharedArray::tiles_mut`](crate::SharedArray::tiles_mut).
    TilesMut: BlockMut, Write, plain;
    /// An array lent in tiles, for reading: see
    /// [`SharedArray::tiles`](crate::SharedArray::tiles).
    Tiles: Block, Read, plain;
    /// An array lent in blocks that the user has chosen, for writing: see
    /// [`SharedArray::regions_mut`](crate::SharedArray::regions_mut).
    RegionsMut: BlockMut, Write, plain;
    /// An array lent in blocks that the user has chosen, for reading: see
    /// [`SharedArray::regions`](crate::SharedArray::regions).
    Regions: Block, Read, plain;
    /// An array lent in blocks with a rim around each, for reading: see
    /// [`SharedArray::halo_tiles`](crate::SharedArray::halo_tiles).
    ///
    /// An array cannot be written and read around its blocks at once:
    ///
    /// ```compile_fail,E0502
    /// # use {ndarray::Axis, pool_shm::SharedArray};
    /// let mut array = SharedArray::<f64, _>::zeros(10).unwrap();
    /// let both = (array.axis_chunks_mut(Axis(0), 2), array.halo_axis_chunks(Axis(0), 2, 1));
    /// drop(both);
    /// ```
    HaloBlocks: HaloBlock, ReadAround, halo;
}

macro_rules! constructors {
    (axis: $($chunks:ident)*; tiles: $($tiles:ident)*; regions: $($regions:ident $exclusive:literal)*) => {
        $(impl<'a, T: Element, D: Dimension> $chunks<'a, T, D> {
            pub(crate) fn new(placed: &'a Placed<T, D>, axis: Axis, size: usize) -> Self {
                let axis = axis.index();
                let cut = Cut::Axis { axis, size };
                $chunks { lent: Lent { placed, cut, rim: None } }
            }
        })*
        $(impl<'a, T: Element, D: Dimension> $tiles<'a, T, D> {
            pub(crate) fn new(
                placed: &'a Placed<T, D>,
                tile: impl IntoDimension<Dim = D>,
            ) -> Self {
                let cut = Cut::Tiles(tile.into_dimension().slice().to_vec());
                $tiles { lent: Lent { placed, cut, rim: None } }
            }
        })*
        $(impl<'a, T: Element, D: Dimension> $regions<'a, T, D> {
            pub(crate) fn new<R: Region>(
                placed: &'a Placed<T, D>,
                regions: impl IntoIterator<Item = R>,
            ) -> Result<Self, ShmError> {
                let cut = Cut::Regions(RegionList::new(placed.layout().shape(), regions)?);
                let lent = Lent { placed, cut, rim: None };
                Pieces::new(placed.layout().dim(), &lent.cut, $exclusive)?;
                Ok($regions { lent })
            }
        })*
    };
}

constructors!(axis: AxisChunksMut AxisChunks; tiles: TilesMut Tiles; regions: RegionsMut true Regions false);

impl<T: Element> AxisChunksMut<'_, T, Ix1> {
    /// The consecutive blocks `blocks` as one, or `None` if there is no block or
    /// one of them is not there.
    ///
    /// # Safety
    ///
    /// As [`Blocks::block`], for each of `blocks`; and `attached` was made by
    /// [`Blocks::attach`] of this type.
    pub unsafe fn span(
        attached: &AttachedCut<T, Ix1>,
        blocks: Range<usize>,
    ) -> Option<BlockMut<'_, T, Ix1>> {
        let last = blocks
            .end
            .checked_sub(1)
            .filter(|last| *last >= blocks.start)?;
        let (first, last) = (
            attached.pieces.part(blocks.start)?,
            attached.pieces.part(last)?,
        );
        let part = Part {
            start: first.start,
            shape: Ix1(last.start[0] + last.shape[0] - first.start[0]),
        };
        let place = attached.place(part, blocks.start)?;
        // SAFETY: the blocks of an axis follow each other and lie in the array,
        // which `attached` keeps mapped; the caller vouches that there is no
        // other block of these indices and that the array is lent for writing.
        Some(unsafe { BlockMut::new(place) })
    }
}

impl<'a, T: Element, D: Dimension> HaloBlocks<'a, T, D> {
    pub(crate) fn along(placed: &'a Placed<T, D>, axis: Axis, size: usize, rim: usize) -> Self {
        let axis = axis.index();
        let mut rims = vec![0; placed.layout().shape().len()];
        // Without such an axis the plan is an error anyway.
        if let Some(along) = rims.get_mut(axis) {
            *along = rim;
        }
        let (cut, rim) = (Cut::Axis { axis, size }, Some(rims));
        HaloBlocks {
            lent: Lent { placed, cut, rim },
        }
    }

    pub(crate) fn tiles(
        placed: &'a Placed<T, D>,
        tile: impl IntoDimension<Dim = D>,
        rim: impl IntoDimension<Dim = D>,
    ) -> Self {
        let cut = Cut::Tiles(tile.into_dimension().slice().to_vec());
        let rim = Some(rim.into_dimension().slice().to_vec());
        HaloBlocks {
            lent: Lent { placed, cut, rim },
        }
    }
}
