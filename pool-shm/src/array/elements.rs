//! Which places of memory the elements of an array take: arithmetic only.

/// The places `start + i0*s0 + i1*s1 + …`, `ik` below the length of axis `k`.
///
/// Places are counted in elements or in bytes, as the caller likes. Axes that
/// do not matter (of length 1) are left out, and the steps of the others are
/// made positive, which changes where the first place is and not the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Elements {
    /// The lowest place.
    start: i128,
    /// Steps and lengths (2 at least), the largest step first.
    axes: Vec<(u128, u128)>,
    /// The number of places one holds: 1, or more for bytes.
    width: u128,
    is_empty: bool,
}

impl Elements {
    /// The places of an array whose element of index 0 is at `start`.
    pub(crate) fn new(
        start: i128,
        shape: &[usize],
        strides: impl IntoIterator<Item = isize>,
    ) -> Self {
        let is_empty = shape.contains(&0);
        let mut elements = Elements {
            start,
            axes: Vec::new(),
            width: 1,
            is_empty,
        };
        let axes = shape.iter().zip(strides).filter(|(len, _)| **len > 1);
        for (&len, stride) in axes.filter(|_| !is_empty) {
            let len = len as u128;
            if stride < 0 {
                let reach = (stride as i128).saturating_mul(len.cast_signed() - 1);
                elements.start = elements.start.saturating_add(reach);
            }
            elements.axes.push((stride.unsigned_abs() as u128, len));
        }
        elements.axes.sort_unstable_by(|a, b| b.cmp(a));
        elements
    }

    /// The same with each place made `size` places, from `size * start` on.
    pub(crate) fn scaled(mut self, size: usize) -> Self {
        self.start *= size as i128;
        self.width *= size as u128;
        for (step, _) in &mut self.axes {
            *step *= size as u128;
        }
        self
    }

    /// The same, `by` places further on.
    pub(crate) fn moved(mut self, by: usize) -> Self {
        self.start += by as i128;
        self
    }

    /// The number of places from the lowest to the highest, both counted; None
    /// if it does not fit.
    pub(crate) fn extent(&self) -> Option<u64> {
        if self.is_empty {
            return Some(0);
        }
        u64::try_from(reach(&self.axes).saturating_add(self.width)).ok()
    }

    /// The lowest place, and the first one behind the highest; None if there
    /// is no place.
    pub(crate) fn hull(&self) -> Option<(i128, i128)> {
        let reach = reach(&self.axes).saturating_add(self.width);
        let end = self.start.saturating_add_unsigned(reach);
        (!self.is_empty).then_some((self.start, end))
    }

    /// Whether no place is met by two indices.
    ///
    /// The condition is sufficient, and all parts of contiguous arrays meet it:
    /// each step is larger than everything below it together.
    pub(crate) fn are_distinct(&self) -> bool {
        self.is_empty || is_nested(&self.axes, self.width)
    }

    /// Whether the two have a place in common. Both must be
    /// [distinct](Self::are_distinct).
    ///
    /// Exact. The time is that of a few steps for each axis if the steps are
    /// the same, as in parts of one array; otherwise it grows with the lengths
    /// of the axes that differ.
    pub(crate) fn meet(&self, other: &Elements) -> bool {
        if self.is_empty || other.is_empty {
            return false;
        }
        let distance = other.start.saturating_sub(self.start);
        meet(
            (&self.axes, self.width),
            (&other.axes, other.width),
            distance,
        )
    }
}

/// The distance from the lowest to the highest start of an element.
fn reach(axes: &[(u128, u128)]) -> u128 {
    let reaches = axes.iter().map(|(step, len)| step.saturating_mul(len - 1));
    reaches.fold(0, u128::saturating_add)
}

fn is_nested(axes: &[(u128, u128)], width: u128) -> bool {
    let below = |at: usize| reach(&axes[at + 1..]).saturating_add(width);
    (0..axes.len()).all(|at| axes[at].0 >= below(at))
}

/// Whether the places from 0 on and those from `distance` on have one in
/// common.
fn meet(
    (one, width): (&[(u128, u128)], u128),
    (other, other_width): (&[(u128, u128)], u128),
    distance: i128,
) -> bool {
    let behind_one = reach(one).saturating_add(width);
    let behind_other = reach(other).saturating_add(other_width);
    let apart = |distance: i128, behind: u128| distance >= 0 && distance.unsigned_abs() >= behind;
    if apart(distance, behind_one) || apart(-distance, behind_other) {
        return false;
    }
    match (one.split_first(), other.split_first()) {
        (None, None) => true,
        // Equal steps: only how far one index is behind the other matters, and
        // what is below a step is shorter than the step.
        (Some((&(step, len), rest)), Some((&(same, other_len), other_rest))) if step == same => {
            let nearest = distance.div_euclid(step.cast_signed());
            (nearest..=nearest + 1)
                .filter(|by| *by < len.cast_signed() && -by < other_len.cast_signed())
                .any(|by| {
                    let distance = distance - by * step.cast_signed();
                    meet((rest, width), (other_rest, other_width), distance)
                })
        }
        (Some((&(step, len), rest)), other_first)
            if other_first.is_none_or(|((other_step, _), _)| step > *other_step) =>
        {
            // Only those pieces that reach into the other's hull.
            let step = step.cast_signed();
            let low = distance - (reach(rest) + width).cast_signed();
            let high = distance + behind_other.cast_signed();
            let first = low.div_euclid(step).max(0);
            let last = high.div_euclid(step).min(len.cast_signed() - 1);
            (first..=last).any(|i| meet((rest, width), (other, other_width), distance - i * step))
        }
        _ => meet((other, other_width), (one, width), -distance),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// All places, one by one.
    fn places(start: i128, axes: &[(usize, isize)]) -> Vec<i128> {
        axes.iter().fold(vec![start], |places, &(len, stride)| {
            let along = |place: &i128| {
                let place = *place;
                (0..len as i128).map(move |i| place + i * stride as i128)
            };
            places.iter().flat_map(along).collect()
        })
    }

    fn elements(start: i128, axes: &[(usize, isize)]) -> Elements {
        let shape: Vec<_> = axes.iter().map(|axis| axis.0).collect();
        Elements::new(start, &shape, axes.iter().map(|axis| axis.1))
    }

    fn axes() -> impl Strategy<Value = Vec<(usize, isize)>> {
        prop::collection::vec((0_usize..5, -12_isize..13), 0..4)
    }

    proptest! {
        #[test]
        fn hulls_are_tight(start in -9_i128..9, axes in axes()) {
            let (all, elements) = (places(start, &axes), elements(start, &axes));
            let low = all.iter().min().map(|low| (*low, all.iter().max().unwrap() + 1));
            prop_assert_eq!(elements.hull(), low);
            let extent = low.map_or(0, |(low, high)| high - low);
            prop_assert_eq!(elements.extent(), Some(extent as u64));
        }

        #[test]
        fn distinct_places_are_distinct(axes in axes()) {
            let all = places(0, &axes);
            let distinct: HashSet<_> = all.iter().collect();
            if elements(0, &axes).are_distinct() {
                prop_assert_eq!(distinct.len(), all.len());
            }
        }

        #[test]
        fn those_that_meet_have_a_place_in_common(
            starts in (-30_i128..30, -30_i128..30),
            axes in (axes(), axes()),
            size in 1_usize..3,
        ) {
            let one = elements(starts.0, &axes.0);
            let other = elements(starts.1, &axes.1);
            if one.are_distinct() && other.are_distinct() {
                let all: HashSet<_> = places(starts.0, &axes.0).into_iter().collect();
                let common = places(starts.1, &axes.1).iter().any(|place| all.contains(place));
                prop_assert_eq!(one.meet(&other), common);
                prop_assert_eq!(other.clone().scaled(size).meet(&one.scaled(size)), common);
            }
        }

        #[test]
        fn parts_of_one_array_meet_where_they_should(
            shape in prop::array::uniform3(1_usize..5),
            parts in prop::array::uniform2(prop::array::uniform3((0_usize..5, 0_usize..5, 1_usize..4))),
        ) {
            let strides = [shape[1] * shape[2], shape[2], 1];
            let part = |spans: &[(usize, usize, usize); 3]| {
                let mut start = 0;
                let axes: Vec<_> = (0..3).map(|axis| {
                    let (from, len, step) = spans[axis];
                    let from = from.min(shape[axis]);
                    let len = len.min((shape[axis] - from).div_ceil(step));
                    start += from * strides[axis];
                    (len, (strides[axis] * step) as isize)
                }).collect();
                (start as i128, axes)
            };
            let ((a, first), (b, second)) = (part(&parts[0]), part(&parts[1]));
            let (one, other) = (elements(a, &first), elements(b, &second));
            prop_assert!(one.are_distinct() && other.are_distinct());
            let all: HashSet<_> = places(a, &first).into_iter().collect();
            let common = places(b, &second).iter().any(|place| all.contains(place));
            prop_assert_eq!(one.meet(&other), common);
        }
    }

    #[test]
    fn numbers_without_bound_do_no_harm() {
        let huge = elements(0, &[(usize::MAX, isize::MIN), (usize::MAX, isize::MAX)]);
        assert_eq!(huge.extent(), None);
        assert!(!huge.are_distinct());
        // The halves of many rows, by a column: a few steps, not one for each row.
        let rows = 1 << 40;
        let left = elements(0, &[(rows, 1000), (500, 1)]);
        let right = elements(500, &[(rows, 1000), (500, 1)]);
        assert!(!left.meet(&right) && left.meet(&left));
    }
}
