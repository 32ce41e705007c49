//! How arrays are cut into blocks: arithmetic only.

use super::region::RegionList;
use crate::error::{Kind, ShmError};
use ndarray::Dimension;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A way to cut an array, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cut {
    /// Into pieces of `size` along one axis.
    Axis { axis: usize, size: usize },
    /// Into tiles of at most this shape.
    Tiles(Vec<usize>),
    /// Into blocks that the user has chosen.
    Regions(RegionList),
}

impl Cut {
    /// Length of the array and size of a block along each axis that is cut.
    pub(super) fn along(&self, shape: &[usize]) -> Vec<(usize, usize)> {
        match self {
            Cut::Axis { axis, size } => shape
                .get(*axis)
                .map(|len| (*len, *size))
                .into_iter()
                .collect(),
            Cut::Tiles(tile) => shape.iter().copied().zip(tile.iter().copied()).collect(),
            Cut::Regions(_) => Vec::new(),
        }
    }

    /// The error of an array of `shape` that cannot be cut so.
    pub(super) fn impossible(&self, shape: &[usize], reason: &'static str) -> ShmError {
        Kind::InvalidCut {
            shape: shape.to_vec(),
            cut: self.to_string(),
            reason,
        }
        .into()
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Axis { axis, size } => write!(f, "into blocks of {size} along axis {axis}"),
            Cut::Tiles(tile) => write!(f, "into tiles of shape {tile:?}"),
            Cut::Regions(regions) => write!(f, "into {} regions", regions.len()),
        }
    }
}

/// A cut that fits its array.
#[derive(Clone, Debug)]
pub(super) enum Pieces<D> {
    Grid(Grid<D>),
    Regions(Vec<Part<D>>),
}

impl<D: Dimension> Pieces<D> {
    /// Checks that an array of this shape can be cut so, and that blocks have
    /// no element in common if they are `exclusive`.
    pub(super) fn new(shape: &D, cut: &Cut, exclusive: bool) -> Result<Self, ShmError> {
        let impossible = |reason| cut.impossible(shape.slice(), reason);
        Ok(match cut {
            Cut::Axis { axis, size } => {
                Pieces::Grid(Grid::along(shape, *axis, *size).map_err(impossible)?)
            }
            Cut::Tiles(tile) => Pieces::Grid(Grid::tiles(shape, tile).map_err(impossible)?),
            Cut::Regions(regions) => {
                let parts = regions.parts(shape).map_err(impossible)?;
                if exclusive {
                    regions.check_disjoint()?;
                }
                Pieces::Regions(parts)
            }
        })
    }

    /// The number of blocks.
    pub(super) fn len(&self) -> usize {
        match self {
            Pieces::Grid(grid) => grid.total,
            Pieces::Regions(parts) => parts.len(),
        }
    }

    /// The axis of which a block says start and range.
    pub(super) fn axis(&self) -> usize {
        match self {
            Pieces::Grid(grid) => grid.axis,
            Pieces::Regions(_) => 0,
        }
    }

    /// Block `index`; of a grid, the last axis fastest.
    pub(super) fn part(&self, index: usize) -> Option<Part<D>> {
        match self {
            Pieces::Grid(grid) => grid.part(index),
            Pieces::Regions(parts) => parts.get(index).cloned(),
        }
    }
}

/// Blocks of one size.
///
/// Invariant: each element lies in exactly one part; `counts` multiply to
/// `total`.
#[derive(Clone, Debug)]
pub(super) struct Grid<D> {
    /// The array's shape.
    shape: D,
    /// The shape of a part that is not at an end.
    tile: D,
    /// The number of parts along each axis.
    counts: D,
    /// The axis of which a block says start and range.
    axis: usize,
    total: usize,
}

/// One block of a cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part<D> {
    pub(super) start: D,
    pub(super) shape: D,
}

impl<D: Dimension> Part<D> {
    /// This part and `rim` more elements on each side, as far as the array of
    /// shape `whole` reaches.
    pub(super) fn widened(&self, rim: &D, whole: &D) -> Part<D> {
        let mut wide = self.clone();
        for axis in 0..whole.ndim() {
            let (start, len) = (self.start.slice()[axis], self.shape.slice()[axis]);
            let rim = rim.slice()[axis];
            let from = start.saturating_sub(rim);
            let end = (start + len).saturating_add(rim);
            wide.start.slice_mut()[axis] = from;
            wide.shape.slice_mut()[axis] = end.min(whole.slice()[axis]) - from;
        }
        wide
    }
}

impl<D: Dimension> Grid<D> {
    fn along(shape: &D, axis: usize, size: usize) -> Result<Self, &'static str> {
        let Some(&len) = shape.slice().get(axis) else {
            return Err("there is no such axis");
        };
        if size == 0 {
            return Err("the size of a block must be at least 1");
        }
        let (mut tile, mut counts) = (shape.clone(), shape.clone());
        counts.slice_mut().fill(1);
        tile.slice_mut()[axis] = size;
        counts.slice_mut()[axis] = len.div_ceil(size);
        Grid::of(shape, tile, counts, axis)
    }

    fn tiles(shape: &D, sizes: &[usize]) -> Result<Self, &'static str> {
        if sizes.len() != shape.ndim() {
            return Err("a tile needs one length for each axis");
        }
        if sizes.contains(&0) {
            return Err("each length of a tile must be at least 1");
        }
        let (mut tile, mut counts) = (shape.clone(), shape.clone());
        tile.slice_mut().copy_from_slice(sizes);
        for (count, size) in counts.slice_mut().iter_mut().zip(sizes) {
            *count = count.div_ceil(*size);
        }
        Grid::of(shape, tile, counts, 0)
    }

    fn of(shape: &D, tile: D, counts: D, axis: usize) -> Result<Self, &'static str> {
        let total = counts.size_checked().ok_or("there are too many blocks")?;
        Ok(Grid {
            shape: shape.clone(),
            tile,
            counts,
            axis,
            total,
        })
    }

    /// Block `index`, the last axis fastest.
    fn part(&self, index: usize) -> Option<Part<D>> {
        if index >= self.total {
            return None;
        }
        let mut rest = index;
        let (mut start, mut shape) = (self.shape.clone(), self.shape.clone());
        for axis in (0..self.shape.ndim()).rev() {
            let (count, tile) = (self.counts.slice()[axis], self.tile.slice()[axis]);
            let first = rest % count * tile;
            rest /= count;
            start.slice_mut()[axis] = first;
            shape.slice_mut()[axis] = tile.min(self.shape.slice()[axis] - first);
        }
        Some(Part { start, shape })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array, Axis, Ix0, Ix2, IxDyn, Slice};
    use proptest::prelude::*;

    /// How often each element lies in a block.
    fn cover(shape: &[usize], cut: &Cut) -> Array<u32, IxDyn> {
        let grid = Pieces::new(&IxDyn(shape), cut, true).unwrap();
        let mut hits = Array::zeros(IxDyn(shape));
        for index in 0..grid.len() {
            let part = grid.part(index).unwrap();
            let mut block = hits.view_mut();
            for axis in 0..shape.len() {
                let from = part.start[axis].cast_signed();
                let to = from + part.shape[axis].cast_signed();
                block.slice_axis_inplace(Axis(axis), Slice::new(from, Some(to), 1));
            }
            assert_eq!(block.shape(), part.shape.slice());
            block += 1;
        }
        assert!(grid.part(grid.len()).is_none() && grid.part(usize::MAX).is_none());
        hits
    }

    proptest! {
        #[test]
        fn chunks_hold_each_element_once(
            shape in prop::collection::vec(0_usize..7, 1..5),
            axis: prop::sample::Index,
            size in 1_usize..9,
        ) {
            let axis = axis.index(shape.len());
            let hits = cover(&shape, &Cut::Axis { axis, size });
            prop_assert!(hits.iter().all(|&n| n == 1));
        }

        #[test]
        fn tiles_hold_each_element_once(
            axes in prop::collection::vec((0_usize..7, 1_usize..9), 0..5),
        ) {
            let (shape, tile): (Vec<_>, Vec<_>) = axes.into_iter().unzip();
            let hits = cover(&shape, &Cut::Tiles(tile));
            prop_assert!(hits.iter().all(|&n| n == 1));
        }
    }

    #[test]
    fn ragged_ends_are_smaller() {
        let grid = Pieces::new(&Ix2(5, 3), &Cut::Tiles(vec![2, 2]), true).unwrap();
        assert_eq!(grid.len(), 6);
        let part = |start, shape| Some(Part { start, shape });
        assert_eq!(grid.part(0), part(Ix2(0, 0), Ix2(2, 2)));
        assert_eq!(grid.part(1), part(Ix2(0, 2), Ix2(2, 1)));
        assert_eq!(grid.part(5), part(Ix2(4, 2), Ix2(1, 1)));
    }

    #[test]
    fn sizes_beyond_the_array_give_one_block() {
        let size = usize::MAX;
        let grid = Pieces::new(&Ix2(5, 3), &Cut::Axis { axis: 0, size }, true).unwrap();
        assert_eq!(grid.part(0).unwrap().shape, Ix2(5, 3));
        assert_eq!(grid.len(), 1);
    }

    #[test]
    fn zero_lengths() {
        let rows = |shape: Ix2| {
            let cut = Cut::Axis { axis: 0, size: 2 };
            Pieces::new(&shape, &cut, true).unwrap().len()
        };
        assert_eq!((rows(Ix2(0, 4)), rows(Ix2(5, 0))), (0, 3));
        assert_eq!(
            Pieces::new(&Ix0(), &Cut::Tiles(vec![]), true)
                .unwrap()
                .len(),
            1
        );
    }

    #[test]
    fn impossible_cuts_say_why() {
        for (cut, text) in [
            (
                Cut::Axis { axis: 2, size: 1 },
                "along axis 2: there is no such axis",
            ),
            (
                Cut::Axis { axis: 0, size: 0 },
                "blocks of 0 along axis 0: the size",
            ),
            (Cut::Tiles(vec![1]), "shape [1]: a tile needs one length"),
            (Cut::Tiles(vec![1, 0]), "shape [1, 0]: each length"),
        ] {
            let error = Pieces::new(&Ix2(4, 5), &cut, true).unwrap_err();
            assert!(error.is_invalid_cut());
            let error = error.to_string();
            assert!(
                error.contains("shape [4, 5]") && error.contains(text),
                "{error}"
            );
        }
    }

    #[test]
    fn a_rim_ends_where_the_array_ends() {
        let grid = Pieces::new(&Ix2(5, 4), &Cut::Tiles(vec![2, 2]), false).unwrap();
        let wide = |index: usize, rim| grid.part(index).unwrap().widened(&rim, &Ix2(5, 4));
        let part = |start, shape| Part { start, shape };
        assert_eq!(wide(0, Ix2(1, 1)), part(Ix2(0, 0), Ix2(3, 3)));
        assert_eq!(wide(3, Ix2(1, 1)), part(Ix2(1, 1), Ix2(4, 3)));
        assert_eq!(wide(3, Ix2(0, 9)), part(Ix2(2, 0), Ix2(2, 4)));
        assert_eq!(wide(5, Ix2(usize::MAX, 0)), part(Ix2(0, 2), Ix2(5, 2)));
    }
}
