//! Any other system: nothing is mapped.

use std::io;
use std::os::fd::BorrowedFd;

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn huge_page_length() -> Option<usize> {
    None
}

pub(crate) fn map_shared(
    _fd: BorrowedFd<'_>,
    _len: usize,
    _align: usize,
    _write: bool,
) -> io::Result<*mut u8> {
    unsupported()
}

/// # Safety
///
/// None: nothing is mapped.
pub(crate) unsafe fn unmap(_start: *mut u8, _len: usize) {}

pub(crate) fn make_pages(_start: usize, _len: usize) -> io::Result<()> {
    unsupported()
}

pub(crate) fn wish_huge(_start: usize, _len: usize) -> io::Result<()> {
    unsupported()
}

pub(crate) fn gather(_start: usize, _len: usize) -> io::Result<()> {
    unsupported()
}

pub(crate) fn thread_time() -> u64 {
    0
}
