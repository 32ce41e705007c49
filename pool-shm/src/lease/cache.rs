//! Mappings that a worker keeps between jobs.

use crate::array::Memory;
use crate::error::ShmError;
use crate::segment::{FrozenSegment, Segment, SegmentFile, SegmentHandle, SegmentId};

/// How many segments are kept.
const KEPT: usize = 8;

/// Segments that a worker keeps mapped for the next job, the last eight that
/// were used.
///
/// Mapping afresh costs a page fault per page: a fill of pages that are there
/// but newly mapped runs at a quarter of the speed. What is kept holds no
/// memory for long: the owner of an array takes the memory out when it drops
/// it, and a frozen array is let go at the next job after the lender has
/// dropped it.
#[derive(Debug, Default)]
pub struct LeaseCache {
    /// The one used last stands last.
    kept: Vec<Kept>,
}

/// A mapping, and the handle by which it was lent.
#[derive(Debug)]
struct Kept {
    memory: Memory,
    handle: SegmentHandle,
}

impl LeaseCache {
    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Lets everything go.
    pub fn clear(&mut self) {
        self.kept.clear();
    }

    /// Lets one segment go, if it is kept. It is unmapped with this, unless
    /// something else in this process still uses it.
    pub fn release(&mut self, id: SegmentId) {
        self.kept.retain(|kept| kept.handle.id() != id);
    }

    /// The segment that `handle` names, kept or newly mapped: for reading if
    /// it is said to be `frozen`, for writing otherwise.
    pub(super) fn map(&mut self, handle: &SegmentHandle, frozen: bool) -> Result<Memory, ShmError> {
        let memory = match self.take(handle, frozen) {
            Some(memory) => memory,
            None => attach(handle, frozen)?,
        };
        memory.file().check(handle)?;
        self.drop_what_the_lender_dropped();
        if self.kept.len() >= KEPT {
            self.kept.remove(0);
        }
        self.kept.push(Kept {
            memory: memory.clone(),
            handle: handle.clone(),
        });
        Ok(memory)
    }

    fn take(&mut self, handle: &SegmentHandle, frozen: bool) -> Option<Memory> {
        let same =
            |kept: &Kept| kept.handle.id() == handle.id() && kept.memory.is_frozen() == frozen;
        let at = self.kept.iter().position(same)?;
        Some(self.kept.remove(at).memory)
    }

    /// Memory that is sealed cannot be taken out of a file, so it must be
    /// unmapped to be free.
    fn drop_what_the_lender_dropped(&mut self) {
        self.kept
            .retain(|kept| !kept.memory.is_frozen() || SegmentFile::is_kept(&kept.handle));
    }
}

fn attach(handle: &SegmentHandle, frozen: bool) -> Result<Memory, ShmError> {
    Ok(if frozen {
        Memory::Frozen(FrozenSegment::attach(handle)?)
    } else {
        Memory::Writable(Segment::attach(handle)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AxisChunks, Blocks, SharedArray};
    use ndarray::{Axis, Ix1};

    #[test]
    fn the_last_eight_are_kept() {
        let mut cache = LeaseCache::default();
        let segments: Vec<_> = (0..9).map(|_| Segment::create(1).unwrap()).collect();
        for segment in &segments[..8] {
            cache.map(&segment.handle(), false).unwrap();
        }
        cache.map(&segments[0].handle(), false).unwrap();
        cache.map(&segments[8].handle(), false).unwrap();
        let kept: Vec<_> = cache.kept.iter().map(|kept| kept.handle.id()).collect();
        assert!(kept.contains(&segments[0].id()));
        assert!(!kept.contains(&segments[1].id()));
        assert_eq!(kept.len(), 8);
        cache.release(segments[8].id());
        assert_eq!(cache.kept.len(), 7);
        cache.clear();
        assert!(cache.is_empty());
    }

    #[test]
    fn frozen_arrays_are_kept_as_long_as_the_lender_has_them() {
        type Rows<'a> = AxisChunks<'a, f64, Ix1>;
        let mut cache = LeaseCache::default();
        let frozen = || SharedArray::<f64, _>::zeros(9).unwrap().freeze().unwrap();
        let (first, second) = (frozen(), frozen());
        let mut lend = |array: &crate::FrozenArray<f64, Ix1>| {
            let plan = array.axis_chunks(Axis(0), 2).plan().unwrap().1;
            Rows::attach(&plan, &mut cache).unwrap();
            cache.kept.len()
        };
        assert_eq!((lend(&first), lend(&first), lend(&second)), (1, 1, 2));
        // In one process the cache itself would keep the descriptor; a lender
        // that has gone is one whose handle leads nowhere.
        cache.kept[0].handle.fd = 1_000_000;
        let plan = second.axis_chunks(Axis(0), 2).plan().unwrap().1;
        Rows::attach(&plan, &mut cache).unwrap();
        assert_eq!(cache.kept.len(), 1);
    }
}
