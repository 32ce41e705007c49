//! Several arrays cut alike: a task gets one block of each.

use super::blocks::{Blocks, Footprint, sealed};
use super::{LeaseCache, LentSegment};
use crate::error::{Kind, ShmError};

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

/// Checks that arrays whose blocks have the same size have the same length:
/// with different ones their last blocks would not match.
fn alike(footprints: &[Footprint]) -> Result<(), ShmError> {
    let sizes =
        |footprint: &Footprint| -> Vec<usize> { footprint.cut.iter().map(|cut| cut.1).collect() };
    let lengths =
        |footprint: &Footprint| -> Vec<usize> { footprint.cut.iter().map(|cut| cut.0).collect() };
    for (i, one) in footprints.iter().enumerate() {
        for other in &footprints[..i] {
            if sizes(one) == sizes(other) && lengths(one) != lengths(other) {
                let lengths = [lengths(other), lengths(one)];
                return Err(Kind::UnequalLengths {
                    lengths,
                    sizes: sizes(one),
                }
                .into());
            }
        }
    }
    Ok(())
}

/// Checks that what is lent for writing is lent once.
fn disjoint(footprints: &[Footprint]) -> Result<(), ShmError> {
    for (second, one) in footprints.iter().enumerate() {
        for (first, other) in footprints[..second].iter().enumerate() {
            let exclusive = one.writable || other.writable;
            if exclusive && one.id == other.id && meet(one, other) {
                return Err(Kind::Overlap {
                    id: one.id.to_string(),
                    first,
                    second,
                }
                .into());
            }
        }
    }
    Ok(())
}

/// Whether two arrays of one segment have bytes in common; if it is not known,
/// they have.
fn meet(one: &Footprint, other: &Footprint) -> bool {
    match (&one.elements, &other.elements) {
        (Some(one), Some(other)) => one.meet(other),
        _ => true,
    }
}

/// What the arrays of a plan look like.
fn footprints<B: Blocks>(plan: &B::Plan) -> Vec<Footprint> {
    let mut all = Vec::new();
    B::footprints(plan, &mut |footprint| all.push(footprint));
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
                let footprints = footprints::<Self>(&plan);
                alike(&footprints)?;
                disjoint(&footprints)?;
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

            fn footprints(plan: &Self::Plan, f: &mut dyn FnMut(Footprint)) {
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
