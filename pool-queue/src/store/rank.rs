//! Priorities as numbers that are compared in shared memory.

use std::cmp::Reverse;

/// What a [`PriorityQueue`](super::PriorityQueue) orders by: smaller comes first.
///
/// It is turned into a number and back, since values are compared where no code of theirs can run. Integers, floats (in total order, so NaN has its place),
/// `bool`, and [`Reverse`] of any of them are priorities; implement it for an enum of your own.
///
/// ```
/// use pool_queue::{Priority, PriorityQueue};
///
/// #[derive(Debug, Clone, Copy, PartialEq)]
/// enum Level { Urgent, Normal }
///
/// impl Priority for Level {
///     fn rank(self) -> u64 {
///         self as u64
///     }
///     fn from_rank(rank: u64) -> Self {
///         if rank == 0 { Level::Urgent } else { Level::Normal }
///     }
/// }
///
/// let queue = PriorityQueue::<Level, String>::new(10)?;
/// queue.put(Level::Normal, "later".into())?;
/// queue.put(Level::Urgent, "now".into())?;
/// assert_eq!(queue.get()?, (Level::Urgent, "now".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Priority: Copy + 'static {
    /// A number that is smaller exactly if the priority comes first.
    fn rank(self) -> u64;

    /// The priority with this rank. It may be asked for any number if something wrote over the queue.
    fn from_rank(rank: u64) -> Self;
}

macro_rules! unsigned {
    ($($number:ty),*) => {$(
        impl Priority for $number {
            fn rank(self) -> u64 {
                self as u64
            }

            fn from_rank(rank: u64) -> Self {
                rank as $number
            }
        }
    )*};
}

macro_rules! signed {
    ($($number:ty),*) => {$(
        impl Priority for $number {
            fn rank(self) -> u64 {
                (self as i64).cast_unsigned() ^ SIGN
            }

            fn from_rank(rank: u64) -> Self {
                (rank ^ SIGN).cast_signed() as $number
            }
        }
    )*};
}

const SIGN: u64 = 1 << 63;

unsigned!(u8, u16, u32, u64, usize);
signed!(i8, i16, i32, i64, isize);

impl Priority for bool {
    fn rank(self) -> u64 {
        u64::from(self)
    }

    fn from_rank(rank: u64) -> Self {
        rank != 0
    }
}

/// In total order (`f64::total_cmp`).
impl Priority for f64 {
    fn rank(self) -> u64 {
        let bits = self.to_bits();
        if bits & SIGN == 0 { bits | SIGN } else { !bits }
    }

    fn from_rank(rank: u64) -> Self {
        f64::from_bits(if rank & SIGN == 0 { !rank } else { rank ^ SIGN })
    }
}

/// In total order (`f32::total_cmp`).
impl Priority for f32 {
    fn rank(self) -> u64 {
        f64::from(self).rank()
    }

    fn from_rank(rank: u64) -> Self {
        f64::from_rank(rank) as f32
    }
}

impl<P: Priority> Priority for Reverse<P> {
    fn rank(self) -> u64 {
        !self.0.rank()
    }

    fn from_rank(rank: u64) -> Self {
        Reverse(P::from_rank(!rank))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn integers_keep_their_order(a: i32, b: i32, c: u64, d: u64) {
            prop_assert_eq!(a.rank().cmp(&b.rank()), a.cmp(&b));
            prop_assert_eq!(c.rank().cmp(&d.rank()), c.cmp(&d));
            prop_assert_eq!(Reverse(a).rank().cmp(&Reverse(b).rank()), b.cmp(&a));
            prop_assert_eq!(i32::from_rank(a.rank()), a);
            prop_assert_eq!(Reverse::<u64>::from_rank(Reverse(c).rank()), Reverse(c));
        }

        #[test]
        fn floats_keep_their_total_order(a: f64, b: f64, c: f32) {
            prop_assert_eq!(a.rank().cmp(&b.rank()), a.total_cmp(&b));
            prop_assert_eq!(f64::from_rank(a.rank()).to_bits(), a.to_bits());
            prop_assert!(f32::from_rank(c.rank()) == c || c.is_nan());
        }
    }
}
