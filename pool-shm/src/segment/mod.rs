//! Segments: sealed pieces of shared memory.

mod disk;
mod file;
mod frozen;
mod handle;
mod locked_file;
mod map;
mod mapping;
mod private;
mod registry;

pub(crate) use disk::{FileAccess, FileSegment};
pub(crate) use file::{SegmentFile, check_file_size, put_memory};
pub(crate) use frozen::FrozenSegment;
pub use handle::{SegmentHandle, SegmentId};
pub(crate) use locked_file::LockedFile;
pub use mapping::Segment;
pub(crate) use mapping::check_range;
pub(crate) use private::PrivateMapping;
pub(crate) use registry::Registry;
