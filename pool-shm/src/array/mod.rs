//! Typed arrays in shared memory.

mod description;
mod freeze;
mod frozen;
mod geometry;
mod handle;
mod header;
mod layout;
mod owner;
mod placed;
mod raw;
mod shared;

pub(crate) use description::Description;
pub use freeze::FreezeError;
pub use frozen::FrozenArray;
pub use handle::ArrayHandle;
pub(crate) use header::{DATA_OFFSET, Header};
pub(crate) use layout::Layout;
pub(crate) use placed::{Memory, Placed};
pub use raw::RawArray;
pub use shared::SharedArray;
