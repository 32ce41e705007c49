//! Segments: sealed pieces of shared memory.

mod file;
mod handle;
mod mapping;
mod registry;

pub(crate) use file::SegmentFile;
pub use handle::{SegmentHandle, SegmentId};
pub use mapping::Segment;
