//! The calls of the operating system that this crate makes, one list of
//! functions per platform. Nothing outside this directory names a platform.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::{
    copy_peer, create, descriptor_limit, discard, file_size_limit, identify, identify_peer,
    open_peer, page_size, process_exists, reserve, seal_size, seal_write, seals, set_len, write_at,
    writers,
};

#[cfg(target_os = "linux")]
mod linux_sync;
#[cfg(target_os = "linux")]
pub(crate) use linux_sync::{futex, robust};

#[cfg(not(target_os = "linux"))]
mod unsupported;
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported::{
    copy_peer, create, descriptor_limit, discard, file_size_limit, identify, identify_peer,
    open_peer, page_size, process_exists, reserve, seal_size, seal_write, seals, set_len, write_at,
    writers,
};

#[cfg(not(target_os = "linux"))]
mod unsupported_sync;
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported_sync::{futex, robust};

#[cfg(target_os = "linux")]
mod linux_files;
#[cfg(target_os = "linux")]
pub(crate) use linux_files::{
    create_file, create_unnamed, effective_user, identify_path, identify_regular, is_full,
    is_read_only, is_unsupported, link, lock, name_of, open_file, owner, pid_namespace, read_at,
    rename, restrict, shared_memory_dir, start_time, sync, unlink, unlock,
};

#[cfg(not(target_os = "linux"))]
mod unsupported_files;
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported_files::{
    create_file, create_unnamed, effective_user, identify_path, identify_regular, is_full,
    is_read_only, is_unsupported, link, lock, name_of, open_file, owner, pid_namespace, read_at,
    rename, restrict, shared_memory_dir, start_time, sync, unlink, unlock,
};

#[cfg(target_os = "linux")]
mod linux_map;
#[cfg(target_os = "linux")]
pub(crate) use linux_map::{
    gather, huge_page_length, make_pages, map_shared, thread_time, unmap, wish_huge,
};

#[cfg(not(target_os = "linux"))]
mod unsupported_map;
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported_map::{
    gather, huge_page_length, make_pages, map_shared, thread_time, unmap, wish_huge,
};

#[cfg(target_os = "linux")]
mod linux_memory;
#[cfg(target_os = "linux")]
pub(crate) use linux_memory::{
    allocated, create_huge, huge_page_size, mappings, memory_nodes, own_mapping, shared_huge_pages,
};

#[cfg(target_os = "linux")]
mod linux_numa;
#[cfg(target_os = "linux")]
pub(crate) use linux_numa::interleave;

#[cfg(not(target_os = "linux"))]
mod unsupported_memory;
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported_memory::{
    allocated, create_huge, huge_page_size, mappings, memory_nodes, own_mapping, shared_huge_pages,
};

#[cfg(not(target_os = "linux"))]
mod unsupported_numa;
#[cfg(not(target_os = "linux"))]
pub(crate) use unsupported_numa::interleave;

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

/// How a file is locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileLock {
    /// Beside others that read.
    Shared,
    /// Alone.
    Exclusive,
}

/// What a process has mapped of a file, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessMapping {
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) mapped: u64,
    pub(crate) resident: u64,
    pub(crate) proportional: u64,
    pub(crate) huge: u64,
    pub(crate) writable: bool,
}
