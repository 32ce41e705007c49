//! A segment that is sealed against writing, mapped for reading.

use super::map::Map;
use super::registry::Registry;
use super::{SegmentFile, SegmentHandle, check_range};
use crate::error::{Kind, ShmError, mapping};
use crate::shared::Shared;
use std::sync::Arc;

/// A mapping that nobody can write, in any process; clones are the same one.
#[derive(Clone, Debug)]
pub(crate) struct FrozenSegment {
    mapping: Arc<FrozenMapping>,
}

impl FrozenSegment {
    /// Maps the segment that `handle` names, which must be sealed.
    pub(crate) fn attach(handle: &SegmentHandle) -> Result<Self, ShmError> {
        if let Some(mapping) = FROZEN.find(handle.id()) {
            mapping.file.check(handle)?;
            return Ok(FrozenSegment { mapping });
        }
        FrozenSegment::map(crate::transfer::reach(handle)?)
    }

    /// Maps `file`, which must be sealed, or finds the mapping there is.
    pub(crate) fn map(file: Arc<SegmentFile>) -> Result<Self, ShmError> {
        let mapping = FROZEN.find_or_map(file.id(), || FrozenMapping::new(file))?;
        Ok(FrozenSegment { mapping })
    }

    pub(crate) fn file(&self) -> &Arc<SegmentFile> {
        &self.mapping.file
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.mapping.map.as_ptr().cast_const()
    }

    /// As [`Segment::get`](crate::Segment::get). Only loads may be done.
    pub(crate) fn get<T: Shared>(&self, offset: usize) -> Result<&T, ShmError> {
        check_range::<T>(self.file().len(), offset, 1)?;
        let start: *const T = self.as_ptr().wrapping_add(offset).cast();
        // SAFETY: one aligned `T` lies here, the mapping lives as long as
        // `self`, and `T: Shared` allows any bits.
        Ok(unsafe { &*start })
    }
}

/// The read-only mappings of this process.
static FROZEN: Registry<FrozenMapping> = Registry::new();

/// One read-only mapping of a sealed file, unmapped on drop.
#[derive(Debug)]
struct FrozenMapping {
    map: Map,
    file: Arc<SegmentFile>,
}

impl FrozenMapping {
    fn new(file: Arc<SegmentFile>) -> Result<Self, ShmError> {
        if !file.is_frozen()? {
            let id = file.id().to_string();
            return Err(Kind::NotFrozen { id }.into());
        }
        // Populating at once was measured not to pay: the kernel maps what is
        // there around each first read anyway.
        let map = Map::new(&file, false).map_err(|e| mapping(file.len(), e))?;
        Ok(FrozenMapping { map, file })
    }
}

impl Drop for FrozenMapping {
    fn drop(&mut self) {
        FROZEN.forget(self.file.id());
    }
}
