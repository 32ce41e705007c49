//! What the queues ask of the operating system, the same functions for every platform.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod linux_socket;
#[cfg(target_os = "linux")]
pub(crate) use linux::{is_alive, start_time};
#[cfg(target_os = "linux")]
pub(crate) use linux_socket::{
    MOST_DESCRIPTORS, fetch, receive, send, shut, socket_identity, socket_pair, wait_ready,
};

#[cfg(not(target_os = "linux"))]
mod unsupported;
#[cfg(not(target_os = "linux"))]
mod unsupported_socket;
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported::{is_alive, start_time};
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported_socket::{
    MOST_DESCRIPTORS, fetch, receive, send, shut, socket_identity, socket_pair, wait_ready,
};

mod current;
pub(crate) use current::current_process;
