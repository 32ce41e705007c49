//! A frozen segment mapped so that writes stay in this process.

use super::SegmentFile;
use crate::budget;
use crate::error::{Kind, ShmError, mapping};
use memmap2::{MmapMut, MmapOptions};
use std::ops::Range;

/// Bytes of a sealed file, mapped for writing, that are this process's own: what
/// it writes nobody else sees. Pages that it does not write are shared.
#[derive(Debug)]
pub(crate) struct PrivateMapping {
    map: MmapMut,
}

impl PrivateMapping {
    /// Maps `range` of `file`, which must be sealed against writing and lie
    /// in it.
    pub(crate) fn new(file: &SegmentFile, range: Range<usize>) -> Result<Self, ShmError> {
        if !file.is_frozen()? {
            let id = file.id().to_string();
            return Err(Kind::NotFrozen { id }.into());
        }
        // Every page may be written, and then needs memory.
        budget::check(range.len() as u64)?;
        let mut options = MmapOptions::new();
        options.offset(range.start as u64).len(range.len());
        // SAFETY: the file is sealed against writing, shrinking and growing,
        // so nothing changes beneath the mapping.
        let map = unsafe { options.map_copy(&file.fd()) };
        let map = map.map_err(|e| mapping(range.len(), e))?;
        Ok(PrivateMapping { map })
    }

    pub(crate) fn as_ptr(&self) -> *const u8 {
        self.map.as_ptr()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.map.as_mut_ptr()
    }
}
