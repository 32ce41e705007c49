//! The interface between arrays that are lent and pools that lend them on.

use super::{LeaseCache, LentSegment};
use crate::array::Elements;
use crate::error::ShmError;
use crate::segment::SegmentId;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Arrays cut into blocks, to be lent to tasks: what
/// [`SharedArray::axis_chunks_mut`](crate::SharedArray::axis_chunks_mut) and
/// its like give, and tuples of up to six of them that are cut alike.
///
/// Cut alike are arrays that give equally many blocks; if their blocks have the
/// same size along the axes that are cut, the arrays must have the same length
/// there (regions that the user has chosen are taken as they are). So a matrix
/// cut by 100 rows may go together with a vector
/// cut by one element, a place for each block's result. Arrays that are written
/// may go together with arrays that are read, and with parts of the same array
/// that have no element in common with what is written.
///
/// A pool makes the [`plan`](Self::plan), sends it to its workers, and each
/// [`attach`](Self::attach)es once and then makes [`block`](Self::block) after
/// block. While it does, the value itself keeps the arrays borrowed.
///
/// This trait is sealed: only this crate implements it.
pub trait Blocks: sealed::Sealed {
    /// What a task gets.
    type Block<'a>;

    /// What travels: where the arrays are, what they are, and how they are
    /// cut.
    type Plan: Serialize + DeserializeOwned + 'static;

    /// A plan whose arrays this process has mapped.
    type Attached: 'static;

    /// The number of blocks, and the plan.
    ///
    /// # Errors
    ///
    /// `is_invalid_cut` if an array cannot be cut so, if the arrays of a tuple
    /// give different numbers of blocks, or if one that is lent for writing
    /// is lent twice.
    fn plan(&self) -> Result<(usize, Self::Plan), ShmError>;

    /// Calls `f` with each segment that workers will map for writing.
    fn segments(&self, f: &mut dyn FnMut(&LentSegment<'_>));

    /// Maps the arrays of a plan, or finds them in `cache`, after checking
    /// everything that the plan says.
    ///
    /// # Errors
    ///
    /// As [`Segment::attach`](crate::Segment::attach) and `plan`;
    /// `is_mismatch` if an array is not what the plan says.
    fn attach(plan: &Self::Plan, cache: &mut LeaseCache) -> Result<Self::Attached, ShmError>;

    /// The number of blocks of an attached plan.
    fn count(attached: &Self::Attached) -> usize;

    /// Block `index`, or `None` if there is none.
    ///
    /// # Safety
    ///
    /// * The plan comes from a value of this type that is still there and
    ///   keeps the arrays borrowed until the block is gone, in whatever
    ///   process that is.
    /// * While the block lives there is no other block `index` of that value,
    ///   in any process.
    unsafe fn block(attached: &Self::Attached, index: usize) -> Option<Self::Block<'_>>;

    /// Calls `f` with what each array of a plan looks like.
    #[doc(hidden)]
    fn footprints(plan: &Self::Plan, f: &mut dyn FnMut(Footprint));
}

/// What has to fit when several arrays are lent together.
#[doc(hidden)]
#[expect(
    unnameable_types,
    reason = "it stands in a hidden function of a sealed trait"
)]
#[derive(Clone, Debug)]
pub struct Footprint {
    pub(super) id: SegmentId,
    pub(super) writable: bool,
    /// The bytes that are lent; None if what the plan says is impossible.
    pub(super) elements: Option<Elements>,
    /// Length of the array and size of a block along each axis that is cut.
    pub(super) cut: Vec<(usize, usize)>,
}

pub(super) mod sealed {
    /// Keeps [`Blocks`](super::Blocks) from being implemented elsewhere.
    #[expect(
        unnameable_types,
        reason = "a sealed trait is one that nobody else can name"
    )]
    pub trait Sealed {}
}
