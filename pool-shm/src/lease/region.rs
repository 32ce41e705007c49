//! Blocks that the user has chosen: what they are, and whether two of them
//! have an element in common. Arithmetic only.

use super::cut::Part;
use crate::array::range_of;
use crate::error::{Kind, ShmError};
use ndarray::{Dimension, SliceInfo, SliceInfoElem};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A block of an array, as the user says it: a range for each axis
/// (`[0..10, 5..8]`, or `0..10` where there is one axis), or a slice
/// (`s![..10, 5..8]`) whose steps are 1.
///
/// A single index in a slice means the range of that one element: a block has
/// as many axes as its array.
///
/// This trait is sealed: it is implemented for `Range<usize>`,
/// `[Range<usize>; N]`, `Vec<Range<usize>>` and what [`ndarray::s!`] makes.
pub trait Region: sealed::Sealed {
    /// The ranges of an array of this shape.
    #[doc(hidden)]
    fn ranges(&self, shape: &[usize]) -> Result<Vec<Range<usize>>, &'static str>;
}

mod sealed {
    /// Keeps [`Region`](super::Region) from being implemented elsewhere.
    #[expect(
        unnameable_types,
        reason = "a sealed trait is one that nobody else can name"
    )]
    pub trait Sealed {}
}

const COUNT: &str = "a region needs one range for each axis";

impl<const N: usize> sealed::Sealed for [Range<usize>; N] {}
impl<const N: usize> Region for [Range<usize>; N] {
    fn ranges(&self, _shape: &[usize]) -> Result<Vec<Range<usize>>, &'static str> {
        Ok(self.to_vec())
    }
}

impl sealed::Sealed for Range<usize> {}
impl Region for Range<usize> {
    fn ranges(&self, _shape: &[usize]) -> Result<Vec<Range<usize>>, &'static str> {
        Ok(vec![self.clone()])
    }
}

impl sealed::Sealed for Vec<Range<usize>> {}
impl Region for Vec<Range<usize>> {
    fn ranges(&self, _shape: &[usize]) -> Result<Vec<Range<usize>>, &'static str> {
        Ok(self.clone())
    }
}

impl<I: AsRef<[SliceInfoElem]>, A: Dimension, B: Dimension> sealed::Sealed for SliceInfo<I, A, B> {}
impl<I: AsRef<[SliceInfoElem]>, A: Dimension, B: Dimension> Region for SliceInfo<I, A, B> {
    fn ranges(&self, shape: &[usize]) -> Result<Vec<Range<usize>>, &'static str> {
        let elements: &[SliceInfoElem] = self.as_ref();
        if elements.len() != shape.len() {
            return Err(COUNT);
        }
        let along = elements.iter().zip(shape);
        along
            .map(|(element, &len)| range_of(*element, len))
            .collect()
    }
}

/// Regions, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RegionList {
    count: usize,
    axes: usize,
    /// First index and the one behind the last along each axis of each region.
    ranges: Vec<(usize, usize)>,
}

impl RegionList {
    /// Checks that each region lies in an array of this shape.
    pub(super) fn new<R: Region>(
        shape: &[usize],
        regions: impl IntoIterator<Item = R>,
    ) -> Result<Self, ShmError> {
        let mut list = RegionList {
            axes: shape.len(),
            ..RegionList::default()
        };
        for region in regions {
            let cannot = |reason| Kind::InvalidCut {
                shape: shape.to_vec(),
                cut: format!("into regions (region {})", list.count),
                reason,
            };
            let ranges = region.ranges(shape).map_err(cannot)?;
            check(&ranges, shape).map_err(cannot)?;
            list.count += 1;
            list.ranges
                .extend(ranges.iter().map(|range| (range.start, range.end)));
        }
        Ok(list)
    }

    /// The number of regions.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The blocks of an array of this shape, after checking all of them.
    pub(super) fn parts<D: Dimension>(&self, shape: &D) -> Result<Vec<Part<D>>, &'static str> {
        let numbers = self.count.checked_mul(self.axes);
        if self.axes != shape.ndim() || numbers != Some(self.ranges.len()) {
            return Err(COUNT);
        }
        // A region of no axes takes no numbers, so their count is not known to
        // be backed by anything.
        if self.axes == 0 && self.count > 1 {
            return Err("an array without axes has one region at most");
        }
        let part = |index: usize| {
            let ranges: Vec<_> = self.region(index).map(|(start, end)| start..end).collect();
            check(&ranges, shape.slice())?;
            let (mut start, mut lengths) = (shape.clone(), shape.clone());
            for (axis, range) in ranges.into_iter().enumerate() {
                start.slice_mut()[axis] = range.start;
                lengths.slice_mut()[axis] = range.len();
            }
            let shape = lengths;
            Ok(Part { start, shape })
        };
        (0..self.count).map(part).collect()
    }

    fn region(&self, index: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let from = index * self.axes;
        self.ranges[from..from + self.axes].iter().copied()
    }

    /// Checks that no two regions have an element in common.
    pub(super) fn check_disjoint(&self) -> Result<(), ShmError> {
        let Some(mut blocks) = self.overlap() else {
            return Ok(());
        };
        blocks.sort_unstable();
        let ranges = blocks.map(|index| {
            let ranges: Vec<_> = self.region(index).map(|(start, end)| start..end).collect();
            format!("{ranges:?}")
        });
        Err(Kind::OverlappingBlocks { blocks, ranges }.into())
    }

    /// Two regions that have an element in common.
    ///
    /// Regions are sorted along one axis and split wherever none reaches
    /// across, then each group along the next axis, and so on; in the end
    /// groups are left that no straight cut divides, of one region each if the
    /// regions come from cutting an array again and again. Only within a group
    /// regions are compared with each other.
    fn overlap(&self) -> Option<[usize; 2]> {
        let empty = |index: usize| self.region(index).any(|(start, end)| start == end);
        let mut order: Vec<usize> = (0..self.count).filter(|&index| !empty(index)).collect();
        let mut groups = vec![Group {
            at: 0..order.len(),
            axis: 0,
            undivided: 0,
        }];
        while let Some(group) = groups.pop() {
            let members = &mut order[group.at.clone()];
            if members.len() < 2 {
                continue;
            }
            if group.undivided == self.axes {
                match self.compare(members) {
                    None => continue,
                    found => return found,
                }
            }
            self.divide(members, &group, &mut groups);
        }
        None
    }

    /// Sorts a group along its axis, and adds what falls apart to `groups`.
    fn divide(&self, members: &mut [usize], group: &Group, groups: &mut Vec<Group>) {
        members.sort_unstable_by_key(|&index| self.range(index, group.axis));
        let axis = (group.axis + 1) % self.axes;
        let (mut from, mut end) = (0, 0);
        for at in 0..=members.len() {
            let range = members.get(at).map(|&index| self.range(index, group.axis));
            if at > from && range.is_none_or(|(start, _)| start >= end) {
                let all = from == 0 && at == members.len();
                groups.push(Group {
                    at: group.at.start + from..group.at.start + at,
                    axis,
                    undivided: if all { group.undivided + 1 } else { 1 },
                });
                from = at;
            }
            end = range.map_or(end, |range| range.1.max(end));
        }
    }

    /// Compares regions with each other that lie abreast along the first axis.
    fn compare(&self, members: &mut [usize]) -> Option<[usize; 2]> {
        if self.axes == 0 {
            return Some([members[0], members[1]]);
        }
        members.sort_unstable_by_key(|&index| self.range(index, 0));
        let mut abreast: Vec<usize> = Vec::new();
        for &index in &*members {
            let (start, _) = self.range(index, 0);
            abreast.retain(|&other| self.range(other, 0).1 > start);
            if let Some(&other) = abreast.iter().find(|&&other| self.meet(index, other)) {
                return Some([other, index]);
            }
            abreast.push(index);
        }
        None
    }

    fn range(&self, index: usize, axis: usize) -> (usize, usize) {
        self.ranges[index * self.axes + axis]
    }

    fn meet(&self, one: usize, other: usize) -> bool {
        let mut axes = self.region(one).zip(self.region(other));
        axes.all(|(one, other)| one.0 < other.1 && other.0 < one.1)
    }
}

/// Regions that no cut tried so far divides.
struct Group {
    at: Range<usize>,
    /// Along which axis it is tried next.
    axis: usize,
    /// Along how many axes in a row it fell not apart.
    undivided: usize,
}

/// Checks that a region lies in an array of this shape.
fn check(ranges: &[Range<usize>], shape: &[usize]) -> Result<(), &'static str> {
    if ranges.len() != shape.len() {
        return Err(COUNT);
    }
    for (range, &len) in ranges.iter().zip(shape) {
        if range.start > range.end {
            return Err("a range ends before it begins");
        }
        if range.end > len {
            return Err("a range lies outside the axis");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Ix0, Ix2, IxDyn, s};
    use proptest::prelude::*;

    fn list(shape: &[usize], regions: &[Vec<Range<usize>>]) -> RegionList {
        RegionList::new(shape, regions.iter().cloned()).unwrap()
    }

    proptest! {
        #[test]
        fn an_overlap_is_found_if_there_is_one(
            regions in prop::collection::vec(
                prop::collection::vec((0_usize..12, 0_usize..5), 3),
                0..12,
            ),
            axes in 1_usize..4,
        ) {
            let ranges = |region: &Vec<(usize, usize)>| -> Vec<_> {
                region[..axes].iter().map(|&(from, len)| from..from + len).collect()
            };
            let regions: Vec<_> = regions.iter().map(ranges).collect();
            let meet = |a: &[Range<usize>], b: &[Range<usize>]| {
                a.iter().zip(b).all(|(a, b)| a.clone().any(|i| b.contains(&i)))
            };
            let expected = (0..regions.len())
                .any(|i| (0..i).any(|j| meet(&regions[i], &regions[j])));
            let list = list(&vec![20; axes], &regions);
            let found = list.overlap();
            prop_assert_eq!(found.is_some(), expected);
            if let Some([a, b]) = found {
                prop_assert!(a != b && meet(&regions[a], &regions[b]));
                let error = list.check_disjoint().unwrap_err();
                prop_assert!(error.is_overlap() && error.is_invalid_cut());
                prop_assert_eq!(error.overlapping_blocks(), Some([a.min(b), a.max(b)]));
            }
            prop_assert_eq!(list.parts(&IxDyn(&vec![20; axes])).unwrap().len(), regions.len());
        }
    }

    /// The groups that have to be compared are small however many regions
    /// there are: 40,000 tiles and as many bricks, each row shifted, take as
    /// many comparisons as there are neighbours.
    #[test]
    fn many_regions_are_told_apart_by_sorting() {
        let tiles = (0..40_000).map(|i| [i / 200 * 3..i / 200 * 3 + 3, i % 200..i % 200 + 1]);
        let tiles = RegionList::new(&[600, 200], tiles).unwrap();
        assert_eq!(tiles.overlap(), None);
        let bricks = (0..40_000).map(|i| {
            let (row, from) = (i / 200, i % 200 * 4 + i / 200 % 4);
            [row..row + 1, from..from + 4]
        });
        let bricks = RegionList::new(&[200, 900], bricks).unwrap();
        assert_eq!(bricks.overlap(), None);
    }

    #[test]
    fn regions_that_no_straight_cut_divides_are_compared() {
        // A pinwheel.
        let wheel = [
            vec![0..1, 0..2],
            vec![0..2, 2..3],
            vec![2..3, 1..3],
            vec![1..3, 0..1],
        ];
        assert_eq!(list(&[3, 3], &wheel).overlap(), None);
        let mut middle = wheel.to_vec();
        middle.push(vec![1..2, 1..2]);
        assert_eq!(list(&[3, 3], &middle).overlap(), None);
        middle.push(vec![1..2, 1..3]);
        let error = list(&[3, 3], &middle).check_disjoint().unwrap_err();
        let text = error.to_string();
        assert!(text.contains("block 5, [1..2, 1..3]"), "{text}");
    }

    #[test]
    fn slices_are_ranges() {
        let region = |ranges: Result<Vec<_>, &'static str>| ranges.unwrap();
        assert_eq!(region(s![..4, -3..].ranges(&[9, 9])), [0..4, 6..9]);
        assert_eq!(region(s![.., 2].ranges(&[9, 9])), [0..9, 2..3]);
        assert!(s![..;2, ..].ranges(&[9, 9]).is_err());
        assert!(s![..;-1, ..].ranges(&[9, 9]).is_err());
        assert!(s![.., .., ..].ranges(&[9, 9]).is_err());
        assert_eq!(region((2..5).ranges(&[9]))[0], 2..5);
        assert!(
            RegionList::new(&[9, 9], [1..2, 2..5])
                .unwrap_err()
                .is_invalid_cut()
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (region, reason) in [
            (vec![0..1; 1], "one range for each axis"),
            (vec![0..1, 0..6], "outside the axis"),
            (vec![0..1, Range { start: 3, end: 2 }], "before it begins"),
        ] {
            let error = RegionList::new(&[4, 5], [vec![0..1, 0..1], region]).unwrap_err();
            assert!(error.is_invalid_cut());
            let text = error.to_string();
            assert!(text.contains("region 1") && text.contains(reason), "{text}");
        }
        // What a handle may say.
        let forged = |count, axes, ranges| RegionList {
            count,
            axes,
            ranges,
        };
        for list in [
            forged(2, 2, vec![(0, 1); 3]),
            forged(usize::MAX, 2, vec![(0, 1); 4]),
            forged(1, 2, vec![(0, 1), (0, 6)]),
            forged(1, 1, vec![(0, 1)]),
        ] {
            assert!(list.parts(&Ix2(4, 5)).is_err());
        }
        assert!(forged(usize::MAX, 0, vec![]).parts(&Ix0()).is_err());
        assert_eq!(forged(1, 0, vec![]).parts(&Ix0()).unwrap().len(), 1);
    }
}
