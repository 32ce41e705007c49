//! Queues in shared memory. README.md beside this file is the protocol's page.

#[cfg(not(loom))]
mod batch;
#[cfg(not(loom))]
mod builder;
#[cfg(not(loom))]
mod codec;
mod damage;
#[cfg(not(loom))]
mod errors;
#[cfg(not(loom))]
mod handle;
#[cfg(not(loom))]
mod iter;
mod protocol;
#[cfg(not(loom))]
mod ring;
mod shape;

#[cfg(not(loom))]
pub(crate) use batch::{Batch, Room};
#[cfg(not(loom))]
pub use builder::QueueBuilder;
#[cfg(not(loom))]
pub(crate) use codec::{Source, Taken, encode, fixed_size, from_bytes, take};
pub use damage::Damage;
#[cfg(not(loom))]
pub use errors::{DecodeError, GetError, GetManyError, PutError, PutManyError, QueueError};
#[cfg(not(loom))]
pub use handle::{Message, Queue};
#[cfg(not(loom))]
pub(crate) use handle::{fingerprint, with_buffer};
#[cfg(not(loom))]
pub(crate) use iter::until_the_end;
#[cfg(not(loom))]
pub use iter::{Iter, TryIter};
#[cfg(not(loom))]
pub(crate) use shape::Shape;
