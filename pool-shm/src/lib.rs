//! Memory that processes share, and what lives in it.
//!
//! A [`Segment`] is a piece of memory without a name: a memfd that can neither
//! grow nor shrink, whose memory is there from the start. Any process of the
//! same user can map it from a [`SegmentHandle`], a few plain numbers that
//! travel in any message. Raw segments offer words ([`Shared`]: atomics, by
//! reference) and plain data ([`Cells`]: copied in and out, never by
//! reference).
//!
//! ```
//! use pool_shm::Segment;
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! let ours = Segment::create(4096)?;
//! let theirs = Segment::attach(&ours.handle())?; // normally in another process
//! ours.get::<AtomicU64>(64)?.store(7, Ordering::Release);
//! assert_eq!(theirs.get::<AtomicU64>(64)?.load(Ordering::Acquire), 7);
//! # Ok::<(), pool_shm::ShmError>(())
//! ```
//!
//! # Promises
//!
//! * Too little memory is an error that says what is needed, what is there and
//!   what to do. It is never a SIGBUS later.
//! * What comes from another process is checked before it is used.
//! * No descriptor is inherited by a child that was not meant to have it.
//! * Nothing is left behind when the last process that uses a segment is gone:
//!   there are no names to clean up.

#[cfg(not(loom))]
mod array;
mod atomic;
#[cfg(not(loom))]
mod budget;
#[cfg(not(loom))]
mod cells;
#[cfg(not(loom))]
mod element;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
mod lease;
#[cfg(not(loom))]
mod segment;
#[cfg(not(loom))]
mod shared;
pub mod sync;
#[cfg(not(loom))]
mod sys;
#[cfg(not(loom))]
pub mod transfer;

#[cfg(not(loom))]
pub use array::{ArrayHandle, FreezeError, FrozenArray, RawArray, SharedArray};
#[cfg(not(loom))]
pub use cells::Cells;
#[cfg(not(loom))]
pub use element::{DType, Element, Real};
#[cfg(not(loom))]
pub use error::ShmError;
#[cfg(not(loom))]
pub use lease::{
    AttachedCut, AxisChunks, AxisChunksMut, Block, BlockMut, Blocks, CutPlan, LeaseCache,
    LentSegment, Lessee, Tiles, TilesMut,
};
#[cfg(not(loom))]
pub use segment::{Segment, SegmentHandle, SegmentId};
#[cfg(not(loom))]
pub use shared::Shared;
