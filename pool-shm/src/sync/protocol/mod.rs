//! How the locks work: each protocol on borrowed words, robust locks and event counts, so that models can check it. `sync/README.md` has the argument.

mod barrier;
mod bits;
mod condition;
mod once;
mod permits;
mod reentrant;
mod rw_lock;
mod semaphore;
mod signal;
mod stripes;
mod twins;

#[cfg(all(test, loom))]
mod model;

pub(super) use barrier::{Barrier, Broke, MAX_PARTIES, Turn};
pub(crate) use bits::change_bits;
pub(super) use condition::Condition;
pub(super) use once::Once;
pub(super) use permits::{Permit, Permits};
pub(super) use reentrant::Depth;
pub(super) use rw_lock::{ReadHold, RwLock, WriteHold};
pub(super) use semaphore::Semaphore;
pub(super) use signal::Signal;
pub(crate) use stripes::{Stripes, StripesHold};
pub(super) use twins::Twins;
