//! A regular file, mapped.

use super::{SegmentFile, SegmentHandle};
use crate::error::{ShmError, mapping};
use memmap2::{MmapOptions, MmapRaw};
use std::io;
use std::sync::Arc;

/// How a file is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileAccess {
    Read,
    /// What is written goes to the file.
    Write,
    /// What is written stays in this process.
    Private,
}

/// The first bytes of a regular file, mapped; clones are the same mapping.
///
/// Unlike a segment's memory, the file may be written and truncated by any
/// program that may open it: nothing here makes references to it. A load or
/// store where the file has been truncated ends the process with SIGBUS.
#[derive(Clone, Debug)]
pub(crate) struct FileSegment {
    mapping: Arc<FileMapping>,
}

#[derive(Debug)]
struct FileMapping {
    map: MmapRaw,
    file: Arc<SegmentFile>,
    access: FileAccess,
}

impl FileSegment {
    /// Maps the file that `handle` names.
    pub(crate) fn attach(handle: &SegmentHandle, write: bool) -> Result<Self, ShmError> {
        let access = if write {
            FileAccess::Write
        } else {
            FileAccess::Read
        };
        FileSegment::map(crate::transfer::reach(handle)?, access)
    }

    pub(crate) fn map(file: Arc<SegmentFile>, access: FileAccess) -> Result<Self, ShmError> {
        file.check_length()?;
        let map = map(&file, access).map_err(|e| mapping(file.len(), e))?;
        Ok(FileSegment {
            mapping: Arc::new(FileMapping { map, file, access }),
        })
    }

    pub(crate) fn file(&self) -> &Arc<SegmentFile> {
        &self.mapping.file
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.mapping.map.as_mut_ptr()
    }

    pub(crate) fn is_writable(&self) -> bool {
        self.mapping.access != FileAccess::Read
    }

    /// Writes what was changed to the disk and waits for it.
    pub(crate) fn flush(&self) -> io::Result<()> {
        self.mapping.map.flush()
    }
}

fn map(file: &SegmentFile, access: FileAccess) -> io::Result<MmapRaw> {
    let mut options = MmapOptions::new();
    options.len(file.len());
    match access {
        FileAccess::Read => options.map_raw_read_only(&file.fd()),
        FileAccess::Write => options.map_raw(&file.fd()),
        FileAccess::Private => {
            // SAFETY: the mapping is turned into one that gives no references
            // before anybody can ask for any.
            let map = unsafe { options.map_copy(&file.fd()) }?;
            Ok(map.into())
        }
    }
}
