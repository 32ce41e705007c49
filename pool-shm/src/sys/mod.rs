//! The calls of the operating system that this crate makes, one list of
//! functions per platform. Nothing outside this directory names a platform.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::{
    create, descriptor_limit, discard, file_size_limit, identify, identify_peer, open_peer,
    page_size, process_exists, reserve, seal_size, seal_write, seals, set_len, write_at, writers,
};

#[cfg(target_os = "linux")]
mod linux_sync;
#[cfg(target_os = "linux")]
pub(crate) use linux_sync::{futex, robust};

#[cfg(not(target_os = "linux"))]
mod unsupported;
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported::{
    create, descriptor_limit, discard, file_size_limit, identify, identify_peer, open_peer,
    page_size, process_exists, reserve, seal_size, seal_write, seals, set_len, write_at, writers,
};

#[cfg(not(target_os = "linux"))]
mod unsupported_sync;
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported_sync::{futex, robust};

/// What the kernel says a descriptor refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The device number.
    pub(crate) dev: u64,
    /// The inode number.
    pub(crate) ino: u64,
    /// The length in bytes.
    pub(crate) len: u64,
}

/// The seals of a descriptor that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seals {
    /// It can neither shrink nor grow.
    pub(crate) size: bool,
    /// Nobody can write any more.
    pub(crate) write: bool,
}

/// Which limit on open files was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DescriptorLimit {
    /// That of this process.
    Process,
    /// That of the whole system.
    System,
}
