//! Memory that processes share, and what lives in it.
//!
//! Three layers, each built on the one before:
//!
//! * A [`Segment`] is a piece of memory without a name: a memfd that can
//!   neither grow nor shrink, with its memory there from the start. Any process
//!   of the same user maps it from a [`SegmentHandle`], a few plain numbers
//!   that travel in any message. Segments offer words ([`Shared`]: atomics, by
//!   reference) and plain data ([`Cells`]: copied in and out, never by
//!   reference).
//! * Arrays are typed ndarray arrays, each in a segment of its own, or small ones
//!   together. Who may write one is a matter of its type:
//!
//!   | type | who may write | goes to another process as |
//!   |---|---|---|
//!   | [`SharedArray`] | its one owner, or those to whom it lends blocks | blocks, for a while; an [`ArrayHandle`], for good |
//!   | [`FrozenArray`] | nobody, by the kernel's word | itself, or a part of it |
//!   | [`PrivateArray`] | one process: its own copy, on write, of a frozen one | not at all |
//!   | [`LockedArray`] | who holds the lock, of all or of some rows | itself |
//!   | [`AtomicArray`] | everyone, each number in one step | itself |
//!   | [`RawArray`] | everyone, as in Python (`unsafe` to look into) | itself |
//!
//! * Leases: a [`SharedArray`] is cut into disjoint blocks
//!   ([`axis_chunks_mut`](SharedArray::axis_chunks_mut),
//!   [`tiles_mut`](SharedArray::tiles_mut),
//!   [`regions_mut`](SharedArray::regions_mut)), and a task gets a [`BlockMut`],
//!   a [`Block`] or a [`HaloBlock`] that it can use without `unsafe` and without
//!   a lock.
//!   [`Blocks`] is what a pool needs of them.
//!
//! ```
//! use ndarray::array;
//! use pool_shm::{FrozenArray, SharedArray};
//!
//! let mut matrix = SharedArray::<f64, _>::zeros((2, 2))?;
//! matrix.view_mut().row_mut(1).fill(3.0);
//! let frozen = matrix.freeze()?; // no copy; from now on nobody can write it
//! let message = postcard::to_allocvec(&frozen)?; // a few numbers, to any process
//! let same: FrozenArray<f64, ndarray::Ix2> = postcard::from_bytes(&message)?;
//! assert_eq!(same.view(), array![[0.0, 0.0], [3.0, 3.0]]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`AtomicValue`], [`SharedValue`] and [`RecordTable`] are single numbers, values and rows that any process reads and changes. And [`sync`] has locks
//! that survive the death of who holds them.
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
mod atomics;
#[cfg(not(loom))]
mod budget;
#[cfg(not(loom))]
mod cells;
#[cfg(not(loom))]
mod element;
#[cfg(not(loom))]
mod error;
#[cfg(not(loom))]
pub mod file;
#[cfg(not(loom))]
mod fixed_str;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(not(loom))]
mod lease;
#[cfg(not(loom))]
pub mod named;
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
mod usage;

#[cfg(not(loom))]
pub use array::{
    ArrayHandle, ArrayPart, ArrayPartMut, FreezeError, FrozenArray, HugePages, LockedArray,
    LockedArrayGuard, Obtained, Placement, PrivateArray, RawArray, SharedArray,
};
#[cfg(not(loom))]
pub use atomics::{Atomic, AtomicArray, AtomicElement, AtomicInteger, AtomicValue};
#[cfg(not(loom))]
pub use cells::Cells;
#[cfg(not(loom))]
pub use element::{DType, Element, Real};
#[cfg(not(loom))]
pub use error::ShmError;
#[cfg(not(loom))]
pub use file::FileArray;
#[cfg(not(loom))]
pub use fixed_str::{FixedStr, TooLong};
#[cfg(not(loom))]
pub use lease::{
    AttachedCut, AxisChunks, AxisChunksMut, Block, BlockMut, Blocks, CutPlan, HaloBlock,
    HaloBlocks, LeaseCache, LentSegment, Lessee, Region, Regions, RegionsMut, Tiles, TilesMut,
};
#[cfg(not(loom))]
pub use named::NamedArray;
#[cfg(not(loom))]
pub use segment::{Segment, SegmentHandle, SegmentId};
#[cfg(not(loom))]
pub use shared::Shared;
#[cfg(not(loom))]
pub use sync::{RecordTable, SharedValue};
#[cfg(not(loom))]
pub use usage::{ProcessUsage, Resident, Usage, usage};
