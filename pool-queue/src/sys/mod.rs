//! What this crate asks of the operating system, the same functions for every platform.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
mod linux_manager;
#[cfg(target_os = "linux")]
mod linux_socket;
#[cfg(target_os = "linux")]
pub(crate) use linux::{is_alive, start_time};
#[cfg(target_os = "linux")]
pub(crate) use linux_manager::*;
#[cfg(target_os = "linux")]
pub(crate) use linux_socket::{
    MOST_DESCRIPTORS, fetch, receive, send, shut, socket_identity, socket_pair, wait_ready,
};

#[cfg(not(target_os = "linux"))]
mod unsupported;
#[cfg(not(target_os = "linux"))]
mod unsupported_manager;
#[cfg(not(target_os = "linux"))]
mod unsupported_socket;
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported::{is_alive, start_time};
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported_manager::*;
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported_socket::{
    MOST_DESCRIPTORS, fetch, receive, send, shut, socket_identity, socket_pair, wait_ready,
};

mod current;
pub(crate) use current::current_process;

/// What is known of the process at the other end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) pid: u32,
    pub(crate) uid: u32,
}

/// What a descriptor is watched for. That the other end has gone is always told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    Write,
    Nothing,
}

/// What became of a watched descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// The number that it was added with.
    pub(crate) token: u64,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
    /// The other end has gone.
    pub(crate) hung_up: bool,
}
