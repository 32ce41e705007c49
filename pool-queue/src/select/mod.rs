//! Waiting for several queues at once. README.md beside this file is the protocol's page.

#[cfg(not(loom))]
mod handle;
mod protocol;

#[cfg(not(loom))]
pub use handle::{Select, Selectable};
