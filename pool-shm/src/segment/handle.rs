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
    /// Whether it is a regular file, whose length nobody guarantees, and not a
    /// memfd that keeps its length.
    pub(crate) regular: bool,
}

/// The bit of the word of the length that says what kind of file it is: no
/// mapping is so long.
const REGULAR: u64 = 1 << 63;

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

    /// The same as four words, to be written into shared memory. Who keeps the
    /// segment, and under which descriptor, is the first word alone: one store
    /// says that another process keeps it now.
    #[must_use]
    pub fn to_words(&self) -> [u64; 4] {
        let keeper = u64::from(self.pid) << 32 | u64::from(self.fd.cast_unsigned());
        let kind = if self.regular { REGULAR } else { 0 };
        [keeper, self.id.dev, self.id.ino, self.len | kind]
    }

    /// From [`to_words`](Self::to_words). Nothing is checked; attaching does.
    #[must_use]
    pub fn from_words([keeper, dev, ino, len]: [u64; 4]) -> Self {
        let half = |word: u64| u32::try_from(word & u64::from(u32::MAX)).unwrap_or(0);
        Self {
            pid: half(keeper >> 32),
            fd: half(keeper).cast_signed(),
            id: SegmentId { dev, ino },
            len: len & !REGULAR,
            regular: len & REGULAR != 0,
        }
    }

    /// The process that keeps the segment for this handle.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_the_same_handle() {
        for fd in [0, 7, i32::MAX, -1] {
            let id = SegmentId {
                dev: 3,
                ino: u64::MAX,
            };
            let (pid, len) = (u32::MAX, 1 << 40);
            for regular in [false, true] {
                let handle = SegmentHandle {
                    pid,
                    fd,
                    id,
                    len,
                    regular,
                };
                assert_eq!(SegmentHandle::from_words(handle.to_words()), handle);
            }
        }
    }
}
