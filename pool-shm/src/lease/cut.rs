//! How arrays are cut into blocks: arithmetic only.

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
        }
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cut::Axis { axis, size } => write!(f, "into blocks of {size} along axis {axis}"),
            Cut::Tiles(tile) => write!(f, "into tiles of shape {tile:?}"),
        }
    }
}

/// A cut that fits its array.
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

/// One block of a grid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part<D> {
    pub(super) start: D,
    pub(super) shape: D,
}

impl<D: Dimension> Grid<D> {
    /// Checks that an array of this shape can be cut so.
    pub(super) fn new(shape: &D, cut: &Cut) -> Result<Self, ShmError> {
        match cut {
            Cut::Axis { axis, size } => Grid::along(shape, *axis, *size),
            Cut::Tiles(tile) => Grid::tiles(shape, tile),
        }
        .map_err(|reason| {
            Kind::InvalidCut {
                shape: shape.slice().to_vec(),
                cut: cut.to_string(),
                reason,
            }
            .into()
        })
    }

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

    /// The number of blocks.
    pub(super) fn len(&self) -> usize {
        self.total
    }

    pub(super) fn axis(&self) -> usize {
        self.axis
    }

    /// Block `index`, the last axis fastest.
    pub(super) fn part(&self, index: usize) -> Option<Part<D>> {
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
        let grid = Grid::new(&IxDyn(shape), cut).unwrap();
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
        let grid = Grid::new(&Ix2(5, 3), &Cut::Tiles(vec![2, 2])).unwrap();
        assert_eq!(grid.len(), 6);
        let part = |start, shape| Some(Part { start, shape });
        assert_eq!(grid.part(0), part(Ix2(0, 0), Ix2(2, 2)));
        assert_eq!(grid.part(1), part(Ix2(0, 2), Ix2(2, 1)));
        assert_eq!(grid.part(5), part(Ix2(4, 2), Ix2(1, 1)));
    }

    #[test]
    fn sizes_beyond_the_array_give_one_block() {
        let grid = Grid::new(
            &Ix2(5, 3),
            &Cut::Axis {
                axis: 0,
                size: usize::MAX,
            },
        )
        .unwrap();
        assert_eq!(grid.part(0).unwrap().shape, Ix2(5, 3));
        assert_eq!(grid.len(), 1);
    }

    #[test]
    fn zero_lengths() {
        let rows = |shape: Ix2| {
            Grid::new(&shape, &Cut::Axis { axis: 0, size: 2 })
                .unwrap()
                .len()
        };
        assert_eq!((rows(Ix2(0, 4)), rows(Ix2(5, 0))), (0, 3));
        assert_eq!(Grid::new(&Ix0(), &Cut::Tiles(vec![])).unwrap().len(), 1);
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
            let error = Grid::new(&Ix2(4, 5), &cut).unwrap_err();
            assert!(error.is_invalid_cut());
            let error = error.to_string();
            assert!(
                error.contains("shape [4, 5]") && error.contains(text),
                "{error}"
            );
        }
    }
}
