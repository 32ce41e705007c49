//! The names of segments: plain numbers that travel in messages.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What identifies a segment among all that live on this machine: device and
/// inode of its memfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SegmentId {
    pub(crate) dev: u64,
    pub(crate) ino: u64,
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}:{}", self.dev, self.ino)
    }
}

/// Where to find a segment: a descriptor of a process, and what it must be.
///
/// It is plain data: copying it keeps nothing alive. It is good as long as the
/// process that made it keeps the segment; see [`transfer`](crate::transfer).
/// [`Segment::attach`](crate::Segment::attach) checks all of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SegmentHandle {
    pub(crate) pid: u32,
    pub(crate) fd: i32,
    pub(crate) id: SegmentId,
    pub(crate) len: u64,
}

impl SegmentHandle {
    /// The segment that is meant.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.id
    }

    /// The length of the segment in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the length is 0, which no segment has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The process that keeps the segment for this handle.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}
