//! Mappings that a worker keeps between jobs.

use crate::error::ShmError;
use crate::segment::{Segment, SegmentHandle, SegmentId};

/// How many segments are kept.
const KEPT: usize = 8;

/// Segments that a worker keeps mapped for the next job, the last eight that
/// were used.
///
/// Mapping afresh costs a page fault per page: a fill of pages that are there
/// but newly mapped runs at a quarter of the speed. A segment whose owner has
/// dropped the array has no memory any more, only addresses.
#[derive(Debug, Default)]
pub struct LeaseCache {
    /// The one used last stands last.
    segments: Vec<Segment>,
}

impl LeaseCache {
    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }

    /// Lets everything go.
    pub fn clear(&mut self) {
        self.segments.clear();
    }

    /// Lets one segment go, if it is kept. It is unmapped with this, unless
    /// something else in this process still uses it.
    pub fn release(&mut self, id: SegmentId) {
        self.segments.retain(|segment| segment.id() != id);
    }

    /// The segment that `handle` names, kept or newly mapped.
    pub(super) fn map(&mut self, handle: &SegmentHandle) -> Result<Segment, ShmError> {
        let kept = self.segments.iter().position(|s| s.id() == handle.id());
        let segment = match kept {
            Some(at) => {
                self.segments[at].file().check(handle)?;
                self.segments.remove(at)
            }
            None => Segment::attach(handle)?,
        };
        self.segments.push(segment.clone());
        if self.segments.len() > KEPT {
            self.segments.remove(0);
        }
        Ok(segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_eight_are_kept() {
        let mut cache = LeaseCache::default();
        let segments: Vec<_> = (0..9).map(|_| Segment::create(1).unwrap()).collect();
        for segment in &segments[..8] {
            cache.map(&segment.handle()).unwrap();
        }
        cache.map(&segments[0].handle()).unwrap();
        cache.map(&segments[8].handle()).unwrap();
        let kept: Vec<_> = cache.segments.iter().map(Segment::id).collect();
        assert!(kept.contains(&segments[0].id()));
        assert!(!kept.contains(&segments[1].id()));
        assert_eq!(kept.len(), 8);
        cache.release(segments[8].id());
        assert_eq!(cache.segments.len(), 7);
        cache.clear();
        assert!(cache.is_empty());
    }
}
