//! Those to whom arrays are lent.

use crate::segment::{Segment, SegmentId};
use std::sync::Weak;

/// Somebody whose workers may keep lent segments mapped: a pool.
pub trait Lessee: Send + Sync {
    /// Makes every worker unmap the segment, and returns when none has it
    /// mapped any more. Workers that are dead or to come have nothing mapped.
    ///
    /// To unmap, a worker drops every
    /// [`Blocks::Attached`](super::Blocks::Attached) that uses the segment and
    /// calls [`LeaseCache::release`](super::LeaseCache::release).
    fn release(&self, id: SegmentId);
}

/// A segment of which blocks are being lent.
///
/// It gives no access to the memory, which belongs to the array's owner.
#[derive(Debug)]
pub struct LentSegment<'a>(&'a Segment);

impl<'a> LentSegment<'a> {
    pub(super) fn new(segment: &'a Segment) -> Self {
        LentSegment(segment)
    }

    /// What identifies the segment on this machine.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.0.id()
    }

    /// Remembers that `lessee` may have the segment mapped, so that it is
    /// asked to unmap it before the array is frozen or given away.
    /// Remembering the same one again changes nothing.
    pub fn add_lessee(&self, lessee: &Weak<dyn Lessee>) {
        self.0.add_lessee(lessee);
    }
}
