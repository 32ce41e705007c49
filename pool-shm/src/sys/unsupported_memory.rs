//! Any other system: nothing is known of mapped memory.

use super::ProcessMapping;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn allocated(_fd: BorrowedFd<'_>) -> io::Result<u64> {
    unsupported()
}

pub(crate) fn mappings(_dev: u64, _ino: u64) -> Vec<ProcessMapping> {
    Vec::new()
}

pub(crate) fn own_mapping(_dev: u64, _ino: u64) -> Option<ProcessMapping> {
    None
}

pub(crate) fn create_huge(_name: &str) -> io::Result<OwnedFd> {
    unsupported()
}

pub(crate) fn huge_page_size() -> Option<usize> {
    None
}

pub(crate) fn shared_huge_pages() -> Option<String> {
    None
}

pub(crate) fn memory_nodes() -> Vec<u32> {
    Vec::new()
}
