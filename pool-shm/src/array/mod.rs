//! Typed arrays in shared memory.

mod description;
mod elements;
mod freeze;
mod frozen;
mod geometry;
mod handle;
mod header;
mod layout;
mod lend;
mod locked;
mod owner;
mod part;
mod placed;
mod placement;
mod private;
mod raw;
mod shared;
mod slice;
mod small;

pub(crate) use description::Description;
pub(crate) use elements::Elements;
pub use freeze::FreezeError;
pub use frozen::FrozenArray;
pub(crate) use geometry::{debug, geometry};
pub use handle::ArrayHandle;
pub(crate) use header::{DATA_OFFSET, Header};
pub(crate) use layout::{Layout, Order};
pub(crate) use lend::{lend, lend_mut};
pub use locked::{LockedArray, LockedArrayGuard};
pub use part::{ArrayPart, ArrayPartMut};
pub(crate) use placed::{Memory, Place, Placed, raw_view};
pub use placement::{HugePages, Obtained, Placement};
pub use private::PrivateArray;
pub use raw::RawArray;
pub use shared::SharedArray;
pub(crate) use slice::range_of;
