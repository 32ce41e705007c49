//! What the queues ask of the operating system, the same functions for every platform.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::{is_alive, start_time};

#[cfg(not(target_os = "linux"))]
mod unsupported;
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported::{is_alive, start_time};

mod current;
pub(crate) use current::current_process;
