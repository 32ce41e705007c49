//! Queues in another order than first in, first out. README.md beside this file is the protocol's page.

#[cfg(not(loom))]
mod backlog;
#[cfg(not(loom))]
mod builder;
mod index;
#[cfg(not(loom))]
mod joinable;
#[cfg(not(loom))]
mod lifo;
#[cfg(not(loom))]
mod losses;
#[cfg(not(loom))]
mod memory;
#[cfg(not(loom))]
mod plan;
#[cfg(not(loom))]
mod priority;
mod protocol;
#[cfg(not(loom))]
mod rank;
#[cfg(not(loom))]
mod verbs;

#[cfg(not(loom))]
pub use builder::StoreBuilder;
#[cfg(not(loom))]
pub use joinable::{Claim, JoinError, JoinableQueue};
#[cfg(not(loom))]
pub use lifo::LifoQueue;
#[cfg(not(loom))]
pub use losses::{Loss, LossCause, Losses};
#[cfg(not(loom))]
pub use priority::PriorityQueue;
#[cfg(not(loom))]
pub(crate) use protocol::Owner;
#[cfg(not(loom))]
pub use rank::Priority;
