//! Locks and waiting that work between processes and survive their deaths.
//!
//! [`Mutex`] protects a value in a segment of its own; [`RawMutex`] is the lock alone, at an offset of any segment. [`EventCount`] is how a process waits
//! for what another one publishes.
//!
//! Data that a killed process can leave half-written is under a robust lock of the C library, whose next holder is told; all waiting is on futexes. The
//! C library's condition variables are used nowhere: one killed waiter can wedge them for good.

#[cfg(not(loom))]
mod error;
mod event_count;
#[cfg(loom)]
mod model_futex;
#[cfg(not(loom))]
mod mutex;
#[cfg(not(loom))]
mod raw_mutex;

#[cfg(not(loom))]
pub use error::LockError;
pub use event_count::{EventCount, Ticket};
#[cfg(not(loom))]
pub use mutex::{Mutex, MutexGuard};
#[cfg(not(loom))]
pub use raw_mutex::{RawMutex, RawMutexGuard};
