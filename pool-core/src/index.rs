//! Calls over a range of integers: nothing of the items is sent, each worker computes them from their index.

use std::any::TypeId;
use std::ops::{Range, RangeInclusive};

/// Consecutive integers: the first one, and how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Integers {
    /// The first integer, sign-extended to 64 bits.
    pub(crate) base: u64,
    pub(crate) len: u64,
}

macro_rules! for_each_integer {
    ($then:ident) => {
        $then!(usize, u64, u32, i32, i64, isize, u8, i8, u16, i16)
    };
}

/// What a range of integers spans, if `items` is one; otherwise none.
pub(crate) fn as_integers<I>(items: &I) -> Option<Integers> {
    let id = typeid::of::<I>();
    macro_rules! try_each {
        ($($int:ty),*) => { $(
            if id == TypeId::of::<Range<$int>>() {
                // SAFETY: equal type ids mean that `I` is this very type; it has no lifetimes that the id could hide.
                let range = unsafe { &*std::ptr::from_ref(items).cast::<Range<$int>>() };
                let len = if range.is_empty() { 0 } else { (range.end as u64).wrapping_sub(range.start as u64) };
                return Some(Integers { base: range.start as u64, len });
            }
            if id == TypeId::of::<RangeInclusive<$int>>() {
                // SAFETY: as above.
                let range = unsafe { &*std::ptr::from_ref(items).cast::<RangeInclusive<$int>>() };
                let span = (*range.end() as u64).wrapping_sub(*range.start() as u64);
                let len = if range.is_empty() { 0 } else { span.checked_add(1)? };
                return Some(Integers { base: *range.start() as u64, len });
            }
        )* };
    }
    for_each_integer!(try_each);
    None
}

/// Integer `base + offset` as an `A`, if `A` is the integer type of the range.
pub(crate) fn integer<A: 'static>(base: u64, offset: u64) -> Option<A> {
    let value = base.wrapping_add(offset);
    macro_rules! try_each {
        ($($int:ty),*) => { $(
            if TypeId::of::<A>() == TypeId::of::<$int>() {
                let mut slot: Option<A> = None;
                if let Some(slot) = (&mut slot as &mut dyn std::any::Any).downcast_mut::<Option<$int>>() {
                    *slot = Some(value as $int);
                }
                return slot;
            }
        )* };
    }
    for_each_integer!(try_each);
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<A: 'static, I: IntoIterator<Item = A>>(items: I) -> Option<Vec<A>> {
        let integers = as_integers(&items)?;
        (0..integers.len)
            .map(|i| integer(integers.base, i))
            .collect()
    }

    #[test]
    fn ranges_of_integers_are_recognised() {
        assert_eq!(all(3usize..7), Some(vec![3, 4, 5, 6]));
        assert_eq!(all(-2i8..=1), Some(vec![-2, -1, 0, 1]));
        assert_eq!(all(250u8..=255), Some((250..=255).collect()));
        assert_eq!(
            all(i64::MIN..i64::MIN + 2),
            Some(vec![i64::MIN, i64::MIN + 1])
        );
        assert_eq!(all(5i32..5), Some(vec![]));
        assert_eq!(as_integers(&(0..=u64::MAX)), None);
        assert_eq!(
            as_integers(&(i64::MIN..i64::MAX)).map(|i| i.len),
            Some(u64::MAX)
        );
    }

    #[test]
    fn other_iterators_are_not() {
        let borrowed = [1usize, 2];
        assert_eq!(as_integers(&borrowed.iter()), None);
        assert_eq!(as_integers(&vec![1, 2]), None);
        assert_eq!(as_integers(&(0..3).map(|i| i + 1)), None);
    }
}
