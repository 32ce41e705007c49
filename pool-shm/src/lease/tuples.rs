//! Several arrays cut alike: a task gets one block of each.

use super::blocks::{Blocks, sealed};
use super::{LeaseCache, LentSegment};
use crate::error::{Kind, ShmError};
use crate::segment::SegmentId;

/// The common number of blocks.
fn common(counts: &[usize]) -> Result<usize, ShmError> {
    match counts {
        [first, rest @ ..] if rest.iter().all(|count| count == first) => Ok(*first),
        _ => Err(Kind::UnequalCuts {
            counts: counts.to_vec(),
        }
        .into()),
    }
}

/// Checks that what is lent for writing is lent once.
fn disjoint(footprints: &[(SegmentId, bool)]) -> Result<(), ShmError> {
    for (i, (id, writable)) in footprints.iter().enumerate() {
        for (other, other_writable) in &footprints[..i] {
            if id == other && (*writable || *other_writable) {
                return Err(Kind::Overlap { id: id.to_string() }.into());
            }
        }
    }
    Ok(())
}

/// All footprints of a plan.
fn footprints<B: Blocks>(plan: &B::Plan) -> Vec<(SegmentId, bool)> {
    let mut all = Vec::new();
    B::footprints(plan, &mut |id, writable| all.push((id, writable)));
    all
}

macro_rules! tuples {
    ($(($($blocks:ident $i:tt),+);)*) => {$(
        impl<$($blocks: Blocks),+> sealed::Sealed for ($($blocks,)+) {}

        impl<$($blocks: Blocks),+> Blocks for ($($blocks,)+) {
            type Block<'a> = ($($blocks::Block<'a>,)+);
            type Plan = ($($blocks::Plan,)+);
            type Attached = ($($blocks::Attached,)+);

            fn plan(&self) -> Result<(usize, Self::Plan), ShmError> {
                let plans = ($(self.$i.plan()?,)+);
                let count = common(&[$(plans.$i.0),+])?;
                let plan = ($(plans.$i.1,)+);
                disjoint(&footprints::<Self>(&plan))?;
                Ok((count, plan))
            }

            fn segments(&self, f: &mut dyn FnMut(&LentSegment<'_>)) {
                $(self.$i.segments(f);)+
            }

            fn attach(
                plan: &Self::Plan,
                cache: &mut LeaseCache,
            ) -> Result<Self::Attached, ShmError> {
                disjoint(&footprints::<Self>(plan))?;
                let attached = ($($blocks::attach(&plan.$i, cache)?,)+);
                common(&[$($blocks::count(&attached.$i)),+])?;
                Ok(attached)
            }

            fn count(attached: &Self::Attached) -> usize {
                // All have the same, as checked by `attach`.
                A::count(&attached.0)
            }

            unsafe fn block(attached: &Self::Attached, index: usize) -> Option<Self::Block<'_>> {
                Some(($(
                    // SAFETY: the caller vouches for the tuple, hence for each
                    // of it; `attach` has checked that they do not overlap.
                    unsafe { $blocks::block(&attached.$i, index) }?,
                )+))
            }

            fn footprints(plan: &Self::Plan, f: &mut dyn FnMut(SegmentId, bool)) {
                $($blocks::footprints(&plan.$i, f);)+
            }
        }
    )*};
}

tuples! {
    (A 0);
    (A 0, B 1);
    (A 0, B 1, C 2);
    (A 0, B 1, C 2, E 3);
    (A 0, B 1, C 2, E 3, F 4);
    (A 0, B 1, C 2, E 3, F 4, G 5);
}
